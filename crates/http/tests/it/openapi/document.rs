//! That the document holds together by itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_testkit::TestServer;
use serde_json::Value;

use super::{document, mistakes, operations, validator};

const DOCUMENTS: &[(&str, Edition)] = &[("/openapi.json", Edition::Two), ("/openapi-1.json", Edition::One)];

/// Every object in `value`, with where it is.
fn walk<'a>(at: String, value: &'a Value, visit: &mut dyn FnMut(&str, &'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(&at, object);
            object.iter().for_each(|(name, value)| walk(format!("{at}/{name}"), value, visit));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| walk(format!("{at}/{index}"), value, visit));
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_component_is_used() {
    let server = TestServer::start().await;
    for (path, _) in DOCUMENTS {
        let document = document(&server, path).await;
        let mut used = BTreeSet::new();
        walk(String::new(), &document, &mut |at, object| {
            if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(&target[1..]).is_some(), "{at}: {target}");
                used.insert(target.to_owned());
            }
        });
        for kind in ["schemas", "parameters", "headers", "examples"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let target = format!("#/components/{kind}/{name}");
                // The stream's messages are in no body; codes that no operation gives yet have an example already.
                let alone = name.starts_with("Stream") || kind == "examples";
                assert!(alone || used.contains(&target), "{target}");
            }
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn every_example_holds_for_its_schema() {
    let server = TestServer::start().await;
    for (path, _) in DOCUMENTS {
        let document = document(&server, path).await;
        let mut seen = 0;
        let mut check = |at: &str, schema: &Value, example: &Value| {
            let mistakes = mistakes(&validator(&document, schema), example);
            assert!(mistakes.is_empty(), "{path}{at}: {example}\n{mistakes:#?}");
            seen += 1;
        };
        walk(String::new(), &document, &mut |at, object| {
            // A schema with examples of its own.
            if let (Some(examples), true) =
                (object.get("examples").and_then(Value::as_array), !at.contains("/examples/"))
            {
                examples.iter().for_each(|example| check(at, &Value::Object(object.clone()), example));
            }
            // A body or an answer with examples beside its schema.
            let Some(schema) = object.get("schema") else { return };
            if let Some(example) = object.get("example") {
                check(at, schema, example);
            }
            for example in object.get("examples").and_then(Value::as_object).into_iter().flat_map(|all| all.values()) {
                let example = match example.get("$ref").and_then(Value::as_str) {
                    Some(target) => document.pointer(&target[1..]).unwrap(),
                    None => example,
                };
                check(at, schema, &example["value"]);
            }
        });
        assert!(seen > 300, "{seen} examples");
    }
    server.finish().await;
}

#[tokio::test]
async fn every_code_is_in_it_by_its_editions_name() {
    let server = TestServer::start().await;
    for (path, edition) in DOCUMENTS {
        let document = document(&server, path).await;
        let error = &document["components"]["schemas"]["Error"]["properties"]["error"]["properties"];
        let on_streams = document["components"]["schemas"]["StreamServerMessage"].to_string();
        for code in ErrorCode::ALL {
            let shape = edition.error_shape(*code);
            let quoted = Value::from(shape.code);
            match shape.status {
                Some(_) => {
                    assert!(error["code"]["enum"].as_array().unwrap().contains(&quoted), "{code}");
                    let example = &document["components"]["examples"][shape.code]["value"]["error"];
                    assert_eq!((&example["code"], &example["type"]), (&quoted, &shape.error_type.as_str().into()));
                }
                None => assert!(on_streams.contains(&quoted.to_string()), "{code}"),
            }
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn requests_take_no_unknown_fields() {
    let server = TestServer::start().await;
    let document = document(&server, "/openapi.json").await;
    for operation in operations(&document) {
        let schema = &operation.entry["requestBody"]["content"]["application/json"]["schema"];
        let Some(target) = schema["$ref"].as_str() else { continue };
        walk(target.into(), document.pointer(&target[1..]).unwrap(), &mut |at, object| {
            // Rules between fields only add to a schema that is closed already.
            let rule = at.contains("/dependentSchemas");
            if object.get("properties").is_some_and(Value::is_object) && !rule {
                assert_eq!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{at}");
            }
        });
    }
    server.finish().await;
}

/// For whoever changes the API to see what they change.
#[tokio::test]
async fn the_operations() {
    let server = TestServer::start().await;
    let document = document(&server, "/openapi.json").await;
    let mut table = String::new();
    let mut ids = BTreeSet::new();
    for operation in operations(&document) {
        assert!(ids.insert(operation.id().to_owned()), "{} is there twice", operation.id());
        let who = match operation.permission() {
            Some(permission) => permission,
            None if operation.needs_key() => "any key",
            None if operation.entry["security"].as_array().is_some_and(|ways| !ways.is_empty()) => "stream token",
            None => "everybody",
        };
        let responses = operation.entry["responses"].as_object().unwrap();
        let statuses: Vec<_> = responses.keys().map(String::as_str).collect();
        let _ = writeln!(table, "{} {}: {who}; {}", operation.method, operation.path, statuses.join(" "));
        for (status, response) in responses {
            for content in response["content"].as_object().into_iter().flat_map(|content| content.values()) {
                let codes = content["schema"]["properties"]["error"]["properties"]["code"]["enum"].as_array();
                let codes: Vec<_> = codes.into_iter().flatten().filter_map(Value::as_str).collect();
                if !codes.is_empty() {
                    let _ = writeln!(table, "    {status} {}", codes.join(" "));
                }
            }
        }
    }
    insta::assert_snapshot!(table);
    server.finish().await;
}
