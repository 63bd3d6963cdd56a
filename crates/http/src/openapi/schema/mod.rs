//! The schemas (JSON Schema 2020-12) of every body, by hand, by subject.
//!
//! A request's schema refuses all that the server refuses and JSON Schema can say, and unknown fields first of all. An answer's
//! schema names every field; it leaves room for fields that come later, as clients should.

pub(super) mod account;
pub(super) mod analysis;
pub(super) mod api_key;
pub(super) mod audit;
pub(super) mod error;
pub(super) mod event;
pub(super) mod ids;
pub(super) mod quality;
pub(super) mod recording;
pub(super) mod request;
pub(super) mod session;
pub(super) mod stream;
pub(super) mod transcript;
pub(super) mod webhook;

use kallglot_core::edition::Edition;
use serde_json::{Value, json};

use super::node::{Node, object};

/// Every schema by its name, in the reference's order.
pub(super) fn all(edition: Edition) -> Vec<(String, Node)> {
    [
        session::schemas(edition),
        transcript::schemas(),
        quality::schemas(),
        analysis::schemas(),
        recording::schemas(),
        account::schemas(),
        api_key::schemas(),
        audit::schemas(),
        request::schemas(),
        webhook::schemas(),
        event::schemas(),
        error::schemas(edition),
        stream::schemas(edition),
    ]
    .into_iter()
    .flatten()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect()
}

/// Schemas with their names.
type Schemas = Vec<(&'static str, Node)>;

/// No control characters (Unicode's Cc).
const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// No control characters, and not only white space.
const NOT_BLANK: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

/// A component.
fn reference(name: &str) -> Node {
    json!({ "$ref": format!("#/components/schemas/{name}") }).into()
}

/// An answer's object: it has all of these fields.
fn answer(description: &str, fields: Node, example: &'static str) -> Node {
    part(description, fields).with("examples", vec![Node::Json(example)])
}

/// An object within an answer: it has all of these fields.
fn part(description: &str, fields: Node) -> Node {
    part_with(description, fields, object! {})
}

/// Like `part`, with fields that are not always there.
fn part_with(description: &str, always: Node, sometimes: Node) -> Node {
    let (Node::Object(always), Node::Object(sometimes)) = (always, sometimes) else { return Node::Value(Value::Null) };
    let required: Vec<&str> = always.iter().map(|(name, _)| name.as_str()).collect();
    let required = json!(required);
    let fields = Node::Object(always.into_iter().chain(sometimes).collect());
    object! { "type" => "object", "description" => description, "required" => required, "properties" => fields }
}

/// Like `part`, or null.
fn part_or_null(description: &str, fields: Node) -> Node {
    let Node::Object(mut schema) = part(description, fields) else { return Node::Value(Value::Null) };
    schema[0].1 = json!(["object", "null"]).into();
    Node::Object(schema)
}

/// A request's object: nothing but these fields.
fn request(description: &str, required: &[&str], fields: Node) -> Node {
    object! {
        "type" => "object",
        "description" => description,
        "required" => json!(required),
        "additionalProperties" => false,
        "properties" => fields,
    }
}

/// Rules between fields, for `dependentSchemas`: each holds where its field is given. Viewers pass this keyword over, while they make
/// a riddle of `not` and `allOf`; the descriptions say the same in words.
fn rules(rules: Vec<(&'static str, Value)>) -> Node {
    Node::Object(rules.into_iter().map(|(field, rule)| (field.to_owned(), rule.into())).collect())
}

/// The rule that none of the `others` is given beside `field`; null is not given.
fn alone(field: &'static str, others: &[&str]) -> (&'static str, Value) {
    let nothing = json!({ "type": "null" });
    let none: serde_json::Map<_, _> = others.iter().map(|name| ((*name).to_owned(), nothing.clone())).collect();
    (field, json!({ "anyOf": [{ "properties": { field: nothing } }, { "properties": none }] }))
}

/// A page of a list of `item`s at `url`, with a page of one `example` item.
fn list(item: &'static str, url: &'static str, example: &'static str) -> Node {
    let page = object! { "object" => "list", "data" => vec![Node::Json(example)], "has_more" => false, "url" => url };
    let fields = object! {
        "object" => json!({ "type": "string", "const": "list" }),
        "data" => object! { "type" => "array", "description" => "The items, newest first.", "items" => reference(item) },
        "has_more" => json!({ "type": "boolean", "description": "Whether there are more items in the direction that was asked for." }),
        "url" => json!({ "type": "string", "const": url, "description": "The list's address." }),
    };
    part("A page of a list.", fields).with("examples", vec![page])
}

/// What an object is.
fn kind(name: &str) -> Value {
    json!({ "type": "string", "const": name, "description": "What this object is." })
}

/// One of these names.
fn one_of(names: &[&str], description: &str) -> Value {
    json!({ "type": "string", "enum": names, "description": description })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn text_or_null(description: &str) -> Value {
    json!({ "type": ["string", "null"], "description": description })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

/// A whole number from 0.
fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn count_or_null(description: &str) -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0, "description": description })
}

/// A time: RFC 3339, UTC.
fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

fn time_or_null(description: &str) -> Value {
    json!({ "type": ["string", "null"], "format": "date-time", "description": description })
}

/// A BCP 47 tag in an answer.
fn language(description: &str) -> Value {
    json!({ "type": "string", "maxLength": 35, "description": description })
}

fn language_or_null(description: &str) -> Value {
    json!({ "type": ["string", "null"], "maxLength": 35, "description": description })
}

/// An address that a request came from.
fn address(description: &str) -> Value {
    json!({ "type": "string", "description": description, "examples": ["203.0.113.7"] })
}
