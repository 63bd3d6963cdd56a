//! What an error looks like.

use std::collections::BTreeSet;

use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use serde_json::json;

use super::{Schemas, ids, part, part_with, text, text_or_null};
use crate::openapi::node::object;

pub(super) fn schemas(edition: Edition) -> Schemas {
    let shapes: Vec<_> =
        ErrorCode::ALL.iter().map(|code| edition.error_shape(*code)).filter(|shape| shape.status.is_some()).collect();
    let types: BTreeSet<_> = shapes.iter().map(|shape| shape.error_type.as_str()).collect();
    let mut codes: Vec<_> = shapes.iter().map(|shape| shape.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut fields = object! {
        "type" => json!({ "type": "string", "enum": types, "description": "The family of the error." }),
        "code" => json!({ "type": "string", "enum": codes, "description": "What is wrong, for programs: see the [list of errors](/docs/errors)." }),
        "message" => text("What is wrong and what to do, for people."),
        "param" => text_or_null("The field or parameter that is wrong."),
        "request_id" => ids::request(),
    };
    if edition.rules().error_doc_url {
        fields = fields.with("doc_url", text("Where the error is explained."));
    }
    let retry_after = json!({
        "type": "integer", "minimum": 1,
        "description": "When to try again, in seconds: as `Retry-After`. Only where trying again helps.",
    });
    let error = part_with("What is wrong.", fields, object! { "retry_after" => retry_after });
    vec![("Error", part("An error.", object! { "error" => error }))]
}
