//! The one writer: a thread that owns the write connection and groups what is queued into one transaction.
//!
//! A durable commit costs one flush of the disk, however much is in it. So the thread runs everything that is waiting, and what comes
//! meanwhile (up to [`GROUP_JOBS_MAX`] jobs), in one transaction, commits once, and only then answers them all. Nobody is kept
//! waiting for a group to fill: it ends when nothing is waiting, and while it is flushed, the next one gathers.
//!
//! A savepoint costs about as much as a small job, and jobs hardly ever fail. So they run without: only when one fails, all that was
//! done is taken back and all jobs run again, each in a savepoint of its own. A job must therefore be able to run twice.
//!
//! What must stay true: no job is answered before its commit; a job that fails or panics takes nothing else with it; what is
//! accepted is finished before the thread ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kallglot_storage::StorageError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::failure::storage_error;

/// Most jobs waiting; a caller who finds the queue full waits for a place.
pub(crate) const QUEUE_JOBS_MAX: usize = 4096;
/// Most jobs in one transaction: bounds how long a commit takes and how large the write-ahead log grows at once.
pub(crate) const GROUP_JOBS_MAX: usize = 1024;

type Result<T> = std::result::Result<T, StorageError>;

/// A write that waits: first run, then answered.
trait Write: Send {
    /// Does its work; says whether its changes stay. It may be run again after what it did was taken back.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Answers its caller, with the error that the whole group met if there was one.
    fn answer(self: Box<Self>, group: Option<&StorageError>);
}

struct Pending<T, F> {
    work: F,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Write for Pending<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = None;
        self.result.insert((self.work)(connection)).is_ok()
    }

    fn answer(self: Box<Self>, group: Option<&StorageError>) {
        // What went wrong with the group comes first: a job's own error may have been about a job whose work is gone now.
        let result = match (group, self.result) {
            (Some(group), _) => Err(group.clone()),
            (None, Some(own)) => own,
            (None, None) => Err(lost()),
        };
        // Who has stopped waiting misses the answer, not the change.
        let _ = self.reply.send(result);
    }
}

type Look = Box<dyn FnOnce(&Connection) + Send>;

enum Job {
    /// To be done in a transaction.
    Write(Box<dyn Write>),
    /// To be done between transactions, on the write connection.
    Look(Look),
}

/// Where jobs are given to the writer.
#[derive(Clone)]
pub(crate) struct WriteQueue(mpsc::Sender<Job>);

/// The writer's side of the queue.
pub(crate) struct Writer(mpsc::Receiver<Job>);

/// A queue and its writer.
pub(crate) fn queue() -> (WriteQueue, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE_JOBS_MAX);
    (WriteQueue(sender), Writer(receiver))
}

pub(crate) fn closed() -> StorageError {
    StorageError::Unavailable { cause: "the database is closed".into() }
}

fn lost() -> StorageError {
    StorageError::Internal { cause: "a job of the database was lost; see the log".into() }
}

impl WriteQueue {
    /// Runs `work` in a transaction and answers when that is durable. An error of `work` undoes what it did.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answered) = oneshot::channel();
        let job = Job::Write(Box::new(Pending { work, result: None, reply }));
        self.0.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| lost())?
    }

    /// Runs `work` on the write connection outside of any transaction.
    pub(crate) async fn look<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answered) = oneshot::channel::<Result<T>>();
        let job = Job::Look(Box::new(move |connection| {
            let _ = reply.send(work(connection));
        }));
        self.0.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| lost())?
    }
}

impl Writer {
    /// Works until every [`WriteQueue`] is gone and the queue is empty. To be called on a thread of its own.
    pub(crate) fn run(mut self, connection: &Connection) {
        let mut group = Vec::with_capacity(GROUP_JOBS_MAX);
        while let Some(job) = self.0.blocking_recv() {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    Job::Look(look) => {
                        guarded(|| look(connection));
                    }
                    Job::Write(first) => {
                        group.push(first);
                        next = self.commit(connection, &mut group);
                    }
                }
            }
        }
    }

    /// Runs the job in `group`, and what is waiting after it, in one transaction, then answers them all. Answers with the job after
    /// them, if it was taken from the queue and is none for a transaction.
    fn commit(&mut self, connection: &Connection, group: &mut Vec<Box<dyn Write>>) -> Option<Job> {
        let mut after = None;
        let mut outcome = in_transaction(connection, |connection| {
            let mut ran = 0;
            while let Some(job) = group.get_mut(ran) {
                if !run(connection, job.as_mut())? {
                    return Ok(false);
                }
                ran += 1;
                after = self.take_another(group);
            }
            Ok(true)
        });
        if let Ok(false) = outcome {
            outcome = in_transaction(connection, |connection| one_by_one(connection, group));
        }
        if let Err(error) = &outcome {
            // Who is waiting now would wait as long for the same.
            while after.is_none() && group.len() < GROUP_JOBS_MAX && !self.0.is_empty() {
                after = self.take_another(group);
            }
            tracing::warn!(%error, jobs = group.len(), "a group of writes was not committed");
        }
        for job in group.drain(..) {
            job.answer(outcome.as_ref().err());
        }
        after
    }

    /// Adds the next job to the group if one is waiting and there is room. Answers with it if it is none for a transaction.
    fn take_another(&mut self, group: &mut Vec<Box<dyn Write>>) -> Option<Job> {
        if group.len() >= GROUP_JOBS_MAX {
            return None;
        }
        match self.0.try_recv() {
            Ok(Job::Write(job)) => {
                group.push(job);
                None
            }
            Ok(other) => Some(other),
            Err(_) => None,
        }
    }
}

