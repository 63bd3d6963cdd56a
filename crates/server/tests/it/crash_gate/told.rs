//! What clients have asked for and were told: what the server has to keep to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use kallglot_testkit::client::{Answer, Secret};

use crate::load::{Chance, is_replay, ms};

/// How the creations of sessions are called whose streams are kept open.
pub(super) const JOINED: &str = "joined-";

/// How much of what there was, for the report.
#[derive(Debug, Default, Clone)]
#[allow(dead_code, reason = "they are printed")]
pub(super) struct Counts {
    pub(super) kills: u64,
    pub(super) kills_while_starting: u64,
    pub(super) answers: u64,
    /// Requests whose answer never came.
    pub(super) unanswered: u64,
    /// Sessions that were acknowledged.
    pub(super) sessions: u64,
    pub(super) ends: u64,
    pub(super) joins: u64,
    pub(super) keys: u64,
    pub(super) revocations: u64,
    /// Answers that were given again.
    pub(super) replays: u64,
    /// Idempotent requests without an answer that had been done, as their repetition showed, and those that had not.
    pub(super) unanswered_done: u64,
    pub(super) unanswered_not_done: u64,
    pub(super) refused_slots: u64,
    pub(super) conflicts: u64,
    /// Times that the slots were filled, up to the refusal.
    pub(super) fills: u64,
    /// Spends in the ledger at the end, and sessions in the database.
    pub(super) spends: u64,
    pub(super) stored_sessions: u64,
}

/// A request to create something, which may have been sent several times.
#[derive(Debug, Default, Clone)]
pub(super) struct Asked {
    /// How many requests were sent to which no answer has come yet.
    pub(super) unanswered: u64,
    /// What the server said that it made.
    pub(super) made: Option<String>,
    /// The answer's body.
    body: Vec<u8>,
    /// Whether the work was said to be new.
    fresh: bool,
}

/// A session that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct ToldSession {
    /// When its slot lapses if nobody joins, in milliseconds.
    pub(super) lapses_at_ms: i64,
    /// Whether somebody has asked for its end.
    pub(super) end_asked: bool,
    /// When it has ended, as the server said.
    pub(super) ended_at: Option<String>,
}

/// An API key that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct ToldKey {
    pub(super) id: String,
    pub(super) secret: Secret,
    /// Whether somebody has asked for its revocation, and whether that was acknowledged.
    pub(super) revocation_asked: bool,
    pub(super) revoked: bool,
}

/// All of it.
#[derive(Default)]
pub(super) struct State {
    /// By what they are called: the idempotency key where they have one.
    pub(super) creations: BTreeMap<String, Asked>,
    pub(super) key_creations: BTreeMap<String, Asked>,
    /// Names of creations that may be repeated, the newest last.
    pub(super) repeatable: Vec<String>,
    pub(super) sessions: BTreeMap<String, ToldSession>,
    /// Sessions that a client may end.
    pub(super) open: Vec<String>,
    pub(super) keys: Vec<ToldKey>,
    /// When the newest request that was answered had arrived, in milliseconds.
    pub(super) newest_request_ms: i64,
    counts: Counts,
    names: u64,
}

/// Shared by all clients.
#[derive(Default)]
pub(super) struct Told(Mutex<State>);

impl Told {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // One that is poisoned belongs to a run that has failed.
        self.0.lock().unwrap()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// A name that nothing has yet.
    pub(super) fn name(&self, kind: &str) -> String {
        let mut state = self.lock();
        state.names += 1;
        format!("{kind}{}", state.names)
    }
}

/// A text in an answer.
fn text(answer: &Answer, pointer: &str) -> String {
    let json = answer.json();
    let found = json.pointer(pointer).and_then(|value| value.as_str());
    found.unwrap_or_else(|| panic!("no {pointer}: {json}")).to_owned()
}

impl Asked {
    /// Compares what was said now with what was said before. `known` says whether the work was acknowledged when this request was sent.
    fn hear(&mut self, name: &str, made: &str, answer: &Answer, known: bool) {
        let fresh = !is_replay(answer);
        assert!(!(fresh && self.fresh), "{name} was done twice: {:?}, now {made}", self.made);
        assert!(!(fresh && known), "{name} was done and acknowledged, and done again: {made}");
        if let Some(before) = &self.made {
            assert_eq!(before, made, "{name} gave two objects");
            assert_eq!(self.body, answer.body, "{name}: a replay is the first answer");
        }
        self.fresh |= fresh;
        self.made = Some(made.to_owned());
        self.body.clone_from(&answer.body);
    }
}

impl State {
    /// A session was acknowledged. `known` says whether it had been when this request was sent.
    pub(super) fn session_created(&mut self, name: &str, answer: &Answer, known: bool) {
        let id = text(answer, "/id");
        assert_eq!(text(answer, "/metadata/asked"), name, "an answer to another request");
        let asked = self.creations.get_mut(name).unwrap();
        let first_told = asked.made.is_none();
        asked.hear(name, &id, answer, known);
        self.counts.replays += u64::from(is_replay(answer));
        if first_told {
            self.counts.sessions += 1;
            let lapses_at_ms = ms(&text(answer, "/stream/expires_at"));
            // It may be known already from the list of all.
            let session = ToldSession { lapses_at_ms, end_asked: false, ended_at: None };
            self.sessions.entry(id.clone()).or_insert(session);
            if !name.starts_with(JOINED) {
                self.open.push(id);
            }
        }
    }

    /// An end was acknowledged.
    pub(super) fn session_ended(&mut self, id: &str, answer: &Answer) {
        assert_eq!((text(answer, "/id").as_str(), text(answer, "/status").as_str()), (id, "ended"));
        let ended_at = text(answer, "/ended_at");
        self.counts.replays += u64::from(is_replay(answer));
        let session = self.sessions.get_mut(id).unwrap();
        match &session.ended_at {
            Some(before) => assert_eq!(*before, ended_at, "{id} ended twice"),
            None => self.counts.ends += 1,
        }
        session.ended_at = Some(ended_at);
    }

    /// A key was acknowledged.
    pub(super) fn key_created(&mut self, name: &str, answer: &Answer, known: bool) {
        let id = text(answer, "/id");
        let asked = self.key_creations.get_mut(name).unwrap();
        let first_told = asked.made.is_none();
        asked.hear(name, &id, answer, known);
        self.counts.replays += u64::from(is_replay(answer));
        if first_told {
            self.counts.keys += 1;
            let secret = Secret::new(text(answer, "/secret"));
            self.keys.push(ToldKey { id, secret, revocation_asked: false, revoked: false });
        }
    }

    /// Any key, by its place.
    pub(super) fn any_key(&self, chance: &mut Chance) -> Option<usize> {
        (!self.keys.is_empty()).then(|| chance.below(self.keys.len() as u64) as usize)
    }
}
