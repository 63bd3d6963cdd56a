//! Webhook endpoints in their table.

use std::time::Duration;

use futures_util::future::try_join3;
use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::delivery::{Delivery, DisabledReason, WEBHOOKS_MAX, Webhook, WebhookState};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{NodeId, WebhookId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::changes::{Changes, of_webhook};
use kallglot_storage::{
    ClaimedState, ClaimedWebhook, CreateWebhook, NewAnswer, Page, PageRequest, Queued, SealedSecrets, StorageError,
    WebhookUpdate, WebhookWork,
};
use serde_json::{Map, json};

use crate::audit::{self, Subject};
use crate::log::raise_event;
use crate::node::span_us;
use crate::query::page;
use crate::row::{Columns, cut, spaced, us, us_if_any};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, delivery, idempotency, params};

macro_rules! columns {
    () => {
        "id, organization_id, environment, url, description, event_types, disabled_reason, disabled_at_us, \
         old_secret_valid_until_us, created_at_us, updated_at_us, failing_since_us, last_success_at_us, last_failure_at_us"
    };
}

const SELECT: &str = concat!("SELECT ", columns!(), " FROM webhooks");

const SELECT_TO_DELIVER: &str =
    concat!("SELECT ", columns!(), ", version, sealed_secret, old_sealed_secret FROM webhooks");

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2 AND deleted_at_us IS NULL";

/// The place after which events are of interest to who wants them from now on.
const PLACE_NOW: &str = "SELECT coalesce(max(sequence), 0) FROM outbox";

/// Most endpoints of one node that one look tells of.
const CLAIMED_MAX: u32 = 10_000;

fn state(columns: &Columns<'_>) -> Result<WebhookState> {
    let reason: Option<String> = columns.get("disabled_reason")?;
    Ok(match (reason, columns.time_if_any("disabled_at_us")?) {
        (None, None) => WebhookState::Enabled,
        (Some(reason), Some(at)) => {
            let reason = DisabledReason::parse(&reason).ok_or_else(|| columns.corrupt("disabled_reason"))?;
            WebhookState::Disabled { reason, at }
        }
        _ => return Err(columns.corrupt("disabled_at_us")),
    })
}

fn read(row: &dyn Row) -> Result<Webhook> {
    let columns = Columns::of(row, "webhooks", "id")?;
    Ok(Webhook {
        id: columns.parsed("id")?,
        tenant: Tenant {
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
        },
        url: columns.get("url")?,
        description: columns.get("description")?,
        event_types: columns
            .named("event_types", |text| text.split_ascii_whitespace().map(EventType::parse).collect())?,
        state: state(&columns)?,
        created_at: columns.time("created_at_us")?,
        updated_at: columns.time("updated_at_us")?,
        old_secret_valid_until: columns.time_if_any("old_secret_valid_until_us")?,
        failing_since: columns.time_if_any("failing_since_us")?,
        last_success_at: columns.time_if_any("last_success_at_us")?,
        last_failure_at: columns.time_if_any("last_failure_at_us")?,
    })
}

fn read_to_deliver(row: &dyn Row) -> Result<ClaimedWebhook> {
    let webhook = read(row)?;
    let columns = Columns::of(row, "webhooks", "id")?;
    let old: Option<Vec<u8>> = columns.get("old_sealed_secret")?;
    let secrets =
        SealedSecrets { current: columns.get("sealed_secret")?, old: old.zip(webhook.old_secret_valid_until) };
    Ok(ClaimedWebhook { webhook, secrets, version: columns.get("version")? })
}

/// See [`kallglot_storage::WebhookRepository::webhook`].
pub async fn by_id<S: Sql>(db: &S, tenant: Tenant, id: WebhookId) -> Result<Option<Webhook>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND id = ?3");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, id.to_string()], read).await
}

/// Lets nobody else change these endpoints, or what is due to them, until the transaction's end. In one order, so that two jobs never
/// wait for each other.
pub(crate) async fn lock<S: Sql>(db: &S, webhooks: impl IntoIterator<Item = &WebhookId>) -> Result<()> {
    let mut ids: Vec<&WebhookId> = webhooks.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        db.lock("SELECT 1 FROM webhooks WHERE id = ?1", params![id.to_string()]).await?;
    }
    Ok(())
}

