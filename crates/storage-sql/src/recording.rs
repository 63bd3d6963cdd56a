//! Recordings in their tables.
//!
//! Whatever changes what belongs to a session's recordings locks the session first, so that a track is either needed by a recording or
//! among the objects to delete.

use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::event::EventType;
use kallglot_core::id::{NodeId, RecordingId, SessionId};
use kallglot_core::recording::{self, Channel, Recording, RecordingMode, RecordingStatus, Removed, Track};
use kallglot_core::session::{Environment, Session, Tenant};
use kallglot_storage::changes::Changes;
use kallglot_storage::{MadeRecordings, Page, PageRequest, RecordingPart, RecordingWork, StoredTrack};

use crate::audit::{self, Subject};
use crate::log::raise_event;
use crate::node::span_us;
use crate::query::page;
use crate::row::{Columns, count, us};
use crate::sql::{Row, Sql};
use crate::{Result, gate, params, session};

const SELECT: &str = "SELECT id, organization_id, environment, session_id, channel, status, error, duration_ms, dropped_ms, \
    incomplete, created_at_us, expires_at_us, removed FROM recordings";

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2 AND removed IS NULL";

const US_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

fn tenant(columns: &Columns<'_>) -> Result<Tenant> {
    Ok(Tenant {
        organization: columns.parsed("organization_id")?,
        environment: columns.named("environment", Environment::parse)?,
    })
}

fn read(row: &dyn Row) -> Result<Recording> {
    let columns = Columns::of(row, "recordings", "id")?;
    let duration_ms: Option<i64> = columns.get("duration_ms")?;
    let removed: Option<String> = columns.get("removed")?;
    let number = |ms: i64| u64::try_from(ms).map_err(|_| columns.corrupt("duration_ms"));
    Ok(Recording {
        id: columns.parsed("id")?,
        tenant: tenant(&columns)?,
        session: columns.parsed("session_id")?,
        channel: columns.named("channel", Channel::parse)?,
        status: columns.named("status", RecordingStatus::parse)?,
        error: columns.get("error")?,
        duration_ms: duration_ms.map(number).transpose()?,
        dropped_ms: columns.count("dropped_ms")?,
        incomplete: columns.get("incomplete")?,
        created_at: columns.time("created_at_us")?,
        expires_at: columns.time("expires_at_us")?,
        removed: removed.map(|text| Removed::parse(&text).ok_or_else(|| columns.corrupt("removed"))).transpose()?,
    })
}

/// What the session, which is locked, has recordings for from its end on.
pub(crate) async fn begin<S: Sql>(db: &S, session: &Session) -> Result<()> {
    let Some(ended_at) = session.state.ended_at() else { return Ok(()) };
    let id = session.id.to_string();
    let has_parts = db.first("SELECT 1 FROM recording_parts WHERE session_id = ?1", params![id], |_| Ok(())).await?;
    if session.recording == RecordingMode::Off || (session.state.started_at().is_none() && has_parts.is_none()) {
        return Ok(());
    }
    let organization = session.tenant.organization.to_string();
    let sql = "SELECT id, recordings_kept_days FROM organizations WHERE id = ?1";
    let days = |row: &dyn Row| Columns::of(row, "organizations", "id")?.get::<i64>("recordings_kept_days");
    let days = db.first(sql, params![organization], days).await?.unwrap_or(recording::KEPT_DAYS.into());
    let expires_at_us = us(ended_at).saturating_add(days.saturating_mul(US_PER_DAY));
    for channel in Channel::ALL {
        db.execute(
            "INSERT INTO recordings (id, organization_id, environment, session_id, channel, status, dropped_ms, incomplete, \
             created_at_us, expires_at_us) VALUES (?1, ?2, ?3, ?4, ?5, 'processing', 0, 0, ?6, ?7)",
            params![
                RecordingId::of(session.id, *channel).to_string(),
                organization,
                session.tenant.environment.as_str(),
                id,
                channel.as_str(),
                us(ended_at),
                expires_at_us,
            ],
        )
        .await?;
    }
    let sql = "INSERT INTO recording_work (session_id, ended_at_us, next_at_us, attempts) VALUES (?1, ?2, ?2, 0)";
    db.execute(sql, params![id, us(ended_at)]).await
}

