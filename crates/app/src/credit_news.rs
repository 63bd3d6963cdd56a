//! How organizations' credits stand after spends here, told to the other nodes, so that their answers' headers are right too. The ledger
//! decides who may spend; this only keeps what is shown fresh, and so it may be late or lost.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kallglot_cluster::NEWS_BYTES_MAX;
use kallglot_core::credit::{BillingPeriod, CreditBalance};
use kallglot_core::id::OrganizationId;
use tokio_util::sync::CancellationToken;

use crate::App;

/// How often what was spent is told by one of at most [`NODES_MAX`] nodes. More nodes tell less often each: every node hears all of them.
const TELL_EVERY: Duration = Duration::from_millis(100);
const NODES_MAX: u32 = 16;
/// Organizations whose balances wait to be told; of more the rest is told with their next spend.
const WAITING_MAX: usize = 10_000;
const KIND: &str = "credits";

/// Balances that wait to be told: the newest of each organization.
#[derive(Default)]
pub(crate) struct CreditNews(Mutex<HashMap<OrganizationId, CreditBalance>>);

impl CreditNews {
    fn add(&self, organization: OrganizationId, balance: CreditBalance) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX || waiting.contains_key(&organization) {
            let newest = waiting.entry(organization).or_insert(balance);
            if newest.sequence < balance.sequence {
                *newest = balance;
            }
        }
    }

    /// As many as fit into one announcement; empty when none wait.
    fn take(&self) -> String {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return String::new();
        }
        let mut text = KIND.to_owned();
        let mut told = Vec::new();
        for (organization, balance) in waiting.iter() {
            let CreditBalance { sequence, remaining, used, period } = balance;
            let before = text.len();
            let _ = write!(text, " {organization} {sequence} {remaining} {used} {}", period.number());
            if text.len() > NEWS_BYTES_MAX {
                text.truncate(before);
                break;
            }
            told.push(*organization);
        }
        for organization in told {
            waiting.remove(&organization);
        }
        text
    }
}

fn read(text: &str) -> Option<Vec<(OrganizationId, CreditBalance)>> {
    let mut words = text.strip_prefix(KIND)?.split_ascii_whitespace();
    let mut balances = Vec::new();
    while let Some(organization) = words.next() {
        let mut number = || words.next()?.parse::<i64>().ok();
        let balance = CreditBalance {
            sequence: number()?,
            remaining: number()?,
            used: number()?,
            period: BillingPeriod::from_number(number()?.try_into().ok()?),
        };
        balances.push((organization.parse().ok()?, balance));
    }
    Some(balances)
}

/// Tells the other nodes; ends with `stop`. There is nothing to tell when this node runs alone.
pub(crate) async fn tell(app: Arc<App>, stop: CancellationToken) {
    if app.node.shared.is_none() {
        return;
    }
    loop {
        let nodes = app.node.nodes.load(Ordering::Relaxed);
        tokio::select! {
            () = tokio::time::sleep(TELL_EVERY * nodes.div_ceil(NODES_MAX).max(1)) => {}
            () = stop.cancelled() => return,
        }
        let text = app.credit_news.take();
        if !text.is_empty()
            && let Err(error) = app.cluster.announce(&text).get().await
        {
            tracing::debug!(%error, "other nodes were not told what was spent");
        }
    }
}

impl App {
    /// Credits were spent here.
    pub(crate) fn spent(&self, organization: OrganizationId, balance: CreditBalance) {
        if self.node.shared.is_some() {
            self.credit_news.add(organization, balance);
        }
    }

    /// Takes over what another node tells of credits; false when that is not what it tells of.
    pub(crate) fn hear_credit_news(&self, text: &str) -> bool {
        let Some(balances) = read(text) else { return false };
        for (organization, balance) in balances {
            self.keys.hear_credits(organization, balance);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn balance(sequence: i64) -> CreditBalance {
        CreditBalance { sequence, remaining: 7 - sequence, used: i64::MAX, period: BillingPeriod::from_number(24_310) }
    }

    #[test]
    fn what_is_told_is_the_newest_of_each() {
        let news = CreditNews::default();
        let id = OrganizationId::from_bits;
        for (organization, sequence) in [(1, 3), (1, 5), (1, 4), (2, 1)] {
            news.add(id(organization), balance(sequence));
        }
        let mut told = read(&news.take()).unwrap();
        told.sort_by_key(|(organization, _)| *organization);
        assert_eq!(told, [(id(1), balance(5)), (id(2), balance(1))]);
        assert_eq!(news.take(), "");
    }

    #[test]
    fn what_does_not_fit_is_told_next_time() {
        let news = CreditNews::default();
        for organization in 0..1000 {
            news.add(OrganizationId::from_bits(organization), balance(1));
        }
        let mut told = std::collections::BTreeSet::new();
        loop {
            let text = news.take();
            if text.is_empty() {
                break;
            }
            assert!(text.len() <= NEWS_BYTES_MAX);
            told.extend(read(&text).unwrap().into_iter().map(|(organization, _)| organization));
        }
        assert_eq!(told.len(), 1000);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(credits)?[ a-zA-Z0-9_-]{0,80}") {
            let _ = read(&text);
        }
    }
}
