//! What the server does by itself: idle sessions end, slots are prolonged, changes by other processes take effect ([`crate::node`]), what waits
//! in memory or on disk is stored, what has had its time is forgotten.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kallglot_core::session::EndReason;
use kallglot_storage::{GateChange, StorageError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::spool::Replay;
use crate::node::{self, AWAY_AFTER};
use crate::request_log::FLUSH_AT;
use crate::{App, Error, alerts, analysis, credit_news, feed, mail, recordings};

/// How often idle sessions are looked for, and slots are prolonged: several times within [`crate::leases::LEASE_MS`].
const IDLE_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// Sessions that one look ends at most; the next look finds the rest.
const IDLE_BATCH_MAX: u32 = 500;
/// How often it is looked whether the database is back.
const REPLAY_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether much waits to be stored, and after how many looks it is stored though it is little: requests after 5 s,
/// uses of keys, of which there may be one for each key, after a minute.
const STORE_LOOK_EVERY: Duration = Duration::from_millis(100);
const REQUESTS_LOOKS: u32 = 50;
const USES_LOOKS: u32 = 600;
/// How often what has had its time is forgotten, and how many rows of a kind at once.
const FORGET_EVERY: SignedDuration = SignedDuration::from_secs(60);
const FORGET_ROWS_MAX: u32 = 10_000;

/// Starts all of it; it ends with `stop`.
pub fn start(app: &Arc<App>, tasks: &TaskTracker, stop: &CancellationToken) {
    tasks.spawn(alerts::watch::run(Arc::clone(app), stop.clone()));
    tasks.spawn(analysis::worker::run(Arc::clone(app), stop.clone()));
    tasks.spawn(end_idle_sessions(Arc::clone(app), stop.clone()));
    tasks.spawn(node::beat(Arc::clone(app), stop.clone()));
    tasks.spawn(node::hear_changes(Arc::clone(app), stop.clone()));
    tasks.spawn(credit_news::tell(Arc::clone(app), stop.clone()));
    tasks.spawn(replay_spool(Arc::clone(app), stop.clone()));
    tasks.spawn(store_what_waits(Arc::clone(app), stop.clone()));
    tasks.spawn(feed::wake(Arc::clone(app), stop.clone()));
    tasks.spawn(forget(Arc::clone(app), stop.clone()));
    tasks.spawn(mail::deliver(Arc::clone(app), stop.clone()));
    tasks.spawn(recordings::work(Arc::clone(app), stop.clone()));
}

/// Ends sessions in which nothing has happened for the configured time, and prolongs the slots of the others.
async fn end_idle_sessions(app: Arc<App>, stop: CancellationToken) {
    loop {
        let now = app.clock.now();
        if let Err(error) = app.renew_slots().await {
            tracing::error!(%error, "the slots of live sessions could not be prolonged");
        }
        let idle = SignedDuration::from_secs(i64::from(app.config.session_idle_s));
        if let Ok(before) = now.checked_sub(idle) {
            app.hub.end_idle(before).await;
            match app.storage.idle_sessions(before, IDLE_BATCH_MAX, app.node.id, AWAY_AFTER).await {
                Ok(sessions) => {
                    for session in sessions.iter().filter(|session| !app.hub.is_live(session.id)) {
                        if let Err(error) = app.hub.end(session.tenant, session.id, EndReason::Timeout).await {
                            tracing::error!(session = %session.id, %error, "an idle session could not be ended");
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "idle sessions could not be looked for"),
            }
        }
        app.cluster.sweep(now.as_millisecond());
        app.keys.sweep();
        let next = now.checked_add(IDLE_EVERY).unwrap_or(now);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Stores what was said while the database was away, once it is back.
async fn replay_spool(app: Arc<App>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = app.spool.came() => {}
            () = stop.cancelled() => return,
        }
        let mut ended = Vec::new();
        let replayed = app.spool.replay(app.storage.as_ref(), &mut ended).await;
        for (session, reason) in ended {
            app.changed(&[GateChange::EndSession(session, reason)]).await;
        }
        match replayed {
            Ok(Replay::Done(0)) => {}
            Ok(Replay::Done(writes)) => tracing::info!(writes, "what was said while the database was away is stored"),
            Ok(Replay::Away) => {}
            Err(error) => tracing::error!(%error, "what was said while the database was away can't be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(REPLAY_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Stores key uses and the request log in batches, and what is left at the end.
async fn store_what_waits(app: Arc<App>, stop: CancellationToken) {
    let mut looks = 0u32;
    loop {
        tokio::select! {
            () = tokio::time::sleep(STORE_LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(USES_LOOKS)
            && let Err(error) = app.store_uses().await
        {
            tracing::error!(%error, "uses of keys could not be stored");
        }
        if (looks.is_multiple_of(REQUESTS_LOOKS) || app.request_log.waiting() >= FLUSH_AT)
            && let Err(error) = app.store_requests().await
        {
            tracing::error!(%error, "the request log could not be stored; it waits on");
        }
    }
}

/// Deletes what has had its time.
async fn forget(app: Arc<App>, stop: CancellationToken) {
    loop {
        let now = app.clock.now();
        loop {
            match app.storage.forget(now, FORGET_ROWS_MAX).await {
                Ok(0) => break,
                Ok(rows) => tracing::debug!(rows, "what has had its time was deleted"),
                Err(error) => {
                    tracing::error!(%error, "what has had its time could not be deleted");
                    break;
                }
            }
            if stop.is_cancelled() {
                return;
            }
        }
        let next = now.checked_add(FORGET_EVERY).unwrap_or(now);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl App {
    /// Stores the uses of keys that are not in the database yet.
    async fn store_uses(&self) -> Result<(), StorageError> {
        let uses = self.keys.take_uses();
        if uses.is_empty() { Ok(()) } else { self.storage.note_key_uses(&uses).await }
    }

    async fn store_requests(&self) -> Result<(), StorageError> {
        self.request_log.flush(self.storage.as_ref(), self.node.id, self.clock.now()).await
    }

    /// Stores the uses of keys and the requests that are not in the database yet: at the end.
    ///
    /// # Errors
    /// Storage's; the requests wait on.
    pub async fn store_what_waits(&self) -> Result<(), Error> {
        self.store_uses().await?;
        Ok(self.store_requests().await?)
    }
}
