//! `POST /v1/api_keys/leaks`: whoever holds a leaked key can have it stopped. It needs no key but the leaked one.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use kallglot_core::api_key;
use kallglot_core::audit::Who;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::organization::LeakPolicy;
use kallglot_core::redact::redact;
use serde::Serialize;
use std::sync::Arc;

use crate::HttpState;
use crate::body::Body;
use crate::context::RequestContext;
use crate::gate::check_query;
use crate::problem::Problem;

const SOURCE_CHARS_MAX: usize = 200;

#[derive(Serialize)]
pub(crate) struct LeakReport {
    object: &'static str,
    status: &'static str,
}

/// A request from anybody.
pub(crate) struct Anybody(Arc<RequestContext>);

impl<S: Send + Sync> FromRequestParts<S> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let context = RequestContext::of(parts)?;
        context.check_edition()?;
        check_query(parts)?;
        Ok(Self(context))
    }
}

pub(crate) async fn report(
    Anybody(context): Anybody,
    State(state): State<HttpState>,
    Body(mut fields): Body,
) -> Result<Json<LeakReport>, Problem> {
    let app = &state.app;
    let secret = fields.text("secret")?;
    let source = fields.short_text("source", SOURCE_CHARS_MAX)?;
    let Some(secret) = secret else { return fields.refuse("secret", "the leaked API key") };
    fields.finish()?;
    let unknown = || Problem::with(ErrorCode::NotFound, "There is no such API key. Nothing was done.");
    let change = app.change(Who::LeakReporter, context.address, context.id);
    let leaked = match api_key::parse(&secret) {
        Ok(parsed) => app.report_leak(&parsed.secret, context.address, &change).await,
        // So that keys can't be searched for here either.
        Err(_) => Err(app.failed_attempt(context.address).await),
    };
    let leaked = match leaked {
        Ok(leaked) => leaked.ok_or_else(unknown)?,
        Err(error) if error.code() == ErrorCode::ApiKeyInvalid => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    // Where a key was found may be an address that holds it.
    let source = source.as_deref().map(redact);
    tracing::warn!(key = %leaked.key.id, policy = %leaked.policy, source = source.as_deref(), address = %context.address, "an API key was reported as leaked");
    let status = match leaked.policy {
        _ if leaked.key.revoked_at.is_some() => "revoked",
        LeakPolicy::Revoke => "revoked",
        LeakPolicy::Quarantine => "quarantined",
        LeakPolicy::Notify => "reported",
    };
    Ok(Json(LeakReport { object: "leak_report", status }))
}
