//! Around every request: its id, its log line, and the one place where a refusal becomes a body.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{ApiKeyId, OrganizationId, RequestId};
use serde::Serialize;
use tokio::time::Instant;

use crate::HttpState;
use crate::problem::Problem;

/// What is known of a request; found in its extensions. Filled in by the gate.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// The edition by which it is read and answered, once known.
    pub(crate) edition: OnceLock<Edition>,
    /// Who makes it, once known.
    pub(crate) caller: OnceLock<(OrganizationId, ApiKeyId)>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    r#type: &'static str,
    code: &'static str,
    message: &'a str,
    param: Option<&'a str>,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_url: Option<String>,
}

pub(crate) async fn around(State(state): State<HttpState>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let app = &state.app;
    let id = RequestId::new(app.clock.now(), app.random.as_ref());
    let context = Arc::new(RequestContext { edition: OnceLock::new(), caller: OnceLock::new() });
    if let Some(edition) = edition_header(&request) {
        let _ = context.edition.set(edition);
    }
    request.extensions_mut().insert(Arc::clone(&context));
    let method = request.method().clone();
    // The route, not the path: ids and tokens do not belong into the log.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());

    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    let edition = context.edition.get().copied().unwrap_or_default();
    if let Some(problem) = &problem {
        response = render(problem, id, edition, response);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert("x-request-id", value);
    }
    headers.insert("kallglot-edition", HeaderValue::from(u16::from(edition.number())));
    let (organization, key) = context.caller.get().copied().unzip();
    tracing::info!(
        target: "kallglot::request",
        request_id = %id,
        %method,
        route = route.as_ref().map_or("none", MatchedPath::as_str),
        status = response.status().as_u16(),
        code = problem.as_ref().map(|problem| problem.code.as_str()),
        organization = organization.map(tracing::field::display),
        key = key.map(tracing::field::display),
        address = address.map(tracing::field::display),
        latency_us = begun.elapsed().as_micros() as u64,
        "request"
    );
    response
}

fn edition_header(request: &Request) -> Option<Edition> {
    request.headers().get("kallglot-edition")?.to_str().ok()?.trim().parse().ok()
}

fn render(problem: &Problem, id: RequestId, edition: Edition, plain: Response) -> Response {
    if let Some(cause) = &problem.cause {
        tracing::error!(request_id = %id, cause, "a request failed");
    }
    let shape = edition.error_shape(problem.code);
    let status =
        shape.status.and_then(|status| axum::http::StatusCode::from_u16(status).ok()).unwrap_or(plain.status());
    let doc_url = edition.rules().error_doc_url.then(|| format!("/docs/errors#{}", shape.code));
    let fields = ErrorFields {
        r#type: shape.error_type.as_str(),
        code: shape.code,
        message: &problem.message,
        param: problem.param.as_deref(),
        request_id: id.to_string(),
        retry_after: problem.retry_after_s,
        doc_url,
    };
    let mut response = (status, Json(ErrorBody { error: fields })).into_response();
    let headers = response.headers_mut();
    // What the route added (`Allow`, for one) stays.
    for (name, value) in plain.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            headers.insert(name.clone(), value.clone());
        }
    }
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match (status.as_u16(), problem.code, &problem.param) {
        (_, ErrorCode::InsufficientPermissions, Some(scope)) => {
            let value = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        (401, ..) => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}
