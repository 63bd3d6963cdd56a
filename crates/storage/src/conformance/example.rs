//! Values to store, made from small numbers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash, StoredSecret};
use kallglot_core::audit::{Change, Who};
use kallglot_core::credit::CreditBalance;
use kallglot_core::delivery::{Attempt, AttemptError, Webhook, WebhookState};
use kallglot_core::edition::Edition;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{
    ApiKeyId, AuditId, EventId, NodeId, OrganizationId, RequestId, SegmentId, SessionId, WebhookId,
};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::recording::RecordingMode;
use kallglot_core::request_record::{RecordedLimits, RequestRecord};
use kallglot_core::session::{Environment, Mode, Session, SessionState, Speaker, Tenant, Translation};
use kallglot_core::usage::{KeyMinute, Slice, Usage};
use kallglot_core::vocabulary::{Expectation, Vocabulary};

use crate::{
    AttemptReport, DueDelivery, NewAnswer, NewSession, NewTurn, RequestBatch, RequestBlock, Storage, Verdict, Want,
    WebhookReport,
};

/// `second` seconds after some time in 2025, and a fraction down to the microsecond.
pub fn at(second: i64) -> Timestamp {
    Timestamp::new(1_750_000_000 + second, 123_456_000).unwrap()
}

pub fn vocabulary() -> Vocabulary {
    let expectation = Expectation {
        phrases: vec!["¿En qué puedo \"ayudarle\"?".into()],
        words: vec!["Kallglot".into()],
        phrases_only: true,
    };
    Vocabulary { languages: BTreeMap::from([("es-MX".parse().unwrap(), expectation)]) }
}

/// An organization with nothing left at its default; a larger number is a newer one.
pub fn organization(number: u128) -> Organization {
    Organization {
        id: OrganizationId::from_bits(number),
        name: format!("Åsa & Söner {number}"),
        plan: Plan::Enterprise,
        overrides: LimitOverrides {
            requests_per_minute_max: Some(1),
            concurrent_sessions_max: Some(2),
            stream_messages_per_second_max: Some(3),
            stream_audio_bytes_per_second_max: Some(4),
        },
        active: false,
        edition: Edition::One,
        engine: Some("classic".into()),
        vocabulary: vocabulary(),
        leak_policy: LeakPolicy::Quarantine,
        low_credits_threshold: 3,
        recording: true,
        recordings_kept_days: 7,
        created_at: at(1),
    }
}

/// A change made at `second` by key 1's request `number`; no two changes of one organization have the same number.
pub fn change(number: u128, second: i64) -> Change {
    Change {
        id: AuditId::from_bits(number),
        who: Who::Key(ApiKeyId::from_bits(1)),
        address: Some("192.0.2.7".parse().unwrap()),
        request: Some(RequestId::from_bits(number)),
        at: at(second),
    }
}

/// A key of organization 1's test side with nothing left at its default; a larger number is a newer one.
pub fn key(number: u128) -> ApiKey {
    ApiKey {
        id: ApiKeyId::from_bits(number),
        organization: OrganizationId::from_bits(1),
        environment: Environment::Test,
        name: format!("backend {number}"),
        permissions: PermissionSet::of(&[Permission::SessionsRead, Permission::AgentsWrite]),
        expires_at: Some(at(1_000_000)),
        allowed_networks: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        requests_per_minute_max: Some(30),
        edition: Some(Edition::Two),
        created_at: at(2),
        last_used_at: None,
        revoked_at: None,
        last4: "aB3z".into(),
        old_secret_valid_until: None,
        old_secret_last_used_at: None,
        quarantined_at: None,
    }
}

pub fn hash(number: u8) -> KeyHash {
    KeyHash::from_bytes([number; 32])
}

/// The secret with `hash(number)` under pepper 1.
pub fn secret(number: u8) -> StoredSecret {
    StoredSecret { hash: hash(number), pepper: 1, last4: format!("{number:04}") }
}

/// Organization 1's test side, which owns the keys and sessions here.
pub const TENANT: Tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Test };

/// Tenants that must not see what [`TENANT`] owns.
pub const STRANGERS: [Tenant; 2] = [
    Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live },
    Tenant { organization: OrganizationId::from_bits(2), environment: Environment::Test },
];

