//! The credit ledger in its table. How an organization's credits stand is in its last row: one step, however long the ledger is.

use kallglot_core::credit::{BillingPeriod, CreditBalance, LedgerEntry, LedgerKind};
use kallglot_core::{Timestamp, id::OrganizationId};
use kallglot_storage::StorageError;

use crate::row::{Columns, us};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, params};

/// The query for how an organization's credits stand, with one more column `next`.
#[macro_export]
#[doc(hidden)]
macro_rules! account_with {
    ($next:literal) => {
        concat!(
            "SELECT organizations.id, organizations.low_credits_threshold, ",
            $next,
            " AS next, credit_ledger.sequence, balance_after, used_after, period FROM organizations \
             LEFT JOIN credit_ledger ON credit_ledger.sequence = \
             (SELECT max(sequence) FROM credit_ledger WHERE organization_id = organizations.id) WHERE organizations.id = ?1"
        )
    };
}

const ACCOUNT: &str = account_with!("0");

const LOCK: &str = "SELECT 1 FROM organizations WHERE id = ?1";

const APPEND: &str = "INSERT INTO credit_ledger \
    (sequence, organization_id, kind, amount, balance_after, period, used_after, request_id, object, at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// How an organization's credits stand, and when they are low.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) balance: CreditBalance,
    pub(crate) low_credits_threshold: i64,
    /// The next entry's number.
    next: i64,
}

impl Account {
    /// The same, for an entry of this number.
    pub(crate) fn numbered(self, next: i64) -> Self {
        Self { next, ..self }
    }
}

/// What is to be appended to the ledger.
pub(crate) struct Entry<'a> {
    pub(crate) organization: &'a str,
    pub(crate) kind: LedgerKind,
    pub(crate) amount: i64,
    pub(crate) request: Option<&'a str>,
    pub(crate) object: Option<&'a str>,
    pub(crate) at: Timestamp,
}

/// The balance in the columns of the ledger's last entry; all zero when they are null.
pub(crate) fn balance(columns: &Columns<'_>) -> Result<CreditBalance> {
    let Some(sequence) = columns.get("sequence")? else { return Ok(CreditBalance::default()) };
    let period: i64 = columns.get("period")?;
    Ok(CreditBalance {
        sequence,
        remaining: columns.get("balance_after")?,
        used: columns.get("used_after")?,
        period: BillingPeriod::from_number(period.try_into().map_err(|_| columns.corrupt("period"))?),
    })
}

/// By the columns' places: it is asked before every session.
fn read(row: &dyn Row) -> Result<Account> {
    let number =
        |place: usize, table: &'static str, column: &'static str| match Option::<i64>::from_value(row.value_at(place)?)
        {
            Some(number) => Ok(number),
            None => Err(Columns::of(row, table, "id")?.corrupt(column)),
        };
    let required = |place, table, column| match number(place, table, column)? {
        Some(number) => Ok(number),
        None => Err(Columns::of(row, table, "id")?.corrupt(column)),
    };
    let low_credits_threshold = required(1, "organizations", "low_credits_threshold")?;
    let next = required(2, "credit_ledger", "sequence")?;
    let balance = match number(3, "credit_ledger", "sequence")? {
        None => CreditBalance::default(),
        Some(sequence) => {
            let period = i32::try_from(required(6, "credit_ledger", "period")?);
            let corrupt =
                |_| StorageError::Corrupt { table: "credit_ledger", column: "period", id: sequence.to_string() };
            CreditBalance {
                sequence,
                remaining: required(4, "credit_ledger", "balance_after")?,
                used: required(5, "credit_ledger", "used_after")?,
                period: BillingPeriod::from_number(period.map_err(corrupt)?),
            }
        }
    };
    Ok(Account { balance, low_credits_threshold, next })
}

/// Lets nobody else change this organization, or append to its ledger, until the transaction's end.
pub(crate) async fn lock<S: Sql>(db: &S, organization: &str) -> Result<()> {
    db.lock(LOCK, params![organization]).await
}

