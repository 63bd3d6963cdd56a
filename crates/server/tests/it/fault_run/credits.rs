//! Credits: granted by the command line while sessions spend them. Afterwards the ledger has every acknowledged grant once and one spend
//! for each session that there is, and its sum is the balance, which was never below zero.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::sleep;

use super::capability::{Capability, Stored};
use super::organization::Organization;
use super::requests::{Ask, Requests};
use crate::load::{Chance, text};

/// What is granted first; each grant is one more, so that it is known again in the ledger.
const FIRST: u64 = 10;
/// For what is done after the run.
const AT_THE_END: u64 = 1_000_000;

/// See above.
pub(super) struct Credits {
    name: &'static str,
    organization: Arc<Organization>,
    requests: Arc<Requests>,
    /// Amounts that were asked for, and whether that was acknowledged.
    grants: Mutex<BTreeMap<u64, bool>>,
}

impl Credits {
    pub(super) fn new(name: &'static str, organization: &Arc<Organization>, requests: &Arc<Requests>) -> Self {
        let (organization, requests) = (Arc::clone(organization), Arc::clone(requests));
        Self { name, organization, requests, grants: Mutex::default() }
    }

    async fn grant(&self, amount: u64) {
        self.grants.lock().unwrap().insert(amount, false);
        let granted =
            self.requests.cluster.try_json(&["org", "grant-credits", &self.organization.id, &amount.to_string()]).await;
        match granted {
            Ok(_) => {
                self.grants.lock().unwrap().insert(amount, true);
                self.requests.report.count("acknowledged", "grants");
            }
            Err(error) => {
                self.requests.report.count("requests", "grant credits: failed");
                let trouble = self.requests.cluster.trouble(0);
                self.requests.report.must(trouble.postgres && !error.contains("panicked"), || error);
            }
        }
    }
}

#[async_trait]
impl Capability for Credits {
    fn name(&self) -> &'static str {
        self.name
    }

    fn clients(&self) -> usize {
        1
    }

    async fn act(&self, chance: &mut Chance) {
        sleep(Duration::from_millis(500 + chance.below(1500))).await;
        let amount = FIRST + self.grants.lock().unwrap().len() as u64;
        self.grant(amount).await;
    }

    async fn settle(&self, _: &mut Chance) {
        self.grant(AT_THE_END).await;
    }

    async fn check(&self, stored: &Stored, _: &mut Chance) {
        let report = &self.requests.report;
        let Organization { id, secret, credits, .. } = &*self.organization;
        let ledger = self.requests.cluster.json(&["org", "ledger", id, "--limit", "1000000"]).await;
        report.must(ledger["has_more"] == false, || "the ledger is longer than can be read".to_owned());
        let entries = ledger["data"].as_array().unwrap();
        let amount = |entry: &Value| entry["amount"].as_i64().unwrap();
        let mut balance = 0;
        for entry in entries.iter().rev() {
            balance += amount(entry);
            report.must(balance >= 0 && entry["balance_after"] == balance, || {
                format!("the balance is {balance}: {entry}")
            });
        }
        let (spends, grants): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry["kind"] == "spend");
        let mut granted: BTreeMap<i64, u64> = BTreeMap::new();
        for grant in grants {
            *granted.entry(amount(grant)).or_default() += 1;
        }
        report.must(granted.remove(&(*credits as i64)) == Some(1), || format!("{credits} were granted at first"));
        for (amount, acknowledged) in &*self.grants.lock().unwrap() {
            let times = granted.remove(&(*amount as i64)).unwrap_or_default();
            let right = times == 1 || times == 0 && !acknowledged;
            report.must(right, || format!("a grant of {amount}, acknowledged: {acknowledged}, is there {times} times"));
        }
        report.must(granted.is_empty(), || format!("nobody has granted {granted:?}"));

        report.must(spends.iter().all(|spend| amount(spend) == -1), || "a session costs one credit".to_owned());
        let paid: BTreeSet<&str> = spends.iter().map(|spend| text(spend, "/paid_for")).collect();
        let by: BTreeSet<&str> = spends.iter().map(|spend| text(spend, "/request_id")).collect();
        report.must((paid.len(), by.len()) == (spends.len(), spends.len()), || {
            "a session or a request paid twice".to_owned()
        });
        let there: BTreeSet<&str> = stored.sessions[id].keys().map(String::as_str).collect();
        let differ: Vec<_> = paid.symmetric_difference(&there).collect();
        report.must(differ.is_empty(), || format!("paid for and not there, or the other way: {differ:?}"));
        report.add("checked", "ledger entries", entries.len() as u64);

        let path = "/v1/whoami";
        let Some(answer) = self.requests.send_to(0, Ask::get("use a key", path, secret)).await.done() else { return };
        let remaining = answer.header("x-api-credits-remaining").map(str::to_owned);
        report.must(remaining == Some(balance.to_string()), || format!("{remaining:?} remain of {balance}"));
    }
}
