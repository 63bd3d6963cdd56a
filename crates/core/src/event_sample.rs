//! Sample events: what each type looks like, for testing an endpoint and for the API's reference.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::alert::{Alert, Metric, Resolution};
use crate::event::{Event, EventType, time};
use crate::id::{AlertId, AlertRuleId, AnalysisId, ApiKeyId, EventId, RecordingId, SegmentId, SessionId, WebhookId};
use crate::session::Tenant;

/// What a sample event of this type is about, beside its id. `number` makes the ids in it.
fn subject(event_type: EventType, tenant: Tenant, number: u128, at: Timestamp) -> (String, Option<SessionId>, Value) {
    let id = SessionId::from_bits(number);
    let session = |status: &str, started: bool, ended: bool| {
        json!({
            "status": status,
            "mode": "bidirectional_translation",
            "source_language": "en",
            "target_language": "es",
            "metadata": { "sample": "true" },
            "created_at": time(at),
            "started_at": started.then(|| time(at)),
            "ended_at": ended.then(|| time(at)),
            "duration_seconds": ended.then_some(94),
            "end_reason": ended.then_some("completed"),
        })
    };
    let recording = |status: &str| {
        json!({
            "session_id": id.to_string(),
            "channel": "mixed",
            "status": status,
            "error": (status == "failed").then_some("This is a sample of a failure."),
            "duration": (status == "ready").then_some(94.2),
            "incomplete": false,
            "download_url": format!("/v1/recordings/{}/audio", RecordingId::from_bits(number)),
            "created_at": time(at),
            "expires_at": time(at),
        })
    };
    let analysis = |status: &str, error: Value| {
        json!({
            "session_id": id.to_string(),
            "status": status,
            "include": ["summary", "sentiment", "compliance", "keywords", "performance"],
            "profile": null,
            "error": error,
            "created_at": time(at),
            "completed_at": time(at),
        })
    };
    let key = || json!({ "name": "Sample key", "last4": "x7Qd" });
    let (object, detail) = match event_type {
        EventType::SessionCreated => (id.to_string(), session("created", false, false)),
        EventType::SessionStarted => (id.to_string(), session("active", true, false)),
        EventType::SessionEnded => (id.to_string(), session("ended", true, true)),
        EventType::ProviderConnected => ("sample".into(), json!({ "status": "connected" })),
        EventType::ProviderDisconnected => ("sample".into(), json!({ "status": "disconnected" })),
        EventType::TranscriptSegment => (
            SegmentId::from_bits(number).to_string(),
            json!({
                "sequence": 1,
                "speaker": "customer",
                "language": "en",
                "text": "Good morning. This is a sample.",
                "translation": { "language": "es", "text": "Buenos días. Esto es una muestra." },
                "timestamp": time(at),
                "start_ms": 1480,
                "end_ms": 3730,
                "confidence": 0.94,
            }),
        ),
        EventType::TranscriptReady => (format!("trn_{id}"), json!({ "total_turns": 12 })),
        EventType::RecordingReady => (RecordingId::from_bits(number).to_string(), recording("ready")),
        EventType::RecordingFailed => (RecordingId::from_bits(number).to_string(), recording("failed")),
        EventType::AnalysisComplete => (AnalysisId::from_bits(number).to_string(), analysis("completed", Value::Null)),
        EventType::AnalysisFailed => {
            let error = json!({ "code": "sample", "message": "This is a sample of a failure." });
            (AnalysisId::from_bits(number).to_string(), analysis("failed", error))
        }
        EventType::CreditsLow => (tenant.organization.to_string(), json!({ "remaining": 10, "threshold": 10 })),
        EventType::KeyCreated | EventType::KeyRevoked => (ApiKeyId::from_bits(number).to_string(), key()),
        EventType::KeyRotated => {
            let mut key = key();
            key["old_secret_expires_at"] = json!(time(at));
            (ApiKeyId::from_bits(number).to_string(), key)
        }
        EventType::KeyLeaked => {
            let mut key = key();
            key["policy"] = json!("revoke");
            (ApiKeyId::from_bits(number).to_string(), key)
        }
        EventType::AlertFired | EventType::AlertResolved => {
            let resolved = event_type == EventType::AlertResolved;
            let alert = Alert {
                id: AlertId::from_bits(number),
                tenant,
                rule: AlertRuleId::from_bits(number),
                rule_name: "Sample rule".into(),
                metric: Metric::ErrorRate,
                condition: "Share of requests with an error: more than 5 % in 5 minutes".into(),
                value: 82,
                fired_at: at,
                resolved_at: resolved.then_some(at),
                resolution: resolved.then_some(Resolution::Recovered),
            };
            (alert.id.to_string(), Value::Object(alert.detail()))
        }
        EventType::WebhookDisabled => (
            WebhookId::from_bits(number).to_string(),
            json!({ "url": "https://example.com/webhooks", "reason": "failing", "failing_since": time(at) }),
        ),
        EventType::WebhookTest => (
            WebhookId::from_bits(number).to_string(),
            json!({ "message": "This is a test. If you can read it and its signature fits, the endpoint works." }),
        ),
    };
    let of_session =
        matches!(event_type.subject(), "session" | "provider" | "segment" | "transcript" | "recording" | "analysis");
    (object, of_session.then_some(id), detail)
}

