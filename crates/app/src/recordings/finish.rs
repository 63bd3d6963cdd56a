//! After the call: a node collects what was recorded of a session, makes the tracks, puts them into the object store and says that the
//! recordings are ready. And what else is to be done in the background: parts go to where others can read them, what has had its
//! time or is deleted goes.
//!
//! Every step can be done twice. Who claims work has it as long as its node is there.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::audit::Change;
use kallglot_core::id::{RecordingId, SessionId};
use kallglot_core::recording::Track as Kept;
use kallglot_core::session::Tenant;
use kallglot_objects::ObjectError;
use kallglot_recording::split::{SplitError, SplitSummary, split};
use kallglot_recording::{SAMPLE_RATE_HZ, Track};
use kallglot_storage::{MadeRecordings, RecordingPart, RecordingWork, StorageError, StoredTrack};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::node::AWAY_AFTER;
use crate::recordings::{MADE_AT_ONCE_MAX, session_of_part};

/// How often it is looked for work, beside when some is known to be there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the folder of parts is compared with the database.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How long a session's recordings wait for parts on nodes that are not there. After that they are made of what there is.
pub const PARTS_WAIT: SignedDuration = SignedDuration::from_mins(15);
/// How often it is looked whether parts of other nodes have come.
const PARTS_LOOK_EVERY: SignedDuration = SignedDuration::from_secs(2);
/// How long a log may take to be written to its end when its session is over.
const CLOSE_MAX: Duration = Duration::from_secs(60);
/// First and longest pause before work that failed is tried again.
const RETRY: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(1), SignedDuration::from_mins(5));
/// Attempts after which what can't be made is given up. Not counted where only the object store or the database is away.
const ATTEMPTS_MAX: u32 = 5;
/// Pieces of work, parts and objects that one look takes up.
const BATCH_MAX: u32 = 100;
/// When objects are deleted that were about to be made and that nobody came to need.
const RESERVED: SignedDuration = SignedDuration::from_hours(24);
/// Recordings that expire in one transaction.
const EXPIRE_MAX: u32 = 100;

/// Why recordings were not made this time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The object store or the database is away: it is tried until it is back.
    #[error("{0}")]
    Away(String),
    /// There is nothing to make them of.
    #[error("nothing was recorded")]
    Nothing,
    /// Anything else; a few times more.
    #[error("{0}")]
    Broken(String),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable { .. } => Self::Away(error.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unavailable { .. } => Self::Away(error.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // A full disk above all.
        Self::Away(error.to_string())
    }
}

