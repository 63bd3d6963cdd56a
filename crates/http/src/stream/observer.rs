//! A stream that watches a session and takes no part: it is told texts, levels, lags, the recording's state and the end, hears nothing and
//! may say nothing but `ping`.
//!
//! It lasts as long as its token: who watches on asks for another, and so is asked again whether he may.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use kallglot_app::live::{CloseCode, JoinError, Observing, Outbox, Outgoing, Verdict};
use kallglot_core::error_code::ErrorCode;
use tokio::time::Instant;

use crate::stream::socket::{MALFORMED_MAX, Shared, Stream, broken};
use crate::stream::wire::{self, Incoming};

/// Largest message of an observer, which has nothing to say but `ping`.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// When to ask again for a session that nobody takes part in.
pub(super) const RETRY_AFTER_S: u32 = 2;

impl Stream {
    /// Tells the observer what there is until the session is over, its token is, or it is gone.
    pub(super) async fn observe(
        self,
        observing: Result<Observing, JoinError>,
        expires_in: Duration,
        mut socket: WebSocket,
    ) {
        let observing = match observing {
            Ok(observing) => observing,
            Err(error) => return self.refuse(&mut socket, &error).await,
        };
        let (sink, source) = socket.split();
        let shared = Shared::new();
        let outbox = &observing.outbox;
        let expiring = async {
            tokio::time::sleep(expires_in).await;
            outbox.push(Outgoing::Close(CloseCode::GoingAway));
            std::future::pending::<()>().await;
        };
        let reading = async {
            tokio::select! {
                () = self.hear(source, outbox, &shared) => {}
                () = expiring => {}
            }
        };
        self.until_over(reading, self.write(sink, outbox, &shared)).await;
    }

    async fn hear(&self, mut source: SplitStream<WebSocket>, outbox: &Outbox, shared: &Shared) {
        let (mut limiter, mut refused) = (self.limiter(), 0);
        while let Some(message) = source.next().await {
            let now = Instant::now();
            if !shared.seen(now) {
                return;
            }
            let is_ping = match &message {
                Ok(Message::Text(text)) => matches!(wire::read(text), Ok(Incoming::Ping)),
                Ok(Message::Binary(_)) => false,
                Ok(Message::Close(_)) => return,
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Err(error) => return broken(error, outbox).await,
            };
            let (code, fatal) = match limiter.message(now) {
                Verdict::Admit if is_ping => {
                    outbox.push(Outgoing::Pong);
                    continue;
                }
                Verdict::Admit => {
                    refused += 1;
                    (ErrorCode::SpeakerNotAllowed, refused >= MALFORMED_MAX)
                }
                Verdict::Refuse { tell: false } => continue,
                Verdict::Refuse { tell: true } => (ErrorCode::StreamRateExceeded, false),
                Verdict::Close => (ErrorCode::StreamRateExceeded, true),
            };
            let message = match code {
                ErrorCode::SpeakerNotAllowed => "This connection observes: it may send nothing but `ping`.",
                code => code.row().message,
            };
            outbox.push(Outgoing::Error { code, message: message.into(), fatal });
            if fatal {
                let close = if code == ErrorCode::SpeakerNotAllowed { CloseCode::Malformed } else { CloseCode::Rate };
                outbox.push(Outgoing::Close(close));
            }
        }
    }
}
