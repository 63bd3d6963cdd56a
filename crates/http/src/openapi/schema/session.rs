//! Sessions.

use kallglot_core::edition::{Edition, ProviderField};
use kallglot_core::session::{EndReason, Mode, Status};
use kallglot_core::vocabulary::Vocabulary;
use serde_json::{Value, json};

use super::{
    NO_CONTROL, NOT_BLANK, Schemas, alone, answer, count_or_null, ids, kind, language_or_null, list, one_of,
    part_or_null, reference, request, rules, text, text_or_null, time, time_or_null,
};
use crate::openapi::node::{Node, object};

const LANGUAGE_PATTERN: &str = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

const EXAMPLE: &str = r#"{
  "id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "object": "session",
  "status": "created",
  "mode": "bidirectional_translation",
  "source_language": "en",
  "target_language": "es",
  "provider": null,
  "phone_number": null,
  "stream": {
    "url": "wss://api.example.com/v1/sessions/sess_02kcvxLD3mcqFX1EhuPLpS/connect",
    "token": "kst_live_…",
    "expires_at": "2026-11-22T09:35:00Z"
  },
  "recording": { "enabled": false, "paused": false },
  "metadata": { "ticket": "4711" },
  "created_at": "2026-11-22T09:30:00.000Z",
  "started_at": null,
  "ended_at": null,
  "duration_seconds": null,
  "end_reason": null
}"#;

const ENDED_EXAMPLE: &str = r#"{
  "id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "object": "session",
  "status": "ended",
  "duration_seconds": 184,
  "ended_at": "2026-11-22T09:34:12.480Z"
}"#;

pub(super) fn schemas(edition: Edition) -> Schemas {
    vec![
        ("CreateSessionRequest", create(edition)),
        ("Routing", routing()),
        ("Expectation", expectation()),
        ("Session", session()),
        ("SessionList", list("Session", "/v1/sessions", EXAMPLE)),
        ("EndSessionRequest", end()),
        ("EndedSession", ended()),
    ]
}

/// A new session, as small as it can be.
pub(crate) fn create_example(_: Edition) -> Node {
    object! { "mode" => "bidirectional_translation", "source_language" => "en", "target_language" => "es" }
}

/// A new session with more.
pub(crate) fn create_with_vocabulary_example(_: Edition) -> Node {
    object! {
        "mode" => "assistive_translation",
        "source_language" => "de",
        "target_language" => "en-GB",
        "vocabulary" => json!({ "de": { "words": ["Kallglot"], "phrases": ["Ich möchte meine Bestellung ändern."] } }),
        "metadata" => json!({ "ticket": "4711", "queue": "orders" }),
    }
}

fn create(edition: Edition) -> Node {
    let edition = edition.rules();
    let language_type = if edition.languages_required { json!("string") } else { json!(["string", "null"]) };
    let language = |description: &str| {
        json!({
            "type": language_type, "pattern": LANGUAGE_PATTERN, "minLength": 2, "maxLength": 35, "description": description,
            "examples": ["en"],
        })
    };
    let required: &[&str] =
        if edition.languages_required { &["mode", "source_language", "target_language"] } else { &["mode"] };
    let mut fields = vec![
        ("mode", mode().into()),
        (
            "source_language",
            language("The customer's language (party A), a BCP 47 tag. Left out, it is detected, where an engine can.")
                .into(),
        ),
        (
            "target_language",
            language("The agent's language (party B), a BCP 47 tag. It must be another language than the customer's.")
                .into(),
        ),
        ("routing", any_of_null(reference("Routing"))),
    ];
    if edition.provider_field == ProviderField::ReadAsRouting {
        fields.push(("provider", provider()));
    }
    fields.extend([
        ("audio", audio().into()),
        (
            "voice",
            json!({
                "type": ["string", "null"], "minLength": 1, "maxLength": 100, "pattern": NO_CONTROL,
                "description": "The voice that speaks the translation, by an engine's name for it.",
            })
            .into(),
        ),
        ("agent_id", text_or_null("The AI agent that talks with the customer.").into()),
        (
            "recording",
            json!({
                "type": ["object", "null"], "description": "Whether the call is recorded. Left out, as the organization does.", "additionalProperties": false,
                "properties": { "enabled": { "type": ["boolean", "null"] } },
            })
            .into(),
        ),
        ("vocabulary", vocabulary()),
        ("metadata", metadata()),
    ]);
    let fields = Node::Object(fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect());
    let schema = request("A new session.", required, fields);
    match edition.provider_field {
        ProviderField::ReadAsRouting => schema.with("dependentSchemas", rules(vec![alone("provider", &["routing"])])),
        ProviderField::Refused => schema,
    }
}

