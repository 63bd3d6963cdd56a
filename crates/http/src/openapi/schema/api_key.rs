//! API keys and leak reports.

use kallglot_core::api_key::{ALLOWED_NETWORKS_MAX, KeyStatus, ROTATION_GRACE_S_MAX, SECRET_CHARS};
use kallglot_core::edition::Edition;
use kallglot_core::organization::NAME_CHARS_MAX;
use kallglot_core::permission::Permission;
use kallglot_core::plan::LimitOverrides;
use kallglot_core::session::Environment;
use serde_json::{Value, json};

use super::{
    NO_CONTROL, NOT_BLANK, Schemas, alone, count_or_null, ids, kind, list, one_of, part, part_or_null, request, rules,
    text, time, time_or_null,
};
use crate::openapi::node::{Node, object};

/// Longest life that can be given in `expires_in_seconds`: ten years.
const EXPIRES_IN_S_MAX: u64 = 10 * 366 * 24 * 60 * 60;

const EXAMPLE: &str = r#"{
  "id": "key_02kcvxLD3mcqFX1EhuPLpS",
  "object": "api_key",
  "name": "Call centre backend",
  "environment": "live",
  "prefix": "sk_live_",
  "last4": "x7Qd",
  "status": "rotating",
  "permissions": ["sessions:read", "sessions:write", "webhooks:manage"],
  "unused_permissions": ["webhooks:manage"],
  "allowed_ips": ["203.0.113.0/24", "2001:db8::/32"],
  "requests_per_minute": 300,
  "edition": null,
  "created_at": "2026-10-01T08:00:00.000Z",
  "last_used_at": "2026-11-22T09:29:58.000Z",
  "expires_at": null,
  "revoked_at": null,
  "quarantined_at": null,
  "rotation": {
    "old_secret_expires_at": "2026-11-23T09:30:00.000Z",
    "old_secret_last_used_at": "2026-11-22T09:29:12.000Z"
  }
}"#;

const LEAK_EXAMPLE: &str = r#"{ "object": "leak_report", "status": "revoked" }"#;

pub(super) fn schemas() -> Schemas {
    let key = finished("An API key.", key_fields(true)).with("examples", vec![Node::Json(EXAMPLE)]);
    vec![
        ("CreateApiKeyRequest", request("A new API key.", &[], changes(false)).with("dependentSchemas", one_expiry())),
        (
            "UpdateApiKeyRequest",
            request("What is to be changed of an API key.", &[], changes(true)).with("dependentSchemas", one_expiry()),
        ),
        ("RotateApiKeyRequest", rotate()),
        ("RevokeApiKeyRequest", revoke()),
        ("ApiKey", key),
        ("ApiKeyWithSecret", finished("An API key with its secret.", with_secret())),
        ("RevokedApiKey", finished("An API key that is revoked.", with_effective_at())),
        ("CallerApiKey", finished("The API key that makes the request.", key_fields(false))),
        ("ApiKeyList", list("ApiKey", "/v1/api_keys", EXAMPLE)),
        ("LeakReportRequest", leak_request()),
        ("LeakReport", leak_report().with("examples", vec![Node::Json(LEAK_EXAMPLE)])),
    ]
}

/// A new key that may do little.
pub(crate) fn create_example(_: Edition) -> Node {
    object! {
        "name" => "Reporting",
        "permissions" => json!(["sessions:read"]),
        "expires_in_seconds" => json!(7_776_000),
        "allowed_ips" => json!(["203.0.113.0/24"]),
    }
}

/// A report of a secret that has the right form but was never given out.
pub(crate) fn leak_example(_: Edition) -> Node {
    object! {
        "secret" => "sk_live_000000000000000000000000000000000000",
        "source" => "https://git.example.com/example/repository/blob/main/.env",
    }
}

fn finished(description: &str, fields: Vec<(&'static str, Node)>) -> Node {
    part(description, Node::Object(fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()))
}

fn permission_names() -> Vec<&'static str> {
    Permission::ALL.iter().map(|permission| permission.as_str()).collect()
}

fn permissions(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string", "enum": permission_names() }, "description": description })
}

fn key_fields(with_unused: bool) -> Vec<(&'static str, Node)> {
    let environments: Vec<_> = Environment::ALL.iter().map(|environment| environment.as_str()).collect();
    let statuses: Vec<_> = KeyStatus::ALL.iter().map(|status| status.as_str()).collect();
    let mut fields: Vec<(&'static str, Node)> = vec![
        ("id", ids::api_key().into()),
        ("object", kind("api_key").into()),
        ("name", text("What its owner calls it.").into()),
        ("environment", one_of(&environments, "Which side of the organization's data it sees.").into()),
        ("prefix", one_of(&["sk_live_", "sk_test_"], "What its secret begins with.").into()),
        (
            "last4",
            json!({ "type": "string", "pattern": "^[0-9A-Za-z]{4}$", "description": "What its secret ends with." })
                .into(),
        ),
        ("status", one_of(&statuses, "`rotating`: it has a new secret, and the old one is valid still.").into()),
        ("permissions", permissions("What it may do.").into()),
    ];
    if with_unused {
        let unused =
            permissions("What it has been allowed for 30 days or more and has not done in the last 30: take it away.");
        fields.push(("unused_permissions", unused.into()));
    }
    fields.extend([
        (
            "allowed_ips",
            json!({ "type": "array", "items": { "type": "string" }, "description": "From where it may be used, in CIDR form; empty: from anywhere." })
                .into(),
        ),
        ("requests_per_minute", count_or_null("A limit of its own, below the organization's; null: none.").into()),
        ("edition", json!({ "enum": [1, 2, null], "description": "The edition that it is pinned to; null: the organization's." }).into()),
        ("created_at", time("When it was created.").into()),
        ("last_used_at", time_or_null("When it was last used, to some seconds; null: never.").into()),
        ("expires_at", time_or_null("From when on it is refused; null: never.").into()),
        ("revoked_at", time_or_null("When it was revoked; null: it is not.").into()),
        ("quarantined_at", time_or_null("Since when it may only read, because its secret was reported as leaked; null: it is not.").into()),
        (
            "rotation",
            part_or_null(
                "How far its rotation is; null: no old secret is valid.",
                object! {
                    "old_secret_expires_at" => time("Until when the old secret is valid."),
                    "old_secret_last_used_at" => time_or_null("When the old secret was last used: who still has to change over. Null: not since the rotation."),
                },
            ),
        ),
    ]);
    fields
}

