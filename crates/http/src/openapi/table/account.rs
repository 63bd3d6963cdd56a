//! What a key is told about itself and about the server's abilities.

use super::super::operation::{Access, Answer, Content, Operation, Tag, Verb};

pub(in crate::openapi) const WHOAMI: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/whoami",
    id: "whoAmI",
    tag: Some(Tag::Account),
    summary: "Who am I?",
    description: "What the server knows of the key that makes the request: its permissions, its organization, its limits, what is left \
        of its credits, and the address from which the request comes. The quickest way to try a key.",
    access: Access::AnyKey,
    idempotent: false,
    parameters: &[],
    body: None,
    answers: &[Answer { status: 200, description: "The key and its organization.", content: Content::Json("WhoAmI") }],
    errors: &[],
};

pub(in crate::openapi) const LANGUAGES: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/languages",
    id: "listLanguages",
    tag: Some(Tag::Account),
    summary: "List languages",
    description: "Which directions can be interpreted on this server right now, by which engine, and how well.",
    access: Access::AnyKey,
    idempotent: false,
    parameters: &[],
    body: None,
    answers: &[Answer { status: 200, description: "The directions.", content: Content::Json("LanguageList") }],
    errors: &[],
};
