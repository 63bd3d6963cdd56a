//! The audit log.

use kallglot_core::audit::AuditAction;
use serde_json::json;

use super::{Schemas, ids, kind, list, one_of, part, text, text_or_null, time};
use crate::openapi::node::{Node, object};

const EXAMPLE: &str = r#"{
  "id": "aud_02kcvxLD3mcqFX1EhuPLpS",
  "object": "audit_entry",
  "created_at": "2026-11-22T09:30:00.000Z",
  "action": "api_key.updated",
  "actor": { "type": "api_key", "id": "key_02kcvxLD3mcqFX1EhuPLpS" },
  "address": "203.0.113.7",
  "request_id": "req_02kcvxLD3mcqFX1EhuPLpS",
  "object_id": "key_02kcvxLD3mcqFX1EhuPLpS",
  "environment": "live",
  "changes": { "permissions": { "before": "sessions:read sessions:write", "after": "sessions:read" } }
}"#;

pub(super) fn schemas() -> Schemas {
    let actions: Vec<_> = AuditAction::ALL.iter().map(|action| action.as_str()).collect();
    let entry = part(
        "One thing that was done.",
        object! {
            "id" => ids::audit_entry(),
            "object" => kind("audit_entry"),
            "created_at" => time("When."),
            "action" => one_of(&actions, "What was done."),
            "actor" => part("Who did it.", object! {
                "type" => one_of(
                    &["api_key", "person", "operator", "leak_reporter", "server"],
                    "A request with a key, a person at the Developer Portal, somebody at the server's command line, somebody who reported a leaked key, or the server by itself.",
                ),
                "id" => text_or_null("The key's or the person's id, when it was one."),
            }),
            "address" => text_or_null("From where; null: at the command line."),
            "request_id" => ids::request_or_null("By which request; null: at the command line."),
            "object_id" => text("To what: the id of a key or of the organization."),
            "environment" => json!({ "enum": ["live", "test", null], "description": "In which environment; null: in both." }),
            "changes" => object! {
                "type" => "object",
                "description" => "What changed, by property, as people read it. Never a secret.",
                "additionalProperties" => part("A value before and after.", object! {
                    "before" => text("Empty for what is new."),
                    "after" => text("Empty for what is gone."),
                }),
            },
        },
    );
    vec![
        ("AuditEntry", entry.with("examples", vec![Node::Json(EXAMPLE)])),
        ("AuditLog", list("AuditEntry", "/v1/audit_log", EXAMPLE)),
    ]
}
