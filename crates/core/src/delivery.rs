//! Webhook endpoints, and the deliveries of events to them (contract section 13): what they are, and when an attempt follows a failed one.
//!
//! A delivery is one event for one endpoint. Its id follows from both, so that an event can't be fanned out to an endpoint twice.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::event::EventType;
use crate::id::{DeliveryId, EventId, WebhookId};
use crate::session::{Tenant, named};

/// Most endpoints of one organization in one environment.
pub const WEBHOOKS_MAX: u32 = 250;
/// Longest URL of an endpoint, in bytes.
pub const URL_BYTES_MAX: usize = 2000;
/// Longest description of an endpoint, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Longest that a secret stays valid beside the one that replaced it.
pub const SECRET_OVERLAP_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// For how long an endpoint that fails is tried, without one success in between, before it is disabled.
pub const FAILING_MAX: SignedDuration = SignedDuration::from_hours(5 * 24);
/// How many bytes of an answer's body, and of its headers, are kept of each attempt.
pub const EXCERPT_BYTES_MAX: usize = 4096;
/// How long deliveries are kept after their events, in days: as long as the events.
pub const KEPT_DAYS: i64 = crate::request_record::KEPT_DAYS;

/// How long to wait after each failed attempt, in seconds, before jitter of a fifth either way: 13 attempts in about 3 days.
pub const RETRY_WAITS_S: [u32; 12] = [
    5,
    30,
    2 * 60,
    10 * 60,
    30 * 60,
    60 * 60,
    2 * 60 * 60,
    4 * 60 * 60,
    8 * 60 * 60,
    12 * 60 * 60,
    20 * 60 * 60,
    24 * 60 * 60,
];
/// A delivery is given up when the next attempt would come later than this after it was begun: where an endpoint is so slow that its
/// deliveries wait for each other, the number of attempts alone would stretch over weeks.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(80);
/// Most that is waited because an answer's `Retry-After` asks for it, in seconds: as long as the longest wait.
const RETRY_AFTER_S_MAX: u32 = 24 * 60 * 60;

named! {
    /// Why an endpoint is disabled.
    DisabledReason {
        /// Its owner wanted it.
        ByOwner = "by_owner",
        /// It had failed for five days.
        Failing = "failing",
        /// It answered 410 Gone.
        Gone = "gone",
    }
}

/// Whether events are sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookState {
    /// They are.
    Enabled,
    /// They are not, since `at`. What was pending then waits until it is enabled again.
    Disabled {
        /// Why.
        reason: DisabledReason,
        /// Since when.
        at: Timestamp,
    },
}

impl WebhookState {
    /// As the API says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled { .. } => "disabled",
        }
    }
}

/// A webhook endpoint: where to an organization wants its events. Its secrets are kept apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose.
    pub tenant: Tenant,
    /// Where to, as [`crate::egress`] lets it through; at most [`URL_BYTES_MAX`].
    pub url: String,
    /// What its owner notes; at most [`DESCRIPTION_CHARS_MAX`].
    pub description: String,
    /// Which events it gets; empty for all, also of types that don't exist yet.
    pub event_types: Vec<EventType>,
    /// Whether they are sent.
    pub state: WebhookState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner, or its failing, last changed it.
    pub updated_at: Timestamp,
    /// Until when the secret before the current one signs too; none when there is none.
    pub old_secret_valid_until: Option<Timestamp>,
    /// Since when attempts have failed without a success in between.
    pub failing_since: Option<Timestamp>,
    /// The last attempt that succeeded.
    pub last_success_at: Option<Timestamp>,
    /// The last attempt that failed.
    pub last_failure_at: Option<Timestamp>,
}

impl Webhook {
    /// Whether it gets events of this type. Test events go to the endpoint that is tested, and to nobody else.
    pub fn wants(&self, event_type: EventType) -> bool {
        event_type != EventType::WebhookTest && (self.event_types.is_empty() || self.event_types.contains(&event_type))
    }
}

named! {
    /// How a delivery stands.
    DeliveryStatus {
        /// Another attempt is to come.
        Pending = "pending",
        /// The endpoint has accepted it.
        Succeeded = "succeeded",
        /// Given up.
        Failed = "failed",
    }
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id: [`Delivery::id_of`].
    pub id: DeliveryId,
    /// To which endpoint.
    pub webhook: WebhookId,
    /// What is delivered.
    pub event: EventId,
    /// Of what type that is.
    pub event_type: EventType,
    /// When it happened.
    pub event_at: Timestamp,
    /// How it stands.
    pub status: DeliveryStatus,
    /// How many attempts have been made.
    pub attempts: u32,
    /// When the next one is due, while it is pending.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it succeeded or was given up.
    pub finished_at: Option<Timestamp>,
}