/// How this organization's credits stand, for the next entry, to be asked after [`lock`]; none when there is no such organization.
pub(crate) async fn account<S: Sql>(db: &S, organization: &str) -> Result<Option<Account>> {
    db.first(S::DIALECT.account, params![organization], read).await
}

/// Numbers for the next entries, growing.
pub(crate) async fn next_numbers<S: Sql>(db: &S, count: usize) -> Result<Vec<i64>> {
    let read = |row: &dyn Row| {
        let none = || StorageError::Internal { cause: "a number is none".into() };
        i64::from_value(row.value_at(0)?).ok_or_else(none)
    };
    let mut numbers = db.every(S::DIALECT.ledger_numbers, params![count as i64], read).await?;
    numbers.sort_unstable();
    Ok(numbers)
}

/// See [`kallglot_storage::OrganizationRepository::credit_balance`].
pub async fn credit_balance<S: Sql>(db: &S, organization: OrganizationId) -> Result<Option<CreditBalance>> {
    Ok(db.first(ACCOUNT, params![organization.to_string()], read).await?.map(|account| account.balance))
}

/// Appends an entry after `before`, which must be how things stand, and answers with how they stand then. The caller has seen to it
/// that the balance is not negative.
pub(crate) async fn append<S: Sql>(db: &S, before: &Account, entry: &Entry<'_>) -> Result<CreditBalance> {
    let Account { balance: before, next: sequence, .. } = *before;
    // A clock that is set back across a month's end does not bring the old period back.
    let period = BillingPeriod::of(entry.at).max(before.period);
    let used_before = if period == before.period { before.used } else { 0 };
    let used = match entry.kind {
        LedgerKind::Spend | LedgerKind::Refund => used_before - entry.amount,
        LedgerKind::Grant | LedgerKind::Expiry => used_before,
    };
    let remaining = before.remaining + entry.amount;
    db.execute(
        APPEND,
        params![
            sequence,
            entry.organization,
            entry.kind.as_str(),
            entry.amount,
            remaining,
            period.number(),
            used,
            entry.request,
            entry.object,
            us(entry.at),
        ],
    )
    .await?;
    Ok(CreditBalance { sequence, remaining, used, period })
}

/// Most entries that one call of [`ledger`] or [`ledger_back`] answers with.
const ENTRIES_MAX: u32 = 1000;

const ENTRIES: &str = "SELECT sequence, organization_id, kind, amount, balance_after, request_id, object, at_us \
    FROM credit_ledger WHERE organization_id = ?1";

fn entry(row: &dyn Row) -> Result<LedgerEntry> {
    let columns = Columns::of(row, "credit_ledger", "organization_id")?;
    Ok(LedgerEntry {
        sequence: columns.get("sequence")?,
        organization: columns.parsed("organization_id")?,
        kind: columns.named("kind", LedgerKind::parse)?,
        amount: columns.get("amount")?,
        balance_after: columns.get("balance_after")?,
        request: columns.parsed_if_any("request_id")?,
        object: columns.get("object")?,
        at: columns.time("at_us")?,
    })
}

/// See [`kallglot_storage::OrganizationRepository::ledger`].
pub async fn ledger<S: Sql>(db: &S, organization: OrganizationId, after: i64, limit: u32) -> Result<Vec<LedgerEntry>> {
    let sql = format!("{ENTRIES} AND sequence > ?2 ORDER BY sequence LIMIT ?3");
    db.every(&sql, params![organization.to_string(), after, limit.min(ENTRIES_MAX)], entry).await
}

/// See [`kallglot_storage::OrganizationRepository::ledger_back`].
pub async fn ledger_back<S: Sql>(
    db: &S,
    organization: OrganizationId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<LedgerEntry>> {
    let sql = format!("{ENTRIES} AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3");
    let before = before.unwrap_or(i64::MAX);
    db.every(&sql, params![organization.to_string(), before, limit.min(ENTRIES_MAX)], entry).await
}
