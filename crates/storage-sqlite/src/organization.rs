//! Organizations in their table.

use std::num::NonZeroU32;

use async_trait::async_trait;
use kallglot_core::audit::{AuditAction, AuditEntry, Change};
use kallglot_core::credit::{CreditBalance, LedgerEntry, LedgerKind};
use kallglot_core::edition::Edition;
use kallglot_core::id::{AuditId, OrganizationId};
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_storage::changes::{Changes, of_organization};
use kallglot_storage::json::{vocabulary_from_json, vocabulary_to_json};
use kallglot_storage::{OrganizationRepository, OrganizationUpdate, Page, PageRequest, StorageError};
use rusqlite::{Connection, params};

use crate::SqliteStorage;
use crate::audit::{self, Subject};
use crate::credit::{self, Entry};
use crate::query::{change as execute, first, page};
use crate::row::{Columns, us};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT id, name, plan, requests_per_minute_max, concurrent_sessions_max, \
    stream_messages_per_second_max, stream_audio_bytes_per_second_max, active, edition, engine, vocabulary, leak_policy, \
    low_credits_threshold, created_at_us FROM organizations";

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
        leak_policy: columns.named("leak_policy", LeakPolicy::parse)?,
        low_credits_threshold: columns.get("low_credits_threshold")?,
        created_at: columns.time("created_at_us")?,
    })
}

fn read(row: &rusqlite::Row<'_>) -> Result<Organization> {
    organization(&Columns::of(row, "organizations", "id")?)
}

fn by_id(connection: &Connection, id: OrganizationId) -> Result<Option<Organization>> {
    first(connection, &format!("{SELECT} WHERE id = ?1"), [id.to_string()], read)
}

fn insert(connection: &Connection, new: &Organization) -> Result<()> {
    execute(
        connection,
        "INSERT INTO organizations (id, name, plan, requests_per_minute_max, concurrent_sessions_max, \
         stream_messages_per_second_max, stream_audio_bytes_per_second_max, active, edition, engine, vocabulary, leak_policy, \
         low_credits_threshold, created_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
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
            new.leak_policy.as_str(),
            new.low_credits_threshold,
            us(new.created_at),
        ],
    )?;
    Ok(())
}

/// Writes every column that can change, as it is in `organization`.
fn store(connection: &Connection, organization: &Organization) -> Result<()> {
    execute(
        connection,
        "UPDATE organizations SET plan = ?2, requests_per_minute_max = ?3, concurrent_sessions_max = ?4, \
         stream_messages_per_second_max = ?5, stream_audio_bytes_per_second_max = ?6, active = ?7, edition = ?8, engine = ?9, \
         vocabulary = ?10, leak_policy = ?11, low_credits_threshold = ?12 WHERE id = ?1",
        params![
            organization.id.to_string(),
            organization.plan.as_str(),
            organization.overrides.requests_per_minute_max,
            organization.overrides.concurrent_sessions_max,
            organization.overrides.stream_messages_per_second_max,
            organization.overrides.stream_audio_bytes_per_second_max,
            organization.active,
            organization.edition.number(),
            organization.engine,
            vocabulary_to_json(&organization.vocabulary),
            organization.leak_policy.as_str(),
            organization.low_credits_threshold,
        ],
    )?;
    Ok(())
}

fn audit_entry(
    connection: &Connection,
    change: &Change,
    action: AuditAction,
    organization: OrganizationId,
    changes: &Changes,
) -> Result<()> {
    let subject = Subject { organization, environment: None, object: &organization.to_string() };
    audit::append(connection, change, action, &subject, changes)
}

/// Adds a grant to the ledger, if there is such an organization.
fn grant(
    connection: &Connection,
    id: OrganizationId,
    credits: NonZeroU32,
    change: &Change,
) -> Result<Option<CreditBalance>> {
    let organization = id.to_string();
    let Some(account) = credit::account(connection, &organization)? else { return Ok(None) };
    let request = change.request.map(|request| request.to_string());
    let entry = Entry {
        organization: &organization,
        kind: LedgerKind::Grant,
        amount: credits.get().into(),
        request: request.as_deref(),
        object: None,
        at: change.at,
    };
    credit::append(connection, account.balance, &entry).map(Some)
}

