//! API keys and the hashes of their secrets in their tables.

use futures_util::future::try_join_all;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash, StoredSecret};
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::edition::Edition;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::ApiKeyId;
use kallglot_core::organization::LeakPolicy;
use kallglot_core::permission::Permission;
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::changes::{Changes, of_key};
use kallglot_storage::{
    KeyUpdate, KeyUse, KnownKey, LeakedKey, NewAnswer, Once, Page, PageRequest, RotateKey, StorageError,
};

use crate::audit::{self, Subject};
use crate::log::raise_event;
use crate::organization::organization;
use crate::query::page;
use crate::row::{Columns, cut, spaced, us, us_if_any};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, credit, gate, idempotency, params};

const SELECT: &str = "SELECT id, organization_id, environment, name, permissions, expires_at_us, allowed_networks, \
    requests_per_minute_max, edition, created_at_us, last_used_at_us, revoked_at_us, last4, old_secret_valid_until_us, \
    old_secret_last_used_at_us, quarantined_at_us FROM api_keys";

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2";

/// The columns of [`read`], of a key in a join.
macro_rules! key_columns {
    () => {
        "k.id, k.organization_id, k.environment, k.name, k.permissions, k.expires_at_us, k.allowed_networks, \
         k.requests_per_minute_max, k.edition, k.created_at_us, k.last_used_at_us, k.revoked_at_us, k.last4, \
         k.old_secret_valid_until_us, k.old_secret_last_used_at_us, k.quarantined_at_us"
    };
}

const BY_HASH: &str = concat!(
    "SELECT l.sequence AS l_sequence, l.balance_after AS l_balance_after, l.used_after AS l_used_after, \
     l.period AS l_period, s.valid_until_us, ",
    key_columns!(),
    ", o.id AS o_id, o.name AS o_name, o.plan AS o_plan, o.requests_per_minute_max AS o_requests_per_minute_max, \
     o.concurrent_sessions_max AS o_concurrent_sessions_max, \
     o.stream_messages_per_second_max AS o_stream_messages_per_second_max, \
     o.stream_audio_bytes_per_second_max AS o_stream_audio_bytes_per_second_max, o.active AS o_active, \
     o.edition AS o_edition, o.engine AS o_engine, o.vocabulary AS o_vocabulary, o.leak_policy AS o_leak_policy, \
     o.low_credits_threshold AS o_low_credits_threshold, o.recording AS o_recording, \
     o.recordings_kept_days AS o_recordings_kept_days, o.created_at_us AS o_created_at_us, o.id AS l_id \
     FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id JOIN organizations o ON o.id = k.organization_id \
     LEFT JOIN credit_ledger l ON l.sequence = (SELECT max(sequence) FROM credit_ledger WHERE organization_id = o.id) \
     WHERE s.hash = ?1"
);

/// A secret that was reported as leaked, with what decides about its key.
const LEAKED: &str = concat!(
    "SELECT s.valid_until_us, s.leaked_under, o.leak_policy, ",
    key_columns!(),
    " FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id JOIN organizations o ON o.id = k.organization_id \
     WHERE s.hash = ?1"
);

/// How many uses of keys are noted at once: in parts, so that what else is to be written needs not wait for all of them.
pub const USES_PER_JOB: usize = 200;

fn edition(columns: &Columns<'_>) -> Result<Option<Edition>> {
    let number: Option<i64> = columns.get("edition")?;
    number.map(|number| Edition::from_number(number).ok_or_else(|| columns.corrupt("edition"))).transpose()
}

fn read(row: &dyn Row) -> Result<ApiKey> {
    let columns = Columns::of(row, "api_keys", "id")?;
    Ok(ApiKey {
        id: columns.parsed("id")?,
        organization: columns.parsed("organization_id")?,
        environment: columns.named("environment", Environment::parse)?,
        name: columns.get("name")?,
        permissions: columns.parsed("permissions")?,
        expires_at: columns.time_if_any("expires_at_us")?,
        allowed_networks: columns.named("allowed_networks", |text| {
            text.split_ascii_whitespace().map(|network| network.parse().ok()).collect()
        })?,
        requests_per_minute_max: columns.get("requests_per_minute_max")?,
        edition: edition(&columns)?,
        created_at: columns.time("created_at_us")?,
        last_used_at: columns.time_if_any("last_used_at_us")?,
        revoked_at: columns.time_if_any("revoked_at_us")?,
        last4: columns.get("last4")?,
        old_secret_valid_until: columns.time_if_any("old_secret_valid_until_us")?,
        old_secret_last_used_at: columns.time_if_any("old_secret_last_used_at_us")?,
        quarantined_at: columns.time_if_any("quarantined_at_us")?,
    })
}

