//! The gate: what is checked before a handler runs, in the contract's order (section 3), as a type in its signature.
//!
//! A handler takes `Caller<SessionsWrite>`, so a route without an authorization decision can't be written by accident. The steps:
//! 1 request id (the middleware) · 2 credential · 3 key state · 4 rate limit · 5 organization active · 6 permission. Steps 7 to 10
//! need the body and the kind of work and follow in the handler.

use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use kallglot_core::api_key::{self, ApiKey, Secret};
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::organization::Organization;
use kallglot_core::permission::Permission;
use kallglot_core::session::Tenant;

use crate::HttpState;
use crate::context::RequestContext;
use crate::problem::Problem;

/// What a route asks of a key.
pub(crate) trait Requirement: Send + Sync + 'static {
    /// The permission; none when any valid key will do.
    const PERMISSION: Option<Permission>;
}

macro_rules! requirements {
    ($($(#[$doc:meta])* $name:ident $permission:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Requirement for $name {
            const PERMISSION: Option<Permission> = $permission;
        }
    )*};
}

requirements! {
    /// Any valid key.
    AnyKey None;
    /// `sessions:read`.
    SessionsRead Some(Permission::SessionsRead);
    /// `sessions:write`.
    SessionsWrite Some(Permission::SessionsWrite);
}

/// Who makes a request that the gate has let in with requirement `R`.
pub(crate) struct Caller<R: Requirement> {
    /// The key.
    pub(crate) key: ApiKey,
    /// Its organization.
    pub(crate) organization: Organization,
    /// The edition by which the request is read and answered.
    pub(crate) edition: Edition,
    requirement: PhantomData<R>,
}

impl<R: Requirement> Caller<R> {
    /// Whose data the caller may reach.
    pub(crate) fn tenant(&self) -> Tenant {
        self.key.tenant()
    }

    /// Whether the key has this permission too.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.key.permissions.contains(permission)
    }
}

impl<R: Requirement> FromRequestParts<HttpState> for Caller<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let app = &state.app;
        let secret = credential(&parts.headers)?;
        let known = app
            .storage
            .key_of_secret(&secret.hash(&app.pepper))
            .await?
            .ok_or_else(|| Problem::of(ErrorCode::ApiKeyInvalid))?;
        let edition = known.key.edition.unwrap_or(known.organization.edition);
        let edition = match parts.extensions.get::<Arc<RequestContext>>() {
            Some(context) => {
                let _ = context.caller.set((known.organization.id, known.key.id));
                // The request's header, already there, is stronger.
                *context.edition.get_or_init(|| edition)
            }
            None => edition,
        };
        known
            .key
            .check(known.secret_valid_until, app.clock.now(), client_address(parts), app.config.environment)
            .map_err(|refusal| Problem::of(refusal.code()))?;
        if !known.organization.active {
            return Err(Problem::of(ErrorCode::OrganizationInactive));
        }
        if let Some(permission) = R::PERMISSION
            && !known.key.permissions.contains(permission)
        {
            let message = format!(
                "This API key does not have the permission `{permission}`. Use a key that has it, or add it to this one."
            );
            let problem = Problem::with(ErrorCode::InsufficientPermissions, message);
            return Err(Problem { param: Some(permission.to_string()), ..problem });
        }
        Ok(Self { key: known.key, organization: known.organization, edition, requirement: PhantomData })
    }
}

fn client_address(parts: &Parts) -> IpAddr {
    // Without a peer address (never over TCP) no allow-list matches.
    let unknown = IpAddr::from([0, 0, 0, 0]);
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(unknown, |info| info.0.ip())
}

/// The API key of a request (contract section 2).
fn credential(headers: &HeaderMap) -> Result<Secret, Problem> {
    let invalid = || Problem::of(ErrorCode::ApiKeyInvalid);
    let bearer = match single(headers, header::AUTHORIZATION.as_str())? {
        None => None,
        Some(value) => {
            let (scheme, token) = value.split_once(' ').ok_or_else(invalid)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Problem::with(
                    ErrorCode::ApiKeyInvalid,
                    "The Authorization header must be `Bearer <API key>`; other schemes are not accepted.",
                ));
            }
            Some(token.trim())
        }
    };
    let other = single(headers, "x-api-key")?.map(str::trim);
    let text = match (bearer, other) {
        (Some(bearer), Some(other)) if bearer != other => {
            return Err(Problem::with(
                ErrorCode::InvalidRequest,
                "The Authorization and X-API-Key headers hold different keys. Send one of them.",
            ));
        }
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Err(invalid()),
    };
    match api_key::parse(text) {
        Ok(parsed) => Ok(parsed.secret),
        Err(_) if text.starts_with("kst_") => Err(Problem::with(
            ErrorCode::ApiKeyInvalid,
            "This is a stream token. It opens a session's stream; requests need an API key (`sk_…`).",
        )),
        Err(_) => Err(invalid()),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        let message = format!("The header {name} is there more than once, with different values. Send it once.");
        return Err(Problem::with(ErrorCode::InvalidRequest, message));
    }
    first.to_str().map(Some).map_err(|_| Problem::of(ErrorCode::ApiKeyInvalid))
}
