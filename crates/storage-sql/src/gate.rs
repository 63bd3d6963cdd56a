//! What caches of keys and organizations must hear of. The rows are written by triggers, which say what is one.
//!
//! A marker is the last place up to which everything has been told: nothing can appear there any more. Where transactions commit in
//! another order than they began in, a place is a transaction, so what commits late has a place of its own; what lies beyond the
//! oldest transaction that is under way is told again until that one is over.

use kallglot_storage::{GateChange, GateChanges};

use crate::row::Columns;
use crate::sql::{Row, Sql};
use crate::{Result, params};

/// Most changes that one call answers with.
const CHANGES_MAX: usize = 1000;

/// Asks for the streams of this key's sessions to be closed.
pub(crate) async fn close_streams<S: Sql>(db: &S, key: &str) -> Result<()> {
    db.execute("INSERT INTO gate_changes (kind, id) VALUES ('close_streams', ?1)", params![key]).await
}

/// Asks the node that a session lives on to end it.
pub(crate) async fn ask_to_end_session<S: Sql>(db: &S, session: &str, reason: &str) -> Result<()> {
    db.execute("INSERT INTO gate_changes (kind, id, detail) VALUES ('end_session', ?1, ?2)", params![session, reason])
        .await
}

/// Asks the node that a session lives on to pause its recording or to let it go on.
pub(crate) async fn ask_to_record<S: Sql>(db: &S, session: &str, mode: &str) -> Result<()> {
    db.execute("INSERT INTO gate_changes (kind, id, detail) VALUES ('record', ?1, ?2)", params![session, mode]).await
}

/// One row of the answer: how far the feed goes, and a change if there is one.
struct Told {
    forgotten: i64,
    horizon: i64,
    /// Its place, and what it is: none for a kind that only a newer program knows.
    change: Option<(i64, Option<GateChange>)>,
}

fn read(row: &dyn Row) -> Result<Told> {
    let columns = Columns::of(row, "gate_changes", "marker")?;
    let place: Option<i64> = columns.get("place")?;
    let change = match place {
        None => None,
        Some(place) => {
            let (kind, id): (String, String) = (columns.get("kind")?, columns.get("id")?);
            let detail: Option<String> = columns.get("detail")?;
            let text = format!("{kind} {id} {}", detail.unwrap_or_default());
            Some((place, GateChange::parse(text.trim_end())))
        }
    };
    Ok(Told { forgotten: columns.get("forgotten")?, horizon: columns.get("horizon")?, change })
}

/// The changes after `marker`, in one question to one state of the database; one more than fit.
async fn told<S: Sql>(db: &S, marker: i64, order: &str) -> Result<Vec<Told>> {
    // A row of bounds, with each change beside it, or with nothing.
    let sql = format!(
        "SELECT CAST(?1 AS TEXT) AS marker, bounds.forgotten, bounds.horizon, found.place, found.kind, found.id, found.detail \
         FROM ({}) AS bounds LEFT JOIN (SELECT place, sequence, kind, id, detail FROM ({}) AS places \
         WHERE place > ?2 ORDER BY place {order}, sequence {order} LIMIT ?3) AS found ON true \
         ORDER BY found.place {order}, found.sequence {order}",
        S::DIALECT.gate_bounds,
        S::DIALECT.gate_places
    );
    db.every(&sql, params![marker.to_string(), marker, CHANGES_MAX as i64 + 1], read).await
}

/// See [`kallglot_storage::KeyRepository::gate_changes_since`].
pub async fn changes_since<S: Sql>(db: &S, marker: Option<i64>) -> Result<GateChanges> {
    let found = told(db, marker.unwrap_or(i64::MAX), "ASC").await?;
    let Some(Told { forgotten, horizon, .. }) = found.first() else { return Ok(nothing(marker.unwrap_or(0))) };
    let (forgotten, horizon) = (*forgotten, *horizon);
    let Some(marker) = marker else { return Ok(nothing(horizon)) };
    // A marker beyond the horizon is from before the database was put back to an older state.
    let lost = marker > horizon || marker < forgotten;
    let mut changes: Vec<(i64, Option<GateChange>)> = found.into_iter().filter_map(|told| told.change).collect();
    if changes.len() <= CHANGES_MAX {
        return Ok(answer(changes, horizon, lost));
    }
    // Up to before the place that did not fit; what of that place did fit is told again.
    let next = changes.pop().map_or(horizon, |(place, _)| place - 1).min(horizon);
    if next > marker {
        return Ok(answer(changes, next, lost));
    }
    // More than fits, in a place that can't be divided. So the newest are told, and that there was more: each has been among the
    // newest of some answer, unless a single transaction made so many.
    let mut newest: Vec<(i64, Option<GateChange>)> =
        told(db, marker, "DESC").await?.into_iter().filter_map(|told| told.change).take(CHANGES_MAX).collect();
    newest.reverse();
    let next = if horizon > marker { marker + 1 } else { marker };
    Ok(answer(newest, next, true))
}

/// A change that this program does not know is as one that was missed: a newer one may run on the same database.
fn answer(changes: Vec<(i64, Option<GateChange>)>, marker: i64, lost: bool) -> GateChanges {
    let lost = lost || changes.iter().any(|(_, change)| change.is_none());
    GateChanges { changes: changes.into_iter().filter_map(|(_, change)| change).collect(), marker, lost }
}

fn nothing(marker: i64) -> GateChanges {
    GateChanges { changes: Vec::new(), marker, lost: false }
}
