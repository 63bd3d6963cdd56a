//! Events: what happened, for webhooks and for who watches a call (contract section 13). They are stored in the same transaction as what
//! happened, with all that is to be told of it, so an event says the same whenever it is delivered.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::id::{EventId, OrganizationId, SessionId};
use crate::session::{Environment, Session, SessionState, Tenant, Turn, named};

named! {
    /// What happened.
    EventType {
        /// A session was made.
        SessionCreated = "session.created",
        /// A session got its first audio.
        SessionStarted = "session.started",
        /// A session ended.
        SessionEnded = "session.ended",
        /// A session's carrier took the call.
        ProviderConnected = "session.provider.connected",
        /// A session's carrier is gone.
        ProviderDisconnected = "session.provider.disconnected",
        /// Something was said.
        TranscriptSegment = "transcript.segment",
        /// A session has ended, and its transcript is complete.
        TranscriptReady = "transcript.ready",
        /// A recording can be heard.
        RecordingReady = "recording.ready",
        /// A recording could not be made.
        RecordingFailed = "recording.failed",
        /// An analysis is done.
        AnalysisComplete = "analysis.complete",
        /// An analysis could not be made.
        AnalysisFailed = "analysis.failed",
        /// An organization's credits fell to its threshold.
        CreditsLow = "credits.low",
        /// A key was made.
        KeyCreated = "api_key.created",
        /// A key got a new secret.
        KeyRotated = "api_key.rotated",
        /// A key was revoked.
        KeyRevoked = "api_key.revoked",
        /// A key's secret was reported as leaked.
        KeyLeaked = "api_key.leaked",
        /// The condition of an alert's rule came true.
        AlertFired = "alert.fired",
        /// The condition of an alert's rule is true no more.
        AlertResolved = "alert.resolved",
        /// A webhook endpoint had failed for so long that nothing is sent to it any more.
        WebhookDisabled = "webhook.disabled",
        /// A webhook endpoint is tested; only that endpoint gets it.
        WebhookTest = "webhook.test",
    }
}

impl EventType {
    /// What the event's `data` calls the thing that it happened to.
    pub const fn subject(self) -> &'static str {
        match self {
            Self::SessionCreated | Self::SessionStarted | Self::SessionEnded => "session",
            Self::ProviderConnected | Self::ProviderDisconnected => "provider",
            Self::TranscriptSegment => "segment",
            Self::TranscriptReady => "transcript",
            Self::RecordingReady | Self::RecordingFailed => "recording",
            Self::AnalysisComplete | Self::AnalysisFailed => "analysis",
            Self::CreditsLow => "organization",
            Self::KeyCreated | Self::KeyRotated | Self::KeyRevoked | Self::KeyLeaked => "api_key",
            Self::AlertFired | Self::AlertResolved => "alert",
            Self::WebhookDisabled | Self::WebhookTest => "webhook",
        }
    }

    /// What has happened, in a sentence for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::SessionCreated => "A session was created.",
            Self::SessionStarted => "A session got its first audio.",
            Self::SessionEnded => "A session ended.",
            Self::ProviderConnected => "A session's carrier took the call.",
            Self::ProviderDisconnected => "A session's carrier is gone.",
            Self::TranscriptSegment => "Something was said, and will not change any more.",
            Self::TranscriptReady => "A session has ended, and its transcript is complete.",
            Self::RecordingReady => "A recording can be heard.",
            Self::RecordingFailed => "A recording could not be made.",
            Self::AnalysisComplete => "An analysis is done.",
            Self::AnalysisFailed => "An analysis could not be made.",
            Self::CreditsLow => "The organization's credits fell to its threshold.",
            Self::KeyCreated => "An API key was created.",
            Self::KeyRotated => "An API key got a new secret.",
            Self::KeyRevoked => "An API key was revoked.",
            Self::KeyLeaked => "An API key's secret was reported as leaked.",
            Self::AlertFired => "The condition of one of your alert rules came true.",
            Self::AlertResolved => "The condition of one of your alert rules is true no more.",
            Self::WebhookDisabled => {
                "An endpoint failed for so long, or said that it is gone, that nothing is sent to it any more."
            }
            Self::WebhookTest => "You test this endpoint.",
        }
    }
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Whose.
    pub organization: OrganizationId,
    /// In which environment.
    pub environment: Environment,
    /// What happened.
    pub event_type: EventType,
    /// The id of what it happened to.
    pub object: String,
    /// The session that it belongs to, if it does to one.
    pub session: Option<SessionId>,
    /// Its place among the session's events, from 1, without holes. None before it is stored.
    pub session_sequence: Option<u32>,
    /// What else there is to tell of the object. Never a secret.
    pub detail: Map<String, Value>,
    /// When.
    pub at: Timestamp,
}

impl Event {
    /// Whose.
    pub const fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization, environment: self.environment }
    }

    /// The event as the API tells it, as JSON: `{id, type, api_version, created_at, data}`. `data` has the object under the name of
    /// its kind ([`EventType::subject`]), and with a session `session_id` and the event's `sequence` in it: deliveries may overtake each
    /// other. The same event always gives the same bytes.
    pub fn body(&self) -> String {
        let mut object = self.detail.clone();
        object.insert("id".into(), json!(self.object));
        let mut data = Map::from_iter([(self.event_type.subject().to_owned(), Value::Object(object))]);
        if let Some(session) = self.session {
            data.insert("session_id".into(), json!(session.to_string()));
            data.insert("sequence".into(), json!(self.session_sequence));
        }
        let event = json!({
            "id": self.id.to_string(),
            "type": self.event_type.as_str(),
            "api_version": "v1",
            "created_at": time(self.at),
            "data": data,
        });
        event.to_string()
    }
}

