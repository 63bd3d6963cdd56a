//! Events: what happened, for webhooks (contract section 13). They are stored in the same transaction as what happened.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::{EventId, OrganizationId};
use crate::session::{Environment, named};

named! {
    /// What happened.
    EventType {
        /// A session was made.
        SessionCreated = "session.created",
        /// A session got its first audio.
        SessionStarted = "session.started",
        /// A session ended.
        SessionEnded = "session.ended",
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
    /// What else there is to tell, such as `remaining` and `threshold`. Never a secret.
    pub detail: BTreeMap<String, String>,
    /// When.
    pub at: Timestamp,
}
