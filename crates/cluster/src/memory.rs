//! What a server that runs alone counts by itself: in memory, lost with the process. Leases are built up again from the database at the
//! start; the other counts begin anew.
//!
//! Everything of one tenant is under one lock, which is never held across an await, so that "both buckets or neither" is one step.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kallglot_core::id::{ApiKeyId, RequestId, SessionId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::session::Tenant;

use crate::{Answer, Claim, Cluster, Heard, Lease, Rate, Result, Take, Unavailable, WINDOW_MS, Window, network_of};

/// Locks per kind of count: two requests of different tenants seldom meet at one.
const SHARDS: usize = 64;
/// Most tenants (or clients, or keys) per shard, some millions in all. When they are full of what still counts, more are
/// [`Unavailable`]: a wrong "yes" is worse.
const ENTRIES_MAX: usize = 65_536;
/// Most clients per shard whose failures are counted. When full, the counts begin anew: a flood from that many addresses is not one
/// that counting by address stops.
const CLIENTS_MAX: usize = 4_096;

/// A map cut into pieces with a lock each.
struct Sharded<K, V> {
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<K, V>>]>,
}

impl<K: Hash + Eq, V> Sharded<K, V> {
    fn new() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn of(&self, key: &K) -> MutexGuard<'_, HashMap<K, V>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what `keep` says, one shard after the other.
    fn retain(&self, mut keep: impl FnMut(&mut V) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, value| keep(value));
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }
}

/// A counter that begins anew when its window is over.
#[derive(Clone, Copy, Default)]
struct Counter {
    used: u32,
    /// 0 for no window.
    ends_at_ms: i64,
}

impl Counter {
    fn window(self, limit: u32, now_ms: i64) -> Window {
        if now_ms < self.ends_at_ms {
            Window { limit, used: self.used, ends_at_ms: self.ends_at_ms }
        } else {
            Window { limit, used: 0, ends_at_ms: now_ms + WINDOW_MS }
        }
    }

    fn count(&mut self, now_ms: i64) {
        if now_ms >= self.ends_at_ms {
            *self = Self { used: 0, ends_at_ms: now_ms + WINDOW_MS };
        }
        self.used = self.used.saturating_add(1);
    }

    fn give_back(&mut self, window: Option<Window>) {
        if window.is_some_and(|window| window.ends_at_ms == self.ends_at_ms) {
            self.used = self.used.saturating_sub(1);
        }
    }

    fn runs(self, now_ms: i64) -> bool {
        now_ms < self.ends_at_ms
    }
}

#[derive(Default)]
struct Buckets {
    tenant: Counter,
    own: HashMap<ApiKeyId, Counter>,
}

impl Buckets {
    fn rate(&self, take: &Take, allowed: bool, now_ms: i64) -> Rate {
        let own = take.own.map(|(key, limit)| self.own.get(&key).copied().unwrap_or_default().window(limit, now_ms));
        Rate { tenant: self.tenant.window(take.limit, now_ms), own, allowed, by_share: false }
    }
}

/// The slots of one tenant, by their ends too, so that lapsed ones are found without looking at all.
#[derive(Default)]
struct Slots {
    until_ms: HashMap<SessionId, i64>,
    by_end: BTreeSet<(i64, SessionId)>,
}

impl Slots {
    fn lapse(&mut self, now_ms: i64) {
        while let Some(&(until_ms, session)) = self.by_end.first()
            && until_ms <= now_ms
        {
            self.by_end.pop_first();
            self.until_ms.remove(&session);
        }
    }

    fn hold(&mut self, session: SessionId, until_ms: i64) {
        match self.until_ms.entry(session) {
            Entry::Occupied(mut held) if *held.get() < until_ms => {
                self.by_end.remove(&(*held.get(), session));
                held.insert(until_ms);
            }
            Entry::Occupied(_) => return,
            Entry::Vacant(free) => {
                free.insert(until_ms);
            }
        }
        self.by_end.insert((until_ms, session));
    }

