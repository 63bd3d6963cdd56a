//! Around every request: its id, where it comes from, the headers of its answer, its place in the request log, and the one place where a
//! refusal becomes a body.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use kallglot_app::gate::cache::Known;
use kallglot_cluster::Rate;
use kallglot_core::Timestamp;
use kallglot_core::api_key::ServerEnvironment;
use kallglot_core::edition::{Edition, UnknownEdition};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::RequestId;
use kallglot_core::request_record::{RecordedLimits, RequestRecord};
use serde::Serialize;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field};

use crate::HttpState;
use crate::limits::limit_headers;
use crate::metrics::RouteMetrics;
use crate::problem::Problem;

/// What is known of a request; found in its extensions. Filled in by the gate.
pub(crate) struct RequestContext {
    /// Its id.
    pub(crate) id: RequestId,
    /// When it arrived.
    pub(crate) at: Timestamp,
    begun: Instant,
    /// From where it comes, seen through trusted proxies.
    pub(crate) address: IpAddr,
    /// Which keys are let in at the host that it names.
    pub(crate) environment: ServerEnvironment,
    /// The edition by which it is read and answered, once known.
    pub(crate) edition: OnceLock<Edition>,
    names_no_edition: bool,
    /// Who makes it, once known.
    pub(crate) known: OnceLock<Arc<Known>>,
    /// How its buckets stand, once it was counted or refused.
    rate: Mutex<Option<Rate>>,
    /// Concurrent sessions and their limit, where it asked for one more.
    pub(crate) sessions: OnceLock<(u32, u32)>,
}

impl RequestContext {
    /// The context of a request that has just arrived from `peer`.
    pub(crate) fn new(state: &HttpState, peer: SocketAddr, request: &Request) -> Self {
        let at = state.app.clock.now();
        let edition = OnceLock::new();
        let named = edition_header(request.headers());
        if let Ok(Some(named)) = named {
            let _ = edition.set(named);
        }
        Self {
            id: state.app.request_id(at),
            at,
            begun: Instant::now(),
            address: state.edge.client_address(peer.ip(), request.headers()),
            environment: state.edge.environment(request).unwrap_or(state.app.config.environment),
            edition,
            names_no_edition: named.is_err(),
            known: OnceLock::new(),
            rate: Mutex::new(None),
            sessions: OnceLock::new(),
        }
    }

    /// Refuses a request whose header asks for an edition that there is not.
    pub(crate) fn check_edition(&self) -> Result<(), Problem> {
        if self.names_no_edition {
            let message = "The header Kallglot-Edition must be `1` or `2`.";
            return Err(Problem::with(ErrorCode::InvalidRequest, message));
        }
        Ok(())
    }

    /// How its buckets stand.
    pub(crate) fn rate(&self) -> Option<Rate> {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers how its buckets stand.
    pub(crate) fn set_rate(&self, rate: Rate) {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Some(rate);
    }
}

fn edition_header(headers: &HeaderMap) -> Result<Option<Edition>, UnknownEdition> {
    let Some(value) = headers.get("kallglot-edition") else { return Ok(None) };
    value.to_str().unwrap_or_default().trim().parse().map(Some)
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

/// Wraps the handlers of one route.
#[derive(Clone)]
pub(crate) struct Around {
    state: HttpState,
    route: &'static str,
    metrics: Arc<RouteMetrics>,
}

impl Around {
    /// For the route of this path; "none" for what has no route.
    pub(crate) fn new(state: &HttpState, route: &'static str) -> Self {
        Self { state: state.clone(), route, metrics: state.metrics.route(route) }
    }
}

impl<S> Layer<S> for Around {
    type Service = AroundService<S>;

    fn layer(&self, inner: S) -> AroundService<S> {
        AroundService { inner, around: self.clone() }
    }
}

/// A route's handlers with what is around them.
#[derive(Clone)]
pub(crate) struct AroundService<S> {
    inner: S,
    around: Around,
}

impl<S> Service<Request> for AroundService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let context = request.extensions().get::<Arc<RequestContext>>().cloned();
        let method = request.method().clone();
        let Around { state, route, metrics } = self.around.clone();
        let span = span(&state, &method, route, request.headers());
        let answer = self.inner.call(request);
        let answered = async move {
            let mut response = answer.await?;
            // Whoever serves this router without `crate::serve` gets bare answers.
            let Some(context) = context else { return Ok(response) };
            let problem = response.extensions_mut().remove::<Problem>();
            if let Some(problem) = &problem {
                response = refuse(&state, &context, problem, response).await;
            }
            finish(&state, &context, response.headers_mut());
            trace(&context, response.status(), problem.as_ref());
            log(&state, &context, method, route, response.status(), problem, &metrics);
            Ok(response)
        };
        if span.is_disabled() { Box::pin(answered) } else { Box::pin(answered.instrument(span)) }
    }
}