/// Runs `work`; none when it panicked. A panic has been reported by the process's panic hook and ends here.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn execute(connection: &Connection, sql: &str) -> Result<()> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(())).map(|_| ()).map_err(storage_error)
}

/// Does `work` in a transaction; commits when that says so and succeeds, else takes everything back.
fn in_transaction(connection: &Connection, work: impl FnOnce(&Connection) -> Result<bool>) -> Result<bool> {
    let mut outcome = execute(connection, "BEGIN IMMEDIATE").and_then(|()| work(connection));
    if let Ok(true) = outcome {
        outcome = execute(connection, "COMMIT").map(|()| true);
    }
    if !matches!(outcome, Ok(true)) && !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    outcome
}

/// Runs one job; says whether it succeeded. An error is the whole transaction's.
fn run(connection: &Connection, job: &mut dyn Write) -> Result<bool> {
    let kept = guarded(|| job.run(connection)).unwrap_or(false);
    if connection.is_autocommit() {
        // SQLite gives up the transaction by itself when the disk is full or fails: what came before in the group is gone too.
        return Err(StorageError::Unavailable { cause: "SQLite gave up the transaction".into() });
    }
    Ok(kept)
}

/// Runs the jobs of a group so that the failure of one undoes what it did and nothing else.
fn one_by_one(connection: &Connection, group: &mut [Box<dyn Write>]) -> Result<bool> {
    for job in group {
        execute(connection, "SAVEPOINT job")?;
        if !run(connection, job.as_mut())? {
            execute(connection, "ROLLBACK TO job")?;
        }
        execute(connection, "RELEASE job")?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::OptionalExtension as _;

    /// A writer on an empty table; what it returns ends with the queue.
    fn start() -> (WriteQueue, std::thread::JoinHandle<Connection>) {
        let (queue, writer) = queue();
        let thread = std::thread::spawn(move || {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY) STRICT").unwrap();
            writer.run(&connection);
            connection
        });
        (queue, thread)
    }

    fn insert(connection: &Connection, x: i64) -> Result<()> {
        connection.execute("INSERT INTO t VALUES (?1)", [x]).map(|_| ()).map_err(storage_error)
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap()
    }

    /// Queues everything before the writer can take the first, so that it is one group.
    async fn as_one_group<T>(queue: &WriteQueue, jobs: impl std::future::Future<Output = T>) -> T {
        let (open, gate) = std::sync::mpsc::sync_channel::<()>(1);
        let blocked = queue.look(move |_| {
            gate.recv().map_err(|_| lost())?;
            Ok(())
        });
        let opened = async {
            // The jobs are polled before this, in order; by now each is in the queue.
            open.send(()).unwrap();
        };
        let (blocked, value, ()) = tokio::join!(biased; blocked, jobs, opened);
        blocked.unwrap();
        value
    }

    #[tokio::test]
    async fn a_job_that_fails_or_panics_takes_nothing_else_with_it() {
        let (queue, thread) = start();
        let (first, failed, panicked, last) = as_one_group(&queue, async {
            tokio::join!(biased;
                queue.write(|c| insert(c, 1)),
                queue.write(|c| {
                    insert(c, 2)?;
                    insert(c, 1)
                }),
                queue.write(|c| -> Result<()> {
                    insert(c, 3)?;
                    panic!("on purpose")
                }),
                queue.write(|c| insert(c, 4)),
            )
        })
        .await;
        assert_eq!((first, last), (Ok(()), Ok(())));
        assert_eq!(failed, Err(StorageError::Conflict { constraint: "t.x".into() }));
        assert_eq!(panicked, Err(lost()));
        drop(queue);
        assert_eq!(count(&thread.join().unwrap()), 2);
    }

    #[tokio::test]
    async fn a_look_comes_between_the_writes_around_it() {
        let (queue, thread) = start();
        let (before, seen, after) = as_one_group(&queue, async {
            tokio::join!(biased;
                queue.write(|c| insert(c, 1)),
                queue.look(|c| Ok((count(c), c.is_autocommit()))),
                queue.write(|c| insert(c, 2)),
            )
        })
        .await;
        assert_eq!((before, after), (Ok(()), Ok(())));
        assert_eq!(seen, Ok((1, true)), "what is before it is committed, what is after it is not begun");
        drop(queue);
        assert_eq!(count(&thread.join().unwrap()), 2);
    }

    #[tokio::test]
    async fn nobody_is_told_of_success_when_the_group_is_not_committed() {
        let (queue, thread) = start();
        let (before, ruined, after) = as_one_group(&queue, async {
            tokio::join!(biased;
                queue.write(|c| insert(c, 1)),
                // What SQLite does by itself on a full disk.
                queue.write(|c| c.execute_batch("ROLLBACK").map_err(storage_error)),
                queue.write(|c| insert(c, 2)),
            )
        })
        .await;
        for answer in [before, ruined, after] {
            assert!(matches!(answer, Err(StorageError::Unavailable { .. })), "{answer:?}");
        }
        assert_eq!(queue.write(|c| insert(c, 3)).await, Ok(()));
        drop(queue);
        assert_eq!(count(&thread.join().unwrap()), 1);
    }

    #[tokio::test]
    async fn what_is_accepted_is_done_though_nobody_waits_for_it() {
        let (queue, thread) = start();
        let write = queue.write(|c| insert(c, 7));
        as_one_group(&queue, async {
            let mut write = std::pin::pin!(write);
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context)));
            assert!(polled.await.is_pending());
        })
        .await;
        drop(queue);
        let connection = thread.join().unwrap();
        let found: Option<i64> = connection.query_row("SELECT x FROM t", (), |row| row.get(0)).optional().unwrap();
        assert_eq!(found, Some(7));
    }
}