/// A time as the API writes it: RFC 3339 in UTC, with milliseconds.
pub fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// What events tell of a session: where it stands when they are raised.
pub fn session_detail(session: &Session) -> Map<String, Value> {
    let text = |at: Option<Timestamp>| at.map(time);
    let end_reason = match session.state {
        SessionState::Ended { reason, .. } => Some(reason.as_str()),
        SessionState::Created | SessionState::Active { .. } => None,
    };
    let detail = [
        ("status", json!(session.state.status().as_str())),
        ("mode", json!(session.mode.as_str())),
        ("source_language", json!(session.source_language.as_ref().map(|tag| tag.as_str()))),
        ("target_language", json!(session.target_language.as_ref().map(|tag| tag.as_str()))),
        ("metadata", json!(session.metadata)),
        ("created_at", json!(time(session.created_at))),
        ("started_at", json!(text(session.state.started_at()))),
        ("ended_at", json!(text(session.state.ended_at()))),
        ("duration_seconds", json!(session.state.duration_seconds())),
        ("end_reason", json!(end_reason)),
    ];
    detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A turn as the API tells it, but for its id.
pub fn segment_detail(turn: &Turn) -> Map<String, Value> {
    let translation = turn.translation.as_ref();
    let detail = [
        ("sequence", json!(turn.sequence)),
        ("speaker", json!(turn.speaker.as_str())),
        ("language", json!(turn.language.as_str())),
        ("text", json!(turn.text)),
        ("translation", json!(translation.map(|it| json!({ "language": it.language.as_str(), "text": it.text })))),
        ("timestamp", json!(time(turn.timestamp))),
        ("start_ms", json!(turn.start_ms)),
        ("end_ms", json!(turn.end_ms)),
        ("confidence", json!(turn.confidence)),
    ];
    detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The event of a turn. Its id follows from the segment's, so the event of a turn that is stored twice is the same one.
pub fn segment_event(tenant: Tenant, session: SessionId, turn: &Turn) -> Event {
    Event {
        id: EventId::from_bits(turn.id.to_bits()),
        organization: tenant.organization,
        environment: tenant.environment,
        event_type: EventType::TranscriptSegment,
        object: turn.id.to_string(),
        session: Some(session),
        session_sequence: None,
        detail: segment_detail(turn),
        at: turn.timestamp,
    }
}

/// The event which says that the transcript is complete, beside the one that tells of the session's end; its id follows from that one's.
pub fn transcript_event(ended: &Event, session: SessionId, total_turns: u32) -> Event {
    Event {
        id: EventId::from_bits(ended.id.to_bits() ^ 1),
        event_type: EventType::TranscriptReady,
        object: format!("trn_{session}"),
        session: Some(session),
        session_sequence: None,
        detail: Map::from_iter([("total_turns".to_owned(), json!(total_turns))]),
        ..ended.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SegmentId;
    use crate::session::{Speaker, Translation};

    const TENANT: Tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live };

    #[test]
    fn an_event_tells_what_happened_and_its_place_in_the_session() {
        let turn = Turn {
            sequence: 3,
            id: SegmentId::from_bits(4),
            speaker: Speaker::Customer,
            language: "en".parse().unwrap(),
            text: "Good \"morning\"".into(),
            translation: Some(Translation { language: "es".parse().unwrap(), text: "Buenos días".into() }),
            timestamp: Timestamp::from_millisecond(1_500).unwrap(),
            start_ms: 20,
            end_ms: 900,
            confidence: 0.5,
        };
        let event = segment_event(TENANT, SessionId::from_bits(2), &turn);
        let event = Event { session_sequence: Some(5), ..event };
        let body: Value = serde_json::from_str(&event.body()).unwrap();
        let expected = json!({
            "id": "evt_0000000000000000000004",
            "type": "transcript.segment",
            "api_version": "v1",
            "created_at": "1970-01-01T00:00:01.500Z",
            "data": {
                "session_id": "sess_0000000000000000000002",
                "sequence": 5,
                "segment": {
                    "sequence": 3,
                    "id": "seg_0000000000000000000004",
                    "speaker": "customer",
                    "language": "en",
                    "text": "Good \"morning\"",
                    "translation": { "language": "es", "text": "Buenos días" },
                    "timestamp": "1970-01-01T00:00:01.500Z",
                    "start_ms": 20,
                    "end_ms": 900,
                    "confidence": 0.5,
                },
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn an_event_of_no_session_has_no_place_in_one() {
        let event = Event {
            id: EventId::from_bits(1),
            organization: TENANT.organization,
            environment: TENANT.environment,
            event_type: EventType::KeyRevoked,
            object: "key_0000000000000000000003".into(),
            session: None,
            session_sequence: None,
            detail: Map::from_iter([("name".to_owned(), json!("backend"))]),
            at: Timestamp::UNIX_EPOCH,
        };
        let body: Value = serde_json::from_str(&event.body()).unwrap();
        assert_eq!(body["data"], json!({ "api_key": { "id": "key_0000000000000000000003", "name": "backend" } }));
    }
}
