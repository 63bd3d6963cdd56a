//! Deliveries of events to webhook endpoints, and their attempts, in their tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use kallglot_core::Timestamp;
use kallglot_core::delivery::{
    Attempt, AttemptError, Delivery, DeliveryStatus, DisabledReason, EXCERPT_BYTES_MAX, FAILING_MAX, KEPT_DAYS,
    Webhook, WebhookState,
};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{DeliveryId, NodeId, WebhookId};
use kallglot_core::session::Tenant;
use kallglot_storage::{
    AttemptReport, DUE_MAX, DeliveryBacklog, DeliveryFilter, DeliveryLog, DueDeliveries, DueDelivery, FAN_OUT_MAX,
    FannedOut, Page, PageRequest, Queued, Verdict, Want, WebhookReport,
};

use crate::log::{EVENT_COLUMNS, read_event};
use crate::query::page;
use crate::row::{Columns, us};
use crate::sql::{Row, Sql};
use crate::webhook::{Standing, hurry, lock, number};
use crate::{Result, params, webhook};

const SELECT: &str = "SELECT id, webhook_id, event_id, event_type, event_at_us, status, attempts, due_at_us, created_at_us, \
    finished_at_us FROM deliveries";

const INSERT: &str = "INSERT INTO deliveries (id, webhook_id, event_place, event_id, event_type, event_at_us, status, begun_at_us, \
    due_at_us, created_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?7, ?7) ON CONFLICT (id) DO NOTHING";

/// Most attempts of a delivery that are shown: it has thirteen, and more where it was asked for again.
const ATTEMPTS_MAX: u32 = 100;
/// Most deliveries that are counted for what is due and what is pending.
const COUNTED_MAX: u32 = 100_000;

const KEPT_US: i64 = KEPT_DAYS * 24 * 60 * 60 * 1_000_000;

fn read(row: &dyn Row) -> Result<Delivery> {
    let columns = Columns::of(row, "deliveries", "id")?;
    Ok(Delivery {
        id: columns.parsed("id")?,
        webhook: columns.parsed("webhook_id")?,
        event: columns.parsed("event_id")?,
        event_type: columns.named("event_type", EventType::parse)?,
        event_at: columns.time("event_at_us")?,
        status: columns.named("status", DeliveryStatus::parse)?,
        attempts: columns.get("attempts")?,
        next_attempt_at: columns.time_if_any("due_at_us")?,
        created_at: columns.time("created_at_us")?,
        finished_at: columns.time_if_any("finished_at_us")?,
    })
}

pub(crate) async fn by_id<S: Sql>(db: &S, id: DeliveryId) -> Result<Option<Delivery>> {
    db.first(&format!("{SELECT} WHERE id = ?1"), params![id.to_string()], read).await
}

/// Makes a delivery, unless it is there.
pub(crate) async fn insert<S: Sql>(
    db: &S,
    event: &Event,
    place: i64,
    webhook: WebhookId,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        INSERT,
        params![
            Delivery::id_of(event.id, webhook).to_string(),
            webhook.to_string(),
            place,
            event.id.to_string(),
            event.event_type.as_str(),
            us(event.at),
            us(now),
        ],
    )
    .await
}

/// See [`kallglot_storage::WebhookRepository::fan_out`].
pub async fn fan_out<S: Sql>(db: &S, now: Timestamp) -> Result<FannedOut> {
    db.lock("SELECT 1 FROM fan_out", params![]).await?;
    let events = format!("SELECT {EVENT_COLUMNS} FROM outbox WHERE fanned_out = 0 ORDER BY sequence LIMIT ?1");
    let events = db.every(&events, params![FAN_OUT_MAX], read_event).await?;
    let tenants: HashSet<Tenant> = events.iter().map(|(_, event)| event.tenant()).collect();
    let webhooks = tenants.iter().map(async |tenant| Ok((*tenant, webhook::enabled(db, *tenant).await?)));
    let webhooks: HashMap<Tenant, Vec<(Webhook, i64)>> = try_join_all(webhooks).await?.into_iter().collect();
    let (mut done, mut touched) = (FannedOut::default(), BTreeSet::new());
    for (place, event) in &events {
        if done.deliveries >= FAN_OUT_MAX {
            break;
        }
        for (webhook, after) in webhooks.get(&event.tenant()).into_iter().flatten() {
            if place > after && webhook.wants(event.event_type) {
                insert(db, event, *place, webhook.id, now).await?;
                touched.insert(webhook.id);
                done.deliveries += 1;
            }
        }
        db.execute("UPDATE outbox SET fanned_out = 1 WHERE sequence = ?1", params![place]).await?;
        done.events += 1;
    }
    for id in touched {
        hurry(db, id, now).await?;
    }
    Ok(done)
}

