//! What is counted, for Prometheus (`GET /metrics`, in the OpenMetrics text format): outcomes and latency by route, and how the gate's parts stand.
//!
//! What must stay true: labels have few values, all known beforehand (routes, methods, codes), and never name an organization, a key or
//! an address; counting an answer takes a few atomic additions. Only clients in [`crate::EdgeConfig::metrics_from`] may read.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kallglot_core::error_code::ErrorCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::HttpState;
use crate::context::RequestContext;
use crate::problem::Problem;

const METHODS: [&str; 6] = ["GET", "POST", "PATCH", "DELETE", "HEAD", "other"];
/// The statuses of answers without a code.
const SUCCESSES: [u16; 6] = [101, 200, 201, 202, 204, 304];
const OUTCOMES: usize = SUCCESSES.len() + 1 + ErrorCode::ALL.len();

type Labels = Vec<(&'static str, String)>;

/// All counts.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    keys_cached: Gauge,
    key_look_ups: Gauge,
    sessions_live: Gauge,
    log_waiting: Gauge,
    log_dropped: Gauge,
    nodes: Gauge,
    database_up: Gauge,
    redis_up: Gauge,
    redis_fallbacks: Gauge,
    recordings_waiting: Gauge,
    recordings_waiting_bytes: Gauge,
    recordings_dropped_ms: Gauge,
    recordings_write_failures: Gauge,
    spool_bytes: Gauge,
    spool_rejected_bytes: Gauge,
    event_streams: Gauge,
    event_streams_refused: Gauge,
    /// Event streams that were cut off since the start because their client did not read.
    pub(crate) event_streams_cut: Gauge,
    analyses_completed: Gauge,
    analyses_failed: Gauge,
    analyses_retried: Gauge,
    analyses_seconds: Gauge<f64, AtomicU64>,
    analyses_under_way: Gauge,
    /// Streams that this node passes on to their session's node, open now.
    pub(crate) streams_bridged: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 50 µs to 13 s, each bucket four times as long as the one before.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_05, 4.0, 10));
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("kallglot")),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            keys_cached: Gauge::default(),
            key_look_ups: Gauge::default(),
            sessions_live: Gauge::default(),
            log_waiting: Gauge::default(),
            log_dropped: Gauge::default(),
            nodes: Gauge::default(),
            database_up: Gauge::default(),
            redis_up: Gauge::default(),
            redis_fallbacks: Gauge::default(),
            recordings_waiting: Gauge::default(),
            recordings_waiting_bytes: Gauge::default(),
            recordings_dropped_ms: Gauge::default(),
            recordings_write_failures: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_rejected_bytes: Gauge::default(),
            event_streams: Gauge::default(),
            event_streams_refused: Gauge::default(),
            event_streams_cut: Gauge::default(),
            analyses_completed: Gauge::default(),
            analyses_failed: Gauge::default(),
            analyses_retried: Gauge::default(),
            analyses_seconds: Gauge::default(),
            analyses_under_way: Gauge::default(),
            streams_bridged: Gauge::default(),
        };
        let mut registry = Registry::with_prefix("kallglot");
        registry.register("http_requests", "Requests by route and outcome", metrics.requests.clone());
        registry.register("http_request_duration_seconds", "From arrival to answer", metrics.durations.clone());
        for (name, help, gauge) in [
            ("keys_cached", "API keys in memory", &metrics.keys_cached),
            (
                "key_look_ups",
                "Keys that were not in memory and had to be looked up, since the start",
                &metrics.key_look_ups,
            ),
            ("sessions_live", "Sessions that are live in this process", &metrics.sessions_live),
            ("request_log_waiting", "Requests that wait to be stored in the request log", &metrics.log_waiting),
            (
                "request_log_dropped",
                "Requests that the request log lost because too many waited, since the start",
                &metrics.log_dropped,
            ),
            (
                "nodes",
                "Nodes that share the database, as this one knows; 1 for a server that runs alone",
                &metrics.nodes,
            ),
            ("database_up", "1 while the database answers this node", &metrics.database_up),
            ("redis_up", "1 while Redis answers this node, or none is needed", &metrics.redis_up),
            (
                "redis_fallbacks",
                "Calls that this node counted by itself because Redis did not answer, since the start",
                &metrics.redis_fallbacks,
            ),
            (
                "recordings_waiting",
                "Sessions that have ended and whose recordings are not made, on all nodes",
                &metrics.recordings_waiting,
            ),
            (
                "recordings_waiting_bytes",
                "Recorded audio that this node's disk has not taken yet",
                &metrics.recordings_waiting_bytes,
            ),
            (
                "recordings_dropped_ms",
                "Audio that was not recorded because the disk did not take it, in milliseconds, since the start",
                &metrics.recordings_dropped_ms,
            ),
            (
                "recordings_write_failures",
                "How often a recording could not be written to the disk, since the start",
                &metrics.recordings_write_failures,
            ),
            ("spool_bytes", "What waits on this node's disk for the database to be back", &metrics.spool_bytes),
            (
                "spool_rejected_bytes",
                "What waited there and could not be stored: set aside for a person to look at",
                &metrics.spool_rejected_bytes,
            ),
            ("event_streams", "Streams of events that are open on this node", &metrics.event_streams),
            (
                "event_streams_refused",
                "Streams of events refused because their organization had too many on this node, since the start",
                &metrics.event_streams_refused,
            ),
            (
                "event_streams_cut",
                "Streams of events cut off because their client did not read, since the start",
                &metrics.event_streams_cut,
            ),
            (
                "analyses_completed",
                "Analyses that this process completed, since the start",
                &metrics.analyses_completed,
            ),
            (
                "analyses_failed",
                "Analyses that failed for good in this process, since the start",
                &metrics.analyses_failed,
            ),
            (
                "analyses_retried",
                "Attempts at analyses that failed in this process and were left for another one, since the start",
                &metrics.analyses_retried,
            ),
            ("analyses_under_way", "Analyses that this process is making", &metrics.analyses_under_way),
            (
                "streams_bridged",
                "Streams that this node passes on to the node of their session",
                &metrics.streams_bridged,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "analyses_completed_seconds",
            "How long the completed analyses took in all, since the start",
            metrics.analyses_seconds.clone(),
        );
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    /// From now on these counts are told too.
    pub(crate) fn watch(&self, counts: impl Collector) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(counts));
    }

    /// The counts of one route.
    pub(crate) fn route(&self, route: &'static str) -> Arc<RouteMetrics> {
        Arc::new(RouteMetrics {
            route,
            requests: self.requests.clone(),
            counters: (0..METHODS.len() * OUTCOMES).map(|_| OnceLock::new()).collect(),
            durations: self.durations.get_or_create_owned(&vec![("route", route.to_owned())]),
        })
    }
}

