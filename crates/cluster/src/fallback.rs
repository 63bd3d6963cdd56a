//! What a node does while it can't ask what is shared: it counts alone, against its share of each limit.
//!
//! What must stay true: never more is let through than the limit and the nodes' shares together, however often what is shared comes
//! and goes; nothing is ever unlimited; and it comes back by itself. A share is the limit divided by the number of nodes, at least 1.
//!
//! - Rates and failed attempts: counted here in windows of their own. What one counted is given back to the one that counted it, which
//!   [`Rate::by_share`] tells.
//! - Slots: those of the sessions that run here, or were let in here, are always counted here too, so that the share knows of them. What
//!   was taken here alone is told as soon as what is shared can be asked again.
//! - Claims: always held here first, so that one node never works twice under one idempotency key. Two nodes could, while both are
//!   alone; the database then lets one of them through.
//! - News can't be announced alone. That is an error; listeners hear that something was lost once they can hear again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::BoxStream;
use kallglot_core::id::{RequestId, SessionId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::session::Tenant;

use crate::memory::Memory;
use crate::{Answer, Claim, Cluster, Heard, Lease, Rate, Result, Take, Unavailable, Window};

/// Most slots that are remembered to be told later. Others are told when they are renewed.
const OWED_MAX: usize = 65_536;

/// Counters that are shared, and those of this node for as long as the others can't be asked.
pub struct Fallback {
    shared: Arc<dyn Cluster>,
    local: Memory,
    nodes: Arc<AtomicU32>,
    /// Whether the last calls were answered alone.
    away: AtomicBool,
    /// Whether a call was answered by what is shared while `away`.
    answered: AtomicBool,
    fallbacks: AtomicU64,
    /// `fallbacks` when it was last swept.
    fallbacks_swept: AtomicU64,
    /// Slots that were taken here alone, and until when.
    owed: Mutex<HashMap<(Tenant, SessionId), i64>>,
    /// Whether there are any, so that finding none costs no lock.
    owes: AtomicBool,
    /// Held by who tells them.
    telling: futures_util::lock::Mutex<()>,
}

/// What memory answers, which is always there at once.
fn local<T>(answer: Answer<'_, Result<T>>) -> Result<T> {
    match answer {
        Answer::Now(answer) => answer,
        Answer::Later(_) => Err(Unavailable { cause: "memory does not answer at once".into() }),
    }
}

impl Fallback {
    /// `nodes` is how many nodes there are, this one among them, and is to be kept up to date.
    pub fn new(shared: Arc<dyn Cluster>, nodes: Arc<AtomicU32>) -> Self {
        Self {
            shared,
            local: Memory::default(),
            nodes,
            away: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            fallbacks: AtomicU64::new(0),
            fallbacks_swept: AtomicU64::new(0),
            owed: Mutex::default(),
            owes: AtomicBool::new(false),
            telling: futures_util::lock::Mutex::new(()),
        }
    }

    /// How many calls this node has answered alone since it was started.
    pub fn fallbacks(&self) -> u64 {
        self.fallbacks.load(Ordering::Relaxed)
    }

    /// Whether calls are answered alone at present, as of the last [`Cluster::sweep`].
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    fn share(&self, limit: u32) -> u32 {
        let nodes = self.nodes.load(Ordering::Relaxed).max(1);
        (limit / nodes).max(1).min(limit)
    }

    fn share_of(&self, take: &Take) -> Take {
        let own = take.own.map(|(key, limit)| (key, self.share(limit)));
        Take { tenant: take.tenant, limit: self.share(take.limit), own }
    }

    /// Notes whether what is shared was there, and says so when that has changed: once, not for each call.
    fn note<T>(&self, answer: &Result<T>) {
        match answer {
            Ok(_) => {
                if self.away.load(Ordering::Relaxed) {
                    self.answered.store(true, Ordering::Relaxed);
                }
            }
            Err(unavailable) => {
                self.fallbacks.fetch_add(1, Ordering::Relaxed);
                self.answered.store(false, Ordering::Relaxed);
                if !self.away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        cause = unavailable.cause,
                        "limits are counted by this node alone, against its share"
                    );
                }
            }
        }
    }

    /// What is shared says `shared`; `then` makes the answer of it, or of its absence.
    fn answer<'a, S: 'a, T>(
        &'a self,
        shared: Answer<'a, Result<S>>,
        then: impl FnOnce(&'a Self, Option<S>) -> Result<T> + Send + 'a,
    ) -> Answer<'a, Result<T>> {
        match shared {
            Answer::Now(answer) => {
                self.note(&answer);
                Answer::Now(then(self, answer.ok()))
            }
            Answer::Later(answer) => Answer::Later(Box::pin(async move {
                let answer = answer.await;
                self.note(&answer);
                then(self, answer.ok())
            })),
        }
    }

    fn owed(&self) -> MutexGuard<'_, HashMap<(Tenant, SessionId), i64>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owe(&self, tenant: Tenant, session: SessionId, until_ms: i64) {
        let mut owed = self.owed();
        if owed.len() < OWED_MAX || owed.contains_key(&(tenant, session)) {
            owed.insert((tenant, session), until_ms);
            self.owes.store(true, Ordering::Relaxed);
        }
    }

    fn owe_no_more(&self, keep: impl Fn(&(Tenant, SessionId), i64) -> bool) {
        let mut owed = self.owed();
        owed.retain(|slot, until_ms| keep(slot, *until_ms));
        self.owes.store(!owed.is_empty(), Ordering::Relaxed);
    }

    /// Tells what is shared which slots were taken here alone. All get the latest of their ends, so that it is one call; a slot that is
    /// given back meanwhile is held until then. Who comes while they are being told does not wait.
    async fn tell(&self, now_ms: i64) {
        let Some(_telling) = self.telling.try_lock() else { return };
        self.owe_no_more(|_, until_ms| now_ms < until_ms);
        let owed = self.owed().clone();
        let Some(until_ms) = owed.values().copied().max() else { return };
        let slots: Vec<_> = owed.keys().copied().collect();
        let told = self.shared.renew_leases(&slots, until_ms, now_ms).get().await;
        self.note(&told);
        if told.is_ok() {
            self.owe_no_more(|slot, until_ms| owed.get(slot) != Some(&until_ms));
        }
    }

    fn take_lease_told(
        &self,
        tenant: Tenant,
        session: SessionId,
        limit: u32,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Option<Lease>>> {
        let shared = self.shared.take_lease(tenant, session, limit, until_ms, now_ms);
        self.answer(shared, move |this, shared| match shared {
            Some(lease) => {
                if lease.is_some_and(|lease| lease.taken) {
                    local(this.local.restore_leases(tenant, &[(session, until_ms)], now_ms))?;
                }
                Ok(lease)
            }
            None => {
                let share = this.share(limit);
                let lease = local(this.local.take_lease(tenant, session, share, until_ms, now_ms))?;
                if lease.is_some_and(|lease| lease.taken) {
                    this.owe(tenant, session, until_ms);
                }
                Ok(lease)
            }
        })
    }
}

