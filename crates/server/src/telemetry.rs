//! What the server says about itself while it runs: log lines to standard error, and traces to an OpenTelemetry collector if one is named.
//!
//! What must stay true: no key, token or body is in a line or a span; with no collector, tracing costs nothing.

use std::io::IsTerminal as _;

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{LogConfig, TraceConfig};

/// The target of all spans that are for a collector; see `kallglot_http`.
const SPANS: &str = "kallglot::trace";

/// Sends what is left to the collector when dropped.
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Begins to log, and to trace if `traces` names a collector.
pub(crate) fn start(log: &LogConfig, traces: &TraceConfig) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| format!("`log.filter` is not valid: {error}"))?;
    // Whatever is asked for.
    let filter = filter.and(filter_fn(|line| !holds_messages(line)));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if log.format == "json" {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    };
    let provider = if traces.otlp_endpoint.is_empty() { None } else { Some(provider(traces)?) };
    let spans = provider.as_ref().map(|provider| {
        let only_spans = Targets::new().with_target(SPANS, Level::TRACE);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("kallglot")).with_filter(only_spans)
    });
    tracing_subscriber::registry().with(lines).with(spans).init();
    Ok(Telemetry(provider))
}

/// Whether lines like this hold the messages of streams: what people say, and whatever else a client sends.
fn holds_messages(line: &Metadata<'_>) -> bool {
    line.target().starts_with("tungstenite") && *line.level() == Level::TRACE
}

fn provider(traces: &TraceConfig) -> Result<SdkTracerProvider, String> {
    // Fails when another part of the program has chosen already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = format!("{}/v1/traces", traces.otlp_endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| format!("`traces.otlp_endpoint`: {error}"))?;
    let ratio = Sampler::TraceIdRatioBased(traces.sample_ratio);
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_resource(Resource::builder().with_service_name("kallglot").build())
        .build())
}

/// Makes a request's span a part of the caller's trace, if its `traceparent` header (W3C Trace Context) names one.
pub(crate) fn join_trace(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if context.span().span_context().is_valid() {
        let _ = span.set_parent(context);
    }
}
