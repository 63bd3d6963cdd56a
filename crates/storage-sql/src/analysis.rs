//! Analyses and the profiles that they judge by, in their tables.
//!
//! A claim is a node, an attempt and a time by the database's clock. Every change by who has a claim names the node and the attempt, so who was taken
//! for dead, and was not, changes nothing.

use std::time::Duration;

use futures_util::future::try_join;
use kallglot_core::Timestamp;
use kallglot_core::analysis::{
    Analysis, AnalysisFailure, AnalysisState, AnalysisStatus, ComplianceProfile, Part, UsedProfile,
};
use kallglot_core::credit::LedgerKind;
use kallglot_core::event::Event;
use kallglot_core::id::{AnalysisId, ComplianceProfileId, NodeId, SessionId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::{Claim, CreatePaid, NewAnalysis, Page, PageRequest, StorageError, StoreProfile};

use crate::credit::Entry;
use crate::log::raise_event;
use crate::node::span_us;
use crate::purchase::Purchase;
use crate::query::page;
use crate::row::{Columns, cut, spaced, us};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, credit, params};

const SELECT: &str = "SELECT id, organization_id, environment, session_id, include, profile_id, profile_name, profile_rules, \
    credits, status, attempts, parts_done, result, failure, failure_message, created_at_us, completed_at_us FROM analyses";

const INSERT: &str = "INSERT INTO analyses (id, organization_id, environment, session_id, request_id, include, profile_id, profile_name, \
    profile_rules, credits, status, attempts, parts_done, created_at_us, due_at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'processing', 0, 0, ?11, 0)";

const SELECT_PROFILE: &str =
    "SELECT id, organization_id, environment, name, rules, created_at_us, updated_at_us FROM compliance_profiles";

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2";

/// What who has a claim may change: `?1` the analysis, `?2` the node, `?3` the attempt.
const CLAIMED: &str = "id = ?1 AND claimed_by = ?2 AND attempts = ?3 AND status = 'processing'";

/// How many analyses a worker tries to claim before it asks again: others may be faster.
const CANDIDATES: u32 = 8;

fn parts(text: &str) -> Option<Vec<Part>> {
    text.split_whitespace().map(Part::parse).collect()
}

fn state(columns: &Columns<'_>) -> Result<AnalysisState> {
    let at = columns.time_if_any("completed_at_us")?;
    Ok(match (columns.named("status", AnalysisStatus::parse)?, at) {
        (AnalysisStatus::Processing, None) => AnalysisState::Processing,
        (AnalysisStatus::Completed, Some(at)) => AnalysisState::Completed { at, result: columns.get("result")? },
        (AnalysisStatus::Failed, Some(at)) => AnalysisState::Failed {
            at,
            failure: columns.named("failure", AnalysisFailure::parse)?,
            message: columns.get("failure_message")?,
        },
        _ => return Err(columns.corrupt("status")),
    })
}

fn read(row: &dyn Row) -> Result<Analysis> {
    let columns = Columns::of(row, "analyses", "id")?;
    let profile: Option<ComplianceProfileId> = columns.parsed_if_any("profile_id")?;
    let profile = match profile {
        Some(id) => Some(UsedProfile { id, name: columns.get("profile_name")?, rules: columns.get("profile_rules")? }),
        None => None,
    };
    Ok(Analysis {
        id: columns.parsed("id")?,
        tenant: Tenant {
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
        },
        session: columns.parsed("session_id")?,
        include: columns.named("include", parts)?,
        profile,
        credits: columns.get("credits")?,
        attempts: columns.get("attempts")?,
        parts_done: columns.get("parts_done")?,
        created_at: columns.time("created_at_us")?,
        state: state(&columns)?,
    })
}

