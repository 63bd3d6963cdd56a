//! API keys and the hashes of their secrets in their tables.

use std::collections::BTreeMap;

use async_trait::async_trait;
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
    GateChanges, KeyRepository, KeyUpdate, KeyUse, KnownKey, LeakedKey, NewAnswer, Once, Page, PageRequest, RotateKey,
    StorageError,
};
use rusqlite::{Connection, Row, params};

use crate::SqliteStorage;
use crate::audit::{self, Subject};
use crate::credit::balance_at;
use crate::failure::storage_error;
use crate::gate;
use crate::idempotency::once;
use crate::log::raise_event;
use crate::organization::organization;
use crate::query::{change as execute, every, first, page};
use crate::row::{Columns, cut, spaced, us, us_if_any};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT id, organization_id, environment, name, permissions, expires_at_us, allowed_networks, \
    requests_per_minute_max, edition, created_at_us, last_used_at_us, revoked_at_us, last4, old_secret_valid_until_us, \
    old_secret_last_used_at_us, quarantined_at_us FROM api_keys";

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2";

const BY_HASH: &str = "SELECT l.sequence, l.balance_after, l.used_after, l.period, s.valid_until_us, k.*, \
    o.id AS o_id, o.name AS o_name, o.plan AS o_plan, o.requests_per_minute_max AS o_requests_per_minute_max, \
    o.concurrent_sessions_max AS o_concurrent_sessions_max, \
    o.stream_messages_per_second_max AS o_stream_messages_per_second_max, \
    o.stream_audio_bytes_per_second_max AS o_stream_audio_bytes_per_second_max, o.active AS o_active, \
    o.edition AS o_edition, o.engine AS o_engine, o.vocabulary AS o_vocabulary, o.leak_policy AS o_leak_policy, \
    o.low_credits_threshold AS o_low_credits_threshold, o.created_at_us AS o_created_at_us \
    FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id JOIN organizations o ON o.id = k.organization_id \
    LEFT JOIN credit_ledger l ON l.sequence = (SELECT max(sequence) FROM credit_ledger WHERE organization_id = o.id) \
    WHERE s.hash = ?1";

/// A secret that was reported as leaked, with what decides about its key.
const LEAKED: &str = "SELECT s.valid_until_us, s.leaked_under, o.leak_policy, k.* \
    FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id JOIN organizations o ON o.id = k.organization_id \
    WHERE s.hash = ?1";

/// How many uses of keys are noted at once.
const USES_PER_JOB: usize = 200;

fn edition(columns: &Columns<'_>) -> Result<Option<Edition>> {
    let number: Option<i64> = columns.get("edition")?;
    number.map(|number| Edition::from_number(number).ok_or_else(|| columns.corrupt("edition"))).transpose()
}

