//! The table of operations, by subject. Each row says everything about a route but its handler.

pub(super) mod account;
pub(super) mod analysis;
pub(super) mod api_keys;
pub(super) mod events;
pub(super) mod recordings;
pub(super) mod requests;
pub(super) mod server;
pub(super) mod sessions;
pub(super) mod webhooks;

use kallglot_core::edition::Edition;
use serde_json::{Value, json};

use super::operation::{MakeSchema, Parameter, Place};
use super::schema::ids;

/// A parameter in the path.
const fn path(name: &'static str, description: &'static str, schema: MakeSchema) -> Parameter {
    Parameter { name, place: Place::Path, description, schema }
}

/// A parameter in the query string.
const fn query(name: &'static str, description: &'static str, schema: MakeSchema) -> Parameter {
    Parameter { name, place: Place::Query, description, schema }
}

/// `limit` of a list.
const LIMIT: Parameter = query(
    "limit",
    "How many items to answer with.",
    |_| json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20, "examples": [20] }),
);

const SESSION: Parameter = path("id", "The session's id.", session_id);
const ANALYSIS: Parameter = path("id", "The analysis's id.", analysis_id);
const COMPLIANCE_PROFILE: Parameter = path("id", "The compliance profile's id.", compliance_profile_id);
const API_KEY: Parameter = path("id", "The API key's id.", api_key_id);

/// The schema of an id that the parameter describes itself.
fn undescribed(mut id: Value) -> Value {
    if let Some(schema) = id.as_object_mut() {
        schema.remove("description");
    }
    id
}

fn session_id(_: Edition) -> Value {
    undescribed(ids::session())
}

fn analysis_id(_: Edition) -> Value {
    undescribed(ids::analysis())
}

fn compliance_profile_id(_: Edition) -> Value {
    undescribed(ids::compliance_profile())
}

fn api_key_id(_: Edition) -> Value {
    undescribed(ids::api_key())
}

fn recording_id(_: Edition) -> Value {
    undescribed(ids::recording())
}

fn request_id(_: Edition) -> Value {
    undescribed(ids::request())
}

fn webhook_id(_: Edition) -> Value {
    undescribed(ids::webhook())
}

fn delivery_id(_: Edition) -> Value {
    undescribed(ids::delivery())
}

fn event_id(_: Edition) -> Value {
    undescribed(ids::event())
}

fn audit_id(_: Edition) -> Value {
    undescribed(ids::audit_entry())
}

const AFTER: &str = "The id of the last item of the page before: answers with the older items that follow it.";
const BEFORE: &str = "The id of the first item of a page: answers with the newer items that come before it. Not together with `starting_after`.";