async fn locked<S: Sql>(db: &S, tenant: Tenant, id: WebhookId) -> Result<Option<Webhook>> {
    lock(db, [&id]).await?;
    by_id(db, tenant, id).await
}

/// See [`kallglot_storage::WebhookRepository::webhooks`].
pub async fn of_tenant<S: Sql>(db: &S, tenant: Tenant, request: &PageRequest<WebhookId>) -> Result<Page<Webhook>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    page(db, SELECT, OF_TENANT, params![organization, environment], request, read).await
}

/// The tenant's endpoints that events are sent to, each with the place after which they are.
pub(crate) async fn enabled<S: Sql>(db: &S, tenant: Tenant) -> Result<Vec<(Webhook, i64)>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", events_after FROM webhooks WHERE organization_id = ?1 AND environment = ?2 AND deleted_at_us IS NULL \
         AND disabled_reason IS NULL ORDER BY id"
    );
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.every(sql, params![organization, environment], |row| {
        Ok((read(row)?, Columns::of(row, "webhooks", "id")?.get("events_after")?))
    })
    .await
}

fn columns_of(state: WebhookState) -> (Option<&'static str>, Option<i64>) {
    match state {
        WebhookState::Enabled => (None, None),
        WebhookState::Disabled { reason, at } => (Some(reason.as_str()), Some(us(at))),
    }
}

async fn audit_entry<S: Sql>(
    db: &S,
    change: &Change,
    action: AuditAction,
    webhook: &Webhook,
    changes: &Changes,
) -> Result<()> {
    let Tenant { organization, environment } = webhook.tenant;
    let object = webhook.id.to_string();
    let subject = Subject { organization, environment: Some(environment), object: &object };
    audit::append(db, change, action, &subject, changes).await
}

/// See [`kallglot_storage::WebhookRepository::create_webhook`].
pub async fn create<S: Sql>(
    db: &S,
    webhook: &Webhook,
    sealed_secret: &[u8],
    answer: Option<&NewAnswer>,
    change: &Change,
) -> Result<CreateWebhook> {
    if let Some(answer) = answer
        && let Some(stored) = idempotency::known(db, webhook.tenant, answer).await?
    {
        return Ok(CreateWebhook::Known(stored));
    }
    let Tenant { organization, environment } = webhook.tenant;
    let (organization, environment) = (organization.to_string(), environment.as_str());
    // Whoever makes another one waits, so that none is one too many.
    db.lock("SELECT 1 FROM organizations WHERE id = ?1", params![organization]).await?;
    let count = format!("SELECT count(*) FROM webhooks WHERE {OF_TENANT}");
    let count = db.first(&count, params![organization, environment], |row| number(row, 0)).await?;
    if count.unwrap_or(0) >= i64::from(WEBHOOKS_MAX) {
        return Ok(CreateWebhook::TooMany);
    }
    let (disabled_reason, disabled_at) = columns_of(webhook.state);
    db.execute(
        &format!(
            "INSERT INTO webhooks (id, organization_id, environment, url, description, event_types, disabled_reason, \
             disabled_at_us, sealed_secret, created_at_us, updated_at_us, events_after) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ({PLACE_NOW}))"
        ),
        params![
            webhook.id.to_string(),
            organization,
            environment,
            webhook.url,
            webhook.description,
            spaced(&webhook.event_types),
            disabled_reason,
            disabled_at,
            sealed_secret,
            us(webhook.created_at),
            us(webhook.updated_at),
        ],
    )
    .await?;
    audit_entry(db, change, AuditAction::WebhookCreated, webhook, &of_webhook(None, webhook)).await?;
    if let Some(answer) = answer {
        idempotency::keep(db, webhook.tenant, answer).await?;
    }
    Ok(CreateWebhook::Created)
}

/// A number in the column of this place.
pub(crate) fn number(row: &dyn Row, column: usize) -> Result<i64> {
    let cause = || StorageError::Internal { cause: "a number is none".into() };
    i64::from_value(row.value_at(column)?).ok_or_else(cause)
}

/// When the next delivery to an endpoint is due, as the deliveries have it, which the endpoint's lock keeps from changing.
const DUE_AT: &str = "(SELECT min(due_at_us) FROM deliveries WHERE webhook_id = ?1 AND status = 'pending')";