/// See [`kallglot_storage::RecordingRepository::set_recording`].
pub async fn set_mode<S: Sql>(db: &S, tenant: Tenant, id: SessionId, mode: RecordingMode) -> Result<Option<Session>> {
    session::lock(db, &id.to_string()).await?;
    let Some(session) = session::by_id(db, tenant, id).await? else { return Ok(None) };
    if session.state.ended_at().is_some() || session.recording == RecordingMode::Off || mode == RecordingMode::Off {
        return Ok(Some(session));
    }
    let sql = "UPDATE sessions SET recording = ?2, recording_heard = NULL WHERE id = ?1";
    db.execute(sql, params![id.to_string(), mode.as_str()]).await?;
    gate::ask_to_record(db, &id.to_string(), mode.as_str()).await?;
    Ok(Some(Session { recording: mode, ..session }))
}

/// See [`kallglot_storage::RecordingRepository::recording_heard`].
pub async fn heard<S: Sql>(db: &S, id: SessionId, mode: RecordingMode) -> Result<()> {
    let sql = "UPDATE sessions SET recording_heard = ?2 WHERE id = ?1 AND recording = ?2";
    db.execute(sql, params![id.to_string(), mode.as_str()]).await
}

/// See [`kallglot_storage::RecordingRepository::recording_mode`].
pub async fn mode<S: Sql>(db: &S, tenant: Tenant, id: SessionId) -> Result<Option<(RecordingMode, bool)>> {
    let sql = "SELECT id, recording, recording_heard FROM sessions WHERE id = ?1 AND organization_id = ?2 AND environment = ?3";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(sql, params![id.to_string(), organization, environment], |row| {
        let columns = Columns::of(row, "sessions", "id")?;
        let mode = columns.named("recording", RecordingMode::parse)?;
        let heard: Option<String> = columns.get("recording_heard")?;
        Ok((mode, heard.as_deref() == Some(mode.as_str())))
    })
    .await
}

/// Whether parts of the session, which is locked, may still be needed: it has not ended, or its recordings are not made.
async fn needs_parts<S: Sql>(db: &S, session: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM sessions WHERE id = ?1 AND recording <> 'off' AND (status <> 'ended' \
        OR EXISTS (SELECT 1 FROM recording_work WHERE session_id = ?1))";
    Ok(db.first(sql, params![session], |_| Ok(())).await?.is_some())
}

async fn put_part<S: Sql>(db: &S, session: &str, name: &str, node: NodeId, dropped_ms: u64) -> Result<()> {
    db.execute(
        "INSERT INTO recording_parts (session_id, name, node_id, dropped_ms) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (session_id, name) DO UPDATE SET node_id = excluded.node_id, \
         dropped_ms = CASE WHEN excluded.dropped_ms > recording_parts.dropped_ms THEN excluded.dropped_ms \
         ELSE recording_parts.dropped_ms END WHERE recording_parts.object IS NULL",
        params![session, name, node.to_string(), count(dropped_ms)],
    )
    .await
}

/// See [`kallglot_storage::RecordingRepository::save_recording_part`].
pub async fn save_part<S: Sql>(db: &S, tenant: Tenant, id: SessionId, part: &RecordingPart) -> Result<()> {
    let session = id.to_string();
    session::lock(db, &session).await?;
    if session::by_id(db, tenant, id).await?.is_some() && needs_parts(db, &session).await? {
        put_part(db, &session, &part.name, part.node, part.dropped_ms).await?;
    }
    Ok(())
}

/// See [`kallglot_storage::RecordingRepository::adopt_recording_part`].
pub async fn adopt_part<S: Sql>(db: &S, id: SessionId, name: &str, node: NodeId) -> Result<bool> {
    let session = id.to_string();
    session::lock(db, &session).await?;
    if !needs_parts(db, &session).await? {
        return Ok(false);
    }
    put_part(db, &session, name, node, 0).await?;
    let sql = "SELECT 1 FROM recording_parts WHERE session_id = ?1 AND name = ?2 AND object IS NULL";
    Ok(db.first(sql, params![session, name], |_| Ok(())).await?.is_some())
}

