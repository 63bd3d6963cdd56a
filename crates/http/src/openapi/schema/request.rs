//! The request log and idempotency keys.

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::{Value, json};

use super::{
    Schemas, address, count, ids, kind, list, one_of, part, part_or_null, text, text_or_null, time, time_or_null,
};
use crate::openapi::node::{Node, object};

const EXAMPLE: &str = r#"{
  "id": "req_02kcvxLD3mcqFX1EhuPLpS",
  "object": "request",
  "created_at": "2026-11-22T09:30:00.000Z",
  "method": "POST",
  "route": "/v1/sessions",
  "status": 403,
  "code": "insufficient_permissions",
  "api_key": "key_02kcvxLD3mcqFX1EhuPLpS",
  "address": "203.0.113.7",
  "edition": 2,
  "latency_ms": 0.184,
  "outcome": "refused",
  "explanation": {
    "step": 6,
    "check": "permission",
    "message": "The API key does not have the permission `sessions:write`.",
    "fix": "Use a key that has it, or add it to this one."
  },
  "missing_permission": "sessions:write",
  "param": null,
  "limits": {
    "rate_limit": { "limit": 600, "remaining": 598, "reset": 1795339860, "scope": "organization" },
    "credits_remaining": 4210,
    "concurrent_sessions": null
  }
}"#;

const IDEMPOTENCY_EXAMPLE: &str = r#"{
  "object": "idempotency_key",
  "key": "order-17",
  "status": "completed",
  "request_id": "req_02kcvxLD3mcqFX1EhuPLpS",
  "response_status": 201,
  "created_at": "2026-11-22T09:30:00.000Z",
  "expires_at": "2026-11-23T09:30:00.000Z"
}"#;

/// The codes that answers can have. The log has edition 2's names, whatever edition a request was answered by.
fn http_codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().filter(|code| code.row().status.is_some()).map(|code| code.as_str()).collect()
}

/// The query parameter `code`.
pub(crate) fn code_parameter(_: Edition) -> Value {
    json!({ "type": "string", "enum": http_codes(), "examples": ["rate_limit_exceeded"] })
}

pub(super) fn schemas() -> Schemas {
    vec![
        ("Request", request().with("examples", vec![Node::Json(EXAMPLE)])),
        ("RequestList", list("Request", "/v1/requests", EXAMPLE)),
        ("IdempotencyKey", idempotency_key().with("examples", vec![Node::Json(IDEMPOTENCY_EXAMPLE)])),
    ]
}

fn request() -> Node {
    let mut codes: Vec<_> = http_codes().into_iter().map(Value::from).collect();
    codes.push(Value::Null);
    let mut permissions: Vec<_> = Permission::ALL.iter().map(|permission| json!(permission.as_str())).collect();
    permissions.push(Value::Null);
    part(
        "What became of one request.",
        object! {
            "id" => ids::request(),
            "object" => kind("request"),
            "created_at" => time("When it arrived."),
            "method" => text("Its method."),
            "route" => text("Its route, not its path: `/v1/sessions/{id}`."),
            "status" => json!({ "type": "integer", "minimum": 100, "maximum": 599, "description": "Its answer's status." }),
            "code" => json!({ "enum": codes, "description": "Its error code, by edition 2's name; null: it was answered without an error." }),
            "api_key" => ids::api_key(),
            "address" => address("From where it came."),
            "edition" => json!({ "type": "integer", "enum": [1, 2], "description": "By which edition it was answered." }),
            "latency_ms" => json!({ "type": "number", "minimum": 0, "description": "From its arrival to its answer." }),
            "outcome" => one_of(
                &["allowed", "refused", "failed"],
                "`refused`: because of the request. `failed`: because of the server.",
            ),
            "explanation" => part_or_null("Why it was refused; null: it was not.", object! {
                "step" => json!({
                    "type": "integer", "minimum": 1, "maximum": 11,
                    "description": "Which check refused it: 1 request id, 2 credential, 3 the key's state, 4 rate limit, 5 organization, \
                        6 permission, 7 idempotency, 8 body, 9 concurrent sessions, 10 credits, 11 the work itself.",
                }),
                "check" => text("The check's name."),
                "message" => text("What is wrong."),
                "fix" => text("What to do about it."),
            }),
            "missing_permission" => json!({ "enum": permissions, "description": "The permission that the key lacks." }),
            "param" => text_or_null("The field or parameter that was wrong."),
            "limits" => part_or_null("How the limits stood after it; null: it was refused before they were asked.", object! {
                "rate_limit" => part("The bucket that had least left.", object! {
                    "limit" => count("Requests a minute."),
                    "remaining" => count("What was left of them."),
                    "reset" => count("When its window ended, in Unix seconds."),
                    "scope" => one_of(&["organization", "key"], "Whose bucket it is."),
                }),
                "credits_remaining" => json!({ "type": "integer", "description": "Credits that were left." }),
                "concurrent_sessions" => part_or_null("Where it asked for one more session.", object! {
                    "limit" => count("Sessions that there may be."),
                    "in_use" => count("Sessions that there were."),
                }),
            }),
        },
    )
}

fn idempotency_key() -> Node {
    part(
        "Where the request with an `Idempotency-Key` stands.",
        object! {
            "object" => kind("idempotency_key"),
            "key" => text("The key, without quotes."),
            "status" => one_of(&["in_progress", "completed"], "`completed`: its answer is kept and will be given again."),
            "request_id" => ids::request_or_null("The first request with it, once it is known."),
            "response_status" => json!({ "type": ["integer", "null"], "minimum": 100, "maximum": 599, "description": "That request's answer." }),
            "created_at" => time_or_null("When that answer was given."),
            "expires_at" => time_or_null("Until when it is kept."),
        },
    )
}