/// See [`kallglot_storage::WebhookRepository::deliveries`].
pub async fn of_webhook<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: WebhookId,
    filter: DeliveryFilter,
    request: &PageRequest<DeliveryId>,
) -> Result<Option<Page<Delivery>>> {
    if webhook::by_id(db, tenant, id).await?.is_none() {
        return Ok(None);
    }
    // Each status by its own text, so that each finds its own index.
    let status = match filter.status {
        None => "",
        Some(DeliveryStatus::Pending) => " AND status = 'pending'",
        Some(DeliveryStatus::Succeeded) => " AND status = 'succeeded'",
        Some(DeliveryStatus::Failed) => " AND status = 'failed'",
    };
    let webhook = id.to_string();
    let found = match filter.event {
        None => page(db, SELECT, &format!("webhook_id = ?1{status}"), params![webhook], request, read).await?,
        Some(event) => {
            let only = Delivery::id_of(event, id).to_string();
            let filter = format!("webhook_id = ?1 AND id = ?2{status}");
            page(db, SELECT, &filter, params![webhook, only], request, read).await?
        }
    };
    Ok(Some(found))
}

fn read_attempt(row: &dyn Row) -> Result<Attempt> {
    let columns = Columns::of(row, "delivery_attempts", "delivery_id")?;
    let error: Option<String> = columns.get("error")?;
    Ok(Attempt {
        at: columns.time("at_us")?,
        url: columns.get("url")?,
        duration_ms: columns.get("duration_ms")?,
        status: columns.get("status")?,
        error: error.map(|error| AttemptError::parse(&error).ok_or_else(|| columns.corrupt("error"))).transpose()?,
        error_detail: columns.get("error_detail")?,
        answer_headers: columns.get("answer_headers")?,
        answer_body: columns.get("answer_body")?,
    })
}

/// The delivery to an endpoint of this tenant, and its event's place.
async fn find<S: Sql>(
    db: &S,
    tenant: Tenant,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<(Webhook, Delivery, i64)>> {
    let Some(webhook) = webhook::by_id(db, tenant, webhook).await? else { return Ok(None) };
    let sql = "SELECT id, webhook_id, event_id, event_type, event_at_us, status, attempts, due_at_us, created_at_us, \
        finished_at_us, event_place FROM deliveries WHERE id = ?1 AND webhook_id = ?2";
    let found = db
        .first(sql, params![id.to_string(), webhook.id.to_string()], |row| {
            Ok((read(row)?, Columns::of(row, "deliveries", "id")?.get("event_place")?))
        })
        .await?;
    Ok(found.map(|(delivery, place)| (webhook, delivery, place)))
}

async fn event<S: Sql>(db: &S, place: i64) -> Result<Option<(i64, Event)>> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM outbox WHERE sequence = ?1");
    db.first(&sql, params![place], read_event).await
}

/// See [`kallglot_storage::WebhookRepository::delivery`].
pub async fn log<S: Sql>(db: &S, tenant: Tenant, webhook: WebhookId, id: DeliveryId) -> Result<Option<DeliveryLog>> {
    let sql = "SELECT delivery_id, at_us, url, duration_ms, status, error, error_detail, answer_headers, answer_body \
        FROM delivery_attempts WHERE delivery_id = ?1 ORDER BY at_us LIMIT ?2";
    // An attempt may be kept between one read and the next: both are read until they fit.
    for last in [false, false, true] {
        let Some((_, delivery, place)) = find(db, tenant, webhook, id).await? else { return Ok(None) };
        let attempts = db.every(sql, params![id.to_string(), ATTEMPTS_MAX], read_attempt).await?;
        if last || attempts.len() as u64 == u64::from(delivery.attempts.min(ATTEMPTS_MAX)) {
            let event = event(db, place).await?.map(|(_, event)| event);
            return Ok(Some(DeliveryLog { delivery, attempts, event }));
        }
    }
    Ok(None)
}

/// See [`kallglot_storage::WebhookRepository::redeliver`].
pub async fn redeliver<S: Sql>(
    db: &S,
    tenant: Tenant,
    webhook: WebhookId,
    id: DeliveryId,
    at: Timestamp,
) -> Result<Queued> {
    lock(db, [&webhook]).await?;
    let Some((webhook, _, place)) = find(db, tenant, webhook, id).await? else { return Ok(Queued::NotFound) };
    if webhook.state != WebhookState::Enabled {
        return Ok(Queued::Disabled);
    }
    if event(db, place).await?.is_none() {
        return Ok(Queued::EventForgotten);
    }
    let sql = "UPDATE deliveries SET status = 'pending', tries = 0, begun_at_us = ?2, due_at_us = ?2, finished_at_us = NULL \
        WHERE id = ?1";
    db.execute(sql, params![id.to_string(), us(at)]).await?;
    hurry(db, webhook.id, at).await?;
    Ok(by_id(db, id).await?.map_or(Queued::NotFound, Queued::Queued))
}

