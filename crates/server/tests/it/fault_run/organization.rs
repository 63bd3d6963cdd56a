//! An organization under test, and what its clients know of its sessions, whoever has made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use kallglot_testkit::client::Answer;
use serde_json::json;

use super::requests::{Ask, Refusal, Reply, Requests};
use crate::load::{Chance, is_replay, session, text};

/// With what the creation of a session may be refused.
pub(super) const NO_SLOT: Refusal = (429, "concurrent_session_limit_exceeded");
pub(super) const NO_CREDITS: Refusal = (402, "insufficient_api_credits");
/// Attempts to get something done when nothing fails any more.
const TRIES_MAX: usize = 200;

/// The creation of a session, which may have been asked for several times.
#[derive(Debug, Default, Clone)]
struct Asked {
    made: Option<String>,
    /// The answer's body.
    body: Vec<u8>,
    /// Whether the work was said to be new.
    fresh: bool,
}

/// A session that was acknowledged.
#[derive(Debug, Default, Clone)]
struct Known {
    end_asked: bool,
    /// When it has ended, as the server said.
    ended_at: Option<String>,
}

#[derive(Default)]
struct State {
    /// By what they are called: the idempotency key where they have one.
    creations: BTreeMap<String, Asked>,
    sessions: BTreeMap<String, Known>,
    names: u64,
}

/// One organization.
pub(super) struct Organization {
    pub(super) id: String,
    /// Of a key that may do everything.
    pub(super) secret: String,
    /// Sessions at a time.
    pub(super) sessions_max: usize,
    /// Granted at the beginning.
    pub(super) credits: u64,
    requests: Arc<Requests>,
    state: Mutex<State>,
}

