//! A webhook receiver as a customer would have one: it believes what is signed, answers 204, and keeps what it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use kallglot_core::clock::Clock as _;
use kallglot_core::webhook::{HEADERS, WebhookSecret, verify_kallglot, verify_standard};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::platform::SystemClock;

/// Most events that it keeps: many times those of a demo.
const TOLD_MAX: usize = 1_000;

/// A receiver on this machine. Dropping it stops it.
pub(super) struct Receiver {
    address: SocketAddr,
    desk: Arc<Desk>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Desk {
    secret: OnceLock<WebhookSecret>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    events: Vec<Value>,
    unproven: u32,
}

impl Receiver {
    /// Starts it on a free port.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, desk, stop) = (listener.local_addr()?, Arc::new(Desk::default()), CancellationToken::new());
        let router = Router::new().route("/", post(receive)).with_state(Arc::clone(&desk));
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { address, desk, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The secret that deliveries are signed with; without one, none is believed.
    pub(super) fn trust(&self, secret: WebhookSecret) {
        let _ = self.desk.secret.set(secret);
    }

    /// The events that were delivered, each once, in the order of their arrival.
    pub(super) fn events(&self) -> Vec<Value> {
        self.desk.told().events.clone()
    }

    /// How many deliveries were not to be believed.
    pub(super) fn unproven(&self) -> u32 {
        self.desk.told().unproven
    }
}

impl Desk {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a delivery is signed as it should be, by both schemes.
    fn believes(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let [id, timestamp, standard, kallglot] =
            HEADERS.map(|name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default());
        let now = SystemClock.now();
        self.secret.get().is_some_and(|secret| {
            verify_kallglot(secret, kallglot, body, now).is_ok()
                && verify_standard(secret, id, timestamp, standard, body, now).is_ok()
        })
    }
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let event: Option<Value> = serde_json::from_slice(&body).ok().filter(|_| desk.believes(&headers, &body));
    let mut told = desk.told();
    let Some(event) = event else {
        told.unproven += 1;
        return StatusCode::UNAUTHORIZED;
    };
    // Deliveries are made at least once: an event that is known is answered like a new one.
    if told.events.len() < TOLD_MAX && !told.events.iter().any(|known| known["id"] == event["id"]) {
        told.events.push(event);
    }
    StatusCode::NO_CONTENT
}
