//! Usage over time, in its tables.
//!
//! A row belongs to one node, which alone adds to it, in the transaction that stores the requests it counts. So nothing is counted twice or
//! lost alone, and nodes never wait for each other; who reads adds the nodes' rows up.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use kallglot_core::Timestamp;
use kallglot_core::credit::LedgerKind;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::session::Tenant;
use kallglot_core::usage::{
    Counts, HOURS_KEPT_DAYS, KeyMinute, Latencies, MINUTES_KEPT_H, Route, Slice, Totals, Usage,
};
use kallglot_storage::{
    CreditFlow, RequestBatch, SESSION_SPANS_MAX, SessionSpan, Span, StorageError, USAGE_KEYS_MAX, USAGE_SLICES_MAX,
};

use crate::row::{Columns, count, us};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, log, params};

const HOUR_US: i64 = 60 * 60 * 1_000_000;
const MINUTES_KEPT_US: i64 = MINUTES_KEPT_H * HOUR_US;
const HOURS_KEPT_US: i64 = HOURS_KEPT_DAYS * 24 * HOUR_US;
/// How long the number of a node's last batch is kept: longer than a node tries to store it.
const BATCHES_KEPT_US: i64 = 30 * 24 * HOUR_US;
/// By how much clocks of nodes may differ, so that the ledger's times are not quite in the order of its entries.
const CLOCKS_DIFFER_US: i64 = 10 * 60 * 1_000_000;
/// Rows that are read at once before they are written.
const ROWS_AT_ONCE: usize = 128;

const FORMAT: u8 = 1;

const fn table(slice: Slice) -> &'static str {
    match slice {
        Slice::Minute => "usage_minutes",
        Slice::Hour => "usage_hours",
    }
}

/// A route's method, name, pressure, statuses, codes and latencies.
type Packed<'a> = (Cow<'a, str>, Cow<'a, str>, u32, Vec<(u16, u64)>, Vec<(Cow<'a, str>, u64)>, Vec<(u16, u64)>);

fn pack(usage: &Usage) -> Vec<u8> {
    let routes: Vec<Packed<'_>> = usage
        .routes
        .iter()
        .map(|(route, counts)| {
            let codes = counts.by_code.iter().map(|(code, count)| (Cow::Borrowed(code.as_ref()), *count));
            (
                Cow::Borrowed(route.method.as_ref()),
                Cow::Borrowed(route.route.as_ref()),
                counts.pressure_permille,
                counts.by_status.iter().map(|(status, count)| (*status, *count)).collect(),
                codes.collect(),
                counts.latencies.buckets().collect(),
            )
        })
        .collect();
    // It can't fail: a vector grows, and the shape has no unknown lengths.
    postcard::to_extend(&routes, vec![FORMAT]).unwrap_or_default()
}

fn unpack(packed: &[u8]) -> Option<Usage> {
    let (&FORMAT, packed) = packed.split_first()? else { return None };
    let routes: Vec<Packed<'_>> = postcard::from_bytes(packed).ok()?;
    let mut usage = Usage::default();
    for (method, route, pressure_permille, statuses, codes, latencies) in routes {
        let route = Route { method: method.into_owned().into(), route: route.into_owned().into() };
        let counts = Counts {
            requests: statuses.iter().try_fold(0u64, |all, (_, count)| all.checked_add(*count))?,
            by_status: statuses.into_iter().collect(),
            by_code: codes.into_iter().map(|(code, count)| (Cow::Owned(code.into_owned()), count)).collect(),
            latencies: Latencies::of_buckets(latencies)?,
            pressure_permille,
        };
        usage.routes.insert(route, counts);
    }
    Some(usage)
}

/// Which row of a node something belongs to. In the order in which rows are written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    slice: Slice,
    organization: String,
    environment: &'static str,
    /// Empty for all keys together.
    key: String,
    at_us: i64,
}

/// The rows to which a batch adds, and what.
fn places(minutes: &[KeyMinute]) -> BTreeMap<Place, Usage> {
    let mut places: BTreeMap<Place, Usage> = BTreeMap::new();
    for minute in minutes {
        let organization = minute.tenant.organization.to_string();
        for slice in [Slice::Minute, Slice::Hour] {
            for key in [String::new(), minute.key.to_string()] {
                let place = Place {
                    slice,
                    organization: organization.clone(),
                    environment: minute.tenant.environment.as_str(),
                    key,
                    at_us: us(slice.of(minute.at)),
                };
                places.entry(place).or_default().merge(&minute.usage);
            }
        }
    }
    places
}

