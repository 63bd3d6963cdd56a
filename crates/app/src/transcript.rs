//! A session's transcript in the forms in which it is given out, while the call runs and after it (contract section 13).

mod text;

use kallglot_core::Timestamp;
use kallglot_core::event::time;
use kallglot_core::id::SessionId;
use kallglot_core::session::{Session, Status, Tenant, Turn};
use kallglot_storage::{StorageError, TURNS_PAGE_MAX};
use serde::Serialize;

use crate::App;

/// A form of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The API's own object.
    Json,
    /// Plain text, for people.
    Text,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
}

impl Format {
    /// How the name of such a file ends, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "txt",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
        }
    }
}

/// A transcript as it is sent.
pub struct Rendered {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub bytes: Vec<u8>,
}

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

impl App {
    /// All turns of a session so far, in the order in which they became final; none when there is no such session.
    ///
    /// # Errors
    /// Storage's.
    pub async fn turns(&self, tenant: Tenant, session: SessionId) -> Result<Vec<Turn>, StorageError> {
        let mut turns = Vec::new();
        loop {
            let after = turns.last().map_or(0, |turn: &Turn| turn.sequence);
            let page = self.storage.turns(tenant, session, after, TURNS_PAGE_MAX).await?.unwrap_or_default();
            let complete = page.len() < TURNS_PAGE_MAX as usize;
            turns.extend(page);
            if complete {
                return Ok(turns);
            }
        }
    }
}

/// A transcript of these turns. `now` says how long a call has taken that still runs.
pub fn render(session: &Session, turns: Vec<Turn>, now: Timestamp, format: Format) -> Rendered {
    let duration_s = duration_s(session, now);
    let (content_type, text) = match format {
        Format::Json => {
            // Plain structs of strings and numbers always serialize.
            let bytes = serde_json::to_vec(&transcript(session, turns, duration_s)).unwrap_or_default();
            return Rendered { content_type: "application/json", bytes };
        }
        Format::Text => ("text/plain; charset=utf-8", text::plain(session, duration_s, &turns)),
        Format::Srt => ("application/x-subrip; charset=utf-8", text::srt(&turns)),
        Format::Vtt => ("text/vtt; charset=utf-8", text::vtt(&turns)),
    };
    Rendered { content_type, bytes: text.into_bytes() }
}

/// How long the call took, or has taken until `now`. Seconds.
pub fn duration_s(session: &Session, now: Timestamp) -> i64 {
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