/// A sample event, with data that looks like the real, about nothing that there is.
pub fn sample(event_type: EventType, tenant: Tenant, id: EventId, at: Timestamp) -> Event {
    let (object, session, detail) = subject(event_type, tenant, id.to_bits(), at);
    Event {
        id,
        organization: tenant.organization,
        environment: tenant.environment,
        event_type,
        object,
        session,
        session_sequence: session.map(|_| 1),
        detail: match detail {
            Value::Object(detail) => detail,
            _ => Map::new(),
        },
        at,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::event::{segment_detail, session_detail};
    use crate::id::OrganizationId;
    use crate::session::{Environment, Mode, Session, SessionState, Speaker, Turn};
    use crate::vocabulary::Vocabulary;

    const TENANT: Tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Test };

    fn names(detail: &Map<String, Value>) -> BTreeSet<&str> {
        detail.keys().map(String::as_str).collect()
    }

    fn of(event_type: EventType) -> Event {
        sample(event_type, TENANT, EventId::from_bits(7 << 80), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_sample_has_the_fields_of_the_real() {
        let turn = Turn {
            sequence: 1,
            id: SegmentId::from_bits(1),
            speaker: Speaker::Agent,
            language: "en".parse().unwrap(),
            text: String::new(),
            translation: None,
            timestamp: Timestamp::UNIX_EPOCH,
            start_ms: 0,
            end_ms: 1,
            confidence: 1.0,
        };
        assert_eq!(names(&of(EventType::TranscriptSegment).detail), names(&segment_detail(&turn)));
        let session = Session {
            id: SessionId::from_bits(1),
            tenant: TENANT,
            created_by: ApiKeyId::from_bits(1),
            mode: Mode::BidirectionalTranslation,
            source_language: None,
            target_language: None,
            voice: None,
            vocabulary: Vocabulary::default(),
            recording: Default::default(),
            metadata: BTreeMap::new(),
            created_at: Timestamp::UNIX_EPOCH,
            last_activity_at: Timestamp::UNIX_EPOCH,
            joinable_until: Timestamp::UNIX_EPOCH,
            state: SessionState::Created,
        };
        for event_type in [EventType::SessionCreated, EventType::SessionStarted, EventType::SessionEnded] {
            assert_eq!(names(&of(event_type).detail), names(&session_detail(&session)), "{event_type}");
        }
    }

    #[test]
    fn every_type_has_a_sample() {
        for event_type in EventType::ALL {
            let event = of(*event_type);
            let body: Value = serde_json::from_str(&event.body()).unwrap();
            assert_eq!(body["type"], event_type.as_str());
            assert!(body["data"][event_type.subject()]["id"].is_string(), "{body}");
            assert_eq!(event.session.is_some(), body["data"]["sequence"] == 1, "{body}");
        }
    }
}