/// Writes every column of an endpoint that its owner can change, as it is in `webhook`, and lets who delivers know. Its lock is held.
async fn store<S: Sql>(db: &S, webhook: &Webhook) -> Result<()> {
    let (disabled_reason, disabled_at) = columns_of(webhook.state);
    let due_at = if webhook.state == WebhookState::Enabled { DUE_AT } else { "NULL" };
    let claimed_by = if webhook.state == WebhookState::Enabled { "claimed_by" } else { "NULL" };
    db.execute(
        &format!(
            "UPDATE webhooks SET url = ?2, description = ?3, event_types = ?4, disabled_reason = ?5, disabled_at_us = ?6, \
             updated_at_us = ?7, failing_since_us = ?8, version = version + 1, due_at_us = {due_at}, \
             claimed_by = {claimed_by} WHERE id = ?1"
        ),
        params![
            webhook.id.to_string(),
            webhook.url,
            webhook.description,
            spaced(&webhook.event_types),
            disabled_reason,
            disabled_at,
            us(webhook.updated_at),
            us_if_any(webhook.failing_since),
        ],
    )
    .await
}

/// See [`kallglot_storage::WebhookRepository::update_webhook`].
pub async fn update<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: WebhookId,
    update: &WebhookUpdate,
    change: &Change,
) -> Result<Option<Webhook>> {
    let Some(before) = locked(db, tenant, id).await? else { return Ok(None) };
    let update = update.clone();
    let state = match (update.enabled, before.state) {
        (Some(true), _) => WebhookState::Enabled,
        (Some(false), WebhookState::Enabled) => {
            WebhookState::Disabled { reason: DisabledReason::ByOwner, at: cut(change.at) }
        }
        (_, state) => state,
    };
    let enabled_again = state == WebhookState::Enabled && before.state != WebhookState::Enabled;
    let after = Webhook {
        url: update.url.unwrap_or_else(|| before.url.clone()),
        description: update.description.unwrap_or_else(|| before.description.clone()),
        event_types: update.event_types.unwrap_or_else(|| before.event_types.clone()),
        state,
        // It gets its five days anew.
        failing_since: if enabled_again { None } else { before.failing_since },
        ..before.clone()
    };
    if after == before {
        return Ok(Some(before));
    }
    let after = Webhook { updated_at: cut(change.at), ..after };
    store(db, &after).await?;
    if enabled_again {
        let sql = format!("UPDATE webhooks SET events_after = ({PLACE_NOW}) WHERE id = ?1");
        db.execute(&sql, params![id.to_string()]).await?;
    }
    audit_entry(db, change, AuditAction::WebhookUpdated, &after, &of_webhook(Some(&before), &after)).await?;
    Ok(Some(after))
}

/// See [`kallglot_storage::WebhookRepository::rotate_webhook_secret`].
pub async fn rotate<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: WebhookId,
    sealed_secret: &[u8],
    old_valid_until: Timestamp,
    change: &Change,
) -> Result<Option<Webhook>> {
    let Some(before) = locked(db, tenant, id).await? else { return Ok(None) };
    let old_valid_until = cut(old_valid_until.max(change.at));
    let after = Webhook { old_secret_valid_until: Some(old_valid_until), updated_at: cut(change.at), ..before.clone() };
    db.execute(
        "UPDATE webhooks SET old_sealed_secret = sealed_secret, sealed_secret = ?2, old_secret_valid_until_us = ?3, \
         updated_at_us = ?4, version = version + 1 WHERE id = ?1",
        params![id.to_string(), sealed_secret, us(old_valid_until), us(after.updated_at)],
    )
    .await?;
    audit_entry(db, change, AuditAction::WebhookRotated, &after, &of_webhook(Some(&before), &after)).await?;
    Ok(Some(after))
}

/// See [`kallglot_storage::WebhookRepository::delete_webhook`].
pub async fn delete<S: Sql>(db: &S, tenant: Tenant, id: WebhookId, change: &Change) -> Result<bool> {
    let Some(webhook) = locked(db, tenant, id).await? else { return Ok(false) };
    // The secret is of no use any more.
    db.execute(
        "UPDATE webhooks SET deleted_at_us = ?2, due_at_us = NULL, claimed_by = NULL, version = version + 1, \
         sealed_secret = ?3, old_sealed_secret = NULL, old_secret_valid_until_us = NULL WHERE id = ?1",
        params![id.to_string(), us(change.at), Vec::new()],
    )
    .await?;
    let gone = Changes::from([("url".into(), (webhook.url.clone(), String::new()))]);
    audit_entry(db, change, AuditAction::WebhookDeleted, &webhook, &gone).await?;
    Ok(true)
}

