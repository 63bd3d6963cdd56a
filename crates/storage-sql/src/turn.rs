//! What was said in a session and how long it took, in their tables.

use futures_util::future::{try_join, try_join3};
use kallglot_core::event::segment_event;
use kallglot_core::id::{SegmentId, SessionId};
use kallglot_core::session::{Speaker, Tenant, Translation, Turn, UtteranceLag};
use kallglot_core::stream_statistics::{PartyStatistics, StreamStatistics};
use kallglot_storage::{NewTurn, TURNS_PAGE_MAX};

use crate::log::raise_event;
use crate::row::{Columns, count, cut, us};
use crate::sql::{Row, Sql};
use crate::{Result, params, session};

const SELECT: &str = "SELECT id, sequence, speaker, language, text, translation_language, translation_text, timestamp_us, \
    start_ms, end_ms, confidence FROM turns";

const STATISTICS: &str = "SELECT session_id, speaker, frames_in, audio_in_ms, duplicate_frames, late_frames, gaps, gap_ms, \
    refused_messages, audio_out_ms, dropped_out_ms FROM stream_statistics WHERE session_id = ?1";

/// Whether this is a session of the tenant.
async fn exists<S: Sql>(db: &S, tenant: Tenant, session: SessionId) -> Result<bool> {
    let sql = "SELECT 1 FROM sessions WHERE id = ?1 AND organization_id = ?2 AND environment = ?3";
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    Ok(db.first(sql, params![session.to_string(), organization, environment], |_| Ok(())).await?.is_some())
}

pub(crate) async fn last_sequence<S: Sql>(db: &S, session: SessionId) -> Result<u32> {
    let sql = "SELECT session_id AS id, sequence FROM turns WHERE session_id = ?1 ORDER BY sequence DESC LIMIT 1";
    let read = |row: &dyn Row| Columns::of(row, "turns", "id")?.get("sequence");
    Ok(db.first(sql, params![session.to_string()], read).await?.unwrap_or(0))
}

fn read(row: &dyn Row) -> Result<Turn> {
    let columns = Columns::of(row, "turns", "id")?;
    let translation = match (columns.parsed_if_any("translation_language")?, columns.get("translation_text")?) {
        (Some(language), Some(text)) => Some(Translation { language, text }),
        (None, None) => None,
        _ => return Err(columns.corrupt("translation_text")),
    };
    Ok(Turn {
        sequence: columns.get("sequence")?,
        id: columns.parsed("id")?,
        speaker: columns.named("speaker", Speaker::parse)?,
        language: columns.parsed("language")?,
        text: columns.get("text")?,
        translation,
        timestamp: columns.time("timestamp_us")?,
        start_ms: columns.count("start_ms")?,
        end_ms: columns.count("end_ms")?,
        confidence: columns.get("confidence")?,
    })
}

async fn by_id<S: Sql>(db: &S, session: SessionId, id: SegmentId) -> Result<Option<Turn>> {
    let sql = format!("{SELECT} WHERE session_id = ?1 AND id = ?2");
    db.first(&sql, params![session.to_string(), id.to_string()], read).await
}

/// See [`kallglot_storage::TurnRepository::append_turn`].
pub async fn append<S: Sql>(db: &S, tenant: Tenant, session: SessionId, new: &NewTurn) -> Result<Option<Turn>> {
    session::lock(db, &session.to_string()).await?;
    let (exists, stored, last) =
        try_join3(exists(db, tenant, session), by_id(db, session, new.id), last_sequence(db, session)).await?;
    if !exists {
        return Ok(None);
    }
    if stored.is_some() {
        return Ok(stored);
    }
    let new = NewTurn { timestamp: cut(new.timestamp), ..new.clone() };
    let turn = new.at(last + 1);
    db.execute(
        "INSERT INTO turns (session_id, sequence, id, speaker, language, text, translation_language, translation_text, \
         timestamp_us, start_ms, end_ms, confidence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            session.to_string(),
            turn.sequence,
            turn.id.to_string(),
            turn.speaker.as_str(),
            turn.language.as_str(),
            turn.text,
            turn.translation.as_ref().map(|translation| translation.language.as_str()),
            turn.translation.as_ref().map(|translation| translation.text.as_str()),
            us(turn.timestamp),
            count(turn.start_ms),
            count(turn.end_ms),
            turn.confidence,
        ],
    )
    .await?;
    raise_event(db, &segment_event(tenant, session, &turn)).await?;
    Ok(Some(turn))
}

async fn save_lag<S: Sql>(db: &S, session: SessionId, lag: &UtteranceLag) -> Result<()> {
    db.execute("INSERT INTO utterance_lags (session_id, id, speaker, first_partial_ms, final_ms, first_audio_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (session_id, id) DO UPDATE SET speaker = excluded.speaker, \
         first_partial_ms = excluded.first_partial_ms, final_ms = excluded.final_ms, first_audio_ms = excluded.first_audio_ms",
        params![
            session.to_string(),
            lag.id.to_string(),
            lag.speaker.as_str(),
            lag.first_partial_ms,
            lag.final_ms,
            lag.first_audio_ms,
        ],
    )
    .await
}

