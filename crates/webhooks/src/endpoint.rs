//! What the worker knows of an endpoint that this node has claimed: what is to be sent to it next, what is under way, and how much at once
//! it is worth.
//!
//! An endpoint begins with a few attempts at once. Each success gives it a little more room, each failure takes half. One that only fails
//! gets one attempt at a time, with pauses that grow to [`PAUSE_MAX`]: its backlog waits for it to be repaired instead of being worn out
//! in minutes, and the first success gives it back its pace.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kallglot_app::webhooks::Webhooks;
use kallglot_core::Timestamp;
use kallglot_core::delivery::AttemptError;
use kallglot_core::egress::EndpointUrl;
use kallglot_core::id::{DeliveryId, EventId, WebhookId};
use kallglot_core::webhook::WebhookSecret;
use kallglot_storage::{ClaimedWebhook, DUE_MAX, DueDelivery};
use tokio::time::Instant;

use crate::connect::{Pool, SendError};

/// Attempts at once that an endpoint begins with, has at most, and has at most while it is slow.
const SLOTS_FIRST: f32 = 4.0;
const SLOTS_MAX: f32 = 32.0;
const SLOTS_SLOW_MAX: f32 = 16.0;
/// From which time to an answer on an endpoint is slow.
pub(crate) const SLOW: Duration = Duration::from_secs(1);
/// After how many failures one after another pauses begin, the first of them, and the longest.
const PAUSE_AFTER: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Deliveries that wait in memory for a free slot, for each slot.
const QUEUED_PER_SLOT: usize = 4;

/// What is sent, and what it is of.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) due: DueDelivery,
    /// The event; none when it is not stored any more.
    pub(crate) event: Option<Arc<Rendered>>,
}

/// An event as it is sent, shared by all endpoints.
pub(crate) struct Rendered {
    pub(crate) id: EventId,
    pub(crate) at: Timestamp,
    pub(crate) body: Bytes,
}

/// What it takes to sign for an endpoint and to reach it; or why that can't be.
pub(crate) struct Target {
    pub(crate) text: String,
    pub(crate) url: Result<EndpointUrl, SendError>,
    pub(crate) secrets: Result<Vec<(WebhookSecret, Option<Timestamp>)>, SendError>,
    pub(crate) pool: Pool,
}

impl Target {
    pub(crate) fn of(webhooks: &Webhooks, claimed: &ClaimedWebhook) -> Self {
        let webhook = &claimed.webhook;
        let url = webhooks
            .egress
            .endpoint(&webhook.url, webhook.tenant.environment)
            .map_err(|refused| SendError::new(AttemptError::AddressRefused, format!("the URL {refused}")));
        let old = claimed.secrets.old.as_ref().map(|(sealed, until)| (sealed, Some(*until)));
        let all = std::iter::once((&claimed.secrets.current, None)).chain(old);
        let opened: Result<Vec<_>, _> =
            all.map(|(sealed, until)| Ok((webhooks.open(webhook.id, sealed)?, until))).collect();
        let secrets = opened.map_err(|_: kallglot_app::seal::Unopened| {
            let detail = "this server can't read the endpoint's secret, so it can't sign: give it a new one";
            SendError::new(AttemptError::SecretUnreadable, detail)
        });
        Self { text: webhook.url.clone(), url, secrets, pool: Pool::default() }
    }
}

/// An endpoint that this node has claimed.
pub(crate) struct Endpoint {
    pub(crate) target: Arc<Target>,
    pub(crate) version: i64,
    /// What is to be sent, in this order.
    pub(crate) queue: VecDeque<Ready>,
    /// What is being sent, and since when.
    in_flight: HashMap<DeliveryId, Instant>,
    /// What has been sent, while it is not stored what came of it.
    unstored: HashSet<DeliveryId>,
    slots: f32,
    slow: bool,
    /// Failures one after another.
    failures: u32,
    paused_until: Option<Instant>,
    /// When something was last due or under way.
    pub(crate) busy_at: Instant,
    /// Whether the database has more that is due than was fetched.
    pub(crate) more: bool,
}

