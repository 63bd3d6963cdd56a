//! The clients of one life of the server: each does one thing after the other, chosen at random, until the server is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kallglot_core::id::RequestId;
use kallglot_testkit::client::{Answer, Body, Client, Stream, TokenPlacement};
use kallglot_testkit::soon;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::CLIENTS;
use super::told::{JOINED, Told};
use crate::load::{Chance, session};

/// Clients of the first kinds that also open streams, one in each life.
const JOINERS: u64 = 4;
/// Repetitions are of one of so many creations, the newest.
const REPEATED_MAX: usize = 48;

/// The server gave no answer.
#[derive(Debug)]
pub(super) struct Gone;

/// One client.
#[derive(Clone)]
pub(super) struct Requests {
    client: Client,
    told: Arc<Told>,
    killed: Arc<AtomicBool>,
    answers: Arc<watch::Sender<u64>>,
}

/// When a request arrived, as its id says, in milliseconds.
pub(super) fn arrived_at_ms(answer: &Answer) -> i64 {
    let id: RequestId = answer.header("x-request-id").expect("every answer has an id").parse().unwrap();
    (id.to_bits() >> 80) as i64
}

fn unexpected(what: &str, answer: &Answer) -> ! {
    panic!("{what}: {} {}", answer.status, answer.text())
}

impl Requests {
    pub(super) fn new(client: &Client, told: &Arc<Told>) -> Self {
        let killed = Arc::default();
        Self { client: client.clone(), told: Arc::clone(told), killed, answers: Arc::new(watch::Sender::new(0)) }
    }

    async fn send(
        &self,
        client: &Client,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Body,
    ) -> Result<Answer, Gone> {
        let headers = key.map(|key| ("idempotency-key", key));
        match client.request(method, path, headers.as_slice(), body).await {
            Ok(answer) => {
                self.answers.send_modify(|answers| *answers += 1);
                let mut state = self.told.lock();
                state.newest_request_ms = state.newest_request_ms.max(arrived_at_ms(&answer));
                drop(state);
                self.told.count(|counts| counts.answers += 1);
                Ok(answer)
            }
            Err(error) => {
                assert!(
                    self.killed.load(Ordering::SeqCst),
                    "no answer to {method} {path} by a server that runs: {error}"
                );
                self.told.count(|counts| counts.unanswered += 1);
                Err(Gone)
            }
        }
    }

