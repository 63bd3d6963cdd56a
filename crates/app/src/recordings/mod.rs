//! Recordings: written while the call runs, made when it is over, read, deleted and forgotten.
//!
//! What must stay true: translation never waits for the recorder, and the recorder never for a listener; what is in the database says of
//! every byte who needs it, so whatever dies when, nothing is kept that was deleted and nothing is lost that was written; no work
//! waits for ever for anything.

pub mod disk;
mod finish;
mod read;
pub(crate) mod recorder;
mod steer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kallglot_core::Timestamp;
use kallglot_core::id::{NodeId, SessionId};
use kallglot_core::session::Session;
use kallglot_objects::Objects;
use kallglot_recording::log::LogHeader;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

pub use finish::PARTS_WAIT;
pub(crate) use finish::work;
pub use read::{Audio, AudioError, default_selection, etag};

use crate::App;
use crate::recordings::disk::Disk;
use crate::recordings::recorder::Recorder;

/// Recordings that are made at once on a node.
const MADE_AT_ONCE_MAX: usize = 2;
/// Pieces of audio that are made for readers at once on a node: each holds a thread for some milliseconds, and longer where the object store
/// is slow.
const READ_AT_ONCE_MAX: usize = 16;

/// What this node has to do with recordings.
pub struct Recordings {
    /// The logs of live sessions.
    pub disk: Disk,
    /// Where finished recordings are; none when this server has no place for any.
    pub objects: Option<Arc<dyn Objects>>,
    /// Where recordings are made.
    work: PathBuf,
    logs: AtomicU64,
    /// That there is something to do.
    wake: Notify,
    making: Semaphore,
    reading: Arc<Semaphore>,
    /// What waited for somebody when it was last looked: for metrics.
    pub waiting: AtomicU64,
}

impl Recordings {
    /// Works in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// It can't be.
    pub fn open(folder: &Path, objects: Option<Arc<dyn Objects>>) -> std::io::Result<Self> {
        let work = folder.join("work");
        // What a former life was making is of no use: it is made anew.
        match std::fs::remove_dir_all(&work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&work)?,
        }
        Ok(Self {
            disk: Disk::open(&folder.join("parts"))?,
            objects,
            work,
            logs: AtomicU64::new(0),
            wake: Notify::new(),
            making: Semaphore::new(MADE_AT_ONCE_MAX),
            reading: Arc::new(Semaphore::new(READ_AT_ONCE_MAX)),
            waiting: AtomicU64::new(0),
        })
    }

    /// Whether anything can be recorded.
    pub fn are_possible(&self) -> bool {
        self.objects.is_some()
    }

    /// Begins to record a session on this node. `zero` is where its time line begins.
    pub(crate) fn record(
        &self,
        session: &Session,
        node: NodeId,
        now: Timestamp,
        zero: Instant,
        paused: bool,
    ) -> Recorder {
        // Later ones have greater numbers, and no two are alike.
        let count = self.logs.fetch_add(1, Ordering::Relaxed) & 0x3ff;
        let part = (now.as_millisecond().max(0) as u64) << 10 | count;
        let origin_ms = session.state.started_at().unwrap_or(now).as_millisecond();
        let header = LogHeader { session: session.id, part, origin_ms };
        Recorder::new(self.disk.log(part_name(session.id, part, node), &header), zero, paused)
    }

    /// There may be something to do: look now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl App {
    /// Writes what waits to be recorded, and nothing after that: at the end.
    pub async fn stop_recording(&self) {
        let recordings = Arc::clone(&self.recordings);
        if tokio::task::spawn_blocking(move || recordings.disk.stop()).await.is_err() {
            tracing::error!("the last of what was recorded could not be written");
        }
    }
}

fn part_name(session: SessionId, part: u64, node: NodeId) -> String {
    format!("{session}.{part:016}.{node}")
}

/// Whose log a file is.
fn session_of_part(name: &str) -> Option<SessionId> {
    name.split('.').next()?.parse().ok()
}
