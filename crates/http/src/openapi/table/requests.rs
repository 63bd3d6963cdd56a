//! What became of requests: the request log and the idempotency keys (contract section 8).

use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::json;

use super::{AFTER, LIMIT, api_key_id, path, query, request_id};
use crate::openapi::operation::{Access, Answer, Content, Operation, Parameter, Tag, Verb};
use crate::openapi::schema::request;

const REQUEST: Parameter = path("id", "The request's id: `X-Request-ID` of its answer.", request_id);

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/requests",
    id: "listRequests",
    tag: Some(Tag::Requests),
    summary: "List requests",
    description: "The requests of the organization in the caller's environment during the last 30 days, newest first. Never their bodies, \
        query strings or secrets.",
    access: Access::Key(Permission::ApiKeysManage),
    idempotent: false,
    parameters: &[
        LIMIT,
        query("starting_after", AFTER, request_id),
        query(
            "status",
            "Only answers with this status (`429`), or of this class (`4xx`).",
            |_| json!({ "type": "string", "pattern": "^([1-5]xx|[1-5][0-9][0-9])$", "examples": ["4xx"] }),
        ),
        query("code", "Only refusals with this error code.", request::code_parameter),
        query("api_key", "Only requests with this key.", api_key_id),
    ],
    body: None,
    answers: &[Answer { status: 200, description: "A page of requests.", content: Content::Json("RequestList") }],
    errors: &[],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/requests/{id}",
    id: "getRequest",
    tag: Some(Tag::Requests),
    summary: "Explain a request",
    description: "What became of a request of the last 30 days: which check refused it, what to change, and how the limits stood.",
    access: Access::AnyKey,
    idempotent: false,
    parameters: &[REQUEST],
    body: None,
    answers: &[Answer { status: 200, description: "The request.", content: Content::Json("Request") }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const IDEMPOTENCY_KEY: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/idempotency_keys/{key}",
    id: "getIdempotencyKey",
    tag: Some(Tag::Requests),
    summary: "Get an idempotency key",
    description: "Where the request with this `Idempotency-Key` stands: still running, or answered. Keys are kept for 24 hours.",
    access: Access::AnyKey,
    idempotent: false,
    parameters: &[path(
        "key",
        "The key as it was sent, without quotes.",
        |_| json!({ "type": "string", "pattern": "^[ -~]{1,255}$", "examples": ["order-17"] }),
    )],
    body: None,
    answers: &[Answer { status: 200, description: "The key.", content: Content::Json("IdempotencyKey") }],
    errors: &[ErrorCode::NotFound],
};