impl Endpoint {
    pub(crate) fn of(webhooks: &Webhooks, claimed: &ClaimedWebhook) -> Self {
        Self {
            target: Arc::new(Target::of(webhooks, claimed)),
            version: claimed.version,
            queue: VecDeque::new(),
            in_flight: HashMap::new(),
            unstored: HashSet::new(),
            slots: SLOTS_FIRST,
            slow: false,
            failures: 0,
            paused_until: None,
            busy_at: Instant::now(),
            more: true,
        }
    }

    /// The endpoint was changed: what is sent from now on goes where it says now.
    pub(crate) fn change(&mut self, webhooks: &Webhooks, claimed: &ClaimedWebhook) {
        self.target = Arc::new(Target::of(webhooks, claimed));
        self.version = claimed.version;
        // Perhaps it was repaired.
        (self.failures, self.paused_until) = (0, None);
    }

    /// Everything that needs not be fetched again.
    pub(crate) fn held(&self) -> Vec<DeliveryId> {
        let queued = self.queue.iter().map(|ready| ready.due.id);
        queued.chain(self.in_flight.keys().copied()).chain(self.unstored.iter().copied()).collect()
    }

    /// Whether nothing of it is in this process's hands.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty() && self.unstored.is_empty()
    }

    /// How many more deliveries are to be fetched.
    pub(crate) fn wanted(&self) -> u32 {
        let room = self.slots as usize * QUEUED_PER_SLOT;
        let held = self.queue.len() + self.in_flight.len() + self.unstored.len();
        if !self.more || self.queue.len() * 2 > room || held >= DUE_MAX as usize {
            return 0;
        }
        (room - self.queue.len()) as u32
    }

    pub(crate) fn enqueue(&mut self, ready: Ready) {
        let id = ready.due.id;
        let known = self.in_flight.contains_key(&id)
            || self.unstored.contains(&id)
            || self.queue.iter().any(|queued| queued.due.id == id);
        if !known {
            self.queue.push_back(ready);
        }
    }

    /// Whether it is slow or fails: one of those that share half of what there is.
    pub(crate) fn is_laggard(&self, now: Instant) -> bool {
        self.slow || self.failures > 0 || self.in_flight.values().any(|since| now.duration_since(*since) > SLOW)
    }

    /// Whether another attempt may begin.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        !self.queue.is_empty()
            && self.in_flight.len() < self.slots as usize
            && self.paused_until.is_none_or(|until| now >= until)
    }

    /// When a pause ends, if something waits for that.
    pub(crate) fn pause_ends(&self) -> Option<Instant> {
        if self.queue.is_empty() { None } else { self.paused_until }
    }

    pub(crate) fn begin(&mut self, now: Instant) -> Option<Ready> {
        let ready = self.queue.pop_front()?;
        self.in_flight.insert(ready.due.id, now);
        self.busy_at = now;
        Some(ready)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// An attempt is over.
    pub(crate) fn end(&mut self, id: DeliveryId, succeeded: bool, took: Duration, now: Instant) {
        self.in_flight.remove(&id);
        self.unstored.insert(id);
        self.busy_at = now;
        self.slow = took > SLOW;
        if succeeded {
            let (most, more) = if self.slow { (SLOTS_SLOW_MAX, 0.25) } else { (SLOTS_MAX, 0.5) };
            self.slots = (self.slots + more).min(most.max(self.slots));
            (self.failures, self.paused_until) = (0, None);
        } else {
            self.slots = (self.slots / 2.0).max(1.0);
            self.failures = self.failures.saturating_add(1);
            if let Some(beyond) = self.failures.checked_sub(PAUSE_AFTER) {
                let pause = PAUSE_FIRST.saturating_mul(1 << beyond.min(16)).min(PAUSE_MAX);
                self.paused_until = Some(now + pause);
            }
        }
    }

    /// What came of a delivery is stored.
    pub(crate) fn stored(&mut self, id: DeliveryId) {
        self.unstored.remove(&id);
    }
}

/// The endpoint's id, beside what is known of it.
pub(crate) type Endpoints = HashMap<WebhookId, Endpoint>;

