//! API keys and the hashes of their secrets in their tables.

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash};
use kallglot_core::edition::Edition;
use kallglot_core::id::ApiKeyId;
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::{
    KeyRepository, KeyUpdate, KnownKey, NewSecret, Page, PageRequest, RotateKey, StorageError, StreamClosures,
};
use rusqlite::{Connection, Row, params};

use crate::SqliteStorage;
use crate::organization::organization;
use crate::query::{change, every, first, page};
use crate::row::{Columns, spaced, us, us_if_any};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT id, organization_id, environment, name, permissions, expires_at_us, allowed_networks, \
    requests_per_minute_max, edition, created_at_us, last_used_at_us, revoked_at_us, last4, old_secret_valid_until_us \
    FROM api_keys";

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2";

const BY_HASH: &str = "SELECT s.valid_until_us, k.*, \
    o.id AS o_id, o.name AS o_name, o.plan AS o_plan, o.requests_per_minute_max AS o_requests_per_minute_max, \
    o.concurrent_sessions_max AS o_concurrent_sessions_max, \
    o.stream_messages_per_second_max AS o_stream_messages_per_second_max, \
    o.stream_audio_bytes_per_second_max AS o_stream_audio_bytes_per_second_max, o.active AS o_active, \
    o.edition AS o_edition, o.engine AS o_engine, o.vocabulary AS o_vocabulary, o.created_at_us AS o_created_at_us \
    FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id JOIN organizations o ON o.id = k.organization_id \
    WHERE s.hash = ?1";

/// Most keys in one page of [`KeyRepository::closed_streams_since`].
const CLOSURES_MAX: i64 = 1000;

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
    })
}

fn by_id(connection: &Connection, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND id = ?3");
    let params = params![tenant.organization.to_string(), tenant.environment.as_str(), id.to_string()];
    first(connection, &sql, params, read)
}

/// Writes every column of a key that can change, as it is in `key`.
fn store(connection: &Connection, key: &ApiKey) -> Result<()> {
    change(
        connection,
        "UPDATE api_keys SET name = ?2, permissions = ?3, expires_at_us = ?4, allowed_networks = ?5, \
         requests_per_minute_max = ?6, edition = ?7, revoked_at_us = ?8, last4 = ?9, old_secret_valid_until_us = ?10 \
         WHERE id = ?1",
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
        ],
    )?;
    Ok(())
}

fn add_secret(connection: &Connection, id: ApiKeyId, hash: &KeyHash) -> Result<()> {
    let sql = "INSERT INTO api_key_secrets (hash, key_id, valid_until_us) VALUES (?1, ?2, NULL)";
    change(connection, sql, params![hash.as_bytes(), id.to_string()])?;
    Ok(())
}

fn rotate(
    connection: &Connection,
    mut key: ApiKey,
    secret: NewSecret,
    now: Timestamp,
    old_valid_until: Timestamp,
) -> Result<RotateKey> {
    if key.revoked_at.is_some() {
        return Ok(RotateKey::Revoked);
    }
    change(
        connection,
        "UPDATE api_key_secrets SET valid_until_us = min(ifnull(valid_until_us, ?2), ?2) WHERE key_id = ?1",
        params![key.id.to_string(), us(old_valid_until.max(now))],
    )?;
    add_secret(connection, key.id, &secret.hash)?;
    key.last4 = secret.last4;
    key.old_secret_valid_until = Some(old_valid_until.max(now));
    store(connection, &key)?;
    Ok(RotateKey::Rotated(Box::new(key)))
}

#[async_trait]
impl KeyRepository for SqliteStorage {
    async fn create_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<()> {
        let (key, hash) = (key.clone(), *hash);
        self.write(move |connection| {
            change(
                connection,
                "INSERT INTO api_keys (id, organization_id, environment, name, permissions, expires_at_us, \
                 allowed_networks, requests_per_minute_max, edition, created_at_us, last_used_at_us, revoked_at_us, last4, \
                 old_secret_valid_until_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
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
                ],
            )?;
            add_secret(connection, key.id, &hash)
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
                })
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

    async fn update_key(&self, tenant: Tenant, id: ApiKeyId, update: &KeyUpdate) -> Result<Option<ApiKey>> {
        let update = update.clone();
        self.write(move |connection| {
            let Some(mut key) = by_id(connection, tenant, id)? else { return Ok(None) };
            key.name = update.name.unwrap_or(key.name);
            key.permissions = update.permissions.unwrap_or(key.permissions);
            key.expires_at = update.expires_at.unwrap_or(key.expires_at);
            key.allowed_networks = update.allowed_networks.unwrap_or(key.allowed_networks);
            key.requests_per_minute_max = update.requests_per_minute_max.unwrap_or(key.requests_per_minute_max);
            key.edition = update.edition.unwrap_or(key.edition);
            store(connection, &key)?;
            by_id(connection, tenant, id)
        })
        .await
    }

    async fn rotate_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        secret: &NewSecret,
        now: Timestamp,
        old_valid_until: Timestamp,
    ) -> Result<RotateKey> {
        let secret = secret.clone();
        self.write(move |connection| match by_id(connection, tenant, id)? {
            None => Ok(RotateKey::NotFound),
            Some(key) => rotate(connection, key, secret, now, old_valid_until),
        })
        .await
    }

    async fn revoke_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        at: Timestamp,
        close_streams: bool,
    ) -> Result<Option<ApiKey>> {
        self.write(move |connection| {
            let Some(mut key) = by_id(connection, tenant, id)? else { return Ok(None) };
            key.revoked_at = key.revoked_at.or(Some(at));
            store(connection, &key)?;
            if close_streams {
                let sql = "INSERT INTO stream_closures (key_id, at_us) VALUES (?1, ?2)";
                change(connection, sql, params![id.to_string(), us(at)])?;
            }
            by_id(connection, tenant, id)
        })
        .await
    }

    async fn touch_keys(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<()> {
        let used = used.to_vec();
        self.write(move |connection| {
            for (id, at) in used {
                change(
                    connection,
                    "UPDATE api_keys SET last_used_at_us = ?2 WHERE id = ?1 AND ifnull(last_used_at_us, ?2 - 1) < ?2",
                    params![id.to_string(), us(at)],
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn closed_streams_since(&self, marker: Option<i64>) -> Result<StreamClosures> {
        self.read(move |connection| {
            let Some(marker) = marker else {
                let sql = "SELECT ifnull(max(sequence), 0) AS id FROM stream_closures";
                let last = first(connection, sql, (), |row| row.get(0).map_err(crate::failure::storage_error))?;
                return Ok(StreamClosures { keys: Vec::new(), marker: last.unwrap_or(0) });
            };
            let sql =
                "SELECT sequence, key_id AS id FROM stream_closures WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
            let found = every(connection, sql, params![marker, CLOSURES_MAX], |row| {
                let columns = Columns::of(row, "stream_closures", "id")?;
                Ok((columns.get::<i64>("sequence")?, columns.parsed::<ApiKeyId>("id")?))
            })?;
            let marker = found.last().map_or(marker, |(sequence, _)| *sequence);
            Ok(StreamClosures { keys: found.into_iter().map(|(_, key)| key).collect(), marker })
        })
        .await
    }
}
