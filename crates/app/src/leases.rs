//! Concurrent sessions (contract section 6): each holds a slot of its organization, by a lease that lapses unless it is prolonged.

use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::{Session, SessionState};

use crate::{App, Error};

/// How long a connected session's lease lasts: a crashed node's slots are free after that.
pub const LEASE_MS: i64 = 30_000;
/// Open sessions that are read at once at the start.
const RESTORE_BATCH: u32 = 1000;
/// When it makes sense to ask for a slot again, in seconds: calls end at any time.
const RETRY_AFTER_S: u32 = 5;

impl App {
    /// Step 9 of the gate: takes a slot for a session that is about to be made. Answers with how many are in use then.
    ///
    /// # Errors
    /// `concurrent_session_limit_exceeded`.
    pub async fn take_slot(&self, session: &Session, limit: u32) -> Result<u32, Error> {
        self.take_slot_until(session, limit, session.joinable_until.as_millisecond()).await
    }

    /// Takes the slot of a session that a stream is about to join; it may have lapsed.
    ///
    /// # Errors
    /// `concurrent_session_limit_exceeded`.
    pub async fn take_slot_for_stream(&self, session: &Session, limit: u32) -> Result<u32, Error> {
        self.take_slot_until(session, limit, self.clock.now().as_millisecond() + LEASE_MS).await
    }

    async fn take_slot_until(&self, session: &Session, limit: u32, until_ms: i64) -> Result<u32, Error> {
        let now_ms = self.clock.now().as_millisecond();
        let lease = self.cluster.take_lease(session.tenant, session.id, limit, until_ms, now_ms).get().await?;
        if lease.taken {
            return Ok(lease.in_use);
        }
        let message = format!(
            "The organization has {} of {limit} concurrent sessions. End one, or wait until one ends.",
            lease.in_use
        );
        Err(Error::with(ErrorCode::ConcurrentSessionLimitExceeded, message).retry_after(RETRY_AFTER_S))
    }

    /// Gives a session's slot back. If that fails, it lapses.
    pub async fn give_slot_back(&self, session: &Session) {
        if let Err(error) = self.cluster.release_lease(session.tenant, session.id).get().await {
            tracing::warn!(session = %session.id, %error, "a session's slot could not be given back; it lapses by itself");
        }
    }

    /// Counts the sessions that were open when the server stopped: those that nobody has joined until their token expires, the others as if
    /// they had just been heard of, since their clients may come back.
    ///
    /// # Errors
    /// Storage's, and what nodes share can't be asked.
    pub async fn restore_slots(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let open = self.storage.open_sessions(after, RESTORE_BATCH).await?;
            let Some(last) = open.last() else { return Ok(()) };
            after = Some(last.id);
            let now_ms = self.clock.now().as_millisecond();
            for session in &open {
                let until_ms = match session.state {
                    SessionState::Created => session.joinable_until.as_millisecond(),
                    _ => now_ms + LEASE_MS,
                };
                if until_ms > now_ms {
                    self.cluster.renew_leases(&[(session.tenant, session.id)], until_ms).get().await?;
                }
            }
        }
    }

    /// Prolongs the slots of the sessions that are live in this process.
    ///
    /// # Errors
    /// What nodes share can't be asked.
    pub async fn renew_slots(&self) -> Result<(), Error> {
        let until_ms = self.clock.now().as_millisecond() + LEASE_MS;
        Ok(self.cluster.renew_leases(&self.hub.live_sessions(), until_ms).get().await?)
    }
}