    fn release(&mut self, session: SessionId) {
        if let Some(until_ms) = self.until_ms.remove(&session) {
            self.by_end.remove(&(until_ms, session));
        }
    }

    fn in_use(&self) -> u32 {
        u32::try_from(self.until_ms.len()).unwrap_or(u32::MAX)
    }
}

struct Claimed {
    request: RequestId,
    fingerprint: Fingerprint,
    until_ms: i64,
}

/// The counts of a server that runs alone.
pub struct Memory {
    buckets: Sharded<Tenant, Buckets>,
    slots: Sharded<Tenant, Slots>,
    claims: Sharded<(Tenant, IdempotencyKey), Claimed>,
    failures: Sharded<IpAddr, Counter>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { buckets: Sharded::new(), slots: Sharded::new(), claims: Sharded::new(), failures: Sharded::new() }
    }
}

fn full(what: &str) -> Unavailable {
    Unavailable { cause: format!("more {what} at once than this server counts") }
}

impl Memory {
    fn take_now(&self, take: &Take, now_ms: i64) -> Result<Rate> {
        let mut shard = self.buckets.of(&take.tenant);
        if shard.len() >= ENTRIES_MAX && !shard.contains_key(&take.tenant) {
            shard.retain(|_, buckets| buckets.tenant.runs(now_ms));
            if shard.len() >= ENTRIES_MAX {
                return Err(full("organizations"));
            }
        }
        let buckets = shard.entry(take.tenant).or_default();
        let before = buckets.rate(take, false, now_ms);
        if before.tenant.remaining() == 0 || before.own.is_some_and(|own| own.remaining() == 0) {
            return Ok(before);
        }
        buckets.tenant.count(now_ms);
        if let Some((key, _)) = take.own {
            buckets.own.entry(key).or_default().count(now_ms);
        }
        Ok(buckets.rate(take, true, now_ms))
    }
}

impl Cluster for Memory {
    fn take(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        Answer::Now(self.take_now(take, now_ms))
    }