/// See [`kallglot_storage::RecordingRepository::parts_to_store`].
pub async fn parts_to_store<S: Sql>(db: &S, node: NodeId, limit: u32) -> Result<Vec<(SessionId, String)>> {
    let sql = "SELECT own.session_id, own.name FROM recording_parts own \
        JOIN recording_work work ON work.session_id = own.session_id \
        WHERE own.node_id = ?1 AND own.object IS NULL AND EXISTS (SELECT 1 FROM recording_parts other \
        WHERE other.session_id = own.session_id AND other.node_id <> ?1) ORDER BY own.session_id, own.name LIMIT ?2";
    db.every(sql, params![node.to_string(), limit], |row| {
        let columns = Columns::of(row, "recording_parts", "name")?;
        Ok((columns.parsed("session_id")?, columns.get("name")?))
    })
    .await
}

/// See [`kallglot_storage::RecordingRepository::part_stored`].
pub async fn part_stored<S: Sql>(db: &S, id: SessionId, name: &str, object: &str) -> Result<bool> {
    let session = id.to_string();
    session::lock(db, &session).await?;
    let sql = "UPDATE recording_parts SET object = ?3 WHERE session_id = ?1 AND name = ?2";
    if needs_parts(db, &session).await? && db.change(sql, params![session, name, object]).await? > 0 {
        db.execute("DELETE FROM object_deletions WHERE object = ?1", params![object]).await?;
        return Ok(true);
    }
    db.execute(DELETE_OBJECT, params![object, 0]).await?;
    Ok(false)
}

/// A node that is there, for `{node}` and the span as parameter `{span}`.
fn is_there<S: Sql>(node: &str, span: &str) -> String {
    let now_us = S::DIALECT.now_us;
    format!("EXISTS (SELECT 1 FROM nodes WHERE nodes.id = {node} AND {now_us} - seen_at_us < {span})")
}

/// See [`kallglot_storage::RecordingRepository::recording_work`].
pub async fn work<S: Sql>(
    db: &S,
    node: NodeId,
    now: Timestamp,
    away_after: Duration,
    limit: u32,
) -> Result<Vec<RecordingWork>> {
    let there = is_there::<S>("claimed_by", "?3");
    let sql = format!(
        "SELECT session_id, organization_id, environment, recording_work.ended_at_us, attempts FROM recording_work \
         JOIN sessions ON sessions.id = session_id WHERE next_at_us <= ?1 \
         AND (claimed_by IS NULL OR claimed_by = ?2 OR NOT {there}) ORDER BY next_at_us, session_id LIMIT ?4"
    );
    let (node, span) = (node.to_string(), span_us(away_after));
    let mut found = db
        .every(&sql, params![us(now), node, span, limit], |row| {
            let columns = Columns::of(row, "recording_work", "session_id")?;
            Ok(RecordingWork {
                session: columns.parsed("session_id")?,
                tenant: tenant(&columns)?,
                ended_at: columns.time("ended_at_us")?,
                attempts: columns.get("attempts")?,
                parts: Vec::new(),
            })
        })
        .await?;
    let there = is_there::<S>("node_id", "?2");
    let sql = format!(
        "SELECT name, node_id, object, dropped_ms, CAST(CASE WHEN {there} THEN 1 ELSE 0 END AS BIGINT) AS there FROM recording_parts \
         WHERE session_id = ?1 ORDER BY name"
    );
    for work in &mut found {
        work.parts = db
            .every(&sql, params![work.session.to_string(), span], |row| {
                let columns = Columns::of(row, "recording_parts", "name")?;
                let part = RecordingPart {
                    name: columns.get("name")?,
                    node: columns.parsed("node_id")?,
                    object: columns.get("object")?,
                    dropped_ms: columns.count("dropped_ms")?,
                };
                Ok((part, columns.get("there")?))
            })
            .await?;
    }
    Ok(found)
}