async fn save_party<S: Sql>(db: &S, session: SessionId, speaker: Speaker, party: &PartyStatistics) -> Result<()> {
    db.execute(
        "INSERT INTO stream_statistics (session_id, speaker, frames_in, audio_in_ms, duplicate_frames, late_frames, gaps, \
         gap_ms, refused_messages, audio_out_ms, dropped_out_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (session_id, speaker) DO UPDATE SET frames_in = excluded.frames_in, audio_in_ms = excluded.audio_in_ms, \
         duplicate_frames = excluded.duplicate_frames, late_frames = excluded.late_frames, gaps = excluded.gaps, \
         gap_ms = excluded.gap_ms, refused_messages = excluded.refused_messages, audio_out_ms = excluded.audio_out_ms, \
         dropped_out_ms = excluded.dropped_out_ms",
        params![
            session.to_string(),
            speaker.as_str(),
            count(party.frames_in),
            count(party.audio_in_ms),
            count(party.duplicate_frames),
            count(party.late_frames),
            count(party.gaps),
            count(party.gap_ms),
            count(party.refused_messages),
            count(party.audio_out_ms),
            count(party.dropped_out_ms),
        ],
    )
    .await
}

fn read_party(row: &dyn Row) -> Result<(Speaker, PartyStatistics)> {
    let columns = Columns::of(row, "stream_statistics", "session_id")?;
    let party = PartyStatistics {
        frames_in: columns.count("frames_in")?,
        audio_in_ms: columns.count("audio_in_ms")?,
        duplicate_frames: columns.count("duplicate_frames")?,
        late_frames: columns.count("late_frames")?,
        gaps: columns.count("gaps")?,
        gap_ms: columns.count("gap_ms")?,
        refused_messages: columns.count("refused_messages")?,
        audio_out_ms: columns.count("audio_out_ms")?,
        dropped_out_ms: columns.count("dropped_out_ms")?,
    };
    Ok((columns.named("speaker", Speaker::parse)?, party))
}

/// See [`kallglot_storage::TurnRepository::turns`].
pub async fn turns<S: Sql>(
    db: &S,
    tenant: Tenant,
    session: SessionId,
    after: u32,
    limit: u32,
) -> Result<Option<Vec<Turn>>> {
    let sql = format!("{SELECT} WHERE session_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3");
    let (id, limit) = (session.to_string(), limit.min(TURNS_PAGE_MAX));
    let params = params![id, after, limit];
    let (exists, turns) = try_join(exists(db, tenant, session), db.every(&sql, params, read)).await?;
    Ok(exists.then_some(turns))
}

/// See [`kallglot_storage::TurnRepository::turn_count`].
pub async fn turn_count<S: Sql>(db: &S, tenant: Tenant, session: SessionId) -> Result<Option<u32>> {
    // No holes: the last place is the count.
    let (exists, last) = try_join(exists(db, tenant, session), last_sequence(db, session)).await?;
    Ok(exists.then_some(last))
}

/// See [`kallglot_storage::TurnRepository::save_lags`].
pub async fn save_lags<S: Sql>(db: &S, tenant: Tenant, session: SessionId, lags: &[UtteranceLag]) -> Result<bool> {
    if !exists(db, tenant, session).await? {
        return Ok(false);
    }
    for lag in lags {
        save_lag(db, session, lag).await?;
    }
    Ok(true)
}

/// See [`kallglot_storage::TurnRepository::lags`].
pub async fn lags<S: Sql>(db: &S, tenant: Tenant, session: SessionId) -> Result<Option<Vec<UtteranceLag>>> {
    let sql = "SELECT id, speaker, first_partial_ms, final_ms, first_audio_ms FROM utterance_lags \
        WHERE session_id = ?1 ORDER BY id";
    let read = |row: &dyn Row| {
        let columns = Columns::of(row, "utterance_lags", "id")?;
        Ok(UtteranceLag {
            id: columns.parsed("id")?,
            speaker: columns.named("speaker", Speaker::parse)?,
            first_partial_ms: columns.get("first_partial_ms")?,
            final_ms: columns.get("final_ms")?,
            first_audio_ms: columns.get("first_audio_ms")?,
        })
    };
    let id = session.to_string();
    let (exists, lags) = try_join(exists(db, tenant, session), db.every(sql, params![id], read)).await?;
    Ok(exists.then_some(lags))
}

/// See [`kallglot_storage::TurnRepository::save_stream_statistics`].
pub async fn save_statistics<S: Sql>(
    db: &S,
    tenant: Tenant,
    session: SessionId,
    statistics: &StreamStatistics,
) -> Result<bool> {
    if !exists(db, tenant, session).await? {
        return Ok(false);
    }
    for speaker in Speaker::ALL {
        save_party(db, session, *speaker, &statistics.parties[speaker.index()]).await?;
    }
    Ok(true)
}

/// See [`kallglot_storage::TurnRepository::stream_statistics`].
pub async fn statistics<S: Sql>(db: &S, tenant: Tenant, session: SessionId) -> Result<Option<StreamStatistics>> {
    let id = session.to_string();
    let (exists, parties) =
        try_join(exists(db, tenant, session), db.every(STATISTICS, params![id], read_party)).await?;
    if !exists {
        return Ok(None);
    }
    let mut statistics = StreamStatistics::default();
    for (speaker, party) in parties {
        statistics.parties[speaker.index()] = party;
    }
    Ok(Some(statistics))
}