fn usage_of(row: &dyn Row) -> Result<Usage> {
    let columns = Columns::of(row, "usage", "organization_id")?;
    columns.get::<Vec<u8>>("routes").and_then(|packed| unpack(&packed).ok_or_else(|| columns.corrupt("routes")))
}

/// See [`kallglot_storage::UsageRepository::append_requests`].
pub async fn append<S: Sql>(db: &S, batch: &RequestBatch) -> Result<()> {
    let node = batch.node.to_string();
    let sql = "INSERT INTO request_batches (node_id, batch, at_us) VALUES (?1, ?2, ?3) ON CONFLICT (node_id) \
        DO UPDATE SET batch = excluded.batch, at_us = excluded.at_us WHERE request_batches.batch < excluded.batch";
    if db.change(sql, params![node, batch.number, us(batch.at)]).await? == 0 {
        return Ok(());
    }
    log::append_blocks(db, &batch.blocks).await?;
    let places: Vec<(Place, Usage)> = places(&batch.usage).into_iter().collect();
    for places in places.chunks(ROWS_AT_ONCE) {
        let stored = places.iter().map(|(place, _)| stored(db, place, &node));
        let stored = try_join_all(stored).await?;
        for ((place, added), stored) in places.iter().zip(stored) {
            let usage = match stored {
                Some(mut usage) => {
                    usage.merge(added);
                    Cow::Owned(usage)
                }
                None => Cow::Borrowed(added),
            };
            write(db, place, &node, &usage).await?;
        }
    }
    Ok(())
}

async fn stored<S: Sql>(db: &S, place: &Place, node: &str) -> Result<Option<Usage>> {
    let sql = format!(
        "SELECT organization_id, routes FROM {} WHERE organization_id = ?1 AND environment = ?2 AND key_id = ?3 \
         AND at_us = ?4 AND node_id = ?5",
        table(place.slice)
    );
    db.first(&sql, params![place.organization, place.environment, place.key, place.at_us, node], usage_of).await
}

async fn write<S: Sql>(db: &S, place: &Place, node: &str, usage: &Usage) -> Result<()> {
    let sql = format!(
        "INSERT INTO {} (organization_id, environment, key_id, at_us, node_id, requests, errors, failures, rate_limited, \
         pressure_permille, routes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (organization_id, environment, key_id, at_us, node_id) DO UPDATE SET requests = excluded.requests, \
         errors = excluded.errors, failures = excluded.failures, rate_limited = excluded.rate_limited, \
         pressure_permille = excluded.pressure_permille, routes = excluded.routes",
        table(place.slice)
    );
    let mut totals = Totals::default();
    usage.routes.values().for_each(|counts| totals.merge(&counts.totals()));
    db.execute(
        &sql,
        params![
            place.organization,
            place.environment,
            place.key,
            place.at_us,
            node,
            count(totals.requests),
            count(totals.errors),
            count(totals.failures),
            count(totals.rate_limited),
            totals.pressure_permille,
            pack(usage),
        ],
    )
    .await
}

/// Which rows of a tenant and a key (or all) lie in a span: `?1` to `?5`, given by [`bounds`].
const IN_SPAN: &str = "organization_id = ?1 AND environment = ?2 AND key_id = ?3 AND at_us >= ?4 AND at_us < ?5";

/// A span in microseconds, no longer than what may be asked at once.
fn bounds(slice: Slice, span: Span, slices_max: i64) -> (i64, i64) {
    let to = us(span.to);
    (us(slice.of(span.from)).max(to.saturating_sub(slices_max * slice.seconds() * 1_000_000)), to)
}

fn key_text(key: Option<ApiKeyId>) -> String {
    key.map(|key| key.to_string()).unwrap_or_default()
}

