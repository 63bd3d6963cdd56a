//! How the delivery of webhooks fares, for Prometheus: what [`DeliveryCounts`](kallglot_app::webhooks::DeliveryCounts) holds, read at each look.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kallglot_app::App;
use kallglot_app::webhooks::LATENCY_BUCKETS_MS;
use kallglot_core::delivery::AttemptError;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Reads the counts of an app.
pub(crate) struct DeliveryMetrics(pub(crate) Arc<App>);

impl fmt::Debug for DeliveryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryMetrics")
    }
}

impl Collector for DeliveryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counts = &self.0.webhooks.counts;
        let help = "Attempts to deliver webhooks, by how they ended";
        let mut attempts = encoder.encode_descriptor("webhook_attempts", help, None, MetricType::Counter)?;
        let failed = AttemptError::ALL.iter().zip(&counts.failed).map(|(error, count)| (error.as_str(), count));
        for (outcome, count) in std::iter::once(("succeeded", &counts.succeeded)).chain(failed) {
            let labels = [("outcome", outcome)];
            attempts.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count.load(Relaxed), None)?;
        }
        for (name, help, count) in [
            ("webhook_deliveries_given_up", "Deliveries that were given up after their last attempt", &counts.given_up),
            (
                "webhooks_disabled",
                "Endpoints that were disabled because they failed or said that they are gone",
                &counts.disabled,
            ),
        ] {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<NoLabelSet, _, u64>(&count.load(Relaxed), None)?;
        }
        let as_gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("webhook_attempts_in_flight", "Attempts under way in this process", &counts.in_flight),
            (
                "webhook_deliveries_due",
                "Deliveries that are due, of all nodes, up to 100000; looked at every 10 s",
                &counts.due,
            ),
            (
                "webhook_deliveries_pending",
                "Deliveries that are due now or later, of all nodes, up to 100000",
                &counts.pending,
            ),
        ] {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode_gauge(&as_gauge(value.load(Relaxed)))?;
        }
        let help = "For how long the delivery has been due that has been for longest, of all nodes";
        let mut oldest = encoder.encode_descriptor("webhook_oldest_due_seconds", help, None, MetricType::Gauge)?;
        oldest.encode_gauge(&(counts.oldest_due_ms.load(Relaxed) as f64 / 1000.0))?;
        let buckets: Vec<(f64, u64)> = LATENCY_BUCKETS_MS
            .iter()
            .zip(&counts.latency)
            .map(|(ms, count)| (if *ms == u64::MAX { f64::MAX } else { *ms as f64 / 1000.0 }, count.load(Relaxed)))
            .collect();
        let help = "From an event to its acceptance by an endpoint, where the first attempt succeeded";
        let mut latency =
            encoder.encode_descriptor("webhook_delivery_duration_seconds", help, None, MetricType::Histogram)?;
        let sum = counts.latency_sum_ms.load(Relaxed) as f64 / 1000.0;
        latency.encode_histogram::<NoLabelSet>(sum, buckets.iter().map(|(_, count)| count).sum(), &buckets, None)
    }
}
