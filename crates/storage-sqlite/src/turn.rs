//! What was said in a session and how long it took, in their tables.

use async_trait::async_trait;
use kallglot_core::id::{SegmentId, SessionId};
use kallglot_core::session::{Speaker, Tenant, Translation, Turn, UtteranceLag};
use kallglot_core::stream_statistics::{PartyStatistics, StreamStatistics};
use kallglot_storage::{NewTurn, StorageError, TURNS_PAGE_MAX, TurnRepository};
use rusqlite::{Connection, Row, params};

use crate::SqliteStorage;
use crate::query::{change, every, first};
use crate::row::{Columns, count, cut, us};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT id, sequence, speaker, language, text, translation_language, translation_text, timestamp_us, \
    start_ms, end_ms, confidence FROM turns";

/// Whether this is a session of the tenant.
fn exists(connection: &Connection, tenant: Tenant, session: SessionId) -> Result<bool> {
    let sql = "SELECT 1 FROM sessions WHERE id = ?1 AND organization_id = ?2 AND environment = ?3";
    let params = params![session.to_string(), tenant.organization.to_string(), tenant.environment.as_str()];
    Ok(first(connection, sql, params, |_| Ok(()))?.is_some())
}

fn last_sequence(connection: &Connection, session: SessionId) -> Result<u32> {
    let sql = "SELECT session_id AS id, sequence FROM turns WHERE session_id = ?1 ORDER BY sequence DESC LIMIT 1";
    let last = first(connection, sql, [session.to_string()], |row| Columns::of(row, "turns", "id")?.get("sequence"))?;
    Ok(last.unwrap_or(0))
}

fn read(row: &Row<'_>) -> Result<Turn> {
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

fn by_id(connection: &Connection, session: SessionId, id: SegmentId) -> Result<Option<Turn>> {
    let sql = format!("{SELECT} WHERE session_id = ?1 AND id = ?2");
    first(connection, &sql, [session.to_string(), id.to_string()], read)
}

fn append(connection: &Connection, session: SessionId, new: &NewTurn) -> Result<Turn> {
    if let Some(stored) = by_id(connection, session, new.id)? {
        return Ok(stored);
    }
    let new = NewTurn { timestamp: cut(new.timestamp), ..new.clone() };
    let turn = new.at(last_sequence(connection, session)? + 1);
    change(
        connection,
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
    )?;
    Ok(turn)
}

fn save_lag(connection: &Connection, session: SessionId, lag: &UtteranceLag) -> Result<()> {
    change(
        connection,
        "INSERT INTO utterance_lags (session_id, id, speaker, first_partial_ms, final_ms, first_audio_ms) \
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
    )?;
    Ok(())
}

fn save_party(connection: &Connection, session: SessionId, speaker: Speaker, party: &PartyStatistics) -> Result<()> {
    change(
        connection,
        "INSERT OR REPLACE INTO stream_statistics (session_id, speaker, frames_in, audio_in_ms, duplicate_frames, \
         late_frames, gaps, gap_ms, refused_messages, audio_out_ms, dropped_out_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
    )?;
    Ok(())
}

fn read_party(row: &Row<'_>) -> Result<(Speaker, PartyStatistics)> {
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

#[async_trait]
impl TurnRepository for SqliteStorage {
    async fn append_turn(&self, tenant: Tenant, session: SessionId, turn: &NewTurn) -> Result<Option<Turn>> {
        let turn = turn.clone();
        self.write(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(None);
            }
            append(connection, session, &turn).map(Some)
        })
        .await
    }

    async fn turns(&self, tenant: Tenant, session: SessionId, after: u32, limit: u32) -> Result<Option<Vec<Turn>>> {
        self.read(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(None);
            }
            let sql = format!("{SELECT} WHERE session_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3");
            every(connection, &sql, params![session.to_string(), after, limit.min(TURNS_PAGE_MAX)], read).map(Some)
        })
        .await
    }

    async fn turn_count(&self, tenant: Tenant, session: SessionId) -> Result<Option<u32>> {
        self.read(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(None);
            }
            // No holes: the last place is the count.
            last_sequence(connection, session).map(Some)
        })
        .await
    }

    async fn save_lags(&self, tenant: Tenant, session: SessionId, lags: &[UtteranceLag]) -> Result<bool> {
        let lags = lags.to_vec();
        self.write(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(false);
            }
            lags.iter().try_for_each(|lag| save_lag(connection, session, lag))?;
            Ok(true)
        })
        .await
    }

    async fn lags(&self, tenant: Tenant, session: SessionId) -> Result<Option<Vec<UtteranceLag>>> {
        self.read(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(None);
            }
            let sql = "SELECT id, speaker, first_partial_ms, final_ms, first_audio_ms FROM utterance_lags \
                       WHERE session_id = ?1 ORDER BY id";
            let lags = every(connection, sql, [session.to_string()], |row| {
                let columns = Columns::of(row, "utterance_lags", "id")?;
                Ok(UtteranceLag {
                    id: columns.parsed("id")?,
                    speaker: columns.named("speaker", Speaker::parse)?,
                    first_partial_ms: columns.get("first_partial_ms")?,
                    final_ms: columns.get("final_ms")?,
                    first_audio_ms: columns.get("first_audio_ms")?,
                })
            })?;
            Ok(Some(lags))
        })
        .await
    }

    async fn save_stream_statistics(
        &self,
        tenant: Tenant,
        session: SessionId,
        statistics: &StreamStatistics,
    ) -> Result<bool> {
        let statistics = *statistics;
        self.write(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(false);
            }
            for speaker in Speaker::ALL {
                save_party(connection, session, *speaker, &statistics.parties[speaker.index()])?;
            }
            Ok(true)
        })
        .await
    }

    async fn stream_statistics(&self, tenant: Tenant, session: SessionId) -> Result<Option<StreamStatistics>> {
        self.read(move |connection| {
            if !exists(connection, tenant, session)? {
                return Ok(None);
            }
            let sql = "SELECT * FROM stream_statistics WHERE session_id = ?1";
            let mut statistics = StreamStatistics::default();
            for (speaker, party) in every(connection, sql, [session.to_string()], read_party)? {
                statistics.parties[speaker.index()] = party;
            }
            Ok(Some(statistics))
        })
        .await
    }
}