/// See [`kallglot_storage::UsageRepository::usage`].
pub async fn over<S: Sql>(
    db: &S,
    tenant: Tenant,
    key: Option<ApiKeyId>,
    slice: Slice,
    span: Span,
) -> Result<Vec<(Timestamp, Usage)>> {
    let sql =
        format!("SELECT organization_id, at_us, routes FROM {} WHERE {IN_SPAN} ORDER BY at_us, node_id", table(slice));
    let (from, to) = bounds(slice, span, USAGE_SLICES_MAX);
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let rows = db
        .every(&sql, params![organization, environment, key_text(key), from, to], |row| {
            Ok((Columns::of(row, table(slice), "organization_id")?.time("at_us")?, usage_of(row)?))
        })
        .await?;
    let mut slices: Vec<(Timestamp, Usage)> = Vec::new();
    for (at, usage) in rows {
        match slices.last_mut() {
            Some((last, here)) if *last == at => here.merge(&usage),
            _ => slices.push((at, usage)),
        }
    }
    Ok(slices)
}

const SUMS: &str = "CAST(sum(requests) AS BIGINT) AS requests, CAST(sum(errors) AS BIGINT) AS errors, \
    CAST(sum(failures) AS BIGINT) AS failures, CAST(sum(rate_limited) AS BIGINT) AS rate_limited, \
    max(pressure_permille) AS pressure_permille";

fn totals_of(columns: &Columns<'_>) -> Result<Totals> {
    Ok(Totals {
        requests: columns.count("requests")?,
        errors: columns.count("errors")?,
        failures: columns.count("failures")?,
        rate_limited: columns.count("rate_limited")?,
        pressure_permille: columns.get("pressure_permille")?,
    })
}

/// See [`kallglot_storage::UsageRepository::usage_totals`].
pub async fn totals<S: Sql>(
    db: &S,
    tenant: Tenant,
    key: Option<ApiKeyId>,
    slice: Slice,
    span: Span,
) -> Result<Vec<(Timestamp, Totals)>> {
    let sql = format!(
        "SELECT min(organization_id) AS organization_id, at_us, {SUMS} FROM {} WHERE {IN_SPAN} GROUP BY at_us ORDER BY at_us",
        table(slice)
    );
    let (from, to) = bounds(slice, span, HOURS_KEPT_DAYS * 24);
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.every(&sql, params![organization, environment, key_text(key), from, to], |row| {
        let columns = Columns::of(row, table(slice), "organization_id")?;
        Ok((columns.time("at_us")?, totals_of(&columns)?))
    })
    .await
}

/// See [`kallglot_storage::UsageRepository::usage_by_key`].
pub async fn by_key<S: Sql>(
    db: &S,
    tenant: Tenant,
    slice: Slice,
    span: Span,
    limit: u32,
) -> Result<Vec<(ApiKeyId, Totals)>> {
    let sql = format!(
        "SELECT key_id, {SUMS} FROM {} WHERE organization_id = ?1 AND environment = ?2 AND key_id > '' AND at_us >= ?3 \
         AND at_us < ?4 GROUP BY key_id ORDER BY sum(requests) DESC, key_id LIMIT ?5",
        table(slice)
    );
    let (from, to) = bounds(slice, span, HOURS_KEPT_DAYS * 24);
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.every(&sql, params![organization, environment, from, to, limit.min(USAGE_KEYS_MAX)], |row| {
        let columns = Columns::of(row, table(slice), "key_id")?;
        Ok((columns.parsed("key_id")?, totals_of(&columns)?))
    })
    .await
}

/// See [`kallglot_storage::UsageRepository::session_spans`].
pub async fn session_spans<S: Sql>(db: &S, tenant: Tenant, span: Span, limit: u32) -> Result<Vec<SessionSpan>> {
    let limit = limit.min(SESSION_SPANS_MAX);
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let (from, to) = (us(span.from), us(span.to));
    let read = |row: &dyn Row| {
        let columns = Columns::of(row, "sessions", "id")?;
        Ok(SessionSpan { created_at: columns.time("created_at_us")?, ended_at: columns.time_if_any("ended_at_us")? })
    };
    let open = format!(
        "SELECT id, created_at_us, ended_at_us FROM {} WHERE status <> 'ended' AND organization_id = ?1 \
         AND environment = ?2 AND created_at_us < ?3 LIMIT ?4",
        S::DIALECT.open_sessions
    );
    let mut spans = db.every(&open, params![organization, environment, to, limit], read).await?;
    let left = limit.saturating_sub(u32::try_from(spans.len()).unwrap_or(u32::MAX));
    let ended = "SELECT id, created_at_us, ended_at_us FROM sessions WHERE status = 'ended' AND organization_id = ?1 \
        AND environment = ?2 AND ended_at_us > ?3 AND created_at_us < ?4 ORDER BY ended_at_us DESC LIMIT ?5";
    spans.extend(db.every(ended, params![organization, environment, from, to, left], read).await?);
    Ok(spans)
}

