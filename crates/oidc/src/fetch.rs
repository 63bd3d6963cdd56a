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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with this; its address, and what it was sent.
    async fn answers(answer: String) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let mut read = 0;
            while !bytes[..read].ends_with(b"grant_type=x%26y") && !bytes[..read].ends_with(b"\r\n\r\n") {
                read += stream.read(&mut bytes[read..]).await.unwrap();
            }
            // Who has read enough closes: then the rest can't be written.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8_lossy(&bytes[..read]).into_owned()
        });
        (url, asked)
    }

    fn get(url: String) -> Request {
        Request { url, form: None, basic: None }
    }

    #[tokio::test]
    async fn a_form_is_posted_with_the_clients_secret() {
        let (url, asked) = answers("HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n{}".into()).await;
        let form = Some(vec![("grant_type".to_owned(), "x&y".to_owned())]);
        let request = Request { url, form, basic: Some(("user".into(), "word".into())) };
        let answer = HttpFetch::new().unwrap().fetch(request).await;
        assert_eq!(answer, Ok(Response { status: 400, body: b"{}".to_vec() }));
        let asked = asked.await.unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("post /token http/1.1"), "{asked}");
        assert!(asked.contains("authorization: basic dxnlcjp3b3jk"), "{asked}");
        assert!(asked.contains("content-type: application/x-www-form-urlencoded"), "{asked}");
    }

    #[tokio::test]
    async fn nobody_is_followed_elsewhere() {
        let (elsewhere, _) = answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into()).await;
        let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
        let (url, _) = answers(redirect).await;
        let answer = HttpFetch::new().unwrap().fetch(get(url)).await.unwrap();
        assert_eq!(answer.status, 302);
    }

    #[tokio::test]
    async fn an_answer_has_a_bound() {
        let body = "x".repeat(ANSWER_BYTES_MAX + 1);
        let (url, _) = answers(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        let answer = HttpFetch::new().unwrap().fetch(get(url)).await;
        assert_eq!(answer, Err(FetchError("the answer is too large".into())));
    }
}
