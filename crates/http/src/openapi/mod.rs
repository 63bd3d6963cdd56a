//! The OpenAPI 3.1 document, made from one table of operations.
//!
//! What must stay true: [`Route`] is the only list of routes (the router is made from it too), every error answer comes from the
//! registry, and everything that the document says of a body holds for every body that the server sends or takes.

mod header;
mod node;
mod operation;
mod response;
mod route;
mod schema;
mod table;

use std::sync::LazyLock;

use bytes::Bytes;
use kallglot_core::edition::Edition;
use kallglot_core::permission::Permission;
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(crate) use node::Node;
use node::object;
pub(crate) use operation::{Access, Operation};
pub(crate) use route::Route;

use operation::{Place, Tag};

const OVERVIEW: &str = include_str!("overview.md");

/// The document of an edition, as JSON. It is made once.
pub(crate) fn document(edition: Edition) -> Bytes {
    static ONE: LazyLock<Bytes> = LazyLock::new(|| make(Edition::One));
    static TWO: LazyLock<Bytes> = LazyLock::new(|| make(Edition::Two));
    match edition {
        Edition::One => ONE.clone(),
        Edition::Two => TWO.clone(),
    }
}

fn make(edition: Edition) -> Bytes {
    let mut json = String::with_capacity(320 * 1024);
    root(edition).write(&mut json);
    json.into()
}

/// An `ETag` for these bytes.
pub(crate) fn etag(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn root(edition: Edition) -> Node {
    let tags =
        Tag::ALL.iter().map(|(tag, description)| json!({ "name": tag.name(), "description": description }).into());
    object! {
        "openapi" => "3.1.0",
        "info" => object! {
            "title" => "Kallglot API",
            "version" => edition.to_string(),
            "summary" => "Real-time voice translation for calls.",
            "description" => overview(edition),
        },
        "servers" => json!([{ "url": "/", "description": "This server." }]),
        "tags" => tags.collect::<Vec<Node>>(),
        "paths" => paths(edition),
        "webhooks" => schema::webhook::webhooks(),
        "components" => components(edition),
    }
}

fn overview(edition: Edition) -> String {
    let note = match edition {
        Edition::Two => {
            "This document describes **edition 2**, the default. [Edition 1](/openapi-1.json) has a document of its own."
        }
        Edition::One => "This document describes **edition 1**. [Edition 2](/openapi.json) is the default.",
    };
    let rows = Permission::ALL.iter().map(|permission| format!("- `{permission}`: {}\n", lets_a_key(*permission)));
    OVERVIEW.replace("{{edition}}", note).replace("{{permissions}}\n", &rows.collect::<String>())
}

/// What a permission lets a key do (contract section 4).
const fn lets_a_key(permission: Permission) -> &'static str {
    match permission {
        Permission::SessionsRead => "read sessions and transcripts",
        Permission::SessionsWrite => "create, end and dial sessions; get a stream token",
        Permission::RecordingsRead => "list, read and download recordings",
        Permission::RecordingsDelete => "delete recordings",
        Permission::AnalysisRead => "read analyses",
        Permission::AnalysisWrite => "request an analysis",
        Permission::WebhooksManage => "manage webhook endpoints",
        Permission::AgentsRead => "read AI agents",
        Permission::AgentsWrite => "manage AI agents",
        Permission::ApiKeysManage => "manage the organization's keys; never given unless asked for",
    }
}

fn paths(edition: Edition) -> Node {
    let mut paths: Vec<(String, Node)> = Vec::new();
    for operation in Route::ALL.iter().map(|route| route.operation()) {
        let Some(tag) = operation.tag else { continue };
        let verb = operation.verb.key();
        let entry = entry(operation, tag, edition);
        match paths.iter_mut().find(|(path, _)| path == operation.path) {
            Some((_, Node::Object(verbs))) => verbs.push((verb.to_owned(), entry)),
            _ => paths.push((operation.path.to_owned(), Node::Object(vec![(verb.to_owned(), entry)]))),
        }
    }
    Node::Object(paths)
}

