//! What webhooks need of the server: where they may be sent, how their secrets are kept, and how their delivery fares.

use std::sync::atomic::{AtomicU64, Ordering};

use kallglot_core::delivery::{AttemptError, EXCERPT_BYTES_MAX};
use kallglot_core::egress::EgressPolicy;
use kallglot_core::id::WebhookId;
use kallglot_core::random::RandomSource;
use kallglot_core::webhook::WebhookSecret;
use tokio::sync::Notify;

use crate::seal::{Seal, Unopened};

/// What is shared by those who manage endpoints and those who deliver.
pub struct Webhooks {
    /// Where they may be sent.
    pub egress: EgressPolicy,
    /// How delivery fares in this process.
    pub counts: DeliveryCounts,
    /// Told when there may be something to deliver at once: what is due is also found without it.
    pub hurry: Notify,
    seal: Seal,
}

impl Webhooks {
    /// `key` is what endpoints' secrets are sealed with, from a CSPRNG. Without it their deliveries can't be signed.
    pub fn new(key: [u8; 32], egress: EgressPolicy) -> Self {
        Self { egress, counts: DeliveryCounts::default(), hurry: Notify::new(), seal: Seal::new(key) }
    }

    /// An endpoint's secret as it is stored.
    pub fn seal(&self, id: WebhookId, secret: &WebhookSecret, random: &dyn RandomSource) -> Vec<u8> {
        self.seal.seal(secret.expose().as_bytes(), id.to_string().as_bytes(), random)
    }

    /// An endpoint's secret.
    ///
    /// # Errors
    /// It was sealed with another key, or for another endpoint.
    pub fn open(&self, id: WebhookId, sealed: &[u8]) -> Result<WebhookSecret, Unopened> {
        let text = self.seal.open(sealed, id.to_string().as_bytes())?;
        let text = std::str::from_utf8(&text).map_err(|_| Unopened)?;
        WebhookSecret::parse(text).map_err(|_| Unopened)
    }
}

/// Upper bounds of the buckets of [`DeliveryCounts::latency`], in milliseconds.
pub const LATENCY_BUCKETS_MS: [u64; 12] = [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, u64::MAX];

/// How delivery fares in this process.
#[derive(Debug, Default)]
pub struct DeliveryCounts {
    /// Attempts that succeeded, since the start.
    pub succeeded: AtomicU64,
    /// Attempts that failed, since the start, in the order of [`AttemptError::ALL`].
    pub failed: [AtomicU64; AttemptError::ALL.len()],
    /// Deliveries that were given up, since the start.
    pub given_up: AtomicU64,
    /// Endpoints that were disabled, since the start.
    pub disabled: AtomicU64,
    /// Attempts under way.
    pub in_flight: AtomicU64,
    /// Deliveries that are due, of all nodes, as was last seen.
    pub due: AtomicU64,
    /// Deliveries that are pending, of all nodes, as was last seen.
    pub pending: AtomicU64,
    /// For how long the delivery has been due that has been for longest, of all nodes, as was last seen. Milliseconds.
    pub oldest_due_ms: AtomicU64,
    /// First attempts that succeeded, by the time from their event to the answer: one number for each of [`LATENCY_BUCKETS_MS`].
    pub latency: [AtomicU64; LATENCY_BUCKETS_MS.len()],
    /// The sum of those times, in milliseconds.
    pub latency_sum_ms: AtomicU64,
}

impl DeliveryCounts {
    /// Counts a first attempt that succeeded `ms` after its event.
    pub fn took(&self, ms: u64) {
        let bucket = LATENCY_BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(0);
        self.latency[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Counts an attempt that failed.
    pub fn failed_with(&self, error: AttemptError) {
        self.failed[error as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The beginning of what an endpoint answered, as far as it is kept: text, without control characters that a terminal would obey.
pub fn excerpt(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(EXCERPT_BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|it| if it.is_control() && !matches!(it, '\n' | '\t') { '\u{fffd}' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sevens;
    impl RandomSource for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_secret_opens_for_its_endpoint_only() {
        let webhooks = Webhooks::new([1; 32], EgressPolicy::default());
        let (id, other) = (WebhookId::from_bits(1), WebhookId::from_bits(2));
        let secret = WebhookSecret::new(&Sevens);
        let sealed = webhooks.seal(id, &secret, &Sevens);
        assert!(webhooks.open(id, &sealed).is_ok_and(|opened| opened == secret));
        assert!(webhooks.open(other, &sealed).is_err());
    }

    #[test]
    fn what_an_endpoint_answers_can_do_no_harm_in_the_log() {
        assert_eq!(excerpt(b"fine\n\x1b[2Jgone\0\xff"), "fine\n\u{fffd}[2Jgone\u{fffd}\u{fffd}");
        assert_eq!(excerpt(&[b'x'; 10_000]).len(), EXCERPT_BYTES_MAX);
    }
}
