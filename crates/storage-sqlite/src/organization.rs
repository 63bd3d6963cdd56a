//! Organizations in their table.

use std::num::NonZeroU32;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::Organization;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::vocabulary::Vocabulary;
use kallglot_storage::json::{vocabulary_from_json, vocabulary_to_json};
use kallglot_storage::{OrganizationRepository, Page, PageRequest, StorageError};
use rusqlite::types::ToSql;
use rusqlite::{Connection, params};

use crate::SqliteStorage;
use crate::query::{change, first, page};
use crate::row::{Columns, us};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT id, name, plan, requests_per_minute_max, concurrent_sessions_max, \
    stream_messages_per_second_max, stream_audio_bytes_per_second_max, active, edition, engine, vocabulary, created_at_us \
    FROM organizations";

/// The organization in these columns.
pub(crate) fn organization(columns: &Columns<'_>) -> Result<Organization> {
    Ok(Organization {
        id: columns.parsed("id")?,
        name: columns.get("name")?,
        plan: columns.named("plan", Plan::parse)?,
        overrides: LimitOverrides {
            requests_per_minute_max: columns.get("requests_per_minute_max")?,
            concurrent_sessions_max: columns.get("concurrent_sessions_max")?,
            stream_messages_per_second_max: columns.get("stream_messages_per_second_max")?,
            stream_audio_bytes_per_second_max: columns.get("stream_audio_bytes_per_second_max")?,
        },
        active: columns.get("active")?,
        edition: Edition::from_number(columns.get("edition")?).ok_or_else(|| columns.corrupt("edition"))?,
        engine: columns.get("engine")?,
        vocabulary: columns.named("vocabulary", |text| vocabulary_from_json(text).ok())?,
        created_at: columns.time("created_at_us")?,
    })
}

fn read(row: &rusqlite::Row<'_>) -> Result<Organization> {
    organization(&Columns::of(row, "organizations", "id")?)
}

fn by_id(connection: &Connection, id: OrganizationId) -> Result<Option<Organization>> {
    first(connection, &format!("{SELECT} WHERE id = ?1"), [id.to_string()], read)
}

fn grant(connection: &Connection, id: OrganizationId, credits: NonZeroU32, at: Timestamp) -> Result<()> {
    let sql = "INSERT INTO credit_ledger (organization_id, kind, amount, at_us) VALUES (?1, 'grant', ?2, ?3)";
    change(connection, sql, params![id.to_string(), credits.get(), us(at)])?;
    Ok(())
}

fn balance(connection: &Connection, id: OrganizationId) -> Result<Option<i64>> {
    let sql = "SELECT organizations.id AS id, coalesce(sum(amount), 0) AS balance FROM organizations \
        LEFT JOIN credit_ledger ON organization_id = organizations.id WHERE organizations.id = ?1 GROUP BY organizations.id";
    first(connection, sql, [id.to_string()], |row| Columns::of(row, "credit_ledger", "id")?.get("balance"))
}

impl SqliteStorage {
    /// Sets `column` of one organization and answers with it.
    async fn set(
        &self,
        id: OrganizationId,
        column: &'static str,
        value: impl ToSql + Send + 'static,
    ) -> Result<Option<Organization>> {
        self.write(move |connection| {
            let sql = format!("UPDATE organizations SET {column} = ?2 WHERE id = ?1");
            change(connection, &sql, params![id.to_string(), value])?;
            by_id(connection, id)
        })
        .await
    }
}

#[async_trait]
impl OrganizationRepository for SqliteStorage {
    async fn create_organization(&self, organization: &Organization, credits: u32) -> Result<()> {
        let new = organization.clone();
        self.write(move |connection| {
            change(
                connection,
                "INSERT INTO organizations (id, name, plan, requests_per_minute_max, concurrent_sessions_max, \
                 stream_messages_per_second_max, stream_audio_bytes_per_second_max, active, edition, engine, vocabulary, \
                 created_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    new.id.to_string(),
                    new.name,
                    new.plan.as_str(),
                    new.overrides.requests_per_minute_max,
                    new.overrides.concurrent_sessions_max,
                    new.overrides.stream_messages_per_second_max,
                    new.overrides.stream_audio_bytes_per_second_max,
                    new.active,
                    new.edition.number(),
                    new.engine,
                    vocabulary_to_json(&new.vocabulary),
                    us(new.created_at),
                ],
            )?;
            if let Some(credits) = NonZeroU32::new(credits) {
                grant(connection, new.id, credits, new.created_at)?;
            }
            Ok(())
        })
        .await
    }

    async fn grant_credits(&self, id: OrganizationId, credits: NonZeroU32, at: Timestamp) -> Result<Option<i64>> {
        self.write(move |connection| {
            if by_id(connection, id)?.is_none() {
                return Ok(None);
            }
            grant(connection, id, credits, at)?;
            balance(connection, id)
        })
        .await
    }

    async fn credit_balance(&self, id: OrganizationId) -> Result<Option<i64>> {
        self.read(move |connection| balance(connection, id)).await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>> {
        self.read(move |connection| by_id(connection, id)).await
    }

    async fn organizations_for_operator(&self, request: &PageRequest<OrganizationId>) -> Result<Page<Organization>> {
        let request = *request;
        self.read(move |connection| page(connection, SELECT, "true", &[], &request, read)).await
    }

    async fn set_plan(
        &self,
        id: OrganizationId,
        plan: Plan,
        overrides: &LimitOverrides,
    ) -> Result<Option<Organization>> {
        let overrides = *overrides;
        self.write(move |connection| {
            change(
                connection,
                "UPDATE organizations SET plan = ?2, requests_per_minute_max = ?3, concurrent_sessions_max = ?4, \
                 stream_messages_per_second_max = ?5, stream_audio_bytes_per_second_max = ?6 WHERE id = ?1",
                params![
                    id.to_string(),
                    plan.as_str(),
                    overrides.requests_per_minute_max,
                    overrides.concurrent_sessions_max,
                    overrides.stream_messages_per_second_max,
                    overrides.stream_audio_bytes_per_second_max,
                ],
            )?;
            by_id(connection, id)
        })
        .await
    }

    async fn set_active(&self, id: OrganizationId, active: bool) -> Result<Option<Organization>> {
        self.set(id, "active", active).await
    }

    async fn set_edition(&self, id: OrganizationId, edition: Edition) -> Result<Option<Organization>> {
        self.set(id, "edition", edition.number()).await
    }

    async fn set_vocabulary(&self, id: OrganizationId, vocabulary: &Vocabulary) -> Result<Option<Organization>> {
        self.set(id, "vocabulary", vocabulary_to_json(vocabulary)).await
    }

    async fn set_engine(&self, id: OrganizationId, engine: Option<&str>) -> Result<Option<Organization>> {
        self.set(id, "engine", engine.map(str::to_owned)).await
    }
}
