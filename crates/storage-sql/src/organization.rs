//! Organizations in their table.

use std::num::NonZeroU32;

use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::credit::{CreditBalance, LedgerKind};
use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_storage::changes::{Changes, of_organization};
use kallglot_storage::json::{vocabulary_from_json, vocabulary_to_json};
use kallglot_storage::{OrganizationUpdate, Page, PageRequest};

use crate::audit::{self, Subject};
use crate::credit::{self, Entry};
use crate::query::page;
use crate::row::{Columns, us};
use crate::sql::{Row, Sql};
use crate::{Result, params};

const SELECT: &str = "SELECT id, name, plan, requests_per_minute_max, concurrent_sessions_max, \
    stream_messages_per_second_max, stream_audio_bytes_per_second_max, active, edition, engine, vocabulary, leak_policy, \
    low_credits_threshold, recording, recordings_kept_days, created_at_us FROM organizations";

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
        recording: columns.get("recording")?,
        recordings_kept_days: columns.get("recordings_kept_days")?,
        created_at: columns.time("created_at_us")?,
    })
}

fn read(row: &dyn Row) -> Result<Organization> {
    organization(&Columns::of(row, "organizations", "id")?)
}

/// See [`kallglot_storage::OrganizationRepository::organization`].
pub async fn by_id<S: Sql>(db: &S, id: OrganizationId) -> Result<Option<Organization>> {
    db.first(&format!("{SELECT} WHERE id = ?1"), params![id.to_string()], read).await
}

/// See [`kallglot_storage::OrganizationRepository::organizations_for_operator`].
pub async fn all<S: Sql>(db: &S, request: &PageRequest<OrganizationId>) -> Result<Page<Organization>> {
    page(db, SELECT, "true", params![], request, read).await
}

async fn insert<S: Sql>(db: &S, new: &Organization) -> Result<()> {
    db.execute("INSERT INTO organizations (id, name, plan, requests_per_minute_max, concurrent_sessions_max, \
         stream_messages_per_second_max, stream_audio_bytes_per_second_max, active, edition, engine, vocabulary, leak_policy, \
         low_credits_threshold, recording, recordings_kept_days, created_at_us) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
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
            new.recording,
            new.recordings_kept_days,
            us(new.created_at),
        ],
    )
    .await
}

/// Writes every column that can change, as it is in `organization`.
async fn store<S: Sql>(db: &S, organization: &Organization) -> Result<()> {
    db.execute("UPDATE organizations SET plan = ?2, requests_per_minute_max = ?3, concurrent_sessions_max = ?4, \
         stream_messages_per_second_max = ?5, stream_audio_bytes_per_second_max = ?6, active = ?7, edition = ?8, engine = ?9, \
         vocabulary = ?10, leak_policy = ?11, low_credits_threshold = ?12, recording = ?13, recordings_kept_days = ?14, name = ?15 WHERE id = ?1",
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
            organization.recording,
            organization.recordings_kept_days,
            organization.name,
        ],
    )
    .await
}

async fn audit_entry<S: Sql>(
    db: &S,
    change: &Change,
    action: AuditAction,
    organization: OrganizationId,
    changes: &Changes,
) -> Result<()> {
    let subject = Subject { organization, environment: None, object: &organization.to_string() };
    audit::append(db, change, action, &subject, changes).await
}

/// Adds a grant to the ledger, if there is such an organization, which is locked.
async fn grant<S: Sql>(
    db: &S,
    id: OrganizationId,
    credits: NonZeroU32,
    change: &Change,
) -> Result<Option<CreditBalance>> {
    let organization = id.to_string();
    let Some(account) = credit::account(db, &organization).await? else { return Ok(None) };
    let request = change.request.map(|request| request.to_string());
    let entry = Entry {
        organization: &organization,
        kind: LedgerKind::Grant,
        amount: credits.get().into(),
        request: request.as_deref(),
        object: None,
        at: change.at,
    };
    credit::append(db, &account, &entry).await.map(Some)
}

/// See [`kallglot_storage::OrganizationRepository::create_organization`].
pub async fn create<S: Sql>(db: &S, new: &Organization, credits: u32, change: &Change) -> Result<()> {
    create_with(db, new, credits, Changes::new(), change).await
}

/// Makes one, with something more in its audit entry.
pub(crate) async fn create_with<S: Sql>(
    db: &S,
    new: &Organization,
    credits: u32,
    more: Changes,
    change: &Change,
) -> Result<()> {
    insert(db, new).await?;
    let mut changes = of_organization(None, new);
    changes.extend(more);
    if let Some(credits) = NonZeroU32::new(credits) {
        grant(db, new.id, credits, change).await?;
        changes.insert("credits".into(), (String::new(), credits.to_string()));
    }
    audit_entry(db, change, AuditAction::OrganizationCreated, new.id, &changes).await
}

/// See [`kallglot_storage::OrganizationRepository::update_organization`].
pub async fn update<S: Sql>(
    db: &S,
    id: OrganizationId,
    update: &OrganizationUpdate,
    change: &Change,
) -> Result<Option<Organization>> {
    credit::lock(db, &id.to_string()).await?;
    let Some(before) = by_id(db, id).await? else { return Ok(None) };
    let update = update.clone();
    let after = Organization {
        name: update.name.unwrap_or_else(|| before.name.clone()),
        plan: update.plan.unwrap_or(before.plan),
        overrides: update.overrides.unwrap_or(before.overrides),
        active: update.active.unwrap_or(before.active),
        edition: update.edition.unwrap_or(before.edition),
        engine: update.engine.unwrap_or_else(|| before.engine.clone()),
        vocabulary: update.vocabulary.unwrap_or_else(|| before.vocabulary.clone()),
        leak_policy: update.leak_policy.unwrap_or(before.leak_policy),
        low_credits_threshold: update.low_credits_threshold.unwrap_or(before.low_credits_threshold),
        recording: update.recording.unwrap_or(before.recording),
        recordings_kept_days: update.recordings_kept_days.unwrap_or(before.recordings_kept_days),
        ..before.clone()
    };
    if after != before {
        store(db, &after).await?;
        let changes = of_organization(Some(&before), &after);
        audit_entry(db, change, AuditAction::OrganizationUpdated, id, &changes).await?;
    }
    Ok(Some(after))
}

/// See [`kallglot_storage::OrganizationRepository::grant_credits`].
pub async fn grant_credits<S: Sql>(
    db: &S,
    id: OrganizationId,
    credits: NonZeroU32,
    change: &Change,
) -> Result<Option<CreditBalance>> {
    credit::lock(db, &id.to_string()).await?;
    let Some(balance) = grant(db, id, credits, change).await? else { return Ok(None) };
    let before = balance.remaining - i64::from(credits.get());
    let changes = Changes::from([("credits".into(), (before.to_string(), balance.remaining.to_string()))]);
    audit_entry(db, change, AuditAction::CreditsGranted, id, &changes).await?;
    Ok(Some(balance))
}
