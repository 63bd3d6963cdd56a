//! `GET /v1/sessions/{id}/transcript`: as JSON, text, SRT or WebVTT; while the call runs and after it (contract section 13).

use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kallglot_app::transcript::{self, Format};

use crate::HttpState;
use crate::gate::{Caller, SessionsRead};
use crate::list::query_pairs;
use crate::problem::Problem;
use crate::sessions::{find, session_id};

pub(crate) async fn get(
    caller: Caller<SessionsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (format, with_translations) = read_query(query.as_deref().unwrap_or(""))?;
    let session = find(&state.app, caller.tenant(), session_id(&id)?).await?;
    let mut turns = state.app.turns(session.tenant, session.id).await?;
    if !with_translations {
        turns.iter_mut().for_each(|turn| turn.translation = None);
    }
    let rendered = transcript::render(&session, turns, state.app.clock.now(), format);
    Ok(([(header::CONTENT_TYPE, rendered.content_type)], rendered.bytes).into_response())
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
