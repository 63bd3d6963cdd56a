//! `/v1/sessions/{id}/connect`: the WebSocket on which a call's audio and text go (contract section 11).

mod bridge;
mod observer;
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
use kallglot_core::stream_token::{self, Purpose, TokenRefusal};
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

/// Checks the token, joins the session (or observes it), then upgrades; bridges to the node that the session lives on if that is another one. A refusal is
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
    let Asked { purpose, speaker } = asked(&query)?;
    let now = app.clock.now();
    let claims = stream_token::verify(&app.stream_token_secret, purpose, &token, now).map_err(|refusal| {
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
    let unavailable = || Problem { retry_after_s: Some(1), ..Problem::of(ErrorCode::ServiceUnavailable) };
    if state.stop.is_cancelled() {
        return Err(unavailable());
    }
    let raw = bridge::Raw::of(&parts);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state).await.map_err(|_| {
        Problem::with(ErrorCode::InvalidRequest, "This address is a WebSocket. Connect to it with a WebSocket client.")
    })?;
    let stream = socket::Stream { session: session.id, tenant: session.tenant, speaker, limits, state: state.clone() };
    let tasks = state.tasks.clone();
    let refused = match purpose {
        Purpose::TakePart => {
            app.take_slot_for_stream(&session, limits.concurrent_sessions_max).await?;
            match app.hub.join(session.id, speaker).await {
                Err(error) if is_answered_before(&error) => error,
                joined => {
                    let upgrade = with_bounds(upgrade, MESSAGE_BYTES_MAX);
                    return Ok(upgrade.on_upgrade(move |socket| tasks.track_future(stream.run(joined, socket))));
                }
            }
        }
        Purpose::Observe => match app.hub.observe(session.id).await {
            Err(error) if is_answered_before(&error) => error,
            observing => {
                let expires_in = claims.expires_at.duration_since(now).try_into().unwrap_or(Duration::ZERO);
                let upgrade = with_bounds(upgrade, observer::MESSAGE_BYTES_MAX);
                let watching = move |socket| tasks.track_future(stream.observe(observing, expires_in, socket));
                return Ok(upgrade.on_upgrade(watching));
            }
        },
    };
    match refused {
        JoinError::Elsewhere(node) => bridge::bridge(&state, &node, &parts, raw).await,
        JoinError::NotLive => Err(Problem {
            retry_after_s: Some(observer::RETRY_AFTER_S),
            ..Problem::with(
                ErrorCode::ServiceUnavailable,
                "Nobody takes part in this session right now. Observe it again when somebody does.",
            )
        }),
        error => {
            tracing::warn!(session = %session.id, %error, "a stream could not join");
            Err(unavailable())
        }
    }
}

/// Whether a refusal is an answer to the handshake. The others are told on the stream, where browsers can read them.
fn is_answered_before(error: &JoinError) -> bool {
    matches!(error, JoinError::Elsewhere(_) | JoinError::NotLive | JoinError::Storage(StorageError::Unavailable { .. }))
}

fn with_bounds(upgrade: WebSocketUpgrade, message_bytes_max: usize) -> WebSocketUpgrade {
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
        // A connection's buffers are most of a session's memory: a frame of 20 ms needs less than 512 bytes.
        .read_buffer_size(2 * 1024)
        .write_buffer_size(4 * 1024)
        .max_write_buffer_size(256 * 1024)
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

/// What a stream is to be.
struct Asked {
    purpose: Purpose,
    speaker: Option<Speaker>,
}

fn asked(query: &[(String, String)]) -> Result<Asked, Problem> {
    let mut asked = Asked { purpose: Purpose::TakePart, speaker: None };
    let invalid = |name: &str, message: String| {
        Err(Problem { param: Some(name.to_owned()), ..Problem::with(ErrorCode::InvalidRequest, message) })
    };
    for (name, value) in query {
        match (name.as_str(), value.as_str()) {
            ("speaker", value) => match Speaker::parse(value) {
                None => return invalid(name, "`speaker` must be `customer` or `agent`.".into()),
                speaker => asked.speaker = speaker,
            },
            ("observe", "true") => asked.purpose = Purpose::Observe,
            ("observe", "false") => asked.purpose = Purpose::TakePart,
            ("observe", _) => return invalid(name, "`observe` must be true or false.".into()),
            ("token", _) => {}
            _ => {
                return invalid(name, format!("`{name}` is not a parameter of a stream. Check its spelling."));
            }
        }
    }
    if asked.purpose == Purpose::Observe && asked.speaker.is_some() {
        return invalid("speaker", "An observer is no party: leave `speaker` out.".into());
    }
    Ok(asked)
}
