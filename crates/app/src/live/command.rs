//! What a live session is told, by its sockets, by who observes it, and by this node.

use std::sync::Arc;

use kallglot_core::Timestamp;
use kallglot_core::session::{EndReason, Session, Speaker};
use tokio::sync::{mpsc, oneshot};

use crate::live::message::{AudioFrame, SegmentText, SocketId};
use crate::live::outbox::Outbox;

/// Commands that may wait for one session; then its sockets wait.
pub(super) const COMMANDS_MAX: usize = 128;

/// What a live session is told.
pub(super) enum Command {
    /// A socket wants to join.
    Join { speaker: Option<Speaker>, outbox: Arc<Outbox>, reply: oneshot::Sender<Result<SocketId, Full>> },
    /// A socket is gone.
    Leave { socket: SocketId, refused_messages: u64 },
    /// A socket brings audio.
    Audio { socket: SocketId, frame: AudioFrame },
    /// End the session.
    End { reason: EndReason, reply: Option<oneshot::Sender<Session>> },
    /// End it with `timeout` if nothing has happened since `before`.
    EndIfIdle { before: Timestamp },
    /// Somebody wants to watch without taking part.
    Observe { outbox: Arc<Outbox>, reply: oneshot::Sender<Result<SocketId, Full>> },
    /// An observer is gone.
    Unobserve { observer: SocketId },
    /// Somebody wants to see what is being said before it is final.
    Watch { partials: mpsc::Sender<Arc<SegmentText>> },
    /// Close all streams: the key that made the session was revoked.
    Revoke,
    /// Close without ending: another node has the session now.
    LetGo,
    /// Pause its recording, or let it go on.
    Record { paused: bool, reply: oneshot::Sender<()> },
}

/// The session has as many sockets, or observers, as it may have.
#[derive(Debug)]
pub(super) struct Full;
