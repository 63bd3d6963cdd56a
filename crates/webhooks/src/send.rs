//! One attempt of a delivery: a POST, and what came of it.
//!
//! Success is a 2xx status within [`ATTEMPT_MAX`]. Redirects are not followed. Of the answer's body no more is read than is kept; what it
//! says decides nothing.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use kallglot_app::webhooks::excerpt;
use kallglot_core::delivery::{AttemptError, EXCERPT_BYTES_MAX};
use kallglot_core::egress::EndpointUrl;
use kallglot_core::webhook::Signed;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connect::{Connection, Connector, Pool, SendError};

/// Longest that an attempt may take, unless a test is in a hurry (contract section 13).
pub const ATTEMPT_MAX: Duration = Duration::from_secs(30);
/// How long the beginning of an answer's body is waited for once its status is known.
const BODY_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take, after an answer's end, until another request can be sent on it.
const READY_MAX: Duration = Duration::from_millis(50);

const USER: &str = concat!("Kallglot/", env!("CARGO_PKG_VERSION"), " (webhooks)");

/// What an endpoint answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status, if one came.
    pub status: Option<u16>,
    /// Why the attempt failed; none when it succeeded.
    pub error: Option<SendError>,
    /// The headers, one per line, as far as they are kept.
    pub headers: String,
    /// The beginning of the body.
    pub body: String,
    /// How long the endpoint asks to be left alone, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Answer {
    pub(crate) fn failed(error: SendError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Whether the endpoint has said that it is gone for good.
    pub fn is_gone(&self) -> bool {
        self.status == Some(410)
    }
}

fn request(url: &EndpointUrl, signed: &Signed, body: &Bytes) -> Result<Request<Full<Bytes>>, SendError> {
    let impossible = |_| SendError::new(AttemptError::ConnectFailed, "the URL can't be put into a request");
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.target.parse().map_err(|_| impossible(()))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&url.authority).map_err(|_| impossible(()))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(USER));
    for (name, value) in signed.headers() {
        let value = HeaderValue::from_str(value).map_err(|_| impossible(()))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

/// Makes an attempt. It answers within `attempt_max`, whatever the endpoint does.
pub(crate) async fn attempt(
    connector: &Connector,
    pool: &Pool,
    url: &EndpointUrl,
    signed: &Signed,
    body: &Bytes,
    attempt_max: Duration,
) -> Answer {
    let late = Instant::now() + attempt_max;
    let too_late = || {
        let detail = format!("there was no answer within {attempt_max:?}");
        Answer::failed(SendError::new(AttemptError::TimedOut, detail))
    };
    let exchange = async {
        let (mut connection, used) = connector.connection(url, pool, false).await?;
        match connection.sender.send_request(request(url, signed, body)?).await {
            Ok(response) => Ok((connection, response)),
            // It was closed while it was not being used, which says nothing about the endpoint.
            Err(error) if used && (error.is_canceled() || error.is_incomplete_message() || error.is_closed()) => {
                let (mut connection, _) = connector.connection(url, pool, true).await?;
                let response = connection.sender.send_request(request(url, signed, body)?).await.map_err(told)?;
                Ok((connection, response))
            }
            Err(error) => Err(told(error)),
        }
    };
    match timeout_at(late, exchange).await {
        Ok(Ok((connection, response))) => read(connection, response, pool, late).await,
        Ok(Err(error)) => Answer::failed(error),
        Err(_) => too_late(),
    }
}

fn told(error: hyper::Error) -> SendError {
    let kind = if error.is_parse() || error.is_parse_too_large() {
        AttemptError::InvalidAnswer
    } else {
        AttemptError::ConnectionClosed
    };
    let detail = match kind {
        AttemptError::InvalidAnswer => format!("what the endpoint answered is not HTTP/1.1, or too large: {error}"),
        _ => format!("the endpoint closed the connection before it had answered: {error}"),
    };
    SendError::new(kind, detail)
}

fn headers_text(headers: &HeaderMap) -> String {
    let mut text = Vec::new();
    for (name, value) in headers {
        if text.len() > EXCERPT_BYTES_MAX {
            break;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    excerpt(&text)
}

async fn read(mut connection: Connection, response: Response<Incoming>, pool: &Pool, late: Instant) -> Answer {
    let (head, mut body) = response.into_parts();
    let status = head.status;
    let retry_after_s = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let error = if status.is_success() {
        None
    } else if status.is_redirection() {
        let to = head.headers.get(LOCATION).map(|value| excerpt(value.as_bytes())).unwrap_or_default();
        let detail = format!("the endpoint redirects ({status}) to {to:?}, which is not followed: change its URL");
        Some(SendError::new(AttemptError::Redirect, detail))
    } else {
        Some(SendError::new(AttemptError::Status, format!("the endpoint answered {status}")))
    };
    let mut kept = Vec::new();
    let whole = timeout_at(late.min(Instant::now() + BODY_MAX), async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            if let Ok(data) = frame.into_data() {
                let room = EXCERPT_BYTES_MAX - kept.len();
                kept.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    return false;
                }
            }
        }
        true
    })
    .await;
    drop(body);
    // Who sends more than is read has the connection closed.
    if whole == Ok(true) && timeout(READY_MAX, connection.sender.ready()).await.is_ok_and(|ready| ready.is_ok()) {
        pool.put(connection);
    }
    Answer {
        status: Some(status.as_u16()),
        error,
        headers: headers_text(&head.headers),
        body: excerpt(&kept),
        retry_after_s,
    }
}
