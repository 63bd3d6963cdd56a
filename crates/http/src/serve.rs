//! The accept loop: connections with a bound and with time limits, and an end without loss.
//!
//! What must stay true: a client that connects and says nothing, or says it very slowly, is cut off; at most
//! [`ServeConfig::connections_max`] connections are open; when the server stops, what is in flight is answered first.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::HttpState;
use crate::context::RequestContext;

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Pause after a failed accept: without it, running out of file descriptors would cost a whole processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Cuts the connection that a request came by: for answers whose client does not read them.
#[derive(Clone)]
pub(crate) struct HangUp(pub(crate) CancellationToken);

/// How connections are kept.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Most connections at once; further clients wait until one closes.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and may be silent between two.
    pub head_max: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self { connections_max: 16_384, head_max: Duration::from_secs(75) }
    }
}

/// Serves the API until `state.stop` is cancelled; connections are tracked in `state.tasks`.
pub async fn serve(listener: TcpListener, state: HttpState, config: ServeConfig) {
    let router = crate::router(state.clone());
    let places = Arc::new(Semaphore::new(config.connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = state.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let connection = connection(stream, peer, router.clone(), state.clone(), config.head_max);
                state.tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Without this, small frames wait until the client has acknowledged those before.
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, state: HttpState, head_max: Duration) {
    let stop = state.stop.clone();
    let hang_up = CancellationToken::new();
    let cut = hang_up.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        let context = Arc::new(RequestContext::new(&state, peer, &request));
        request.extensions_mut().insert(context);
        request.extensions_mut().insert(HangUp(hang_up.clone()));
        let answer = router.clone().call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // Without `pipeline_flush`, by which a body that its client does not read would be taken into memory whole.
    http.timer(TokioTimer::new()).header_read_timeout(head_max).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = cut.cancelled() => {
            tracing::debug!(%peer, "a client that does not read its answer was cut off");
            return;
        }
    };
    if let Err(error) = ended {
        // Clients go away at any time.
        tracing::debug!(%error, "a connection ended early");
    }
}
