//! Sessions that nobody joins: created with and without idempotency keys, asked for again after lost answers, read and ended through any
//! node. Afterwards there is one for each acknowledgement and each idempotency key, and every slot is free.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::time::sleep;

use super::capability::{Capability, Stored};
use super::organization::Organization;
use super::requests::{Ask, Reply, Requests};
use crate::load::{Chance, text};

/// How long after the last end a slot may still be taken.
const SLOTS_MAX: Duration = Duration::from_secs(30);
/// Repetitions are of one of so many creations, the newest.
const REPEATED_MAX: usize = 32;
/// How often an unanswered request is repeated at once.
const AGAIN_MAX: usize = 4;
const MODE: &str = "assistive_translation";

#[derive(Default)]
struct State {
    /// Creations that may be repeated, the newest last.
    repeatable: Vec<String>,
    /// Sessions that any client may end.
    open: Vec<String>,
}

/// See above.
pub(super) struct Sessions {
    name: &'static str,
    clients: usize,
    organization: Arc<Organization>,
    requests: Arc<Requests>,
    state: Mutex<State>,
}

impl Sessions {
    pub(super) fn new(
        name: &'static str,
        clients: usize,
        organization: &Arc<Organization>,
        requests: &Arc<Requests>,
    ) -> Self {
        let (organization, requests) = (Arc::clone(organization), Arc::clone(requests));
        Self { name, clients, organization, requests, state: Mutex::default() }
    }

    /// Creates the session of this name, again and again while no answer comes, by whichever node.
    async fn create(&self, name: &str, with_key: bool, chance: &mut Chance) {
        for _ in 0..AGAIN_MAX {
            match self.organization.create(name, MODE, with_key, chance).await {
                Reply::Done(answer) => {
                    let id = text(&answer.json(), "/id").to_owned();
                    let mut state = self.state.lock().unwrap();
                    if !state.open.contains(&id) && !crate::load::is_replay(&answer) {
                        state.open.push(id);
                    }
                    return;
                }
                Reply::Refused => return,
                Reply::Later | Reply::Nothing if with_key => sleep(Duration::from_millis(chance.below(300))).await,
                Reply::Later | Reply::Nothing => return,
            }
        }
    }

    /// Creates sessions until one is refused, and ends them. How many there were.
    async fn fill(&self, chance: &mut Chance) -> usize {
        let mut filled = Vec::new();
        while filled.len() <= self.organization.sessions_max {
            let name = self.organization.name("fill");
            match self.organization.create(&name, MODE, false, chance).await {
                Reply::Done(answer) => filled.push(text(&answer.json(), "/id").to_owned()),
                _ => break,
            }
        }
        for id in &filled {
            self.organization.surely_end(id, chance).await;
        }
        filled.len()
    }
}

#[async_trait]
impl Capability for Sessions {
    fn name(&self) -> &'static str {
        self.name
    }

    fn clients(&self) -> usize {
        self.clients
    }

    async fn act(&self, chance: &mut Chance) {
        sleep(Duration::from_millis(chance.below(60))).await;
        let organization = &self.organization;
        match chance.below(100) {
            0..28 => {
                let name = organization.name("order");
                self.state.lock().unwrap().repeatable.push(name.clone());
                self.create(&name, true, chance).await;
            }
            28..36 => self.create(&organization.name("plain"), false, chance).await,
            36..50 => {
                let name = {
                    let state = self.state.lock().unwrap();
                    chance.one(&state.repeatable[state.repeatable.len().saturating_sub(REPEATED_MAX)..]).cloned()
                };
                if let Some(name) = name {
                    self.create(&name, true, chance).await;
                }
            }
            50..82 => {
                let id = {
                    let mut state = self.state.lock().unwrap();
                    let place = chance.below(state.open.len() as u64) as usize;
                    (place < state.open.len()).then(|| state.open.swap_remove(place))
                };
                if let Some(id) = id {
                    let with_key = chance.below(2) == 0;
                    if !organization.end(&id, with_key, chance).await {
                        self.state.lock().unwrap().open.push(id);
                    }
                }
            }
            82..96 => {
                let id = chance.one(&self.state.lock().unwrap().open).cloned();
                if let Some(id) = id {
                    organization.read(&id, chance).await;
                }
            }
            _ => {
                self.requests
                    .send(Ask::get("list sessions", "/v1/sessions?limit=20", &organization.secret), chance)
                    .await;
            }
        }
    }

    async fn settle(&self, chance: &mut Chance) {
        // Requests whose answers were lost: each makes one session at most, now or then.
        let mut repeatable = std::mem::take(&mut self.state.lock().unwrap().repeatable);
        for name in repeatable.split_off(repeatable.len().saturating_sub(REPEATED_MAX)) {
            self.create(&name, true, chance).await;
        }
        for session in super::all_sessions(&self.requests, &self.organization).await.values() {
            if text(session, "/status") != "ended" {
                self.organization.surely_end(text(session, "/id"), chance).await;
            }
        }
        let ended = Instant::now();
        loop {
            let filled = self.fill(chance).await;
            let all = self.organization.sessions_max;
            if filled == all {
                self.requests.report.took("from the last session's end until every slot is free", ended.elapsed());
                return;
            }
            if filled > all || ended.elapsed() > SLOTS_MAX {
                self.requests.report.violation(format!("{}: {filled} of {all} slots are free", self.name));
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn check(&self, stored: &Stored, _: &mut Chance) {
        self.organization.check(&stored.sessions[&self.organization.id]);
    }
}
