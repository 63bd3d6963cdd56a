//! Requests to any node. Whatever fails around a node, it answers as the API's documents say, or not at all while it is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kallglot_testkit::client::{Answer, Body};
use serde_json::Value;

use super::cluster::Cluster;
use super::report::Report;
use crate::load::Chance;

/// A refusal that an operation's documents name: its status and code.
pub(super) type Refusal = (u16, &'static str);

/// Every operation may be refused so for a moment.
const UNAVAILABLE: Refusal = (503, "service_unavailable");
/// To be tried again after `Retry-After`.
const CONFLICT: Refusal = (409, "idempotency_conflict");

/// How long a client waits after no answer.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    /// What it is called in the report.
    pub(super) operation: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) body: Option<Value>,
    /// The API key's secret.
    pub(super) secret: &'a str,
    /// With what it may be refused.
    pub(super) refusals: &'a [Refusal],
}

impl<'a> Ask<'a> {
    pub(super) fn get(operation: &'static str, path: &'a str, secret: &'a str) -> Self {
        Self { operation, method: "GET", path, idempotency_key: None, body: None, secret, refusals: &[] }
    }

    pub(super) fn post(operation: &'static str, path: &'a str, secret: &'a str, body: Value) -> Self {
        Self { operation, method: "POST", path, idempotency_key: None, body: Some(body), secret, refusals: &[] }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Reply {
    /// It was done.
    Done(Answer),
    /// It was refused for good, in one of the ways that were named.
    Refused,
    /// It can't be done right now. It may have been done all the same: the database can go between its work and its answer.
    Later,
    /// No answer came: whether it was done is not known.
    Nothing,
}

impl Reply {
    /// The answer, if it was done.
    pub(super) fn done(self) -> Option<Answer> {
        match self {
            Self::Done(answer) => Some(answer),
            _ => None,
        }
    }
}

/// The clients' side of a run.
pub(super) struct Requests {
    pub(super) cluster: Arc<Cluster>,
    pub(super) report: Arc<Report>,
    /// Nothing fails any more, so nothing may be refused for a moment.
    calm: AtomicBool,
}

impl Requests {
    pub(super) fn new(cluster: &Arc<Cluster>, report: &Arc<Report>) -> Self {
        Self { cluster: Arc::clone(cluster), report: Arc::clone(report), calm: AtomicBool::new(false) }
    }

    /// From now on everything has to work.
    pub(super) fn all_is_well(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// Any node; as a load balancer chooses, mostly one that is there.
    pub(super) fn any_node(&self, chance: &mut Chance) -> usize {
        let all: Vec<usize> = (0..self.cluster.len()).collect();
        let up: Vec<usize> = all.iter().copied().filter(|node| self.cluster.standing(*node).is_up()).collect();
        let among = if up.is_empty() || chance.below(8) == 0 { &all } else { &up };
        *chance.one(among).expect("there is a node")
    }

    /// Sends a request to any node.
    pub(super) async fn send(&self, ask: Ask<'_>, chance: &mut Chance) -> Reply {
        self.send_to(self.any_node(chance), ask).await
    }

    /// Sends a request to this node.
    pub(super) async fn send_to(&self, node: usize, ask: Ask<'_>) -> Reply {
        let Ask { operation, method, path, idempotency_key, body, secret, refusals } = ask;
        let client = self.cluster.client(node).with_key(Some(secret));
        let headers = idempotency_key.map(|key| ("idempotency-key", key));
        let before = self.cluster.standing(node);
        let sent = Instant::now();
        let answer = client.request(method, path, headers.as_slice(), body.map_or(Body::Empty, Body::Json)).await;
        self.report.took("answers", sent.elapsed());
        let count = |outcome: &str| self.report.count("requests", format!("{operation}: {outcome}"));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                count("no answer");
                let excused = !before.is_up() || self.cluster.standing(node) != before;
                self.report.must(excused, || {
                    format!("{operation}: node {node} runs and gives no answer after {:?}: {error}", sent.elapsed())
                });
                // A client that gets nothing does not ask again at once.
                tokio::time::sleep(AGAIN_AFTER).await;
                return Reply::Nothing;
            }
        };
        let code = answer.error_code();
        count(&code.as_ref().map_or_else(|| answer.status.to_string(), |code| format!("{} {code}", answer.status)));
        let is = |refusal: &Refusal| (answer.status, code.as_deref()) == (refusal.0, Some(refusal.1));
        let for_a_moment = is(&UNAVAILABLE) && !self.is_calm() || is(&CONFLICT) && idempotency_key.is_some();
        if (200..300).contains(&answer.status) {
            Reply::Done(answer)
        } else if for_a_moment {
            self.report.count("refused for a moment", format!("{} {}", answer.status, self.cluster.trouble(node)));
            let after = answer.header("retry-after").and_then(|text| text.parse().ok());
            self.report.must(after.is_some_and(|seconds: u64| seconds >= 1), || {
                format!("{operation}: no Retry-After: {}", answer.text())
            });
            Reply::Later
        } else {
            self.report.must(refusals.iter().any(is), || {
                let trouble = self.cluster.trouble(node);
                format!("{operation} {path} by node {node} ({trouble:?}): {} {}", answer.status, answer.text())
            });
            Reply::Refused
        }
    }
}