fn read(row: &Row<'_>) -> Result<ApiKey> {
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

fn by_id(connection: &Connection, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND id = ?3");
    let params = params![tenant.organization.to_string(), tenant.environment.as_str(), id.to_string()];
    first(connection, &sql, params, read)
}

fn insert(connection: &Connection, key: &ApiKey) -> Result<()> {
    execute(
        connection,
        "INSERT INTO api_keys (id, organization_id, environment, name, permissions, expires_at_us, allowed_networks, \
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
    )?;
    Ok(())
}

/// Writes every column of a key that can change, as it is in `key`, apart from when it was used.
fn store(connection: &Connection, key: &ApiKey) -> Result<()> {
    execute(
        connection,
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
    )?;
    Ok(())
}

fn add_secret(connection: &Connection, id: &str, secret: &StoredSecret) -> Result<()> {
    let sql = "INSERT INTO api_key_secrets (hash, key_id, valid_until_us, pepper) VALUES (?1, ?2, NULL, ?3)";
    execute(connection, sql, params![secret.hash.as_bytes(), id, secret.pepper])?;
    Ok(())
}

fn audit_entry(
    connection: &Connection,
    change: &Change,
    action: AuditAction,
    key: &ApiKey,
    changes: &Changes,
) -> Result<()> {
    let object = key.id.to_string();
    let subject = Subject { organization: key.organization, environment: Some(key.environment), object: &object };
    audit::append(connection, change, action, &subject, changes)
}

/// Raises the event of a change of a key. `more` is told beside its name and last characters.
fn raise(
    connection: &Connection,
    change: &Change,
    event_type: EventType,
    key: &ApiKey,
    more: Option<(&str, &str)>,
) -> Result<()> {
    let mut detail = BTreeMap::from([("name".to_owned(), key.name.clone()), ("last4".to_owned(), key.last4.clone())]);
    detail.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let event = Event {
        id: change.event_id(),
        organization: key.organization,
        environment: key.environment,
        event_type,
        object: key.id.to_string(),
        detail,
        at: change.at,
    };
    raise_event(connection, &event)
}

fn create(connection: &Connection, key: &ApiKey, secret: &StoredSecret, change: &Change) -> Result<()> {
    insert(connection, key)?;
    add_secret(connection, &key.id.to_string(), secret)?;
    audit_entry(connection, change, AuditAction::KeyCreated, key, &of_key(None, key))?;
    raise(connection, change, EventType::KeyCreated, key, None)
}

fn update(
    connection: &Connection,
    tenant: Tenant,
    id: ApiKeyId,
    update: &KeyUpdate,
    change: &Change,
) -> Result<Option<ApiKey>> {
    let Some(before) = by_id(connection, tenant, id)? else { return Ok(None) };
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
        store(connection, &after)?;
        audit_entry(connection, change, AuditAction::KeyUpdated, &after, &of_key(Some(&before), &after))?;
    }
    Ok(Some(after))
}

fn rotate(
    connection: &Connection,
    before: &ApiKey,
    secret: &StoredSecret,
    old_valid_until: Timestamp,
    change: &Change,
) -> Result<RotateKey> {
    if before.revoked_at.is_some() {
        return Ok(RotateKey::Revoked);
    }
    let (id, old_valid_until) = (before.id.to_string(), cut(old_valid_until.max(change.at)));
    execute(
        connection,
        "UPDATE api_key_secrets SET valid_until_us = min(ifnull(valid_until_us, ?2), ?2) WHERE key_id = ?1",
        params![id, us(old_valid_until)],
    )?;
    add_secret(connection, &id, secret)?;
    let after = ApiKey {
        last4: secret.last4.clone(),
        old_secret_valid_until: Some(old_valid_until),
        // Who used it while it was the current one is not who still has to change over.
        old_secret_last_used_at: None,
        ..before.clone()
    };
    store(connection, &after)?;
    audit_entry(connection, change, AuditAction::KeyRotated, &after, &of_key(Some(before), &after))?;
    raise(connection, change, EventType::KeyRotated, &after, None)?;
    Ok(RotateKey::Rotated(Box::new(after)))
}