    pub(super) async fn post(&self, path: &str, key: Option<&str>, body: Value) -> Result<Answer, Gone> {
        self.send(&self.client, "POST", path, key, Body::Json(body)).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Gone> {
        self.send(&self.client, "GET", path, None, Body::Empty).await
    }

    /// Creates the session of this name, or asks for it again. The answer: 201, or the refusal when no slot is free.
    pub(super) async fn create(&self, name: &str, with_key: bool) -> Result<Answer, Gone> {
        let known = {
            let mut state = self.told.lock();
            if with_key && !state.creations.contains_key(name) {
                state.repeatable.push(name.to_owned());
            }
            let asked = state.creations.entry(name.to_owned()).or_default();
            asked.unanswered += 1;
            asked.made.is_some()
        };
        let answer =
            self.post("/v1/sessions", with_key.then_some(name), session("assistive_translation", name)).await?;
        self.told.lock().creations.get_mut(name).unwrap().unanswered -= 1;
        match (answer.status, answer.error_code().as_deref()) {
            (201, None) => {
                self.told.lock().session_created(name, &answer, known);
            }
            (429, Some("concurrent_session_limit_exceeded")) if !known => {
                self.told.count(|counts| counts.refused_slots += 1);
            }
            (409, Some("idempotency_conflict")) if with_key => self.told.count(|counts| counts.conflicts += 1),
            _ => unexpected(&format!("creating {name}"), &answer),
        }
        Ok(answer)
    }

    /// Ends a session; half of the time with an idempotency key, which is always the same for one session.
    pub(super) async fn end(&self, id: &str, with_key: bool) -> Result<(), Gone> {
        self.told.lock().sessions.get_mut(id).unwrap().end_asked = true;
        let key = format!("end-{id}");
        let answer = self.post(&format!("/v1/sessions/{id}/end"), with_key.then_some(&key), json!({})).await?;
        match answer.status {
            200 => self.told.lock().session_ended(id, &answer),
            _ => unexpected(&format!("ending {id}"), &answer),
        }
        Ok(())
    }

    /// Makes the API key of this name, or asks for it again.
    pub(super) async fn make_key(&self, name: &str) -> Result<(), Gone> {
        let known = {
            let mut state = self.told.lock();
            let asked = state.key_creations.entry(name.to_owned()).or_default();
            asked.unanswered += 1;
            asked.made.is_some()
        };
        let body = json!({ "name": name, "permissions": ["sessions:read"] });
        let answer = self.post("/v1/api_keys", Some(name), body).await?;
        self.told.lock().key_creations.get_mut(name).unwrap().unanswered -= 1;
        match (answer.status, answer.error_code().as_deref()) {
            (201, None) => self.told.lock().key_created(name, &answer, known),
            (409, Some("idempotency_conflict")) => self.told.count(|counts| counts.conflicts += 1),
            _ => unexpected(&format!("making the key {name}"), &answer),
        }
        Ok(())
    }

    /// Revokes a key, and sees that it is refused from the answer on.
    async fn revoke_key(&self, place: usize) -> Result<(), Gone> {
        let id = {
            let mut state = self.told.lock();
            state.keys[place].revocation_asked = true;
            state.keys[place].id.clone()
        };
        let answer = self.post(&format!("/v1/api_keys/{id}/revoke"), None, json!({})).await?;
        if answer.status != 200 {
            unexpected(&format!("revoking {id}"), &answer);
        }
        self.told.lock().keys[place].revoked = true;
        self.told.count(|counts| counts.revocations += 1);
        self.try_key(place).await
    }

    /// Uses a key: it is refused if its revocation was acknowledged before, and let in if nobody has asked for that.
    pub(super) async fn try_key(&self, place: usize) -> Result<(), Gone> {
        let before = self.told.lock().keys[place].clone();
        let client = self.client.with_key(Some(before.secret.reveal()));
        let answer = self.send(&client, "GET", "/v1/whoami", None, Body::Empty).await?;
        let after = self.told.lock().keys[place].clone();
        match (answer.status, answer.error_code().as_deref()) {
            (200, None) if !before.revoked => {}
            // For good, whether that was acknowledged or not.
            (401, Some("api_key_revoked")) if after.revocation_asked => self.told.lock().keys[place].revoked = true,
            _ => unexpected(&format!("using {before:?}"), &answer),
        }
        Ok(())
    }

    /// Opens a stream on a new session, unless no slot is free.
    async fn join(&self) -> Result<Option<Stream>, Gone> {
        let answer = self.create(&self.told.name(JOINED), false).await?;
        if answer.status != 201 {
            return Ok(None);
        }
        let json = answer.json();
        let (url, token) = (json["stream"]["url"].as_str().unwrap(), json["stream"]["token"].as_str().unwrap());
        match Stream::connect(url, token, TokenPlacement::Bearer, None).await {
            Ok(stream) => {
                self.told.count(|counts| counts.joins += 1);
                Ok(Some(stream))
            }
            Err(error) => {
                assert!(self.killed.load(Ordering::SeqCst), "a stream can't join a server that runs: {error}");
                Err(Gone)
            }
        }
    }

    /// Ends so many new sessions while somebody joins them: who comes too late holds no slot.
    pub(super) async fn join_and_end(&self, sessions: usize) {
        for _ in 0..sessions {
            let created = self.create(&self.told.name(JOINED), false).await.unwrap().json();
            let stream = &created["stream"];
            let (url, token) = (stream["url"].as_str().unwrap(), stream["token"].as_str().unwrap());
            let join = async {
                // Refused, or closed at once, or closed by the end.
                if let Ok(mut stream) = Stream::connect(url, token, TokenPlacement::Bearer, None).await {
                    soon("the stream is closed", stream.wait_closed()).await;
                }
            };
            let (_, ended) = tokio::join!(join, self.end(created["id"].as_str().unwrap(), false));
            ended.unwrap();
        }
    }

    /// One thing that clients do.
    async fn something(&self, chance: &mut Chance) -> Result<(), Gone> {
        match chance.below(100) {
            0..26 => {
                self.create(&self.told.name("order-"), true).await?;
            }
            26..32 => {
                self.create(&self.told.name("plain-"), false).await?;
            }
            32..44 => {
                let name = {
                    let state = self.told.lock();
                    let from = state.repeatable.len().saturating_sub(REPEATED_MAX);
                    chance.one(&state.repeatable[from..]).cloned()
                };
                if let Some(name) = name {
                    self.create(&name, true).await?;
                }
            }
            44..80 => {
                let id = {
                    let mut state = self.told.lock();
                    let place = chance.below(state.open.len() as u64) as usize;
                    (place < state.open.len()).then(|| state.open.swap_remove(place))
                };
                if let Some(id) = id {
                    let ended = self.end(&id, chance.below(2) == 0).await;
                    if ended.is_err() {
                        self.told.lock().open.push(id);
                    }
                    ended?;
                }
            }
            80..85 => self.make_key(&self.told.name("key-")).await?,
            85..89 => {
                let place = self.told.lock().any_key(chance);
                if let Some(place) = place {
                    self.revoke_key(place).await?;
                }
            }
            89..96 => {
                let place = self.told.lock().any_key(chance);
                if let Some(place) = place {
                    self.try_key(place).await?;
                }
            }
            _ => {
                let answer = self.get("/v1/whoami").await?;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
        Ok(())
    }

    /// Works until the server is gone. Streams stay open until then.
    async fn work(self, number: u64, mut chance: Chance) {
        let _stream = if number < JOINERS { self.join().await } else { Ok(None) };
        while self.something(&mut chance).await.is_ok() {}
    }
}

/// All clients of one life.
pub(super) struct Clients {
    requests: Requests,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Starts them.
    pub(super) fn start(client: &Client, told: &Arc<Told>, chance: impl Fn(u64) -> Chance) -> Self {
        let requests = Requests::new(client, told);
        let tasks = (0..CLIENTS).map(|number| requests.clone().work(number, chance(number))).collect();
        Self { requests, tasks }
    }

    /// Waits until so many requests were answered.
    pub(super) async fn until_answered(&self, answers: u64) {
        let mut answered = self.requests.answers.subscribe();
        while *answered.borrow_and_update() < answers {
            soon("an answer", answered.changed()).await.unwrap();
        }
    }

    /// From now on an answer may be missing.
    pub(super) fn expect_the_kill(&self) {
        self.requests.killed.store(true, Ordering::SeqCst);
    }

    /// Waits until all have noticed that the server is dead.
    pub(super) async fn all_gone(mut self) {
        while let Some(done) = soon("a client has noticed", self.tasks.join_next()).await {
            done.unwrap();
        }
    }
}
