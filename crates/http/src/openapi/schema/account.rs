//! Who a key is, and which languages there are.

use kallglot_core::plan::Plan;
use serde_json::json;

use super::{
    Schemas, address, answer, count, count_or_null, flag, ids, kind, one_of, part, reference, text, text_or_null, time,
};
use crate::openapi::node::{Node, object};

const WHOAMI_EXAMPLE: &str = r#"{
  "object": "whoami",
  "api_key": {
    "id": "key_02kcvxLD3mcqFX1EhuPLpS",
    "object": "api_key",
    "name": "Call centre backend",
    "environment": "live",
    "prefix": "sk_live_",
    "last4": "x7Qd",
    "status": "active",
    "permissions": ["sessions:read", "sessions:write"],
    "allowed_ips": ["203.0.113.0/24"],
    "requests_per_minute": null,
    "edition": null,
    "created_at": "2026-11-01T08:00:00.000Z",
    "last_used_at": "2026-11-22T09:29:58.000Z",
    "expires_at": null,
    "revoked_at": null,
    "quarantined_at": null,
    "rotation": null
  },
  "organization": { "id": "org_02kcvxLD3mcqFX1EhuPLpS", "name": "Example Ltd", "plan": "pro", "active": true },
  "limits": {
    "requests_per_minute": 600,
    "own_requests_per_minute": null,
    "concurrent_sessions": 50,
    "stream_messages_per_second": 1000,
    "stream_audio_bytes_per_second": 131072
  },
  "credits": {
    "remaining": 4210,
    "used": 790,
    "period_start": "2026-11-01T00:00:00.000Z",
    "period_end": "2026-12-01T00:00:00.000Z"
  },
  "edition": 2,
  "address": "203.0.113.7"
}"#;

const LANGUAGES_EXAMPLE: &str = r#"{
  "object": "list",
  "data": [
    {
      "source_language": "en",
      "target_language": "es",
      "engine": "classic",
      "recognition": "basic",
      "needs_phrases": false,
      "speech": true
    }
  ]
}"#;

pub(super) fn schemas() -> Schemas {
    vec![("WhoAmI", whoami()), ("LanguageList", languages())]
}

fn whoami() -> Node {
    let plans: Vec<_> = Plan::ALL.iter().map(|plan| plan.as_str()).collect();
    answer(
        "The key that makes the request, and what it may do.",
        object! {
            "object" => kind("whoami"),
            "api_key" => reference("CallerApiKey"),
            "organization" => part("Whose key it is.", object! {
                "id" => ids::organization(),
                "name" => text("What it is called."),
                "plan" => one_of(&plans, "What it has subscribed to."),
                "active" => flag("Whether its subscription is active."),
            }),
            "limits" => part("What the key may do in its environment.", object! {
                "requests_per_minute" => count("Requests a minute, all keys of the organization in this environment together."),
                "own_requests_per_minute" => count_or_null("The key's own, lower limit; null: it has none."),
                "concurrent_sessions" => count("Sessions at one time."),
                "stream_messages_per_second" => count("Messages a second on one stream."),
                "stream_audio_bytes_per_second" => count("Bytes of decoded audio a second on one stream."),
            }),
            "credits" => part("How the organization's credits stand.", object! {
                "remaining" => json!({ "type": "integer", "description": "What is left." }),
                "used" => json!({ "type": "integer", "description": "What was spent in this billing period." }),
                "period_start" => time("When the billing period began."),
                "period_end" => time("When it ends and the next one begins."),
            }),
            "edition" => json!({ "type": "integer", "enum": [1, 2], "description": "By which edition this request was answered." }),
            "address" => address("From where the request came, as the server sees it: what an allow-list is compared with."),
        },
        WHOAMI_EXAMPLE,
    )
}

fn languages() -> Node {
    answer(
        "The directions that can be interpreted.",
        object! {
            "object" => json!({ "type": "string", "const": "list" }),
            "data" => object! { "type" => "array", "items" => part("One direction.", object! {
                "source_language" => text_or_null("The primary language that is spoken; null: any."),
                "target_language" => text_or_null("The primary language that it is translated into; null: any."),
                "engine" => text("The engine that does it."),
                "recognition" => one_of(
                    &["good", "basic", "phrases_only"],
                    "How well speech is understood. `phrases_only`: only what a phrase list gives.",
                ),
                "needs_phrases" => flag("Whether a session needs `vocabulary` for it."),
                "speech" => flag("Whether the translation is also spoken."),
            }) },
        },
        LANGUAGES_EXAMPLE,
    )
}