/// See [`kallglot_storage::RecordingRepository::recording_work_count`].
pub async fn work_count<S: Sql>(db: &S) -> Result<u64> {
    let sql = "SELECT 'recording_work' AS name, count(*) AS pieces FROM recording_work";
    let count = |row: &dyn Row| Columns::of(row, "recording_work", "name")?.count("pieces");
    Ok(db.first(sql, params![], count).await?.unwrap_or(0))
}

/// See [`kallglot_storage::RecordingRepository::claim_recording_work`].
pub async fn claim<S: Sql>(db: &S, id: SessionId, node: NodeId, away_after: Duration) -> Result<bool> {
    let there = is_there::<S>("claimed_by", "?3");
    let sql = format!(
        "UPDATE recording_work SET claimed_by = ?2 WHERE session_id = ?1 \
         AND (claimed_by IS NULL OR claimed_by = ?2 OR NOT {there})"
    );
    Ok(db.change(&sql, params![id.to_string(), node.to_string(), span_us(away_after)]).await? > 0)
}

/// See [`kallglot_storage::RecordingRepository::postpone_recording_work`].
pub async fn postpone<S: Sql>(db: &S, id: SessionId, node: NodeId, next_at: Timestamp, failed: bool) -> Result<()> {
    db.execute(
        "UPDATE recording_work SET claimed_by = NULL, next_at_us = ?3, attempts = attempts + ?4 \
         WHERE session_id = ?1 AND (claimed_by IS NULL OR claimed_by = ?2)",
        params![id.to_string(), node.to_string(), us(next_at), failed],
    )
    .await
}

/// Closes the work of a session, which is locked, if it is claimed by this node. Stored parts are to be deleted then.
async fn close_work<S: Sql>(db: &S, session: &str, node: NodeId) -> Result<bool> {
    let sql = "DELETE FROM recording_work WHERE session_id = ?1 AND claimed_by = ?2";
    if db.change(sql, params![session, node.to_string()]).await? == 0 {
        return Ok(false);
    }
    drop_parts(db, session).await?;
    Ok(true)
}

async fn drop_parts<S: Sql>(db: &S, session: &str) -> Result<()> {
    db.execute(
        "INSERT INTO object_deletions (object, next_at_us) SELECT object, 0 FROM recording_parts \
         WHERE session_id = ?1 AND object IS NOT NULL ON CONFLICT (object) DO UPDATE SET next_at_us = 0",
        params![session],
    )
    .await?;
    db.execute("DELETE FROM recording_parts WHERE session_id = ?1", params![session]).await
}

const DELETE_OBJECT: &str = "INSERT INTO object_deletions (object, next_at_us) VALUES (?1, ?2) \
    ON CONFLICT (object) DO UPDATE SET next_at_us = excluded.next_at_us";

/// See [`kallglot_storage::RecordingRepository::reserve_objects`].
pub async fn reserve<S: Sql>(db: &S, objects: &[String], delete_at: Timestamp) -> Result<()> {
    for object in objects {
        db.execute(DELETE_OBJECT, params![object, us(delete_at)]).await?;
    }
    Ok(())
}

/// The session's recordings that are not removed.
async fn kept<S: Sql>(db: &S, session: &str) -> Result<Vec<Recording>> {
    let sql = format!("{SELECT} WHERE session_id = ?1 AND removed IS NULL ORDER BY id");
    db.every(&sql, params![session], read).await
}

/// Gives up the tracks that none of these recordings, all that the session still has, needs.
async fn drop_tracks<S: Sql>(db: &S, session: &str, kept: &[Recording]) -> Result<()> {
    for track in Track::ALL.iter().filter(|track| !kept.iter().any(|recording| recording.channel.needs(**track))) {
        let track = track.as_str();
        db.execute(
            "INSERT INTO object_deletions (object, next_at_us) SELECT object, 0 FROM recording_tracks \
             WHERE session_id = ?1 AND track = ?2 ON CONFLICT (object) DO UPDATE SET next_at_us = 0",
            params![session, track],
        )
        .await?;
        let sql = "DELETE FROM recording_tracks WHERE session_id = ?1 AND track = ?2";
        db.execute(sql, params![session, track]).await?;
    }
    if kept.is_empty() {
        db.execute("DELETE FROM recording_work WHERE session_id = ?1", params![session]).await?;
        drop_parts(db, session).await?;
    }
    Ok(())
}

