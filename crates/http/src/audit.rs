//! `GET /v1/audit_log`: everything done to an organization's keys, plan and credits: who, when, from where, what changed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use kallglot_core::audit::{AuditEntry, Who};
use kallglot_core::session::Environment;
use kallglot_storage::AuditFilter;
use serde::Serialize;

use crate::HttpState;
use crate::gate::{ApiKeysManage, Caller};
use crate::list::{List, page};
use crate::problem::Problem;
use crate::sessions::time;

#[derive(Serialize)]
pub(crate) struct EntryBody {
    id: String,
    object: &'static str,
    created_at: String,
    action: &'static str,
    actor: ActorBody,
    address: Option<String>,
    request_id: Option<String>,
    object_id: String,
    environment: Option<&'static str>,
    changes: BTreeMap<String, ChangeBody>,
}

#[derive(Serialize)]
struct ActorBody {
    r#type: &'static str,
    id: Option<String>,
}

#[derive(Serialize)]
struct ChangeBody {
    before: String,
    after: String,
}

fn entry_body(entry: AuditEntry) -> EntryBody {
    let actor = match entry.change.who {
        Who::Key(id) => ActorBody { r#type: "api_key", id: Some(id.to_string()) },
        Who::Person(id) => ActorBody { r#type: "person", id: Some(id.to_string()) },
        Who::Operator => ActorBody { r#type: "operator", id: None },
        Who::LeakReporter => ActorBody { r#type: "leak_reporter", id: None },
        Who::Server => ActorBody { r#type: "server", id: None },
    };
    let changes = entry.changes.into_iter();
    EntryBody {
        id: entry.change.id.to_string(),
        object: "audit_entry",
        created_at: time(entry.change.at),
        action: entry.action.as_str(),
        actor,
        address: entry.change.address.map(|address| address.to_string()),
        request_id: entry.change.request.map(|request| request.to_string()),
        object_id: entry.object,
        environment: entry.environment.map(Environment::as_str),
        changes: changes.map(|(name, (before, after))| (name, ChangeBody { before, after })).collect(),
    }
}

pub(crate) async fn list(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<EntryBody>>, Problem> {
    let request = page(query.as_deref(), "an audit entry")?;
    let found = state.app.storage.audit_log(caller.tenant().organization, &AuditFilter::default(), &request).await?;
    Ok(Json(List::of(found, "/v1/audit_log", entry_body)))
}
