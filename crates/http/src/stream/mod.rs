//! `/v1/sessions/{id}/connect`: the WebSocket on which a call's audio and text go (contract section 11).

mod bridge;
mod socket;
pub(crate) mod wire;

use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use kallglot_app::live::JoinError;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::{SessionState, Speaker};
use kallglot_core::stream_token::{self, TokenRefusal};
use kallglot_storage::StorageError;

use crate::HttpState;
use crate::list::query_pairs;
use crate::problem::Problem;
use crate::sessions::session_id;

/// The sub-protocol that browsers offer beside the token.
const SUBPROTOCOL: &str = "kallglot";

/// Largest message of a client (contract section 11).
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How streams are kept.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// How often a quiet client is pinged.
    pub ping_every: Duration,
    /// A client from which nothing has come for this long, not even a pong, is closed (4408).
    pub idle_max: Duration,
    /// How often a quiet event stream is sent a comment, so that nobody on the way takes it for dead.
    pub heartbeat_every: Duration,
    /// How long a client may take to read one batch of messages, and to answer a close.
    pub write_max: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(20),
            idle_max: Duration::from_secs(60),
            heartbeat_every: Duration::from_secs(15),
            write_max: Duration::from_secs(15),
        }
    }
}

/// Checks the token, joins the session, then upgrades; bridges to the node that the session lives on if that is another one. A refusal is
/// an HTTP answer with a JSON error.
pub(crate) async fn connect(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let query = query_pairs(query.as_deref().unwrap_or(""));
    let token = token(&query, &parts.headers)?;
    let app = &state.app;
    let claims = stream_token::verify(&app.stream_token_secret, &token, app.clock.now()).map_err(|refusal| {
        Problem::of(match refusal {
            TokenRefusal::Invalid => ErrorCode::StreamTokenInvalid,
            TokenRefusal::Expired => ErrorCode::StreamTokenExpired,
        })
    })?;
    let invalid = |message: &str| Problem::with(ErrorCode::StreamTokenInvalid, message);
    if session_id(&id).ok() != Some(claims.session) {
        return Err(invalid("This stream token is another session's. Use the `stream.url` that came with it."));
    }
    let (session, limits) = app
        .session_to_join(claims.session)
        .await?
        .filter(|(session, _)| session.tenant.environment == claims.environment)
        .ok_or_else(|| Problem::of(ErrorCode::StreamTokenInvalid))?;
    if matches!(session.state, SessionState::Ended { .. }) {
        return Err(invalid("The session has ended, and its stream tokens with it. Create a new session."));
    }
    let speaker = speaker(&query)?;
    let unavailable = || Problem { retry_after_s: Some(1), ..Problem::of(ErrorCode::ServiceUnavailable) };
    if state.stop.is_cancelled() {
        return Err(unavailable());
    }
    let raw = bridge::Raw::of(&parts);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state).await.map_err(|_| {
        Problem::with(ErrorCode::InvalidRequest, "This address is a WebSocket. Connect to it with a WebSocket client.")
    })?;
    app.take_slot_for_stream(&session, limits.concurrent_sessions_max).await?;
    let joined = match app.hub.join(session.id, speaker).await {
        Err(JoinError::Elsewhere(node)) => return bridge::bridge(&state, &node, &parts, raw).await,
        Err(JoinError::Storage(StorageError::Unavailable { cause })) => {
            tracing::warn!(session = %session.id, cause, "a stream could not join");
            return Err(unavailable());
        }
        joined => joined,
    };
    let stream = socket::Stream { session: session.id, tenant: session.tenant, speaker, limits, state: state.clone() };
    let tasks = state.tasks.clone();
    Ok(upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        // A connection's buffers are most of a session's memory: a frame of 20 ms needs less than 512 bytes.
        .read_buffer_size(2 * 1024)
        .write_buffer_size(4 * 1024)
        .max_write_buffer_size(256 * 1024)
        .on_upgrade(move |socket| tasks.track_future(stream.run(joined, socket))))
}

/// The one token of a request, wherever it is.
fn token(query: &[(String, String)], headers: &HeaderMap) -> Result<String, Problem> {
    let mut tokens = Vec::new();
    tokens.extend(query.iter().filter(|(name, _)| name == "token").map(|(_, value)| value.as_str()));
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = value.to_str().unwrap_or("");
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            tokens.push(token.trim());
        }
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    tokens.extend(offered.flat_map(|value| value.split(',')).map(str::trim).filter(|name| *name != SUBPROTOCOL));
    tokens.dedup();
    match tokens.as_slice() {
        [] => Err(Problem::with(
            ErrorCode::StreamTokenInvalid,
            "The stream token is missing. Send `stream.token` as `?token=`, as `Authorization: Bearer`, or beside `kallglot` in `Sec-WebSocket-Protocol`.",
        )),
        [token] if token.starts_with("sk_") => Err(Problem::with(
            ErrorCode::StreamTokenInvalid,
            "API keys are not accepted here, and must not reach browsers. Use the session's `stream.token`.",
        )),
        [token] => Ok((*token).to_owned()),
        _ => Err(Problem::with(ErrorCode::InvalidRequest, "The request holds more than one stream token. Send one.")),
    }
}

fn speaker(query: &[(String, String)]) -> Result<Option<Speaker>, Problem> {
    let mut speaker = None;
    for (name, value) in query {
        match name.as_str() {
            "speaker" => {
                speaker = Some(Speaker::parse(value).ok_or_else(|| Problem {
                    param: Some("speaker".into()),
                    ..Problem::with(ErrorCode::InvalidRequest, "`speaker` must be `customer` or `agent`.")
                })?);
            }
            "token" => {}
            _ => {
                let message = format!("`{name}` is not a parameter of a stream. Check its spelling.");
                let param = Some(name.clone());
                return Err(Problem { param, ..Problem::with(ErrorCode::InvalidRequest, message) });
            }
        }
    }
    Ok(speaker)
}