/// See [`kallglot_storage::KeyRepository::key`].
pub async fn by_id<S: Sql>(db: &S, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND id = ?3");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, id.to_string()], read).await
}

/// Like [`by_id`], to change it.
async fn locked<S: Sql>(db: &S, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>> {
    db.lock("SELECT 1 FROM api_keys WHERE id = ?1", params![id.to_string()]).await?;
    by_id(db, tenant, id).await
}

/// See [`kallglot_storage::KeyRepository::key_for_operator`].
pub async fn for_operator<S: Sql>(db: &S, id: ApiKeyId) -> Result<Option<ApiKey>> {
    db.first(&format!("{SELECT} WHERE id = ?1"), params![id.to_string()], read).await
}

/// See [`kallglot_storage::KeyRepository::keys`].
pub async fn of_tenant<S: Sql>(db: &S, tenant: Tenant, request: &PageRequest<ApiKeyId>) -> Result<Page<ApiKey>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    page(db, SELECT, OF_TENANT, params![organization, environment], request, read).await
}

/// See [`kallglot_storage::KeyRepository::key_of_secret`].
pub async fn of_secret<S: Sql>(db: &S, hash: &KeyHash) -> Result<Option<KnownKey>> {
    db.first(BY_HASH, params![hash.as_bytes()], |row| {
        Ok(KnownKey {
            key: read(row)?,
            secret_valid_until: Columns::of(row, "api_key_secrets", "id")?.time_if_any("valid_until_us")?,
            organization: organization(&Columns::joined(row, "organizations", "o_", "id")?)?,
            credits: credit::balance(&Columns::joined(row, "credit_ledger", "l_", "id")?)?,
        })
    })
    .await
}

async fn insert<S: Sql>(db: &S, key: &ApiKey) -> Result<()> {
    db.execute("INSERT INTO api_keys (id, organization_id, environment, name, permissions, expires_at_us, allowed_networks, \
         requests_per_minute_max, edition, created_at_us, last_used_at_us, revoked_at_us, last4, old_secret_valid_until_us, \
         old_secret_last_used_at_us, quarantined_at_us) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            key.id.to_string(),
            key.organization.to_string(),
            key.environment.as_str(),
            key.name,
            key.permissions.to_string(),
            us_if_any(key.expires_at),
            spaced(&key.allowed_networks),
            key.requests_per_minute_max,
            key.edition.map(Edition::number),
            us(key.created_at),
            us_if_any(key.last_used_at),
            us_if_any(key.revoked_at),
            key.last4,
            us_if_any(key.old_secret_valid_until),
            us_if_any(key.old_secret_last_used_at),
            us_if_any(key.quarantined_at),
        ],
    )
    .await
}

/// Writes every column of a key that can change, as it is in `key`, apart from when it was used.
async fn store<S: Sql>(db: &S, key: &ApiKey) -> Result<()> {
    db.execute(
        "UPDATE api_keys SET name = ?2, permissions = ?3, expires_at_us = ?4, allowed_networks = ?5, \
         requests_per_minute_max = ?6, edition = ?7, revoked_at_us = ?8, last4 = ?9, old_secret_valid_until_us = ?10, \
         old_secret_last_used_at_us = ?11, quarantined_at_us = ?12 WHERE id = ?1",
        params![
            key.id.to_string(),
            key.name,
            key.permissions.to_string(),
            us_if_any(key.expires_at),
            spaced(&key.allowed_networks),
            key.requests_per_minute_max,
            key.edition.map(Edition::number),
            us_if_any(key.revoked_at),
            key.last4,
            us_if_any(key.old_secret_valid_until),
            us_if_any(key.old_secret_last_used_at),
            us_if_any(key.quarantined_at),
        ],
    )
    .await
}

