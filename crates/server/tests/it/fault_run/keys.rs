//! API keys: made, used, rotated and revoked through any node. A secret that was given out works on every node at once; one that was
//! taken back is refused by every node within a second of the acknowledgement, and for good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kallglot_testkit::client::{Answer, Secret};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::capability::{Capability, Stored};
use super::cluster::Trouble;
use super::organization::Organization;
use super::requests::{Ask, Refusal, Reply, Requests};
use crate::load::{self, Chance, is_replay, text};

/// By when every node refuses a secret that was taken back (contract section 1).
const REFUSED_MAX: Duration = Duration::from_secs(1);
/// How long nodes are watched for it: longer than any fault.
const WATCHED_MAX: Duration = Duration::from_secs(60);
/// Between two attempts to use it.
const WATCHED_EVERY: Duration = Duration::from_millis(20);
/// Attempts to get something acknowledged.
const TRIES_MAX: usize = 100;
/// Keys that are tried again on every node at the end, the newest.
const TRIED_MAX: usize = 60;
/// How a secret that was taken back is refused.
const TAKEN_BACK: &[Refusal] = &[
    (401, "api_key_revoked"),
    (401, "api_key_expired"),
    (401, "api_key_invalid"),
    // Of one address not more than 60 failed attempts a minute are looked at.
    (429, "too_many_failed_attempts"),
];

/// What a key's clients know of it.
struct Known {
    name: String,
    id: String,
    /// None once something was asked for that may have taken it back.
    valid: Option<Secret>,
    taken_back: Vec<Secret>,
    /// Whether a rotation or a revocation was asked for, and whether it was acknowledged.
    rotation: Done,
    revocation: Done,
}

/// What is known of a change that was asked for once, or again and again where that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    No,
    Perhaps,
    Yes,
}

impl Done {
    /// Whether something that comes with the change may be there so many times.
    fn allows(self, times: usize) -> bool {
        match self {
            Self::No => times == 0,
            Self::Perhaps => times <= 1,
            Self::Yes => times == 1,
        }
    }
}

/// See above.
pub(super) struct Keys {
    clients: usize,
    organization: Arc<Organization>,
    requests: Arc<Requests>,
    known: Mutex<Vec<Known>>,
}

impl Keys {
    pub(super) fn new(clients: usize, organization: &Arc<Organization>, requests: &Arc<Requests>) -> Self {
        let (organization, requests) = (Arc::clone(organization), Arc::clone(requests));
        Self { clients, organization, requests, known: Mutex::default() }
    }

    /// Sends a request again and again until it is acknowledged. The answer, and which node gave it.
    async fn acknowledged(&self, ask: Ask<'_>, chance: &mut Chance) -> Option<(Answer, usize)> {
        for _ in 0..TRIES_MAX {
            let node = self.requests.any_node(chance);
            match self.requests.send_to(node, ask.clone()).await {
                Reply::Done(answer) => return Some((answer, node)),
                Reply::Refused => return None,
                Reply::Later | Reply::Nothing => sleep(Duration::from_millis(50 + chance.below(200))).await,
            }
        }
        None
    }

    /// Uses a secret that is valid.
    async fn works(&self, secret: &Secret, node: usize) {
        self.requests.send_to(node, Ask::get("use a key", "/v1/whoami", secret.reveal())).await;
    }

    /// Watches this node until it refuses a secret that was taken back at `at`, as `announcer` had said.
    async fn is_refused(&self, what: &'static str, secret: &Secret, node: usize, announcer: usize, at: Instant) {
        let Requests { cluster, report, .. } = &*self.requests;
        let mut look = interval(WATCHED_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut let_in, mut trouble) = (Duration::ZERO, Trouble::default());
        while at.elapsed() < WATCHED_MAX {
            look.tick().await;
            let sent = at.elapsed();
            trouble |= cluster.trouble(node);
            trouble.redis |= cluster.trouble(announcer).redis;
            let ask = Ask::get("use a key that was taken back", "/v1/whoami", secret.reveal());
            match self.requests.send_to(node, Ask { refusals: TAKEN_BACK, ..ask }).await {
                Reply::Done(_) => let_in = sent,
                Reply::Refused => {
                    report.took(what, let_in);
                    let when = if let_in <= REFUSED_MAX { "within 1 s" } else { "later than 1 s" };
                    report.count("secrets taken back, by node", format!("{when}, {trouble}"));
                    // What can be neither asked for nor heard of takes as long as a node takes to notice that.
                    let excused = trouble.postgres && trouble.redis;
                    report.must(let_in <= REFUSED_MAX || excused, || {
                        format!("{what}: node {node} let it in {let_in:?} after node {announcer} had acknowledged it, {trouble}")
                    });
                    return;
                }
                Reply::Later | Reply::Nothing => {}
            }
        }
        report.must(let_in < WATCHED_MAX / 2, || format!("{what}: node {node} goes on letting it in"));
    }

    /// Watches all nodes.
    async fn is_refused_everywhere(&self, what: &'static str, secret: &Secret, announcer: usize, at: Instant) {
        let nodes = 0..self.requests.cluster.len();
        futures_util::future::join_all(nodes.map(|node| self.is_refused(what, secret, node, announcer, at))).await;
    }

    /// Uses it on all nodes, so that each knows it.
    async fn works_everywhere(&self, secret: &Secret) {
        futures_util::future::join_all((0..self.requests.cluster.len()).map(|node| self.works(secret, node))).await;
    }
}

/// How often each is there.
fn times(all: impl Iterator<Item = (String, String)>) -> BTreeMap<(String, String), usize> {
    let mut times = BTreeMap::new();
    all.for_each(|one| *times.entry(one).or_default() += 1);
    times
}