impl Delivery {
    /// The id of an event's delivery to an endpoint: the event's time, and 80 bits of SHA-256 of both ids.
    pub fn id_of(event: EventId, webhook: WebhookId) -> DeliveryId {
        let mut hash = Sha256::new();
        hash.update(event.to_bits().to_be_bytes());
        hash.update(webhook.to_bits().to_be_bytes());
        let mut below = [0; 16];
        below[6..].copy_from_slice(&hash.finalize()[..10]);
        DeliveryId::from_bits((event.to_bits() >> 80 << 80) | u128::from_be_bytes(below))
    }
}

named! {
    /// Why an attempt failed.
    AttemptError {
        /// The endpoint's URL or one of its addresses is one that nothing is sent to.
        AddressRefused = "address_refused",
        /// Its name has no address.
        NameNotResolved = "name_not_resolved",
        /// It can't be connected to.
        ConnectFailed = "connect_failed",
        /// Its certificate is not to be trusted, or TLS can't be spoken with it.
        TlsFailed = "tls_failed",
        /// It did not answer in time.
        TimedOut = "timed_out",
        /// It closed the connection before it had answered.
        ConnectionClosed = "connection_closed",
        /// What it answered is not HTTP, or its headers are too large.
        InvalidAnswer = "invalid_answer",
        /// It answered with a redirect, which is not followed.
        Redirect = "redirect",
        /// It answered with another status than 2xx.
        Status = "status",
        /// The event is not stored any more.
        EventForgotten = "event_forgotten",
        /// This server can't read the endpoint's secrets, so it can't sign.
        SecretUnreadable = "secret_unreadable",
    }
}

/// One attempt of a delivery, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began. No two attempts of a delivery begin in the same microsecond.
    pub at: Timestamp,
    /// The endpoint's URL then.
    pub url: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Why it failed; none when it succeeded.
    pub error: Option<AttemptError>,
    /// The error in a sentence, for the endpoint's owner; empty when it succeeded.
    pub error_detail: String,
    /// The answer's headers, one per line; at most [`EXCERPT_BYTES_MAX`].
    pub answer_headers: String,
    /// The beginning of the answer's body, as far as it is text; at most [`EXCERPT_BYTES_MAX`].
    pub answer_body: String,
}

/// When the attempt after `tries` failed ones is due; none when the delivery is given up. `begun` is when the first one was due; the answer's
/// `Retry-After` can make the wait longer, up to a day, never shorter. `chance` is a random number.
pub fn next_attempt(
    tries: u32,
    begun: Timestamp,
    now: Timestamp,
    retry_after_s: Option<u32>,
    chance: u32,
) -> Option<Timestamp> {
    let wait_s = RETRY_WAITS_S.get((tries as usize).checked_sub(1)?)?;
    // 80 % to 120 %, so that what failed together does not come back together.
    let wait_ms = u64::from(*wait_s) * (800 + u64::from(chance % 401));
    let asked_ms = u64::from(retry_after_s.unwrap_or(0).min(RETRY_AFTER_S_MAX)) * 1000;
    let next = now.checked_add(SignedDuration::from_millis(wait_ms.max(asked_ms).cast_signed())).ok()?;
    (next.duration_since(begun) <= TRIED_FOR).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_attempts_are_repeated_for_about_three_days_with_growing_waits() {
        let begun = Timestamp::UNIX_EPOCH;
        for chance in [0, 200, 400] {
            let (mut now, mut tries, mut last) = (begun, 1, SignedDuration::ZERO);
            while let Some(next) = next_attempt(tries, begun, now, None, chance) {
                let wait = next.duration_since(now);
                assert!(wait > last, "waits grow");
                (now, tries, last) = (next, tries + 1, wait);
            }
            let tried_for = now.duration_since(begun);
            assert!((55..=80).contains(&tried_for.as_hours()), "{tried_for:?}");
            assert!(tries >= 12, "{tries}");
        }
    }

    #[test]
    fn an_endpoint_can_ask_for_a_longer_wait_within_bounds() {
        let now = Timestamp::UNIX_EPOCH;
        let wait_s = |asked| next_attempt(1, now, now, Some(asked), 200).map(|next| next.as_second());
        assert_eq!(wait_s(0), Some(5), "no shorter one");
        assert_eq!(wait_s(90), Some(90));
        assert_eq!(wait_s(u32::MAX), Some(24 * 60 * 60));
    }

    #[test]
    fn what_waits_for_too_long_is_given_up() {
        let begun = Timestamp::UNIX_EPOCH;
        let late = begun.checked_add(TRIED_FOR).unwrap();
        assert_eq!(next_attempt(1, begun, late, None, 0), None);
    }

    #[test]
    fn a_delivery_has_the_time_of_its_event_and_its_own_id_per_endpoint() {
        let event = EventId::from_bits(7 << 80 | 1);
        let [one, other] = [1, 2].map(|number| Delivery::id_of(event, WebhookId::from_bits(number)));
        assert_ne!(one, other);
        assert_eq!((one.to_bits() >> 80, other.to_bits() >> 80), (7, 7));
        assert_eq!(one, Delivery::id_of(event, WebhookId::from_bits(1)));
    }
}