/// Does all of it until `stop`.
pub(crate) async fn work(app: Arc<App>, stop: CancellationToken) {
    let mut swept: Option<tokio::time::Instant> = None;
    loop {
        if app.recordings.are_possible() {
            if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
                swept = Some(tokio::time::Instant::now());
                if let Err(error) = app.sweep_parts().await {
                    tracing::error!(%error, "what lies in the folder of recordings could not be looked through");
                    // Nothing is made before it is known what there is.
                    swept = None;
                }
            }
            if let Err(error) = app.look_after_recordings(&stop).await {
                tracing::error!(%error, "recordings could not be looked after");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = app.recordings.wake.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}

impl App {
    /// Makes what a former life of this node left its own, and deletes what nothing needs any more.
    async fn sweep_parts(&self) -> Result<(), StorageError> {
        for name in self.parts_on_disk(None).await {
            let Some(session) = session_of_part(&name) else { continue };
            if self.recordings.disk.is_open(&name) {
                continue;
            }
            if !self.storage.adopt_recording_part(session, &name, self.node.id).await? {
                self.delete_part(&name).await;
            }
        }
        Ok(())
    }

    /// The names of the parts on this node's disk, of all sessions or of one.
    async fn parts_on_disk(&self, of: Option<SessionId>) -> Vec<String> {
        let folder = self.recordings.disk.folder().to_owned();
        let listed = tokio::task::spawn_blocking(move || {
            let names = std::fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            Ok::<_, io::Error>(names.filter(|name| of.is_none_or(|id| session_of_part(name) == Some(id))).collect())
        });
        listed.await.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn delete_part(&self, name: &str) {
        if let Err(error) = tokio::fs::remove_file(self.recordings.disk.folder().join(name)).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(name, %error, "a part of a recording that nothing needs could not be deleted; it is tried again");
        }
    }

    /// One look at everything.
    async fn look_after_recordings(&self, stop: &CancellationToken) -> Result<(), StorageError> {
        let node = self.node.id;
        if self.node.shared.is_some() {
            for (session, name) in self.storage.parts_to_store(node, BATCH_MAX).await? {
                if let Err(error) = self.store_part(session, &name).await {
                    tracing::warn!(%session, %error, "a part of a recording waits on this node's disk");
                    break;
                }
            }
        }
        let now = self.clock.now();
        let work = self.storage.recording_work(node, now, AWAY_AFTER, BATCH_MAX).await?;
        futures_util::stream::iter(work)
            .take_until(stop.cancelled())
            .for_each_concurrent(MADE_AT_ONCE_MAX, async |work| {
                let session = work.session;
                if let Err(error) = self.take_up(work).await {
                    tracing::warn!(%session, %error, "a session's recordings are not made yet");
                }
            })
            .await;
        while self.storage.expire_recordings(self.clock.now(), EXPIRE_MAX).await? > 0 && !stop.is_cancelled() {}
        self.delete_objects().await?;
        self.recordings.waiting.store(self.storage.recording_work_count().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Deletes a recording. What only it needed is gone when this returns; or, where the object store is away or another node has it on its
    /// disk, as soon as that can be. False when there is none.
    ///
    /// # Errors
    /// Storage's.
    pub async fn delete_recording(
        &self,
        tenant: Tenant,
        id: RecordingId,
        change: &Change,
    ) -> Result<bool, StorageError> {
        let found = self.storage.recording(tenant, id).await?;
        let deleted = self.storage.delete_recording(tenant, id, change).await?;
        if let (true, Some(recording)) = (deleted, found) {
            for name in self.parts_on_disk(Some(recording.session)).await {
                if !self.storage.adopt_recording_part(recording.session, &name, self.node.id).await? {
                    self.delete_part(&name).await;
                }
            }
            self.delete_objects().await?;
        }
        Ok(deleted)
    }

    /// Deletes objects that nothing needs. What can't be deleted now is tried again.
    pub(crate) async fn delete_objects(&self) -> Result<(), StorageError> {
        let Some(objects) = &self.recordings.objects else { return Ok(()) };
        let (mut deleted, mut later) = (Vec::new(), Vec::new());
        for name in self.storage.objects_to_delete(self.clock.now(), BATCH_MAX).await? {
            match objects.delete(&name).await {
                Ok(()) => deleted.push(name),
                Err(error) => {
                    tracing::warn!(name, %error, "an object that nothing needs could not be deleted; it is tried again");
                    later.push(name);
                }
            }
        }
        if !later.is_empty() {
            let again = self.clock.now().checked_add(SignedDuration::from_secs(30)).unwrap_or(Timestamp::MAX);
            self.storage.objects_not_deleted(&later, again).await?;
        }
        if deleted.is_empty() { Ok(()) } else { self.storage.objects_deleted(&deleted).await }
    }

    async fn reserve(&self, objects: &[String]) -> Result<(), StorageError> {
        let until = self.clock.now().checked_add(RESERVED).unwrap_or(Timestamp::MAX);
        self.storage.reserve_objects(objects, until).await
    }

    /// Puts a part of this node where other nodes can read it.
    async fn store_part(&self, session: SessionId, name: &str) -> Result<(), Failure> {
        let Some(objects) = &self.recordings.objects else { return Ok(()) };
        self.close(session).await?;
        let object = format!("parts/{session}/{name}");
        self.reserve(std::slice::from_ref(&object)).await?;
        objects.put(&object, &self.recordings.disk.folder().join(name)).await?;
        self.storage.part_stored(session, name, &object).await?;
        self.delete_part(name).await;
        Ok(())
    }

    /// Waits until the session's logs on this node are written to their ends.
    async fn close(&self, session: SessionId) -> Result<(), Failure> {
        let closed = tokio::time::timeout(CLOSE_MAX, self.recordings.disk.closed(session)).await;
        closed.map_err(|_| Failure::Away("its log is still being written on this node".into()))
    }

    /// Makes a session's recordings, if it is this node's turn.
    async fn take_up(&self, mut work: RecordingWork) -> Result<(), Failure> {
        let (session, node, now) = (work.session, self.node.id, self.clock.now());
        self.close(session).await?;
        // What is on this disk and the database was never told of.
        let here = self.parts_on_disk(Some(session)).await;
        for name in &here {
            let known = work.parts.iter().any(|(part, _)| part.name == *name);
            if !known && self.storage.adopt_recording_part(session, name, node).await? {
                let part = RecordingPart { name: name.clone(), node, object: None, dropped_ms: 0 };
                work.parts.push((part, true));
            }
        }
        let here: HashSet<String> = here.into_iter().collect();
        let is_elsewhere = |part: &RecordingPart| part.object.is_none() && !here.contains(&part.name);
        let missing = work.parts.iter().filter(|(part, _)| is_elsewhere(part)).count();
        let waited = now.duration_since(work.ended_at);
        if work.parts.iter().any(|(part, _)| is_elsewhere(part) && part.node != node) && waited < PARTS_WAIT {
            let again = now.checked_add(PARTS_LOOK_EVERY).unwrap_or(now);
            return Ok(self.storage.postpone_recording_work(session, node, again, false).await?);
        }
        if !self.storage.claim_recording_work(session, node, AWAY_AFTER).await? {
            return Ok(());
        }
        if missing > 0 {
            tracing::error!(%session, missing, "parts of a recording are missing: their nodes did not come back");
        }
        let folder = self.recordings.work.join(session.to_string());
        let made = self.make(&work, &here, &folder, missing > 0).await;
        let _ = tokio::fs::remove_dir_all(&folder).await;
        let outcome = match made {
            Ok(made) => self.storage.finish_recordings(session, node, &made).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        let now = self.clock.now();
        match outcome {
            Ok(done) => {
                if done {
                    tracing::info!(%session, "recordings are ready");
                }
            }
            Err(Failure::Nothing) => {
                let why =
                    "Nothing was recorded: the recording was paused as long as somebody spoke, or nothing was said.";
                self.storage.fail_recordings(session, node, why, now).await?;
            }
            Err(Failure::Broken(cause)) if work.attempts + 1 >= ATTEMPTS_MAX => {
                tracing::error!(%session, cause, "recordings can't be made");
                let why = "The recording could not be made of what was recorded. The server's log says why.";
                if self.storage.fail_recordings(session, node, why, now).await? {
                    self.set_parts_aside(&here).await;
                }
                return Ok(());
            }
            Err(failure) => {
                let wait = (RETRY.0 * (1 << work.attempts.min(9))).min(RETRY.1);
                let again = now.checked_add(wait).unwrap_or(now);
                self.storage.postpone_recording_work(session, node, again, true).await?;
                return Err(failure);
            }
        }
        for name in &here {
            self.delete_part(name).await;
        }
        self.delete_objects().await?;
        Ok(())
    }

    /// What could not be made into recordings is left for a person to look at.
    async fn set_parts_aside(&self, names: &HashSet<String>) {
        let folder = self.recordings.disk.folder();
        let aside = folder.with_file_name("rejected");
        let _ = tokio::fs::create_dir_all(&aside).await;
        for name in names {
            if let Err(error) = tokio::fs::rename(folder.join(name), aside.join(name)).await {
                tracing::error!(name, %error, "a part of a recording could not be set aside");
            }
        }
    }

    async fn make(
        &self,
        work: &RecordingWork,
        here: &HashSet<String>,
        folder: &Path,
        incomplete: bool,
    ) -> Result<MadeRecordings, Failure> {
        let Some(objects) = &self.recordings.objects else {
            return Err(Failure::Away("this server has no place for recordings".into()));
        };
        let _turn = self.recordings.making.acquire().await.map_err(|_| Failure::Away("the server stops".into()))?;
        tokio::fs::create_dir_all(folder).await?;
        let mut logs: Vec<PathBuf> = Vec::new();
        for (part, _) in &work.parts {
            if here.contains(&part.name) {
                logs.push(self.recordings.disk.folder().join(&part.name));
            } else if let Some(object) = &part.object {
                let to = folder.join(&part.name);
                download(objects.as_ref(), object, &to).await?;
                logs.push(to);
            }
        }
        let outputs = Track::ALL.map(|track| folder.join(track.name()));
        let paths = outputs.clone();
        let summary = tokio::task::spawn_blocking(move || make_tracks(&logs, &paths));
        let summary = summary.await.map_err(|error| Failure::Broken(error.to_string()))?;
        let summary = match summary {
            Ok(summary) if summary.duration_samples > 0 => summary,
            Ok(_) | Err(SplitError::Parts(0)) => return Err(Failure::Nothing),
            Err(SplitError::Io(error)) => return Err(error.into()),
            Err(other) => return Err(Failure::Broken(other.to_string())),
        };
        // Names that no other attempt has: one that was overtaken can't disturb.
        let attempt = format!("{}-{}", self.node.id, work.attempts);
        let name = |track: Kept| format!("recordings/{}/{attempt}/{track}", work.session);
        let names: Vec<String> = Kept::ALL.iter().map(|track| name(*track)).collect();
        self.reserve(&names).await?;
        let mut tracks = Vec::with_capacity(outputs.len());
        for (track, path) in Kept::ALL.iter().zip(&outputs) {
            let object = name(*track);
            let bytes = objects.put(&object, path).await?;
            tracks.push(StoredTrack { track: *track, object, bytes });
        }
        let dropped_ms: u64 = work.parts.iter().map(|(part, _)| part.dropped_ms).sum();
        if summary.skipped_bytes > 0 {
            tracing::warn!(session = %work.session, bytes = summary.skipped_bytes, "parts of a recording's log are damaged");
        }
        let late_samples: u64 = summary.tracks.iter().map(|track| track.late_samples).sum();
        Ok(MadeRecordings {
            duration_ms: summary.duration_samples.div_ceil(u64::from(SAMPLE_RATE_HZ) / 1000),
            dropped_ms,
            incomplete: incomplete || dropped_ms > 0 || summary.skipped_bytes > 0 || late_samples > 0,
            tracks,
            at: self.clock.now(),
        })
    }
}

/// Makes the four tracks, on this disk.
fn make_tracks(logs: &[PathBuf], outputs: &[PathBuf; 4]) -> Result<SplitSummary, SplitError> {
    let logs = logs.iter().map(File::open).collect::<io::Result<Vec<File>>>()?;
    let files = outputs.iter().map(File::create).collect::<io::Result<Vec<File>>>()?;
    let mut files = files.into_iter().map(BufWriter::new);
    let mut next = || files.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
    split(logs, [next()?, next()?, next()?, next()?], 0)
}

/// Copies an object to this disk, piece by piece.
async fn download(objects: &dyn kallglot_objects::Objects, name: &str, to: &Path) -> Result<(), Failure> {
    const PIECE_BYTES: u64 = 1024 * 1024;
    use tokio::io::AsyncWriteExt as _;
    let bytes = objects.size(name).await?;
    let mut file = tokio::fs::File::create(to).await?;
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + PIECE_BYTES);
        file.write_all(&objects.read(name, at..end).await?).await?;
        at = end;
    }
    Ok(file.flush().await?)
}