fn with_secret() -> Vec<(&'static str, Node)> {
    let mut fields = key_fields(true);
    let secret = json!({
        "type": "string", "pattern": "^sk_(live|test)_[0-9A-Za-z]{36}$",
        "description": "The secret. It is shown this once: keep it where only your servers can read it.",
    });
    fields.push(("secret", secret.into()));
    fields
}

fn with_effective_at() -> Vec<(&'static str, Node)> {
    let mut fields = key_fields(true);
    fields.push(("effective_at", time("From when on no server lets it in.").into()));
    fields
}

/// What can be said of a key when it is made or changed.
fn changes(of_existing: bool) -> Node {
    let fields = object! {
        "name" => json!({
            "type": ["string", "null"], "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": NOT_BLANK,
            "description": "What you call it.",
        }),
        "permissions" => json!({
            "type": "array", "minItems": 1, "items": { "type": "string", "enum": permission_names() },
            "description": if of_existing {
                "What it may do."
            } else {
                "What it may do. Left out: the standard permissions of its edition, as far as the caller has them."
            },
        }),
        "expires_at" => json!({ "type": ["string", "null"], "format": "date-time", "description": "From when on it is refused. Null: never." }),
        "expires_in_seconds" => json!({
            "type": ["integer", "null"], "minimum": 1, "maximum": EXPIRES_IN_S_MAX,
            "description": "The same, counted from now. Not together with `expires_at`.",
        }),
        "allowed_ips" => json!({
            "type": ["array", "null"], "maxItems": ALLOWED_NETWORKS_MAX, "items": network(),
            "description": if of_existing {
                "From where it may be used: networks in CIDR form, or addresses. Null or empty: from anywhere."
            } else {
                "From where it may be used: networks in CIDR form, or addresses. Left out: as the caller; empty: from anywhere."
            },
        }),
        "requests_per_minute" => json!({
            "type": ["integer", "null"], "minimum": 1, "maximum": LimitOverrides::LIMIT_MAX,
            "description": "A limit of its own, below the organization's. Null: none.",
        }),
        "edition" => json!({ "enum": [1, 2, null], "description": "The edition that it is pinned to. Null: the organization's." }),
    };
    if of_existing {
        fields.with("quarantined", json!({ "enum": [false, null], "description": "False ends a quarantine." }))
    } else {
        fields
    }
}

fn one_expiry() -> Node {
    rules(vec![alone("expires_at", &["expires_in_seconds"])])
}

/// A network in CIDR form, or one address. Of IPv6 the pattern knows what comes in practice.
fn network() -> Value {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let ipv4 = format!("^{byte}(\\.{byte}){{3}}(/(3[0-2]|[12]?[0-9]))?$");
    let group = "[0-9A-Fa-f]{1,4}";
    let length = "(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?$";
    let whole = format!("^{group}(:{group}){{7}}{length}");
    let cut = format!("^{group}(:{group}){{0,5}}::{length}");
    let begins_cut = format!("^::({group}(:{group}){{0,5}})?{length}");
    json!({
        "type": "string", "anyOf": [{ "pattern": ipv4 }, { "pattern": whole }, { "pattern": cut }, { "pattern": begins_cut }],
        "examples": ["203.0.113.0/24", "2001:db8::/32"],
    })
}

fn rotate() -> Node {
    request(
        "How the secret is replaced.",
        &[],
        object! {
            "grace_seconds" => json!({
                "type": ["integer", "null"], "minimum": 0, "maximum": ROTATION_GRACE_S_MAX, "default": 3600,
                "description": "How long the old secret stays valid: up to 7 days.",
            }),
        },
    )
}

fn revoke() -> Node {
    request(
        "How the key is revoked.",
        &[],
        object! {
            "close_streams" => json!({
                "type": ["boolean", "null"], "default": false,
                "description": "Whether the streams that its sessions have open are closed as well.",
            }),
        },
    )
}

fn leak_request() -> Node {
    request(
        "A secret that was found where it should not be.",
        &["secret"],
        object! {
            "secret" => json!({
                "type": "string", "minLength": SECRET_CHARS, "maxLength": SECRET_CHARS,
                "pattern": "^sk_(live|test)_[0-9A-Za-z]{36}$", "description": "The secret, whole.",
            }),
            "source" => json!({
                "type": ["string", "null"], "minLength": 1, "maxLength": 200, "pattern": NO_CONTROL, "description": "Where it was found.",
            }),
        },
    )
}

fn leak_report() -> Node {
    part(
        "What was done about a leaked key.",
        object! {
            "object" => kind("leak_report"),
            "status" => one_of(
                &["revoked", "quarantined", "reported"],
                "`revoked`: no server lets it in any more. `quarantined`: it may only read. `reported`: its owner was told.",
            ),
        },
    )
}
