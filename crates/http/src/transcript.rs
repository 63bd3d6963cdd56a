//! `GET /v1/sessions/{id}/transcript`: as JSON, text, SRT or WebVTT; while the call runs and after it (contract section 13).

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kallglot_core::Timestamp;
use kallglot_core::session::{Session, Status, Turn};
use kallglot_storage::TURNS_PAGE_MAX;
use serde::Serialize;

use crate::HttpState;
use crate::gate::{Caller, SessionsRead};
use crate::list::query_pairs;
use crate::problem::Problem;
use crate::sessions::{find, session_id, time};
use crate::transcript_text;

#[derive(Serialize)]
struct Transcript {
    id: String,
    object: &'static str,
    session_id: String,
    status: &'static str,
    turns: Vec<TurnBody>,
    metadata: Metadata,
}

#[derive(Serialize)]
struct TurnBody {
    sequence: u32,
    id: String,
    speaker: &'static str,
    language: String,
    text: String,
    translation: Option<TranslationBody>,
    timestamp: String,
    start_ms: u64,
    end_ms: u64,
    confidence: f32,
}

#[derive(Serialize)]
struct TranslationBody {
    language: String,
    text: String,
}

#[derive(Serialize)]
struct Metadata {
    total_turns: usize,
    duration_seconds: i64,
    languages_detected: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
    Srt,
    Vtt,
}

pub(crate) async fn get(
    caller: Caller<SessionsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (format, with_translations) = read_query(query.as_deref().unwrap_or(""))?;
    let storage = &state.app.storage;
    let session = find(&state.app, caller.tenant(), session_id(&id)?).await?;
    let mut turns = Vec::new();
    loop {
        let after = turns.last().map_or(0, |turn: &Turn| turn.sequence);
        let page = storage.turns(session.tenant, session.id, after, TURNS_PAGE_MAX).await?.unwrap_or_default();
        let complete = page.len() < TURNS_PAGE_MAX as usize;
        turns.extend(page);
        if complete {
            break;
        }
    }
    if !with_translations {
        turns.iter_mut().for_each(|turn| turn.translation = None);
    }
    let duration_s = duration_s(&session, state.app.clock.now());
    let (content_type, text) = match format {
        Format::Json => return Ok(Json(transcript(&session, turns, duration_s)).into_response()),
        Format::Text => ("text/plain; charset=utf-8", transcript_text::plain(&session, duration_s, &turns)),
        Format::Srt => ("application/x-subrip; charset=utf-8", transcript_text::srt(&turns)),
        Format::Vtt => ("text/vtt; charset=utf-8", transcript_text::vtt(&turns)),
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

fn read_query(query: &str) -> Result<(Format, bool), Problem> {
    let (mut format, mut with_translations) = (Format::Json, true);
    for (name, value) in query_pairs(query) {
        match (name.as_str(), value.as_str()) {
            ("format", "json") => format = Format::Json,
            ("format", "text") => format = Format::Text,
            ("format", "srt") => format = Format::Srt,
            ("format", "vtt") => format = Format::Vtt,
            ("format", _) => {
                return Err(Problem::invalid("format", "`format` must be one of `json`, `text`, `srt`, `vtt`."));
            }
            ("include_translations", "true") => with_translations = true,
            ("include_translations", "false") => with_translations = false,
            ("include_translations", _) => {
                return Err(Problem::invalid("include_translations", "`include_translations` must be true or false."));
            }
            _ => {
                let message = format!("`{name}` is not a parameter of this request. Check its spelling.");
                return Err(Problem::invalid(name, message));
            }
        }
    }
    Ok((format, with_translations))
}

/// How long the call took, or has taken so far.
fn duration_s(session: &Session, now: Timestamp) -> i64 {
    let so_far = || session.state.started_at().map(|started| (now.as_second() - started.as_second()).max(0));
    session.state.duration_seconds().or_else(so_far).unwrap_or(0)
}

fn transcript(session: &Session, turns: Vec<Turn>, duration_seconds: i64) -> Transcript {
    let mut languages: Vec<String> = turns.iter().map(|turn| turn.language.to_string()).collect();
    languages.sort_unstable();
    languages.dedup();
    let metadata = Metadata { total_turns: turns.len(), duration_seconds, languages_detected: languages };
    let body = |turn: Turn| TurnBody {
        sequence: turn.sequence,
        id: turn.id.to_string(),
        speaker: turn.speaker.as_str(),
        language: turn.language.to_string(),
        text: turn.text,
        translation: turn.translation.map(|t| TranslationBody { language: t.language.to_string(), text: t.text }),
        timestamp: time(turn.timestamp),
        start_ms: turn.start_ms,
        end_ms: turn.end_ms,
        confidence: turn.confidence,
    };
    Transcript {
        id: format!("trn_{}", session.id),
        object: "transcript",
        session_id: session.id.to_string(),
        status: if session.state.status() == Status::Ended { "completed" } else { "in_progress" },
        turns: turns.into_iter().map(body).collect(),
        metadata,
    }
}
