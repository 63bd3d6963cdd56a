//! REST requests: one for each thing that a call needs, and [`Client::request`] for everything else.

use std::time::Duration;

use kallglot_core::analysis::Part;
use kallglot_core::session::EndReason;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::error::{ApiError, ClientError};
use crate::secret::Secret;
use crate::types::{Analysis, EndedSession, Items, NewSession, Recording, Session, Transcript};

/// Longest wait for an answer, connecting included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// For what does not end: a year.
const UNBOUNDED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Talks to one server, with one key or none. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    base_url: Url,
    key: Option<Secret>,
    http: reqwest::Client,
}

/// A request's body.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// JSON, with its content type.
    Json(Value),
    /// Any bytes, without a content type unless a header gives one.
    Raw(Vec<u8>),
}

/// An answer as it came, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The forms of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TranscriptFormat {
    /// The API's object.
    Json,
    /// Plain text.
    Text,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
}

impl TranscriptFormat {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Json, Self::Text, Self::Srt, Self::Vtt];

    /// The name that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header's text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The error code of the body; none when there is none.
    pub fn error_code(&self) -> Option<String> {
        self.json()["error"]["code"].as_str().map(str::to_owned)
    }

    /// This answer when its status is a success, else its error.
    ///
    /// # Errors
    /// What the server said.
    pub fn success(self) -> Result<Self, Box<ApiError>> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(ApiError::of(self.status, &self.body)) }
    }

    pub(crate) fn typed<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let answer = self.success()?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| ClientError::Unexpected { status: answer.status, reason: error.to_string() })
    }
}