async fn tell<S: Sql>(db: &S, event_type: EventType, recording: &Recording, at: Timestamp) -> Result<()> {
    raise_event(db, &recording::event(event_type, recording, at)).await
}

/// See [`kallglot_storage::RecordingRepository::finish_recordings`].
pub async fn finish<S: Sql>(db: &S, id: SessionId, node: NodeId, made: &MadeRecordings) -> Result<bool> {
    let session = id.to_string();
    session::lock(db, &session).await?;
    if !close_work(db, &session, node).await? {
        return Ok(false);
    }
    for StoredTrack { track, object, bytes } in &made.tracks {
        // It was reserved.
        db.execute("DELETE FROM object_deletions WHERE object = ?1", params![object]).await?;
        db.execute(
            "INSERT INTO recording_tracks (session_id, track, object, bytes) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (session_id, track) DO UPDATE SET object = excluded.object, bytes = excluded.bytes",
            params![session, track.as_str(), object, count(*bytes)],
        )
        .await?;
    }
    let kept = kept(db, &session).await?;
    drop_tracks(db, &session, &kept).await?;
    for recording in kept {
        let recording = Recording {
            status: RecordingStatus::Ready,
            duration_ms: Some(made.duration_ms),
            dropped_ms: made.dropped_ms,
            incomplete: made.incomplete,
            ..recording
        };
        db.execute(
            "UPDATE recordings SET status = 'ready', duration_ms = ?2, dropped_ms = ?3, incomplete = ?4 WHERE id = ?1",
            params![recording.id.to_string(), count(made.duration_ms), count(made.dropped_ms), made.incomplete],
        )
        .await?;
        tell(db, EventType::RecordingReady, &recording, made.at).await?;
    }
    Ok(true)
}

/// See [`kallglot_storage::RecordingRepository::fail_recordings`].
pub async fn fail<S: Sql>(db: &S, id: SessionId, node: NodeId, error: &str, at: Timestamp) -> Result<bool> {
    let session = id.to_string();
    session::lock(db, &session).await?;
    if !close_work(db, &session, node).await? {
        return Ok(false);
    }
    for recording in kept(db, &session).await? {
        let recording = Recording { status: RecordingStatus::Failed, error: Some(error.to_owned()), ..recording };
        let sql = "UPDATE recordings SET status = 'failed', error = ?2 WHERE id = ?1";
        db.execute(sql, params![recording.id.to_string(), error]).await?;
        tell(db, EventType::RecordingFailed, &recording, at).await?;
    }
    Ok(true)
}

/// See [`kallglot_storage::RecordingRepository::recording`].
pub async fn by_id<S: Sql>(db: &S, tenant: Tenant, id: RecordingId) -> Result<Option<Recording>> {
    let sql = format!("{SELECT} WHERE id = ?3 AND organization_id = ?1 AND environment = ?2");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, id.to_string()], read).await
}

/// See [`kallglot_storage::RecordingRepository::recordings`].
pub async fn of_tenant<S: Sql>(db: &S, tenant: Tenant, request: &PageRequest<RecordingId>) -> Result<Page<Recording>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    page(db, SELECT, OF_TENANT, params![organization, environment], request, read).await
}

/// See [`kallglot_storage::RecordingRepository::recordings_of`].
pub async fn of_session<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: SessionId,
    channel: Option<Channel>,
) -> Result<Vec<Recording>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND session_id = ?3");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let mut found = db.every(&sql, params![organization, environment, id.to_string()], read).await?;
    found.retain(|recording| channel.is_none_or(|channel| recording.channel == channel));
    found.sort_unstable_by_key(|recording| recording.channel);
    Ok(found)
}

