//! The OpenAPI document: that it holds together, that the server does what it says, and that its pages are served.

mod answers;
mod document;
mod gate;
mod pages;

use kallglot_testkit::TestServer;
use kallglot_testkit::client::Client;
use serde_json::{Value, json};

/// An operation of the document.
#[derive(Clone)]
pub(crate) struct Operation {
    /// `GET` or another method.
    pub(crate) method: String,
    /// With names in braces.
    pub(crate) path: String,
    /// What the document says of it.
    pub(crate) entry: Value,
}

impl Operation {
    /// Whether an API key is needed.
    pub(crate) fn needs_key(&self) -> bool {
        self.entry["security"].as_array().is_some_and(|ways| ways.iter().any(|way| way.get("ApiKey").is_some()))
    }

    /// The permission that the key must have, if any.
    pub(crate) fn permission(&self) -> Option<&str> {
        self.entry["security"].as_array()?.iter().find_map(|way| way["ApiKey"].get(0)?.as_str())
    }

    /// The name of the operation.
    pub(crate) fn id(&self) -> &str {
        self.entry["operationId"].as_str().unwrap_or_default()
    }

    /// The first example of its body, if it takes one.
    pub(crate) fn body(&self) -> Option<Value> {
        let examples = self.entry["requestBody"]["content"]["application/json"]["examples"].as_object()?;
        Some(examples.values().next()?["value"].clone())
    }
}

/// The document at `path` of a running server.
pub(crate) async fn document(server: &TestServer, path: &str) -> Value {
    let answer = Client::new(&server.base_url(), None).unwrap().get(path).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// Every operation of a document.
pub(crate) fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, verbs): (&String, &Value)| {
        let verbs = verbs.as_object().unwrap().clone();
        let path = path.clone();
        verbs.into_iter().map(move |(verb, entry)| Operation { method: verb.to_uppercase(), path: path.clone(), entry })
    };
    paths.iter().flat_map(of_path).collect()
}

/// A validator for `schema`, which may refer to the document's components.
pub(crate) fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let schema = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

/// What is wrong with `value`; empty when nothing is.
pub(crate) fn mistakes(validator: &jsonschema::Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}