#[cfg(test)]
mod tests {
    use super::*;
    use kallglot_core::egress::EgressPolicy;
    use kallglot_storage::SealedSecrets;
    use kallglot_storage_examples::webhook;

    /// An endpoint as it is claimed; its secret can't be opened, which matters to nobody here.
    mod kallglot_storage_examples {
        use kallglot_core::delivery::{Webhook, WebhookState};
        use kallglot_core::id::{OrganizationId, WebhookId};
        use kallglot_core::session::{Environment, Tenant};

        pub(super) fn webhook() -> Webhook {
            let at = kallglot_core::Timestamp::UNIX_EPOCH;
            Webhook {
                id: WebhookId::from_bits(1),
                tenant: Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live },
                url: "https://example.com/".into(),
                description: String::new(),
                event_types: Vec::new(),
                state: WebhookState::Enabled,
                created_at: at,
                updated_at: at,
                old_secret_valid_until: None,
                failing_since: None,
                last_success_at: None,
                last_failure_at: None,
            }
        }
    }

    fn endpoint() -> Endpoint {
        let secrets = SealedSecrets { current: Vec::new(), old: None };
        let claimed = ClaimedWebhook { webhook: webhook(), secrets, version: 1 };
        Endpoint::of(&Webhooks::new([1; 32], EgressPolicy::default()), &claimed)
    }

    fn ready(number: u128) -> Ready {
        let at = Timestamp::UNIX_EPOCH;
        let due = DueDelivery {
            id: DeliveryId::from_bits(number),
            webhook: WebhookId::from_bits(1),
            event_place: 1,
            tries: 0,
            begun_at: at,
            due_at: at,
        };
        Ready { due, event: None }
    }

    #[test]
    fn an_endpoint_that_fails_gets_one_attempt_at_a_time_with_growing_pauses() {
        let mut endpoint = endpoint();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for number in 0..20 {
            endpoint.enqueue(ready(number));
            endpoint.enqueue(ready(1000 + number));
            if let Some(until) = endpoint.pause_ends() {
                assert!(!endpoint.is_free(now), "it pauses");
                pauses.push(until - now);
                now = until;
            }
            assert!(endpoint.is_free(now));
            let id = endpoint.begin(now).unwrap().due.id;
            endpoint.end(id, false, Duration::from_millis(1), now);
            endpoint.stored(id);
        }
        assert!(pauses.is_sorted() && pauses.last() == Some(&PAUSE_MAX), "{pauses:?}");
        now = endpoint.pause_ends().unwrap();
        endpoint.begin(now).unwrap();
        assert!(!endpoint.is_free(now), "one at a time");
    }

    #[test]
    fn an_endpoint_that_succeeds_gets_more_at_once_up_to_a_bound() {
        let mut endpoint = endpoint();
        let now = Instant::now();
        for number in 0..200 {
            endpoint.enqueue(ready(number));
            let id = endpoint.begin(now).unwrap().due.id;
            endpoint.end(id, true, Duration::from_millis(1), now);
            endpoint.stored(id);
        }
        for number in 0..200 {
            endpoint.enqueue(ready(number));
        }
        let mut begun = 0;
        while endpoint.is_free(now) {
            endpoint.begin(now);
            begun += 1;
        }
        assert_eq!(begun, SLOTS_MAX as usize);
    }

    #[test]
    fn what_is_in_hand_is_not_fetched_again() {
        let mut endpoint = endpoint();
        let now = Instant::now();
        for number in 1..=3 {
            endpoint.enqueue(ready(number));
            endpoint.enqueue(ready(number));
        }
        assert_eq!(endpoint.queue.len(), 3);
        let first = endpoint.begin(now).unwrap().due.id;
        endpoint.begin(now).unwrap();
        endpoint.end(first, true, Duration::ZERO, now);
        let mut held = endpoint.held();
        held.sort_unstable();
        assert_eq!(held, [1, 2, 3].map(DeliveryId::from_bits));
        endpoint.enqueue(ready(1));
        assert_eq!(endpoint.queue.len(), 1);
        endpoint.stored(first);
        assert_eq!(endpoint.held().len(), 2);
    }
}
