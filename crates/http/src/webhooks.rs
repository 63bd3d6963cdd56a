//! `/v1/webhooks`: an organization's webhook endpoints and what was delivered to them, for keys with `webhooks:manage` (contract section 13).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::SignedDuration;
use kallglot_app::endpoints::CreateEndpoint;
use kallglot_core::Timestamp;
use kallglot_core::delivery::{
    Attempt, DESCRIPTION_CHARS_MAX, Delivery, DeliveryStatus, SECRET_OVERLAP_MAX, URL_BYTES_MAX, Webhook, WebhookState,
};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::{EventType, time};
use kallglot_core::id::{DeliveryId, WebhookId};
use kallglot_core::webhook::WebhookSecret;
use kallglot_storage::{DeliveryFilter, DeliveryLog, WebhookUpdate};
use serde::Serialize;

use crate::HttpState;
use crate::body::{Body, Fields};
use crate::events::event_type;
use crate::gate::{Caller, WebhooksManage};
use crate::idempotency::{Repeat, json, made};
use crate::list::{List, filtered_page, page};
use crate::problem::Problem;

/// How long the old secret signs too after a rotation unless told otherwise, in seconds: a day.
const OVERLAP_S: u64 = 24 * 60 * 60;
/// Every event, also of types that come later.
const ALL: &str = "*";

#[derive(Serialize)]
pub(crate) struct WebhookBody {
    id: String,
    object: &'static str,
    environment: &'static str,
    url: String,
    description: Option<String>,
    events: Vec<&'static str>,
    status: &'static str,
    disabled: Option<DisabledBody>,
    created_at: String,
    updated_at: String,
    failing_since: Option<String>,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    rotation: Option<RotationBody>,
}

#[derive(Serialize)]
struct DisabledBody {
    reason: &'static str,
    at: String,
}

#[derive(Serialize)]
struct RotationBody {
    old_secret_expires_at: String,
}

#[derive(Serialize)]
struct WithSecret<'a> {
    #[serde(flatten)]
    webhook: WebhookBody,
    secret: &'a str,
}

#[derive(Serialize)]
pub(crate) struct DeliveryBody {
    id: String,
    object: &'static str,
    webhook_id: String,
    event_id: String,
    event_type: &'static str,
    event_created_at: String,
    status: &'static str,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct DeliveryLogBody {
    #[serde(flatten)]
    delivery: DeliveryBody,
    /// What is sent, byte for byte.
    request_body: Option<String>,
    attempts: Vec<AttemptBody>,
}

#[derive(Serialize)]
struct AttemptBody {
    created_at: String,
    duration_ms: u32,
    request: RequestBody,
    response: Option<ResponseBody>,
    error: Option<ErrorBody>,
}

