//! Events, as webhooks and event streams tell them.

use kallglot_core::edition::Edition;
use kallglot_core::event::EventType;
use serde_json::{Value, json};

use super::{Schemas, ids, list, one_of, part, time};
use crate::openapi::node::{Node, object};

/// The beginning of an event stream.
pub(crate) const STREAM_EXAMPLE: &str = "retry: 2000\n\nid: 1\nevent: session.created\ndata: {\"api_version\":\"v1\",\"created_at\":\
    \"2026-11-22T09:30:00.000Z\",\"data\":{\"sequence\":1,\"session\":{\"id\":\"sess_02kcvxLD3mcqFX1EhuPLpS\",\"status\":\"created\"},\
    \"session_id\":\"sess_02kcvxLD3mcqFX1EhuPLpS\"},\"id\":\"evt_02kcvxLD3mcqFX1EhuPLpS\",\"type\":\"session.created\"}\n\n:\n\n";

const EXAMPLE: &str = r#"{
  "id": "evt_02kcvxLD3mcqFX1EhuPLpS",
  "type": "transcript.segment",
  "api_version": "v1",
  "created_at": "2026-11-22T09:30:04.120Z",
  "data": {
    "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
    "sequence": 3,
    "segment": {
      "id": "seg_02kcvxLD3mcqFX1EhuPLpS",
      "sequence": 1,
      "speaker": "customer",
      "language": "en",
      "text": "Good morning.",
      "translation": { "language": "es", "text": "Buenos días." },
      "timestamp": "2026-11-22T09:30:04.120Z",
      "start_ms": 1480,
      "end_ms": 2730,
      "confidence": 0.94
    }
  }
}"#;

fn names() -> Vec<&'static str> {
    EventType::ALL.iter().map(|event_type| event_type.as_str()).collect()
}

/// The query parameter `type`.
pub(crate) fn type_parameter(_: Edition) -> Value {
    json!({ "type": "string", "enum": names(), "examples": ["session.ended"] })
}

pub(super) fn schemas() -> Schemas {
    let event = part(
        "Something that happened.",
        object! {
            "id" => ids::event(),
            "type" => one_of(&names(), "What happened."),
            "api_version" => json!({ "type": "string", "const": "v1", "description": "By which version of the API `data` is to be read." }),
            "created_at" => time("When it happened."),
            "data" => json!({
                "type": "object",
                "additionalProperties": true,
                "description": "What it happened to, under the name of its kind, as it was then. With a session also `session_id` and \
                    `sequence`, the event's place among the session's, from 1 without holes: deliveries may overtake each other.",
            }),
        },
    );
    vec![
        ("Event", event.with("examples", vec![Node::Json(EXAMPLE)])),
        ("EventList", list("Event", "/v1/events", EXAMPLE)),
    ]
}
