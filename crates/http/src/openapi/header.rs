//! The headers of answers (contract section 5), and those of requests that more than one route takes.

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use serde_json::json;

use super::node::{Node, object};
use super::operation::Operation;
use super::schema::ids;

/// On every answer.
const ALWAYS: &[&str] = &["X-Request-ID", "Kallglot-Edition"];

/// On every answer to a request whose key was accepted.
const LIMITS: &[&str] = &[
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
    "X-API-Credits-Remaining",
    "X-API-Credits-Used",
];

/// On an answer that is given again.
const REPLAY: &[&str] = &["Idempotent-Replayed", "Idempotent-Original-Request-ID"];

/// The headers of answers, as components.
pub(super) fn components(edition: Edition) -> Vec<(String, Node)> {
    let number = |description: &str, example: u64| json!({ "description": description, "schema": { "type": "integer", "minimum": 0 }, "example": example });
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string" }, "example": example });
    let edition_number = edition.to_string();
    [
        (
            "X-Request-ID",
            json!({ "description": "The request's id: quote it when you ask us, or ask `GET /v1/requests/{id}`.", "required": true, "schema": ids::request() }),
        ),
        (
            "Kallglot-Edition",
            json!({
                "description": "By which edition of the API the request was answered.", "required": true,
                "schema": { "type": "string", "const": edition_number }, "example": edition_number,
            }),
        ),
        ("X-RateLimit-Limit", number("How many requests the window lets through.", 600)),
        ("X-RateLimit-Remaining", number("How many of them are left.", 599)),
        ("X-RateLimit-Reset", number("When the window ends, in Unix seconds.", 1_795_339_860)),
        ("RateLimit-Policy", text("The same limits as the IETF's draft writes them.", "\"organization\";q=600;w=60")),
        ("RateLimit", text("What is left of them, and for how many seconds.", "\"organization\";r=599;t=42")),
        ("X-API-Credits-Remaining", number("Credits that are left, after this request.", 4209)),
        ("X-API-Credits-Used", number("Credits that were spent in this billing period, after this request.", 791)),
        (
            "Retry-After",
            json!({ "description": "When to try again, in seconds.", "schema": { "type": "integer", "minimum": 1 }, "example": 12 }),
        ),
        (
            "Idempotent-Replayed",
            json!({ "description": "The answer was given before to a request with this `Idempotency-Key`; nothing was done again.", "schema": { "type": "string", "const": "true" }, "example": "true" }),
        ),
        (
            "Idempotent-Original-Request-ID",
            json!({ "description": "The request that the replayed answer was made for.", "schema": ids::request() }),
        ),
        (
            "WWW-Authenticate",
            text("How to authenticate (RFC 6750), and with 403 which scope is missing.", "Bearer"),
        ),
        ("ETag", text("Names this version of the answer, for `If-None-Match`.", "\"2-5f1c\"")),
    ]
    .into_iter()
    .map(|(name, header)| (name.to_owned(), header.into()))
    .collect()
}

fn references<'a>(names: impl Iterator<Item = &'a str>) -> Node {
    Node::Object(
        names.map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }).into())).collect(),
    )
}

/// The headers of an answer that is no error.
pub(super) fn of_answer(operation: &Operation) -> Node {
    let limits: &[&str] = if operation.needs_key() { LIMITS } else { &[] };
    let replay: &[&str] = if operation.idempotent { REPLAY } else { &[] };
    let etag: &[&str] = if operation.cached() { &["ETag"] } else { &[] };
    references([ALWAYS, limits, replay, etag].into_iter().flatten().copied())
}

/// The headers of an error answer that gives one of these codes.
pub(super) fn of_error(operation: &Operation, status: u16, codes: &[ErrorCode]) -> Node {
    let limits: &[&str] = if operation.needs_key() && status != 401 { LIMITS } else { &[] };
    let retry: &[&str] = if codes.iter().any(|code| tells_when(*code)) { &["Retry-After"] } else { &[] };
    let authenticate = status == 401 || codes.contains(&ErrorCode::InsufficientPermissions);
    let authenticate: &[&str] = if authenticate { &["WWW-Authenticate"] } else { &[] };
    references([ALWAYS, limits, retry, authenticate].into_iter().flatten().copied())
}

/// Whether an error of this code says when to try again.
pub(super) fn tells_when(code: ErrorCode) -> bool {
    matches!(code.row().status, Some(429 | 503)) || code == ErrorCode::IdempotencyConflict
}

/// The headers of requests, as parameters among the components.
pub(super) fn parameters(edition: Edition) -> Vec<(String, Node)> {
    let number = edition.to_string();
    vec![
        (
            "Edition".to_owned(),
            object! {
                "name" => "Kallglot-Edition",
                "in" => "header",
                "description" => format!(
                    "By which edition the request is read and answered. Left out, the key's own edition, or else its organization's. \
                     This document describes edition {number}.",
                ),
                "schema" => json!({ "type": "string", "enum": [number] }),
            },
        ),
        (
            "IdempotencyKey".to_owned(),
            object! {
                "name" => "Idempotency-Key",
                "in" => "header",
                "description" => "Your own name for this request, 1 to 255 printable ASCII characters, bare or in double quotes. The same \
                    request with the same key is answered as the first one was, and nothing is done or paid twice. Kept for 24 hours.",
                "schema" => json!({ "type": "string", "pattern": "^[!#-~]([ -~]{0,253}[!-~])?$", "examples": ["order-17"] }),
            },
        ),
    ]
}