/// See [`kallglot_storage::AnalysisRepository::create_analysis`].
pub async fn create<S: Sql>(db: &S, new: &NewAnalysis) -> Result<CreatePaid> {
    let analysis = &new.analysis;
    let purchase = Purchase {
        object: analysis.id.to_string(),
        organization: analysis.tenant.organization.to_string(),
        environment: analysis.tenant.environment.as_str(),
        request: new.request.to_string(),
        price: analysis.credits.into(),
        at: analysis.created_at,
        low_credits_event: new.low_credits_event.clone(),
        answer: new.idempotency.as_ref().map(|answer| (answer.clone(), answer.request.to_string())),
    };
    purchase.lock(db).await?;
    let (found, account) = try_join(purchase.find(db), purchase.account(db)).await?;
    let replaces = match purchase.allowed(found, account) {
        Ok(replaces) => replaces,
        Err(outcome) => return Ok(outcome),
    };
    let profile = analysis.profile.as_ref();
    db.execute(
        INSERT,
        params![
            purchase.object,
            purchase.organization,
            purchase.environment,
            analysis.session.to_string(),
            purchase.request,
            spaced(&analysis.include),
            profile.map(|profile| profile.id.to_string()),
            profile.map(|profile| profile.name.as_str()),
            profile.map(|profile| profile.rules.as_str()),
            analysis.credits,
            us(analysis.created_at),
        ],
    )
    .await?;
    let balance = purchase.spend(db, account).await?;
    purchase.keep_answer(db, replaces).await?;
    Ok(CreatePaid::Created(balance))
}

/// See [`kallglot_storage::AnalysisRepository::analysis`].
pub async fn by_id<S: Sql>(db: &S, tenant: Tenant, id: AnalysisId) -> Result<Option<Analysis>> {
    let sql = format!("{SELECT} WHERE id = ?3 AND {OF_TENANT}");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, id.to_string()], read).await
}

/// See [`kallglot_storage::AnalysisRepository::analyses`].
pub async fn of_session<S: Sql>(
    db: &S,
    tenant: Tenant,
    session: SessionId,
    request: &PageRequest<AnalysisId>,
) -> Result<Page<Analysis>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let filter = "organization_id = ?1 AND environment = ?2 AND session_id = ?3";
    page(db, SELECT, filter, params![organization, environment, session.to_string()], request, read).await
}

/// See [`kallglot_storage::AnalysisRepository::claim_analysis`].
pub async fn claim<S: Sql>(db: &S, node: NodeId, lapses_after: Duration) -> Result<Option<(Claim, Analysis)>> {
    let now_us = S::DIALECT.now_us;
    let due = format!(
        "status = 'processing' AND due_at_us <= {now_us} AND (claimed_by IS NULL OR {now_us} - claimed_at_us >= ?2)"
    );
    let lapses_after = span_us(lapses_after);
    let candidates = format!("SELECT id FROM analyses WHERE {due} ORDER BY due_at_us, id LIMIT ?1");
    let id = |row: &dyn Row| Columns::of(row, "analyses", "id")?.get::<String>("id");
    for id in db.every(&candidates, params![CANDIDATES, lapses_after], id).await? {
        // Looks again, at the row as it is now: of two that try, one has it.
        let take = format!(
            "UPDATE analyses SET claimed_by = ?3, claimed_at_us = {now_us}, attempts = attempts + 1, parts_done = 0 \
             WHERE id = ?1 AND {due}"
        );
        if db.change(&take, params![id, lapses_after, node.to_string()]).await? == 0 {
            continue;
        }
        let Some(analysis) = db.first(&format!("{SELECT} WHERE id = ?1"), params![id], read).await? else { continue };
        return Ok(Some((Claim { analysis: analysis.id, node, attempt: analysis.attempts }, analysis)));
    }
    Ok(None)
}

/// See [`kallglot_storage::AnalysisRepository::note_analysis_progress`].
pub async fn progress<S: Sql>(db: &S, claim: Claim, parts_done: u32) -> Result<bool> {
    let now_us = S::DIALECT.now_us;
    let sql = format!("UPDATE analyses SET parts_done = ?4, claimed_at_us = {now_us} WHERE {CLAIMED}");
    let (id, node) = (claim.analysis.to_string(), claim.node.to_string());
    Ok(db.change(&sql, params![id, node, claim.attempt, parts_done]).await? > 0)
}

