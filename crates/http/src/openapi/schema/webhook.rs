//! Webhook endpoints, deliveries, and the document's section `webhooks`: every type of event with an example of its body.

use kallglot_core::Timestamp;
use kallglot_core::delivery::{
    AttemptError, DESCRIPTION_CHARS_MAX, DeliveryStatus, DisabledReason, SECRET_OVERLAP_MAX, URL_BYTES_MAX,
};
use kallglot_core::edition::Edition;
use kallglot_core::event::EventType;
use kallglot_core::event_sample::sample;
use kallglot_core::id::{EventId, OrganizationId};
use kallglot_core::session::{Environment, Tenant};
use serde_json::{Value, json};

use super::{
    NO_CONTROL, Schemas, count, ids, kind, list, one_of, part, part_or_null, reference, request, text, text_or_null,
    time, time_or_null,
};
use crate::openapi::node::{Node, object};

const EXAMPLE: &str = r#"{
  "id": "wh_02kcvxLD3mcqFX1EhuPLpS",
  "object": "webhook",
  "environment": "live",
  "url": "https://example.com/webhooks",
  "description": "Call archive",
  "events": ["session.started", "session.ended"],
  "status": "enabled",
  "disabled": null,
  "created_at": "2026-11-22T09:30:00.000Z",
  "updated_at": "2026-11-22T09:30:00.000Z",
  "failing_since": null,
  "last_success_at": "2026-11-22T09:31:04.120Z",
  "last_failure_at": null,
  "rotation": null
}"#;

const DELIVERY_EXAMPLE: &str = r#"{
  "id": "dlv_02kcvxLD3mcqFX1EhuPLpS",
  "object": "webhook_delivery",
  "webhook_id": "wh_02kcvxLD3mcqFX1EhuPLpS",
  "event_id": "evt_02kcvxLD3mcqFX1EhuPLpS",
  "event_type": "session.ended",
  "event_created_at": "2026-11-22T09:31:04.000Z",
  "status": "succeeded",
  "attempt_count": 1,
  "next_attempt_at": null,
  "created_at": "2026-11-22T09:31:04.020Z",
  "finished_at": "2026-11-22T09:31:04.120Z"
}"#;

/// The query parameter `status` of deliveries.
pub(crate) fn status_parameter(_: Edition) -> Value {
    json!({ "type": "string", "enum": statuses(), "examples": ["failed"] })
}

fn statuses() -> Vec<&'static str> {
    DeliveryStatus::ALL.iter().map(|status| status.as_str()).collect()
}

/// The types that can be asked for.
fn wanted() -> Vec<&'static str> {
    let types = EventType::ALL.iter().filter(|event_type| **event_type != EventType::WebhookTest);
    types.map(|event_type| event_type.as_str()).collect()
}

pub(super) fn schemas() -> Schemas {
    vec![
        ("CreateWebhookRequest", request("A new webhook endpoint.", &["url"], changes(false))),
        ("UpdateWebhookRequest", request("What is to be changed of an endpoint.", &[], changes(true))),
        ("TestWebhookRequest", test()),
        ("RotateWebhookSecretRequest", rotate()),
        ("RedeliverRequest", request("Nothing.", &[], object! {})),
        ("Webhook", part("A webhook endpoint.", fields(false)).with("examples", vec![Node::Json(EXAMPLE)])),
        ("WebhookWithSecret", part("A webhook endpoint with its secret.", fields(true))),
        ("WebhookList", list("Webhook", "/v1/webhooks", EXAMPLE)),
        (
            "WebhookDelivery",
            part("The delivery of one event to one endpoint.", delivery(false))
                .with("examples", vec![Node::Json(DELIVERY_EXAMPLE)]),
        ),
        ("WebhookDeliveryLog", part("A delivery with its attempts.", delivery(true))),
        ("WebhookDeliveryList", deliveries()),
    ]
}