impl Cluster for Fallback {
    fn take(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        let take = *take;
        self.answer(self.shared.take(&take, now_ms), move |this, shared| match shared {
            Some(rate) => Ok(rate),
            None => Ok(Rate { by_share: true, ..local(this.local.take(&this.share_of(&take), now_ms))? }),
        })
    }

    /// What can't be given back now stays counted until its window is over.
    fn give_back(&self, take: &Take, rate: &Rate, now_ms: i64) -> Answer<'_, Result<Rate>> {
        if rate.by_share {
            let answer = local(self.local.give_back(&self.share_of(take), rate, now_ms));
            return Answer::Now(answer.map(|rate| Rate { by_share: true, ..rate }));
        }
        let before = Rate { allowed: false, ..*rate };
        self.answer(self.shared.give_back(take, rate, now_ms), move |_, shared| Ok(shared.unwrap_or(before)))
    }

    fn look(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        let take = *take;
        self.answer(self.shared.look(&take, now_ms), move |this, shared| match shared {
            Some(rate) => Ok(rate),
            None => Ok(Rate { by_share: true, ..local(this.local.look(&this.share_of(&take), now_ms))? }),
        })
    }

    fn take_lease(
        &self,
        tenant: Tenant,
        session: SessionId,
        limit: u32,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Option<Lease>>> {
        if !self.owes.load(Ordering::Relaxed) {
            return self.take_lease_told(tenant, session, limit, until_ms, now_ms);
        }
        Answer::Later(Box::pin(async move {
            self.tell(now_ms).await;
            self.take_lease_told(tenant, session, limit, until_ms, now_ms).get().await
        }))
    }

    /// Nothing has to be restored to be counted alone.
    fn restore_leases(&self, tenant: Tenant, leases: &[(SessionId, i64)], now_ms: i64) -> Answer<'_, Result<()>> {
        self.answer(self.shared.restore_leases(tenant, leases, now_ms), |_, _| Ok(()))
    }

    fn renew_leases(&self, sessions: &[(Tenant, SessionId)], until_ms: i64, now_ms: i64) -> Answer<'_, Result<()>> {
        if let Err(unavailable) = local(self.local.renew_leases(sessions, until_ms, now_ms)) {
            return Answer::Now(Err(unavailable));
        }
        let sessions = sessions.to_vec();
        Answer::Later(Box::pin(async move {
            if self.owes.load(Ordering::Relaxed) {
                self.tell(now_ms).await;
            }
            self.answer(self.shared.renew_leases(&sessions, until_ms, now_ms), |_, _| Ok(())).get().await
        }))
    }

    /// A slot that can't be given back there lapses there, since nobody renews it.
    fn release_lease(&self, tenant: Tenant, session: SessionId) -> Answer<'_, Result<()>> {
        if self.owes.load(Ordering::Relaxed) {
            self.owe_no_more(|slot, _| *slot != (tenant, session));
        }
        if let Err(unavailable) = local(self.local.release_lease(tenant, session)) {
            return Answer::Now(Err(unavailable));
        }
        self.answer(self.shared.release_lease(tenant, session), |_, _| Ok(()))
    }

    fn leases_in_use(&self, tenant: Tenant, now_ms: i64) -> Answer<'_, Result<Option<u32>>> {
        self.answer(self.shared.leases_in_use(tenant, now_ms), move |this, shared| match shared {
            Some(in_use) => Ok(in_use),
            None => local(this.local.leases_in_use(tenant, now_ms)),
        })
    }

    fn claim(
        &self,
        tenant: Tenant,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        request: RequestId,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Claim>> {
        match local(self.local.claim(tenant, key, fingerprint, request, until_ms, now_ms)) {
            Ok(Claim::Taken) => {}
            other => return Answer::Now(other),
        }
        let held = key.clone();
        let shared = self.shared.claim(tenant, key, fingerprint, request, until_ms, now_ms);
        self.answer(shared, move |this, shared| {
            let claim = shared.unwrap_or(Claim::Taken);
            if claim != Claim::Taken {
                local(this.local.release_claim(tenant, &held, request))?;
            }
            Ok(claim)
        })
    }

    fn claimed_by(&self, tenant: Tenant, key: &IdempotencyKey, now_ms: i64) -> Answer<'_, Result<Option<RequestId>>> {
        match local(self.local.claimed_by(tenant, key, now_ms)) {
            Ok(None) => self.answer(self.shared.claimed_by(tenant, key, now_ms), |_, shared| Ok(shared.flatten())),
            known => Answer::Now(known),
        }
    }

    fn release_claim(&self, tenant: Tenant, key: &IdempotencyKey, request: RequestId) -> Answer<'_, Result<()>> {
        if let Err(unavailable) = local(self.local.release_claim(tenant, key, request)) {
            return Answer::Now(Err(unavailable));
        }
        self.answer(self.shared.release_claim(tenant, key, request), |_, _| Ok(()))
    }

    fn count_failure(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        self.answer(self.shared.count_failure(address, limit, now_ms), move |this, shared| match shared {
            Some(window) => Ok(window),
            None => local(this.local.count_failure(address, this.share(limit), now_ms)),
        })
    }

    fn failures(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        self.answer(self.shared.failures(address, limit, now_ms), move |this, shared| match shared {
            Some(window) => Ok(window),
            None => local(this.local.failures(address, this.share(limit), now_ms)),
        })
    }

    fn announce(&self, news: &str) -> Answer<'_, Result<()>> {
        self.shared.announce(news)
    }

    fn listen(&self) -> BoxStream<'static, Heard> {
        self.shared.listen()
    }

    /// Whether what is shared can be asked: the node works without it, but not for all nodes.
    fn check(&self) -> Answer<'_, Result<()>> {
        self.shared.check()
    }

    /// Says too that what is shared is back, once nothing has been answered alone since the last time: so somebody who comes and goes
    /// is not in the log with each coming.
    fn sweep(&self, now_ms: i64) {
        self.local.sweep(now_ms);
        self.shared.sweep(now_ms);
        if self.owes.load(Ordering::Relaxed) {
            self.owe_no_more(|_, until_ms| now_ms < until_ms);
        }
        let fallbacks = self.fallbacks();
        let quiet = self.fallbacks_swept.swap(fallbacks, Ordering::Relaxed) == fallbacks;
        if quiet && self.is_away() && self.answered.swap(false, Ordering::Relaxed) {
            self.away.store(false, Ordering::Relaxed);
            tracing::info!(fallbacks, "limits are counted by all nodes together again");
        }
    }
}

#[cfg(test)]
mod tests;
