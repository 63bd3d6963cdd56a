//! The floors: what is left when axum, or hyper alone under it, answers with the key's hash, one look-up, one counter and six headers, and
//! nothing else. What ours costs above them is the gate's own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use clap::{Args, ValueEnum};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kallglot_core::api_key::{self, KeyHash, Pepper, Secret};
use kallglot_core::session::Environment;
use tokio::net::TcpListener;

use crate::Failure;
use crate::random::Repeatable;

const LIMIT: u64 = 1_000_000_000;

#[derive(Args)]
pub(crate) struct FloorArgs {
    /// On what
    #[arg(value_enum)]
    library: Library,
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// How long the answer is
    #[arg(long)]
    body_bytes: usize,
    /// Where to write the key that is let in
    #[arg(long)]
    key: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Library {
    Axum,
    Hyper,
}

struct Floor {
    pepper: Pepper,
    keys: HashMap<KeyHash, AtomicU64>,
    body: String,
}

pub(crate) fn run(args: &FloorArgs) -> Result<(), Failure> {
    let pepper = Pepper::new(1, [7; 32]);
    let secret = Secret::new(Environment::Live, &Repeatable::new(u64::from(std::process::id())));
    std::fs::write(&args.key, secret.expose())?;
    let keys = HashMap::from([(secret.hash(&pepper), AtomicU64::new(0))]);
    let padding = "x".repeat(args.body_bytes.saturating_sub(r#"{"padding":""}"#.len()));
    let floor = Arc::new(Floor { pepper, keys, body: format!(r#"{{"padding":"{padding}"}}"#) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        match args.library {
            Library::Axum => {
                let listener = listener.tap_io(|connection| {
                    let _ = connection.set_nodelay(true);
                });
                let handler = async |State(floor): State<Arc<Floor>>, headers: HeaderMap| answer(&floor, &headers);
                Ok(axum::serve(listener, Router::new().route("/", get(handler)).with_state(floor)).await?)
            }
            Library::Hyper => loop {
                let (connection, _) = listener.accept().await?;
                connection.set_nodelay(true)?;
                let floor = Arc::clone(&floor);
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<hyper::body::Incoming>| {
                        std::future::ready(Ok::<_, Infallible>(answer(&floor, request.headers())))
                    });
                    let serving = hyper::server::conn::http1::Builder::new();
                    // A connection that breaks off is the client's affair.
                    let _ = serving.serve_connection(TokioIo::new(connection), service).await;
                });
            },
        }
    })
}

fn answer(floor: &Floor, headers: &HeaderMap) -> Response<Body> {
    let counter = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|text| api_key::parse(text).ok())
        .and_then(|parsed| floor.keys.get(&parsed.secret.hash(&floor.pepper)));
    let mut response = Response::new(Body::empty());
    let Some(counter) = counter else {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    };
    let remaining = LIMIT - counter.fetch_add(1, Ordering::Relaxed);
    *response.body_mut() = Body::from(floor.body.clone());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-request-id", HeaderValue::from(remaining));
    headers.insert("x-ratelimit-limit", HeaderValue::from(LIMIT));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(remaining));
    headers.insert("x-ratelimit-reset", HeaderValue::from(60));
    headers.insert("x-api-credits-remaining", HeaderValue::from(LIMIT));
    headers.insert("x-api-credits-used", HeaderValue::from(0));
    response
}
