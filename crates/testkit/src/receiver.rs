//! A fake receiver of webhooks, which may be as hostile as receivers get.
#![allow(clippy::expect_used, reason = "a test that can't be set up must fail at once")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::soon;

/// What a receiver does with each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with this status, these further header lines and this body.
    Answers(u16, Vec<String>, String),
    /// Answers 200 after a while.
    Slow(Duration),
    /// Reads the request and never answers.
    Hangs,
    /// Accepts the connection and never reads.
    NeverReads,
    /// Answers 200 with a body that does not end.
    EndlessBody,
    /// Answers with headers that don't end.
    EndlessHeaders,
    /// Answers one byte now and then, and never comes to the end of its headers.
    SlowLoris,
    /// Closes the connection when it has read the request.
    Closes,
    /// Answers with something that is not HTTP.
    Garbage,
}

impl Behaviour {
    /// Accepts what it gets.
    pub fn ok() -> Self {
        Self::Answers(200, Vec::new(), "thanks".into())
    }

    /// Answers with this status.
    pub fn status(status: u16) -> Self {
        Self::Answers(status, Vec::new(), String::new())
    }

    /// Sends the sender elsewhere.
    pub fn redirects(to: &str) -> Self {
        Self::Answers(302, vec![format!("Location: {to}")], String::new())
    }
}

/// A request as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its method and target, as in `POST /hooks`.
    pub line: String,
    /// Its headers by name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    written_bytes: watch::Sender<u64>,
}

/// A fake receiver, on a port of its own.
pub struct FakeReceiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeReceiver {
    /// One that does this.
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        Self::on(listener, behaviour)
    }

    /// One that speaks TLS, and its certificate as PEM, for who is to trust it.
    pub async fn start_tls(behaviour: Behaviour) -> (Self, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let names = vec!["127.0.0.1".to_owned(), "receiver.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("its certificate");
        let tls = TlsAcceptor::from(Arc::new(config));
        (Self::listen(listener, behaviour, Some(tls)), made.cert.pem())
    }

    /// One that listens on this.
    pub fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        Self::listen(listener, behaviour, None)
    }

    fn listen(listener: TcpListener, behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            received: Mutex::new(Vec::new()),
            count: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            written_bytes: watch::Sender::new(0),
        });
        let of_task = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                of_task.connections.send_modify(|count| *count += 1);
                let (state, tls) = (Arc::clone(&of_task), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// From now on it does this.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.state.behaviour) = behaviour;
    }

    /// What it has received so far.
    pub fn received(&self) -> Vec<Received> {
        locked(&self.state.received).clone()
    }

    /// How many connections have been made to it.
    pub fn connections(&self) -> usize {
        *self.state.connections.borrow()
    }

    /// How many bytes of endless answers it got rid of.
    pub fn written_bytes(&self) -> u64 {
        *self.state.written_bytes.borrow()
    }

    /// Waits until it has received this many requests; answers with all of them.
    ///
    /// # Panics
    /// When they don't come.
    pub async fn until(&self, requests: usize) -> Vec<Received> {
        let mut count = self.state.count.subscribe();
        let all = async {
            count.wait_for(|count| *count >= requests).await.expect("the receiver is there");
        };
        soon(&format!("{requests} requests come"), all).await;
        self.received()
    }
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 64 * 1024 {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { line, headers, body: String::from_utf8(body).ok()? })
}

/// Serves one connection as long as it is open.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: &State) {
    loop {
        if *locked(&state.behaviour) == Behaviour::NeverReads {
            return std::future::pending().await;
        }
        let Some(received) = request(&mut stream).await else { return };
        locked(&state.received).push(received);
        state.count.send_modify(|count| *count += 1);
        let behaviour = locked(&state.behaviour).clone();
        let answered = match behaviour {
            Behaviour::Answers(status, lines, body) => answer(&mut stream, status, &lines, &body).await,
            Behaviour::Slow(wait) => {
                tokio::time::sleep(wait).await;
                answer(&mut stream, 200, &[], "").await
            }
            Behaviour::Hangs | Behaviour::NeverReads => return std::future::pending().await,
            Behaviour::EndlessBody => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n";
                return endless(&mut stream, head, &[b'x'; 16 * 1024], state).await;
            }
            Behaviour::EndlessHeaders => {
                let line = format!("X-Filler: {}\r\n", "y".repeat(1000));
                return endless(&mut stream, "HTTP/1.1 200 OK\r\n", line.as_bytes(), state).await;
            }
            Behaviour::SlowLoris => {
                for byte in "HTTP/1.1 200 OK\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'z')) {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                return;
            }
            Behaviour::Closes => return,
            Behaviour::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await,
        };
        if answered.is_err() {
            return;
        }
    }
}

async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    status: u16,
    lines: &[String],
    body: &str,
) -> std::io::Result<()> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let answer = format!("HTTP/1.1 {status} Fake\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await
}

/// Writes a beginning, and then this again and again until nobody takes it any more.
async fn endless<S: AsyncWrite + Unpin>(stream: &mut S, begin: &str, again: &[u8], state: &State) {
    if stream.write_all(begin.as_bytes()).await.is_err() {
        return;
    }
    while let Ok(bytes) = stream.write(again).await {
        state.written_bytes.send_modify(|written| *written += bytes as u64);
    }
}
