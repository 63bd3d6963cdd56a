//! The request log, the outbox of events, and forgetting, in their tables.

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::event::{Event, EventType};
use kallglot_core::request_record::KEPT_DAYS;
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::json::{pairs_from_json, pairs_to_json};
use kallglot_storage::{LogRepository, REQUEST_BLOCK_S_MAX, RequestBlock, StorageError};
use rusqlite::{Connection, params};

use crate::SqliteStorage;
use crate::failure::storage_error;
use crate::idempotency::KEPT_US as ANSWERS_KEPT_US;
use crate::query::{change, every, first};
use crate::row::{Columns, us};

type Result<T> = std::result::Result<T, StorageError>;

const APPEND_EVENT: &str = "INSERT INTO outbox (id, organization_id, environment, type, object, detail, at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// How long request blocks and events are kept, in microseconds.
const LOG_KEPT_US: i64 = KEPT_DAYS * 24 * 60 * 60 * 1_000_000;
/// How long gate changes are kept, in microseconds: servers ask for them several times a second.
const GATE_CHANGES_KEPT_US: i64 = 60 * 60 * 1_000_000;

/// Most requests blocks that one call answers with.
const BLOCKS_MAX: u32 = 100;
/// Most events that one call answers with.
const EVENTS_MAX: u32 = 1000;

/// An event with its texts written out.
pub(crate) struct EventRow {
    id: String,
    organization: String,
    environment: &'static str,
    event_type: &'static str,
    object: String,
    detail: String,
    at_us: i64,
}

impl EventRow {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            organization: event.organization.to_string(),
            environment: event.environment.as_str(),
            event_type: event.event_type.as_str(),
            object: event.object.clone(),
            detail: pairs_to_json(&event.detail),
            at_us: us(event.at),
        }
    }

    /// Raises it.
    pub(crate) fn raise(&self, connection: &Connection) -> Result<()> {
        let Self { id, organization, environment, event_type, object, detail, at_us } = self;
        change(connection, APPEND_EVENT, params![id, organization, environment, event_type, object, detail, at_us])?;
        Ok(())
    }
}

/// Raises an event.
pub(crate) fn raise_event(connection: &Connection, event: &Event) -> Result<()> {
    EventRow::of(event).raise(connection)
}

fn insert_block(connection: &Connection, block: &RequestBlock) -> Result<()> {
    change(
        connection,
        "INSERT INTO request_blocks (organization_id, environment, first_at_us, last_at_us, packed) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            block.tenant.organization.to_string(),
            block.tenant.environment.as_str(),
            us(block.first_at),
            us(block.last_at),
            block.packed,
        ],
    )?;
    Ok(())
}

fn blocks(
    connection: &Connection,
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
            let last_at = first(connection, sql, [place], |row| row.get(0).map_err(storage_error))?;
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
    let limit = limit.min(BLOCKS_MAX);
    let params = params![organization, environment, us(from), us(to), last_to.min(last_at), last_at, place, limit];
    every(connection, sql, params, |row| {
        let columns = Columns::of(row, "request_blocks", "id")?;
        let block = RequestBlock {
            tenant,
            first_at: columns.time("first_at_us")?,
            last_at: columns.time("last_at_us")?,
            packed: columns.get("packed")?,
        };
        Ok((columns.get("sequence")?, block))
    })
}

fn events(connection: &Connection, after: i64, limit: u32) -> Result<Vec<(i64, Event)>> {
    let sql = "SELECT sequence, id, organization_id, environment, type, object, detail, at_us FROM outbox \
        WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    every(connection, sql, params![after, limit.min(EVENTS_MAX)], |row| {
        let columns = Columns::of(row, "outbox", "id")?;
        let event = Event {
            id: columns.parsed("id")?,
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
            event_type: columns.named("type", EventType::parse)?,
            object: columns.get("object")?,
            detail: columns.named("detail", |text| pairs_from_json(text).ok())?,
            at: columns.time("at_us")?,
        };
        Ok((columns.get("sequence")?, event))
    })
}

/// A table whose rows lie in the order of time and are forgotten from its beginning.
struct Forgotten {
    select: &'static str,
    delete: &'static str,
    kept_us: i64,
}

const FORGOTTEN: [Forgotten; 4] = [
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
    Forgotten {
        // The last one stays here too.
        select: "SELECT sequence, at_us FROM outbox WHERE sequence < (SELECT max(sequence) FROM outbox) \
            ORDER BY sequence LIMIT ?1",
        delete: "DELETE FROM outbox WHERE sequence <= ?1",
        kept_us: LOG_KEPT_US,
    },
];

/// Deletes the rows at the beginning of a table whose time is over, at most `limit`. A row that is older than one before it (the
/// clock was set back) waits for that one.
fn forget(connection: &Connection, table: &Forgotten, now: Timestamp, limit: u32) -> Result<usize> {
    let rows = every(connection, table.select, [limit], |row| {
        let row = || Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        row().map_err(storage_error)
    })?;
    let over = rows.iter().take_while(|(_, at)| us(now).saturating_sub(*at) >= table.kept_us);
    match over.last() {
        Some((last, _)) => change(connection, table.delete, [last]),
        None => Ok(0),
    }
}

#[async_trait]
impl LogRepository for SqliteStorage {
    async fn append_request_blocks(&self, blocks: &[RequestBlock]) -> Result<()> {
        let blocks = blocks.to_vec();
        self.write(move |connection| blocks.iter().try_for_each(|block| insert_block(connection, block))).await
    }

    async fn request_blocks(
        &self,
        tenant: Tenant,
        from: Timestamp,
        to: Timestamp,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, RequestBlock)>> {
        self.read(move |connection| blocks(connection, tenant, from, to, before, limit)).await
    }

    async fn events(&self, after: i64, limit: u32) -> Result<Vec<(i64, Event)>> {
        self.read(move |connection| events(connection, after, limit)).await
    }

    async fn forget(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |connection| {
            let mut forgotten = 0;
            for table in &FORGOTTEN {
                forgotten += forget(connection, table, now, limit)? as u64;
            }
            Ok(forgotten)
        })
        .await
    }
}
