//! WebDriver's protocol (<https://www.w3.org/TR/webdriver2/>), as much as is needed: JSON over plain HTTP to a driver on this machine.
//!
//! A connection per command: the driver closes idle ones, and on loopback another costs nothing.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::PATIENCE;

/// Longest answer: a screenshot of a long page, in base64.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a command was not done, in the driver's words.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The protocol's name for it, such as `no such element`.
    pub(crate) error: String,
    /// For people.
    pub(crate) message: String,
}

/// One session, which is one browser.
#[derive(Debug)]
pub(crate) struct Session {
    driver: SocketAddr,
    id: String,
}

impl Session {
    /// Starts a browser with these capabilities.
    pub(crate) async fn start(driver: SocketAddr, capabilities: Value) -> Result<Self, Refusal> {
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = request(driver, Method::POST, "/session", Some(body)).await?;
        let id = answer["sessionId"].as_str().expect("the driver names the session").to_owned();
        Ok(Self { driver, id })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refusal> {
        request(self.driver, Method::GET, &format!("/session/{}{path}", self.id), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, Refusal> {
        request(self.driver, Method::POST, &format!("/session/{}{path}", self.id), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Refusal> {
        request(self.driver, Method::DELETE, &format!("/session/{}{path}", self.id), None).await
    }
}

/// One command and its answer.
///
/// # Panics
/// When the driver does not answer, or not as the protocol says.
async fn request(driver: SocketAddr, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
    let asked = format!("{method} {path}");
    let exchange = async {
        let stream = TcpStream::connect(driver).await.expect("the driver listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("the driver speaks HTTP");
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, driver.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("a request");
        let answer = async move {
            let answer = sender.send_request(request).await.expect("the driver answers");
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            body.expect("the driver answers in full").to_bytes()
        };
        let (answer, _) = tokio::join!(answer, async {
            // Ends with the answer, as the sender is dropped.
            let _ = connection.await;
        });
        answer
    };
    let answer = tokio::time::timeout(PATIENCE * 2, exchange).await;
    let answer = answer.unwrap_or_else(|_| panic!("the driver does not answer: {asked}"));
    let mut answer: Value = serde_json::from_slice(&answer)
        .unwrap_or_else(|_| panic!("{asked}: not JSON: {}", String::from_utf8_lossy(&answer)));
    let value = answer["value"].take();
    match value["error"].as_str() {
        Some(error) => {
            let message = value["message"].as_str().unwrap_or_default().to_owned();
            Err(Refusal { error: error.to_owned(), message })
        }
        None => Ok(value),
    }
}