impl Organization {
    /// Makes one.
    pub(super) async fn new(requests: &Arc<Requests>, credits: u64, sessions_max: usize) -> Self {
        let cluster = &requests.cluster;
        let (all_credits, slots) = (credits.to_string(), sessions_max.to_string());
        let words = ["org", "create", "--name", "A", "--plan", "enterprise", "--credits", &all_credits];
        let limits = ["--requests-per-minute", "1000000000", "--concurrent-sessions", &slots];
        let made = cluster.json(&[&words[..], &limits].concat()).await;
        let id = text(&made, "/id").to_owned();
        let permissions = ["sessions:read", "sessions:write", "api_keys:manage"].map(|name| ["--permission", name]);
        let words = ["key", "create", "--org", &id, "--env", "live"];
        let made = cluster.json(&[&words[..], &permissions.concat()].concat()).await;
        let secret = text(&made, "/secret").to_owned();
        Self { id, secret, sessions_max, credits, requests: Arc::clone(requests), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One that is poisoned belongs to a run that has failed.
        self.state.lock().unwrap()
    }

    /// A name that nothing has yet.
    pub(super) fn name(&self, kind: &str) -> String {
        let mut state = self.lock();
        state.names += 1;
        format!("{kind}-{}", state.names)
    }

    /// Asks any node for the session of this name, for the first time or again.
    pub(super) async fn create(&self, name: &str, mode: &str, with_key: bool, chance: &mut Chance) -> Reply {
        let known = self.lock().creations.entry(name.to_owned()).or_default().made.is_some();
        let refusals: &[Refusal] = if known { &[] } else { &[NO_SLOT, NO_CREDITS] };
        let ask = Ask::post("create a session", "/v1/sessions", &self.secret, session(mode, name));
        let ask = Ask { idempotency_key: with_key.then_some(name), refusals, ..ask };
        let reply = self.requests.send(ask, chance).await;
        if let Reply::Done(answer) = &reply {
            self.created(name, answer, known);
        }
        reply
    }

    /// A session was acknowledged. `known` says whether it had been when this request was sent.
    fn created(&self, name: &str, answer: &Answer, known: bool) {
        let report = &self.requests.report;
        let (json, fresh) = (answer.json(), !is_replay(answer));
        let id = text(&json, "/id").to_owned();
        let mut state = self.lock();
        let asked = state.creations.get_mut(name).unwrap();
        report
            .must(text(&json, "/metadata/asked") == name, || format!("{name}: the answer to another request: {json}"));
        report
            .must(!(fresh && (asked.fresh || known)), || format!("{name} was done twice: {:?}, now {id}", asked.made));
        match &asked.made {
            None => report.count("acknowledged", "sessions"),
            Some(before) => {
                report.must(*before == id, || format!("{name} made {before} and {id}"));
                report.must(asked.body == answer.body, || format!("{name}: a replay is not the first answer: {json}"));
                report.count("acknowledged", "repetitions");
            }
        }
        asked.fresh |= fresh;
        asked.made = Some(id.clone());
        asked.body.clone_from(&answer.body);
        state.sessions.entry(id).or_default();
    }

    /// Asks any node for a session's end. Whether it was acknowledged.
    pub(super) async fn end(&self, id: &str, with_key: bool, chance: &mut Chance) -> bool {
        self.lock().sessions.entry(id.to_owned()).or_default().end_asked = true;
        let (path, key) = (format!("/v1/sessions/{id}/end"), format!("end-{id}"));
        let ask = Ask::post("end a session", &path, &self.secret, json!({}));
        let ask = Ask { idempotency_key: with_key.then_some(&key), ..ask };
        let Some(answer) = self.requests.send(ask, chance).await.done() else { return false };
        let json = answer.json();
        self.ended(id, text(&json, "/ended_at"));
        true
    }

    /// The end of a session was acknowledged or shown.
    fn ended(&self, id: &str, ended_at: &str) {
        let report = &self.requests.report;
        let mut state = self.lock();
        let session = state.sessions.get_mut(id).unwrap();
        match &session.ended_at {
            None => report.count("acknowledged", "ends"),
            Some(before) => report.must(before == ended_at, || format!("{id} ended at {before} and {ended_at}")),
        }
        session.ended_at = Some(ended_at.to_owned());
    }

    /// Somebody asks for its end in another way.
    pub(super) fn end_is_asked_for(&self, id: &str) {
        self.lock().sessions.get_mut(id).unwrap().end_asked = true;
    }

    /// Reads a session that was acknowledged, from any node: it is there, and as was said.
    pub(super) async fn read(&self, id: &str, chance: &mut Chance) -> Option<Answer> {
        let report = &self.requests.report;
        let had_ended = self.lock().sessions[id].ended_at.is_some();
        let path = format!("/v1/sessions/{id}");
        let answer = self.requests.send(Ask::get("read a session", &path, &self.secret), chance).await.done()?;
        let json = answer.json();
        let has_ended = text(&json, "/status") == "ended";
        report.must(has_ended || !had_ended, || format!("{id} had ended: {json}"));
        let end_asked = self.lock().sessions[id].end_asked;
        report.must(end_asked || !has_ended, || format!("nobody has ended {id}: {json}"));
        if has_ended {
            self.ended(id, text(&json, "/ended_at"));
        }
        Some(answer)
    }

    /// Ends a session when nothing fails any more.
    pub(super) async fn surely_end(&self, id: &str, chance: &mut Chance) {
        for _ in 0..TRIES_MAX {
            if self.end(id, false, chance).await {
                return;
            }
        }
        self.requests.report.violation(format!("{id} can't be ended"));
    }

    /// Compares the record with the sessions that there are.
    pub(super) fn check(&self, stored: &BTreeMap<String, serde_json::Value>) {
        let report = &self.requests.report;
        let mut made_by: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, session) in stored {
            let asked = text(session, "/metadata/asked");
            if let Some(other) = made_by.insert(asked, id) {
                report.violation(format!("{asked} made {other} and {id}"));
            }
        }
        let state = self.lock();
        for (name, asked) in &state.creations {
            if let Some(id) = &asked.made {
                report.must(made_by.get(name.as_str()) == Some(&id.as_str()), || {
                    format!("{name} was acknowledged as {id} and is lost")
                });
            }
        }
        let strangers: BTreeSet<_> = made_by.iter().filter(|(name, _)| !state.creations.contains_key(**name)).collect();
        report.must(strangers.is_empty(), || format!("nobody has asked for {strangers:?}"));
        for (id, known) in &state.sessions {
            let Some(session) = stored.get(id) else { continue };
            let ended_at = session["ended_at"].as_str();
            report.must(known.ended_at.is_none() || ended_at == known.ended_at.as_deref(), || {
                format!("{known:?}: {session}")
            });
        }
    }
}