async fn due_of<S: Sql>(db: &S, node: &str, now: i64, want: &Want) -> Result<Vec<(i64, DueDelivery)>> {
    let sql = "SELECT id, event_place, tries, begun_at_us, due_at_us FROM deliveries \
        WHERE webhook_id = ?1 AND status = 'pending' AND due_at_us <= ?2 \
        AND EXISTS (SELECT 1 FROM webhooks WHERE webhooks.id = ?1 AND claimed_by = ?3) \
        ORDER BY due_at_us, event_place LIMIT ?4";
    // Those that it holds are the ones that have been due for longest, mostly.
    let wanted = want.limit.min(DUE_MAX);
    let limit = wanted.saturating_add(u32::try_from(want.held.len()).unwrap_or(u32::MAX));
    let mut due = db
        .every(sql, params![want.webhook.to_string(), now, node, limit], |row| {
            let columns = Columns::of(row, "deliveries", "id")?;
            let place = columns.get("event_place")?;
            let due = DueDelivery {
                id: columns.parsed("id")?,
                webhook: want.webhook,
                event_place: place,
                tries: columns.get("tries")?,
                begun_at: columns.time("begun_at_us")?,
                due_at: columns.time("due_at_us")?,
            };
            Ok((place, due))
        })
        .await?;
    due.retain(|(_, due)| !want.held.contains(&due.id));
    due.truncate(wanted as usize);
    Ok(due)
}

/// See [`kallglot_storage::WebhookRepository::due_deliveries`].
pub async fn due<S: Sql>(db: &S, node: NodeId, now: Timestamp, wants: &[Want]) -> Result<DueDeliveries> {
    let (node, now) = (node.to_string(), us(now));
    let due = try_join_all(wants.iter().map(|want| due_of(db, &node, now, want))).await?;
    let places: BTreeSet<i64> = due.iter().flatten().map(|(place, _)| *place).collect();
    let events = try_join_all(places.iter().map(|place| event(db, *place))).await?;
    Ok(DueDeliveries {
        deliveries: due.into_iter().flatten().map(|(_, due)| due).collect(),
        events: events.into_iter().flatten().collect(),
    })
}

