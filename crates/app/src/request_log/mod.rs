//! The request log: every request of an organization for 30 days, and why it was refused; and what the requests come to.
//!
//! A request costs one push into a list in memory. Every few seconds the list is packed, organization by organization, into blocks that go
//! to the database, in one transaction with the usage that they add up to (`kallglot_core::usage`): so usage counts exactly the requests
//! that are in the log. A request is found by its id: the id says when it arrived, the blocks say what time they cover. A crash loses the
//! last few seconds of both (5 s, or less under load); nothing else depends on them.

mod explain;
mod pack;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::id::{ApiKeyId, NodeId, RequestId};
use kallglot_core::request_record::{KEPT_DAYS, RequestRecord};
use kallglot_core::session::Tenant;
use kallglot_core::usage::{KeyMinute, Slice, Usage};
use kallglot_storage::{REQUEST_BLOCK_S_MAX, RequestBatch, RequestBlock, Storage, StorageError};

pub use explain::{Explanation, explain};
pub use pack::{Unreadable, pack, unpack};

/// Most records that wait to be stored; more are dropped and counted.
const WAITING_MAX: usize = 262_144;
/// So many waiting records are stored at once, without waiting for the time.
pub const FLUSH_AT: usize = 8_192;
/// Most records in one block: what has to be unpacked to find one request, and what is packed without letting requests pass.
const BLOCK_RECORDS_MAX: usize = 256;
/// From so many blocks and keys' minutes on, a batch is stored: a few milliseconds of the database's time.
const BATCH_ROWS: usize = 64;
/// Blocks that are read at once when the log is listed.
const BLOCKS_AT_ONCE: u32 = 20;
/// Most blocks that one list looks through; the page says that there is more.
const BLOCKS_LOOKED_MAX: usize = 4_000;

/// The records that are not in the database yet.
#[derive(Default)]
pub struct RequestLog {
    waiting: Mutex<Vec<RequestRecord>>,
    /// Those that are being stored, so that they can be found meanwhile.
    storing: Mutex<Arc<Vec<RequestRecord>>>,
    /// An empty list with room, so that a busy server does not ask for new memory each time.
    spare: Mutex<Vec<RequestRecord>>,
    dropped: AtomicU64,
    /// One stores at a time.
    flushing: tokio::sync::Mutex<Flushing>,
}

/// What is being stored.
#[derive(Default)]
struct Flushing {
    /// What has to be stored before anything else, in this order: [`RequestLog::storing`] in batches.
    batches: VecDeque<RequestBatch>,
    /// The last number that was given.
    last: i64,
}

/// Which requests of a list are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Statuses from and to, both included.
    pub status: Option<(u16, u16)>,
    /// The registry's name of a refusal.
    pub code: Option<String>,
    /// A key.
    pub key: Option<ApiKeyId>,
    /// Only those with a secret that a rotation had replaced.
    pub old_secret: bool,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// A method.
    pub method: Option<String>,
    /// A route, as a whole.
    pub route: Option<String>,
    /// Older than this one.
    pub before: Option<RequestId>,
}

