//! Whether the process lives and whether it can do its work; for load balancers and operators, without a key.

use axum::extract::State;
use axum::http::StatusCode;

use crate::HttpState;

/// The process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The database answers and the server is not stopping.
pub(crate) async fn ready(State(state): State<HttpState>) -> (StatusCode, &'static str) {
    if state.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match state.app.storage.changes().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::error!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}