/// See [`kallglot_storage::RecordingRepository::recording_tracks`].
pub async fn tracks<S: Sql>(db: &S, tenant: Tenant, id: SessionId) -> Result<Vec<StoredTrack>> {
    let sql = "SELECT track, object, bytes FROM recording_tracks JOIN sessions ON sessions.id = session_id \
        WHERE session_id = ?1 AND organization_id = ?2 AND environment = ?3 ORDER BY track";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.every(sql, params![id.to_string(), organization, environment], |row| {
        let columns = Columns::of(row, "recording_tracks", "track")?;
        Ok(StoredTrack {
            track: columns.named("track", Track::parse)?,
            object: columns.get("object")?,
            bytes: columns.count("bytes")?,
        })
    })
    .await
}

/// Removes a recording of a session, which is locked.
async fn remove<S: Sql>(db: &S, session: &str, id: &str, why: Removed) -> Result<()> {
    db.execute("UPDATE recordings SET removed = ?2 WHERE id = ?1", params![id, why.as_str()]).await?;
    let kept = kept(db, session).await?;
    drop_tracks(db, session, &kept).await
}

/// See [`kallglot_storage::RecordingRepository::delete_recording`].
pub async fn delete<S: Sql>(db: &S, tenant: Tenant, id: RecordingId, change: &Change) -> Result<bool> {
    let Some(found) = by_id(db, tenant, id).await? else { return Ok(false) };
    let session = found.session.to_string();
    session::lock(db, &session).await?;
    let Some(found) = by_id(db, tenant, id).await?.filter(|found| found.removed.is_none()) else { return Ok(false) };
    remove(db, &session, &id.to_string(), Removed::Deleted).await?;
    let subject =
        Subject { organization: tenant.organization, environment: Some(tenant.environment), object: &id.to_string() };
    let changes = Changes::from([
        ("session_id".to_owned(), (session, String::new())),
        ("channel".to_owned(), (found.channel.to_string(), String::new())),
    ]);
    audit::append(db, change, AuditAction::RecordingDeleted, &subject, &changes).await?;
    Ok(true)
}

/// See [`kallglot_storage::RecordingRepository::expire_recordings`].
pub async fn expire<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<u64> {
    let sql = "SELECT id, session_id FROM recordings WHERE removed IS NULL AND expires_at_us <= ?1 \
        ORDER BY session_id, id LIMIT ?2";
    // In the order of the sessions, so that two jobs never wait for each other.
    let found = db
        .every(sql, params![us(now), limit], |row| {
            let columns = Columns::of(row, "recordings", "id")?;
            Ok((columns.get::<String>("id")?, columns.get::<String>("session_id")?))
        })
        .await?;
    for (id, session) in &found {
        session::lock(db, session).await?;
        let is_kept = "SELECT 1 FROM recordings WHERE id = ?1 AND removed IS NULL";
        if db.first(is_kept, params![id], |_| Ok(())).await?.is_some() {
            remove(db, session, id, Removed::Expired).await?;
        }
    }
    Ok(found.len() as u64)
}

/// See [`kallglot_storage::RecordingRepository::objects_to_delete`].
pub async fn to_delete<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<Vec<String>> {
    let sql = "SELECT object FROM object_deletions WHERE next_at_us <= ?1 ORDER BY next_at_us, object LIMIT ?2";
    db.every(sql, params![us(now), limit], |row| Columns::of(row, "object_deletions", "object")?.get("object")).await
}

/// See [`kallglot_storage::RecordingRepository::objects_deleted`].
pub async fn deleted<S: Sql>(db: &S, objects: &[String]) -> Result<()> {
    for object in objects {
        db.execute("DELETE FROM object_deletions WHERE object = ?1", params![object]).await?;
    }
    Ok(())
}

/// See [`kallglot_storage::RecordingRepository::objects_not_deleted`].
pub async fn not_deleted<S: Sql>(db: &S, objects: &[String], next_at: Timestamp) -> Result<()> {
    for object in objects {
        let sql = "UPDATE object_deletions SET next_at_us = ?2 WHERE object = ?1";
        db.execute(sql, params![object, us(next_at)]).await?;
    }
    Ok(())
}
