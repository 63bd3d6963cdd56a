//! The request log, the outbox of events, and forgetting, in their tables.

use kallglot_core::Timestamp;
use kallglot_core::event::{Event, EventType};
use kallglot_core::request_record::KEPT_DAYS;
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::json::{detail_from_json, detail_to_json};
use kallglot_storage::{REQUEST_BLOCK_S_MAX, RequestBlock};

use crate::idempotency::KEPT_US as ANSWERS_KEPT_US;
use crate::row::{Columns, us};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, alert, delivery, factors, params, people, usage};

const APPEND_EVENT: &str = "INSERT INTO outbox (id, organization_id, environment, type, object, detail, at_us, session_id, session_sequence) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
/// At the next place among its session's events, which has been counted just before.
const APPEND_NEXT_EVENT: &str = "INSERT INTO outbox (id, organization_id, environment, type, object, detail, at_us, session_id, session_sequence) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (SELECT events FROM sessions WHERE id = ?8))";

/// How long request blocks and events are kept, in microseconds.
const LOG_KEPT_US: i64 = KEPT_DAYS * 24 * 60 * 60 * 1_000_000;
/// How long gate changes are kept, in microseconds: servers ask for them several times a second.
const GATE_CHANGES_KEPT_US: i64 = 60 * 60 * 1_000_000;

/// Most requests blocks that one call answers with.
const BLOCKS_MAX: u32 = 100;
/// Most events that one call answers with.
pub(crate) const EVENTS_MAX: u32 = 1000;

/// An event with its texts written out.
pub(crate) struct EventRow {
    id: String,
    organization: String,
    environment: &'static str,
    event_type: &'static str,
    object: String,
    detail: String,
    at_us: i64,
    session: Option<String>,
}

impl EventRow {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            organization: event.organization.to_string(),
            environment: event.environment.as_str(),
            event_type: event.event_type.as_str(),
            object: event.object.clone(),
            detail: detail_to_json(&event.detail),
            at_us: us(event.at),
            session: event.session.map(|session| session.to_string()),
        }
    }

    /// Raises it. Never the first thing that a transaction writes: see [`crate::Dialect::outbox_settled`].
    pub(crate) async fn raise<S: Sql>(&self, db: &S) -> Result<()> {
        let Self { id, organization, environment, event_type, object, detail, at_us, session } = self;
        let sql = match session {
            Some(session) => {
                db.execute("UPDATE sessions SET events = events + 1 WHERE id = ?1", params![session]).await?;
                APPEND_NEXT_EVENT
            }
            None => return self.raise_at(db, None).await,
        };
        db.execute(sql, params![id, organization, environment, event_type, object, detail, at_us, session]).await
    }

    /// Raises the first event of a session, which is being made with one event.
    pub(crate) async fn raise_first<S: Sql>(&self, db: &S) -> Result<()> {
        self.raise_at(db, Some(1)).await
    }

    async fn raise_at<S: Sql>(&self, db: &S, place: Option<u32>) -> Result<()> {
        let Self { id, organization, environment, event_type, object, detail, at_us, session } = self;
        let params = params![id, organization, environment, event_type, object, detail, at_us, session, place];
        db.execute(APPEND_EVENT, params).await
    }
}

/// Raises an event, as [`EventRow::raise`].
pub(crate) async fn raise_event<S: Sql>(db: &S, event: &Event) -> Result<()> {
    EventRow::of(event).raise(db).await
}

/// Appends blocks: a part of [`crate::usage::append`].
pub(crate) async fn append_blocks<S: Sql>(db: &S, blocks: &[RequestBlock]) -> Result<()> {
    for block in blocks {
        db.execute(
            "INSERT INTO request_blocks (organization_id, environment, first_at_us, last_at_us, packed) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                block.tenant.organization.to_string(),
                block.tenant.environment.as_str(),
                us(block.first_at),
                us(block.last_at),
                block.packed,
            ],
        )
        .await?;
    }
    Ok(())
}

fn number(row: &dyn Row, column: usize) -> Result<i64> {
    let cause = || kallglot_storage::StorageError::Internal { cause: "a number is none".into() };
    i64::from_value(row.value_at(column)?).ok_or_else(cause)
}