/// A session made by key 1; a larger number is a newer one.
pub fn session(number: u128) -> Session {
    Session {
        id: SessionId::from_bits(number),
        tenant: TENANT,
        created_by: ApiKeyId::from_bits(1),
        mode: Mode::AssistiveTranslation,
        source_language: Some("en".parse().unwrap()),
        target_language: None,
        voice: Some("calm".into()),
        vocabulary: vocabulary(),
        recording: RecordingMode::Off,
        metadata: BTreeMap::from([("order".into(), "№ 7 \"x\"".into())]),
        created_at: at(10),
        last_activity_at: at(10),
        joinable_until: at(310),
        state: SessionState::Created,
    }
}

/// An event of [`TENANT`] about something called `object`.
pub fn event(event_type: EventType, object: &str) -> Event {
    Event {
        id: EventId::from_bits(7),
        organization: TENANT.organization,
        environment: TENANT.environment,
        event_type,
        object: object.into(),
        session: None,
        session_sequence: None,
        detail: serde_json::Map::from_iter([("note".to_owned(), "№ 7 \"x\"".into())]),
        at: at(11),
    }
}

/// An event of session `number`, at its place among the session's.
pub fn session_event(event_type: EventType, number: u128, place: Option<u32>) -> Event {
    let session = SessionId::from_bits(number);
    Event { session: Some(session), session_sequence: place, ..event(event_type, &session.to_string()) }
}

/// What makes `session(number)` for nothing, without an idempotency key.
pub fn new_session(number: u128) -> NewSession {
    NewSession {
        session: session(number),
        request: RequestId::from_bits(number),
        credits: 0,
        event: session_event(EventType::SessionCreated, number, None),
        low_credits_event: event(EventType::CreditsLow, &TENANT.organization.to_string()),
        idempotency: None,
    }
}

/// The answer to request `number` under an idempotency key.
pub fn answer(key: &str, number: u128, at: Timestamp) -> NewAnswer {
    NewAnswer {
        key: IdempotencyKey::parse(key).unwrap(),
        fingerprint: Fingerprint([number as u8; 32]),
        request: RequestId::from_bits(number),
        status: 201,
        sealed_body: vec![0, 1, 2, 255],
        at,
    }
}

pub fn turn(number: u32) -> NewTurn {
    NewTurn {
        id: SegmentId::from_bits(number.into()),
        speaker: Speaker::Agent,
        language: "en-GB".parse().unwrap(),
        text: format!("sentence {number}"),
        translation: number
            .is_multiple_of(2)
            .then(|| Translation { language: "es".parse().unwrap(), text: format!("frase {number}") }),
        timestamp: at(20),
        start_ms: 1_000,
        end_ms: u64::from(u32::MAX) + 7,
        confidence: 0.1 + 0.7,
    }
}

/// Organizations 1 and 2 without credits, and organization 1's key 1 with `secret(1)`.
pub async fn begin(storage: &impl Storage) {
    storage.create_organization(&organization(1), 0, &change(1, 1)).await.unwrap();
    storage.create_organization(&organization(2), 0, &change(2, 1)).await.unwrap();
    storage.create_key(&key(1), &secret(1), None, &change(3, 2)).await.unwrap();
}

/// Like [`begin`], then a grant of so many credits to organization 1. Answers with the balance.
pub async fn begin_with_credits(storage: &impl Storage, credits: u32) -> CreditBalance {
    begin(storage).await;
    let credits = NonZeroU32::new(credits).unwrap();
    storage.grant_credits(TENANT.organization, credits, &change(4, 3)).await.unwrap().unwrap()
}

/// A node that delivers webhooks.
pub const NODE: NodeId = NodeId::from_bits(1);

/// An endpoint of [`TENANT`] that wants all that happens to sessions; a larger number is a newer one.
pub fn webhook(number: u128) -> Webhook {
    Webhook {
        id: WebhookId::from_bits(number),
        tenant: TENANT,
        url: format!("https://example.com/hooks?number={number}"),
        description: "Åsa & Söner".into(),
        event_types: vec![EventType::SessionCreated, EventType::SessionEnded, EventType::WebhookDisabled],
        state: WebhookState::Enabled,
        created_at: at(20),
        updated_at: at(20),
        old_secret_valid_until: None,
        failing_since: None,
        last_success_at: None,
        last_failure_at: None,
    }
}

