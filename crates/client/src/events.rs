//! Events: as they happen, by server-sent events, and those that were.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::error::{ApiError, ClientError};
use crate::rest::{Answer, Client, deepest, install_tls};

/// A server sends a comment every 15 s; who has heard nothing for so long takes the connection for dead.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// As long as an endpoint may take.
const FORWARD_MAX: Duration = Duration::from_secs(30);
/// Longest message of an event stream, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event, as webhooks deliver it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// `evt_…`; empty for what is only told on a stream.
    #[serde(default)]
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When: an RFC 3339 text.
    pub created_at: String,
    /// What it happened to.
    pub data: Value,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Page<T> {
    /// The items, newest first.
    pub data: Vec<T>,
    /// Whether there are more in the direction that was asked for.
    pub has_more: bool,
}

/// One message of an event stream. The first one may have an id and nothing else: where to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMessage {
    /// To be sent as `Last-Event-ID` to go on behind it; none for what is never sent again.
    pub id: Option<String>,
    /// Its type.
    pub event: String,
    /// The event's JSON, byte for byte as a webhook would have it.
    pub data: String,
}

impl EventMessage {
    /// What it tells.
    ///
    /// # Errors
    /// It is not what the API promises.
    pub fn read(&self) -> Result<Event, ClientError> {
        serde_json::from_str(&self.data)
            .map_err(|error| ClientError::Unexpected { status: 200, reason: error.to_string() })
    }
}

/// An event stream that is open.
#[derive(Debug)]
pub struct EventStream {
    response: reqwest::Response,
    origin: String,
    parser: Parser,
}

/// Reads messages out of bytes as they come (WHATWG HTML, section 9.2.6). Lines end with `\n` or `\r\n`.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    message: Message,
    done: VecDeque<EventMessage>,
}

#[derive(Debug, Default)]
struct Message {
    id: Option<String>,
    event: String,
    data: Option<String>,
}

impl Parser {
    /// False when a message is too long.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.end_line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            } else {
                self.line.push(*byte);
            }
            if self.line.len() + self.message.data.as_ref().map_or(0, String::len) > MESSAGE_BYTES_MAX {
                return false;
            }
        }
        true
    }

    fn end_line(&mut self, line: &str) {
        if line.is_empty() {
            let Message { id, event, data } = std::mem::take(&mut self.message);
            // What has neither says nothing.
            if id.is_some() || data.is_some() {
                self.done.push_back(EventMessage { id, event, data: data.unwrap_or_default() });
            }
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.message.event),
            "data" => match &mut self.message.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.message.data = Some(value.to_owned()),
            },
            // Comments have no name.
            _ => {}
        }
    }
}

impl EventStream {
    /// The next message; none when the server has ended the stream.
    ///
    /// # Errors
    /// The connection broke, or nothing has come for so long that it must have: connect again with the last id.
    pub async fn next(&mut self) -> Result<Option<EventMessage>, ClientError> {
        loop {
            if let Some(message) = self.parser.done.pop_front() {
                return Ok(Some(message));
            }
            let broken = |reason: String| ClientError::Unreachable { origin: self.origin.clone(), reason };
            match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    if !self.parser.feed(&bytes) {
                        return Err(broken("a message that is too long".into()));
                    }
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(broken(deepest(&error))),
                Err(_) => return Err(broken("nothing has come for too long".into())),
            }
        }
    }
}

impl Client {
    /// Opens an event stream: `/v1/sessions/{id}/events` or `/v1/webhooks/listen`, with a query or without, behind the message `last_id`.
    /// None when there is nothing more to come.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn event_stream(&self, path: &str, last_id: Option<&str>) -> Result<Option<EventStream>, ClientError> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_id.map(|id| ("last-event-id", id)));
        let response = self.open(path, &headers).await?;
        let status = response.status().as_u16();
        match status {
            200 => {
                let origin = self.base_url().origin().ascii_serialization();
                Ok(Some(EventStream { response, origin, parser: Parser::default() }))
            }
            204 => Ok(None),
            _ => {
                let body = response.bytes().await.unwrap_or_default();
                Err(ApiError::of(status, &body).into())
            }
        }
    }

    /// The events of a session from the beginning, or behind the message `last_id`, as they happen.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn session_events(&self, id: &str, last_id: Option<&str>) -> Result<Option<EventStream>, ClientError> {
        self.event_stream(&format!("/v1/sessions/{id}/events"), last_id).await
    }

    /// A page of events; `query` is empty or begins with `?`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no page.
    pub async fn events(&self, query: &str) -> Result<Page<Event>, ClientError> {
        self.get(&format!("/v1/events{query}")).await?.typed()
    }

    /// An event.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no event.
    pub async fn event(&self, id: &str) -> Result<Event, ClientError> {
        self.get(&format!("/v1/events/{id}")).await.and_then(Answer::typed)
    }
}

/// Posts events to a developer's own machine, as a server posts them to an endpoint. Follows no redirects.
#[derive(Debug)]
pub struct Forwarder {
    url: Option<Url>,
    http: reqwest::Client,
}

impl Forwarder {
    /// Posts to `url`; nowhere without one.
    ///
    /// # Errors
    /// It is no address.
    pub fn new(url: Option<&str>) -> Result<Self, ClientError> {
        let unusable = |url: &str| ClientError::Address { url: url.to_owned() };
        let url = url.map(|text| Url::parse(text).map_err(|_| unusable(text))).transpose()?;
        if let Some(url) = &url
            && (!matches!(url.scheme(), "http" | "https") || url.host().is_none())
        {
            return Err(unusable(url.as_str()));
        }
        install_tls();
        let http = reqwest::Client::builder()
            .timeout(FORWARD_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("kallglot/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Unreachable { origin: String::new(), reason: deepest(&error) })?;
        Ok(Self { url, http })
    }

    /// Posts one event; the answer's status, or why there was none.
    ///
    /// # Errors
    /// In a few words.
    pub async fn post(&self, headers: &[(&str, &str)], body: &str) -> Result<u16, String> {
        let Some(url) = &self.url else { return Err("nowhere to post to".into()) };
        let mut request = self.http.post(url.clone()).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await.map_err(|error| deepest(&error))?;
        Ok(answer.status().as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(pieces: &[&str]) -> Vec<EventMessage> {
        let mut parser = Parser::default();
        for piece in pieces {
            assert!(parser.feed(piece.as_bytes()));
        }
        parser.done.into()
    }

    #[test]
    fn messages_are_read_however_they_arrive() {
        let text = "retry: 2000\n: comment\n\nid: 6\n: place\n\nid: 7\nevent: a.b\r\ndata: {\"x\":1}\n\n:\n\nevent:c\ndata:1\ndata:2\n\nid: 9\ndata: cut";
        let expected = [
            EventMessage { id: Some("6".into()), event: String::new(), data: String::new() },
            EventMessage { id: Some("7".into()), event: "a.b".into(), data: "{\"x\":1}".into() },
            EventMessage { id: None, event: "c".into(), data: "1\n2".into() },
        ];
        assert_eq!(messages(&[text]), expected);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(messages(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn a_message_without_an_end_is_not_kept_in_memory() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MESSAGE_BYTES_MAX / 2 + 1];
        assert!(parser.feed(&piece) && !parser.feed(&piece));
    }
}