/// See [`kallglot_storage::LogRepository::request_blocks`].
pub async fn blocks<S: Sql>(
    db: &S,
    tenant: Tenant,
    from: Timestamp,
    to: Timestamp,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<(i64, RequestBlock)>> {
    let (place, last_at) = match before {
        None => (i64::MAX, i64::MAX),
        Some(place) => {
            let sql = "SELECT last_at_us FROM request_blocks WHERE sequence = ?1";
            let last_at = db.first(sql, params![place], |row| number(row, 0)).await?;
            // What came after it in this order is older, so it has been forgotten too.
            let Some(last_at) = last_at else { return Ok(Vec::new()) };
            (place, last_at)
        }
    };
    // A block is no longer than this, so the search has an end on both sides.
    let last_to = us(to).saturating_add(REQUEST_BLOCK_S_MAX * 1_000_000);
    let sql = "SELECT sequence, organization_id AS id, first_at_us, last_at_us, packed FROM request_blocks \
        WHERE organization_id = ?1 AND environment = ?2 AND last_at_us BETWEEN ?3 AND ?5 AND first_at_us <= ?4 \
        AND (last_at_us, sequence) < (?6, ?7) ORDER BY last_at_us DESC, sequence DESC LIMIT ?8";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let (from, to, last_to, limit) = (us(from), us(to), last_to.min(last_at), limit.min(BLOCKS_MAX));
    let params = params![organization, environment, from, to, last_to, last_at, place, limit];
    db.every(sql, params, |row| {
        let columns = Columns::of(row, "request_blocks", "id")?;
        let block = RequestBlock {
            tenant,
            first_at: columns.time("first_at_us")?,
            last_at: columns.time("last_at_us")?,
            packed: columns.get("packed")?,
        };
        Ok((columns.get("sequence")?, block))
    })
    .await
}

/// See [`kallglot_storage::LogRepository::events`].
pub async fn events<S: Sql>(db: &S, after: i64, limit: u32) -> Result<Vec<(i64, Event)>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM outbox WHERE sequence > ?1 AND {} ORDER BY sequence LIMIT ?2",
        S::DIALECT.outbox_settled
    );
    db.every(&sql, params![after, limit.min(EVENTS_MAX)], read_event).await
}

/// The columns that [`read_event`] reads.
pub(crate) const EVENT_COLUMNS: &str = "sequence, id, organization_id, environment, type, object, detail, at_us, session_id, \
    session_sequence";

/// An event and its place.
pub(crate) fn read_event(row: &dyn Row) -> Result<(i64, Event)> {
    let columns = Columns::of(row, "outbox", "id")?;
    let event = Event {
        id: columns.parsed("id")?,
        organization: columns.parsed("organization_id")?,
        environment: columns.named("environment", Environment::parse)?,
        event_type: columns.named("type", EventType::parse)?,
        object: columns.get("object")?,
        session: columns.parsed_if_any("session_id")?,
        session_sequence: columns.get("session_sequence")?,
        detail: columns.named("detail", |text| detail_from_json(text).ok())?,
        at: columns.time("at_us")?,
    };
    Ok((columns.get("sequence")?, event))
}

/// A table whose rows lie in the order of time and are forgotten from its beginning.
struct Forgotten {
    select: &'static str,
    delete: &'static str,
    kept_us: i64,
}

const FORGOTTEN: [Forgotten; 3] = [
    Forgotten {
        select: "SELECT sequence, at_us FROM idempotency_answers ORDER BY sequence LIMIT ?1",
        delete: "DELETE FROM idempotency_answers WHERE sequence <= ?1",
        kept_us: ANSWERS_KEPT_US,
    },
    Forgotten {
        // The last one stays, so that its number is not used again.
        select: "SELECT sequence, at_us FROM gate_changes WHERE sequence < (SELECT max(sequence) FROM gate_changes) \
            ORDER BY sequence LIMIT ?1",
        delete: "DELETE FROM gate_changes WHERE sequence <= ?1",
        kept_us: GATE_CHANGES_KEPT_US,
    },
    Forgotten {
        select: "SELECT sequence, last_at_us FROM request_blocks ORDER BY sequence LIMIT ?1",
        delete: "DELETE FROM request_blocks WHERE sequence <= ?1",
        kept_us: LOG_KEPT_US,
    },
];

const FORGOTTEN_EVENTS: Forgotten = Forgotten {
    // The last one stays here too.
    select: "SELECT sequence, at_us FROM outbox WHERE sequence < (SELECT max(sequence) FROM outbox) \
        ORDER BY sequence LIMIT ?1",
    delete: "DELETE FROM outbox WHERE sequence <= ?1",
    kept_us: LOG_KEPT_US,
};

/// Deletes the rows at the beginning of a table whose time is over, at most `limit`. A row that is older than one before it (the
/// clock was set back) waits for that one.
async fn forget_from<S: Sql>(db: &S, table: &Forgotten, now: Timestamp, limit: u32) -> Result<u64> {
    let rows = db.every(table.select, params![limit], |row| Ok((number(row, 0)?, number(row, 1)?))).await?;
    let over = rows.iter().take_while(|(_, at)| us(now).saturating_sub(*at) >= table.kept_us);
    match over.last() {
        Some((last, _)) => db.change(table.delete, params![last]).await,
        None => Ok(0),
    }
}

/// See [`kallglot_storage::LogRepository::forget`].
pub async fn forget<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<u64> {
    let (mut forgotten, all) = delivery::forget(db, now, limit).await?;
    forgotten += people::forget(db, now, limit).await?;
    forgotten += usage::forget(db, now, limit).await?;
    forgotten += factors::forget(db, now, limit).await?;
    forgotten += alert::forget(db, now, limit).await?;
    for table in &FORGOTTEN {
        forgotten += forget_from(db, table, now, limit).await?;
    }
    // An event lasts as long as its deliveries.
    if all {
        forgotten += forget_from(db, &FORGOTTEN_EVENTS, now, limit).await?;
    }
    Ok(forgotten)
}
