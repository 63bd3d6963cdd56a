//! One connected stream: reads the client's messages, writes what the session has for it, and closes with the right code.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use kallglot_app::live::{AudioFrame, CloseCode, JoinError, Joined, Limiter, Outbox, Outgoing, Verdict};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::SessionId;
use kallglot_core::plan::Limits;
use kallglot_core::session::{EndReason, Speaker, Tenant};
use tokio::time::Instant;

use crate::HttpState;
use crate::stream::wire::{self, Incoming, Refusal};

/// Malformed messages that close the stream (contract section 11: ten times over).
pub(super) const MALFORMED_MAX: u32 = 10;

/// A stream whose token was checked.
pub(super) struct Stream {
    pub(super) session: SessionId,
    pub(super) tenant: Tenant,
    pub(super) speaker: Option<Speaker>,
    pub(super) limits: Limits,
    pub(super) state: HttpState,
}

/// What reader and writer share beside the outbox.
pub(super) struct Shared {
    last_seen: Mutex<Instant>,
    /// The client has answered the close, or is gone.
    gone: AtomicBool,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { last_seen: Mutex::new(Instant::now()), gone: AtomicBool::new(false) }
    }

    /// The client has given a sign of life. False when it counts as gone all the same.
    pub(super) fn seen(&self, now: Instant) -> bool {
        *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        !self.gone.load(Ordering::Relaxed)
    }
}

impl Stream {
    pub(super) async fn run(self, joined: Result<Joined, JoinError>, mut socket: WebSocket) {
        let joined = match joined {
            Ok(joined) => joined,
            Err(error) => {
                if matches!(error, JoinError::Ended) {
                    // It ended while the token was checked, maybe before its slot was taken for this stream. If this fails, the slot lapses.
                    let _ = self.state.app.cluster.release_lease(self.tenant, self.session).get().await;
                }
                return self.refuse(&mut socket, &error).await;
            }
        };
        let (sink, source) = socket.split();
        let shared = Shared::new();
        let outbox = Arc::clone(&joined.outbox);
        let writing = self.write(sink, &outbox, &shared);
        self.until_over(self.read(source, joined, &shared), writing).await;
    }

    /// Reads and writes side by side until one of both is done.
    pub(super) async fn until_over(&self, reading: impl Future<Output = ()>, writing: impl Future<Output = ()>) {
        tokio::pin!(reading, writing);
        tokio::select! {
            // The client is gone; what is unsent can't be sent.
            () = &mut reading => {}
            // A close was sent; give the client time to answer it, so that it reads all that came before.
            () = &mut writing => {
                let _ = tokio::time::timeout(self.state.stream.write_max, reading).await;
            }
        }
    }

    /// Says why the stream is none and closes it.
    pub(super) async fn refuse(&self, socket: &mut WebSocket, error: &JoinError) {
        let _ = tokio::time::timeout(self.state.stream.write_max, self.told_why(socket, error)).await;
    }

    async fn told_why(&self, socket: &mut WebSocket, error: &JoinError) {
        let (code, close) = match error {
            JoinError::Full => (ErrorCode::TooManyStreams, CloseCode::Rate),
            JoinError::Ended => (ErrorCode::StreamTokenInvalid, CloseCode::Ended),
            JoinError::Stopping | JoinError::Elsewhere(_) | JoinError::NotLive => {
                (ErrorCode::ServiceUnavailable, CloseCode::GoingAway)
            }
            JoinError::Storage(error) => {
                tracing::error!(session = %self.session, %error, "a stream could not join");
                (ErrorCode::InternalError, CloseCode::GoingAway)
            }
        };
        let told = Outgoing::Error { code, message: code.row().message.into(), fatal: true };
        if let Some(json) = wire::write(&self.session.to_string(), &told) {
            let _ = socket.send(Message::Text(json.into())).await;
        }
        let _ = socket.send(close_message(close)).await;
        while let Some(Ok(_)) = socket.recv().await {}
    }

    /// Writes what is in the outbox, and pings who is quiet, until a close.
    pub(super) async fn write(&self, mut sink: SplitSink<WebSocket, Message>, outbox: &Outbox, shared: &Shared) {
        let config = &self.state.stream;
        let session_id = self.session.to_string();
        let mut batch = Vec::new();
        // Set anew only when it fires: a timer that every message moves costs more than the message.
        let mut look = std::pin::pin!(tokio::time::sleep(config.ping_every));
        loop {
            tokio::select! {
                () = outbox.take(&mut batch) => {}
                // A client that only listens is pinged too, however much it is sent meanwhile.
                () = &mut look => {
                    look.as_mut().reset(Instant::now() + config.ping_every);
                    let silent = shared.last_seen.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
                    if silent >= config.idle_max {
                        outbox.push(Outgoing::Close(CloseCode::Idle));
                    } else if silent >= config.ping_every
                        && !self.flush(&mut sink, [Message::Ping(axum::body::Bytes::new())]).await
                    {
                        return;
                    }
                    continue;
                }
            }
            let mut closes = false;
            let messages = batch.drain(..).filter_map(|message| match message {
                Outgoing::Close(code) => {
                    closes = true;
                    Some(close_message(code))
                }
                message => wire::write(&session_id, &message).map(|json| Message::Text(json.into())),
            });
            if !self.flush(&mut sink, messages).await {
                shared.gone.store(true, Ordering::Relaxed);
                return;
            }
            if closes {
                return;
            }
        }
    }

