//! The gate: what is checked before a handler runs, in the contract's order (section 3), as a type in its signature.
//!
//! A handler takes `Caller<SessionsWrite>`, so a route without an authorization decision can't be written by accident. The steps:
//! 1 request id (`context`) · 2 credential · 3 key state · 4 rate limit · 5 organization active · 6 permission. Steps 7 to 10
//! need the body and the kind of work and follow in the handler.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use kallglot_app::Error;
use kallglot_app::gate::cache::Known;
use kallglot_core::api_key::{self, Secret};
use kallglot_core::audit::{Change, Who};
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use kallglot_core::session::Tenant;

use tracing::Instrument as _;

use crate::HttpState;
use crate::context::RequestContext;
use crate::list::{query_pairs, unknown_parameter};
use crate::openapi::Route;
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
    /// `webhooks:manage`.
    WebhooksManage Some(Permission::WebhooksManage);
    /// `analysis:read`.
    AnalysisRead Some(Permission::AnalysisRead);
    /// `analysis:write`.
    AnalysisWrite Some(Permission::AnalysisWrite);
    /// `recordings:read`.
    RecordingsRead Some(Permission::RecordingsRead);
    /// `recordings:delete`.
    RecordingsDelete Some(Permission::RecordingsDelete);
    /// `api_keys:manage`.
    ApiKeysManage Some(Permission::ApiKeysManage);
}

/// Who makes a request that the gate has let in with requirement `R`.
pub(crate) struct Caller<R: Requirement> {
    /// The key and its organization.
    pub(crate) known: Arc<Known>,
    /// The request.
    pub(crate) context: Arc<RequestContext>,
    /// The edition by which the request is read and answered.
    pub(crate) edition: Edition,
    requirement: PhantomData<R>,
}

impl<R: Requirement> Caller<R> {
    /// Whose data the caller may reach.
    pub(crate) fn tenant(&self) -> Tenant {
        self.known.key.tenant()
    }

    /// Whether the key has this permission too.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.known.key.permissions.contains(permission)
    }

    /// A change that the caller is about to make.
    pub(crate) fn change(&self, state: &HttpState) -> Change {
        state.app.change(Who::Key(self.known.key.id), self.context.address, self.context.id)
    }
}

impl<R: Requirement> FromRequestParts<HttpState> for Caller<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let span = tracing::trace_span!(target: "kallglot::trace", "gate");
        if span.is_disabled() { pass(parts, state).await } else { pass(parts, state).instrument(span).await }
    }
}

/// Steps 2 to 6.
async fn pass<R: Requirement>(parts: &mut Parts, state: &HttpState) -> Result<Caller<R>, Problem> {
    let app = &state.app;
    let context = RequestContext::of(parts)?;
    let known = match credential(&parts.headers)? {
        Credential::Key(secret) => app.identify(&secret, context.address).await?,
        Credential::None(message) => return Err(Problem::with(ErrorCode::ApiKeyInvalid, message)),
        // What looks like an attempt to find a key is counted as one.
        Credential::Malformed(message) => {
            return Err(Problem::from(app.failed_attempt(context.address).await).saying(message));
        }
    };
    let now = context.at;
    // The request's header, already there, is stronger.
    let edition = *context.edition.get_or_init(|| known.edition());
    let _ = context.known.set(Arc::clone(&known));
    known
        .key
        .check(known.secret_valid_until, now, context.address, context.environment)
        .map_err(|refusal| Problem::of(refusal.code()))?;
    let rate = app.count_request(&known, now).await?;
    context.set_rate(rate);
    if !rate.allowed {
        return Err(app.rate_refusal(&rate).into());
    }
    app.authorize(&known, R::PERMISSION, !parts.method.is_safe())?;
    app.keys.note_use(&known, R::PERMISSION, now);
    context.check_edition()?;
    check_query(parts)?;
    Ok(Caller { known, context, edition, requirement: PhantomData })
}

impl RequestContext {
    /// The context of a request. It is missing only when the router is served without `crate::serve`.
    pub(crate) fn of(parts: &Parts) -> Result<Arc<Self>, Problem> {
        parts.extensions.get::<Arc<Self>>().cloned().ok_or_else(|| Problem::of(ErrorCode::InternalError))
    }
}

/// Refuses what is no parameter of the route, and what is there twice: neither is to be ignored.
pub(crate) fn check_query(parts: &Parts) -> Result<(), Problem> {
    let Some(query) = parts.uri.query().filter(|query| !query.is_empty()) else { return Ok(()) };
    let mut operations = Route::ALL.iter().map(|route| route.operation());
    let operation = operations.find(|operation| operation.answers(&parts.method, parts.uri.path()));
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in query_pairs(query) {
        if !operation.is_some_and(|operation| operation.has_parameter(&name)) {
            return Err(unknown_parameter(&name));
        }
        if seen.contains(&name) {
            return Err(Problem::invalid(&name, format!("`{name}` is there more than once. Send it once.")));
        }
        seen.push(name);
    }
    Ok(())
}

/// What a request shows to be let in.
pub(crate) enum Credential {
    /// What has the form of a key.
    Key(Secret),
    /// Nothing, or what can't have been meant as a key; what to tell its sender.
    None(&'static str),
    /// What was meant as a key and is none.
    Malformed(&'static str),
}

/// The API key of a request (contract section 2).
pub(crate) fn credential(headers: &HeaderMap) -> Result<Credential, Problem> {
    const NONE: &str = "The API key is missing. Send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`.";
    const SCHEME: &str = "The Authorization header must be `Bearer <API key>`; other schemes are not accepted.";
    const STREAM_TOKEN: &str =
        "This is a stream token. It opens a session's stream; requests need an API key (`sk_…`).";
    let bearer = match single(headers, header::AUTHORIZATION.as_str())? {
        None => None,
        Some(value) => match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
            _ => return Ok(Credential::None(SCHEME)),
        },
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
        (None, None) => return Ok(Credential::None(NONE)),
    };
    Ok(match api_key::parse(text) {
        Ok(parsed) => Credential::Key(parsed.secret),
        Err(_) if text.is_empty() => Credential::None(NONE),
        Err(_) if text.starts_with("kst_") => Credential::None(STREAM_TOKEN),
        Err(_) => Credential::Malformed(ErrorCode::ApiKeyInvalid.row().message),
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        let message = format!("The header {name} is there more than once, with different values. Send it once.");
        return Err(Problem::with(ErrorCode::InvalidRequest, message));
    }
    // What is no text is no key.
    Ok(Some(first.to_str().unwrap_or("\u{fffd}")))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Public(public) => Self {
                param: public.param,
                retry_after_s: public.retry_after_s,
                ..Self::with(public.code, public.message)
            },
            Error::Storage(error) => error.into(),
            Error::Cluster(error) => Self {
                retry_after_s: Some(1),
                cause: Some(error.to_string()),
                ..Self::of(ErrorCode::ServiceUnavailable)
            },
        }
    }
}
