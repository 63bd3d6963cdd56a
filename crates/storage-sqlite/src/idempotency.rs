//! Answers under idempotency keys in their table.

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey, KEPT_S};
use kallglot_core::session::Tenant;
use kallglot_storage::{IdempotencyRepository, NewAnswer, Once, StorageError, StoredAnswer};
use rusqlite::{Connection, params};

use crate::SqliteStorage;
use crate::query::{change, first};
use crate::row::{Columns, us};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT key, fingerprint, request_id, status, sealed_body, at_us FROM idempotency_answers \
    WHERE organization_id = ?1 AND environment = ?2 AND key = ?3";

const DELETE: &str = "DELETE FROM idempotency_answers WHERE organization_id = ?1 AND environment = ?2 AND key = ?3";

const INSERT: &str = "INSERT INTO idempotency_answers \
    (organization_id, environment, key, fingerprint, request_id, status, sealed_body, at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// How long an answer is kept, in microseconds.
pub(crate) const KEPT_US: i64 = KEPT_S * 1_000_000;

/// What is found under a key.
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// An answer whose time is over: to be replaced.
    Expired,
    /// An answer.
    Answer(StoredAnswer),
}

/// What is under this key at `now`.
pub(crate) fn find(
    connection: &Connection,
    organization: &str,
    environment: &'static str,
    key: &str,
    now: Timestamp,
) -> Result<Found> {
    let found = first(connection, SELECT, [organization, environment, key], |row| {
        let columns = Columns::of(row, "idempotency_answers", "key")?;
        if us(now).saturating_sub(columns.get("at_us")?) >= KEPT_US {
            return Ok(Found::Expired);
        }
        Ok(Found::Answer(StoredAnswer {
            fingerprint: Fingerprint(columns.get("fingerprint")?),
            request: columns.parsed("request_id")?,
            status: columns.get("status")?,
            sealed_body: columns.get("sealed_body")?,
            at: columns.time("at_us")?,
        }))
    })?;
    Ok(found.unwrap_or(Found::Nothing))
}

/// Keeps an answer where there is none.
pub(crate) fn insert(
    connection: &Connection,
    organization: &str,
    environment: &'static str,
    answer: &NewAnswer,
    request: &str,
) -> Result<()> {
    change(
        connection,
        INSERT,
        params![
            organization,
            environment,
            answer.key.as_str(),
            answer.fingerprint.0,
            request,
            answer.status,
            answer.sealed_body,
            us(answer.at),
        ],
    )?;
    Ok(())
}

/// Makes room for another answer under this key.
pub(crate) fn remove(connection: &Connection, organization: &str, environment: &'static str, key: &str) -> Result<()> {
    change(connection, DELETE, [organization, environment, key])?;
    Ok(())
}

/// Does `work` and keeps its answer, unless there is one.
pub(crate) fn once<T>(
    connection: &Connection,
    tenant: Tenant,
    answer: Option<&NewAnswer>,
    work: impl FnOnce() -> Result<T>,
) -> Result<Once<T>> {
    let Some(answer) = answer else { return work().map(Once::Done) };
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    match find(connection, &organization, environment, answer.key.as_str(), answer.at)? {
        Found::Answer(stored) => return Ok(Once::Known(stored)),
        Found::Expired => remove(connection, &organization, environment, answer.key.as_str())?,
        Found::Nothing => {}
    }
    let done = work()?;
    insert(connection, &organization, environment, answer, &answer.request.to_string())?;
    Ok(Once::Done(done))
}

#[async_trait]
impl IdempotencyRepository for SqliteStorage {
    async fn answer(&self, tenant: Tenant, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredAnswer>> {
        let key = key.clone();
        self.read(move |connection| {
            let organization = tenant.organization.to_string();
            Ok(match find(connection, &organization, tenant.environment.as_str(), key.as_str(), now)? {
                Found::Answer(stored) => Some(stored),
                Found::Nothing | Found::Expired => None,
            })
        })
        .await
    }

    async fn keep_answer(&self, tenant: Tenant, answer: &NewAnswer) -> Result<Once<()>> {
        let answer = answer.clone();
        self.write(move |connection| once(connection, tenant, Some(&answer), || Ok(()))).await
    }
}