    /// Sends all with one flush. False when the client is gone or does not read.
    async fn flush(
        &self,
        sink: &mut SplitSink<WebSocket, Message>,
        messages: impl IntoIterator<Item = Message>,
    ) -> bool {
        let sending = async {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        matches!(tokio::time::timeout(self.state.stream.write_max, sending).await, Ok(Ok(())))
    }

    /// Counts what this stream sends.
    pub(super) fn limiter(&self) -> Limiter {
        let limits = &self.limits;
        let (messages, audio_bytes) = (limits.stream_messages_per_second_max, limits.stream_audio_bytes_per_second_max);
        Limiter::new(messages, audio_bytes, Instant::now())
    }

    async fn read(&self, mut source: SplitStream<WebSocket>, mut joined: Joined, shared: &Shared) {
        let outbox = Arc::clone(&joined.outbox);
        let mut limiter = self.limiter();
        let mut malformed = 0;
        while let Some(message) = source.next().await {
            let now = Instant::now();
            if !shared.seen(now) {
                return;
            }
            let text = match message {
                Ok(Message::Text(text)) => Some(text),
                Ok(Message::Binary(_)) => None,
                Ok(Message::Close(_)) => return,
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Err(error) => return broken(&error, &outbox).await,
            };
            let mut verdict = limiter.message(now);
            if verdict == Verdict::Admit {
                let read = match &text {
                    Some(text) => wire::read(text),
                    None => Err(Refusal::Malformed("Binary messages are not accepted; send JSON text.".into())),
                };
                match read {
                    Ok(Incoming::Audio { sequence, speaker, mulaw }) => {
                        verdict = limiter.audio(mulaw.len(), now);
                        if verdict == Verdict::Admit {
                            match self.speaker_of(speaker) {
                                Ok(speaker) => {
                                    if !joined.audio(AudioFrame { speaker, sequence, mulaw }).await {
                                        return;
                                    }
                                }
                                Err((code, message)) => {
                                    outbox.push(Outgoing::Error { code, message: message.into(), fatal: false });
                                }
                            }
                        }
                    }
                    Ok(Incoming::Ping) => outbox.push(Outgoing::Pong),
                    Ok(Incoming::End) => joined.end(EndReason::ExplicitEnd).await,
                    Err(Refusal::Format(message)) => {
                        let code = ErrorCode::InvalidAudioFormat;
                        outbox.push(Outgoing::Error { code, message: message.into(), fatal: false });
                    }
                    Err(Refusal::Malformed(message)) => {
                        malformed += 1;
                        let fatal = malformed >= MALFORMED_MAX;
                        let code = ErrorCode::MalformedMessage;
                        outbox.push(Outgoing::Error { code, message: message.into(), fatal });
                        if fatal {
                            outbox.push(Outgoing::Close(CloseCode::Malformed));
                        }
                    }
                }
            }
            let code = ErrorCode::StreamRateExceeded;
            match verdict {
                Verdict::Admit => {}
                Verdict::Refuse { tell } => {
                    joined.refused_messages += 1;
                    if tell {
                        outbox.push(Outgoing::Error { code, message: code.row().message.into(), fatal: false });
                    }
                }
                Verdict::Close => {
                    joined.refused_messages += 1;
                    outbox.push(Outgoing::Error { code, message: code.row().message.into(), fatal: true });
                    outbox.push(Outgoing::Close(CloseCode::Rate));
                }
            }
        }
    }

    /// Whose audio it is: what the message says, else whose stream it is.
    fn speaker_of(&self, said: Option<Speaker>) -> Result<Speaker, (ErrorCode, String)> {
        match (self.speaker, said) {
            (Some(own), Some(said)) if own != said => Err((
                ErrorCode::SpeakerNotAllowed,
                format!("This connection was opened for the {own}; it can't send the {said}'s audio."),
            )),
            (Some(speaker), _) | (None, Some(speaker)) => Ok(speaker),
            (None, None) => Err((
                ErrorCode::MalformedMessage,
                "`audio.input` needs `speaker` on a connection that carries both parties.".into(),
            )),
        }
    }
}

fn close_message(code: CloseCode) -> Message {
    Message::Close(Some(CloseFrame { code: code.number(), reason: code.reason().into() }))
}

/// A message could not be read: over, but for telling who sent too much.
pub(super) async fn broken(error: &axum::Error, outbox: &Outbox) {
    if too_big(error) {
        outbox.push(Outgoing::Close(CloseCode::TooBig));
        // What is left of the message is not read; the writer closes.
        std::future::pending::<()>().await;
    }
}

fn too_big(error: &axum::Error) -> bool {
    use std::error::Error as _;
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<tokio_tungstenite::tungstenite::Error>() {
            return matches!(error, tokio_tungstenite::tungstenite::Error::Capacity(_));
        }
        source = error.source();
    }
    false
}
