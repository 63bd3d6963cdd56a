//! What nodes share that is not in the database: how many requests a bucket has had, which sessions hold a slot, which idempotency keys
//! are in use, who has failed to show a key.
//!
//! What must stay true: exactly as much is let through as the limit says, whatever the concurrency; whatever is taken comes back by
//! itself when its holder dies. Times are arguments, in milliseconds since 1970.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod fallback;
pub mod memory;

use std::net::{IpAddr, Ipv6Addr};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use kallglot_core::id::{ApiKeyId, RequestId, SessionId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::session::Tenant;

/// The windows of rate limits and of failed attempts.
pub const WINDOW_MS: i64 = 60_000;

/// An answer that may be there at once: counting in memory costs no allocation and no await.
pub enum Answer<'a, T> {
    /// It is there.
    Now(T),
    /// It comes from another machine.
    Later(BoxFuture<'a, T>),
}

impl<T> Answer<'_, T> {
    /// The answer.
    pub async fn get(self) -> T {
        match self {
            Self::Now(value) => value,
            Self::Later(future) => future.await,
        }
    }
}

/// What is shared can't be asked right now, or there is no room for more. The same call can succeed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the shared counters are unavailable: {cause}")]
pub struct Unavailable {
    /// For the log, not for clients.
    pub cause: String,
}

type Result<T> = std::result::Result<T, Unavailable>;

/// How a bucket stands in its current window. The window begins with its first request and lasts [`WINDOW_MS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many it lets through.
    pub limit: u32,
    /// How many it has let through.
    pub used: u32,
    /// When it ends.
    pub ends_at_ms: i64,
}

impl Window {
    /// How many it still lets through.
    pub const fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    /// Whole seconds until it ends, at least 1.
    pub fn retry_after_s(&self, now_ms: i64) -> u32 {
        let wait_ms = (self.ends_at_ms - now_ms).clamp(1, WINDOW_MS);
        u32::try_from((wait_ms + 999) / 1000).unwrap_or(60)
    }

    /// When it ends, in whole Unix seconds; not before it does.
    pub const fn resets_at_s(&self) -> i64 {
        (self.ends_at_ms + 999) / 1000
    }
}

/// A request that wants to be counted: in its organization's bucket, and in its key's own if it has one. In both or in neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// The organization in one environment.
    pub tenant: Tenant,
    /// What the organization may do, in requests per window.
    pub limit: u32,
    /// The key's own bucket, if it has a limit of its own.
    pub own: Option<(ApiKeyId, u32)>,
}

/// How the buckets of a request stand after it was counted or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The organization's.
    pub tenant: Window,
    /// The key's own.
    pub own: Option<Window>,
    /// Whether it was let through and counted.
    pub allowed: bool,
    /// Whether this node counted it alone, against its own share, because what is shared could not be asked.
    pub by_share: bool,
}

impl Rate {
    /// The bucket that has least left, and whether it is the key's own: the one that a client should know of.
    pub fn tightest(&self) -> (Window, bool) {
        match self.own {
            Some(own) if own.remaining() <= self.tenant.remaining() => (own, true),
            _ => (self.tenant, false),
        }
    }
}

/// What became of asking for a session's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whether the session has one.
    pub taken: bool,
    /// How many slots are in use now, this one among them.
    pub in_use: u32,
}

/// What became of claiming an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the caller's until it is released or its time is over.
    Taken,
    /// Another request is at work under it.
    Held {
        /// Which.
        request: RequestId,
        /// What that request is.
        fingerprint: Fingerprint,
    },
}

/// What a node hears from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What another node has announced, or this one itself.
    News(String),
    /// Some news may have been missed: the connection was cut, a number was left out, the listener was too slow. What was built on
    /// having heard everything must be dropped.
    Lost,
}

/// Whose failed attempts count together: an IPv4 address's, or those of the network of 64 bits that an IPv6 address is in.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}

/// Longest text of one announcement.
pub const NEWS_BYTES_MAX: usize = 4096;

/// Everything that nodes share. Every method is exact under concurrency.
pub trait Cluster: Send + Sync + 'static {
    /// Counts a request in its buckets if all of them have room.
    fn take(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>>;

    /// Gives back what a request took, if the windows in `rate` still run. Answers with how the buckets stand then.
    fn give_back(&self, take: &Take, rate: &Rate, now_ms: i64) -> Answer<'_, Result<Rate>>;

    /// How the buckets stand, without counting anything.
    fn look(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>>;

    /// Takes a slot for a session until `until_ms`, if fewer than `limit` are in use. A session that has one keeps it, with the later
    /// end. None: the counters were restarted, or have heard nothing of the tenant's slots for so long that some may have lapsed that
    /// are in use; [`Cluster::restore_leases`], then ask again.
    fn take_lease(
        &self,
        tenant: Tenant,
        session: SessionId,
        limit: u32,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Option<Lease>>>;

    /// Tells counters that have forgotten them which slots the tenant's open sessions hold, each until its time. What they know
    /// already stays, with the later end.
    fn restore_leases(&self, tenant: Tenant, leases: &[(SessionId, i64)], now_ms: i64) -> Answer<'_, Result<()>>;

    /// Prolongs slots; a session whose slot has lapsed gets one again, also over the limit: it is running already.
    fn renew_leases(&self, sessions: &[(Tenant, SessionId)], until_ms: i64, now_ms: i64) -> Answer<'_, Result<()>>;

    /// Gives a session's slot back.
    fn release_lease(&self, tenant: Tenant, session: SessionId) -> Answer<'_, Result<()>>;

    /// How many slots are in use. None: forgotten, as in [`Cluster::take_lease`].
    fn leases_in_use(&self, tenant: Tenant, now_ms: i64) -> Answer<'_, Result<Option<u32>>>;

    /// Claims an idempotency key for a request until `until_ms`.
    fn claim(
        &self,
        tenant: Tenant,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        request: RequestId,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Claim>>;

    /// Who holds an idempotency key, if anybody does.
    fn claimed_by(&self, tenant: Tenant, key: &IdempotencyKey, now_ms: i64) -> Answer<'_, Result<Option<RequestId>>>;

    /// Releases a request's claim; another request's stays.
    fn release_claim(&self, tenant: Tenant, key: &IdempotencyKey, request: RequestId) -> Answer<'_, Result<()>>;

    /// Counts a failed attempt of a client to show a key; `limit` is what a window allows. Of IPv6 addresses the first 64 bits count,
    /// since a client has all the others.
    fn count_failure(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>>;

    /// How a client's failed attempts stand.
    fn failures(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>>;

    /// Tells every node, this one too, something: at most [`NEWS_BYTES_MAX`] bytes. It may be told twice or not at all (then listeners
    /// hear that something was [`Heard::Lost`]), so it must only ever hurry what is also found out otherwise.
    fn announce(&self, news: &str) -> Answer<'_, Result<()>>;

    /// What is announced from now on. Bounded: who does not read has [`Heard::Lost`].
    fn listen(&self) -> BoxStream<'static, Heard>;

    /// Whether what is shared can be asked right now, for the readiness of this node.
    fn check(&self) -> Answer<'_, Result<()>>;

    /// How many calls were counted by this node alone because what is shared did not answer, since its start.
    fn fallbacks(&self) -> u64 {
        0
    }

    /// Frees the memory of what is over. To be called every few seconds.
    fn sweep(&self, now_ms: i64);
}