async fn add_secret<S: Sql>(db: &S, id: &str, secret: &StoredSecret) -> Result<()> {
    let sql = "INSERT INTO api_key_secrets (hash, key_id, valid_until_us, pepper) VALUES (?1, ?2, NULL, ?3)";
    db.execute(sql, params![secret.hash.as_bytes(), id, secret.pepper]).await
}

async fn audit_entry<S: Sql>(
    db: &S,
    change: &Change,
    action: AuditAction,
    key: &ApiKey,
    changes: &Changes,
) -> Result<()> {
    let object = key.id.to_string();
    let subject = Subject { organization: key.organization, environment: Some(key.environment), object: &object };
    audit::append(db, change, action, &subject, changes).await
}

/// Raises the event of a change of a key. `more` is told beside its name and last characters.
async fn raise<S: Sql>(
    db: &S,
    change: &Change,
    event_type: EventType,
    key: &ApiKey,
    more: Option<(&str, &str)>,
) -> Result<()> {
    let told = [("name", key.name.as_str()), ("last4", key.last4.as_str())].into_iter().chain(more);
    let detail = told.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let event = Event {
        id: change.event_id(),
        organization: key.organization,
        environment: key.environment,
        event_type,
        object: key.id.to_string(),
        session: None,
        session_sequence: None,
        detail,
        at: change.at,
    };
    raise_event(db, &event).await
}

/// See [`kallglot_storage::KeyRepository::create_key`].
pub async fn create<S: Sql>(
    db: &S,
    key: &ApiKey,
    secret: &StoredSecret,
    answer: Option<&NewAnswer>,
    change: &Change,
) -> Result<Once<()>> {
    if let Some(answer) = answer
        && let Some(stored) = idempotency::known(db, key.tenant(), answer).await?
    {
        return Ok(Once::Known(stored));
    }
    insert(db, key).await?;
    add_secret(db, &key.id.to_string(), secret).await?;
    audit_entry(db, change, AuditAction::KeyCreated, key, &of_key(None, key)).await?;
    raise(db, change, EventType::KeyCreated, key, None).await?;
    if let Some(answer) = answer {
        idempotency::keep(db, key.tenant(), answer).await?;
    }
    Ok(Once::Done(()))
}

/// See [`kallglot_storage::KeyRepository::update_key`].
pub async fn update<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: ApiKeyId,
    update: &KeyUpdate,
    change: &Change,
) -> Result<Option<ApiKey>> {
    let Some(before) = locked(db, tenant, id).await? else { return Ok(None) };
    let update = update.clone();
    let after = ApiKey {
        name: update.name.unwrap_or_else(|| before.name.clone()),
        permissions: update.permissions.unwrap_or(before.permissions),
        expires_at: update.expires_at.map_or(before.expires_at, |time| time.map(cut)),
        allowed_networks: update.allowed_networks.unwrap_or_else(|| before.allowed_networks.clone()),
        requests_per_minute_max: update.requests_per_minute_max.unwrap_or(before.requests_per_minute_max),
        edition: update.edition.unwrap_or(before.edition),
        quarantined_at: if update.lift_quarantine { None } else { before.quarantined_at },
        ..before.clone()
    };
    if after != before {
        store(db, &after).await?;
        audit_entry(db, change, AuditAction::KeyUpdated, &after, &of_key(Some(&before), &after)).await?;
    }
    Ok(Some(after))
}

