//! Answers under idempotency keys in their table.

use kallglot_core::Timestamp;
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey, KEPT_S};
use kallglot_core::session::Tenant;
use kallglot_storage::{NewAnswer, Once, StoredAnswer};

use crate::row::{Columns, us};
use crate::sql::Sql;
use crate::{Result, params};

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

/// What is under this key at `now`. Of two jobs that both find nothing, one is refused when it keeps its answer; it is to run again.
pub(crate) async fn find<S: Sql>(
    db: &S,
    organization: &str,
    environment: &'static str,
    key: &str,
    now: Timestamp,
) -> Result<Found> {
    let found = db
        .first(SELECT, params![organization, environment, key], |row| {
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
        })
        .await?;
    Ok(found.unwrap_or(Found::Nothing))
}

/// Keeps an answer where there is none.
pub(crate) async fn insert<S: Sql>(
    db: &S,
    organization: &str,
    environment: &'static str,
    answer: &NewAnswer,
    request: &str,
) -> Result<()> {
    db.execute(
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
    )
    .await
}

/// Makes room for another answer under this key.
pub(crate) async fn remove<S: Sql>(db: &S, organization: &str, environment: &'static str, key: &str) -> Result<()> {
    db.execute(DELETE, params![organization, environment, key]).await
}

/// Looks for an answer under this key, and makes room for a new one where that is over. None when the work is to be done.
pub(crate) async fn known<S: Sql>(db: &S, tenant: Tenant, answer: &NewAnswer) -> Result<Option<StoredAnswer>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    match find(db, &organization, environment, answer.key.as_str(), answer.at).await? {
        Found::Answer(stored) => return Ok(Some(stored)),
        Found::Expired => remove(db, &organization, environment, answer.key.as_str()).await?,
        Found::Nothing => {}
    }
    Ok(None)
}

/// Keeps the answer to work that was done because nothing was [`known`].
pub(crate) async fn keep<S: Sql>(db: &S, tenant: Tenant, answer: &NewAnswer) -> Result<()> {
    let organization = tenant.organization.to_string();
    insert(db, &organization, tenant.environment.as_str(), answer, &answer.request.to_string()).await
}

/// See [`kallglot_storage::IdempotencyRepository::answer`].
pub async fn answer<S: Sql>(
    db: &S,
    tenant: Tenant,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<StoredAnswer>> {
    let organization = tenant.organization.to_string();
    Ok(match find(db, &organization, tenant.environment.as_str(), key.as_str(), now).await? {
        Found::Answer(stored) => Some(stored),
        Found::Nothing | Found::Expired => None,
    })
}

/// See [`kallglot_storage::IdempotencyRepository::keep_answer`].
pub async fn keep_answer<S: Sql>(db: &S, tenant: Tenant, answer: &NewAnswer) -> Result<Once<()>> {
    if let Some(stored) = known(db, tenant, answer).await? {
        return Ok(Once::Known(stored));
    }
    keep(db, tenant, answer).await?;
    Ok(Once::Done(()))
}
