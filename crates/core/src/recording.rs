//! Recordings of sessions: what is kept of a call's audio (contract section 13).
//!
//! A session that is recorded has up to four tracks (what each party said, and its words translated) and three recordings made of
//! them. Recordings are what clients name, read and delete; tracks are what lies on a disk. A track is kept as long as a recording
//! needs it, so that deleting a recording deletes audio and not only a name.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::event::{Event, EventType, time};
use crate::id::{EventId, RecordingId, SessionId};
use crate::session::{Speaker, Tenant, named};

named! {
    /// Whether a session is recorded.
    RecordingMode {
        /// It is not.
        Off = "off",
        /// It is.
        On = "on",
        /// It is, but not now.
        Paused = "paused",
    }
}

impl Default for RecordingMode {
    /// Nobody is recorded who was not asked for.
    fn default() -> Self {
        Self::Off
    }
}

named! {
    /// What of a call a recording has.
    Channel {
        /// Both parties.
        Mixed = "mixed",
        /// The customer.
        Customer = "customer",
        /// The agent.
        Agent = "agent",
    }
}

named! {
    /// Where a recording stands.
    RecordingStatus {
        /// It is being made.
        Processing = "processing",
        /// It can be heard.
        Ready = "ready",
        /// It could not be made.
        Failed = "failed",
    }
}

named! {
    /// Why a recording is gone.
    Removed {
        /// Somebody deleted it.
        Deleted = "deleted",
        /// Its time was over.
        Expired = "expired",
    }
}

named! {
    /// A piece of a call's audio that is kept by itself.
    Track {
        /// What the customer said.
        CustomerOriginal = "customer.original",
        /// The customer's words as the agent heard them, translated.
        CustomerTranslated = "customer.translated",
        /// What the agent said.
        AgentOriginal = "agent.original",
        /// The agent's words as the customer heard them, translated.
        AgentTranslated = "agent.translated",
    }
}

impl Track {
    /// Whose words it has.
    pub const fn speaker(self) -> Speaker {
        match self {
            Self::CustomerOriginal | Self::CustomerTranslated => Speaker::Customer,
            Self::AgentOriginal | Self::AgentTranslated => Speaker::Agent,
        }
    }

    /// Whether it has them translated.
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::CustomerTranslated | Self::AgentTranslated)
    }
}

impl Channel {
    /// Whether a recording of this channel is made of this track.
    pub const fn needs(self, track: Track) -> bool {
        match self {
            Self::Mixed => true,
            Self::Customer => matches!(track.speaker(), Speaker::Customer),
            Self::Agent => matches!(track.speaker(), Speaker::Agent),
        }
    }
}

impl RecordingId {
    /// The id of a session's recording of this channel. It follows from the session's, so that making recordings twice makes them
    /// once, and has its time. That one tells the other lets nobody in: both are looked up by their tenant.
    pub const fn of(session: SessionId, channel: Channel) -> Self {
        // Any numbers of 80 bits that have nothing to do with each other: the random bits of an id.
        let other: u128 = match channel {
            Channel::Mixed => 0x9e37_79b9_7f4a_7c15_f39c,
            Channel::Customer => 0x3c6e_f372_fe94_f82b_e738,
            Channel::Agent => 0xdaa6_6d2c_7ddf_7441_dad4,
        };
        Self::from_bits(session.to_bits() ^ other)
    }
}

/// Days for which an organization keeps recordings unless it says otherwise.
pub const KEPT_DAYS: u32 = 30;
/// Most days for which it can: ten years.
pub const KEPT_DAYS_MAX: u32 = 3650;

/// A recording as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    /// Who owns it.
    pub tenant: Tenant,
    /// The session.
    pub session: SessionId,
    /// What of it.
    pub channel: Channel,
    /// Where it stands.
    pub status: RecordingStatus,
    /// Why it could not be made, in a sentence.
    pub error: Option<String>,
    /// How long it is, once it is ready.
    pub duration_ms: Option<u64>,
    /// How much audio is known to be missing, because the disk could not take it.
    pub dropped_ms: u64,
    /// Whether audio is missing, or may be: some was dropped, or a node that had a part of it did not come back in time.
    pub incomplete: bool,
    /// When its session ended.
    pub created_at: Timestamp,
    /// Until when it is kept.
    pub expires_at: Timestamp,
    /// Why it is gone, if it is.
    pub removed: Option<Removed>,
}

/// A recording as events tell it, but for its id. `duration` is in seconds.
pub fn detail(recording: &Recording) -> Map<String, Value> {
    let detail = [
        ("session_id", json!(recording.session.to_string())),
        ("channel", json!(recording.channel.as_str())),
        ("status", json!(recording.status.as_str())),
        ("error", json!(recording.error)),
        ("duration", json!(recording.duration_ms.map(|ms| ms as f64 / 1000.0))),
        ("incomplete", json!(recording.incomplete)),
        ("download_url", json!(download_url(recording.id))),
        ("created_at", json!(time(recording.created_at))),
        ("expires_at", json!(time(recording.expires_at))),
    ];
    detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where a recording's audio is, from the server's root.
pub fn download_url(id: RecordingId) -> String {
    format!("/v1/recordings/{id}/audio")
}

/// The event of a recording that is made or can't be. Its id follows from the recording's, so it is the same one each time.
pub fn event(event_type: EventType, recording: &Recording, at: Timestamp) -> Event {
    Event {
        id: EventId::from_bits(recording.id.to_bits()),
        organization: recording.tenant.organization,
        environment: recording.tenant.environment,
        event_type,
        object: recording.id.to_string(),
        session: Some(recording.session),
        session_sequence: None,
        detail: detail(recording),
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_track_is_in_the_mix_and_in_its_partys_recording() {
        for track in Track::ALL {
            let needed_by = Channel::ALL.iter().filter(|channel| channel.needs(*track)).count();
            assert_eq!(needed_by, 2, "{track}");
            assert!(track.as_str().starts_with(track.speaker().as_str()), "{track}");
            assert_eq!(track.as_str().ends_with("translated"), track.is_translated(), "{track}");
        }
    }

    #[test]
    fn a_sessions_recordings_have_ids_of_their_own() {
        let mut ids = std::collections::BTreeSet::new();
        for session in [0, 1, 2, 3, u128::MAX].map(SessionId::from_bits) {
            ids.extend(Channel::ALL.iter().map(|channel| RecordingId::of(session, *channel).to_string()));
        }
        assert_eq!(ids.len(), 15);
    }
}