/// See [`kallglot_storage::KeyRepository::rotate_key`].
pub async fn rotate<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: ApiKeyId,
    secret: &StoredSecret,
    old_valid_until: Timestamp,
    change: &Change,
) -> Result<RotateKey> {
    let Some(before) = locked(db, tenant, id).await? else { return Ok(RotateKey::NotFound) };
    if before.revoked_at.is_some() {
        return Ok(RotateKey::Revoked);
    }
    let (id, old_valid_until) = (before.id.to_string(), cut(old_valid_until.max(change.at)));
    db.execute(
        "UPDATE api_key_secrets SET valid_until_us = ?2 \
         WHERE key_id = ?1 AND (valid_until_us IS NULL OR valid_until_us > ?2)",
        params![id, us(old_valid_until)],
    )
    .await?;
    add_secret(db, &id, secret).await?;
    let after = ApiKey {
        last4: secret.last4.clone(),
        old_secret_valid_until: Some(old_valid_until),
        // Who used it while it was the current one is not who still has to change over.
        old_secret_last_used_at: None,
        ..before.clone()
    };
    store(db, &after).await?;
    audit_entry(db, change, AuditAction::KeyRotated, &after, &of_key(Some(&before), &after)).await?;
    raise(db, change, EventType::KeyRotated, &after, None).await?;
    Ok(RotateKey::Rotated(Box::new(after)))
}

/// See [`kallglot_storage::KeyRepository::revoke_key`].
pub async fn revoke<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: ApiKeyId,
    close_streams: bool,
    change: &Change,
) -> Result<Option<ApiKey>> {
    let Some(mut key) = locked(db, tenant, id).await? else { return Ok(None) };
    if key.revoked_at.is_none() {
        let before = key.clone();
        key.revoked_at = Some(cut(change.at));
        store(db, &key).await?;
        audit_entry(db, change, AuditAction::KeyRevoked, &key, &of_key(Some(&before), &key)).await?;
        raise(db, change, EventType::KeyRevoked, &key, None).await?;
    }
    if close_streams {
        gate::close_streams(db, &id.to_string()).await?;
    }
    Ok(Some(key))
}

/// What is known of a secret that was reported.
struct Reported {
    key: ApiKey,
    valid_until: Option<Timestamp>,
    /// The policies under which this has been done before, separated by spaces.
    leaked_under: String,
    policy: LeakPolicy,
}

async fn reported<S: Sql>(db: &S, hash: &KeyHash) -> Result<Option<Reported>> {
    // The key, since every change of it or its secrets locks it.
    let lock = "SELECT 1 FROM api_keys WHERE id = (SELECT key_id FROM api_key_secrets WHERE hash = ?1)";
    db.lock(lock, params![hash.as_bytes()]).await?;
    db.first(LEAKED, params![hash.as_bytes()], |row| {
        let columns = Columns::of(row, "api_key_secrets", "id")?;
        Ok(Reported {
            key: read(row)?,
            valid_until: columns.time_if_any("valid_until_us")?,
            leaked_under: columns.get("leaked_under")?,
            policy: Columns::of(row, "organizations", "organization_id")?.named("leak_policy", LeakPolicy::parse)?,
        })
    })
    .await
}

/// See [`kallglot_storage::KeyRepository::report_leak`].
pub async fn report_leak<S: Sql>(db: &S, hash: &KeyHash, change: &Change) -> Result<Option<LeakedKey>> {
    let Some(Reported { key: before, valid_until, leaked_under, policy }) = reported(db, hash).await? else {
        return Ok(None);
    };
    // A secret that was replaced long ago must not be a way to kill the key that goes on without it.
    let policy = if valid_until.is_some_and(|until| change.at >= until) { LeakPolicy::Notify } else { policy };
    let mut under: Vec<&str> = leaked_under.split_ascii_whitespace().collect();
    if under.contains(&policy.as_str()) {
        return Ok(Some(LeakedKey { key: before, policy }));
    }
    under.push(policy.as_str());
    let sql = "UPDATE api_key_secrets SET leaked_under = ?2 WHERE hash = ?1";
    db.execute(sql, params![hash.as_bytes(), spaced(&under)]).await?;

    let mut key = before.clone();
    if before.revoked_at.is_none() {
        match policy {
            LeakPolicy::Revoke => key.revoked_at = Some(cut(change.at)),
            LeakPolicy::Quarantine => key.quarantined_at = before.quarantined_at.or(Some(cut(change.at))),
            LeakPolicy::Notify => {}
        }
    }
    if key != before {
        store(db, &key).await?;
    }
    if policy == LeakPolicy::Revoke {
        gate::close_streams(db, &key.id.to_string()).await?;
    }
    let mut changes = of_key(Some(&before), &key);
    changes.insert("leak_policy".into(), (String::new(), policy.to_string()));
    audit_entry(db, change, AuditAction::KeyLeaked, &key, &changes).await?;
    raise(db, change, EventType::KeyLeaked, &key, Some(("policy", policy.as_str()))).await?;
    Ok(Some(LeakedKey { key, policy }))
}

