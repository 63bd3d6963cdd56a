//! Recordings as they are stored: what clients name, the files of nodes that they are made of, and the work of making them.

use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::audit::Change;
use kallglot_core::id::{NodeId, RecordingId, SessionId};
use kallglot_core::recording::{Channel, Recording, RecordingMode, Track};
use kallglot_core::session::{Session, Tenant};

use crate::error::StorageError;
use crate::page::{Page, PageRequest};

type Result<T> = std::result::Result<T, StorageError>;

/// What one life of a node recorded of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingPart {
    /// Its file's name, which no other part of the session has.
    pub name: String,
    /// The node on whose disk it is.
    pub node: NodeId,
    /// Under which name it is in the object store, once it is.
    pub object: Option<String>,
    /// How much audio its disk could not take. Milliseconds.
    pub dropped_ms: u64,
}

/// A track that is in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTrack {
    /// Which.
    pub track: Track,
    /// Its name there.
    pub object: String,
    /// Its length.
    pub bytes: u64,
}

/// A session that has ended and whose recordings are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingWork {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub tenant: Tenant,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// What it has to be made of, with whether each one's node is there.
    pub parts: Vec<(RecordingPart, bool)>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRecordings {
    /// How long they are. Milliseconds.
    pub duration_ms: u64,
    /// How much is known to be missing. Milliseconds.
    pub dropped_ms: u64,
    /// Whether something is missing, or may be.
    pub incomplete: bool,
    /// The tracks, in the object store.
    pub tracks: Vec<StoredTrack>,
    /// When.
    pub at: Timestamp,
}

/// Recordings. A session's three are there from its end on, if it was to be recorded and there was something to record.
#[async_trait]
pub trait RecordingRepository: Send + Sync {
    /// Pauses a session's recording or lets it go on, for the node that has the session to hear:
    /// [`GateChange::Record`](crate::GateChange::Record). Answers with the session as it is now; one that has ended, and one that is not
    /// recorded at all, is left as it is. None for an unknown one.
    async fn set_recording(&self, tenant: Tenant, session: SessionId, mode: RecordingMode) -> Result<Option<Session>>;

    /// The node that has the session did what was asked last.
    async fn recording_heard(&self, session: SessionId, mode: RecordingMode) -> Result<()>;

    /// What was asked of the session's recording, and whether its node has done that.
    async fn recording_mode(&self, tenant: Tenant, session: SessionId) -> Result<Option<(RecordingMode, bool)>>;

    /// There is a part. One of that name is replaced, unless it is in the object store. Nothing happens when the session is unknown or its
    /// recordings are made.
    async fn save_recording_part(&self, tenant: Tenant, session: SessionId, part: &RecordingPart) -> Result<()>;

    /// A file of a former life of this node was found: it is this one's part from now on. False when nothing needs it any more.
    async fn adopt_recording_part(&self, session: SessionId, name: &str, node: NodeId) -> Result<bool>;

    /// Up to `limit` files of this node that belong to ended sessions of which other nodes have parts too: (session, name).
    async fn parts_to_store(&self, node: NodeId, limit: u32) -> Result<Vec<(SessionId, String)>>;

    /// These objects may be about to be made. Unless something comes to need them, they are deleted at `delete_at`: so nothing is left in the
    /// object store by a node that dies.
    async fn reserve_objects(&self, objects: &[String], delete_at: Timestamp) -> Result<()>;

    /// A part is in the object store. False when nothing needs it any more.
    async fn part_stored(&self, session: SessionId, name: &str, object: &str) -> Result<bool>;

    /// Up to `limit` pieces of work that are due at `now` and that no other node which is there has claimed, the longest due first.
    async fn recording_work(
        &self,
        node: NodeId,
        now: Timestamp,
        away_after: Duration,
        limit: u32,
    ) -> Result<Vec<RecordingWork>>;

    /// How much work there is that is not done.
    async fn recording_work_count(&self) -> Result<u64>;

    /// Claims work for this node as long as it is there. False when another one has it, or it is done.
    async fn claim_recording_work(&self, session: SessionId, node: NodeId, away_after: Duration) -> Result<bool>;

    /// Gives claimed work back, to be tried again at `next_at`; `failed` counts as an attempt.
    async fn postpone_recording_work(
        &self,
        session: SessionId,
        node: NodeId,
        next_at: Timestamp,
        failed: bool,
    ) -> Result<()>;

    /// The recordings are made: they are ready, with `recording.ready` for each that is not removed, and tracks that none of them needs are
    /// among the objects to delete, as are stored parts. False when this node's claim is gone; then nothing happens.
    async fn finish_recordings(&self, session: SessionId, node: NodeId, made: &MadeRecordings) -> Result<bool>;

    /// The recordings can't be made, with `recording.failed` for each. False as in [`Self::finish_recordings`].
    async fn fail_recordings(&self, session: SessionId, node: NodeId, error: &str, at: Timestamp) -> Result<bool>;

    /// A recording of this tenant; one that is removed too, which the caller sees in it.
    async fn recording(&self, tenant: Tenant, id: RecordingId) -> Result<Option<Recording>>;

    /// A page of the tenant's recordings, newest first, without those that are removed.
    async fn recordings(&self, tenant: Tenant, page: &PageRequest<RecordingId>) -> Result<Page<Recording>>;

    /// A session's recordings in the order of their channels, without those that are removed; only this channel's if one is named.
    async fn recordings_of(
        &self,
        tenant: Tenant,
        session: SessionId,
        channel: Option<Channel>,
    ) -> Result<Vec<Recording>>;

    /// The tracks of a session that are there.
    async fn recording_tracks(&self, tenant: Tenant, session: SessionId) -> Result<Vec<StoredTrack>>;

    /// Removes a recording, with an audit entry; what only it needed is among the objects to delete. False when there is none that is
    /// not removed.
    async fn delete_recording(&self, tenant: Tenant, id: RecordingId, change: &Change) -> Result<bool>;

    /// Removes up to `limit` recordings of all tenants whose time is over at `now`; says how many it found.
    async fn expire_recordings(&self, now: Timestamp, limit: u32) -> Result<u64>;

    /// Up to `limit` objects that are to be deleted, and are due at `now`.
    async fn objects_to_delete(&self, now: Timestamp, limit: u32) -> Result<Vec<String>>;

    /// These are deleted.
    async fn objects_deleted(&self, objects: &[String]) -> Result<()>;

    /// These could not be deleted; again at `next_at`.
    async fn objects_not_deleted(&self, objects: &[String], next_at: Timestamp) -> Result<()>;
}
