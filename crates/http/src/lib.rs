//! The HTTP edge: decodes requests, calls `app`, encodes answers. REST under `/v1`, the stream's WebSocket, health checks.
//!
//! Every handler that touches an organization's data takes a `gate::Caller`: without one it does not compile. Errors are
//! `problem::Problem`s, which one middleware turns into bodies.

mod api_keys;
mod audit;
mod body;
mod context;
mod edge;
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
mod problem;
mod quality;
mod requests;
mod serve;
mod sessions;
mod stream;
mod transcript;
mod transcript_text;
mod whoami;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, any, get, post};
use kallglot_app::App;
use kallglot_core::error_code::ErrorCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use edge::EdgeConfig;
pub use metrics::Metrics;
pub use serve::{ServeConfig, serve};
pub use stream::StreamConfig;

use crate::context::Around;
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
}

impl HttpState {
    /// To be passed to [`serve()`].
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl std::ops::Deref for HttpState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Every route: its path and its handlers by method. The OpenAPI document has the same ones, which a test proves.
fn routes() -> Vec<(&'static str, MethodRouter<HttpState>)> {
    vec![
        ("/v1/sessions", post(sessions::create).get(sessions::list)),
        ("/v1/sessions/{id}", get(sessions::get)),
        ("/v1/sessions/{id}/end", post(sessions::end)),
        ("/v1/sessions/{id}/transcript", get(transcript::get)),
        ("/v1/sessions/{id}/quality", get(quality::get)),
        ("/v1/sessions/{id}/connect", get(stream::connect)),
        ("/v1/languages", get(languages::list)),
        ("/v1/whoami", get(whoami::get)),
        ("/v1/api_keys", post(api_keys::create).get(api_keys::list)),
        ("/v1/api_keys/leaks", post(leaks::report)),
        ("/v1/api_keys/{id}", get(api_keys::get).patch(api_keys::update)),
        ("/v1/api_keys/{id}/rotate", post(api_keys::rotate)),
        ("/v1/api_keys/{id}/revoke", post(api_keys::revoke)),
        ("/v1/requests", get(requests::list)),
        ("/v1/requests/{id}", get(requests::get)),
        ("/v1/idempotency_keys/{key}", get(idempotency::get)),
        ("/v1/audit_log", get(audit::list)),
        ("/healthz", get(health::live)),
        ("/readyz", get(health::ready)),
    ]
}

/// The router of all routes. [`serve()`] puts in what it needs to know of each request.
fn router(state: HttpState) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes() {
        let methods = methods.fallback(async || Problem::of(ErrorCode::MethodNotAllowed));
        router = router.route(path, methods.layer(Around::new(&state, path)));
    }
    let nothing = any(async || Problem::of(ErrorCode::NotFound));
    router.fallback_service(nothing.layer(Around::new(&state, "none")).with_state(state.clone())).with_state(state)
}