fn mode() -> Value {
    let names: Vec<_> = Mode::ALL.iter().map(|mode| mode.as_str()).collect();
    json!({
        "type": "string", "enum": names,
        "description": "What the session does. `bidirectional_translation`: each party hears the other's words in its own language. \
            `assistive_translation`: the agent hears the original and reads the translation, the customer hears the agent's words \
            translated. A server without AI agents refuses the other two.",
    })
}

fn any_of_null(schema: Node) -> Node {
    object! { "anyOf" => vec![schema, json!({ "type": "null" }).into()] }
}

fn audio() -> Value {
    json!({
        "type": ["object", "null"],
        "description": "The stream's audio. There is one format.",
        "additionalProperties": false,
        "properties": {
            "encoding": { "enum": ["mulaw", null], "default": "mulaw" },
            "sample_rate_hz": { "enum": [8000, null], "default": 8000 },
            "channels": { "enum": [1, null], "default": 1 },
        },
    })
}

fn metadata() -> Node {
    object! {
        "type" => json!(["object", "null"]),
        "description" => "Your own data, given back with the session: up to 50 pairs.",
        "maxProperties" => json!(50),
        "propertyNames" => json!({ "minLength": 1, "maxLength": 40 }),
        "additionalProperties" => json!({ "type": "string", "maxLength": 500 }),
        "examples" => json!([{ "ticket": "4711" }]),
    }
}

fn vocabulary() -> Node {
    object! {
        "type" => json!(["object", "null"]),
        "description" => "What the recognizers should expect, by language, on top of the organization's own.",
        "propertyNames" => json!({ "pattern": LANGUAGE_PATTERN, "maxLength": 35 }),
        "additionalProperties" => any_of_null(reference("Expectation")),
    }
}

fn expectation() -> Node {
    let only_with_phrases = json!({ "anyOf": [
        { "properties": { "phrases_only": { "enum": [false, null] } } },
        { "properties": { "phrases": { "type": "array", "minItems": 1 } }, "required": ["phrases"] },
    ] });
    let texts = |description: &str, max: usize| {
        json!({
            "type": ["array", "null"], "maxItems": max, "description": description,
            "items": { "type": "string", "minLength": 1, "maxLength": Vocabulary::PHRASE_CHARS_MAX, "pattern": NOT_BLANK },
        })
    };
    request(
        "What a recognizer should expect in one language.",
        &[],
        object! {
            "phrases" => texts("Whole phrases that are likely to be said.", Vocabulary::PHRASES_MAX),
            "words" => texts("Words that the recognizer should know: names, products.", Vocabulary::WORDS_MAX),
            "phrases_only" => json!({
                "type": ["boolean", "null"], "default": false,
                "description": "Whether only what `phrases` is made of will be said: more exact on a closed domain, wrong outside it.",
            }),
        },
    )
    .with("dependentSchemas", rules(vec![("phrases_only", only_with_phrases)]))
}

/// The fields of `routing`.
fn routing_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("direction", json!({ "enum": ["inbound", "outbound", null], "description": "Who calls whom." })),
        (
            "phone_number",
            json!({
                "type": ["string", "null"], "pattern": "^\\+[1-9][0-9]{6,14}$", "description": "A managed number, in E.164 form.",
                "examples": ["+14155550123"],
            }),
        ),
        (
            "connection_id",
            json!({ "type": ["string", "null"], "pattern": "^pcon_", "description": "A connection to a carrier.", "examples": ["pcon_1"] }),
        ),
        ("type", json!({ "enum": ["sip", null], "description": "`sip`, when the call goes over SIP." })),
        ("sip", sip()),
    ]
}

fn sip() -> Value {
    json!({
        "type": ["object", "null"],
        "description": "How the SIP call is made. Only with `type: \"sip\"`.",
        "additionalProperties": false,
        "properties": {
            "from_uri": { "type": ["string", "null"], "minLength": 1, "maxLength": 255, "pattern": NO_CONTROL, "examples": ["sip:support@example.com"] },
            "headers": {
                "type": ["object", "null"], "maxProperties": 50,
                "description": "Headers of the INVITE; their names begin with `X-`.",
                "propertyNames": { "pattern": "^[Xx]-[A-Za-z0-9-]*$", "maxLength": 64 },
                "additionalProperties": { "type": "string" },
            },
        },
    })
}

