//! The messages of a session's stream (contract section 11). They are no part of any HTTP body: they are here to be read.

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::{EndReason, Mode};
use serde_json::{Value, json};

use super::transcript::{confidence, speaker};
use super::{Schemas, count, flag, ids, language, language_or_null, one_of, part, part_with, text};
use crate::openapi::node::{Node, object};

const AUDIO_INPUT_EXAMPLE: &str = r#"{
  "type": "audio.input",
  "sequence": 1,
  "timestamp_ms": 0,
  "speaker": "customer",
  "audio": { "encoding": "mulaw", "sample_rate_hz": 8000, "payload": "//////////8=" }
}"#;

const FINAL_EXAMPLE: &str = r#"{
  "type": "transcript.final",
  "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "id": "seg_02kcvxLD3mcqFX1EhuPLpS",
  "speaker": "customer",
  "language": "en",
  "text": "Good morning.",
  "start_ms": 1480,
  "end_ms": 2730,
  "confidence": 0.94,
  "translation": { "language": "es", "text": "Buenos días." }
}"#;

const AUDIO_OUTPUT_EXAMPLE: &str = r#"{
  "type": "audio.output",
  "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "sequence": 1,
  "speaker": "customer",
  "target": "agent",
  "translation_of": "seg_02kcvxLD3mcqFX1EhuPLpS",
  "audio": { "encoding": "mulaw", "sample_rate_hz": 8000, "payload": "//////////8=" }
}"#;

pub(super) fn schemas(edition: Edition) -> Schemas {
    vec![("StreamClientMessage", from_client()), ("StreamServerMessage", from_server(edition))]
}

fn message(name: &str, description: &str, always: Node, sometimes: Node) -> Node {
    let Node::Object(rest) = always else { return Node::Value(Value::Null) };
    let mut fields = vec![("type".to_owned(), json!({ "type": "string", "const": name }).into())];
    fields.extend(rest);
    part_with(description, Node::Object(fields), sometimes).with("title", name)
}

fn audio(required: &[&str]) -> Value {
    json!({
        "type": "object", "required": required,
        "description": "Mu-law (G.711), 8000 Hz, one channel.",
        "properties": {
            "encoding": { "type": "string", "const": "mulaw" },
            "sample_rate_hz": { "type": "integer", "const": 8000 },
            "payload": { "type": "string", "contentEncoding": "base64", "description": "The audio: 10 to 1000 ms of it, one byte a sample." },
        },
    })
}

fn from_client() -> Node {
    let input = message(
        "audio.input",
        "A frame of a party's audio, normally 20 to 200 ms. Frames may come out of order by up to 500 ms.",
        object! {
            "sequence" => count("Counts the party's frames."),
            "audio" => audio(&["payload"]),
        },
        object! {
            "timestamp_ms" => count("Where the frame begins, on the sender's clock."),
            "speaker" => speaker("Whose audio it is. Needed on a stream that carries both parties."),
        },
    );
    let ping = message("ping", "Asks for a `pong`.", object! {}, object! {});
    let end = message("session.end", "Ends the session.", object! {}, object! {});
    object! {
        "description" => "What a client sends on a session's stream.",
        "oneOf" => vec![input.with("examples", vec![Node::Json(AUDIO_INPUT_EXAMPLE)]), ping, end],
    }
}

fn from_server(edition: Edition) -> Node {
    let modes: Vec<_> = Mode::ALL.iter().map(|mode| mode.as_str()).collect();
    let reasons: Vec<_> = EndReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let ready = message(
        "session.ready",
        "The first message: audio can be sent.",
        object! {
            "session_id" => ids::session(),
            "mode" => one_of(&modes, "What the session does."),
            "source_language" => language_or_null("The customer's language; null: it is detected."),
            "target_language" => language_or_null("The agent's language; null: it is detected."),
        },
        object! {},
    );
    let transcribed = |name: &str, description: &str| {
        message(
            name,
            description,
            object! {
                "session_id" => ids::session(),
                "id" => ids::segment(),
                "speaker" => speaker("Who says it."),
                "language" => language("In which language."),
                "text" => text("What is said."),
                "start_ms" => count("Where it begins, in ms after the session's first audio."),
                "end_ms" => count("Where it ends, in ms after the session's first audio."),
                "confidence" => confidence(),
            },
            object! {
                "translation" => part("The same for the other party.", object! {
                    "language" => language("The other party's language."),
                    "text" => text("The translation."),
                }),
            },
        )
    };
    let output = message(
        "audio.output",
        "A frame of audio for a party to hear.",
        object! {
            "session_id" => ids::session(),
            "sequence" => count("Counts the frames for this party."),
            "speaker" => speaker("Whose words they are."),
            "target" => speaker("Who should hear them."),
            "translation_of" => json!({ "type": ["string", "null"], "description": "The utterance that it translates; null: it is the original." }),
            "audio" => audio(&["encoding", "sample_rate_hz", "payload"]),
        },
        object! {},
    );
    let error = message(
        "session.error",
        "Something is wrong. The stream goes on unless it is fatal.",
        object! {
            "session_id" => ids::session(),
            "code" => one_of(&codes(edition), "What is wrong, for programs: see the [list of errors](/docs/errors)."),
            "message" => text("What is wrong and what to do, for people."),
            "fatal" => flag("Whether the stream ends."),
        },
        object! { "dropped_ms" => count("With `audio_dropped`: how much audio was dropped.") },
    );
    let ended = message(
        "session.ended",
        "The last message: the session is over.",
        object! { "session_id" => ids::session(), "reason" => one_of(&reasons, "Why.") },
        object! {},
    );
    let pong = message("pong", "The answer to `ping`.", object! { "session_id" => ids::session() }, object! {});
    object! {
        "description" => "What the server sends on a session's stream. Text that was final and speech that was sent are never taken back.",
        "oneOf" => vec![
            ready,
            transcribed("transcript.partial", "What an utterance sounds like so far. A later one, or its final, replaces it."),
            transcribed("transcript.final", "What was said, for good.").with("examples", vec![Node::Json(FINAL_EXAMPLE)]),
            output.with("examples", vec![Node::Json(AUDIO_OUTPUT_EXAMPLE)]),
            pong,
            error,
            ended,
        ],
    }
}

/// The codes that a stream can tell: those that only streams have, and those with a meaning there too.
fn codes(edition: Edition) -> Vec<&'static str> {
    let on_streams = |code: &&ErrorCode| {
        let row = code.row();
        row.status.is_none() || row.close_code.is_some() || **code == ErrorCode::InvalidAudioFormat
    };
    ErrorCode::ALL.iter().filter(on_streams).map(|code| edition.error_shape(*code).code).collect()
}
