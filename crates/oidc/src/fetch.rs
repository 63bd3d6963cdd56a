//! How the provider is asked.

use std::time::Duration;

use async_trait::async_trait;

/// Longest that one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Largest answer. Key sets of large providers have a few KB. Bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A request to the provider: a form to post, or none to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// What is posted, by name.
    pub form: Option<Vec<(String, String)>>,
    /// User name and password for HTTP's basic authentication.
    pub basic: Option<(String, String)>,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// There was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// Asks the provider.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Sends the request and reads the whole answer. Redirects are answers.
    ///
    /// # Errors
    /// [`FetchError`].
    async fn fetch(&self, request: Request) -> Result<Response, FetchError>;
}

/// Over HTTP.
pub struct HttpFetch(reqwest::Client);

impl HttpFetch {
    /// With this machine's trusted certificates.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn new() -> Result<Self, FetchError> {
        // The second call and all later ones find it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(REQUEST_MAX)
            // A redirect would take the client's secret to where nobody meant it to go.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        client.map(Self).map_err(|error| FetchError(error.to_string()))
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let failed = |error: reqwest::Error| FetchError(error.without_url().to_string());
        let mut builder = match &request.form {
            None => self.0.get(&request.url),
            Some(form) => {
                let mut body = url::form_urlencoded::Serializer::new(String::new());
                body.extend_pairs(form);
                let kind = "application/x-www-form-urlencoded";
                self.0.post(&request.url).header("content-type", kind).body(body.finish())
            }
        };
        if let Some((user, password)) = &request.basic {
            builder = builder.basic_auth(user, Some(password));
        }
        let mut response = builder.header("accept", "application/json").send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FetchError("the answer is too large".into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status: response.status().as_u16(), body })
    }
}
