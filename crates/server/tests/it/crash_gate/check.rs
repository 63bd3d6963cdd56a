//! What must hold after a kill, whatever its moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kallglot_core::id::SessionId;
use kallglot_testkit::client::{Answer, Client};
use kallglot_testkit::soon;
use serde_json::Value;
use tokio::time::{Duration, interval};

use super::clients::{Requests, arrived_at_ms};
use super::told::{Asked, Told};
use super::{SESSIONS_MAX, TOKEN_S};
use crate::load::{self, Chance, is_replay, ms, text};
use crate::process::Folder;

/// How long the slot of a session that was live when the server died is kept for its client.
const LEASE_MS: i64 = 30_000;
/// Acknowledged creations that are repeated after a kill, and after the last one.
const REPEATED: usize = 4;
const REPEATED_AT_THE_END: usize = 400;
/// Most creations until the slots are full, with what lapses meanwhile.
const FILL_MAX: usize = 4 * SESSIONS_MAX;

/// Where and what to check.
pub(super) struct Checks<'a> {
    pub(super) folder: &'a Folder,
    pub(super) organization: &'a str,
    pub(super) client: &'a Client,
    pub(super) told: &'a Arc<Told>,
    /// Granted at the beginning.
    pub(super) credits: u64,
}

/// The sessions of the database, by id, as they were read last.
pub(super) type Sessions = BTreeMap<String, Stored>;

/// Between when and when a session's slot lapses, in milliseconds.
type Lapse = (i64, i64);

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// A session as the database has it.
pub(super) struct Stored {
    status: String,
    asked: String,
    ended_at: Option<String>,
}

impl Stored {
    fn of(session: &Value) -> (String, Self) {
        let stored = Self {
            status: text(session, "/status").to_owned(),
            asked: text(session, "/metadata/asked").to_owned(),
            ended_at: session["ended_at"].as_str().map(str::to_owned),
        };
        (text(session, "/id").to_owned(), stored)
    }

    fn has_ended(&self) -> bool {
        self.status == "ended"
    }
}

/// What is in a list, from the newest to this one.
async fn list(requests: &Requests, path: &str, until: Option<&String>) -> Vec<Value> {
    load::list(|path| async move { soon("a page", requests.get(&path)).await.unwrap() }, path, until).await
}

