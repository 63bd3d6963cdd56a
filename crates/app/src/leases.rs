//! Concurrent sessions (contract section 6): each holds a slot of its organization, by a lease that lapses unless it is prolonged.

use kallglot_cluster::Unavailable;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::{Session, SessionState, Tenant};

use crate::{App, Error};

/// How long a connected session's lease lasts: a crashed node's slots are free after that.
pub const LEASE_MS: i64 = 30_000;
/// Open sessions that are read at once at the start.
const RESTORE_BATCH: u32 = 1000;
/// When it makes sense to ask for a slot again, in seconds: calls end at any time.
const RETRY_AFTER_S: u32 = 5;

/// Until when a session that was open before holds its slot, unless it is heard of.
fn held_until_ms(session: &Session, now_ms: i64) -> i64 {
    match session.state {
        SessionState::Created => session.joinable_until.as_millisecond(),
        _ => now_ms + LEASE_MS,
    }
}

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
        let take = || self.cluster.take_lease(session.tenant, session.id, limit, until_ms, now_ms);
        let lease = match take().get().await? {
            Some(lease) => Some(lease),
            None => {
                self.restore_slots_of(session.tenant).await?;
                take().get().await?
            }
        };
        let forgotten = || Unavailable { cause: "the counters forget what they are told".into() };
        let lease = lease.ok_or_else(forgotten)?;
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
                let until_ms = held_until_ms(session, now_ms);
                if until_ms > now_ms {
                    self.cluster.renew_leases(&[(session.tenant, session.id)], until_ms, now_ms).get().await?;
                }
            }
        }
    }

    /// Tells counters that were restarted which of an organization's sessions are open, as at the start.
    async fn restore_slots_of(&self, tenant: Tenant) -> Result<(), Error> {
        let (mut after, mut leases) = (None, Vec::new());
        let now_ms = self.clock.now().as_millisecond();
        loop {
            let open = self.storage.open_sessions_of(tenant, after, RESTORE_BATCH).await?;
            let Some(last) = open.last() else { break };
            after = Some(last.id);
            leases.extend(open.iter().map(|session| (session.id, held_until_ms(session, now_ms))));
        }
        leases.retain(|(_, until_ms)| *until_ms > now_ms);
        Ok(self.cluster.restore_leases(tenant, &leases, now_ms).get().await?)
    }

    /// How many slots are in use.
    ///
    /// # Errors
    /// What nodes share can't be asked; storage's.
    pub async fn slots_in_use(&self, tenant: Tenant) -> Result<u32, Error> {
        let now_ms = self.clock.now().as_millisecond();
        let count = || self.cluster.leases_in_use(tenant, now_ms);
        if let Some(in_use) = count().get().await? {
            return Ok(in_use);
        }
        self.restore_slots_of(tenant).await?;
        Ok(count().get().await?.unwrap_or(0))
    }

    /// Prolongs the slots of the sessions that are live in this process.
    ///
    /// # Errors
    /// What nodes share can't be asked.
    pub async fn renew_slots(&self) -> Result<(), Error> {
        let now_ms = self.clock.now().as_millisecond();
        Ok(self.cluster.renew_leases(&self.hub.live_sessions(), now_ms + LEASE_MS, now_ms).get().await?)
    }
}