/// What `routing` and `provider` have in common: a call goes one way, and SIP's details belong to SIP.
fn routing_rules(with_type: bool) -> Vec<(&'static str, Value)> {
    let others: &[&str] = if with_type { &["connection_id", "type"] } else { &["connection_id"] };
    let mut rules = vec![alone("phone_number", others)];
    if with_type {
        rules.push(alone("connection_id", &["type"]));
    }
    let sip = json!({ "properties": { "type": { "const": "sip" } }, "required": ["type"] });
    rules.push(("sip", json!({ "anyOf": [{ "properties": { "sip": { "type": "null" } } }, sip] })));
    rules
}

fn routing() -> Node {
    let fields = routing_fields().into_iter().map(|(name, schema)| (name.to_owned(), schema.into())).collect();
    request(
        "How the call reaches a phone: at most one of `phone_number`, `connection_id` and `type: \"sip\"`. Left out, the \
         organization's default route is taken, or, without one, the session has streams only.",
        &[],
        Node::Object(fields),
    )
    .with("dependentSchemas", rules(routing_rules(true)))
}

/// Edition 1's name for `routing`, in which a carrier can be named too.
fn provider() -> Node {
    let fields = routing_fields()
        .into_iter()
        .map(|(name, schema)| match name {
            "type" => (name, json!({ "enum": ["twilio", "telnyx", "sip", null], "description": "The carrier." })),
            _ => (name, schema),
        })
        .map(|(name, schema)| (name.to_owned(), schema.into()))
        .collect();
    let Node::Object(mut schema) =
        request("How the call reaches a phone. Instead of `routing`, not beside it.", &[], Node::Object(fields))
    else {
        return Node::Value(Value::Null);
    };
    schema[0].1 = json!(["object", "null"]).into();
    let mut rule = routing_rules(false);
    // A carrier alone says nothing about the call.
    let other = json!({ "properties": { "type": { "enum": ["sip", null] } } });
    rule.push(("type", json!({ "anyOf": [other, { "minProperties": 2 }] })));
    Node::Object(schema).with("dependentSchemas", rules(rule))
}

fn session() -> Node {
    let statuses: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).collect();
    let mut reasons: Vec<_> = EndReason::ALL.iter().map(|reason| json!(reason.as_str())).collect();
    reasons.push(Value::Null);
    answer(
        "A call between two parties.",
        object! {
            "id" => ids::session(),
            "object" => kind("session"),
            "status" => one_of(&statuses, "`created` until somebody joins, `active` until it has ended."),
            "mode" => mode(),
            "source_language" => language_or_null("The customer's language; null: it is detected."),
            "target_language" => language_or_null("The agent's language; null: it is detected."),
            "provider" => text_or_null("The carrier that the call goes over; null: none."),
            "phone_number" => text_or_null("The number that the call goes over; null: none."),
            "stream" => part_or_null(
                "How to join. Null when the session has ended, because its tokens die with it.",
                object! {
                    "url" => text("The address of the stream: a WebSocket."),
                    "token" => text_or_null("Lets its holder join until `expires_at`. Null in lists, and for keys without `sessions:write`."),
                    "expires_at" => time_or_null("Until when the token lets its holder join."),
                },
            ),
            "recording" => reference("SessionRecording"),
            "metadata" => json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": "Your own data." }),
            "created_at" => time("When it was created."),
            "started_at" => time_or_null("When the first audio came."),
            "ended_at" => time_or_null("When it ended."),
            "duration_seconds" => count_or_null("From the first audio to the end. Null until it has ended."),
            "end_reason" => json!({ "enum": reasons, "description": "Why it ended." }),
        },
        EXAMPLE,
    )
}

fn end() -> Node {
    request(
        "Why the session ends.",
        &[],
        object! {
            "reason" => json!({
                "enum": ["completed", "customer_hangup", "agent_hangup", "error", "timeout", null],
                "default": "completed", "description": "Kept as `end_reason`.",
            }),
        },
    )
}

fn ended() -> Node {
    answer(
        "A session that has ended.",
        object! {
            "id" => ids::session(),
            "object" => kind("session"),
            "status" => json!({ "type": "string", "const": "ended" }),
            "duration_seconds" => json!({ "type": "integer", "minimum": 0, "description": "From the first audio to the end." }),
            "ended_at" => time("When it ended."),
        },
        ENDED_EXAMPLE,
    )
}
