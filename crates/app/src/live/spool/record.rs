//! A waiting write as a line of JSON: a person who repairs something after an incident can read it.

use kallglot_core::Timestamp;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::SessionId;
use kallglot_core::session::{EndReason, Environment, Speaker, Tenant, Translation, UtteranceLag};
use kallglot_core::stream_statistics::{PartyStatistics, StreamStatistics};
use kallglot_storage::NewTurn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::live::writes::Write;

#[derive(Serialize, Deserialize)]
struct Line {
    organization: String,
    environment: String,
    session: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "write", rename_all = "snake_case")]
enum What {
    Started {
        event: EventLine,
    },
    Activity {
        at: Timestamp,
    },
    Turn {
        id: String,
        speaker: String,
        language: String,
        text: String,
        translation: Option<(String, String)>,
        timestamp: Timestamp,
        start_ms: u64,
        end_ms: u64,
        confidence: f32,
    },
    Lag {
        id: String,
        speaker: String,
        first_partial_ms: Option<u32>,
        final_ms: u32,
        first_audio_ms: Option<u32>,
    },
    Statistics {
        #[serde(with = "PartyLine")]
        customer: PartyStatistics,
        #[serde(with = "PartyLine")]
        agent: PartyStatistics,
    },
    Part {
        name: String,
        node: String,
        dropped_ms: u64,
    },
    Ended {
        reason: String,
        event: EventLine,
    },
}

/// The fields of [`PartyStatistics`], for a line.
#[derive(Serialize, Deserialize)]
#[serde(remote = "PartyStatistics")]
struct PartyLine {
    frames_in: u64,
    audio_in_ms: u64,
    duplicate_frames: u64,
    late_frames: u64,
    gaps: u64,
    gap_ms: u64,
    refused_messages: u64,
    audio_out_ms: u64,
    dropped_out_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct EventLine {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    object: String,
    detail: Map<String, Value>,
    at: Timestamp,
}

impl EventLine {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            event_type: event.event_type.to_string(),
            object: event.object.clone(),
            detail: event.detail.clone(),
            at: event.at,
        }
    }

    fn into_event(self, tenant: Tenant, session: SessionId) -> Option<Event> {
        Some(Event {
            id: self.id.parse().ok()?,
            organization: tenant.organization,
            environment: tenant.environment,
            event_type: EventType::parse(&self.event_type)?,
            object: self.object,
            session: Some(session),
            session_sequence: None,
            detail: self.detail,
            at: self.at,
        })
    }
}

/// The line, with its end.
pub(super) fn write(tenant: Tenant, session: SessionId, write: &Write) -> Vec<u8> {
    let what = match write {
        Write::Started(event) => What::Started { event: EventLine::of(event) },
        Write::Activity(at) => What::Activity { at: *at },
        Write::Turn(turn) => What::Turn {
            id: turn.id.to_string(),
            speaker: turn.speaker.to_string(),
            language: turn.language.to_string(),
            text: turn.text.clone(),
            translation: turn.translation.as_ref().map(|it| (it.language.to_string(), it.text.clone())),
            timestamp: turn.timestamp,
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            confidence: turn.confidence,
        },
        Write::Lag(lag) => What::Lag {
            id: lag.id.to_string(),
            speaker: lag.speaker.to_string(),
            first_partial_ms: lag.first_partial_ms,
            final_ms: lag.final_ms,
            first_audio_ms: lag.first_audio_ms,
        },
        Write::Statistics(statistics) => What::Statistics {
            customer: statistics.parties[Speaker::Customer.index()],
            agent: statistics.parties[Speaker::Agent.index()],
        },
        Write::Part(name, node, dropped_ms) => {
            What::Part { name: name.clone(), node: node.to_string(), dropped_ms: *dropped_ms }
        }
        Write::Ended(reason, event) => What::Ended { reason: reason.to_string(), event: EventLine::of(event) },
    };
    let line = Line {
        organization: tenant.organization.to_string(),
        environment: tenant.environment.to_string(),
        session: session.to_string(),
        what,
    };
    // Texts and numbers always have a JSON form.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What a line says; none when it is not one of ours.
pub(super) fn read(line: &str) -> Option<(Tenant, SessionId, Write)> {
    let line: Line = serde_json::from_str(line).ok()?;
    let tenant =
        Tenant { organization: line.organization.parse().ok()?, environment: Environment::parse(&line.environment)? };
    let session = line.session.parse().ok()?;
    let write = match line.what {
        What::Started { event } => Write::Started(Box::new(event.into_event(tenant, session)?)),
        What::Activity { at } => Write::Activity(at),
        What::Turn { id, speaker, language, text, translation, timestamp, start_ms, end_ms, confidence } => {
            let translation = match translation {
                Some((language, text)) => Some(Translation { language: language.parse().ok()?, text }),
                None => None,
            };
            Write::Turn(Box::new(NewTurn {
                id: id.parse().ok()?,
                speaker: Speaker::parse(&speaker)?,
                language: language.parse().ok()?,
                text,
                translation,
                timestamp,
                start_ms,
                end_ms,
                confidence,
            }))
        }
        What::Lag { id, speaker, first_partial_ms, final_ms, first_audio_ms } => Write::Lag(UtteranceLag {
            id: id.parse().ok()?,
            speaker: Speaker::parse(&speaker)?,
            first_partial_ms,
            final_ms,
            first_audio_ms,
        }),
        What::Statistics { customer, agent } => {
            let mut statistics = StreamStatistics::default();
            statistics.parties[Speaker::Customer.index()] = customer;
            statistics.parties[Speaker::Agent.index()] = agent;
            Write::Statistics(statistics)
        }
        What::Part { name, node, dropped_ms } => Write::Part(name, node.parse().ok()?, dropped_ms),
        What::Ended { reason, event } => {
            Write::Ended(EndReason::parse(&reason)?, Box::new(event.into_event(tenant, session)?))
        }
    };
    Some((tenant, session, write))
}
