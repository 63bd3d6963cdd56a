//! Requests to the server: deadline, attempts, bounds, and what a failure means.
//!
//! What must stay true: nothing here outlives its deadline; a request holds its slot until its answer is read or dropped; an error's
//! text never has anything of the server's answer in it (that goes to the log, without the key).

use std::sync::Arc;
use std::time::Duration;

use kallglot_core::random::{self, RandomSource};
use kallglot_engine::EngineError;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{InvalidConfig, Limits, OpenAiConfig, Secret};
use crate::sse::EventParser;

/// Of an answer that tells an error, as much is read.
const ERROR_BYTES_MAX: usize = 4 * 1024;
/// Of an error, as many characters are logged.
const LOGGED_CHARS_MAX: usize = 300;

pub(crate) struct Http {
    client: Client,
    base_url: String,
    key: Option<Secret>,
    pub(crate) limits: Limits,
    slots: Arc<Semaphore>,
    random: Arc<dyn RandomSource>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("base_url", &self.base_url).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An answer of status 2xx, with the slot that it holds.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    deadline: Instant,
    between_parts_max: Duration,
    _slot: OwnedSemaphorePermit,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: EngineError,
    /// The server understood the request and did not like something in it: with other parameters it may work.
    pub(crate) disliked: bool,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { error, disliked: false }
    }
}

/// What one attempt came to, if it was no success.
struct Attempt {
    failure: Failure,
    again: bool,
    retry_after: Option<Duration>,
}

impl Http {
    pub(crate) fn new(config: &OpenAiConfig, random: Arc<dyn RandomSource>) -> Result<Self, InvalidConfig> {
        let limits = config.limits.clone();
        let mut headers = HeaderMap::new();
        if let Some(key) = &config.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|_| InvalidConfig { key: "api_key", allowed: "printable ASCII characters" })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // The second call and all later ones find it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_millis(limits.connect_ms))
            // A redirect would take the key to where nobody meant it to go.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| InvalidConfig {
                key: "base_url",
                allowed: "a URL that this machine's TLS can be set up for",
            })?;
        Ok(Self {
            client,
            base_url: config.base_url.clone(),
            key: config.api_key.clone(),
            slots: Arc::new(Semaphore::new(limits.requests_max)),
            limits,
            random,
        })
    }

    /// When work that begins now must be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.limits.total_ms)
    }

    /// Posts to `path` until there is an answer, `deadline` has come or attempts are used up. `fill` makes the body, once per attempt.
    pub(crate) async fn post(
        &self,
        path: &str,
        deadline: Instant,
        fill: impl Fn(RequestBuilder) -> RequestBuilder + Send + Sync,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/{path}", self.base_url);
        let mut number = 1;
        loop {
            let slot = timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await;
            let Ok(Ok(slot)) = slot else {
                let text =
                    "the speech service has too many requests under way; raise `requests_max` or use fewer calls";
                return Err(EngineError::Overloaded(text.into()).into());
            };
            let attempt = match self.attempt(fill(self.client.post(&url)), deadline).await {
                Ok(response) => {
                    let between_parts_max = Duration::from_millis(self.limits.first_byte_ms);
                    return Ok(Answer { response, deadline, between_parts_max, _slot: slot });
                }
                Err(attempt) => attempt,
            };
            drop(slot);
            let wait = attempt.retry_after.unwrap_or_else(|| self.backoff(number));
            if !attempt.again || number >= self.limits.attempts_max || Instant::now() + wait >= deadline {
                return Err(attempt.failure);
            }
            sleep(wait).await;
            number += 1;
        }
    }

    async fn attempt(&self, request: RequestBuilder, deadline: Instant) -> Result<Response, Attempt> {
        let first_byte = Instant::now() + Duration::from_millis(self.limits.first_byte_ms);
        let sent = timeout_at(deadline.min(first_byte), request.send()).await;
        let give_up = |error: EngineError, again: bool| Attempt { failure: error.into(), again, retry_after: None };
        let response = match sent {
            Err(_) => {
                // Not again: the server may be working on it, and twice the work would not make it faster.
                return Err(give_up(EngineError::TimedOut("the speech service did not answer in time".into()), false));
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %self.without_key(&chain(&error)), "no answer from the OpenAI-compatible server");
                let text = "the speech service can't be reached; check that it runs and that `base_url` is right";
                return Err(give_up(EngineError::Unavailable(text.into()), true));
            }
            Ok(Ok(response)) if response.status().is_success() => return Ok(response),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let body =
            timeout_at(deadline.min(first_byte), first_bytes(response, ERROR_BYTES_MAX)).await.unwrap_or_default();
        let told = self.without_key(&String::from_utf8_lossy(&body));
        let told: String = told.chars().take(LOGGED_CHARS_MAX).collect();
        tracing::warn!(%status, told, "the OpenAI-compatible server refused a request");
        Err(Attempt {
            retry_after: retry_after.filter(|_| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS),
            ..judge(status, &told)
        })
    }

    /// Half of the doubled wait, and up to as much again, so that calls that failed together don't come back together.
    fn backoff(&self, attempts: u32) -> Duration {
        let doubled =
            self.limits.backoff_ms.saturating_mul(1 << (attempts - 1).min(16)).min(self.limits.backoff_max_ms);
        let drawn = u64::from(u32::from_le_bytes(random::bytes(self.random.as_ref())));
        Duration::from_millis(doubled / 2 + (doubled - doubled / 2) * drawn / u64::from(u32::MAX))
    }

    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.reveal(), "…"),
            None => text.to_owned(),
        }
    }
}