fn changes(of_existing: bool) -> Node {
    let url = json!({
        "type": if of_existing { json!(["string", "null"]) } else { json!("string") },
        "maxLength": URL_BYTES_MAX, "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^\\u0000-\\u0020\\\\#]+$",
        "description": "Where events are sent: `https`, and a public address. (`http` only in the test environment, and only if the server \
            allows it.)",
        "examples": ["https://example.com/webhooks"],
    });
    let fields = object! {
        "url" => url,
        "events" => json!({
            "type": ["array", "null"],
            "anyOf": [
                { "type": "null" },
                { "items": { "enum": wanted() } },
                { "items": { "const": "*" }, "maxItems": 1 },
            ],
            "description": "Which events it gets. `[\"*\"]`, null or an empty list: all, also of types that come later.",
        }),
        "description" => json!({
            "type": ["string", "null"], "minLength": 1, "maxLength": DESCRIPTION_CHARS_MAX, "pattern": NO_CONTROL,
            "description": "Your note.",
        }),
    };
    if of_existing {
        fields.with("enabled", json!({ "type": ["boolean", "null"], "description": "Whether events are sent to it." }))
    } else {
        fields
    }
}

fn test() -> Node {
    let types: Vec<Value> = EventType::ALL.iter().map(|it| json!(it.as_str())).chain([Value::Null]).collect();
    request(
        "What is sent.",
        &[],
        object! {
            "type" => json!({ "enum": types, "default": "webhook.test", "description": "The event's type; the data is a sample." }),
        },
    )
}

fn rotate() -> Node {
    request(
        "How the secret is replaced.",
        &[],
        object! {
            "overlap_seconds" => json!({
                "type": ["integer", "null"], "minimum": 0, "maximum": SECRET_OVERLAP_MAX.as_secs(), "default": 86400,
                "description": "How long deliveries are signed with the old secret too: up to 7 days.",
            }),
        },
    )
}

fn fields(with_secret: bool) -> Node {
    let environments: Vec<_> = Environment::ALL.iter().map(|environment| environment.as_str()).collect();
    let reasons: Vec<_> = DisabledReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let fields = object! {
        "id" => ids::webhook(),
        "object" => kind("webhook"),
        "environment" => one_of(&environments, "Whose events it gets."),
        "url" => text("Where events are sent."),
        "description" => text_or_null("Your note."),
        "events" => json!({ "type": "array", "items": { "type": "string" }, "description": "Which events it gets; `[\"*\"]`: all." }),
        "status" => one_of(&["enabled", "disabled"], "Whether events are sent to it."),
        "disabled" => part_or_null("Why not; null: they are.", object! {
            "reason" => one_of(&reasons, "`by_owner`: as you wanted. `failing`: it failed for five days. `gone`: it answered 410."),
            "at" => time("Since when."),
        }),
        "created_at" => time("When it was created."),
        "updated_at" => time("When it was last changed."),
        "failing_since" => time_or_null("Since when attempts have failed without a success in between; null: the last one succeeded."),
        "last_success_at" => time_or_null("The last attempt that succeeded."),
        "last_failure_at" => time_or_null("The last attempt that failed."),
        "rotation" => part_or_null("How far its secret's rotation is; null: there is one secret.", object! {
            "old_secret_expires_at" => time("Until when deliveries are signed with the old secret too."),
        }),
    };
    if with_secret {
        let secret = json!({
            "type": "string", "pattern": "^whsec_[0-9A-Za-z+/]+={0,2}$",
            "description": "The secret. It is shown this once: keep it where only the receiver can read it.",
        });
        fields.with("secret", secret)
    } else {
        fields
    }
}