fn number(row: &dyn Row, column: usize) -> Result<i64> {
    let cause = || StorageError::Internal { cause: "a number is none".into() };
    i64::from_value(row.value_at(column)?).ok_or_else(cause)
}

/// The first entry of an organization's ledger that can be of this time or later. The ledger has no index by time, which each spend would
/// have to pay for; its entries are in the order of time but for [`CLOCKS_DIFFER_US`], so halving finds the place.
async fn ledger_place<S: Sql>(db: &S, organization: &str, from_us: i64) -> Result<i64> {
    let from_us = from_us.saturating_sub(CLOCKS_DIFFER_US);
    let ends = "SELECT (SELECT coalesce(min(sequence), 0) FROM credit_ledger WHERE organization_id = ?1), \
        (SELECT coalesce(max(sequence), 0) FROM credit_ledger WHERE organization_id = ?1)";
    let ends = db.first(ends, params![organization], |row| Ok((number(row, 0)?, number(row, 1)?))).await?;
    let Some((mut low, mut high)) = ends else { return Ok(0) };
    let at = "SELECT sequence, at_us FROM credit_ledger WHERE organization_id = ?1 AND sequence >= ?2 \
        ORDER BY sequence LIMIT 1";
    while low < high {
        let middle = low + (high - low) / 2;
        match db.first(at, params![organization, middle], |row| Ok((number(row, 0)?, number(row, 1)?))).await? {
            Some((sequence, at_us)) if at_us < from_us => low = sequence + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// See [`kallglot_storage::UsageRepository::credit_flows`].
pub async fn credit_flows<S: Sql>(
    db: &S,
    organization: OrganizationId,
    span: Span,
    slice_s: u32,
) -> Result<Vec<CreditFlow>> {
    let organization = organization.to_string();
    let (from, to, slice_us) = (us(span.from), us(span.to), i64::from(slice_s.max(1)) * 1_000_000);
    let place = ledger_place(db, &organization, from).await?;
    let sql = "SELECT at_us / ?5 AS slice, kind, CAST(sum(amount) AS BIGINT) AS amount FROM credit_ledger \
        WHERE organization_id = ?1 AND sequence >= ?2 AND at_us >= ?3 AND at_us < ?4 GROUP BY 1, 2 ORDER BY 1";
    let rows = db
        .every(sql, params![organization, place, from, to, slice_us], |row| {
            let columns = Columns::of(row, "credit_ledger", "kind")?;
            let slice: i64 = columns.get("slice")?;
            let at =
                Timestamp::from_microsecond(slice.saturating_mul(slice_us)).map_err(|_| columns.corrupt("at_us"))?;
            Ok((at, columns.named("kind", LedgerKind::parse)?, columns.get::<i64>("amount")?))
        })
        .await?;
    let mut flows: Vec<CreditFlow> = Vec::new();
    for (at, kind, amount) in rows {
        if flows.last().is_none_or(|flow| flow.at != at) {
            flows.push(CreditFlow { at, spent: 0, granted: 0, expired: 0 });
        }
        let Some(flow) = flows.last_mut() else { continue };
        match kind {
            LedgerKind::Grant => flow.granted += amount,
            LedgerKind::Spend | LedgerKind::Refund => flow.spent -= amount,
            LedgerKind::Expiry => flow.expired -= amount,
        }
    }
    Ok(flows)
}

/// Deletes what has had its time at `now`, at most `limit` rows of a table.
pub(crate) async fn forget<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<u64> {
    let mut forgotten = 0;
    for (slice, kept_us) in [(Slice::Minute, MINUTES_KEPT_US), (Slice::Hour, HOURS_KEPT_US)] {
        let key = "(organization_id, environment, key_id, at_us, node_id)";
        let sql = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT organization_id, environment, key_id, at_us, node_id FROM {table} \
             WHERE at_us < ?1 ORDER BY at_us LIMIT ?2)",
            table = table(slice)
        );
        forgotten += db.change(&sql, params![us(now).saturating_sub(kept_us), limit]).await?;
    }
    let sql = "DELETE FROM request_batches WHERE at_us < ?1";
    forgotten += db.change(sql, params![us(now).saturating_sub(BATCHES_KEPT_US)]).await?;
    Ok(forgotten)
}