/// The request's span, for a collector of traces; disabled where there is none. OpenTelemetry's semantic conventions for HTTP servers.
fn span(state: &HttpState, method: &Method, route: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::trace_span!(
        target: "kallglot::trace",
        "request",
        otel.kind = "server",
        otel.name = field::Empty,
        otel.status_code = field::Empty,
        http.request.method = method_name(method),
        http.route = route,
        http.response.status_code = field::Empty,
        kallglot.request_id = field::Empty,
        kallglot.organization = field::Empty,
        kallglot.key = field::Empty,
        kallglot.code = field::Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{} {route}", method_name(method)));
        if let Some(join) = state.join_trace {
            join(&span, headers);
        }
    }
    span
}

/// Adds to the request's span what became of it.
fn trace(context: &RequestContext, status: StatusCode, problem: Option<&Problem>) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", status.as_u16());
    span.record("kallglot.request_id", field::display(context.id));
    if let Some(known) = context.known.get() {
        span.record("kallglot.organization", field::display(known.organization.id));
        span.record("kallglot.key", field::display(known.key.id));
    }
    if let Some(problem) = problem {
        span.record("kallglot.code", problem.code.as_str());
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Makes the answer of a refusal. One by another limit gives the rate unit back (contract section 3).
async fn refuse(state: &HttpState, context: &RequestContext, problem: &Problem, plain: Response) -> Response {
    let other_limit =
        matches!(problem.code, ErrorCode::ConcurrentSessionLimitExceeded | ErrorCode::InsufficientApiCredits);
    if other_limit && let (Some(known), Some(rate)) = (context.known.get(), context.rate()) {
        context.set_rate(state.app.give_back(known, &rate).await);
    }
    render(problem, context.id, context.edition.get().copied().unwrap_or_default(), plain)
}

/// The headers of contract section 5.
fn finish(state: &HttpState, context: &RequestContext, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_bytes(&context.id.text()) {
        headers.insert("x-request-id", id);
    }
    let edition = context.edition.get().copied().unwrap_or_default();
    headers.insert("kallglot-edition", HeaderValue::from_static(edition.as_str()));
    let Some(known) = context.known.get() else { return };
    let now = state.app.clock.now();
    if let Some(rate) = context.rate() {
        limit_headers(headers, &rate, known, now);
    }
}

fn log(
    state: &HttpState,
    context: &RequestContext,
    method: Method,
    route: &'static str,
    status: StatusCode,
    problem: Option<Problem>,
    metrics: &RouteMetrics,
) {
    let code = problem.as_ref().map(|problem| problem.code);
    let latency_us = u32::try_from(context.begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    metrics.observe(&method, code, status, latency_us);
    let known = context.known.get();
    tracing::debug!(
        target: "kallglot::request",
        request_id = %context.id,
        method = method_name(&method),
        route,
        status = status.as_u16(),
        code = code.map(ErrorCode::as_str),
        organization = known.map(|known| tracing::field::display(known.organization.id)),
        key = known.map(|known| tracing::field::display(known.key.id)),
        address = %context.address,
        latency_us,
        "request"
    );
    let Some(known) = known else { return };
    let limits = context.rate().map(|rate| {
        let (window, rate_of_key) = rate.tightest();
        RecordedLimits {
            rate_limit: window.limit,
            rate_remaining: window.remaining(),
            rate_resets_at_s: window.resets_at_s(),
            rate_of_key,
            credits_remaining: known.credits.balance().remaining,
            sessions: context.sessions.get().copied(),
        }
    });
    state.app.request_log.push(RequestRecord {
        id: context.id,
        tenant: known.key.tenant(),
        key: known.key.id,
        old_secret: known.secret_valid_until.is_some(),
        at: context.at,
        method: method_name(&method).into(),
        route: route.into(),
        status: status.as_u16(),
        code: code.map(|code| code.as_str().into()),
        latency_us,
        address: context.address,
        edition: context.edition.get().copied().unwrap_or_default(),
        param: problem.and_then(|problem| problem.param),
        limits,
    });
}

/// The method's name as it is logged. Any word can be sent as a method, a secret too: what is none of HTTP's is "_OTHER", as in OpenTelemetry.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn render(problem: &Problem, id: RequestId, edition: Edition, plain: Response) -> Response {
    if let Some(cause) = &problem.cause {
        if problem.code == ErrorCode::ServiceUnavailable {
            // That a part is away is said once where it is noticed, not by every request that would have needed it.
            tracing::debug!(request_id = %id, cause, "a request could not be answered now");
        } else {
            tracing::error!(request_id = %id, cause, "a request failed");
        }
    }
    let shape = edition.error_shape(problem.code);
    let status = shape.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(plain.status());
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