fn delivery(with_attempts: bool) -> Node {
    let types: Vec<_> = EventType::ALL.iter().map(|event_type| event_type.as_str()).collect();
    let errors: Vec<_> = AttemptError::ALL.iter().map(|error| error.as_str()).collect();
    let fields = object! {
        "id" => ids::delivery(),
        "object" => kind("webhook_delivery"),
        "webhook_id" => ids::webhook(),
        "event_id" => ids::event(),
        "event_type" => one_of(&types, "What happened."),
        "event_created_at" => time("When it happened."),
        "status" => one_of(&statuses(), "`pending`: another attempt is to come. `failed`: given up."),
        "attempt_count" => count("How many attempts were made."),
        "next_attempt_at" => time_or_null("When the next one is due."),
        "created_at" => time("When it was made."),
        "finished_at" => time_or_null("When it succeeded or was given up."),
    };
    if !with_attempts {
        return fields;
    }
    let attempt = part(
        "One attempt.",
        object! {
            "created_at" => time("When it began."),
            "duration_ms" => count("How long it took."),
            "request" => part("What was sent, beside `request_body`.", object! {
                "url" => text("Where it was sent."),
                "headers" => json!({
                    "type": "object", "additionalProperties": { "type": "string" },
                    "description": "What its signatures were made of. The signatures themselves are not kept.",
                }),
            }),
            "response" => part_or_null("What came back; null: no answer came.", object! {
                "status" => json!({ "type": "integer", "minimum": 100, "maximum": 999, "description": "The answer's status." }),
                "headers" => text("The beginning of its headers, one per line."),
                "body" => text("The beginning of its body."),
            }),
            "error" => part_or_null("Why it failed; null: it succeeded.", object! {
                "code" => one_of(&errors, "The kind of failure."),
                "message" => text("What went wrong."),
            }),
        },
    );
    fields
        .with("request_body", text_or_null("What is sent, byte for byte; null: the event is not stored any more."))
        .with(
            "attempts",
            object! { "type" => "array", "description" => "The attempts, the first one first.", "items" => attempt },
        )
}

fn deliveries() -> Node {
    let page = object! {
        "object" => "list",
        "data" => vec![Node::Json(DELIVERY_EXAMPLE)],
        "has_more" => false,
        "url" => "/v1/webhooks/wh_02kcvxLD3mcqFX1EhuPLpS/deliveries",
    };
    let fields = object! {
        "object" => json!({ "type": "string", "const": "list" }),
        "data" => object! { "type" => "array", "description" => "The items, newest event first.", "items" => reference("WebhookDelivery") },
        "has_more" => json!({ "type": "boolean", "description": "Whether there are more items in the direction that was asked for." }),
        "url" => text("The list's address."),
    };
    part("A page of a list.", fields).with("examples", vec![page])
}

/// The document's section `webhooks`: what is sent to endpoints, by type.
pub(in crate::openapi) fn webhooks() -> Node {
    Node::Object(EventType::ALL.iter().map(|event_type| (event_type.to_string(), webhook(*event_type))).collect())
}

fn webhook(event_type: EventType) -> Node {
    let tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live };
    let at = Timestamp::from_second(1_795_339_800).unwrap_or(Timestamp::UNIX_EPOCH);
    let bits = u128::from(at.as_millisecond().unsigned_abs()) << 80 | 1;
    let example: Value =
        serde_json::from_str(&sample(event_type, tenant, EventId::from_bits(bits), at).body()).unwrap_or_default();
    let schema = json!({
        "allOf": [{ "$ref": "#/components/schemas/Event" }],
        "properties": { "type": { "const": event_type.as_str() } },
    });
    let header = |name: &str, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": { "type": "string", "examples": [example] },
        })
        .into()
    };
    let parameters: Vec<Node> = vec![
        header("webhook-id", "The event's id: the same in every attempt.", "evt_02kcvxLD3mcqFX1EhuPLpS"),
        header("webhook-timestamp", "When this attempt was made, in Unix seconds.", "1795339800"),
        header(
            "webhook-signature",
            "`v1,` and the base64 of HMAC-SHA-256 over `{webhook-id}.{webhook-timestamp}.{body}`, keyed with the bytes that stand after \
             `whsec_` in the secret, in base64. One for each secret that is valid, separated by spaces.",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        header(
            "Kallglot-Signature",
            "`t`: when this attempt was made; `v1`: the hex of HMAC-SHA-256 over `{t}.{body}`, keyed with the secret's whole text. One `v1` \
             for each secret that is valid.",
            "t=1795339800,v1=2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964",
        ),
    ];
    let operation = object! {
        "operationId" => format!("on_{}", event_type.as_str().replace('.', "_")),
        "tags" => json!(["Webhooks"]),
        "summary" => event_type.meaning(),
        "parameters" => parameters,
        "requestBody" => object! {
            "required" => true,
            "content" => object! { "application/json" => object! { "schema" => schema, "example" => example } },
        },
        "responses" => json!({
            "2XX": { "description": "Accepted. Anything else, or nothing within 30 s, and it is sent again later." },
            "410": { "description": "The endpoint is gone: it is disabled at once." },
        }),
    };
    object! { "post" => operation }
}
