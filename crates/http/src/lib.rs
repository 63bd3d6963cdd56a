//! The HTTP edge: decodes requests, calls `app`, encodes answers. REST under `/v1`, the stream's WebSocket, health checks.
//!
//! Every handler that touches an organization's data takes a `gate::Caller`: without one it does not compile. Errors are
//! `problem::Problem`s, which one middleware turns into bodies.

mod analysis;
mod api_keys;
mod audit;
mod body;
mod compliance_profiles;
mod context;
mod delivery_metrics;
mod docs;
mod edge;
mod event_stream;
mod events;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod health;
mod idempotency;
mod languages;
mod leaks;
mod limits;
mod list;
mod metrics;
mod openapi;
mod portal;
mod problem;
mod quality;
mod recordings;
mod requests;
mod serve;
mod sessions;
mod stream;
mod transcript;
mod webhooks;
mod whoami;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::{MethodRouter, any, on};
use kallglot_app::App;
use kallglot_core::error_code::ErrorCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

pub use edge::EdgeConfig;
pub use metrics::Metrics;
pub use serve::{ServeConfig, serve};
pub use stream::StreamConfig;

use crate::context::Around;
use crate::delivery_metrics::DeliveryMetrics;
use crate::openapi::Route;
use crate::portal::Portal;
use crate::problem::Problem;

/// What the handlers share. Cloned for every request: one count.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

/// See [`HttpState`].
pub struct Shared {
    /// The use cases.
    pub app: Arc<App>,
    /// Tracks connections and streams, so that shutdown can wait for them.
    pub tasks: TaskTracker,
    /// Cancelled when the server is to stop.
    pub stop: CancellationToken,
    /// How streams are kept.
    pub stream: StreamConfig,
    /// What is in front of the server.
    pub edge: EdgeConfig,
    /// What is counted.
    pub metrics: Metrics,
    /// Makes a request's span a part of its caller's trace, where requests are traced.
    pub join_trace: Option<fn(&tracing::Span, &HeaderMap)>,
    /// What answers below `/portal`.
    pub portal: Option<Router>,
}

impl HttpState {
    /// To be passed to [`serve()`].
    pub fn new(shared: Shared) -> Self {
        shared.metrics.watch(DeliveryMetrics(Arc::clone(&shared.app)));
        Self(Arc::new(shared))
    }
}

impl std::ops::Deref for HttpState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What answers a route. Every route of the table has its handler here, and there is no other way into the router.
fn handler(route: Route) -> MethodRouter<HttpState> {
    let method = route.operation().verb.filter();
    match route {
        Route::CreateSession => on(method, sessions::create),
        Route::ListSessions => on(method, sessions::list),
        Route::GetSession => on(method, sessions::get),
        Route::EndSession => on(method, sessions::end),
        Route::ConnectSession => on(method, stream::connect),
        Route::GetTranscript => on(method, transcript::get),
        Route::GetQuality => on(method, quality::get),
        Route::StreamSessionEvents => on(method, event_stream::session),
        Route::CreateWebhook => on(method, webhooks::create),
        Route::ListWebhooks => on(method, webhooks::list),
        Route::GetWebhook => on(method, webhooks::get),
        Route::UpdateWebhook => on(method, webhooks::update),
        Route::DeleteWebhook => on(method, webhooks::delete),
        Route::TestWebhook => on(method, webhooks::test),
        Route::RotateWebhookSecret => on(method, webhooks::rotate),
        Route::ListWebhookDeliveries => on(method, webhooks::deliveries),
        Route::GetWebhookDelivery => on(method, webhooks::delivery),
        Route::RedeliverWebhookDelivery => on(method, webhooks::redeliver),
        Route::ListEvents => on(method, events::list),
        Route::GetEvent => on(method, events::get),
        Route::ListenToEvents => on(method, event_stream::listen),
        Route::CreateAnalysis => on(method, analysis::create),
        Route::GetAnalysis => on(method, analysis::get),
        Route::ListAnalyses => on(method, analysis::list),
        Route::CreateComplianceProfile => on(method, compliance_profiles::create),
        Route::ListComplianceProfiles => on(method, compliance_profiles::list),
        Route::GetComplianceProfile => on(method, compliance_profiles::get),
        Route::UpdateComplianceProfile => on(method, compliance_profiles::update),
        Route::DeleteComplianceProfile => on(method, compliance_profiles::delete),
        Route::ListSessionRecordings => on(method, recordings::of_session),
        Route::PauseRecording => on(method, recordings::pause),
        Route::ResumeRecording => on(method, recordings::resume),
        Route::ListRecordings => on(method, recordings::list),
        Route::GetRecording => on(method, recordings::get),
        Route::GetRecordingAudio => on(method, recordings::audio),
        Route::DeleteRecording => on(method, recordings::delete),
        Route::WhoAmI => on(method, whoami::get),
        Route::ListLanguages => on(method, languages::list),
        Route::CreateApiKey => on(method, api_keys::create),
        Route::ListApiKeys => on(method, api_keys::list),
        Route::GetApiKey => on(method, api_keys::get),
        Route::UpdateApiKey => on(method, api_keys::update),
        Route::RotateApiKey => on(method, api_keys::rotate),
        Route::RevokeApiKey => on(method, api_keys::revoke),
        Route::ReportLeak => on(method, leaks::report),
        Route::ListAuditLog => on(method, audit::list),
        Route::ListRequests => on(method, requests::list),
        Route::GetRequest => on(method, requests::get),
        Route::GetIdempotencyKey => on(method, idempotency::get),
        Route::Health => on(method, health::live),
        Route::Readiness => on(method, health::ready),
        Route::Metrics => on(method, metrics::get),
        Route::Document => on(method, docs::document),
        Route::DocumentOfEdition1 => on(method, docs::document_of_edition_1),
        Route::Reference => on(method, docs::reference),
        Route::ErrorReference => on(method, docs::errors),
        Route::ReferenceAsset => on(method, docs::asset),
    }
}

/// Every path with what answers it, by method.
fn paths() -> Vec<(&'static str, MethodRouter<HttpState>)> {
    let mut paths: Vec<(&'static str, MethodRouter<HttpState>)> = Vec::new();
    for route in Route::ALL {
        let (path, handler) = (route.operation().path, handler(*route));
        match paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, methods)) => *methods = std::mem::take(methods).merge(handler),
            None => paths.push((path, handler)),
        }
    }
    paths
}

/// The router of all routes. [`serve()`] puts in what it needs to know of each request.
fn router(state: HttpState) -> Router {
    let mut router = Router::new();
    for (path, methods) in paths() {
        let methods = methods.fallback(async || Problem::of(ErrorCode::MethodNotAllowed));
        router = router.route(path, methods.layer(Around::new(&state, path)));
    }
    if let Some(portal) = &state.portal {
        let portal = Around::new(&state, "/portal").layer(Portal(portal.clone()));
        router = router.nest_service("/portal", portal);
        // Who opens the server's address in a browser wants to see something.
        let start = axum::routing::get(async || Redirect::to("/portal"));
        router = router.route("/", start.layer(Around::new(&state, "/")));
    }
    let nothing = any(async || Problem::of(ErrorCode::NotFound));
    router.fallback_service(nothing.layer(Around::new(&state, "none")).with_state(state.clone())).with_state(state)
}
