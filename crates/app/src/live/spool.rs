//! What live sessions write while the database is away: kept in a file of this node, and stored as soon as the database is back.
//!
//! What must stay true: a write is answered only when it is on disk; a session's writes are stored in the order in which they were
//! made, so while any of them waits here, its later ones come here too; a write may be stored twice (after a crash in between), which
//! every write allows; what can't be stored at all is set aside in a file, not thrown away. The file is bounded.

mod record;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kallglot_core::id::SessionId;
use kallglot_core::session::{EndReason, Tenant};
use kallglot_storage::{Storage, StorageError};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::live::writes::Write;

/// Most that waits, in bytes: hours of a thousand calls.
pub const SPOOL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Appends that wait for the disk; who comes then waits too.
const APPENDS_MAX: usize = 1024;
/// Writes that are read back at once.
const BATCH_MAX: usize = 256;
const FILE: &str = "writes.jsonl";
const REJECTED: &str = "rejected.jsonl";

enum Job {
    Append {
        session: SessionId,
        line: Vec<u8>,
        reply: oneshot::Sender<io::Result<()>>,
    },
    /// Everything up to here has been stored: empty the file, unless more came in between.
    Stored {
        upto: u64,
        reply: oneshot::Sender<bool>,
    },
}

/// The spool of one process.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

struct Shared {
    folder: PathBuf,
    /// How many writes of each session wait.
    waiting: Mutex<HashMap<SessionId, u64>>,
    bytes: AtomicU64,
    /// What was set aside, before and since the start.
    rejected_bytes: AtomicU64,
    /// How far the file's writes have been stored.
    stored_bytes: AtomicU64,
    replaying: AtomicBool,
    came: Notify,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<SessionId, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

/// What a look at the waiting writes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Nothing waits any more. How many were stored.
    Done(u64),
    /// The database is away; the rest waits on.
    Away,
}

impl Spool {
    /// Opens the spool in this folder, with what waits from before.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(folder.join(FILE))?;
        // What a crash cut off was not answered.
        let whole = whole_bytes(&mut file)?;
        file.set_len(whole)?;
        let mut waiting = HashMap::new();
        for line in BufReader::new(File::open(folder.join(FILE))?).lines() {
            if let Some((_, session, _)) = record::read(&line?) {
                *waiting.entry(session).or_insert(0) += 1;
            }
        }
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            waiting: Mutex::new(waiting),
            bytes: AtomicU64::new(whole),
            rejected_bytes: AtomicU64::new(std::fs::metadata(folder.join(REJECTED)).map_or(0, |file| file.len())),
            stored_bytes: AtomicU64::new(0),
            replaying: AtomicBool::new(false),
            came: Notify::new(),
        });
        let (jobs, queue) = mpsc::channel(APPENDS_MAX);
        let own = Arc::clone(&shared);
        std::thread::Builder::new().name("spool".into()).spawn(move || work(&own, file, queue))?;
        Ok(Self { shared, jobs })
    }

    /// Whether writes of this session wait here: its next one has to come after them.
    pub fn holds(&self, session: SessionId) -> bool {
        self.bytes() > 0 && self.shared.waiting().contains_key(&session)
    }

    /// How much waits, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How much was set aside because it could not be stored, in bytes: for a person to look at.
    pub fn rejected_bytes(&self) -> u64 {
        self.shared.rejected_bytes.load(Ordering::Relaxed)
    }

    /// Keeps a write until the database is back. On disk when this answers.
    ///
    /// # Errors
    /// The file is full or can't be written.
    pub(super) async fn keep(&self, tenant: Tenant, session: SessionId, write: &Write) -> io::Result<()> {
        let line = record::write(tenant, session, write);
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the spool has ended");
        self.jobs.send(Job::Append { session, line, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits until something waits to be stored.
    pub async fn came(&self) {
        loop {
            let came = self.shared.came.notified();
            if self.bytes() > 0 {
                return;
            }
            came.await;
        }
    }

    /// Stores what waits, in order, until nothing does or the database is away. Only one caller at a time does it. Adds the sessions whose
    /// ends were stored to `ended`: somebody may have joined them again meanwhile.
    ///
    /// # Errors
    /// The file system's.
    pub async fn replay(&self, storage: &dyn Storage, ended: &mut Vec<(SessionId, EndReason)>) -> io::Result<Replay> {
        if self.shared.replaying.swap(true, Ordering::AcqRel) {
            return Ok(Replay::Done(0));
        }
        let result = self.replay_all(storage, ended).await;
        self.shared.replaying.store(false, Ordering::Release);
        result
    }

    async fn replay_all(&self, storage: &dyn Storage, ended: &mut Vec<(SessionId, EndReason)>) -> io::Result<Replay> {
        let (mut offset, mut stored) = (self.shared.stored_bytes.load(Ordering::Relaxed), 0);
        loop {
            let lines = self.read(offset).await?;
            if lines.is_empty() {
                let (reply, answer) = oneshot::channel();
                let job = Job::Stored { upto: offset, reply };
                // False: more has come in between.
                if self.jobs.send(job).await.is_err() || answer.await.unwrap_or(true) {
                    return Ok(Replay::Done(stored));
                }
                continue;
            }
            for line in lines {
                let bytes = line.len() as u64 + 1;
                if let Some((tenant, session, write)) = record::read(&line) {
                    match write.store(storage, tenant, session).await {
                        Ok(_) => {
                            stored += 1;
                            if let Write::Ended(reason, _) = write {
                                ended.push((session, reason));
                            }
                        }
                        Err(StorageError::Unavailable { .. }) => return Ok(Replay::Away),
                        Err(error) => {
                            tracing::error!(%session, %error, "a write that waited can't be stored; it was set aside");
                            self.set_aside(&line).await?;
                        }
                    }
                    self.forget(session);
                } else {
                    tracing::error!("a write that waited can't be read; it was set aside");
                    self.set_aside(&line).await?;
                }
                offset += bytes;
                self.shared.stored_bytes.store(offset, Ordering::Relaxed);
            }
        }
    }

    fn forget(&self, session: SessionId) {
        let mut waiting = self.shared.waiting();
        if let Some(count) = waiting.get_mut(&session) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&session);
            }
        }
    }

    async fn read(&self, offset: u64) -> io::Result<Vec<String>> {
        let path = self.shared.path();
        blocking(move || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut reader = BufReader::new(file);
            let mut lines = Vec::new();
            while lines.len() < BATCH_MAX {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                // A line that is being written is read the next time.
                let Some(whole) = line.strip_suffix('\n') else { break };
                lines.push(whole.to_owned());
            }
            Ok(lines)
        })
        .await
    }

    async fn set_aside(&self, line: &str) -> io::Result<()> {
        let (path, line) = (self.shared.folder.join(REJECTED), format!("{line}\n"));
        self.shared.rejected_bytes.fetch_add(line.len() as u64, Ordering::Relaxed);
        blocking(move || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// How much of the file is whole lines.
fn whole_bytes(file: &mut File) -> io::Result<u64> {
    let (mut whole, mut at) = (0, 0);
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)? as u64;
        if bytes == 0 {
            return Ok(whole);
        }
        at += bytes;
        if line.ends_with(b"\n") {
            whole = at;
        }
    }
}