    fn give_back(&self, take: &Take, rate: &Rate, now_ms: i64) -> Answer<'_, Result<Rate>> {
        let mut shard = self.buckets.of(&take.tenant);
        let Some(buckets) = shard.get_mut(&take.tenant) else { return Answer::Now(Ok(*rate)) };
        if rate.allowed {
            buckets.tenant.give_back(Some(rate.tenant));
            if let Some(own) = take.own.and_then(|(key, _)| buckets.own.get_mut(&key)) {
                own.give_back(rate.own);
            }
        }
        Answer::Now(Ok(buckets.rate(take, false, now_ms)))
    }

    fn look(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        let shard = self.buckets.of(&take.tenant);
        let none = Buckets::default();
        Answer::Now(Ok(shard.get(&take.tenant).unwrap_or(&none).rate(take, false, now_ms)))
    }

    fn take_lease(
        &self,
        tenant: Tenant,
        session: SessionId,
        limit: u32,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Option<Lease>>> {
        let mut shard = self.slots.of(&tenant);
        let slots = shard.entry(tenant).or_default();
        slots.lapse(now_ms);
        let taken = slots.until_ms.contains_key(&session) || slots.in_use() < limit;
        if taken {
            slots.hold(session, until_ms);
        }
        Answer::Now(Ok(Some(Lease { taken, in_use: slots.in_use() })))
    }

    fn restore_leases(&self, tenant: Tenant, leases: &[(SessionId, i64)], now_ms: i64) -> Answer<'_, Result<()>> {
        let mut shard = self.slots.of(&tenant);
        let slots = shard.entry(tenant).or_default();
        slots.lapse(now_ms);
        for &(session, until_ms) in leases.iter().filter(|(_, until_ms)| now_ms < *until_ms) {
            slots.hold(session, until_ms);
        }
        Answer::Now(Ok(()))
    }

    fn renew_leases(&self, sessions: &[(Tenant, SessionId)], until_ms: i64, now_ms: i64) -> Answer<'_, Result<()>> {
        for (tenant, session) in sessions.iter().filter(|_| now_ms < until_ms) {
            self.slots.of(tenant).entry(*tenant).or_default().hold(*session, until_ms);
        }
        Answer::Now(Ok(()))
    }

    fn release_lease(&self, tenant: Tenant, session: SessionId) -> Answer<'_, Result<()>> {
        if let Some(slots) = self.slots.of(&tenant).get_mut(&tenant) {
            slots.release(session);
        }
        Answer::Now(Ok(()))
    }

    fn leases_in_use(&self, tenant: Tenant, now_ms: i64) -> Answer<'_, Result<Option<u32>>> {
        let mut shard = self.slots.of(&tenant);
        Answer::Now(Ok(Some(shard.get_mut(&tenant).map_or(0, |slots| {
            slots.lapse(now_ms);
            slots.in_use()
        }))))
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
        let name = (tenant, key.clone());
        let mut shard = self.claims.of(&name);
        if shard.len() >= ENTRIES_MAX {
            return Answer::Now(Err(full("idempotency keys")));
        }
        let claimed = Claimed { request, fingerprint, until_ms };
        Answer::Now(Ok(match shard.entry(name) {
            Entry::Occupied(held) if now_ms < held.get().until_ms => {
                Claim::Held { request: held.get().request, fingerprint: held.get().fingerprint }
            }
            Entry::Occupied(mut lapsed) => {
                lapsed.insert(claimed);
                Claim::Taken
            }
            Entry::Vacant(free) => {
                free.insert(claimed);
                Claim::Taken
            }
        }))
    }

    fn claimed_by(&self, tenant: Tenant, key: &IdempotencyKey, now_ms: i64) -> Answer<'_, Result<Option<RequestId>>> {
        let name = (tenant, key.clone());
        let held = self.claims.of(&name).get(&name).filter(|held| now_ms < held.until_ms).map(|held| held.request);
        Answer::Now(Ok(held))
    }

    fn release_claim(&self, tenant: Tenant, key: &IdempotencyKey, request: RequestId) -> Answer<'_, Result<()>> {
        let name = (tenant, key.clone());
        let mut shard = self.claims.of(&name);
        if shard.get(&name).is_some_and(|held| held.request == request) {
            shard.remove(&name);
        }
        Answer::Now(Ok(()))
    }

    fn count_failure(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        let client = network_of(address);
        let mut shard = self.failures.of(&client);
        if shard.len() >= CLIENTS_MAX && !shard.contains_key(&client) {
            shard.retain(|_, counter| counter.runs(now_ms));
            if shard.len() >= CLIENTS_MAX {
                shard.clear();
            }
        }
        let counter = shard.entry(client).or_default();
        counter.count(now_ms);
        Answer::Now(Ok(counter.window(limit, now_ms)))
    }

    fn failures(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        let client = network_of(address);
        let counter = self.failures.of(&client).get(&client).copied().unwrap_or_default();
        Answer::Now(Ok(counter.window(limit, now_ms)))
    }

    /// Nobody else is there to be told, and this process tells itself without a detour.
    fn announce(&self, _news: &str) -> Answer<'_, Result<()>> {
        Answer::Now(Ok(()))
    }

    fn listen(&self) -> BoxStream<'static, Heard> {
        stream::pending().boxed()
    }

    fn check(&self) -> Answer<'_, Result<()>> {
        Answer::Now(Ok(()))
    }

    fn sweep(&self, now_ms: i64) {
        self.buckets.retain(|buckets| {
            buckets.own.retain(|_, counter| counter.runs(now_ms));
            buckets.tenant.runs(now_ms) || !buckets.own.is_empty()
        });
        self.slots.retain(|slots| {
            slots.lapse(now_ms);
            slots.in_use() > 0
        });
        self.claims.retain(|claimed| now_ms < claimed.until_ms);
        self.failures.retain(|counter| counter.runs(now_ms));
    }
}

#[cfg(test)]
mod tests;