#[derive(Serialize)]
struct RequestBody {
    url: String,
    headers: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct ResponseBody {
    status: u16,
    headers: String,
    body: String,
}

#[derive(Serialize)]
struct ErrorBody {
    code: &'static str,
    message: String,
}

fn webhook_body(webhook: &Webhook, now: Timestamp) -> WebhookBody {
    let events = match webhook.event_types.as_slice() {
        [] => vec![ALL],
        some => some.iter().map(|event_type| event_type.as_str()).collect(),
    };
    let disabled = match webhook.state {
        WebhookState::Enabled => None,
        WebhookState::Disabled { reason, at } => Some(DisabledBody { reason: reason.as_str(), at: time(at) }),
    };
    let rotation = webhook.old_secret_valid_until.filter(|until| now < *until);
    WebhookBody {
        id: webhook.id.to_string(),
        object: "webhook",
        environment: webhook.tenant.environment.as_str(),
        url: webhook.url.clone(),
        description: Some(webhook.description.clone()).filter(|text| !text.is_empty()),
        events,
        status: webhook.state.as_str(),
        disabled,
        created_at: time(webhook.created_at),
        updated_at: time(webhook.updated_at),
        failing_since: webhook.failing_since.map(time),
        last_success_at: webhook.last_success_at.map(time),
        last_failure_at: webhook.last_failure_at.map(time),
        rotation: rotation.map(|until| RotationBody { old_secret_expires_at: time(until) }),
    }
}

fn with_secret(webhook: &Webhook, secret: &WebhookSecret, now: Timestamp) -> Vec<u8> {
    let body = WithSecret { webhook: webhook_body(webhook, now), secret: secret.expose() };
    serde_json::to_vec(&body).unwrap_or_default()
}

fn delivery_body(delivery: &Delivery) -> DeliveryBody {
    DeliveryBody {
        id: delivery.id.to_string(),
        object: "webhook_delivery",
        webhook_id: delivery.webhook.to_string(),
        event_id: delivery.event.to_string(),
        event_type: delivery.event_type.as_str(),
        event_created_at: time(delivery.event_at),
        status: delivery.status.as_str(),
        attempt_count: delivery.attempts,
        next_attempt_at: delivery.next_attempt_at.map(time),
        created_at: time(delivery.created_at),
        finished_at: delivery.finished_at.map(time),
    }
}

fn log_body(log: &DeliveryLog) -> DeliveryLogBody {
    let attempt = |attempt: &Attempt| AttemptBody {
        created_at: time(attempt.at),
        duration_ms: attempt.duration_ms,
        request: RequestBody {
            url: attempt.url.clone(),
            // The signatures are not kept: whoever has the secret can make them of these, and nobody else should.
            headers: BTreeMap::from([
                ("content-type", "application/json".to_owned()),
                ("webhook-id", log.delivery.event.to_string()),
                ("webhook-timestamp", attempt.at.as_second().to_string()),
            ]),
        },
        response: attempt.status.map(|status| ResponseBody {
            status,
            headers: attempt.answer_headers.clone(),
            body: attempt.answer_body.clone(),
        }),
        error: attempt.error.map(|code| ErrorBody { code: code.as_str(), message: attempt.error_detail.clone() }),
    };
    DeliveryLogBody {
        delivery: delivery_body(&log.delivery),
        request_body: log.event.as_ref().map(|event| event.body()),
        attempts: log.attempts.iter().map(attempt).collect(),
    }
}

fn webhook_id(text: &str) -> Result<WebhookId, Problem> {
    text.parse().map_err(|_| Problem::of(ErrorCode::WebhookNotFound))
}

fn delivery_ids(webhook: &str, delivery: &str) -> Result<(WebhookId, DeliveryId), Problem> {
    let unknown = |_| Problem::with(ErrorCode::NotFound, "There is no such delivery to this endpoint.");
    Ok((webhook_id(webhook)?, delivery.parse().map_err(unknown)?))
}

pub(crate) async fn create(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    repeat: Repeat,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let repeatable = repeat.begin(&state, &caller, &fields).await?;
    let create = async {
        let asked = read_create(fields)?;
        let change = caller.change(&state);
        let render = |webhook: &Webhook, secret: &WebhookSecret| with_secret(webhook, secret, change.at);
        Ok::<_, Problem>(state.app.create_webhook(caller.tenant(), &change, asked, repeatable.as_ref(), render).await?)
    };
    made(StatusCode::CREATED, repeatable.as_ref(), create.await).await
}

pub(crate) async fn list(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<WebhookBody>>, Problem> {
    let request = page(query.as_deref(), "a webhook endpoint")?;
    let found = state.app.storage.webhooks(caller.tenant(), &request).await?;
    let now = state.app.clock.now();
    Ok(Json(List::of(found, "/v1/webhooks", |webhook| webhook_body(&webhook, now))))
}

pub(crate) async fn get(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<WebhookBody>, Problem> {
    let webhook = state.app.find_webhook(caller.tenant(), webhook_id(&id)?).await?;
    Ok(Json(webhook_body(&webhook, state.app.clock.now())))
}

pub(crate) async fn update(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(fields): Body,
) -> Result<Json<WebhookBody>, Problem> {
    let id = webhook_id(&id)?;
    let update = read_update(fields)?;
    let change = caller.change(&state);
    let webhook = state.app.update_webhook(caller.tenant(), &change, id, update).await?;
    Ok(Json(webhook_body(&webhook, change.at)))
}

pub(crate) async fn delete(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    state.app.delete_webhook(caller.tenant(), &caller.change(&state), webhook_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn rotate(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let id = webhook_id(&id)?;
    let overlap_s = fields.number("overlap_seconds", 0, SECRET_OVERLAP_MAX.as_secs().unsigned_abs())?;
    fields.finish()?;
    let change = caller.change(&state);
    let overlap = SignedDuration::from_secs(overlap_s.unwrap_or(OVERLAP_S).cast_signed());
    let until = change.at.checked_add(overlap).unwrap_or(change.at);
    let (webhook, secret) = state.app.rotate_webhook_secret(caller.tenant(), &change, id, until).await?;
    Ok(json(StatusCode::OK, with_secret(&webhook, &secret, change.at)))
}

pub(crate) async fn test(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<DeliveryLogBody>), Problem> {
    let id = webhook_id(&id)?;
    let event_type = fields.one_of("type", EventType::ALL, EventType::as_str)?.unwrap_or(EventType::WebhookTest);
    fields.finish()?;
    let log = state.app.test_webhook(caller.tenant(), id, event_type).await?;
    Ok((StatusCode::ACCEPTED, Json(log_body(&log))))
}

pub(crate) async fn deliveries(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<DeliveryBody>>, Problem> {
    let id = webhook_id(&id)?;
    let mut filter = DeliveryFilter::default();
    let request = filtered_page(query.as_deref(), "a delivery", |name, value| {
        match name {
            "status" => {
                filter.status = Some(DeliveryStatus::parse(value).ok_or_else(|| {
                    Problem::invalid("status", "`status` must be `pending`, `succeeded` or `failed`.")
                })?);
            }
            "event_id" => {
                let message = "`event_id` must be the id of an event.";
                filter.event = Some(value.parse().map_err(|_| Problem::invalid("event_id", message))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    state.app.find_webhook(caller.tenant(), id).await?;
    let found = state.app.storage.deliveries(caller.tenant(), id, filter, &request).await?;
    let found = found.ok_or_else(|| Problem::of(ErrorCode::WebhookNotFound))?;
    Ok(Json(List::of(found, format!("/v1/webhooks/{id}/deliveries"), |delivery| delivery_body(&delivery))))
}

pub(crate) async fn delivery(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path((webhook, delivery)): Path<(String, String)>,
) -> Result<Json<DeliveryLogBody>, Problem> {
    let (webhook, delivery) = delivery_ids(&webhook, &delivery)?;
    let log = state.app.find_delivery(caller.tenant(), webhook, delivery).await?;
    Ok(Json(log_body(&log)))
}

pub(crate) async fn redeliver(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    Path((webhook, delivery)): Path<(String, String)>,
    Body(fields): Body,
) -> Result<(StatusCode, Json<DeliveryLogBody>), Problem> {
    let (webhook, delivery) = delivery_ids(&webhook, &delivery)?;
    fields.finish()?;
    let log = state.app.redeliver(caller.tenant(), webhook, delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(log_body(&log))))
}

fn read_url(fields: &mut Fields) -> Result<Option<String>, Problem> {
    match fields.text("url")? {
        Some(url) if url.len() > URL_BYTES_MAX => fields.refuse("url", &format!("at most {URL_BYTES_MAX} bytes")),
        url => Ok(url),
    }
}

/// None when the field is not there; the empty list for all.
fn read_events(fields: &mut Fields) -> Result<Option<Vec<EventType>>, Problem> {
    if !fields.has("events") {
        return Ok(None);
    }
    let names = fields.texts("events")?;
    if names.is_empty() || names == [ALL] {
        return Ok(Some(Vec::new()));
    }
    let mut types = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let param = format!("events[{index}]");
        if name == ALL {
            return Err(Problem::invalid(param, "`*` means every event, so it stands alone: `[\"*\"]`."));
        }
        let found = event_type(&param, name)?;
        if found == EventType::WebhookTest {
            return Err(Problem::invalid(
                param,
                "`webhook.test` is sent to the endpoint that is tested, and needs not be asked for.",
            ));
        }
        if !types.contains(&found) {
            types.push(found);
        }
    }
    Ok(Some(types))
}

fn read_create(mut fields: Fields) -> Result<CreateEndpoint, Problem> {
    let Some(url) = read_url(&mut fields)? else {
        return fields.refuse("url", "the address to which events are sent, such as `https://example.com/webhooks`");
    };
    let asked = CreateEndpoint {
        url,
        description: fields.short_text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        event_types: read_events(&mut fields)?.unwrap_or_default(),
    };
    fields.finish()?;
    Ok(asked)
}

/// What is left out stays.
fn read_update(mut fields: Fields) -> Result<WebhookUpdate, Problem> {
    let clears_description = fields.has("description");
    let description = fields.short_text("description", DESCRIPTION_CHARS_MAX)?;
    let update = WebhookUpdate {
        url: read_url(&mut fields)?,
        description: if clears_description { Some(description.unwrap_or_default()) } else { None },
        event_types: read_events(&mut fields)?,
        enabled: fields.flag("enabled")?,
    };
    fields.finish()?;
    Ok(update)
}
