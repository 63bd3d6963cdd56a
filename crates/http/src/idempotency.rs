//! `Idempotency-Key` on requests (contract section 8): reading it, answering repetitions, and `GET /v1/idempotency_keys/{key}`.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use kallglot_app::idempotency::{Made, Repeatable, Replay};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::idempotency::{IdempotencyKey, KEPT_S};
use serde::Serialize;

use crate::HttpState;
use crate::body::Fields;
use crate::gate::{AnyKey, Caller, Requirement};
use crate::problem::Problem;
use crate::sessions::time;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request that may carry an idempotency key; a handler that takes this honours it.
pub(crate) struct Repeat {
    key: Option<IdempotencyKey>,
    method: Method,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Repeat {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let key = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => {
                // What is no text has characters that no key has.
                let key = IdempotencyKey::parse(value.to_str().unwrap_or(""));
                Some(key.map_err(|error| {
                    let message = format!("The header Idempotency-Key is not valid: {error}.");
                    Problem::with(ErrorCode::InvalidRequest, message)
                })?)
            }
            (Some(_), Some(_)) => {
                let message = "The header Idempotency-Key is there more than once. Send it once.";
                return Err(Problem::with(ErrorCode::InvalidRequest, message));
            }
        };
        Ok(Self { key, method: parts.method.clone(), path: parts.uri.path().to_owned() })
    }
}

impl Repeat {
    /// Claims the key, if there is one: step 7 of the gate.
    pub(crate) async fn begin<R: Requirement>(
        self,
        state: &HttpState,
        caller: &Caller<R>,
        fields: &Fields,
    ) -> Result<Option<Repeatable>, Problem> {
        let Some(key) = self.key else { return Ok(None) };
        let fingerprint = fields.fingerprint(self.method.as_str(), &self.path);
        let id = caller.context.id;
        Ok(Some(Repeatable::begin(&state.app, caller.tenant(), key, fingerprint, id).await?))
    }
}

/// An answer whose body is JSON already.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// The first answer again.
pub(crate) fn replayed(replay: Replay) -> Response {
    let mut response = json(StatusCode::from_u16(replay.status).unwrap_or(StatusCode::OK), replay.body);
    let headers = response.headers_mut();
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    if let Ok(original) = HeaderValue::from_bytes(&replay.original.text()) {
        headers.insert("idempotent-original-request-id", original);
    }
    response
}

/// The answer to a request that makes something: of status `status` if it is new.
pub(crate) async fn made(
    status: StatusCode,
    repeatable: Option<&Repeatable>,
    made: Result<Made, Problem>,
) -> Result<Response, Problem> {
    match made {
        Ok(Made::New(body)) => Ok(json(status, body)),
        Ok(Made::Replay(replay)) => Ok(replayed(replay)),
        Err(problem) => refused(repeatable, problem).await,
    }
}

/// A refusal before the work; but if the request is a repetition, the first answer comes before it (contract section 3, step 7).
pub(crate) async fn refused(repeatable: Option<&Repeatable>, problem: Problem) -> Result<Response, Problem> {
    match repeatable {
        Some(repeatable) => match repeatable.find().await? {
            Some(replay) => Ok(replayed(replay)),
            None => Err(problem),
        },
        None => Err(problem),
    }
}

#[derive(Serialize)]
pub(crate) struct KeyBody {
    object: &'static str,
    key: String,
    status: &'static str,
    request_id: Option<String>,
    response_status: Option<u16>,
    created_at: Option<String>,
    expires_at: Option<String>,
}

/// The state of an idempotency key.
pub(crate) async fn get(
    caller: Caller<AnyKey>,
    State(state): State<HttpState>,
    Path(key): Path<String>,
) -> Result<Json<KeyBody>, Problem> {
    let unknown = || {
        let message =
            "There is no such idempotency key in this organization and environment, or it is older than 24 hours.";
        Problem::with(ErrorCode::NotFound, message)
    };
    let key = IdempotencyKey::parse(&key).map_err(|_| unknown())?;
    let (app, tenant, now) = (&state.app, caller.tenant(), state.app.clock.now());
    let body = |status| KeyBody {
        object: "idempotency_key",
        key: key.to_string(),
        status,
        request_id: None,
        response_status: None,
        created_at: None,
        expires_at: None,
    };
    if let Some(stored) = app.storage.answer(tenant, &key, now).await? {
        let expires_at = stored.at.checked_add(SignedDuration::from_secs(KEPT_S)).unwrap_or(stored.at);
        return Ok(Json(KeyBody {
            request_id: Some(stored.request.to_string()),
            response_status: Some(stored.status),
            created_at: Some(time(stored.at)),
            expires_at: Some(time(expires_at)),
            ..body("completed")
        }));
    }
    let held =
        app.cluster.claimed_by(tenant, &key, now.as_millisecond()).get().await.map_err(kallglot_app::Error::from)?;
    let request = held.ok_or_else(unknown)?;
    Ok(Json(KeyBody { request_id: Some(request.to_string()), ..body("in_progress") }))
}
