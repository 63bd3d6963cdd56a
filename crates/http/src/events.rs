//! `GET /v1/events`: what happened to an organization's sessions, keys and credits in the last 30 days, for who wants to see what a webhook
//! endpoint has missed.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::EventId;
use kallglot_core::session::Tenant;
use kallglot_storage::EventFilter;
use serde_json::Value;

use crate::HttpState;
use crate::gate::{Caller, WebhooksManage};
use crate::list::{List, filtered_page};
use crate::problem::Problem;

/// An event as a list and a look-up tell it: as it is delivered.
fn body(event: &Event) -> Value {
    serde_json::from_str(&event.body()).unwrap_or_default()
}

/// A type of event by its name.
pub(crate) fn event_type(param: &str, name: &str) -> Result<EventType, Problem> {
    EventType::parse(name).ok_or_else(|| {
        let names = EventType::ALL.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
        Problem::invalid(param, format!("`{param}` must be a type of event: {names}."))
    })
}

pub(crate) async fn list(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<Value>>, Problem> {
    let mut filter = EventFilter::default();
    let request = filtered_page(query.as_deref(), "an event", |name, value| {
        match name {
            "type" => filter.event_type = Some(event_type("type", value)?),
            "session_id" => {
                let message = "`session_id` must be the id of a session.";
                filter.session = Some(value.parse().map_err(|_| Problem::invalid("session_id", message))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let found = state.app.storage.event_page(caller.tenant(), filter, &request).await?;
    Ok(Json(List::of(found, "/v1/events", |event| body(&event))))
}

pub(crate) async fn get(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let unknown = || {
        let message = "There is no such event in this organization and environment, or it is older than 30 days.";
        Problem::with(ErrorCode::NotFound, message)
    };
    let id: EventId = id.parse().map_err(|_| unknown())?;
    let tenant = caller.tenant();
    if let Some(event) = state.app.storage.event(tenant, id).await? {
        return Ok(Json(body(&event)));
    }
    let other = Tenant { environment: tenant.environment.other(), ..tenant };
    match state.app.storage.event(other, id).await? {
        Some(_) => Err(Problem::of(ErrorCode::ApiKeyWrongEnvironment)),
        None => Err(unknown()),
    }
}
