//! The HTTP edge: decodes requests, calls `app`, encodes answers. REST under `/v1`, the stream's WebSocket, health checks.
//!
//! Every handler that touches an organization's data takes a `gate::Caller`: without one it does not compile. Errors are
//! `problem::Problem`s, which one middleware turns into bodies.

mod body;
mod context;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod health;
mod languages;
mod problem;
mod quality;
mod sessions;
mod stream;
mod transcript;
mod transcript_text;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use kallglot_app::App;
use kallglot_core::error_code::ErrorCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use stream::StreamConfig;

use crate::problem::Problem;

/// What the handlers share.
#[derive(Clone)]
pub struct HttpState {
    /// The use cases.
    pub app: Arc<App>,
    /// Tracks open streams, so that shutdown can wait for them.
    pub tasks: TaskTracker,
    /// Cancelled when the server is to stop.
    pub stop: CancellationToken,
    /// How streams are kept.
    pub stream: StreamConfig,
}

/// All routes. Serve with `into_make_service_with_connect_info::<SocketAddr>()`.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/v1/sessions", post(sessions::create).get(sessions::list))
        .route("/v1/sessions/{id}", get(sessions::get))
        .route("/v1/sessions/{id}/end", post(sessions::end))
        .route("/v1/sessions/{id}/transcript", get(transcript::get))
        .route("/v1/sessions/{id}/quality", get(quality::get))
        .route("/v1/sessions/{id}/connect", any(stream::connect))
        .route("/v1/languages", get(languages::list))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(async || Problem::of(ErrorCode::NotFound))
        .method_not_allowed_fallback(async || Problem::of(ErrorCode::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(state.clone(), context::around))
        .with_state(state)
}