/// See [`kallglot_storage::AnalysisRepository::release_analysis`].
pub async fn release<S: Sql>(db: &S, claim: Claim, delay: Duration, counts: bool) -> Result<bool> {
    let now_us = S::DIALECT.now_us;
    let sql = format!(
        "UPDATE analyses SET claimed_by = NULL, claimed_at_us = NULL, due_at_us = {now_us} + ?4, parts_done = 0, \
         attempts = attempts - ?5 WHERE {CLAIMED}"
    );
    let (id, node) = (claim.analysis.to_string(), claim.node.to_string());
    Ok(db.change(&sql, params![id, node, claim.attempt, span_us(delay), !counts]).await? > 0)
}

/// See [`kallglot_storage::AnalysisRepository::complete_analysis`].
pub async fn complete<S: Sql>(db: &S, claim: Claim, result: &str, at: Timestamp, event: &Event) -> Result<bool> {
    let sql = format!(
        "UPDATE analyses SET status = 'completed', result = ?4, completed_at_us = ?5, claimed_by = NULL, claimed_at_us = NULL \
         WHERE {CLAIMED}"
    );
    let (id, node) = (claim.analysis.to_string(), claim.node.to_string());
    if db.change(&sql, params![id, node, claim.attempt, result, us(at)]).await? == 0 {
        return Ok(false);
    }
    raise_event(db, event).await?;
    Ok(true)
}

/// See [`kallglot_storage::AnalysisRepository::fail_analysis`].
pub async fn fail<S: Sql>(
    db: &S,
    claim: Claim,
    failure: AnalysisFailure,
    message: &str,
    at: Timestamp,
    event: &Event,
) -> Result<bool> {
    let organization = event.organization.to_string();
    // In the order in which sessions are bought: the organization, then the rest.
    credit::lock(db, &organization).await?;
    let (id, node) = (claim.analysis.to_string(), claim.node.to_string());
    let sql = format!(
        "UPDATE analyses SET status = 'failed', failure = ?4, failure_message = ?5, completed_at_us = ?6, claimed_by = NULL, \
         claimed_at_us = NULL WHERE {CLAIMED}"
    );
    if db.change(&sql, params![id, node, claim.attempt, failure.as_str(), message, us(at)]).await? == 0 {
        return Ok(false);
    }
    let paid = "SELECT id, credits, request_id FROM analyses WHERE id = ?1 AND organization_id = ?2";
    let paid = db
        .first(paid, params![id, organization], |row| {
            let columns = Columns::of(row, "analyses", "id")?;
            Ok((columns.get::<u32>("credits")?, columns.get::<String>("request_id")?))
        })
        .await?;
    let mismatch = || StorageError::Internal { cause: "an analysis failed under another organization's name".into() };
    let (credits, request) = paid.ok_or_else(mismatch)?;
    if credits > 0 {
        let account = credit::account(db, &organization).await?.ok_or_else(mismatch)?;
        let entry = Entry {
            organization: &organization,
            kind: LedgerKind::Refund,
            amount: credits.into(),
            request: Some(&request),
            object: Some(&id),
            at,
        };
        credit::append(db, &account, &entry).await?;
    }
    raise_event(db, event).await?;
    Ok(true)
}

fn read_profile(row: &dyn Row) -> Result<ComplianceProfile> {
    let columns = Columns::of(row, "compliance_profiles", "id")?;
    Ok(ComplianceProfile {
        id: columns.parsed("id")?,
        tenant: Tenant {
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
        },
        name: columns.get("name")?,
        rules: columns.get("rules")?,
        created_at: columns.time("created_at_us")?,
        updated_at: columns.time("updated_at_us")?,
    })
}

