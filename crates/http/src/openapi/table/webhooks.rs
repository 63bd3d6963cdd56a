//! Webhook endpoints, and what was delivered to them (contract section 13).

use kallglot_core::error_code::ErrorCode;
use serde_json::json;

use super::events::MANAGE;
use super::{AFTER, BEFORE, LIMIT, delivery_id, event_id, path, query, webhook_id};
use crate::openapi::operation::{Answer, Body, Content, Operation, Parameter, Tag, Verb};
use crate::openapi::schema::webhook as schema;

const WEBHOOK: Parameter = path("id", "The endpoint's id.", webhook_id);
const DELIVERY: Parameter = path("delivery", "The delivery's id.", delivery_id);

pub(in crate::openapi) const CREATE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/webhooks",
    id: "createWebhook",
    tag: Some(Tag::Webhooks),
    summary: "Create a webhook endpoint",
    description: "From now on the events of the caller's environment are sent to `url`, as the section *Webhooks* of this document has them. \
        `secret` is shown here and never again: with it the receiver checks that a delivery is ours, see \
        [Standard Webhooks](https://www.standardwebhooks.com) or `Kallglot-Signature`.\n\n\
        The URL must be `https` and lead to a public address; that is looked at again before every attempt. Redirects are not followed. An \
        answer of 2xx within 30 s is a success; all else is tried again over about three days. Deliveries may come twice and in another \
        order: `id` tells the one, `data.sequence` the other. An endpoint that fails for five days is disabled, and `webhook.disabled` tells it.",
    access: MANAGE,
    idempotent: true,
    parameters: &[],
    body: Some(Body {
        schema: "CreateWebhookRequest",
        required: true,
        examples: &[
            ("some", "Only how calls begin and end", |_| {
                json!({ "url": "https://example.com/webhooks", "events": ["session.started", "session.ended"] }).into()
            }),
            ("all", "Every event", |_| {
                json!({ "url": "https://example.com/webhooks", "description": "Call archive" }).into()
            }),
        ],
    }),
    answers: &[Answer {
        status: 201,
        description: "The endpoint with its secret.",
        content: Content::Json("WebhookWithSecret"),
    }],
    errors: &[],
};

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/webhooks",
    id: "listWebhooks",
    tag: Some(Tag::Webhooks),
    summary: "List webhook endpoints",
    description: "The organization's endpoints in the caller's environment, newest first. Never their secrets.",
    access: MANAGE,
    idempotent: false,
    parameters: &[LIMIT, query("starting_after", AFTER, webhook_id), query("ending_before", BEFORE, webhook_id)],
    body: None,
    answers: &[Answer { status: 200, description: "A page of endpoints.", content: Content::Json("WebhookList") }],
    errors: &[],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/webhooks/{id}",
    id: "getWebhook",
    tag: Some(Tag::Webhooks),
    summary: "Get a webhook endpoint",
    description: "The endpoint, and how its deliveries fare.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK],
    body: None,
    answers: &[Answer { status: 200, description: "The endpoint.", content: Content::Json("Webhook") }],
    errors: &[ErrorCode::WebhookNotFound],
};

pub(in crate::openapi) const UPDATE: Operation = Operation {
    verb: Verb::Patch,
    path: "/v1/webhooks/{id}",
    id: "updateWebhook",
    tag: Some(Tag::Webhooks),
    summary: "Change a webhook endpoint",
    description: "Changes what is given and leaves the rest. An endpoint that is disabled is sent nothing; enabled again, it gets what \
        happens from then on, and what was pending when it was disabled.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK],
    body: Some(Body {
        schema: "UpdateWebhookRequest",
        required: false,
        examples: &[
            ("enable", "Enable it again", |_| json!({ "enabled": true }).into()),
            ("events", "Every event", |_| json!({ "events": ["*"] }).into()),
        ],
    }),
    answers: &[Answer { status: 200, description: "The endpoint as it is now.", content: Content::Json("Webhook") }],
    errors: &[ErrorCode::WebhookNotFound],
};

