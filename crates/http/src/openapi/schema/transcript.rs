//! Transcripts.

use kallglot_core::session::Speaker;
use serde_json::{Value, json};

use super::{Schemas, answer, count, ids, kind, language, one_of, part, part_or_null, reference, text, time};
use crate::openapi::node::object;

const EXAMPLE: &str = r#"{
  "id": "trn_sess_02kcvxLD3mcqFX1EhuPLpS",
  "object": "transcript",
  "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "status": "in_progress",
  "turns": [
    {
      "sequence": 1,
      "id": "seg_02kcvxLD3mcqFX1EhuPLpS",
      "speaker": "customer",
      "language": "en",
      "text": "Good morning.",
      "translation": { "language": "es", "text": "Buenos días." },
      "timestamp": "2026-11-22T09:30:04.120Z",
      "start_ms": 1480,
      "end_ms": 2730,
      "confidence": 0.94
    }
  ],
  "metadata": { "total_turns": 1, "duration_seconds": 12, "languages_detected": ["en"] }
}"#;

/// A party of a call.
pub(super) fn speaker(description: &str) -> Value {
    let names: Vec<_> = Speaker::ALL.iter().map(|speaker| speaker.as_str()).collect();
    one_of(&names, description)
}

/// How sure a recognizer is.
pub(super) fn confidence() -> Value {
    json!({ "type": "number", "minimum": 0, "maximum": 1, "description": "How sure the recognizer is." })
}

pub(super) fn schemas() -> Schemas {
    let transcript = answer(
        "What was said in a session.",
        object! {
            "id" => json!({ "type": "string", "pattern": "^trn_sess_[0-9A-Za-z]{22}$", "description": "The transcript's id." }),
            "object" => kind("transcript"),
            "session_id" => ids::session(),
            "status" => one_of(&["in_progress", "completed"], "`completed` when the session has ended."),
            "turns" => object! { "type" => "array", "items" => reference("Turn"), "description" => "In the order in which they became final." },
            "metadata" => part("The whole in figures.", object! {
                "total_turns" => count("How many turns there are."),
                "duration_seconds" => count("From the first audio to the end, or to now."),
                "languages_detected" => json!({ "type": "array", "items": { "type": "string" }, "description": "The languages that were spoken." }),
            }),
        },
        EXAMPLE,
    );
    let turn = part(
        "One utterance. It never changes.",
        object! {
            "sequence" => json!({ "type": "integer", "minimum": 1, "description": "Its place, without holes." }),
            "id" => ids::segment(),
            "speaker" => speaker("Who said it."),
            "language" => language("In which language."),
            "text" => text("What was said."),
            "translation" => part_or_null("The same for the other party; null where nothing was translated.", object! {
                "language" => language("The other party's language."),
                "text" => text("The translation."),
            }),
            "timestamp" => time("When it became final."),
            "start_ms" => count("Where it begins, in ms after the session's first audio."),
            "end_ms" => count("Where it ends, in ms after the session's first audio."),
            "confidence" => confidence(),
        },
    );
    vec![("Transcript", transcript), ("Turn", turn)]
}
