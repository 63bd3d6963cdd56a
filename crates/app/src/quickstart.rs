//! How far an organization's developers have come in one environment: a key, a session made with it, the first translated words.
//!
//! It is seen in what is stored, so it is true on every node and after a restart. What the portal does by itself with a key of its own does
//! not count: the steps are about the developers' own code.

use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyStatus};
use kallglot_core::id::SessionId;
use kallglot_core::session::{Speaker, Tenant, Turn};
use kallglot_storage::PageRequest;

use crate::keys::portal::{is_portal_key, is_portals};
use crate::{App, Error};

/// The newest sessions in which translated words are looked for, most of them that are asked for their transcript, and of how many turns.
const SESSIONS_LOOKED_MAX: u32 = 100;
const TRANSCRIPTS_LOOKED_MAX: usize = 10;
const TURNS_LOOKED_MAX: u32 = 20;

/// How far they have come; each step is there once it has been seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quickstart {
    /// Step 1: the newest key that lets requests in.
    pub key: Option<ApiKey>,
    /// When a key was last used, a minute exact.
    pub used_at: Option<Timestamp>,
    /// Step 2: the newest session.
    pub session: Option<SessionId>,
    /// Step 3: what was said first and was translated, in the newest session in which that happened.
    pub words: Option<FirstWords>,
}

/// Words that were translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstWords {
    /// In which session.
    pub session: SessionId,
    /// Who spoke.
    pub speaker: Speaker,
    /// What was said.
    pub text: String,
    /// What it means.
    pub translation: String,
}

impl Quickstart {
    /// How many of the three steps are done.
    pub fn done(&self) -> usize {
        [self.key.is_some(), self.session.is_some(), self.words.is_some()].iter().filter(|done| **done).count()
    }

    /// Whether all are.
    pub fn is_complete(&self) -> bool {
        self.done() == 3
    }
}

fn words(session: SessionId, turns: Vec<Turn>) -> Option<FirstWords> {
    turns.into_iter().find_map(|turn| {
        let translation = turn.translation?.text;
        Some(FirstWords { session, speaker: turn.speaker, text: turn.text, translation })
    })
}

impl App {
    /// How far the tenant's developers have come.
    ///
    /// # Errors
    /// Storage's.
    pub async fn quickstart(&self, tenant: Tenant) -> Result<Quickstart, Error> {
        let now = self.clock.now();
        let keys = self.storage.keys(tenant, &PageRequest::newest(PageRequest::<()>::LIMIT_MAX)).await?.items;
        let own: Vec<ApiKey> = keys.into_iter().filter(|key| !is_portals(key)).collect();
        let used_at = own.iter().filter_map(|key| key.last_used_at).max();
        let lets_in = |key: &ApiKey| matches!(key.status(now), KeyStatus::Active | KeyStatus::Rotating);
        let sessions = self.storage.sessions(tenant, &PageRequest::newest(SESSIONS_LOOKED_MAX)).await?.items;
        let sessions: Vec<SessionId> = sessions
            .into_iter()
            .filter(|session| !is_portal_key(tenant, session.created_by))
            .map(|session| session.id)
            .collect();
        let mut found =
            Quickstart { key: own.into_iter().find(lets_in), used_at, session: sessions.first().copied(), words: None };
        for session in sessions.into_iter().take(TRANSCRIPTS_LOOKED_MAX) {
            let turns = self.storage.turns(tenant, session, 0, TURNS_LOOKED_MAX).await?.unwrap_or_default();
            found.words = words(session, turns);
            if found.words.is_some() {
                break;
            }
        }
        Ok(found)
    }
}
