//! One party's socket: frames out, messages in, and a new connection when the old one is cut.
//!
//! What must stay true: neither direction waits for the other; frames that can't be sent in time are dropped, so that the call stays
//! at real time; a session that has ended is not connected to again.

use std::time::Duration;

use kallglot_client::{
    AudioFrame, Client, Close, ServerMessage, SessionStream, Stream, StreamReceiver, StreamSender, TokenPlacement,
};
use kallglot_core::session::Speaker;
use tokio::sync::mpsc;

use super::mouth::{FRAME_MS, FRAME_SAMPLES};

/// Frames that may wait for a socket: half a second.
const QUEUE_FRAMES_MAX: usize = 25;
/// Attempts to connect again, about 12 s in all.
const RECONNECT_ATTEMPTS_MAX: u32 = 9;
/// The server is going away (contract section 11): connect again with a fresh token.
const GOING_AWAY: u16 = 1001;

/// What a socket brings.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A message.
    Message(ServerMessage),
    /// It was cut and is there again.
    Reconnected,
    /// It is closed for good.
    Closed(Close),
}

/// A frame on its way out. Lost frames leave a hole in `number`, which the server fills with silence.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Counts from 0.
    pub(crate) number: u64,
    /// Mu-law.
    pub(crate) mulaw: [u8; FRAME_SAMPLES],
}

/// The sending end; dropping it leaves the socket open for what still comes.
#[derive(Debug)]
pub(crate) struct Link {
    frames: mpsc::Sender<Frame>,
    /// Frames that found the queue full.
    pub(crate) dropped_frames: u64,
}

impl Link {
    /// Connects as `speaker` and goes on in a task; what comes is sent to `events`.
    ///
    /// # Errors
    /// The first connection fails.
    pub(crate) async fn open(
        client: &Client,
        session_id: &str,
        stream: &SessionStream,
        speaker: Speaker,
        events: mpsc::Sender<(Speaker, LinkEvent)>,
    ) -> Result<Self, kallglot_client::ConnectError> {
        let socket = connect(stream, speaker).await?;
        let (frames, queue) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (client, session_id) = (client.clone(), session_id.to_owned());
        tokio::spawn(async move { run(client, session_id, speaker, socket, queue, events).await });
        Ok(Self { frames, dropped_frames: 0 })
    }

    /// Sends a frame, or drops it when the socket is too slow.
    pub(crate) fn send(&mut self, frame: Frame) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame) {
            self.dropped_frames += 1;
        }
    }
}

async fn connect(stream: &SessionStream, speaker: Speaker) -> Result<Stream, kallglot_client::ConnectError> {
    let token = stream.token.as_ref().map_or("", |token| token.reveal());
    Stream::connect(&stream.url, token, TokenPlacement::Bearer, Some(speaker)).await
}

async fn run(
    client: Client,
    session_id: String,
    speaker: Speaker,
    mut socket: Stream,
    mut frames: mpsc::Receiver<Frame>,
    events: mpsc::Sender<(Speaker, LinkEvent)>,
) {
    loop {
        let close = exchange(socket, speaker, &mut frames, &events).await;
        let again = matches!(close.code, None | Some(GOING_AWAY));
        let reconnected = if again { reconnect(&client, &session_id, speaker, &mut frames).await } else { None };
        let event = if reconnected.is_some() { LinkEvent::Reconnected } else { LinkEvent::Closed(close) };
        let told = events.send((speaker, event)).await.is_ok();
        match reconnected {
            Some(next) if told => socket = next,
            _ => return,
        }
    }
}

/// Both directions until the socket is closed.
async fn exchange(
    socket: Stream,
    speaker: Speaker,
    frames: &mut mpsc::Receiver<Frame>,
    events: &mpsc::Sender<(Speaker, LinkEvent)>,
) -> Close {
    let (mut sender, mut receiver) = socket.split();
    tokio::select! {
        close = receive(&mut receiver, speaker, events) => close,
        close = send(&mut sender, speaker, frames) => close,
    }
}

async fn receive(
    receiver: &mut StreamReceiver,
    speaker: Speaker,
    events: &mpsc::Sender<(Speaker, LinkEvent)>,
) -> Close {
    while let Some(message) = receiver.next().await {
        if events.send((speaker, LinkEvent::Message(message))).await.is_err() {
            break;
        }
    }
    receiver.closed().cloned().unwrap_or(Close { code: Some(1000), reason: String::new() })
}

async fn send(sender: &mut StreamSender, speaker: Speaker, frames: &mut mpsc::Receiver<Frame>) -> Close {
    while let Some(Frame { number, mulaw }) = frames.recv().await {
        let frame = AudioFrame { sequence: number + 1, timestamp_ms: number * FRAME_MS, speaker, mulaw: &mulaw };
        if sender.send_frame(frame).await.is_err() {
            break;
        }
    }
    // Nothing more to send, or it can't be: how the socket was closed is for the receiving side to find out.
    std::future::pending().await
}

/// Connects again with a fresh token; what should be said meanwhile is lost. None when the session is over or the server stays away.
async fn reconnect(
    client: &Client,
    session_id: &str,
    speaker: Speaker,
    frames: &mut mpsc::Receiver<Frame>,
) -> Option<Stream> {
    let attempts = async {
        for attempt in 0..RECONNECT_ATTEMPTS_MAX {
            tokio::time::sleep(Duration::from_millis(200 << attempt.min(3))).await;
            let Ok(session) = client.get_session(session_id).await else { continue };
            if session.status == "ended" {
                return None;
            }
            if let Some(stream) = session.stream
                && let Ok(socket) = connect(&stream, speaker).await
            {
                return Some(socket);
            }
        }
        None
    };
    tokio::pin!(attempts);
    loop {
        tokio::select! {
            socket = &mut attempts => return socket,
            Some(_) = frames.recv() => {}
        }
    }
}
