//! The answers of an operation: what it gives when all is well, and its errors, from the registry.

use std::collections::BTreeMap;

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use serde_json::json;

use super::header;
use super::node::{Node, object};
use super::operation::{Content, Operation};

/// All answers of an operation by status.
pub(super) fn all(operation: &Operation, edition: Edition) -> Node {
    let mut responses: BTreeMap<u16, Node> = BTreeMap::new();
    for (status, codes) in by_status(&operation.codes(), edition) {
        responses.insert(status, error(operation, edition, status, &codes));
    }
    for answer in operation.answers {
        let response = object! { "description" => answer.description, "headers" => header::of_answer(operation) };
        let mut forms = Vec::new();
        content(answer.content, &mut forms);
        let response = if forms.is_empty() { response } else { response.with("content", Node::Object(forms)) };
        responses.insert(answer.status, response);
    }
    Node::Object(responses.into_iter().map(|(status, response)| (status.to_string(), response)).collect())
}

/// The codes by the status that the edition gives them.
fn by_status(codes: &[ErrorCode], edition: Edition) -> BTreeMap<u16, Vec<ErrorCode>> {
    let mut sorted: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in codes {
        if let Some(status) = edition.error_shape(*code).status {
            sorted.entry(status).or_default().push(*code);
        }
    }
    sorted
}

fn content(content: Content, forms: &mut Vec<(String, Node)>) {
    match content {
        Content::Nothing => {}
        Content::Json(schema) => forms.push((
            "application/json".into(),
            object! { "schema" => json!({ "$ref": format!("#/components/schemas/{schema}") }) },
        )),
        Content::AnyJson => {
            forms.push(("application/json".into(), object! { "schema" => json!({ "type": "object" }) }));
        }
        Content::Text(media_type, example) => {
            forms.push((media_type.into(), object! { "schema" => json!({ "type": "string" }), "example" => example }))
        }
        Content::Binary(media_type) => forms.push((media_type.into(), object! { "schema" => json!({}) })),
        Content::OneOf(several) => several.iter().for_each(|one| self::content(*one, forms)),
    }
}

fn error(operation: &Operation, edition: Edition, status: u16, codes: &[ErrorCode]) -> Node {
    let mut names: Vec<_> = codes.iter().map(|code| edition.error_shape(*code).code).collect();
    names.dedup();
    let mut description = String::new();
    for name in &names {
        description.push_str(&format!("- [`{name}`](/docs/errors#{name})\n"));
    }
    let examples = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/examples/{name}") }).into()))
        .collect();
    // A generator of clients sees `Error`; a validator also sees which codes there can be here.
    let schema = json!({
        "$ref": "#/components/schemas/Error",
        "properties": { "error": { "properties": { "code": { "enum": names } } } },
    });
    object! {
        "description" => description.trim_end(),
        "headers" => header::of_error(operation, status, codes),
        "content" => object! { "application/json" => object! { "schema" => schema, "examples" => Node::Object(examples) } },
    }
}

/// An example of each error that an answer can be, as components.
pub(super) fn examples(edition: Edition) -> Vec<(String, Node)> {
    let mut examples: Vec<(String, Node)> = Vec::new();
    for code in ErrorCode::ALL {
        let shape = edition.error_shape(*code);
        if shape.status.is_none() || examples.iter().any(|(name, _)| name == shape.code) {
            continue;
        }
        let mut error = object! {
            "type" => shape.error_type.as_str(),
            "code" => shape.code,
            "message" => code.row().message,
            "param" => param(*code),
            "request_id" => "req_02kcvxLD3mcqFX1EhuPLpS",
        };
        if header::tells_when(*code) {
            error = error.with("retry_after", json!(12));
        }
        if edition.rules().error_doc_url {
            error = error.with("doc_url", format!("/docs/errors#{}", shape.code));
        }
        let example = object! { "summary" => shape.code, "value" => object! { "error" => error } };
        examples.push((shape.code.to_owned(), example));
    }
    examples
}

/// What `param` is in the example of this code.
fn param(code: ErrorCode) -> Node {
    match code {
        ErrorCode::ValidationFailed => "mode".into(),
        ErrorCode::InsufficientPermissions => "sessions:write".into(),
        ErrorCode::ProviderFieldNotAllowed => "provider".into(),
        _ => Node::Value(serde_json::Value::Null),
    }
}
