//! What every billable write has beside the object that it makes: who pays, and the answer under an idempotency key.
//!
//! Its maker asks [`Purchase::find`] and [`Purchase::account`] after [`Purchase::lock`], writes the object when [`Purchase::allowed`] says so, then
//! [`Purchase::spend`] and [`Purchase::keep_answer`]: all in one transaction, so there is all of it or none (contract section 7).

use kallglot_core::Timestamp;
use kallglot_core::credit::{CreditBalance, LedgerKind};
use kallglot_core::event::Event;
use kallglot_storage::{CreatePaid, NewAnswer, StorageError};

use crate::credit::{Account, Entry};
use crate::idempotency::Found;
use crate::log::raise_event;
use crate::sql::Sql;
use crate::{Result, credit, idempotency};

/// What is bought, with its texts written out.
pub(crate) struct Purchase {
    /// The id of what is made.
    pub(crate) object: String,
    pub(crate) organization: String,
    pub(crate) environment: &'static str,
    pub(crate) request: String,
    /// In credits; 0 for what costs nothing.
    pub(crate) price: i64,
    pub(crate) at: Timestamp,
    pub(crate) low_credits_event: Event,
    /// The answer, and its request.
    pub(crate) answer: Option<(NewAnswer, String)>,
}

impl Purchase {
    /// Who pays; none when it costs nothing.
    pub(crate) fn payer(&self) -> Option<&str> {
        (self.price > 0).then_some(self.organization.as_str())
    }

    /// Under which idempotency key the answer is kept, if it is: environment and key.
    pub(crate) fn answer_key(&self) -> Option<(&'static str, &str)> {
        self.answer.as_ref().map(|(answer, _)| (self.environment, answer.key.as_str()))
    }

    /// Lets nobody else buy for this organization until the transaction's end, if this costs anything.
    pub(crate) async fn lock<S: Sql>(&self, db: &S) -> Result<()> {
        match self.payer() {
            Some(payer) => credit::lock(db, payer).await,
            None => Ok(()),
        }
    }

    /// What is under the idempotency key.
    pub(crate) async fn find<S: Sql>(&self, db: &S) -> Result<Found> {
        let Some((answer, _)) = &self.answer else { return Ok(Found::Nothing) };
        idempotency::find(db, &self.organization, self.environment, answer.key.as_str(), answer.at).await
    }

    /// How the credits stand, if it costs any.
    pub(crate) async fn account<S: Sql>(&self, db: &S) -> Result<Option<Account>> {
        if self.price == 0 {
            return Ok(None);
        }
        let unknown = || StorageError::Conflict { constraint: "credit_ledger.organization_id".into() };
        credit::account(db, &self.organization).await?.ok_or_else(unknown).map(Some)
    }

    /// Whether it may be made, and then whether its answer takes an expired one's place; else what becomes of it.
    pub(crate) fn allowed(&self, found: Found, account: Option<Account>) -> std::result::Result<bool, CreatePaid> {
        if let Found::Answer(stored) = found {
            return Err(CreatePaid::Known(stored));
        }
        match account {
            Some(Account { balance, .. }) if balance.remaining < self.price => Err(CreatePaid::NoCredits(balance)),
            _ => Ok(matches!(found, Found::Expired)),
        }
    }

    /// Takes the price from the ledger; raises the event for low credits when that crosses the threshold.
    pub(crate) async fn spend<S: Sql>(&self, db: &S, before: Option<Account>) -> Result<Option<CreditBalance>> {
        let Some(before) = before else { return Ok(None) };
        let entry = Entry {
            organization: &self.organization,
            kind: LedgerKind::Spend,
            amount: -self.price,
            request: Some(&self.request),
            object: Some(&self.object),
            at: self.at,
        };
        let balance = credit::append(db, &before, &entry).await?;
        let threshold = before.low_credits_threshold;
        if before.balance.remaining > threshold && threshold >= balance.remaining {
            let mut event = self.low_credits_event.clone();
            event.detail.insert("remaining".into(), balance.remaining.into());
            event.detail.insert("threshold".into(), threshold.into());
            raise_event(db, &event).await?;
        }
        Ok(Some(balance))
    }

    /// Keeps the answer under its key, if it has one.
    pub(crate) async fn keep_answer<S: Sql>(&self, db: &S, replaces: bool) -> Result<()> {
        let Some((answer, request)) = &self.answer else { return Ok(()) };
        if replaces {
            idempotency::remove(db, &self.organization, self.environment, answer.key.as_str()).await?;
        }
        idempotency::insert(db, &self.organization, self.environment, answer, request).await
    }
}