/// See [`kallglot_storage::WebhookRepository::test_webhook`].
pub async fn test<S: Sql>(db: &S, tenant: Tenant, id: WebhookId, event: &Event) -> Result<Queued> {
    let Some(webhook) = locked(db, tenant, id).await? else { return Ok(Queued::NotFound) };
    if webhook.state != WebhookState::Enabled {
        return Ok(Queued::Disabled);
    }
    raise_event(db, event).await?;
    // What it says it happened to may not be there, so its place is the sample's; and it is for nobody else.
    db.execute(
        "UPDATE outbox SET fanned_out = 1, session_sequence = ?4 WHERE organization_id = ?1 AND environment = ?2 AND id = ?3",
        params![
            tenant.organization.to_string(),
            tenant.environment.as_str(),
            event.id.to_string(),
            event.session_sequence,
        ],
    )
    .await?;
    let place = "SELECT sequence FROM outbox WHERE organization_id = ?1 AND environment = ?2 AND id = ?3";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let place = db.first(place, params![organization, environment, event.id.to_string()], |row| number(row, 0)).await?;
    let place = place.ok_or_else(|| StorageError::Internal { cause: "a test event was not stored".into() })?;
    delivery::insert(db, event, place, id, event.at).await?;
    hurry(db, id, event.at).await?;
    let id = Delivery::id_of(event.id, id);
    let delivery = delivery::by_id(db, id).await?;
    Ok(delivery.map_or(Queued::NotFound, Queued::Queued))
}

/// Something is due to an endpoint at `at`.
pub(crate) async fn hurry<S: Sql>(db: &S, id: WebhookId, at: Timestamp) -> Result<()> {
    let sql = "UPDATE webhooks SET due_at_us = ?2 WHERE id = ?1 AND disabled_reason IS NULL AND deleted_at_us IS NULL \
        AND (due_at_us IS NULL OR due_at_us > ?2)";
    db.execute(sql, params![id.to_string(), us(at)]).await
}

/// What attempts that are over say of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Since when attempts have failed, after the last success among them; none when that came last.
    pub(crate) failing_since: Option<Timestamp>,
    pub(crate) last_success_at: Option<Timestamp>,
    pub(crate) last_failure_at: Option<Timestamp>,
}

/// Notes how an endpoint stands; its lock is held. Answers with it as it is then.
pub(crate) async fn note<S: Sql>(db: &S, id: WebhookId, standing: &Standing) -> Result<Option<Webhook>> {
    let select = format!("{SELECT} WHERE id = ?1 AND deleted_at_us IS NULL");
    let Some(mut webhook) = db.first(&select, params![id.to_string()], read).await? else { return Ok(None) };
    webhook.last_success_at = webhook.last_success_at.max(standing.last_success_at.map(cut));
    webhook.last_failure_at = webhook.last_failure_at.max(standing.last_failure_at.map(cut));
    webhook.failing_since = match (standing.last_success_at, webhook.failing_since) {
        (None, Some(since)) => Some(since),
        _ => standing.failing_since.map(cut),
    };
    let due_at = if webhook.state == WebhookState::Enabled { DUE_AT } else { "NULL" };
    db.execute(
        &format!(
            "UPDATE webhooks SET failing_since_us = ?2, last_success_at_us = ?3, last_failure_at_us = ?4, \
             due_at_us = {due_at} WHERE id = ?1"
        ),
        params![
            id.to_string(),
            us_if_any(webhook.failing_since),
            us_if_any(webhook.last_success_at),
            us_if_any(webhook.last_failure_at),
        ],
    )
    .await?;
    Ok(Some(webhook))
}

/// Disables an endpoint by the server's own rule, and tells its owner.
pub(crate) async fn disable<S: Sql>(db: &S, before: &Webhook, reason: DisabledReason, change: &Change) -> Result<()> {
    let state = WebhookState::Disabled { reason, at: cut(change.at) };
    let after = Webhook { state, updated_at: cut(change.at), ..before.clone() };
    store(db, &after).await?;
    audit_entry(db, change, AuditAction::WebhookDisabled, &after, &of_webhook(Some(before), &after)).await?;
    let Tenant { organization, environment } = after.tenant;
    let detail = [
        ("url", json!(after.url)),
        ("reason", json!(reason.as_str())),
        ("failing_since", json!(after.failing_since.map(kallglot_core::event::time))),
    ];
    let event = Event {
        id: change.event_id(),
        organization,
        environment,
        event_type: EventType::WebhookDisabled,
        object: after.id.to_string(),
        session: None,
        session_sequence: None,
        detail: detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
        at: change.at,
    };
    raise_event(db, &event).await
}