fn revoke(
    connection: &Connection,
    tenant: Tenant,
    id: ApiKeyId,
    close_streams: bool,
    change: &Change,
) -> Result<Option<ApiKey>> {
    let Some(mut key) = by_id(connection, tenant, id)? else { return Ok(None) };
    if key.revoked_at.is_none() {
        let before = key.clone();
        key.revoked_at = Some(cut(change.at));
        store(connection, &key)?;
        audit_entry(connection, change, AuditAction::KeyRevoked, &key, &of_key(Some(&before), &key))?;
        raise(connection, change, EventType::KeyRevoked, &key, None)?;
    }
    if close_streams {
        gate::close_streams(connection, &id.to_string())?;
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

fn reported(connection: &Connection, hash: &KeyHash) -> Result<Option<Reported>> {
    first(connection, LEAKED, [hash.as_bytes()], |row| {
        let columns = Columns::of(row, "api_key_secrets", "id")?;
        Ok(Reported {
            key: read(row)?,
            valid_until: columns.time_if_any("valid_until_us")?,
            leaked_under: columns.get("leaked_under")?,
            policy: Columns::of(row, "organizations", "organization_id")?.named("leak_policy", LeakPolicy::parse)?,
        })
    })
}

fn report_leak(connection: &Connection, hash: &KeyHash, change: &Change) -> Result<Option<LeakedKey>> {
    let Some(Reported { key: before, valid_until, leaked_under, policy }) = reported(connection, hash)? else {
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
    execute(connection, sql, params![hash.as_bytes(), spaced(&under)])?;

    let mut key = before.clone();
    if before.revoked_at.is_none() {
        match policy {
            LeakPolicy::Revoke => key.revoked_at = Some(cut(change.at)),
            LeakPolicy::Quarantine => key.quarantined_at = before.quarantined_at.or(Some(cut(change.at))),
            LeakPolicy::Notify => {}
        }
    }
    if key != before {
        store(connection, &key)?;
    }
    if policy == LeakPolicy::Revoke {
        gate::close_streams(connection, &key.id.to_string())?;
    }
    let mut changes = of_key(Some(&before), &key);
    changes.insert("leak_policy".into(), (String::new(), policy.to_string()));
    audit_entry(connection, change, AuditAction::KeyLeaked, &key, &changes)?;
    raise(connection, change, EventType::KeyLeaked, &key, Some(("policy", policy.as_str())))?;
    Ok(Some(LeakedKey { key, policy }))
}

fn note_use(connection: &Connection, used: &KeyUse) -> Result<()> {
    let id = used.key.to_string();
    let known = execute(
        connection,
        "UPDATE api_keys SET last_used_at_us = max(ifnull(last_used_at_us, ?2), ?2) WHERE id = ?1",
        params![id, us(used.at)],
    )?;
    if known == 0 {
        return Ok(());
    }
    if let Some(at) = used.old_secret_at {
        execute(
            connection,
            "UPDATE api_keys SET old_secret_last_used_at_us = max(ifnull(old_secret_last_used_at_us, ?2), ?2) \
             WHERE id = ?1",
            params![id, us(at)],
        )?;
    }
    for permission in used.permissions.iter() {
        execute(
            connection,
            "INSERT INTO key_permission_uses (key_id, permission, last_used_at_us) VALUES (?1, ?2, ?3) \
             ON CONFLICT (key_id, permission) \
             DO UPDATE SET last_used_at_us = max(last_used_at_us, excluded.last_used_at_us)",
            params![id, permission.as_str(), us(used.at)],
        )?;
    }
    Ok(())
}

fn permissions_used(
    connection: &Connection,
    tenant: Tenant,
    key: ApiKeyId,
) -> Result<Vec<(ApiKeyId, Permission, Timestamp)>> {
    let sql = "SELECT key_id, permission, key_permission_uses.last_used_at_us AS at_us FROM key_permission_uses \
        JOIN api_keys ON id = key_id WHERE key_id = ?1 AND organization_id = ?2 AND environment = ?3 ORDER BY permission";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    every(connection, sql, params![key.to_string(), organization, environment], |row| {
        let columns = Columns::of(row, "key_permission_uses", "key_id")?;
        Ok((key, columns.named("permission", Permission::parse)?, columns.time("at_us")?))
    })
}

#[async_trait]
impl KeyRepository for SqliteStorage {
    async fn create_key(
        &self,
        key: &ApiKey,
        secret: &StoredSecret,
        idempotency: Option<&NewAnswer>,
        change: &Change,
    ) -> Result<Once<()>> {
        let (key, secret, answer, change) = (key.clone(), secret.clone(), idempotency.cloned(), *change);
        self.write(move |connection| {
            once(connection, key.tenant(), answer.as_ref(), || create(connection, &key, &secret, &change))
        })
        .await
    }

    async fn key_of_secret(&self, hash: &KeyHash) -> Result<Option<KnownKey>> {
        let hash = *hash;
        self.read(move |connection| {
            first(connection, BY_HASH, [hash.as_bytes()], |row| {
                Ok(KnownKey {
                    key: read(row)?,
                    secret_valid_until: Columns::of(row, "api_key_secrets", "id")?.time_if_any("valid_until_us")?,
                    organization: organization(&Columns::joined(row, "organizations", "o_", "id")?)?,
                    credits: balance_at(row, 0).map_err(storage_error)?,
                })
            })
        })
        .await
    }

    async fn rehash_secret(&self, old: &KeyHash, new: &KeyHash, pepper: u32) -> Result<()> {
        let (old, new) = (*old, *new);
        self.write(move |connection| {
            let sql = "UPDATE api_key_secrets SET hash = ?2, pepper = ?3 WHERE hash = ?1";
            execute(connection, sql, params![old.as_bytes(), new.as_bytes(), pepper]).map(drop)
        })
        .await
    }

    async fn secrets_by_pepper(&self, now: Timestamp) -> Result<Vec<(u32, u64)>> {
        self.read(move |connection| {
            let sql = "SELECT pepper, count(*) FROM api_key_secrets JOIN api_keys ON id = key_id \
                WHERE ifnull(valid_until_us > ?1, true) AND ifnull(expires_at_us > ?1, true) AND revoked_at_us IS NULL \
                GROUP BY pepper ORDER BY pepper";
            every(connection, sql, [us(now)], |row| {
                let row = || Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
                row().map_err(storage_error)
            })
        })
        .await
    }

    async fn key(&self, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>> {
        self.read(move |connection| by_id(connection, tenant, id)).await
    }

    async fn key_for_operator(&self, id: ApiKeyId) -> Result<Option<ApiKey>> {
        self.read(move |connection| first(connection, &format!("{SELECT} WHERE id = ?1"), [id.to_string()], read)).await
    }

    async fn keys(&self, tenant: Tenant, request: &PageRequest<ApiKeyId>) -> Result<Page<ApiKey>> {
        let request = *request;
        self.read(move |connection| {
            let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
            page(connection, SELECT, OF_TENANT, &[&organization, &environment], &request, read)
        })
        .await
    }

    async fn permissions_used(
        &self,
        tenant: Tenant,
        keys: &[ApiKeyId],
    ) -> Result<Vec<(ApiKeyId, Permission, Timestamp)>> {
        let keys = keys.to_vec();
        self.read(move |connection| {
            let mut uses = Vec::new();
            for key in keys {
                uses.extend(permissions_used(connection, tenant, key)?);
            }
            Ok(uses)
        })
        .await
    }

    async fn update_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        changed: &KeyUpdate,
        change: &Change,
    ) -> Result<Option<ApiKey>> {
        let (changed, change) = (changed.clone(), *change);
        self.write(move |connection| update(connection, tenant, id, &changed, &change)).await
    }

    async fn rotate_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        secret: &StoredSecret,
        old_valid_until: Timestamp,
        change: &Change,
    ) -> Result<RotateKey> {
        let (secret, change) = (secret.clone(), *change);
        self.write(move |connection| match by_id(connection, tenant, id)? {
            None => Ok(RotateKey::NotFound),
            Some(key) => rotate(connection, &key, &secret, old_valid_until, &change),
        })
        .await
    }

    async fn revoke_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        close_streams: bool,
        change: &Change,
    ) -> Result<Option<ApiKey>> {
        let change = *change;
        self.write(move |connection| revoke(connection, tenant, id, close_streams, &change)).await
    }

    async fn report_leak(&self, hash: &KeyHash, change: &Change) -> Result<Option<LeakedKey>> {
        let (hash, change) = (*hash, *change);
        self.write(move |connection| report_leak(connection, &hash, &change)).await
    }

    async fn note_key_uses(&self, uses: &[KeyUse]) -> Result<()> {
        // In parts, so that what else is to be written needs not wait for all of them.
        for part in uses.chunks(USES_PER_JOB) {
            let part = part.to_vec();
            self.write(move |connection| part.iter().try_for_each(|used| note_use(connection, used))).await?;
        }
        Ok(())
    }

    async fn gate_changes_since(&self, marker: Option<i64>) -> Result<GateChanges> {
        self.read(move |connection| gate::changes_since(connection, marker)).await
    }
}