fn create(connection: &Connection, new: &Organization, credits: u32, change: &Change) -> Result<()> {
    insert(connection, new)?;
    let mut changes = of_organization(None, new);
    if let Some(credits) = NonZeroU32::new(credits) {
        grant(connection, new.id, credits, change)?;
        changes.insert("credits".into(), (String::new(), credits.to_string()));
    }
    audit_entry(connection, change, AuditAction::OrganizationCreated, new.id, &changes)
}

fn update(
    connection: &Connection,
    id: OrganizationId,
    update: &OrganizationUpdate,
    change: &Change,
) -> Result<Option<Organization>> {
    let Some(before) = by_id(connection, id)? else { return Ok(None) };
    let update = update.clone();
    let after = Organization {
        plan: update.plan.unwrap_or(before.plan),
        overrides: update.overrides.unwrap_or(before.overrides),
        active: update.active.unwrap_or(before.active),
        edition: update.edition.unwrap_or(before.edition),
        engine: update.engine.unwrap_or_else(|| before.engine.clone()),
        vocabulary: update.vocabulary.unwrap_or_else(|| before.vocabulary.clone()),
        leak_policy: update.leak_policy.unwrap_or(before.leak_policy),
        low_credits_threshold: update.low_credits_threshold.unwrap_or(before.low_credits_threshold),
        ..before.clone()
    };
    if after != before {
        store(connection, &after)?;
        let changes = of_organization(Some(&before), &after);
        audit_entry(connection, change, AuditAction::OrganizationUpdated, id, &changes)?;
    }
    Ok(Some(after))
}

#[async_trait]
impl OrganizationRepository for SqliteStorage {
    async fn create_organization(&self, organization: &Organization, credits: u32, change: &Change) -> Result<()> {
        let (new, change) = (organization.clone(), *change);
        self.write(move |connection| create(connection, &new, credits, &change)).await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>> {
        self.read(move |connection| by_id(connection, id)).await
    }

    async fn organizations_for_operator(&self, request: &PageRequest<OrganizationId>) -> Result<Page<Organization>> {
        let request = *request;
        self.read(move |connection| page(connection, SELECT, "true", &[], &request, read)).await
    }

    async fn update_organization(
        &self,
        id: OrganizationId,
        changed: &OrganizationUpdate,
        change: &Change,
    ) -> Result<Option<Organization>> {
        let (changed, change) = (changed.clone(), *change);
        self.write(move |connection| update(connection, id, &changed, &change)).await
    }

    async fn grant_credits(
        &self,
        id: OrganizationId,
        credits: NonZeroU32,
        change: &Change,
    ) -> Result<Option<CreditBalance>> {
        let change = *change;
        self.write(move |connection| {
            let Some(balance) = grant(connection, id, credits, &change)? else { return Ok(None) };
            let before = balance.remaining - i64::from(credits.get());
            let changes = Changes::from([("credits".into(), (before.to_string(), balance.remaining.to_string()))]);
            audit_entry(connection, &change, AuditAction::CreditsGranted, id, &changes)?;
            Ok(Some(balance))
        })
        .await
    }

    async fn credit_balance(&self, id: OrganizationId) -> Result<Option<CreditBalance>> {
        self.read(move |connection| Ok(credit::account(connection, &id.to_string())?.map(|account| account.balance)))
            .await
    }

    async fn ledger(&self, id: OrganizationId, after: i64, limit: u32) -> Result<Vec<LedgerEntry>> {
        self.read(move |connection| credit::ledger(connection, id, after, limit)).await
    }

    async fn audit_log(&self, id: OrganizationId, request: &PageRequest<AuditId>) -> Result<Page<AuditEntry>> {
        let request = *request;
        self.read(move |connection| audit::log(connection, id, &request)).await
    }
}
