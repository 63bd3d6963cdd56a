//! A hundred receivers, and when what came to them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::clock::Clock as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Failure;
use crate::server::SystemClock;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Healthy,
    Slow,
    Fails,
    Hangs,
}

#[derive(Default)]
struct Received {
    /// Of healthy ones: when the event happened, and how many µs later it came.
    latencies: Vec<(i64, i64)>,
    events: HashSet<(u64, String)>,
    repeated: u64,
    requests: u64,
}

struct State {
    received: Mutex<Received>,
    healthy: watch::Sender<u64>,
}

/// All receivers.
pub(crate) struct Receivers {
    pub(crate) ports: Vec<u16>,
    state: Arc<State>,
}

impl Receivers {
    pub(crate) async fn start(count: u64, slow: u64, fail: u64, hang: u64) -> Result<Self, Failure> {
        let state = Arc::new(State { received: Mutex::default(), healthy: watch::Sender::new(0) });
        let mut ports = Vec::new();
        for number in 0..count {
            let kind = match number {
                it if it < slow => Kind::Slow,
                it if it < slow + fail => Kind::Fails,
                it if it < slow + fail + hang => Kind::Hangs,
                _ => Kind::Healthy,
            };
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            ports.push(listener.local_addr()?.port());
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let state = Arc::clone(&state);
                    tokio::spawn(async move { serve(stream, number, kind, &state).await });
                }
            });
        }
        Ok(Self { ports, state })
    }

    /// Events that came to healthy receivers, each counted once for each.
    pub(crate) fn healthy(&self) -> u64 {
        *self.state.healthy.borrow()
    }

    pub(crate) async fn until(&self, count: u64) {
        let mut healthy = self.state.healthy.subscribe();
        let _ = healthy.wait_for(|now| *now >= count).await;
    }

    /// Requests in all.
    pub(crate) fn received(&self) -> u64 {
        self.state.received.lock().unwrap_or_else(PoisonError::into_inner).requests
    }

    /// Prints how long it took.
    pub(crate) fn report(&self, killed_at_ms: Option<i64>) {
        let received = self.state.received.lock().unwrap_or_else(PoisonError::into_inner);
        print("healthy, event → received", received.latencies.iter().map(|(_, us)| *us).collect());
        if let Some(killed) = killed_at_ms {
            let apart = |at: &i64| (at - killed).abs() > 5_000;
            let apart = received.latencies.iter().filter(|(at, _)| apart(at)).map(|(_, us)| *us).collect();
            print("the same, of events more than 5 s from the kill", apart);
        }
        println!("repeated deliveries to healthy endpoints: {}", received.repeated);
        println!("requests to all endpoints: {}", received.requests);
    }
}

fn print(what: &str, mut us: Vec<i64>) {
    us.sort_unstable();
    let at = |part: f64| us.get(((us.len() as f64 * part) as usize).min(us.len().saturating_sub(1))).copied();
    let ms = |us: Option<i64>| us.unwrap_or(0) as f64 / 1000.0;
    println!(
        "{what}: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms ({} deliveries)",
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(0.999)),
        ms(us.last().copied()),
        us.len()
    );
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(inside, _)| inside)
}

async fn serve(mut stream: TcpStream, number: u64, kind: Kind, state: &State) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length: usize = between(&head, "content-length: ", "\r\n")?.parse().ok()?;
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        let now_us = SystemClock.now().as_microsecond();
        let body = String::from_utf8_lossy(&buffer[end..end + length]).into_owned();
        buffer.drain(..end + length);
        note(state, number, kind, &head, &body, now_us);
        let answer: &[u8] = match kind {
            Kind::Healthy => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Kind::Slow => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
            Kind::Fails => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nsorry",
            Kind::Hangs => std::future::pending().await,
        };
        stream.write_all(answer).await.ok()?;
    }
}

fn note(state: &State, number: u64, kind: Kind, head: &str, body: &str, now_us: i64) {
    let mut received = state.received.lock().unwrap_or_else(PoisonError::into_inner);
    received.requests += 1;
    if kind != Kind::Healthy {
        return;
    }
    let id = between(head, "webhook-id: ", "\r\n").unwrap_or_default().to_owned();
    if !received.events.insert((number, id)) {
        received.repeated += 1;
        return;
    }
    let at: Option<Timestamp> = between(body, "\"created_at\":\"", "\"").and_then(|at| at.parse().ok());
    if let Some(at) = at {
        received.latencies.push((at.as_millisecond(), now_us - at.as_microsecond()));
    }
    drop(received);
    state.healthy.send_modify(|count| *count += 1);
}
