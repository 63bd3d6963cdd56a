//! Whether the process lives and whether it can do its work; for load balancers and operators, without a key.

use axum::extract::State;
use axum::http::StatusCode;

use crate::HttpState;

/// The process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The database answers and the server is not stopping. Without the counters that nodes share it works on, each node with its share of the
/// limits: that is said, and no reason to send clients away.
pub(crate) async fn ready(State(state): State<HttpState>) -> (StatusCode, &'static str) {
    let app = &state.app;
    if state.stop.is_cancelled() || app.node.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if let Err(error) = app.storage.changes().await {
        tracing::error!(%error, "not ready");
        return (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n");
    }
    match app.cluster.check().get().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::OK, "ready, but Redis does not answer: each node counts its share of the limits\n"),
    }
}
