//! Recordings.

use kallglot_core::recording::{Channel, RecordingStatus};
use serde_json::json;

use super::{
    Schemas, answer, count, count_or_null, flag, ids, kind, list, one_of, part, reference, text, text_or_null, time,
};
use crate::openapi::node::{Node, object};

const EXAMPLE: &str = r#"{
  "id": "rec_02kcvxLD3mcqFX1EhuPLpS",
  "object": "recording",
  "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "channel": "mixed",
  "status": "ready",
  "error": null,
  "duration": 184.2,
  "incomplete": false,
  "dropped_ms": 0,
  "format": "mp3",
  "size": 737280,
  "sample_rate": 8000,
  "bit_depth": 16,
  "download_url": "/v1/recordings/rec_02kcvxLD3mcqFX1EhuPLpS/audio",
  "created_at": "2026-11-22T09:34:12.480Z",
  "expires_at": "2026-12-22T09:34:12.480Z"
}"#;

pub(super) fn schemas() -> Schemas {
    let channels: Vec<_> = Channel::ALL.iter().map(|channel| channel.as_str()).collect();
    let statuses: Vec<_> = RecordingStatus::ALL.iter().map(|status| status.as_str()).collect();
    let recording = answer(
        "A recording of a session.",
        object! {
            "id" => ids::recording(),
            "object" => kind("recording"),
            "session_id" => ids::session(),
            "channel" => one_of(&channels, "Whose voices it has: both parties' (`mixed`) or one's."),
            "status" => one_of(&statuses, "`processing` until it can be heard."),
            "error" => text_or_null("Why it could not be made."),
            "duration" => json!({
                "type": ["number", "null"], "minimum": 0, "description": "How long it is, in seconds. Null until it is ready.",
            }),
            "incomplete" => flag("Whether audio is missing, or may be: the server's disk was full, or a part of it was lost with a machine."),
            "dropped_ms" => count("How much audio is known to be missing."),
            "format" => text("The form in which `download_url` gives it unless another one is asked for."),
            "size" => count_or_null("Its length in that form, in bytes. Null until it is ready."),
            "sample_rate" => count("Samples per second."),
            "bit_depth" => count("Bits of a sample, as WAV."),
            "download_url" => text("Where its audio is, from the server's root."),
            "created_at" => time("When its session ended."),
            "expires_at" => time("Until when it is kept."),
        },
        EXAMPLE,
    );
    let of_session = part(
        "The recordings of a session.",
        object! {
            "object" => json!({ "type": "string", "const": "list" }),
            "data" => object! {
                "type" => "array", "description" => "`mixed`, `customer`, `agent`; those that there are.", "items" => reference("Recording"),
            },
            "has_more" => json!({ "type": "boolean", "const": false, "description": "They are all on one page." }),
            "url" => text("The list's address."),
        },
    )
    .with(
        "examples",
        vec![object! {
            "object" => "list", "data" => vec![Node::Json(EXAMPLE)], "has_more" => false,
            "url" => "/v1/sessions/sess_02kcvxLD3mcqFX1EhuPLpS/recordings",
        }],
    );
    let mode = part(
        "Whether a session is recorded.",
        object! { "enabled" => flag("It is recorded."), "paused" => flag("But not now.") },
    )
    .with("examples", vec![Node::Value(json!({ "enabled": true, "paused": true }))]);
    vec![
        ("Recording", recording),
        ("RecordingList", list("Recording", "/v1/recordings", EXAMPLE)),
        ("SessionRecordingList", of_session),
        ("SessionRecording", mode),
    ]
}