/// See [`kallglot_storage::WebhookRepository::webhook_work`].
pub async fn work<S: Sql>(db: &S, node: NodeId, now: Timestamp) -> Result<WebhookWork> {
    let (node, now) = (node.to_string(), us(now));
    let claimed = async {
        let sql = "SELECT id, version, due_at_us FROM webhooks WHERE claimed_by = ?1 ORDER BY id LIMIT ?2";
        db.every(sql, params![node, CLAIMED_MAX], |row| {
            let columns = Columns::of(row, "webhooks", "id")?;
            Ok(ClaimedState {
                id: columns.parsed("id")?,
                version: columns.get("version")?,
                due_at: columns.time_if_any("due_at_us")?,
            })
        })
        .await
    };
    let unclaimed = async {
        let sql = "SELECT 1 FROM webhooks WHERE claimed_by IS NULL AND due_at_us <= ?1 LIMIT 1";
        db.first(sql, params![now], |_| Ok(())).await
    };
    let events = async { db.first("SELECT 1 FROM outbox WHERE fanned_out = 0 LIMIT 1", params![], |_| Ok(())).await };
    let (claimed, unclaimed, events) = try_join3(claimed, unclaimed, events).await?;
    Ok(WebhookWork { events: events.is_some(), unclaimed: unclaimed.is_some(), claimed })
}

/// See [`kallglot_storage::WebhookRepository::claim_webhooks`].
pub async fn claim<S: Sql>(db: &S, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<ClaimedWebhook>> {
    // Locked in the order of their ids, as everybody locks them.
    let due = "WHERE id IN (SELECT id FROM webhooks WHERE claimed_by IS NULL AND due_at_us <= ?1 ORDER BY due_at_us LIMIT ?2) \
        AND claimed_by IS NULL ORDER BY id";
    let (node, now) = (node.to_string(), us(now));
    db.lock(&format!("SELECT 1 FROM webhooks {due}"), params![now, limit]).await?;
    let claimed = db.every(&format!("{SELECT_TO_DELIVER} {due}"), params![now, limit], read_to_deliver).await?;
    for webhook in &claimed {
        let sql = "UPDATE webhooks SET claimed_by = ?2 WHERE id = ?1 AND claimed_by IS NULL";
        db.execute(sql, params![webhook.webhook.id.to_string(), node]).await?;
    }
    Ok(claimed)
}

/// See [`kallglot_storage::WebhookRepository::claimed_webhook`].
pub async fn claimed<S: Sql>(db: &S, node: NodeId, id: WebhookId) -> Result<Option<ClaimedWebhook>> {
    let sql = format!("{SELECT_TO_DELIVER} WHERE id = ?1 AND claimed_by = ?2");
    db.first(&sql, params![id.to_string(), node.to_string()], read_to_deliver).await
}

/// See [`kallglot_storage::WebhookRepository::release_webhooks`].
pub async fn release<S: Sql>(db: &S, node: NodeId, webhooks: &[WebhookId]) -> Result<()> {
    let mut webhooks = webhooks.to_vec();
    webhooks.sort_unstable();
    for id in webhooks {
        let sql = "UPDATE webhooks SET claimed_by = NULL WHERE id = ?1 AND claimed_by = ?2";
        db.execute(sql, params![id.to_string(), node.to_string()]).await?;
    }
    Ok(())
}

/// See [`kallglot_storage::WebhookRepository::release_webhooks_of_others`].
pub async fn release_of_others<S: Sql>(db: &S, node: NodeId, away_after: Duration) -> Result<u64> {
    let sql = format!(
        "UPDATE webhooks SET claimed_by = NULL WHERE claimed_by IS NOT NULL AND claimed_by <> ?1 \
         AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = claimed_by AND {} - seen_at_us < ?2)",
        S::DIALECT.now_us
    );
    db.change(&sql, params![node.to_string(), span_us(away_after)]).await
}