/// See [`kallglot_storage::KeyRepository::note_key_uses`]. In the order of the keys, so that two jobs never wait for each other.
pub async fn note_uses<S: Sql>(db: &S, uses: &[KeyUse]) -> Result<()> {
    let mut uses: Vec<&KeyUse> = uses.iter().collect();
    uses.sort_unstable_by_key(|used| used.key);
    for used in uses {
        let id = used.key.to_string();
        db.execute(
            "UPDATE api_keys SET last_used_at_us = ?2 \
             WHERE id = ?1 AND (last_used_at_us IS NULL OR last_used_at_us < ?2)",
            params![id, us(used.at)],
        )
        .await?;
        if let Some(at) = used.old_secret_at {
            db.execute(
                "UPDATE api_keys SET old_secret_last_used_at_us = ?2 \
                 WHERE id = ?1 AND (old_secret_last_used_at_us IS NULL OR old_secret_last_used_at_us < ?2)",
                params![id, us(at)],
            )
            .await?;
        }
        for permission in used.permissions.iter() {
            db.execute(
                "INSERT INTO key_permission_uses (key_id, permission, last_used_at_us) \
                 SELECT id, CAST(?2 AS TEXT), CAST(?3 AS BIGINT) FROM api_keys WHERE id = ?1 \
                 ON CONFLICT (key_id, permission) DO UPDATE SET last_used_at_us = excluded.last_used_at_us \
                 WHERE key_permission_uses.last_used_at_us < excluded.last_used_at_us",
                params![id, permission.as_str(), us(used.at)],
            )
            .await?;
        }
    }
    Ok(())
}

/// See [`kallglot_storage::KeyRepository::permissions_used`].
pub async fn permissions_used<S: Sql>(
    db: &S,
    tenant: Tenant,
    keys: &[ApiKeyId],
) -> Result<Vec<(ApiKeyId, Permission, Timestamp)>> {
    let sql = "SELECT key_id, permission, key_permission_uses.last_used_at_us AS at_us FROM key_permission_uses \
        JOIN api_keys ON id = key_id WHERE key_id = ?1 AND organization_id = ?2 AND environment = ?3 ORDER BY permission";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let of_keys = keys.iter().map(async |key| {
        db.every(sql, params![key.to_string(), organization, environment], |row| {
            let columns = Columns::of(row, "key_permission_uses", "key_id")?;
            Ok((*key, columns.named("permission", Permission::parse)?, columns.time("at_us")?))
        })
        .await
    });
    Ok(try_join_all(of_keys).await?.concat())
}

/// See [`kallglot_storage::KeyRepository::rehash_secret`].
pub async fn rehash<S: Sql>(db: &S, old: &KeyHash, new: &KeyHash, pepper: u32) -> Result<()> {
    let sql = "UPDATE api_key_secrets SET hash = ?2, pepper = ?3 WHERE hash = ?1";
    db.execute(sql, params![old.as_bytes(), new.as_bytes(), pepper]).await
}

/// See [`kallglot_storage::KeyRepository::secrets_by_pepper`].
pub async fn secrets_by_pepper<S: Sql>(db: &S, now: Timestamp) -> Result<Vec<(u32, u64)>> {
    let sql = "SELECT pepper, count(*) AS secrets FROM api_key_secrets JOIN api_keys ON id = key_id \
        WHERE (valid_until_us IS NULL OR valid_until_us > ?1) AND (expires_at_us IS NULL OR expires_at_us > ?1) \
        AND revoked_at_us IS NULL GROUP BY pepper ORDER BY pepper";
    db.every(sql, params![us(now)], |row| {
        let none = || StorageError::Internal { cause: "a count is none".into() };
        let pepper = u32::from_value(row.value("pepper")?).ok_or_else(none)?;
        let secrets = i64::from_value(row.value("secrets")?).ok_or_else(none)?;
        Ok((pepper, secrets.cast_unsigned()))
    })
    .await
}
