//! A stream that reached another node than its session's: passed on, byte by byte, to the node that the session lives on.
//!
//! Passed on rather than sent away, because WebSocket clients (browsers foremost) don't follow redirects, and because only this address is
//! known to be reachable for them. The other node checks the token and answers the handshake; this one only looks at where frames end, so
//! that it can say goodbye properly when it stops.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kallglot_core::error_code::ErrorCode;
use kallglot_storage::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use crate::HttpState;
use crate::context::RequestContext;
use crate::problem::Problem;

/// Says that another node passes this stream on, so that it is not passed on again.
const BRIDGED: HeaderName = HeaderName::from_static("kallglot-bridged");
/// How long the other node may take to accept a connection, and to answer the handshake.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// When a client should try again: a node that does not answer is taken for dead after 10 s.
const RETRY_AFTER_S: u32 = 2;
/// What is passed on at once.
const BUFFER_BYTES: usize = 8 * 1024;
/// A close frame of a server with code 1001, going away (RFC 6455 section 5.5.1).
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// What the handshake's answer tells the client beside its status.
const ANSWER_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// The client's connection, to be had once the handshake is answered.
pub(super) struct Raw(Option<OnUpgrade>);

impl Raw {
    pub(super) fn of(parts: &Parts) -> Self {
        Self(parts.extensions.get::<OnUpgrade>().cloned())
    }
}

fn unavailable(node: &Node, cause: impl std::fmt::Display) -> Problem {
    tracing::warn!(node = %node.id, url = node.url, %cause, "a stream could not be passed on to its session's node");
    Problem {
        retry_after_s: Some(RETRY_AFTER_S),
        ..Problem::with(
            ErrorCode::ServiceUnavailable,
            "The server of this session can't be reached right now. Try again.",
        )
    }
}

/// Passes the handshake on, and then everything.
pub(super) async fn bridge(state: &HttpState, node: &Node, parts: &Parts, raw: Raw) -> Result<Response, Problem> {
    if parts.headers.contains_key(BRIDGED) {
        return Err(unavailable(node, "it was passed on already"));
    }
    let url = Url::parse(&node.url).map_err(|error| unavailable(node, error))?;
    let host = url.host_str().ok_or_else(|| unavailable(node, "its URL has no host"))?.to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let connecting = TcpStream::connect((host.trim_matches(['[', ']']), port));
    let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
    let stream = connected.map_err(|_| unavailable(node, "it does not accept"))?.map_err(|e| unavailable(node, e))?;
    stream.set_nodelay(true).map_err(|error| unavailable(node, error))?;
    let handshake = hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| unavailable(node, error))?;
    state.tasks.spawn(async move { drop(connection.with_upgrades().await) });

    let sending = sender.send_request(handshake_request(parts).map_err(|error| unavailable(node, error))?);
    let answered = tokio::time::timeout(ANSWER_MAX, sending).await;
    let mut answer =
        answered.map_err(|_| unavailable(node, "it does not answer"))?.map_err(|e| unavailable(node, e))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Its refusal is the client's answer.
        let (parts, body) = answer.into_parts();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = parts.status;
        for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
            if let Some(value) = parts.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        return Ok(response);
    }
    let there = hyper::upgrade::on(&mut answer);
    let here = raw.0.ok_or_else(|| unavailable(node, "the client's connection can't be upgraded"))?;
    let (state, node) = (state.clone(), node.clone());
    state.tasks.clone().spawn(async move {
        let (Ok(here), Ok(there)) = tokio::join!(here, there) else {
            tracing::debug!(node = %node.id, "a stream that was to be passed on went away");
            return;
        };
        state.metrics.streams_bridged.inc();
        pass_on(here, there, &state).await;
        state.metrics.streams_bridged.dec();
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for name in ANSWER_HEADERS {
        for value in answer.headers().get_all(&name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    Ok(response)
}

/// The client's handshake as this node repeats it.
fn handshake_request(parts: &Parts) -> Result<Request<Body>, axum::http::Error> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder().method(Method::GET).uri(target).body(Body::empty())?;
    *request.headers_mut() = parts.headers.clone();
    request.headers_mut().insert(BRIDGED, HeaderValue::from_static("1"));
    if let Ok(context) = RequestContext::of(parts)
        && let Ok(address) = HeaderValue::from_str(&context.address.to_string())
    {
        request.headers_mut().insert("x-forwarded-for", address);
    }
    Ok(request)
}

/// Passes everything on, both ways, until one side is done or this server stops.
async fn pass_on(here: Upgraded, there: Upgraded, state: &HttpState) {
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(here));
    let (mut from_node, mut to_node) = tokio::io::split(TokioIo::new(there));
    let upward = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_node).await;
        let _ = to_node.shutdown().await;
    };
    let downward = async {
        let (mut frames, mut buffer) = (Frames::default(), vec![0; BUFFER_BYTES]);
        let stopping = loop {
            let read = tokio::select! {
                read = from_node.read(&mut buffer) => read,
                () = state.stop.cancelled(), if frames.is_between() => break true,
            };
            let Some(bytes) = read.ok().filter(|bytes| *bytes > 0).and_then(|bytes| buffer.get(..bytes)) else {
                break false;
            };
            frames.see(bytes);
            if to_client.write_all(bytes).await.is_err() {
                break false;
            }
        };
        if stopping {
            let _ = to_client.write_all(&GOING_AWAY).await;
            let _ = to_client.flush().await;
            // The client's answer goes to the node, for which it is the end of the stream: then it hangs up.
            let hung_up = async { while from_node.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {} };
            let _ = tokio::time::timeout(state.stream.write_max, hung_up).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        () = &mut downward => {}
        // The client is gone. What the node still has to say nobody hears.
        () = &mut upward => {}
    }
}

/// Follows where a server's frames end (RFC 6455 section 5.2): they have no mask.
#[derive(Default)]
struct Frames {
    /// The head of the next frame as far as it has come.
    head: [u8; 10],
    head_bytes: usize,
    /// What is missing of this frame's payload.
    payload_bytes: u64,
}

impl Frames {
    /// Whether the last frame is complete and the next has not begun.
    fn is_between(&self) -> bool {
        self.head_bytes == 0 && self.payload_bytes == 0
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_bytes > 0 {
                let skipped = usize::try_from(self.payload_bytes).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_bytes -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            self.head[self.head_bytes] = first;
            self.head_bytes += 1;
            bytes = rest;
            if let Some(payload_bytes) = payload_bytes(&self.head[..self.head_bytes]) {
                (self.head_bytes, self.payload_bytes) = (0, payload_bytes);
            }
        }
    }
}

/// How long the payload is; none while the head is not complete.
fn payload_bytes(head: &[u8]) -> Option<u64> {
    let [_, length, more @ ..] = head else { return None };
    match length & 0x7f {
        126 => more.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes))),
        127 => more.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        short => Some(u64::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = vec![0x82];
        match payload {
            0..126 => frame.push(payload as u8),
            126..65_536 => {
                frame.push(126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + payload, 0x7e);
        frame
    }

    #[test]
    fn frames_end_where_they_end_however_they_arrive() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000, 3];
        let all: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
        let ends: Vec<usize> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += frame(*length).len();
                Some(*end)
            })
            .collect();
        for piece in [1, 2, 3, 7, 64, 1000, all.len()] {
            let (mut frames, mut seen) = (Frames::default(), 0);
            for bytes in all.chunks(piece) {
                frames.see(bytes);
                seen += bytes.len();
                assert_eq!(frames.is_between(), ends.contains(&seen), "after {seen} bytes in pieces of {piece}");
            }
        }
    }
}