/// Like [`begin`], then endpoint 1, which has the sealed secret `sealed`, and nothing left to fan out.
pub async fn with_webhook(storage: &impl Storage) {
    begin(storage).await;
    storage.create_webhook(&webhook(1), b"sealed", None, &change(10, 20)).await.unwrap();
    storage.fan_out(at(20)).await.unwrap();
}

/// Raises event `number` of [`TENANT`]: the creation of a session.
pub async fn raise(storage: &impl Storage, number: u128) {
    let mut new = new_session(number);
    new.event.id = EventId::from_bits(number);
    storage.create_session(&new).await.unwrap();
}

/// What is due at `now` to an endpoint that [`NODE`] has claimed.
pub async fn due(storage: &impl Storage, webhook: WebhookId, now: Timestamp) -> Vec<DueDelivery> {
    let want = Want { webhook, held: vec![], limit: 100 };
    storage.due_deliveries(NODE, now, &[want]).await.unwrap().deliveries
}

/// One attempt at `at` and what follows from it.
pub fn report(delivery: &DueDelivery, at: Timestamp, verdict: Verdict, change: &Change) -> WebhookReport {
    let failed = verdict != Verdict::Succeeded;
    let attempt = Attempt {
        at,
        url: "https://example.com/hooks".into(),
        duration_ms: 12,
        status: Some(if failed { 500 } else { 204 }),
        error: failed.then_some(AttemptError::Status),
        error_detail: if failed { "the endpoint answered 500".into() } else { String::new() },
        answer_headers: "content-type: text/plain".into(),
        answer_body: "№ 7".into(),
    };
    let attempts = vec![AttemptReport { delivery: delivery.id, attempt, verdict }];
    WebhookReport { webhook: delivery.webhook, attempts, gone: false, change: *change }
}

/// A request of [`TENANT`] with a key, at a second, that was let in or refused by the rate limit; a larger number is a newer one.
pub fn request_record(number: u128, key: u128, second: i64, refused: bool) -> RequestRecord {
    RequestRecord {
        id: RequestId::from_bits(number),
        tenant: TENANT,
        key: ApiKeyId::from_bits(key),
        old_secret: false,
        at: at(second),
        method: if number.is_multiple_of(2) { "GET" } else { "POST" }.into(),
        route: "/v1/sessions".into(),
        status: if refused { 429 } else { 200 },
        code: refused.then(|| "rate_limit_exceeded".into()),
        latency_us: 100 * number as u32,
        address: [192, 0, 2, 1].into(),
        edition: Edition::Two,
        param: None,
        limits: Some(RecordedLimits {
            rate_limit: 200,
            rate_remaining: if refused { 0 } else { 150 },
            rate_resets_at_s: 1_750_000_060,
            rate_of_key: false,
            credits_remaining: 12,
            sessions: None,
        }),
    }
}

/// Batch `number` of [`NODE`], with what [`request_record`]s come to: key 1's 3, one of them refused, and key 2's 1.
pub fn batch(number: i64, blocks: Vec<RequestBlock>) -> RequestBatch {
    let records = [(1, 1, false), (2, 1, true), (3, 2, false), (4, 1, false)]
        .map(|(request, key, refused)| request_record(request, key, 0, refused));
    RequestBatch { node: NODE, number, at: at(0), blocks, usage: usage_of(&records) }
}

/// What requests come to, by key and minute.
pub fn usage_of(records: &[RequestRecord]) -> Vec<KeyMinute> {
    let mut minutes: Vec<KeyMinute> = Vec::new();
    for record in records {
        let (tenant, key, at) = (record.tenant, record.key, Slice::Minute.of(record.at));
        let place = minutes.iter().position(|minute| (minute.tenant, minute.key, minute.at) == (tenant, key, at));
        let place = place.unwrap_or_else(|| {
            minutes.push(KeyMinute { tenant, key, at, usage: Usage::default() });
            minutes.len() - 1
        });
        minutes[place].usage.add(record);
    }
    minutes
}