fn entry(operation: &Operation, tag: Tag, edition: Edition) -> Node {
    let mut entry = object! {
        "tags" => json!([tag.name()]),
        "operationId" => operation.id,
        "summary" => operation.summary,
        "description" => description(operation),
        "security" => security(operation.access),
    };
    let parameters = parameters(operation, edition);
    if !parameters.is_empty() {
        entry = entry.with("parameters", parameters);
    }
    if let Some(body) = &operation.body {
        let examples = body.examples.iter().map(|(key, summary, make)| {
            ((*key).to_owned(), object! { "summary" => *summary, "value" => make(edition) })
        });
        let content = object! {
            "schema" => json!({ "$ref": format!("#/components/schemas/{}", body.schema) }),
            "examples" => Node::Object(examples.collect()),
        };
        let body = object! { "required" => body.required, "content" => object! { "application/json" => content } };
        entry = entry.with("requestBody", body);
    }
    entry.with("responses", response::all(operation, edition))
}

/// The description with what the table knows about who is let in.
fn description(operation: &Operation) -> String {
    let who = match operation.access {
        Access::Everybody => "No API key is needed.".to_owned(),
        Access::AnyKey => "Any valid API key will do.".to_owned(),
        Access::Key(permission) => format!("The API key needs the permission `{permission}`."),
        Access::StreamToken => "A stream token of the session is needed; API keys are refused.".to_owned(),
    };
    format!("{}\n\n{who}", operation.description)
}

fn security(access: Access) -> Node {
    let with_roles = |roles: &[&str]| json!([{ "ApiKey": roles }, { "ApiKeyHeader": roles }]).into();
    match access {
        Access::Everybody => json!([]).into(),
        Access::AnyKey => with_roles(&[]),
        Access::Key(permission) => with_roles(&[permission.as_str()]),
        Access::StreamToken => {
            json!([{ "StreamTokenQuery": [] }, { "StreamToken": [] }, { "StreamTokenProtocol": [] }]).into()
        }
    }
}

fn parameters(operation: &Operation, edition: Edition) -> Vec<Node> {
    let mut parameters: Vec<Node> = operation
        .parameters
        .iter()
        .map(|parameter| {
            let (place, required) = match parameter.place {
                Place::Path => ("path", true),
                Place::Query => ("query", false),
                Place::Header => ("header", false),
            };
            object! {
                "name" => parameter.name,
                "in" => place,
                "required" => required,
                "description" => parameter.description,
                "schema" => (parameter.schema)(edition),
            }
        })
        .collect();
    let component = |name: &str| Node::from(json!({ "$ref": format!("#/components/parameters/{name}") }));
    if operation.idempotent {
        parameters.push(component("IdempotencyKey"));
    }
    if operation.needs_key() || operation.body.is_some() {
        parameters.push(component("Edition"));
    }
    parameters
}

fn components(edition: Edition) -> Node {
    object! {
        "securitySchemes" => security_schemes(),
        "parameters" => Node::Object(header::parameters(edition)),
        "headers" => Node::Object(header::components(edition)),
        "examples" => Node::Object(response::examples(edition)),
        "schemas" => Node::Object(schema::all(edition)),
    }
}

fn security_schemes() -> Node {
    object! {
        "ApiKey" => json!({
            "type": "http", "scheme": "bearer", "bearerFormat": "sk_live_… or sk_test_…",
            "description": "An API key. The roles of an operation are the permissions that the key must have.",
        }),
        "ApiKeyHeader" => json!({ "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same API key in a header of its own." }),
        "StreamToken" => json!({ "type": "http", "scheme": "bearer", "bearerFormat": "kst_live_… or kst_test_…", "description": "A session's `stream.token`." }),
        "StreamTokenQuery" => json!({ "type": "apiKey", "in": "query", "name": "token", "description": "A session's `stream.token`." }),
        "StreamTokenProtocol" => json!({
            "type": "apiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
            "description": "`kallglot, <stream.token>`: for browsers, which can send no other header with a WebSocket.",
        }),
    }
}