/// The counts of one route. Each counter is looked up once and kept.
pub(crate) struct RouteMetrics {
    route: &'static str,
    requests: Family<Labels, Counter>,
    counters: Box<[OnceLock<Counter>]>,
    durations: Histogram,
}

impl RouteMetrics {
    /// Counts an answer.
    pub(crate) fn observe(&self, method: &Method, code: Option<ErrorCode>, status: StatusCode, latency_us: u32) {
        let method = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1);
        let outcome = match code {
            Some(code) => SUCCESSES.len() + 1 + code as usize,
            None => SUCCESSES.iter().position(|known| *known == status.as_u16()).unwrap_or(SUCCESSES.len()),
        };
        let counter = self.counters[method * OUTCOMES + outcome].get_or_init(|| {
            let labels = vec![
                ("method", METHODS[method].to_owned()),
                ("route", self.route.to_owned()),
                ("status", status.as_str().to_owned()),
                ("code", code.map_or("", ErrorCode::as_str).to_owned()),
            ];
            self.requests.get_or_create_owned(&labels)
        });
        counter.inc();
        self.durations.observe(f64::from(latency_us) / 1e6);
    }
}

/// A client that may read the counts.
pub(crate) struct Scraper;

impl FromRequestParts<HttpState> for Scraper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let address = RequestContext::of(parts)?.address;
        if state.edge.metrics_from.iter().any(|network| network.contains(&address)) {
            Ok(Self)
        } else {
            // Nobody else needs to know that it is here.
            Err(Problem::of(ErrorCode::NotFound))
        }
    }
}

pub(crate) async fn get(_: Scraper, State(state): State<HttpState>) -> Response {
    let (metrics, app) = (&state.metrics, &state.app);
    let set = |gauge: &Gauge, value: u64| {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    };
    set(&metrics.keys_cached, app.keys.len() as u64);
    set(&metrics.key_look_ups, app.keys.look_ups());
    set(&metrics.sessions_live, app.hub.live_count() as u64);
    set(&metrics.log_waiting, app.request_log.waiting() as u64);
    set(&metrics.log_dropped, app.request_log.dropped());
    set(&metrics.nodes, u64::from(app.node.nodes.load(Ordering::Relaxed)));
    set(&metrics.database_up, u64::from(app.node.database_up.load(Ordering::Relaxed)));
    set(&metrics.redis_up, u64::from(app.cluster.check().get().await.is_ok()));
    set(&metrics.redis_fallbacks, app.cluster.fallbacks());
    set(&metrics.event_streams, app.feed.len() as u64);
    set(&metrics.event_streams_refused, app.feed.refused());
    let (waiting, disk) = (&app.recordings.waiting, app.recordings.disk.counts());
    set(&metrics.recordings_waiting, waiting.load(Ordering::Relaxed));
    set(&metrics.recordings_waiting_bytes, disk.waiting_bytes.load(Ordering::Relaxed));
    set(&metrics.recordings_dropped_ms, disk.dropped_ms.load(Ordering::Relaxed));
    set(&metrics.recordings_write_failures, disk.failures.load(Ordering::Relaxed));
    set(&metrics.spool_bytes, app.spool.bytes());
    set(&metrics.spool_rejected_bytes, app.spool.rejected_bytes());
    let analyses = &app.analyses.counts;
    set(&metrics.analyses_completed, analyses.completed.load(Ordering::Relaxed));
    set(&metrics.analyses_failed, analyses.failed.load(Ordering::Relaxed));
    set(&metrics.analyses_retried, analyses.retried.load(Ordering::Relaxed));
    set(&metrics.analyses_under_way, analyses.under_way.load(Ordering::Relaxed));
    metrics.analyses_seconds.set(analyses.completed_ms.load(Ordering::Relaxed) as f64 / 1e3);
    let mut text = String::new();
    let encoded = encode(&mut text, &metrics.registry.lock().unwrap_or_else(PoisonError::into_inner));
    if encoded.is_err() {
        let _ = write!(text, "# the counts could not be written");
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