/// The text, cut to what is kept, without what a database can't hold.
fn excerpt(text: &str) -> String {
    let mut end = text.len().min(EXCERPT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

/// Keeps one attempt, once. The first statement changes nothing when the attempt is there already.
async fn keep_attempt<S: Sql>(db: &S, report: &AttemptReport) -> Result<()> {
    let AttemptReport { delivery, attempt, verdict } = report;
    let (delivery, at) = (delivery.to_string(), us(attempt.at));
    let ended = attempt.at.checked_add(Duration::from_millis(attempt.duration_ms.into())).unwrap_or(attempt.at);
    // What another node found meanwhile stays: who has accepted a delivery has it.
    let (then, status, due_at, finished_at) = match verdict {
        Verdict::Succeeded => ("status <> ''", "succeeded", None, Some(us(ended))),
        Verdict::Retry(at) => ("status = 'pending'", "pending", Some(us(*at)), None),
        Verdict::GivenUp => ("status = 'pending'", "failed", None, Some(us(ended))),
    };
    db.execute(
        &format!(
            "UPDATE deliveries SET attempts = attempts + 1, tries = tries + 1, \
             status = CASE WHEN {then} THEN ?3 ELSE status END, \
             due_at_us = CASE WHEN {then} THEN ?4 ELSE due_at_us END, \
             finished_at_us = CASE WHEN {then} THEN ?5 ELSE finished_at_us END \
             WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM delivery_attempts WHERE delivery_id = ?1 AND at_us = ?2)"
        ),
        params![delivery, at, status, due_at, finished_at],
    )
    .await?;
    db.execute(
        "INSERT INTO delivery_attempts (delivery_id, at_us, url, duration_ms, status, error, error_detail, answer_headers, \
         answer_body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (delivery_id, at_us) DO NOTHING",
        params![
            delivery,
            at,
            attempt.url,
            attempt.duration_ms,
            attempt.status,
            attempt.error.map(AttemptError::as_str),
            excerpt(&attempt.error_detail),
            excerpt(&attempt.answer_headers),
            excerpt(&attempt.answer_body),
        ],
    )
    .await
}

/// What attempts, in the order of their ends, say of their endpoint.
fn standing(attempts: &[AttemptReport]) -> Standing {
    let mut standing = Standing::default();
    for AttemptReport { attempt, verdict, .. } in attempts {
        if *verdict == Verdict::Succeeded {
            standing.last_success_at = standing.last_success_at.max(Some(attempt.at));
            standing.failing_since = None;
        } else {
            standing.last_failure_at = standing.last_failure_at.max(Some(attempt.at));
            standing.failing_since = standing.failing_since.or(Some(attempt.at));
        }
    }
    standing
}

/// See [`kallglot_storage::WebhookRepository::keep_attempts`].
pub async fn keep_attempts<S: Sql>(db: &S, reports: &[WebhookReport]) -> Result<Vec<WebhookId>> {
    let reports: BTreeMap<WebhookId, &WebhookReport> = reports.iter().map(|report| (report.webhook, report)).collect();
    lock(db, reports.keys()).await?;
    let mut disabled = Vec::new();
    for (id, report) in reports {
        for attempt in &report.attempts {
            keep_attempt(db, attempt).await?;
        }
        let standing = standing(&report.attempts);
        let Some(webhook) = webhook::note(db, id, &standing).await? else { continue };
        let failed_for = |since: Timestamp| report.change.at.duration_since(since);
        let reason = if report.gone {
            Some(DisabledReason::Gone)
        } else if webhook.failing_since.is_some_and(|since| failed_for(since) >= FAILING_MAX) {
            Some(DisabledReason::Failing)
        } else {
            None
        };
        if let Some(reason) = reason.filter(|_| webhook.state == WebhookState::Enabled) {
            webhook::disable(db, &webhook, reason, &report.change).await?;
            disabled.push(id);
        }
    }
    Ok(disabled)
}

/// See [`kallglot_storage::WebhookRepository::delivery_backlog`].
pub async fn backlog<S: Sql>(db: &S, now: Timestamp) -> Result<DeliveryBacklog> {
    let now = us(now);
    let count = "SELECT count(*) FROM (SELECT 1 FROM deliveries JOIN webhooks ON webhooks.id = webhook_id \
        WHERE status = 'pending' AND disabled_reason IS NULL AND deleted_at_us IS NULL";
    let due = format!("{count} AND deliveries.due_at_us <= ?1 LIMIT ?2) AS due");
    let due = db.first(&due, params![now, COUNTED_MAX], |row| number(row, 0)).await?;
    let pending = format!("{count} LIMIT ?1) AS pending");
    let pending = db.first(&pending, params![COUNTED_MAX], |row| number(row, 0)).await?;
    let oldest = "SELECT id, due_at_us FROM webhooks WHERE due_at_us <= ?1 ORDER BY due_at_us LIMIT 1";
    let oldest = db.first(oldest, params![now], |row| Columns::of(row, "webhooks", "id")?.time("due_at_us")).await?;
    let enabled = "SELECT count(*) FROM webhooks WHERE disabled_reason IS NULL AND deleted_at_us IS NULL";
    let enabled = db.first(enabled, params![], |row| number(row, 0)).await?;
    let count = |number: Option<i64>| number.unwrap_or(0).unsigned_abs();
    Ok(DeliveryBacklog {
        due: count(due),
        oldest_due_at: oldest,
        pending: count(pending),
        enabled_webhooks: count(enabled),
    })
}

/// Deletes deliveries whose events' time is over, at most `limit`, and endpoints that were deleted long enough ago to have none left.
/// Answers with how many rows that were, and whether that was all.
pub(crate) async fn forget<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<(u64, bool)> {
    let ids = "SELECT id, event_at_us FROM deliveries ORDER BY id LIMIT ?1";
    let ids = db
        .every(ids, params![limit], |row| {
            let columns = Columns::of(row, "deliveries", "id")?;
            Ok((columns.get::<String>("id")?, columns.get::<i64>("event_at_us")?))
        })
        .await?;
    let over = |at: i64| us(now).saturating_sub(at) >= KEPT_US;
    let all = ids.len() < limit as usize || ids.last().is_some_and(|(_, at)| !over(*at));
    let Some((last, _)) = ids.iter().take_while(|(_, at)| over(*at)).last() else { return Ok((0, all)) };
    db.execute("DELETE FROM delivery_attempts WHERE delivery_id <= ?1", params![last]).await?;
    let forgotten = db.change("DELETE FROM deliveries WHERE id <= ?1", params![last]).await?;
    if all {
        let sql = "DELETE FROM webhooks WHERE deleted_at_us <= ?1 \
            AND NOT EXISTS (SELECT 1 FROM deliveries WHERE webhook_id = webhooks.id)";
        db.execute(sql, params![us(now).saturating_sub(KEPT_US)]).await?;
    }
    Ok((forgotten, all))
}
