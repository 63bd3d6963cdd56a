//! The logs of live recordings on this node's disk: one thread writes them all, a few times a second.
//!
//! What must stay true: who pushes audio never waits for the disk, only for the moment in which the thread takes what there is; what
//! the disk can't take in time is dropped at a bound and counted; what was pushed is written within [`WRITE_EVERY`] and survives the end
//! of the process, and within about [`SYNC_EVERY`] more the end of the machine; few files are open at once.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kallglot_core::id::SessionId;
use kallglot_recording::log::{self, HEADER_BYTES, LogHeader, RECORD_HEADER_BYTES};
use kallglot_recording::{SAMPLE_RATE_HZ, Track};
use tokio::sync::watch;

/// How often what waits is written.
pub const WRITE_EVERY: Duration = Duration::from_millis(250);
/// How often what was written is made to outlive a power cut.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Bytes that may wait for one log, and as many again while they are being written: at least 8 s of a call. Beyond it audio is dropped.
const LOG_WAITING_BYTES_MAX: usize = 256 * 1024;
/// Bytes that may wait for all logs; likewise.
const WAITING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Logs that are kept open; others are opened for each writing.
const FILES_OPEN_MAX: usize = 256;
/// How long a log that is closed may wait for a disk that can't take it; what is left then is dropped.
const CLOSING_MAX: Duration = Duration::from_secs(30);

/// What has happened to audio so far, for metrics.
#[derive(Debug, Default)]
pub struct DiskCounts {
    /// Bytes that wait to be written.
    pub waiting_bytes: AtomicU64,
    /// Bytes written.
    pub written_bytes: AtomicU64,
    /// Audio that was dropped because the disk could not take it. Milliseconds.
    pub dropped_ms: AtomicU64,
    /// How often writing failed.
    pub failures: AtomicU64,
}

/// The logs that are being written.
pub struct Disk {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    folder: PathBuf,
    logs: Mutex<HashMap<String, Arc<Log>>>,
    counts: DiskCounts,
    written: AtomicBool,
    stop: AtomicBool,
    writer: OnceLock<thread::Thread>,
}

struct Log {
    name: String,
    session: SessionId,
    header: Vec<u8>,
    waiting: Mutex<Waiting>,
    /// True once all of it is written and nothing more comes.
    done: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped_samples: u64,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One live session's log. Dropping it closes it.
pub struct LogHandle {
    log: Arc<Log>,
    shared: Arc<Shared>,
}

impl LogHandle {
    /// Its file's name.
    pub fn name(&self) -> &str {
        &self.log.name
    }

    /// Takes audio that begins `place` samples after the time line's zero.
    pub fn push(&self, track: Track, place: u64, mulaw: &[u8]) {
        let counts = &self.shared.counts;
        let mut waiting = lock(&self.log.waiting);
        let before = waiting.bytes.len();
        let full = before + mulaw.len() + RECORD_HEADER_BYTES > LOG_WAITING_BYTES_MAX
            || counts.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX;
        if full {
            waiting.dropped_samples += mulaw.len() as u64;
            drop(waiting);
            counts.dropped_ms.fetch_add(ms(mulaw.len() as u64), Ordering::Relaxed);
            return;
        }
        log::append(&mut waiting.bytes, track, place, mulaw);
        let added = waiting.bytes.len() - before;
        drop(waiting);
        counts.waiting_bytes.fetch_add(added as u64, Ordering::Relaxed);
    }

    /// How much was dropped so far. Milliseconds.
    pub fn dropped_ms(&self) -> u64 {
        ms(lock(&self.log.waiting).dropped_samples)
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        lock(&self.log.waiting).closed = true;
        if let Some(writer) = self.shared.writer.get() {
            writer.unpark();
        }
    }
}

fn ms(samples: u64) -> u64 {
    samples * 1000 / u64::from(SAMPLE_RATE_HZ)
}

impl Disk {
    /// Writes logs into `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// It can't be, or the system gives no threads.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            logs: Mutex::default(),
            counts: DiskCounts::default(),
            written: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            writer: OnceLock::new(),
        });
        let (writer, syncer) = (Arc::clone(&shared), Arc::clone(&shared));
        let writer = thread::Builder::new().name("recordings".into()).spawn(move || write(&writer))?;
        let _ = shared.writer.set(writer.thread().clone());
        let syncer = thread::Builder::new().name("recordings-sync".into()).spawn(move || sync(&syncer))?;
        let threads = vec![writer, syncer];
        Ok(Self { shared, threads: threads.into() })
    }

    /// Where the logs are.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// What has happened so far.
    pub fn counts(&self) -> &DiskCounts {
        &self.shared.counts
    }

    /// Begins a log of this name, which no other has.
    pub fn log(&self, name: String, header: &LogHeader) -> LogHandle {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        header.write(&mut bytes);
        let log = Arc::new(Log {
            name: name.clone(),
            session: header.session,
            header: bytes,
            waiting: Mutex::default(),
            done: watch::Sender::new(false),
        });
        lock(&self.shared.logs).insert(name, Arc::clone(&log));
        LogHandle { log, shared: Arc::clone(&self.shared) }
    }

    /// Whether this log is being written.
    pub fn is_open(&self, name: &str) -> bool {
        lock(&self.shared.logs).contains_key(name)
    }

    /// Waits until no log of this session is being written any more.
    pub async fn closed(&self, session: SessionId) {
        loop {
            let open = lock(&self.shared.logs).values().find(|log| log.session == session).cloned();
            let Some(log) = open else { return };
            let mut done = log.done.subscribe();
            // The sender lives as long as `log`.
            let _ = done.wait_for(|done| *done).await;
        }
    }
}