pub(in crate::openapi) const DELETE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/webhooks/{id}",
    id: "deleteWebhook",
    tag: Some(Tag::Webhooks),
    summary: "Delete a webhook endpoint",
    description: "Nothing is sent to it any more, also not what is pending.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK],
    body: None,
    answers: &[Answer { status: 204, description: "It is gone.", content: Content::Nothing }],
    errors: &[ErrorCode::WebhookNotFound],
};

pub(in crate::openapi) const TEST: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/webhooks/{id}/test",
    id: "testWebhook",
    tag: Some(Tag::Webhooks),
    summary: "Test a webhook endpoint",
    description: "Sends this endpoint, and nobody else, a real delivery of an event with sample data, whatever events it wants. What became \
        of it is told by `GET /v1/webhooks/{id}/deliveries/{delivery}`.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK],
    body: Some(Body {
        schema: "TestWebhookRequest",
        required: false,
        examples: &[("ended", "As if a call had ended", |_| json!({ "type": "session.ended" }).into())],
    }),
    answers: &[Answer {
        status: 202,
        description: "The delivery, to come.",
        content: Content::Json("WebhookDeliveryLog"),
    }],
    errors: &[ErrorCode::WebhookNotFound],
};

pub(in crate::openapi) const ROTATE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/webhooks/{id}/rotate_secret",
    id: "rotateWebhookSecret",
    tag: Some(Tag::Webhooks),
    summary: "Rotate a webhook endpoint's secret",
    description: "Gives the endpoint a new secret, which is shown here and never again. For the overlap every delivery is signed with both, \
        the new one first, so that the receiver can change over at any time. An older one that still overlaps ends at once.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK],
    body: Some(Body {
        schema: "RotateWebhookSecretRequest",
        required: false,
        examples: &[("at_once", "The old one has leaked", |_| json!({ "overlap_seconds": 0 }).into())],
    }),
    answers: &[Answer {
        status: 200,
        description: "The endpoint with its new secret.",
        content: Content::Json("WebhookWithSecret"),
    }],
    errors: &[ErrorCode::WebhookNotFound],
};

pub(in crate::openapi) const DELIVERIES: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/webhooks/{id}/deliveries",
    id: "listWebhookDeliveries",
    tag: Some(Tag::Webhooks),
    summary: "List deliveries",
    description: "What was and is to be delivered to the endpoint, newest event first. Kept as long as the events: 30 days.",
    access: MANAGE,
    idempotent: false,
    parameters: &[
        WEBHOOK,
        LIMIT,
        query("starting_after", AFTER, delivery_id),
        query("ending_before", BEFORE, delivery_id),
        query("status", "Only deliveries that stand so.", schema::status_parameter),
        query("event_id", "Only the delivery of this event.", event_id),
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        description: "A page of deliveries.",
        content: Content::Json("WebhookDeliveryList"),
    }],
    errors: &[ErrorCode::WebhookNotFound],
};

pub(in crate::openapi) const DELIVERY_LOG: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/webhooks/{id}/deliveries/{delivery}",
    id: "getWebhookDelivery",
    tag: Some(Tag::Webhooks),
    summary: "Get a delivery",
    description: "The delivery with what was sent and each attempt's answer. The signatures are not kept.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK, DELIVERY],
    body: None,
    answers: &[Answer { status: 200, description: "The delivery.", content: Content::Json("WebhookDeliveryLog") }],
    errors: &[ErrorCode::WebhookNotFound, ErrorCode::NotFound],
};

pub(in crate::openapi) const REDELIVER: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/webhooks/{id}/deliveries/{delivery}/redeliver",
    id: "redeliverWebhookDelivery",
    tag: Some(Tag::Webhooks),
    summary: "Deliver again",
    description: "Delivers the event to the endpoint once more at once, also if it has accepted it, with the same `webhook-id`; and if that \
        fails, as long as a new one.",
    access: MANAGE,
    idempotent: false,
    parameters: &[WEBHOOK, DELIVERY],
    body: Some(Body { schema: "RedeliverRequest", required: false, examples: &[] }),
    answers: &[Answer {
        status: 202,
        description: "The delivery, to come.",
        content: Content::Json("WebhookDeliveryLog"),
    }],
    errors: &[ErrorCode::WebhookNotFound, ErrorCode::NotFound],
};
