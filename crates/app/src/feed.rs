//! Who waits for events on this node, and the one task that wakes them.
//!
//! Events are read from the database by whoever waits, from where it was; what goes through here is only that there are new ones. So
//! a client can wait on any node, nothing is lost when somebody is slow or the node dies, and the database is asked once per tick
//! whatever the number of those who wait, and not at all when nobody does.
//!
//! What must stay true: who registers ([`Feed::wait_for`]) before it reads misses nothing; who is let in by a key is told when that key or
//! its organization may have changed, and asks whether it still is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kallglot_core::api_key::ApiKey;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{ApiKeyId, OrganizationId, SessionId};
use kallglot_core::session::Tenant;
use kallglot_storage::{EventMark, GateChange, Storage, StorageError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::gate::cache::Known;
use crate::{App, Error};

/// Event streams that one organization may have open on one node; a further one is refused with 429.
pub const STREAMS_MAX: u32 = 100;
/// How often it is looked for new events while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(75);
/// Marks that one look reads; when there are more, the next look follows at once.
const MARKS_MAX: u32 = 1000;

/// Who waits on this node.
#[derive(Default)]
pub struct Feed {
    waiting: Mutex<Waiting>,
    somebody: Notify,
    refused: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    by_number: HashMap<u64, Arc<Waiter>>,
    by_organization: HashMap<OrganizationId, u32>,
    next: u64,
}

/// For what somebody waits, and what it is told.
struct Waiter {
    tenant: Tenant,
    session: Option<SessionId>,
    key: ApiKeyId,
    /// The last place among all events that it was told of; 0 before it was told of any.
    told: AtomicI64,
    /// Whether its key or its organization may have changed since it was last asked.
    changed: AtomicBool,
    wake: Notify,
}

/// Somebody's place in the feed. Dropping it gives the place back.
pub struct Place {
    feed: Arc<Feed>,
    number: u64,
    waiter: Arc<Waiter>,
}

impl Feed {
    /// Waits, by the authority of `known`, for the tenant's events, or for those of one session of it.
    ///
    /// # Errors
    /// `rate_limit_exceeded` when the organization waits [`STREAMS_MAX`] times on this node already.
    pub fn wait_for(self: &Arc<Self>, known: &Known, session: Option<SessionId>) -> Result<Place, Error> {
        let tenant = known.key.tenant();
        let mut waiting = self.lock();
        let streams = waiting.by_organization.entry(tenant.organization).or_default();
        if *streams >= STREAMS_MAX {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let message = format!(
                "The organization has {STREAMS_MAX} event streams open on this server already. Close one, or try again later."
            );
            return Err(Error::with(ErrorCode::RateLimitExceeded, message).retry_after(5));
        }
        *streams += 1;
        let number = waiting.next;
        waiting.next += 1;
        let waiter = Arc::new(Waiter {
            tenant,
            session,
            key: known.key.id,
            told: AtomicI64::new(0),
            changed: AtomicBool::new(false),
            wake: Notify::new(),
        });
        waiting.by_number.insert(number, Arc::clone(&waiter));
        drop(waiting);
        self.somebody.notify_one();
        Ok(Place { feed: Arc::clone(self), number, waiter })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().by_number.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were refused since the start because their organization had too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Tells those whose key or organization has changed.
    pub(crate) fn hear(&self, changes: &[GateChange]) {
        let concerns = |waiter: &Waiter| {
            changes.iter().any(|change| match change {
                GateChange::Key(key) | GateChange::CloseStreams(key) => waiter.key == *key,
                GateChange::Organization(organization) => waiter.tenant.organization == *organization,
                GateChange::EndSession(..) | GateChange::Record(..) => false,
            })
        };
        self.each(|waiter| {
            if concerns(waiter) {
                waiter.changed.store(true, Ordering::Relaxed);
                waiter.wake.notify_one();
            }
        });
    }

    /// Tells everybody: what has changed is not known.
    pub(crate) fn hear_anything(&self) {
        self.each(|waiter| {
            waiter.changed.store(true, Ordering::Relaxed);
            waiter.wake.notify_one();
        });
    }

    /// Wakes those for whom one of these events is.
    fn tell(&self, marks: &[EventMark]) {
        self.each(|waiter| {
            let is_for = |mark: &&EventMark| {
                mark.tenant == waiter.tenant && (waiter.session.is_none() || mark.session == waiter.session)
            };
            if let Some(last) = marks.iter().rev().find(is_for) {
                waiter.told.store(last.place, Ordering::Relaxed);
                waiter.wake.notify_one();
            }
        });
    }

    /// Wakes everybody: there may be events up to this place of which nobody was told.
    fn tell_everybody(&self, place: i64) {
        self.each(|waiter| {
            waiter.told.store(place, Ordering::Relaxed);
            waiter.wake.notify_one();
        });
    }

    fn each(&self, tell: impl FnMut(&Arc<Waiter>)) {
        self.lock().by_number.values().for_each(tell);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until there may be something new, or the key or its organization has changed. May be early, never late.
    pub async fn woken(&self) {
        self.waiter.wake.notified().await;
    }

    /// Whether `known`, by whose authority this one waits, still lets in, for all that has been heard of changes.
    ///
    /// # Errors
    /// Storage's: it can't be said now, and nothing is to be told until it can.
    pub async fn still_lets_in(&self, storage: &dyn Storage, known: &Known) -> Result<bool, StorageError> {
        if !self.waiter.changed.swap(false, Ordering::Relaxed) {
            return Ok(true);
        }
        let asked = async {
            let key = storage.key(known.key.tenant(), known.key.id).await?;
            let organization = storage.organization(known.organization.id).await?;
            Ok((key, organization))
        };
        match asked.await {
            Ok((Some(key), Some(organization))) => {
                // That it was used is no change.
                let (last_used_at, old_secret_last_used_at) =
                    (known.key.last_used_at, known.key.old_secret_last_used_at);
                Ok(organization.active && ApiKey { last_used_at, old_secret_last_used_at, ..key } == known.key)
            }
            Ok(_) => Ok(false),
            Err(error) => {
                self.waiter.changed.store(true, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The last place among all events that this one was told of; 0 before it was told of any.
    pub fn told(&self) -> i64 {
        self.waiter.told.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.feed.lock();
        waiting.by_number.remove(&self.number);
        let organization = self.waiter.tenant.organization;
        if let Some(streams) = waiting.by_organization.get_mut(&organization) {
            *streams -= 1;
            if *streams == 0 {
                waiting.by_organization.remove(&organization);
            }
        }
    }
}

/// Wakes who waits, as long as somebody does; ends with `stop`.
pub(crate) async fn wake(app: Arc<App>, stop: CancellationToken) {
    let feed = &app.feed;
    let mut place = None;
    loop {
        if feed.is_empty() {
            place = None;
            tokio::select! {
                () = feed.somebody.notified() => {}
                () = stop.cancelled() => return,
            }
        }
        match look(&app, &mut place).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "new events could not be looked for; it is tried again"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks once; true when there are more.
async fn look(app: &App, place: &mut Option<i64>) -> Result<bool, StorageError> {
    let Some(after) = *place else {
        // What was raised between who registered and now is before this place.
        let last = app.storage.last_event_place().await?;
        *place = Some(last);
        app.feed.tell_everybody(last);
        return Ok(false);
    };
    let marks = app.storage.event_marks(after, MARKS_MAX).await?;
    if let Some(last) = marks.last() {
        app.feed.tell(&marks);
        *place = Some(last.place);
    }
    Ok(marks.len() >= MARKS_MAX as usize)
}