impl RequestFilter {
    fn wants(&self, record: &RequestRecord) -> bool {
        self.status.is_none_or(|(from, to)| (from..=to).contains(&record.status))
            && self.code.as_deref().is_none_or(|code| record.code.as_deref() == Some(code))
            && self.key.is_none_or(|key| record.key == key)
            && (!self.old_secret || record.old_secret)
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
            && self.method.as_deref().is_none_or(|method| record.method == method)
            && self.route.as_deref().is_none_or(|route| record.route == route)
            && self.before.is_none_or(|before| record.id < before)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a request with this id arrived, to the millisecond.
fn arrived_at(id: RequestId) -> Timestamp {
    Timestamp::from_millisecond((id.to_bits() >> 80) as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl RequestLog {
    /// Adds a request.
    pub fn push(&self, record: RequestRecord) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() < WAITING_MAX {
            waiting.push(record);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many wait to be stored, or are being stored.
    pub fn waiting(&self) -> usize {
        lock(&self.waiting).len() + lock(&self.storing).len()
    }

    /// How many were dropped since the start because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Stores what waits, and adds it to the usage. What can't be stored now waits on, as it is: it may have been stored all the same, and
    /// then it is known by its number. `node` is the one that answered them.
    ///
    /// # Errors
    /// Storage's.
    pub async fn flush(&self, storage: &dyn Storage, node: NodeId, now: Timestamp) -> Result<(), StorageError> {
        let mut flushing = self.flushing.lock().await;
        self.store(&mut flushing, storage).await?;
        let spare = std::mem::take(&mut *lock(&self.spare));
        let records = Arc::new(std::mem::replace(&mut *lock(&self.waiting), spare));
        if records.is_empty() {
            return Ok(());
        }
        *lock(&self.storing) = Arc::clone(&records);
        flushing.batches = batches(&records, node, flushing.last, now).await;
        flushing.last = flushing.batches.back().map_or(flushing.last, |batch| batch.number);
        drop(records);
        self.store(&mut flushing, storage).await
    }

    async fn store(&self, flushing: &mut Flushing, storage: &dyn Storage) -> Result<(), StorageError> {
        while let Some(batch) = flushing.batches.front() {
            storage.append_requests(batch).await?;
            flushing.batches.pop_front();
        }
        let stored = std::mem::take(&mut *lock(&self.storing));
        // Unless somebody is looking through it right now, or it is what a burst has left.
        if let Ok(mut stored) = Arc::try_unwrap(stored)
            && stored.len() >= stored.capacity() / 4
        {
            stored.clear();
            *lock(&self.spare) = stored;
        }
        Ok(())
    }

    /// Those in memory that `wanted` says, the newest first.
    fn in_memory(&self, wanted: impl Fn(&RequestRecord) -> bool) -> Vec<RequestRecord> {
        let storing = Arc::clone(&lock(&self.storing));
        let waiting = lock(&self.waiting);
        storing.iter().chain(waiting.iter()).rev().filter(|record| wanted(record)).cloned().collect()
    }

    /// The request of this id, if it is the tenant's and not forgotten yet.
    ///
    /// # Errors
    /// Storage's.
    pub async fn find(
        &self,
        storage: &dyn Storage,
        tenant: Tenant,
        id: RequestId,
    ) -> Result<Option<RequestRecord>, StorageError> {
        let found = self.in_memory(|record| record.id == id && record.tenant == tenant);
        if let Some(record) = found.into_iter().next() {
            return Ok(Some(record));
        }
        let at = arrived_at(id);
        let to = at.checked_add(SignedDuration::from_millis(1)).unwrap_or(at);
        let mut before = None;
        loop {
            let blocks = storage.request_blocks(tenant, at, to, before, BLOCKS_AT_ONCE).await?;
            let Some((oldest, _)) = blocks.last() else { return Ok(None) };
            before = Some(*oldest);
            for (_, block) in &blocks {
                if let Some(record) = read(block)?.into_iter().find(|record| record.id == id) {
                    return Ok(Some(record));
                }
            }
        }
    }

    /// Up to `limit` requests of the tenant that the filter wants, the newest first, and whether there may be more.
    ///
    /// # Errors
    /// Storage's.
    pub async fn list(
        &self,
        storage: &dyn Storage,
        tenant: Tenant,
        filter: &RequestFilter,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<RequestRecord>, bool), StorageError> {
        let wanted = |record: &RequestRecord| record.tenant == tenant && filter.wants(record);
        let mut found = self.in_memory(wanted);
        let kept_since = now.checked_sub(SignedDuration::from_hours(24 * KEPT_DAYS)).unwrap_or(Timestamp::MIN);
        let from = filter.since.unwrap_or(kept_since).max(kept_since);
        let to =
            filter.before.map_or(now, |id| arrived_at(id).checked_add(SignedDuration::from_millis(1)).unwrap_or(now));
        let to = filter.until.map_or(to, |until| until.min(to));
        let (mut before, mut looked) = (None, 0);
        let mut all_seen = false;
        // Blocks overlap a little at their ends: requests are logged in the order of their answers.
        while found.len() <= limit && looked < BLOCKS_LOOKED_MAX {
            let blocks = storage.request_blocks(tenant, from, to, before, BLOCKS_AT_ONCE).await?;
            let Some((oldest, _)) = blocks.last() else {
                all_seen = true;
                break;
            };
            before = Some(*oldest);
            looked += blocks.len();
            for (_, block) in &blocks {
                found.extend(read(block)?.into_iter().filter(wanted));
            }
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.id));
        found.dedup_by_key(|record| record.id);
        let has_more = found.len() > limit || !all_seen;
        found.truncate(limit);
        Ok((found, has_more))
    }
}

fn read(block: &RequestBlock) -> Result<Vec<RequestRecord>, StorageError> {
    unpack(block.tenant, &block.packed).map_err(|_| StorageError::Corrupt {
        table: "request_blocks",
        column: "packed",
        id: block.tenant.organization.to_string(),
    })
}

/// The records in batches, numbered after `last`: blocks, each of one tenant, and what they come to. In small pieces: requests are served in
/// between, and the database's other writers wait for one batch at most.
async fn batches(records: &[RequestRecord], node: NodeId, last: i64, now: Timestamp) -> VecDeque<RequestBatch> {
    // By hour too: a block spans at most that, and what waited while the database was away may span more.
    let mut by_tenant: HashMap<(Tenant, i64), Vec<&RequestRecord>> = HashMap::new();
    for records in records.chunks(4 * BLOCK_RECORDS_MAX) {
        for record in records {
            let part = record.at.as_second().div_euclid(REQUEST_BLOCK_S_MAX);
            by_tenant.entry((record.tenant, part)).or_default().push(record);
        }
        tokio::task::yield_now().await;
    }
    let mut batches = VecDeque::new();
    let mut open = OpenBatch::default();
    for ((tenant, _), records) in by_tenant {
        for records in records.chunks(BLOCK_RECORDS_MAX) {
            let times = records.iter().map(|record| record.at);
            let (Some(first_at), Some(last_at)) = (times.clone().min(), times.max()) else { continue };
            open.blocks.push(RequestBlock { tenant, first_at, last_at, packed: pack(records) });
            for record in records {
                let minute = (tenant, record.key, Slice::Minute.of(record.at));
                open.usage.entry(minute).or_default().add(record);
            }
            if open.blocks.len() + open.usage.len() >= BATCH_ROWS {
                let number = last + 1 + batches.len() as i64;
                batches.push_back(std::mem::take(&mut open).closed(node, number, now));
            }
            tokio::task::yield_now().await;
        }
    }
    if !open.blocks.is_empty() {
        let number = last + 1 + batches.len() as i64;
        batches.push_back(open.closed(node, number, now));
    }
    batches
}

/// A batch that is being filled.
#[derive(Default)]
struct OpenBatch {
    blocks: Vec<RequestBlock>,
    usage: HashMap<(Tenant, ApiKeyId, Timestamp), Usage>,
}

impl OpenBatch {
    fn closed(self, node: NodeId, number: i64, at: Timestamp) -> RequestBatch {
        let usage = self.usage.into_iter().map(|((tenant, key, at), usage)| KeyMinute { tenant, key, at, usage });
        RequestBatch { node, number, at, blocks: self.blocks, usage: usage.collect() }
    }
}
