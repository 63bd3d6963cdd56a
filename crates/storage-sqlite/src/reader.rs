//! The readers: a few threads with a connection each, which see every commit that was made before they were asked.

use std::sync::{Arc, Mutex, PoisonError};

use kallglot_storage::StorageError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::writer::closed;

/// Most reads waiting; a caller who finds the queue full waits for a place.
const QUEUE_JOBS_MAX: usize = 1024;

type Result<T> = std::result::Result<T, StorageError>;
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Where reads are given to the readers.
#[derive(Clone)]
pub(crate) struct ReadQueue(mpsc::Sender<Read>);

/// The readers' side of the queue; each thread has one.
#[derive(Clone)]
pub(crate) struct Reader(Arc<Mutex<mpsc::Receiver<Read>>>);

/// A queue and its readers' side.
pub(crate) fn queue() -> (ReadQueue, Reader) {
    let (sender, receiver) = mpsc::channel(QUEUE_JOBS_MAX);
    (ReadQueue(sender), Reader(Arc::new(Mutex::new(receiver))))
}

impl ReadQueue {
    /// Runs `work` on some reader's connection. A read whose caller has gone is not begun.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answered) = oneshot::channel::<Result<T>>();
        let job: Read = Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(work(connection));
            }
        });
        self.0.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| StorageError::Internal { cause: "a read was lost; see the log".into() })?
    }
}

impl Reader {
    /// Works until every [`ReadQueue`] is gone and the queue is empty. To be called on a thread of its own.
    pub(crate) fn run(self, connection: &Connection) {
        loop {
            // One thread waits for the queue, the others for it: the lock is the waiting line.
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(read) = next else { return };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(connection)));
        }
    }
}
