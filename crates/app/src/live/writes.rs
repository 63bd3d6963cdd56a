//! What a live session writes to storage: one write at a time, in order, while audio goes on. While the database is away, writes go to
//! the [`Spool`], so that the call goes on.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::event::Event;
use kallglot_core::id::{NodeId, SessionId};
use kallglot_core::session::{EndReason, Session, Tenant, Turn, UtteranceLag};
use kallglot_core::stream_statistics::StreamStatistics;
use kallglot_storage::{NewTurn, RecordingPart, Storage, StorageError};

use crate::live::spool::Spool;

/// Writes that may wait. Turns beyond it make the session stop listening to its engines until there is room.
pub(super) const WRITES_MAX: usize = 64;
/// First and longest pause before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// One thing to store.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// The first audio arrived, with the event that tells of it.
    Started(Box<Event>),
    /// Something happened.
    Activity(Timestamp),
    /// A final text.
    Turn(Box<NewTurn>),
    /// How long an utterance took.
    Lag(UtteranceLag),
    /// What came in so far.
    Statistics(StreamStatistics),
    /// A part of a recording: its log's name, the node that writes it, and how much its disk could not take, in ms.
    Part(String, NodeId, u64),
    /// It has ended, with the event that tells of it.
    Ended(EndReason, Box<Event>),
}

impl Write {
    /// Stores it. Doing it twice changes nothing.
    pub(super) async fn store(
        &self,
        storage: &dyn Storage,
        tenant: Tenant,
        id: SessionId,
    ) -> Result<Written, StorageError> {
        // None: the session is gone from storage. There is nobody left to tell.
        match self {
            Self::Started(event) => drop(storage.start_session(tenant, id, event.at, event).await?),
            Self::Activity(at) => storage.touch_sessions(&[(id, *at)]).await?,
            Self::Turn(turn) => {
                if let Some(turn) = storage.append_turn(tenant, id, turn).await? {
                    return Ok(Written::Turn(Box::new(turn)));
                }
            }
            Self::Lag(lag) => drop(storage.save_lags(tenant, id, std::slice::from_ref(lag)).await?),
            Self::Statistics(statistics) => drop(storage.save_stream_statistics(tenant, id, statistics).await?),
            Self::Part(name, node, dropped_ms) => {
                let part = RecordingPart { name: name.clone(), node: *node, object: None, dropped_ms: *dropped_ms };
                storage.save_recording_part(tenant, id, &part).await?;
            }
            Self::Ended(reason, event) => drop(storage.end_session(tenant, id, event.at, *reason, event).await?),
        }
        Ok(Written::Other)
    }

    /// What a write that waits in the spool gives back. A turn has no place in the transcript yet.
    fn kept(self) -> Written {
        match self {
            Self::Turn(turn) => Written::Turn(Box::new(turn.at(0))),
            _ => Written::Other,
        }
    }
}

/// What a finished write gives back.
pub(super) enum Written {
    /// A turn is stored and may be shown.
    Turn(Box<Turn>),
    /// Anything else.
    Other,
}

type Running = Pin<Box<dyn Future<Output = Result<Written, StorageError>> + Send>>;

/// The queue of writes of one session.
pub(super) struct Writes {
    storage: Arc<dyn Storage>,
    spool: Spool,
    tenant: Tenant,
    session: SessionId,
    waiting: VecDeque<Write>,
    running: Option<(Write, Running)>,
    retry: Duration,
}

impl Writes {
    /// An empty queue.
    pub(super) fn new(storage: Arc<dyn Storage>, spool: Spool, session: &Session) -> Self {
        let (tenant, session) = (session.tenant, session.id);
        Self { storage, spool, tenant, session, waiting: VecDeque::new(), running: None, retry: RETRY.0 }
    }

    /// Adds a write. What is not a turn or a part, of which there are few, is dropped when there is no room: it will be said again.
    pub(super) fn push(&mut self, write: Write) {
        if self.waiting.len() >= WRITES_MAX && !matches!(write, Write::Turn(_) | Write::Part(..)) {
            return;
        }
        self.waiting.push_back(write);
    }

    /// Whether more turns may be made.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WRITES_MAX
    }

    /// Whether all is stored.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_none()
    }

    /// Waits for the next write to be done; for ever while there is none. Errors are tried again until the session gives up, so
    /// each is returned to be logged. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Written, StorageError> {
        if self.running.is_none() {
            let Some(write) = self.waiting.pop_front() else { return std::future::pending().await };
            let running = self.start(write.clone(), Duration::ZERO);
            self.running = Some((write, running));
        }
        let Some((_, running)) = &mut self.running else { return std::future::pending().await };
        let result = running.as_mut().await;
        let Some((write, _)) = self.running.take() else { return result };
        match &result {
            Ok(_) => self.retry = RETRY.0,
            Err(StorageError::Unavailable { .. }) => {
                let again = self.start(write.clone(), self.retry);
                self.retry = (self.retry * 2).min(RETRY.1);
                self.running = Some((write, again));
            }
            Err(_) => {}
        }
        result
    }

    fn start(&self, write: Write, wait: Duration) -> Running {
        let (storage, spool) = (Arc::clone(&self.storage), self.spool.clone());
        let (tenant, id) = (self.tenant, self.session);
        Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            if !spool.holds(id) {
                match write.store(storage.as_ref(), tenant, id).await {
                    Err(StorageError::Unavailable { cause }) => {
                        tracing::warn!(session = %id, cause, "the database is away; what is said waits on this node's disk");
                    }
                    other => return other,
                }
            }
            match spool.keep(tenant, id, &write).await {
                Ok(()) => Ok(write.kept()),
                Err(error) => {
                    Err(StorageError::Unavailable { cause: format!("neither the database nor the spool: {error}") })
                }
            }
        })
    }
}