impl Disk {
    /// Writes what waits, and nothing after that. Blocks as long as the disk does.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in lock(&self.threads).drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A log as the thread that writes has it.
struct Writing {
    log: Arc<Log>,
    path: PathBuf,
    file: Option<File>,
    /// Bytes of the file that are sound; none before it was opened once.
    length: Option<u64>,
    bytes: Vec<u8>,
    /// Since when it is closed and not all written.
    closing: Option<Instant>,
    told: bool,
}

fn write(shared: &Shared) {
    let mut writing: HashMap<String, Writing> = HashMap::new();
    loop {
        let stop = shared.stop.load(Ordering::Relaxed);
        let begun = Instant::now();
        for (key, log) in lock(&shared.logs).iter() {
            if !writing.contains_key(key) {
                let path = shared.folder.join(&log.name);
                let log = Arc::clone(log);
                let new =
                    Writing { log, path, file: None, length: None, bytes: Vec::new(), closing: None, told: false };
                writing.insert(key.clone(), new);
            }
        }
        let mut done = Vec::new();
        let mut open = writing.values().filter(|it| it.file.is_some()).count();
        for (key, it) in &mut writing {
            let had = usize::from(it.file.is_some());
            let is_done = it.turn(shared, open < FILES_OPEN_MAX || had == 1);
            open = open + usize::from(it.file.is_some()) - had;
            if is_done || stop {
                done.push(key.clone());
            }
        }
        for key in done {
            writing.remove(&key);
            if let Some(log) = lock(&shared.logs).remove(&key) {
                log.done.send_replace(true);
            }
        }
        if stop {
            return;
        }
        thread::park_timeout(WRITE_EVERY.saturating_sub(begun.elapsed()));
    }
}

impl Writing {
    /// Writes what waits. True once it is closed and all is written or given up.
    fn turn(&mut self, shared: &Shared, may_stay_open: bool) -> bool {
        let counts = &shared.counts;
        let closed = {
            let mut waiting = lock(&self.log.waiting);
            if self.bytes.is_empty() {
                std::mem::swap(&mut self.bytes, &mut waiting.bytes);
            }
            waiting.closed && waiting.bytes.is_empty()
        };
        if !self.bytes.is_empty() || self.length.is_none() {
            match self.append() {
                Ok(()) => {
                    let bytes = self.bytes.len() as u64;
                    counts.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    counts.written_bytes.fetch_add(bytes, Ordering::Relaxed);
                    shared.written.store(true, Ordering::Relaxed);
                    self.bytes.clear();
                    self.told = false;
                }
                Err(error) => {
                    counts.failures.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.told, true) {
                        tracing::error!(log = %self.path.display(), %error, "a recording can't be written; it is tried again");
                    }
                    self.file = None;
                }
            }
        }
        if !may_stay_open {
            self.file = None;
        }
        if !closed {
            return false;
        }
        let given_up = self.closing.get_or_insert_with(Instant::now).elapsed() >= CLOSING_MAX;
        if given_up && !self.bytes.is_empty() {
            let bytes = self.bytes.len() as u64;
            tracing::error!(log = %self.path.display(), bytes, "the end of a recording is lost: the disk did not take it");
            counts.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            counts.dropped_ms.fetch_add(ms(bytes), Ordering::Relaxed);
            self.bytes.clear();
        }
        self.bytes.is_empty()
    }

    /// Writes `bytes` after what is sound: a failed attempt's bytes are written over.
    fn append(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let length = match self.length {
            Some(length) => length,
            None => {
                let found = file.metadata()?.len();
                if found < HEADER_BYTES as u64 {
                    file.write_all_at(&self.log.header, 0)?;
                }
                found.max(HEADER_BYTES as u64)
            }
        };
        self.length = Some(length);
        file.write_all_at(&self.bytes, length)?;
        self.length = Some(length + self.bytes.len() as u64);
        Ok(())
    }
}

/// Makes what was written durable, all files at once: one call for any number of them.
fn sync(shared: &Shared) {
    let Ok(folder) = File::open(&shared.folder) else { return };
    while !shared.stop.load(Ordering::Relaxed) {
        thread::park_timeout(SYNC_EVERY);
        if shared.written.swap(false, Ordering::Relaxed)
            && let Err(error) = rustix::fs::syncfs(&folder)
        {
            tracing::warn!(%error, "recordings could not be made durable; they are with the next writing");
        }
    }
}