/// See [`kallglot_storage::AnalysisRepository::create_compliance_profile`].
pub async fn create_profile<S: Sql>(db: &S, profile: &ComplianceProfile) -> Result<StoreProfile> {
    let (organization, environment) = (profile.tenant.organization.to_string(), profile.tenant.environment.as_str());
    // So that two at once are counted one after the other, and have two names.
    credit::lock(db, &organization).await?;
    let count = format!("SELECT count(*) FROM compliance_profiles WHERE {OF_TENANT}");
    let none = || StorageError::Internal { cause: "a count is none".into() };
    let count = db
        .first(&count, params![organization, environment], |row| i64::from_value(row.value_at(0)?).ok_or_else(none))
        .await?;
    let taken = profile_named(db, profile.tenant, &profile.name).await?;
    if taken.is_some() {
        return Ok(StoreProfile::NameTaken);
    }
    if count.is_some_and(|count| count >= i64::from(ComplianceProfile::PER_TENANT_MAX)) {
        return Ok(StoreProfile::TooMany);
    }
    db.execute(
        "INSERT INTO compliance_profiles (id, organization_id, environment, name, rules, created_at_us, updated_at_us) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            profile.id.to_string(),
            organization,
            environment,
            profile.name,
            profile.rules,
            us(profile.created_at),
            us(profile.updated_at),
        ],
    )
    .await?;
    let stored = ComplianceProfile {
        created_at: cut(profile.created_at),
        updated_at: cut(profile.updated_at),
        ..profile.clone()
    };
    Ok(StoreProfile::Stored(stored))
}

/// See [`kallglot_storage::AnalysisRepository::compliance_profile`].
pub async fn profile<S: Sql>(db: &S, tenant: Tenant, id: ComplianceProfileId) -> Result<Option<ComplianceProfile>> {
    let sql = format!("{SELECT_PROFILE} WHERE id = ?3 AND {OF_TENANT}");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, id.to_string()], read_profile).await
}

/// See [`kallglot_storage::AnalysisRepository::compliance_profile_named`].
pub async fn profile_named<S: Sql>(db: &S, tenant: Tenant, name: &str) -> Result<Option<ComplianceProfile>> {
    let sql = format!("{SELECT_PROFILE} WHERE name = ?3 AND {OF_TENANT}");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, name], read_profile).await
}

/// See [`kallglot_storage::AnalysisRepository::compliance_profiles`].
pub async fn profiles<S: Sql>(
    db: &S,
    tenant: Tenant,
    request: &PageRequest<ComplianceProfileId>,
) -> Result<Page<ComplianceProfile>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    page(db, SELECT_PROFILE, OF_TENANT, params![organization, environment], request, read_profile).await
}

/// See [`kallglot_storage::AnalysisRepository::update_compliance_profile`].
pub async fn update_profile<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: ComplianceProfileId,
    name: Option<&str>,
    rules: Option<&str>,
    at: Timestamp,
) -> Result<StoreProfile> {
    credit::lock(db, &tenant.organization.to_string()).await?;
    let Some(mut stored) = profile(db, tenant, id).await? else { return Ok(StoreProfile::NotFound) };
    if let Some(name) = name {
        if profile_named(db, tenant, name).await?.is_some_and(|other| other.id != id) {
            return Ok(StoreProfile::NameTaken);
        }
        stored.name = name.to_owned();
    }
    if let Some(rules) = rules {
        stored.rules = rules.to_owned();
    }
    if name.is_some() || rules.is_some() {
        stored.updated_at = cut(at);
        let sql = "UPDATE compliance_profiles SET name = ?2, rules = ?3, updated_at_us = ?4 WHERE id = ?1";
        db.execute(sql, params![id.to_string(), stored.name, stored.rules, us(at)]).await?;
    }
    Ok(StoreProfile::Stored(stored))
}

/// See [`kallglot_storage::AnalysisRepository::delete_compliance_profile`].
pub async fn delete_profile<S: Sql>(db: &S, tenant: Tenant, id: ComplianceProfileId) -> Result<bool> {
    let sql = format!("DELETE FROM compliance_profiles WHERE id = ?3 AND {OF_TENANT}");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    Ok(db.change(&sql, params![organization, environment, id.to_string()]).await? > 0)
}