/// What a status that is no success means, and whether trying again may help.
fn judge(status: StatusCode, told: &str) -> Attempt {
    let attempt = |error: EngineError, again| Attempt { failure: error.into(), again, retry_after: None };
    match status.as_u16() {
        401 | 403 => attempt(
            EngineError::Unavailable("the speech service refused the key; check `api_key` and what it may do".into()),
            false,
        ),
        404 | 405 => {
            let text = "the speech service does not know this request; check `base_url` and the model's name";
            attempt(EngineError::Unavailable(text.into()), false)
        }
        429 if told.contains("insufficient_quota") => attempt(
            EngineError::Unavailable("the account at the speech service is used up; check its billing".into()),
            false,
        ),
        429 => attempt(
            EngineError::Overloaded(
                "the speech service is asked too often; ask its provider for a higher limit".into(),
            ),
            true,
        ),
        408 | 500 | 502..=504 => attempt(
            EngineError::Unavailable("the speech service has a failure of its own; it may work again soon".into()),
            true,
        ),
        300..=399 => attempt(
            EngineError::Unavailable("the speech service sends elsewhere; set `base_url` to where it really is".into()),
            false,
        ),
        _ => {
            let text = "the speech service refused the request; check that the model exists and can do this";
            Attempt {
                failure: Failure { error: EngineError::Failed(text.into()), disliked: true },
                again: false,
                retry_after: None,
            }
        }
    }
}

/// `Retry-After` in seconds; its other form, a date, is rare and left to the usual wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

async fn first_bytes(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < bytes_max
        && let Ok(Some(part)) = response.chunk().await
    {
        body.extend_from_slice(&part[..part.len().min(bytes_max - body.len())]);
    }
    body
}

/// An error and its causes; reqwest's own text names only the outermost.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Answer {
    /// The media type with its parameters, in lower case; empty when there is none.
    pub(crate) fn content_type(&self) -> String {
        let value = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_ascii_lowercase()
    }

    /// Whether the answer comes in events.
    pub(crate) fn is_events(&self) -> bool {
        self.content_type().starts_with("text/event-stream")
    }

    /// For answers that are read at the pace of a listener: the deadline no longer counts, only the wait for each part does.
    pub(crate) fn without_deadline(mut self) -> Self {
        self.deadline = Instant::now() + Duration::from_secs(24 * 3_600);
        self
    }

    /// The next part of the body; none at its end.
    ///
    /// # Errors
    /// It takes too long or the connection breaks.
    pub(crate) async fn part(&mut self) -> Result<Option<bytes::Bytes>, EngineError> {
        let until = self.deadline.min(Instant::now() + self.between_parts_max);
        match timeout_at(until, self.response.chunk()).await {
            Err(_) => Err(EngineError::TimedOut("the speech service stopped in the middle of its answer".into())),
            Ok(Err(_)) => Err(EngineError::Failed(
                "the connection to the speech service broke in the middle of its answer".into(),
            )),
            Ok(Ok(part)) => Ok(part),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Answer::part`]; also when it has more than `bytes_max` bytes.
    pub(crate) async fn body(mut self, bytes_max: usize) -> Result<Vec<u8>, EngineError> {
        let mut body = Vec::new();
        while let Some(part) = self.part().await? {
            if body.len() + part.len() > bytes_max {
                return Err(EngineError::Failed("the speech service's answer is too long".into()));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`Answer::body`]; also when it is no such JSON.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(self, bytes_max: usize) -> Result<T, EngineError> {
        serde_json::from_slice(&self.body(bytes_max).await?).map_err(|_| not_understood())
    }

    /// The data of the body's events, given to `on` as they come, until it says that it has all it wants.
    ///
    /// # Errors
    /// As [`Answer::body`]; also what `on` says.
    pub(crate) async fn events(
        mut self,
        bytes_max: usize,
        mut on: impl FnMut(&str) -> Result<bool, EngineError> + Send,
    ) -> Result<(), EngineError> {
        let mut parser = EventParser::default();
        let (mut seen_bytes, mut outcome) = (0, Ok(false));
        loop {
            let part = self.part().await?;
            let mut each = |data: &str| {
                if let Ok(false) = outcome {
                    outcome = on(data);
                }
            };
            let Some(part) = part else {
                parser.finish(each).map_err(|_| not_understood())?;
                return outcome.map(|_| ());
            };
            seen_bytes += part.len();
            parser.push(&part, &mut each).map_err(|_| not_understood())?;
            match outcome {
                Ok(false) if seen_bytes > bytes_max => {
                    return Err(EngineError::Failed("the speech service's answer is too long".into()));
                }
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The answer was no such thing as it should have been.
pub(crate) fn not_understood() -> EngineError {
    EngineError::Failed(
        "the speech service's answer is not understood; check that `base_url` is an OpenAI-compatible API".into(),
    )
}