impl Checks<'_> {
    /// After the restart, before the clients go on.
    pub(super) async fn after_a_kill(&self, sessions: &mut Sessions, chance: &mut Chance, everything: bool) {
        let requests = Requests::new(self.client, self.told);
        let killed_at_ms = self.told.lock().newest_request_ms;
        let restarted_at_ms = arrived_at_ms(&requests.get("/v1/whoami").await.unwrap());
        self.read(&requests, sessions, everything).await;
        let mut slots = self.slots(sessions, killed_at_ms, restarted_at_ms);
        self.keys(&requests, chance, 16, everything).await;
        self.repeat(&requests, sessions, &mut slots, chance, REPEATED).await;
        if chance.below(2) == 0 {
            self.fill(&requests, &mut slots).await;
        }
        for (id, session) in sessions.iter().filter(|(_, session)| session.status == "active") {
            self.knows_of(id, session);
            requests.end(id, true).await.unwrap();
        }
        self.credits(&requests, sessions, everything).await;
    }

    /// After the last restart: no slot, no credit and no key is left behind.
    pub(super) async fn at_the_end(&self, sessions: &mut Sessions, chance: &mut Chance) {
        let requests = Requests::new(self.client, self.told);
        self.read(&requests, sessions, true).await;
        self.keys(&requests, chance, usize::MAX, true).await;
        for (id, session) in sessions.iter().filter(|(_, session)| !session.has_ended()) {
            self.knows_of(id, session);
            requests.end(id, true).await.unwrap();
        }
        // Repetitions that find nothing make sessions: before the slots are counted.
        let mut slots = BTreeMap::new();
        self.repeat(&requests, sessions, &mut slots, chance, REPEATED_AT_THE_END).await;
        for id in slots.keys() {
            requests.end(id, false).await.unwrap();
        }
        requests.join_and_end(SESSIONS_MAX).await;
        self.read(&requests, sessions, true).await;
        assert!(sessions.values().all(Stored::has_ended));
        let mut slots = BTreeMap::new();
        self.fill(&requests, &mut slots).await;
        self.lapses(&requests, &mut slots).await;
        self.read(&requests, sessions, true).await;
        self.credits(&requests, sessions, true).await;
        self.told.count(|counts| counts.stored_sessions = sessions.len() as u64);
    }

    /// Reads what has changed since `sessions` were read, or everything. What was acknowledged is there and as it was said; no request
    /// made two.
    async fn read(&self, requests: &Requests, sessions: &mut Sessions, everything: bool) {
        if everything {
            sessions.clear();
        }
        let open: Vec<String> =
            sessions.iter().filter(|(_, known)| !known.has_ended()).map(|(id, _)| id.clone()).collect();
        for session in list(requests, "/v1/sessions", sessions.keys().next_back()).await {
            let (id, stored) = Stored::of(&session);
            assert!(sessions.insert(id, stored).is_none(), "listed twice: {session}");
        }
        for id in open {
            let answer = requests.get(&format!("/v1/sessions/{id}")).await.unwrap();
            assert_eq!(answer.status, 200, "{id} was there: {}", answer.text());
            sessions.extend([Stored::of(&answer.json())]);
        }
        let mut made_by = BTreeMap::new();
        for (id, session) in &*sessions {
            assert_eq!(made_by.insert(session.asked.as_str(), id), None, "{} made two sessions", session.asked);
        }
        let state = self.told.lock();
        for (name, asked) in &state.creations {
            if let Some(id) = &asked.made {
                assert_eq!(made_by.get(name.as_str()), Some(&id), "{name} was acknowledged");
            }
        }
        for (name, id) in made_by {
            assert!(state.creations.contains_key(name), "nobody has asked for {id}");
        }
        for (id, told) in &state.sessions {
            let stored = &sessions[id];
            match &told.ended_at {
                None => assert!(told.end_asked || !stored.has_ended(), "nobody has ended {id}"),
                ended_at => assert!(stored.has_ended() && stored.ended_at == *ended_at, "{id} ended at {ended_at:?}"),
            }
        }
    }

    /// The sessions that hold slots after a restart. Those that were live keep theirs as if they had just been heard of.
    fn slots(&self, sessions: &Sessions, killed_at_ms: i64, restarted_at_ms: i64) -> BTreeMap<String, Lapse> {
        let state = self.told.lock();
        let lapse = |(id, session): (&String, &Stored)| match session.status.as_str() {
            "ended" => None,
            "active" => Some((id.clone(), (killed_at_ms + LEASE_MS, restarted_at_ms + LEASE_MS))),
            _ => Some((
                id.clone(),
                state.sessions.get(id).map_or_else(|| by_id(id), |told| (told.lapses_at_ms, told.lapses_at_ms)),
            )),
        };
        sessions.iter().filter_map(lapse).collect()
    }

    /// Clients are told of a session that only the database knows: the request that made it was never answered.
    fn knows_of(&self, id: &str, stored: &Stored) {
        let (lapses_at_ms, _) = by_id(id);
        let session = super::told::ToldSession { lapses_at_ms, end_asked: true, ended_at: None };
        let mut state = self.told.lock();
        if !state.sessions.contains_key(id) {
            assert!(state.creations[&stored.asked].made.is_none(), "{} made {id}", stored.asked);
            state.sessions.insert(id.to_owned(), session);
        }
    }

    /// Revocations hold: so many keys are tried. Keys are there and named once, if all are read.
    async fn keys(&self, requests: &Requests, chance: &mut Chance, tried_max: usize, everything: bool) {
        let told = self.told.lock().keys.clone();
        // The newest, about which the kill came, and some others.
        let newest = told.len().saturating_sub(tried_max / 2)..told.len();
        let others = (0..tried_max.min(told.len()) / 2).map(|_| chance.below(told.len() as u64) as usize);
        for place in newest.chain(others) {
            requests.try_key(place).await.unwrap();
        }
        if !everything {
            return;
        }
        let listed = list(requests, "/v1/api_keys", None).await;
        let keys: BTreeMap<&str, &Value> = listed.iter().map(|key| (text(key, "/id"), key)).collect();
        let names: BTreeSet<&str> = listed.iter().map(|key| text(key, "/name")).collect();
        assert_eq!(names.len(), listed.len(), "a request made two keys");
        for key in &self.told.lock().keys {
            let stored = keys.get(key.id.as_str()).unwrap_or_else(|| panic!("{key:?} was acknowledged"));
            let revoked = text(stored, "/status") == "revoked";
            assert!(revoked || !key.revoked, "the revocation of {stored} was acknowledged");
            assert!(!revoked || key.revocation_asked, "nobody has revoked {stored}");
        }
    }

    /// Repeats creations that were never answered, each twice, and so many that were.
    async fn repeat(
        &self,
        requests: &Requests,
        sessions: &Sessions,
        slots: &mut BTreeMap<String, Lapse>,
        chance: &mut Chance,
        answered_max: usize,
    ) {
        let stored: BTreeSet<&str> = sessions.values().map(|session| session.asked.as_str()).collect();
        let (unanswered, answered, unanswered_keys) = {
            let mut state = self.told.lock();
            let made = |name: &&String| state.creations[*name].made.is_some();
            let answered: Vec<_> = state.repeatable.iter().filter(made).cloned().collect();
            // No answer will come any more.
            let unanswered = |creations: &mut BTreeMap<String, Asked>| {
                let mut left = Vec::new();
                for (name, asked) in creations {
                    if std::mem::take(&mut asked.unanswered) > 0 && asked.made.is_none() {
                        left.push(name.clone());
                    }
                }
                left
            };
            let keys = unanswered(&mut state.key_creations);
            let mut sessions = unanswered(&mut state.creations);
            sessions.retain(|name| state.repeatable.contains(name));
            (sessions, answered, keys)
        };
        for name in unanswered {
            let answer = requests.create(&name, true).await.unwrap();
            let replayed = is_replay(&answer);
            if stored.contains(name.as_str()) {
                assert!(answer.status == 201 && replayed, "{name} was done: {} {}", answer.status, answer.text());
                self.told.count(|counts| counts.unanswered_done += 1);
            } else {
                assert!(!replayed && answer.status != 409, "{name} was not done: {}", answer.text());
                self.told.count(|counts| counts.unanswered_not_done += 1);
                self.holds_a_slot(&answer, slots);
            }
            if answer.status == 201 {
                requests.create(&name, true).await.unwrap();
            }
        }
        for _ in 0..answered_max.min(answered.len()) {
            if let Some(name) = chance.one(&answered) {
                requests.create(name, true).await.unwrap();
            }
        }
        for name in unanswered_keys {
            requests.make_key(&name).await.unwrap();
            requests.make_key(&name).await.unwrap();
        }
    }

    fn holds_a_slot(&self, answer: &Answer, slots: &mut BTreeMap<String, Lapse>) {
        if answer.status == 201 {
            let json = answer.json();
            let lapses_at_ms = ms(text(&json, "/stream/expires_at"));
            slots.insert(text(&json, "/id").to_owned(), (lapses_at_ms, lapses_at_ms));
        }
    }

    /// Creates sessions until one is refused: then exactly as many slots are held as there are.
    async fn fill(&self, requests: &Requests, slots: &mut BTreeMap<String, Lapse>) {
        for _ in 0..FILL_MAX {
            let answer = requests.create(&self.told.name("fill-"), false).await.unwrap();
            self.holds_a_slot(&answer, slots);
            if answer.status == 429 {
                // All that was created before is in the count, and what lapses after this moment is too.
                let at_ms = arrived_at_ms(&answer);
                let surely = slots.values().filter(|(from, _)| *from > at_ms).count();
                let perhaps = slots.values().filter(|(_, until)| *until > at_ms).count();
                assert!(surely <= SESSIONS_MAX, "{surely} sessions hold slots: {slots:?} at {at_ms}");
                assert!(perhaps >= SESSIONS_MAX, "refused when {perhaps} sessions held slots: {slots:?} at {at_ms}");
                self.told.count(|counts| counts.fills += 1);
                return;
            }
        }
        panic!("{FILL_MAX} sessions were created and none was refused");
    }

    /// Asks until a slot is given back by a session that nobody has joined.
    async fn lapses(&self, requests: &Requests, slots: &mut BTreeMap<String, Lapse>) {
        let first = slots.values().map(|(_, until)| *until).min().unwrap();
        let mut pause = interval(Duration::from_millis(50));
        soon("a slot lapses", async {
            loop {
                pause.tick().await;
                let answer = requests.create(&self.told.name("late-"), false).await.unwrap();
                if answer.status == 201 {
                    let id: SessionId = text(&answer.json(), "/id").parse().unwrap();
                    assert!((id.to_bits() >> 80) as i64 >= first, "a slot was given back before its time");
                    return;
                }
            }
        })
        .await;
    }

    /// What is left is what was granted less the sessions that there are. The ledger, if it is read, has one spend for each.
    async fn credits(&self, requests: &Requests, sessions: &Sessions, everything: bool) {
        let answer = requests.get("/v1/whoami").await.unwrap();
        let (remaining, used) = (number(&answer, "x-api-credits-remaining"), number(&answer, "x-api-credits-used"));
        let there: BTreeSet<String> = sessions.keys().chain(self.told.lock().sessions.keys()).cloned().collect();
        assert_eq!(remaining + there.len() as u64, self.credits);
        if !everything {
            return;
        }
        let ledger = self.folder.json(&["org", "ledger", self.organization, "--limit", "1000000"]).await;
        let entries = ledger["data"].as_array().unwrap();
        assert_eq!(ledger["has_more"], false);
        let amount = |entry: &Value| entry["amount"].as_i64().unwrap();
        let mut balance = 0;
        for entry in entries.iter().rev() {
            balance += amount(entry);
            assert!(balance >= 0 && entry["balance_after"] == balance, "{entry}");
        }
        assert_eq!(u64::try_from(balance).unwrap(), remaining);
        let (spends, grants): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry["kind"] == "spend");
        assert_eq!(grants.iter().map(|entry| amount(entry)).collect::<Vec<_>>(), [self.credits as i64]);
        assert!(spends.iter().all(|spend| amount(spend) == -1));
        let paid: BTreeSet<String> = spends.iter().map(|spend| text(spend, "/paid_for").to_owned()).collect();
        let by: BTreeSet<&str> = spends.iter().map(|spend| text(spend, "/request_id")).collect();
        assert_eq!((paid.len(), by.len()), (spends.len(), spends.len()), "a session or a request paid twice");
        assert_eq!(paid, there, "what was paid for is what there is");
        // The count of what was used begins anew with a month.
        let months: BTreeSet<&str> = entries.iter().map(|entry| &text(entry, "/created_at")[..7]).collect();
        if months.len() == 1 {
            assert_eq!(remaining + used, self.credits);
        }
        self.told.count(|counts| counts.spends = spends.len() as u64);
    }
}

/// When a session's slot lapses, as far as its id says it: tokens count whole seconds from a moment after the id was made.
fn by_id(id: &str) -> Lapse {
    let id: SessionId = id.parse().unwrap();
    let second = (id.to_bits() >> 80) as i64 / 1000;
    ((second + TOKEN_S) * 1000, (second + TOKEN_S + 1) * 1000)
}
