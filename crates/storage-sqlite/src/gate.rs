//! What caches of keys and organizations must hear of. The rows are written by triggers, which say what is one (migration 0003).

use kallglot_core::session::EndReason;
use kallglot_storage::{GateChange, GateChanges, StorageError};
use rusqlite::{Connection, params};

use crate::failure::storage_error;
use crate::query::{change, every, first};
use crate::row::Columns;

type Result<T> = std::result::Result<T, StorageError>;

/// Most changes that one call answers with.
const CHANGES_MAX: i64 = 1000;

/// Asks for the streams of this key's sessions to be closed.
pub(crate) fn close_streams(connection: &Connection, key: &str) -> Result<()> {
    change(connection, "INSERT INTO gate_changes (kind, id) VALUES ('close_streams', ?1)", [key])?;
    Ok(())
}

/// Asks the node that a session lives on to end it.
pub(crate) fn ask_to_end_session(connection: &Connection, session: &str, reason: &str) -> Result<()> {
    let sql = "INSERT INTO gate_changes (kind, id, detail) VALUES ('end_session', ?1, ?2)";
    change(connection, sql, [session, reason])?;
    Ok(())
}

/// See [`kallglot_storage::KeyRepository::gate_changes_since`].
pub(crate) fn changes_since(connection: &Connection, marker: Option<i64>) -> Result<GateChanges> {
    // Both questions to the same state of the database.
    let snapshot = connection.unchecked_transaction().map_err(storage_error)?;
    // Two queries in one, since each alone is one step and both in one would go through the whole table.
    let bounds = "SELECT (SELECT min(sequence) FROM gate_changes), (SELECT max(sequence) FROM gate_changes)";
    let (first_kept, last) = first(&snapshot, bounds, (), |row| {
        let numbers = || Ok((row.get::<_, Option<i64>>(0)?.unwrap_or(1), row.get::<_, Option<i64>>(1)?.unwrap_or(0)));
        numbers().map_err(storage_error)
    })?
    .unwrap_or((1, 0));
    let Some(marker) = marker else { return Ok(GateChanges { changes: Vec::new(), marker: last, lost: false }) };
    // A marker beyond the end is from before the database was put back to an older state.
    let lost = marker > last || marker < first_kept - 1;
    let marker = marker.min(last);
    let sql = "SELECT sequence, kind, id, detail FROM gate_changes WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let found = every(&snapshot, sql, params![marker, CHANGES_MAX], |row| {
        let columns = Columns::of(row, "gate_changes", "id")?;
        let change = match columns.get::<String>("kind")?.as_str() {
            "key" => GateChange::Key(columns.parsed("id")?),
            "organization" => GateChange::Organization(columns.parsed("id")?),
            "close_streams" => GateChange::CloseStreams(columns.parsed("id")?),
            "end_session" => GateChange::EndSession(columns.parsed("id")?, columns.named("detail", EndReason::parse)?),
            _ => return Err(columns.corrupt("kind")),
        };
        Ok((columns.get::<i64>("sequence")?, change))
    })?;
    let marker = found.last().map_or(marker, |(sequence, _)| *sequence);
    Ok(GateChanges { changes: found.into_iter().map(|(_, change)| change).collect(), marker, lost })
}
