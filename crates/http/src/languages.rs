//! `GET /v1/languages`: which directions work, by which engine, how well. Honest: only what would work now.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::HttpState;
use crate::gate::{AnyKey, Caller};

#[derive(Serialize)]
pub(crate) struct LanguageList {
    object: &'static str,
    data: Vec<Direction>,
}

#[derive(Serialize)]
struct Direction {
    /// Null: any language.
    source_language: Option<String>,
    target_language: Option<String>,
    engine: String,
    /// `good`, `basic` or `phrases_only`.
    recognition: &'static str,
    /// Whether a session needs a phrase list for this direction.
    needs_phrases: bool,
    /// Whether the translation is also spoken.
    speech: bool,
}

pub(crate) async fn list(caller: Caller<AnyKey>, State(state): State<HttpState>) -> Json<LanguageList> {
    let wanted = caller.known.organization.engine.as_deref();
    let data = state
        .app
        .engines
        .list()
        .into_iter()
        .filter(|listed| wanted.is_none_or(|wanted| listed.engine == wanted))
        .map(|listed| Direction {
            source_language: listed.offer.source,
            target_language: listed.offer.target,
            engine: listed.engine,
            recognition: listed.offer.recognition.as_str(),
            needs_phrases: listed.offer.recognition == kallglot_engine::Quality::PhrasesOnly,
            speech: listed.offer.speech,
        })
        .collect();
    Json(LanguageList { object: "list", data })
}
