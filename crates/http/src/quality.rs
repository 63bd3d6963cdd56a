//! `GET /v1/sessions/{id}/quality`: how long each utterance took and what went through the streams.

use axum::Json;
use axum::extract::{Path, State};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::Speaker;
use kallglot_core::stream_statistics::PartyStatistics;
use serde::Serialize;

use crate::HttpState;
use crate::gate::{Caller, SessionsRead};
use crate::problem::Problem;
use crate::sessions::{find, session_id};

#[derive(Serialize)]
pub(crate) struct Quality {
    object: &'static str,
    session_id: String,
    utterances: Vec<Utterance>,
    median_final_ms: Option<u32>,
    median_first_audio_ms: Option<u32>,
    streams: Streams,
}

/// All in ms after the end of speech, but for the first partial: after the utterance's first sound.
#[derive(Serialize)]
struct Utterance {
    id: String,
    speaker: &'static str,
    first_partial_ms: Option<u32>,
    final_ms: u32,
    first_audio_ms: Option<u32>,
}

#[derive(Serialize)]
struct Streams {
    customer: Party,
    agent: Party,
}

#[derive(Serialize)]
struct Party {
    frames_in: u64,
    audio_in_ms: u64,
    duplicate_frames: u64,
    late_frames: u64,
    gaps: u64,
    gap_ms: u64,
    refused_messages: u64,
    audio_out_ms: u64,
    dropped_out_ms: u64,
}

impl From<PartyStatistics> for Party {
    fn from(counted: PartyStatistics) -> Self {
        Self {
            frames_in: counted.frames_in,
            audio_in_ms: counted.audio_in_ms,
            duplicate_frames: counted.duplicate_frames,
            late_frames: counted.late_frames,
            gaps: counted.gaps,
            gap_ms: counted.gap_ms,
            refused_messages: counted.refused_messages,
            audio_out_ms: counted.audio_out_ms,
            dropped_out_ms: counted.dropped_out_ms,
        }
    }
}

pub(crate) async fn get(
    caller: Caller<SessionsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Quality>, Problem> {
    let id = find(&state.app, caller.tenant(), session_id(&id)?).await?.id;
    let tenant = caller.tenant();
    let unknown = || Problem::of(ErrorCode::SessionNotFound);
    let lags = state.app.storage.lags(tenant, id).await?.ok_or_else(unknown)?;
    let statistics = state.app.storage.stream_statistics(tenant, id).await?.ok_or_else(unknown)?;
    let party = |speaker: Speaker| Party::from(statistics.parties[speaker.index()]);
    Ok(Json(Quality {
        object: "session_quality",
        session_id: id.to_string(),
        median_final_ms: median(lags.iter().map(|lag| lag.final_ms).collect()),
        median_first_audio_ms: median(lags.iter().filter_map(|lag| lag.first_audio_ms).collect()),
        utterances: lags
            .into_iter()
            .map(|lag| Utterance {
                id: lag.id.to_string(),
                speaker: lag.speaker.as_str(),
                first_partial_ms: lag.first_partial_ms,
                final_ms: lag.final_ms,
                first_audio_ms: lag.first_audio_ms,
            })
            .collect(),
        streams: Streams { customer: party(Speaker::Customer), agent: party(Speaker::Agent) },
    }))
}

fn median(mut values: Vec<u32>) -> Option<u32> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