#[async_trait]
impl Capability for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn clients(&self) -> usize {
        self.clients
    }

    /// The life of one key.
    async fn act(&self, chance: &mut Chance) {
        let (report, operator) = (&self.requests.report, &self.organization.secret);
        sleep(Duration::from_millis(chance.below(300))).await;
        let name = self.organization.name("key");
        let body = json!({ "name": name, "permissions": ["sessions:read"] });
        let ask = Ask { idempotency_key: Some(&name), ..Ask::post("make a key", "/v1/api_keys", operator, body) };
        let Some((made, _)) = self.acknowledged(ask.clone(), chance).await else { return };
        report.count("acknowledged", "keys");
        let (id, mut secret) = (text(&made.json(), "/id").to_owned(), Secret::new(text(&made.json(), "/secret")));
        if let Reply::Done(again) = self.requests.send(ask, chance).await {
            report.must(is_replay(&again) && again.body == made.body, || {
                format!("{name} was made twice: {} {}", made.text(), again.text())
            });
        }
        let mut known = Known {
            name,
            id: id.clone(),
            valid: Some(secret.clone()),
            taken_back: Vec::new(),
            rotation: Done::No,
            revocation: Done::No,
        };
        self.works_everywhere(&secret).await;

        if chance.below(2) == 0 {
            let path = format!("/v1/api_keys/{id}/rotate");
            let grace_s = [0, 3600][chance.below(2) as usize];
            // Not repeated: each makes another secret.
            let node = self.requests.any_node(chance);
            let ask = Ask::post("rotate a key", &path, operator, json!({ "grace_seconds": grace_s }));
            match self.requests.send_to(node, ask).await {
                Reply::Done(answer) => {
                    let at = Instant::now();
                    report.count("acknowledged", "rotations");
                    known.rotation = Done::Yes;
                    let new = Secret::new(text(&answer.json(), "/secret"));
                    let old = std::mem::replace(&mut secret, new.clone());
                    known.valid = Some(new.clone());
                    if grace_s == 0 {
                        let refused = self.is_refused_everywhere(
                            "from a rotation until the old secret was last let in",
                            &old,
                            node,
                            at,
                        );
                        tokio::join!(refused, self.works_everywhere(&new));
                        known.taken_back.push(old);
                    } else {
                        tokio::join!(self.works_everywhere(&old), self.works_everywhere(&new));
                    }
                }
                Reply::Nothing | Reply::Later => (known.valid, known.rotation) = (None, Done::Perhaps),
                Reply::Refused => {}
            }
        }
        if chance.below(4) > 0 {
            let path = format!("/v1/api_keys/{id}/revoke");
            let ask = Ask::post("revoke a key", &path, operator, json!({}));
            let acknowledged = self.acknowledged(ask, chance).await;
            (known.valid, known.revocation) = (None, Done::Perhaps);
            if let Some((_, node)) = acknowledged {
                let at = Instant::now();
                report.count("acknowledged", "revocations");
                known.revocation = Done::Yes;
                self.is_refused_everywhere("from a revocation until the key was last let in", &secret, node, at).await;
                known.taken_back.push(secret);
            }
        }
        self.known.lock().unwrap().push(known);
    }

    async fn settle(&self, _: &mut Chance) {}

    async fn check(&self, stored: &Stored, chance: &mut Chance) {
        let report = &self.requests.report;
        let known = std::mem::take(&mut *self.known.lock().unwrap());
        let get = |path: String| async move {
            let ask = Ask::get("list keys and what was done to them", &path, &self.organization.secret);
            self.requests.send_to(0, ask).await.done().expect("a page")
        };
        let listed = load::list(get, "/v1/api_keys", None).await;
        let audited = load::list(get, "/v1/audit_log", None).await;
        let audited =
            audited.iter().map(|entry| (text(entry, "/object_id").to_owned(), text(entry, "/action").to_owned()));
        let told = stored.events.iter().map(|event| (event.object.clone(), event.event_type.to_string()));
        let (audited, told) = (times(audited), times(told));
        for key in &known {
            let of_this_name = listed.iter().filter(|listed| text(listed, "/name") == key.name);
            let ids: Vec<_> = of_this_name.clone().map(|listed| text(listed, "/id")).collect();
            report.must(ids == [key.id.as_str()], || format!("{} was made once, as {}: {ids:?}", key.name, key.id));
            let revoked = of_this_name.clone().any(|listed| text(listed, "/status") == "revoked");
            report.must(key.revocation.allows(revoked.into()), || {
                format!("{} is revoked: {revoked}, but its revocation: {:?}", key.id, key.revocation)
            });
            let changes = [
                ("api_key.created", Done::Yes),
                ("api_key.rotated", key.rotation),
                ("api_key.revoked", key.revocation),
            ];
            for (change, done) in changes {
                let place = (key.id.clone(), change.to_owned());
                let [audited, told] = [&audited, &told].map(|all| all.get(&place).copied().unwrap_or_default());
                report.must(done.allows(audited) && audited == told, || {
                    format!("{change} of {}: {done:?}, {audited} times in the audit log, told {told} times", key.id)
                });
            }
            report.count("checked", "keys");
        }
        for key in known.iter().rev().take(TRIED_MAX) {
            for secret in &key.taken_back {
                let node = self.requests.any_node(chance);
                let ask = Ask::get("use a key that was taken back", "/v1/whoami", secret.reveal());
                let reply = self.requests.send_to(node, Ask { refusals: TAKEN_BACK, ..ask }).await;
                report.must(matches!(reply, Reply::Refused), || format!("{} works again: {reply:?}", key.id));
            }
            if let Some(secret) = &key.valid {
                self.works_everywhere(secret).await;
            }
        }
    }
}
