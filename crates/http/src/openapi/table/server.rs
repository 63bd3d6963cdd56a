//! What the server tells operators, tools and readers without a key.

use kallglot_core::error_code::ErrorCode;

use super::super::operation::{Access, Answer, Content, Operation, Tag, Verb};

const OPEN: Operation = Operation {
    verb: Verb::Get,
    path: "",
    id: "",
    tag: Some(Tag::Server),
    summary: "",
    description: "",
    access: Access::Everybody,
    idempotent: false,
    parameters: &[],
    body: None,
    answers: &[],
    errors: &[],
};

const NOT_MODIFIED: Answer =
    Answer { status: 304, description: "It is the one that `If-None-Match` names.", content: Content::Nothing };

pub(in crate::openapi) const HEALTH: Operation = Operation {
    path: "/healthz",
    id: "health",
    summary: "Does it live?",
    description: "The process answers.",
    answers: &[Answer { status: 200, description: "It lives.", content: Content::Text("text/plain", "ok\n") }],
    ..OPEN
};

pub(in crate::openapi) const READINESS: Operation = Operation {
    path: "/readyz",
    id: "readiness",
    summary: "Can it work?",
    description: "The database answers and the server is not stopping: for load balancers.",
    answers: &[
        Answer { status: 200, description: "It can.", content: Content::Text("text/plain", "ready\n") },
        Answer {
            status: 503,
            description: "It can't, and says why.",
            content: Content::Text("text/plain", "stopping\n"),
        },
    ],
    ..OPEN
};

pub(in crate::openapi) const METRICS: Operation = Operation {
    path: "/metrics",
    id: "metrics",
    summary: "Counts for Prometheus",
    description: "Outcomes and latency by route, in the OpenMetrics text format. Only addresses that the server's settings name may read it; for all others it is not there.",
    answers: &[Answer {
        status: 200,
        description: "The counts.",
        content: Content::Text("application/openmetrics-text", "# EOF\n"),
    }],
    errors: &[ErrorCode::NotFound],
    ..OPEN
};

pub(in crate::openapi) const DOCUMENT: Operation = Operation {
    path: "/openapi.json",
    id: "openApi",
    summary: "This document",
    description: "The OpenAPI 3.1 document of edition 2.",
    answers: &[Answer { status: 200, description: "The document.", content: Content::AnyJson }, NOT_MODIFIED],
    ..OPEN
};

pub(in crate::openapi) const DOCUMENT_OF_EDITION_1: Operation = Operation {
    path: "/openapi-1.json",
    id: "openApiOfEdition1",
    summary: "The document of edition 1",
    description: "The OpenAPI 3.1 document of edition 1, for those who are pinned to it.",
    answers: &[Answer { status: 200, description: "The document.", content: Content::AnyJson }, NOT_MODIFIED],
    ..OPEN
};

pub(in crate::openapi) const REFERENCE: Operation = Operation { path: "/docs", tag: None, ..OPEN };

pub(in crate::openapi) const ERRORS: Operation = Operation { path: "/docs/errors", tag: None, ..OPEN };

pub(in crate::openapi) const ASSET: Operation = Operation { path: "/docs/assets/{name}", tag: None, ..OPEN };