impl Client {
    /// A client of the server at `base_url` (for example `http://127.0.0.1:8080`). Follows no redirects.
    ///
    /// # Errors
    /// The address is none of a server, or the key has characters that no header can carry.
    pub fn new(base_url: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let unusable = || ClientError::Address { url: base_url.to_owned() };
        let mut url = Url::parse(base_url).map_err(|_| unusable())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(unusable());
        }
        url.set_query(None);
        url.set_fragment(None);
        if key.is_some_and(|key| HeaderValue::from_str(key).is_err() || key.contains(char::is_whitespace)) {
            return Err(ClientError::Key);
        }
        install_tls();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kallglot/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Unreachable { origin: url.to_string(), reason: deepest(&error) })?;
        Ok(Self { base_url: url, key: key.map(Secret::new), http })
    }

    /// The same client with another key, or without one.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(Secret::new), ..self.clone() }
    }

    /// The server's address.
    pub fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Sends any request; `path` begins with `/` and may have a query. The answer comes whatever its status. `headers` are
    /// added to (or, where the name is the same, replace) those that this client sends.
    ///
    /// # Errors
    /// No answer came.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<Answer, ClientError> {
        let response = self.send(method, path, headers, body, ANSWER_TIMEOUT).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?.to_vec();
        Ok(Answer { status, headers, body })
    }

    /// `GET` of what does not end: its body is read as it comes.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Result<reqwest::Response, ClientError> {
        let sending = self.send("GET", path, headers, Body::Empty, UNBOUNDED);
        tokio::time::timeout(ANSWER_TIMEOUT, sending).await.unwrap_or_else(|_| {
            let origin = self.base_url.origin().ascii_serialization();
            Err(ClientError::Unreachable { origin, reason: "it does not answer".into() })
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { origin: self.base_url.origin().ascii_serialization(), reason: deepest(error) }
    }

    /// Sends a request; `timeout` is for its whole answer.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
        timeout: Duration,
    ) -> Result<reqwest::Response, ClientError> {
        let url = self.url(path)?;
        let unusable = |what: &str| ClientError::Address { url: what.to_owned() };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| unusable(method))?;
        let mut all = HeaderMap::new();
        if let Some(key) = &self.key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| ClientError::Key)?;
            value.set_sensitive(true);
            all.insert(AUTHORIZATION, value);
        }
        let bytes = match body {
            Body::Empty => None,
            Body::Json(value) => {
                all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Some(value.to_string().into_bytes())
            }
            Body::Raw(bytes) => Some(bytes),
        };
        for (name, value) in headers {
            let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable(name))?;
            all.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unusable(value))?);
        }
        let mut request = self.http.request(method, url).headers(all).timeout(timeout);
        if let Some(bytes) = bytes {
            request = request.body(bytes);
        }
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// `GET` of any path.
    ///
    /// # Errors
    /// No answer came.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.request("GET", path, &[], Body::Empty).await
    }

    /// `POST` of JSON to any path.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer, ClientError> {
        self.request("POST", path, &[], Body::Json(body)).await
    }

    /// Creates a session.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no session.
    pub async fn create_session(&self, session: &NewSession) -> Result<Session, ClientError> {
        let body = serde_json::to_value(session).map_err(|error| ClientError::Unexpected {
            status: 0,
            reason: format!("the request is no JSON: {error}"),
        })?;
        self.post("/v1/sessions", body).await?.typed()
    }

    /// A session, with a fresh stream token when the key may write sessions.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no session.
    pub async fn get_session(&self, id: &str) -> Result<Session, ClientError> {
        self.get(&format!("/v1/sessions/{id}")).await?.typed()
    }

    /// Ends a session; ending it twice gives the first end's summary.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no summary.
    pub async fn end_session(&self, id: &str, reason: Option<EndReason>) -> Result<EndedSession, ClientError> {
        let body = reason.map_or_else(|| json!({}), |reason| json!({"reason": reason.as_str()}));
        self.post(&format!("/v1/sessions/{id}/end"), body).await?.typed()
    }

    /// A session's transcript.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no transcript.
    pub async fn transcript(&self, id: &str) -> Result<Transcript, ClientError> {
        self.get(&format!("/v1/sessions/{id}/transcript")).await?.typed()
    }

    /// A session's transcript as text in one of its forms.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn transcript_text(&self, id: &str, format: TranscriptFormat) -> Result<String, ClientError> {
        let answer = self.get(&format!("/v1/sessions/{id}/transcript?format={}", format.as_str())).await?;
        Ok(answer.success()?.text())
    }

    /// The recordings of a session: none before its end.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no list of recordings.
    pub async fn recordings_of(&self, session: &str) -> Result<Vec<Recording>, ClientError> {
        let list: Items<Recording> = self.get(&format!("/v1/sessions/{session}/recordings")).await?.typed()?;
        Ok(list.data)
    }

    /// A recording.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no recording.
    pub async fn recording(&self, id: &str) -> Result<Recording, ClientError> {
        self.get(&format!("/v1/recordings/{id}")).await?.typed()
    }

    /// A recording's audio, all of it in memory: for short ones. `query` is such as `format=wav&layout=stereo`, or empty.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn recording_audio(&self, id: &str, query: &str) -> Result<Vec<u8>, ClientError> {
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(self.get(&format!("/v1/recordings/{id}/audio{mark}{query}")).await?.success()?.body)
    }

    /// Deletes a recording.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn delete_recording(&self, id: &str) -> Result<(), ClientError> {
        self.request("DELETE", &format!("/v1/recordings/{id}"), &[], Body::Empty).await?.success()?;
        Ok(())
    }

    /// Pauses a session's recording (`true`) or lets it go on.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn pause_recording(&self, session: &str, pause: bool) -> Result<(), ClientError> {
        let what = if pause { "pause" } else { "resume" };
        let path = format!("/v1/sessions/{session}/recording/{what}");
        self.request("POST", &path, &[], Body::Empty).await?.success()?;
        Ok(())
    }

    /// How well a session went, as the server measured it: lags and counts.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no JSON.
    pub async fn quality(&self, id: &str) -> Result<Value, ClientError> {
        self.get(&format!("/v1/sessions/{id}/quality")).await?.typed()
    }

    /// Asks for an analysis of a session: of these parts (all, if none is named), judged by the compliance profile of this id or name.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no analysis.
    pub async fn analyse(&self, id: &str, include: &[Part], profile: Option<&str>) -> Result<Analysis, ClientError> {
        let mut body = json!({});
        if !include.is_empty() {
            body["include"] = include.iter().map(|part| part.as_str()).collect();
        }
        if let Some(profile) = profile {
            body["profile"] = profile.into();
        }
        self.post(&format!("/v1/sessions/{id}/analysis"), body).await?.typed()
    }

    /// An analysis as it is now.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no analysis.
    pub async fn analysis(&self, id: &str) -> Result<Analysis, ClientError> {
        self.get(&format!("/v1/analyses/{id}")).await?.typed()
    }

    /// Stores a compliance profile. Answers with it as the server does.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no JSON.
    pub async fn create_compliance_profile(&self, name: &str, rules: Value) -> Result<Value, ClientError> {
        self.post("/v1/compliance_profiles", json!({ "name": name, "rules": rules })).await?.typed()
    }

    /// Deletes a compliance profile.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn delete_compliance_profile(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/compliance_profiles/{id}");
        self.request("DELETE", &path, &[], Body::Empty).await?.success()?;
        Ok(())
    }

    /// What the server can translate, as it says it.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no JSON.
    pub async fn languages(&self) -> Result<Value, ClientError> {
        self.get("/v1/languages").await?.typed()
    }

    /// The path under the base address, whose own path (of a proxy) stays in front.
    fn url(&self, path: &str) -> Result<Url, ClientError> {
        let base = self.base_url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}")).map_err(|_| ClientError::Address { url: format!("{base}{path}") })
    }
}

/// Chooses who does TLS's cryptography, for the whole process.
pub(crate) fn install_tls() {
    // The second call and all later ones find it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The innermost reason of an error: what a person can act on ("Connection refused"), without the address's repetition.
pub(crate) fn deepest(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_no_server_are_refused() {
        for url in ["", "localhost:8080", "ftp://host", "unix:/tmp/x", "http://"] {
            assert!(matches!(Client::new(url, None), Err(ClientError::Address { .. })), "{url}");
        }
    }

    #[test]
    fn a_path_in_the_address_stays_in_front() {
        let client = Client::new("https://example.org/voice/?x=1#y", None).unwrap();
        assert_eq!(
            client.url("/v1/sessions?limit=1").unwrap().as_str(),
            "https://example.org/voice/v1/sessions?limit=1"
        );
    }

    #[test]
    fn the_key_is_not_in_the_debug_output_and_a_broken_one_is_refused() {
        let client = Client::new("http://127.0.0.1:1", Some("sk_test_secret")).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
        assert!(matches!(Client::new("http://127.0.0.1:1", Some("sk_test\n")), Err(ClientError::Key)));
    }
}