/// The thread that owns the file: appends what has gathered, flushes once, and answers.
fn work(shared: &Shared, mut file: File, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let (mut appended, mut stored) = (Vec::new(), None);
        let mut next = Some(first);
        let before = shared.bytes.load(Ordering::Relaxed);
        let (mut bytes, mut text) = (before, Vec::new());
        while let Some(job) = next.take() {
            match job {
                Job::Append { reply, line, .. } if bytes + line.len() as u64 > SPOOL_BYTES_MAX => {
                    drop(line);
                    let _ = reply.send(Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full")));
                }
                Job::Append { session, line, reply } => {
                    bytes += line.len() as u64;
                    text.extend_from_slice(&line);
                    appended.push((session, reply));
                }
                Job::Stored { upto, reply } => {
                    stored = Some((upto, reply));
                    break;
                }
            }
            if appended.len() < APPENDS_MAX {
                next = queue.try_recv().ok();
            }
        }
        if !appended.is_empty() {
            let done = file.write_all(&text).and_then(|()| file.sync_data());
            match &done {
                Ok(()) => {
                    let mut waiting = shared.waiting();
                    appended.iter().for_each(|(session, _)| *waiting.entry(*session).or_insert(0) += 1);
                    shared.bytes.store(bytes, Ordering::Relaxed);
                }
                // A line that is half written would join the next one.
                Err(_) => drop(file.set_len(before)),
            }
            for (_, reply) in appended {
                let _ =
                    reply.send(done.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string())));
            }
            shared.came.notify_waiters();
        }
        if let Some((upto, reply)) = stored {
            let all = upto == shared.bytes.load(Ordering::Relaxed);
            if all && upto > 0 && file.set_len(0).and_then(|()| file.sync_data()).is_ok() {
                shared.bytes.store(0, Ordering::Relaxed);
                shared.stored_bytes.store(0, Ordering::Relaxed);
                shared.waiting().clear();
            }
            let _ = reply.send(all);
        }
    }
}

#[cfg(test)]
mod tests;
