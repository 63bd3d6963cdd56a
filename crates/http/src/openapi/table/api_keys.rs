//! API keys, leaked ones, and the audit log (contract sections 1 and 4).

use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::json;

use super::{AFTER, API_KEY, BEFORE, LIMIT, api_key_id, audit_id, query};
use crate::openapi::operation::{Access, Answer, Body, Content, Operation, Tag, Verb};
use crate::openapi::schema::api_key as schema;

const MANAGE: Access = Access::Key(Permission::ApiKeysManage);

pub(in crate::openapi) const CREATE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/api_keys",
    id: "createApiKey",
    tag: Some(Tag::ApiKeys),
    summary: "Create an API key",
    description: "Creates a key in the caller's environment. `secret` is shown here and never again: keep it.\n\n\
        Nobody can give away more than they have: the new key's permissions must be among the caller's, its networks within the \
        caller's, its limit no higher and its expiry no later. What is left out is as the caller's.",
    access: MANAGE,
    idempotent: true,
    parameters: &[],
    body: Some(Body {
        schema: "CreateApiKeyRequest",
        required: false,
        examples: &[
            ("reader", "May only read, for 90 days, from one network", schema::create_example),
            ("standard", "The standard permissions", |_| json!({ "name": "Call centre backend" }).into()),
        ],
    }),
    answers: &[Answer {
        status: 201,
        description: "The key with its secret.",
        content: Content::Json("ApiKeyWithSecret"),
    }],
    errors: &[],
};

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/api_keys",
    id: "listApiKeys",
    tag: Some(Tag::ApiKeys),
    summary: "List API keys",
    description: "The organization's keys in the caller's environment, newest first, the revoked ones among them. Never their secrets.",
    access: MANAGE,
    idempotent: false,
    parameters: &[LIMIT, query("starting_after", AFTER, api_key_id), query("ending_before", BEFORE, api_key_id)],
    body: None,
    answers: &[Answer { status: 200, description: "A page of keys.", content: Content::Json("ApiKeyList") }],
    errors: &[],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/api_keys/{id}",
    id: "getApiKey",
    tag: Some(Tag::ApiKeys),
    summary: "Get an API key",
    description: "The key, with the permissions that it has not needed for 30 days and the progress of its rotation.",
    access: MANAGE,
    idempotent: false,
    parameters: &[API_KEY],
    body: None,
    answers: &[Answer { status: 200, description: "The key.", content: Content::Json("ApiKey") }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const UPDATE: Operation = Operation {
    verb: Verb::Patch,
    path: "/v1/api_keys/{id}",
    id: "updateApiKey",
    tag: Some(Tag::ApiKeys),
    summary: "Change an API key",
    description: "Changes what is given and leaves the rest. Null clears a field. The change holds on every server within a second. \
        As with a new key, nobody can give away more than they have.",
    access: MANAGE,
    idempotent: false,
    parameters: &[API_KEY],
    body: Some(Body {
        schema: "UpdateApiKeyRequest",
        required: false,
        examples: &[
            ("narrow", "Take permissions away", |_| json!({ "permissions": ["sessions:read"] }).into()),
            ("anywhere", "Allow every address again", |_| json!({ "allowed_ips": null }).into()),
            ("lift", "End a quarantine", |_| json!({ "quarantined": false }).into()),
        ],
    }),
    answers: &[Answer { status: 200, description: "The key as it is now.", content: Content::Json("ApiKey") }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const ROTATE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/api_keys/{id}/rotate",
    id: "rotateApiKey",
    tag: Some(Tag::ApiKeys),
    summary: "Rotate an API key",
    description: "Gives the key a new secret, which is shown here and never again. The old one stays valid for the grace period, and \
        `rotation` tells whether it is still in use. Limits and credits are not touched by it.",
    access: MANAGE,
    idempotent: false,
    parameters: &[API_KEY],
    body: Some(Body {
        schema: "RotateApiKeyRequest",
        required: false,
        examples: &[("a_day", "A day to change over", |_| json!({ "grace_seconds": 86400 }).into())],
    }),
    answers: &[Answer {
        status: 200,
        description: "The key with its new secret.",
        content: Content::Json("ApiKeyWithSecret"),
    }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const REVOKE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/api_keys/{id}/revoke",
    id: "revokeApiKey",
    tag: Some(Tag::ApiKeys),
    summary: "Revoke an API key",
    description: "Ends the key for good: from `effective_at` on no server lets it in. With `close_streams` the streams that sessions \
        of this key have open are closed as well (4401). A key that has been revoked before stays as it is.",
    access: MANAGE,
    idempotent: false,
    parameters: &[API_KEY],
    body: Some(Body {
        schema: "RevokeApiKeyRequest",
        required: false,
        examples: &[("close_streams", "And close its streams", |_| json!({ "close_streams": true }).into())],
    }),
    answers: &[Answer { status: 200, description: "The key, revoked.", content: Content::Json("RevokedApiKey") }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const LEAKS: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/api_keys/leaks",
    id: "reportLeakedApiKey",
    tag: Some(Tag::ApiKeys),
    summary: "Report a leaked API key",
    description: "For whoever finds a key where it should not be: who holds the secret can report it, without a key of their own. The \
        organization's policy decides whether the key is revoked, may only read from then on (`quarantined`), or is left as it is \
        (`reported`). The organization is told in any case.",
    access: Access::Everybody,
    idempotent: false,
    parameters: &[],
    body: Some(Body {
        schema: "LeakReportRequest",
        required: true,
        examples: &[("repository", "Found in a public repository", schema::leak_example)],
    }),
    answers: &[Answer { status: 200, description: "What was done.", content: Content::Json("LeakReport") }],
    errors: &[
        ErrorCode::NotFound,
        ErrorCode::TooManyFailedAttempts,
        ErrorCode::InternalError,
        ErrorCode::ServiceUnavailable,
    ],
};

pub(in crate::openapi) const AUDIT_LOG: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/audit_log",
    id: "listAuditLog",
    tag: Some(Tag::ApiKeys),
    summary: "List the audit log",
    description: "Everything that was done to the organization's keys, plan and credits: who did it, when, from where, and what changed. \
        Newest first.",
    access: MANAGE,
    idempotent: false,
    parameters: &[LIMIT, query("starting_after", AFTER, audit_id), query("ending_before", BEFORE, audit_id)],
    body: None,
    answers: &[Answer { status: 200, description: "A page of the log.", content: Content::Json("AuditLog") }],
    errors: &[],
};
