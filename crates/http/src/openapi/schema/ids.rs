//! Ids: a prefix and 22 letters and digits ([`kallglot_core::id`]).

use kallglot_core::id::{
    AnalysisId, ApiKeyId, AuditId, ComplianceProfileId, DeliveryId, EventId, OrganizationId, RecordingId, RequestId,
    SegmentId, SessionId, WebhookId,
};
use serde_json::{Value, json};

/// An id. The first digit is less than 7 until the year 9800; not all greater ones fit into 128 bits.
fn id(prefix: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^{prefix}[0-6][0-9A-Za-z]{{21}}$"), "examples": [format!("{prefix}02kcvxLD3mcqFX1EhuPLpS")] })
}

fn or_null(mut id: Value) -> Value {
    id["type"] = json!(["string", "null"]);
    id
}

fn described(mut id: Value, description: &str) -> Value {
    id["description"] = description.into();
    id
}

pub(crate) fn session() -> Value {
    described(id(SessionId::PREFIX), "The session's id.")
}

pub(crate) fn segment() -> Value {
    described(id(SegmentId::PREFIX), "The id of the utterance: the same in its partial and its final text.")
}

pub(crate) fn analysis() -> Value {
    described(id(AnalysisId::PREFIX), "The analysis's id.")
}

pub(crate) fn compliance_profile() -> Value {
    described(id(ComplianceProfileId::PREFIX), "The compliance profile's id.")
}

pub(crate) fn recording() -> Value {
    described(id(RecordingId::PREFIX), "The recording's id.")
}

pub(crate) fn api_key() -> Value {
    described(id(ApiKeyId::PREFIX), "The API key's id. It is not its secret, and a rotation keeps it.")
}

pub(crate) fn organization() -> Value {
    described(id(OrganizationId::PREFIX), "The organization's id.")
}

pub(crate) fn request() -> Value {
    described(id(RequestId::PREFIX), "The request's id, as in `X-Request-ID`.")
}

pub(crate) fn request_or_null(description: &str) -> Value {
    described(or_null(request()), description)
}

pub(crate) fn webhook() -> Value {
    described(id(WebhookId::PREFIX), "The endpoint's id.")
}

pub(crate) fn delivery() -> Value {
    described(id(DeliveryId::PREFIX), "The delivery's id.")
}

pub(crate) fn event() -> Value {
    described(id(EventId::PREFIX), "The event's id: the same in every delivery of it.")
}

pub(crate) fn audit_entry() -> Value {
    described(id(AuditId::PREFIX), "The entry's id.")
}
