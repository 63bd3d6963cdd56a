//! The credit ledger in its table. How an organization's credits stand is in its last row: one step, however long the ledger is.

use kallglot_core::credit::{BillingPeriod, CreditBalance, LedgerEntry, LedgerKind};
use kallglot_core::{Timestamp, id::OrganizationId};
use kallglot_storage::StorageError;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};

use crate::failure::storage_error;
use crate::query::{change, every, first};
use crate::row::{Columns, us};

type Result<T> = std::result::Result<T, StorageError>;

const LAST: &str = "SELECT organizations.low_credits_threshold, credit_ledger.sequence, balance_after, used_after, period \
    FROM organizations LEFT JOIN credit_ledger ON credit_ledger.sequence = \
    (SELECT max(sequence) FROM credit_ledger WHERE organization_id = organizations.id) WHERE organizations.id = ?1";

const APPEND: &str = "INSERT INTO credit_ledger \
    (organization_id, kind, amount, balance_after, period, used_after, request_id, object, at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// How an organization's credits stand, and when they are low.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) balance: CreditBalance,
    pub(crate) low_credits_threshold: i64,
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

/// The balance in the four columns from `column` on: sequence, balance, used, period; all zero when they are null.
pub(crate) fn balance_at(row: &Row<'_>, column: usize) -> rusqlite::Result<CreditBalance> {
    let Some(sequence) = row.get(column)? else { return Ok(CreditBalance::default()) };
    Ok(CreditBalance {
        sequence,
        remaining: row.get(column + 1)?,
        used: row.get(column + 2)?,
        period: BillingPeriod::from_number(row.get(column + 3)?),
    })
}

/// How this organization's credits stand; none when there is no such organization.
pub(crate) fn account(connection: &Connection, organization: &str) -> Result<Option<Account>> {
    first(connection, LAST, [organization], |row| {
        let account =
            || Ok(Account { low_credits_threshold: row.get::<_, u32>(0)?.into(), balance: balance_at(row, 1)? });
        account().map_err(storage_error)
    })
}

/// Appends an entry after `before`, which must be the organization's balance as it is, and answers with how it is then. The caller
/// has seen to it that it is not negative.
pub(crate) fn append(connection: &Connection, before: CreditBalance, entry: &Entry<'_>) -> Result<CreditBalance> {
    // A clock that is set back across a month's end does not bring the old period back.
    let period = BillingPeriod::of(entry.at).max(before.period);
    let used_before = if period == before.period { before.used } else { 0 };
    let used = match entry.kind {
        LedgerKind::Spend | LedgerKind::Refund => used_before - entry.amount,
        LedgerKind::Grant | LedgerKind::Expiry => used_before,
    };
    let remaining = before.remaining + entry.amount;
    change(
        connection,
        APPEND,
        params![
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
    )?;
    Ok(CreditBalance { sequence: connection.last_insert_rowid(), remaining, used, period })
}

/// See [`kallglot_storage::OrganizationRepository::ledger`].
pub(crate) fn ledger(
    connection: &Connection,
    organization: OrganizationId,
    after: i64,
    limit: u32,
) -> Result<Vec<LedgerEntry>> {
    let sql = "SELECT sequence, organization_id, kind, amount, balance_after, request_id, object, at_us FROM credit_ledger \
        WHERE organization_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
    every(connection, sql, [&organization.to_string() as &dyn ToSql, &after, &limit.min(1000)], |row| {
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
    })
}
