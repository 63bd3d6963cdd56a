//! What nodes share, in Redis or Valkey: counts, slots, claims and news of the trait [`Cluster`], each call one script and one round
//! trip.
//!
//! What must stay true:
//! - The nodes' clocks may differ. What goes to Redis and comes back is how long something still lasts; Redis adds its own clock, and
//!   the caller's `now_ms` is added here. So the end of one window differs by some milliseconds from answer to answer.
//! - No call waits longer than the timeout, and none waits at all while there is no connection. A call that failed may still have
//!   been counted there: then a bucket lets one less through, or a slot is free a lease's time later.
//! - Every key expires by itself.
//!
//! Redis can forget everything (it was restarted, or another took over). Buckets, failures and claims then begin anew. A tenant's
//! slots must not: until somebody has told them from the database ([`Cluster::restore_leases`]), asking for one is answered with None.
//! So it is when nobody has taken or renewed a slot of the tenant for 20 s: either there was nothing to renew, or no node could reach
//! Redis, and slots of running sessions have lapsed. (When only one node can't, its slots lapse as if it had died.)
//! - Two nodes may restore at once: both tell what the database says, and telling something twice changes nothing.
//! - A slot that is given back between the reading of the database and the restoring is held again until its lease is over: nobody
//!   renews it. One slot too few for the time of a lease, never one too many.
//! - A slot that was taken before Redis forgot, and whose session was written after the database was read, is missing until its node
//!   renews it, which adds it again. So a session must be written within one renewal of taking its slot, or take it again.
//! - Renewing adds slots without saying that all are there: a node knows its own sessions only.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod keys;
mod links;
mod news;
mod scripts;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream::BoxStream;
use kallglot_cluster::{
    Answer, Claim, Cluster, Heard, Lease, NEWS_BYTES_MAX, Rate, Take, Unavailable, WINDOW_MS, Window, network_of,
};
use kallglot_core::id::{RequestId, SessionId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::session::Tenant;
use redis::{Cmd, RedisWrite, ToRedisArgs, Value};
use tokio::sync::mpsc;

pub use crate::config::{InvalidConfig, RedisConfig};
use crate::keys::{Key, Named};
use crate::links::{Links, Task};
use crate::scripts::Script;

type Result<T> = std::result::Result<T, Unavailable>;

/// Longest that anything is held, in milliseconds: a week. Longer times are cut.
const HELD_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How long the number of the last news is kept, in milliseconds. Counting begins anew then, and listeners hear [`Heard::Lost`] once.
const NUMBER_MS: i64 = 24 * 60 * 60 * 1000;
/// Most slots in one call: a script that works for long holds up everybody.
const LEASES_PER_CALL: usize = 500;
/// Most calls of one renewal at once; each is for one tenant.
const RENEWALS_AT_ONCE: usize = 32;

/// The counters in Redis. Dropping it closes the connections and ends what listens.
pub struct RedisCluster {
    config: Arc<RedisConfig>,
    links: Links,
    teller: news::Teller,
    _listener: Task,
}

/// What time it is: nothing for the server's own.
#[derive(Clone, Copy)]
struct Now(Option<i64>);

impl ToRedisArgs for Now {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self.0 {
            Some(now_ms) => now_ms.write_redis_args(out),
            None => out.write_arg(b""),
        }
    }
}

impl RedisCluster {
    /// Connects. A Redis that is not there is no error: calls are [`Unavailable`] until it is, which [`Cluster::check`] tells. Waits for
    /// the first attempts, two seconds at most. Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub async fn connect(config: RedisConfig) -> std::result::Result<Self, InvalidConfig> {
        let client = config.client()?;
        let config = Arc::new(config);
        let teller = news::teller();
        let (ready, mut tried) = mpsc::channel(1);
        let listener = tokio::spawn(news::listen(client.clone(), Arc::clone(&config), teller.clone(), ready));
        let listener = Task(listener);
        let links = Links::open(&client, &config).await;
        // Bounded by the longest that opening a connection may take.
        let _ = tokio::time::timeout(links::OPEN_MAX, tried.recv()).await;
        Ok(Self { config, links, teller, _listener: listener })
    }

    fn key<'a>(&'a self, key: Key<'a>) -> Named<'a> {
        Named(&self.config.namespace, key)
    }

    fn now(&self, now_ms: i64) -> Now {
        Now(self.config.callers_clock.then_some(now_ms))
    }

    /// Calls a script. `keys` and `bytes` are how many keys there are and about how long keys and arguments are together.
    fn call<'a, T>(
        &'a self,
        script: Script,
        keys: usize,
        bytes: usize,
        fill: impl FnOnce(&mut Cmd),
        read: impl FnOnce(Value) -> Option<T> + Send + 'a,
    ) -> Answer<'a, Result<T>> {
        let turn = match self.links.turn() {
            Ok(turn) => turn,
            Err(unavailable) => return Answer::Now(Err(unavailable)),
        };
        let mut command = turn.script(script, keys, 2 * keys + 4, bytes);
        fill(&mut command);
        Answer::Later(Box::pin(async move {
            let answer = turn.ask(script, command).await?;
            read(answer).ok_or_else(|| Unavailable { cause: format!("Redis answered {script:?} with something else") })
        }))
    }

    fn buckets<'a>(
        &'a self,
        script: Script,
        take: &Take,
        now_ms: i64,
        each: impl Fn(&mut Cmd, u32, usize),
    ) -> Answer<'a, Result<Rate>> {
        let take = *take;
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Bucket(take.tenant)));
            if let Some((key, _)) = take.own {
                command.arg(self.key(Key::Own(take.tenant, key)));
            }
            command.arg(self.now(now_ms)).arg(WINDOW_MS);
            each(command, take.limit, 0);
            if let Some((_, limit)) = take.own {
                each(command, limit, 1);
            }
        };
        let keys = if take.own.is_some() { 2 } else { 1 };
        self.call(script, keys, 192, fill, move |answer| {
            let mut numbers = numbers(answer)?;
            let allowed = numbers.next()? == 1;
            let tenant = window(&mut numbers, take.limit, now_ms)?;
            let own = match take.own {
                Some((_, limit)) => Some(window(&mut numbers, limit, now_ms)?),
                None => None,
            };
            Some(Rate { tenant, own, allowed, by_share: false })
        })
    }

    /// Renews slots of one tenant, that of the first.
    fn renew(&self, part: &[(Tenant, SessionId)], lease_ms: i64, now_ms: i64) -> Answer<'_, Result<()>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Leases(part[0].0))).arg(self.now(now_ms)).arg(lease_ms);
            for (_, session) in part {
                command.arg(&session.text());
            }
        };
        self.call(Script::LeaseRenew, 1, 96 + 40 * part.len(), fill, nothing)
    }

    fn failures_of(&self, script: Script, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Failures(network_of(address)))).arg(self.now(now_ms)).arg(WINDOW_MS);
        };
        self.call(script, 1, 96, fill, move |answer| {
            let mut numbers = numbers(answer)?;
            numbers.next()?;
            window(&mut numbers, limit, now_ms)
        })
    }
}

/// The numbers of an answer that is a list of them.
fn numbers(answer: Value) -> Option<impl Iterator<Item = i64>> {
    let Value::Array(values) = answer else { return None };
    Some(values.into_iter().map_while(|value| match value {
        Value::Int(number) => Some(number),
        _ => None,
    }))
}

fn window(numbers: &mut impl Iterator<Item = i64>, limit: u32, now_ms: i64) -> Option<Window> {
    let used = u32::try_from(numbers.next()?).ok()?;
    Some(Window { limit, used, ends_at_ms: now_ms + numbers.next()?.clamp(0, WINDOW_MS) })
}

/// How much longer something lasts.
fn left_ms(until_ms: i64, now_ms: i64) -> i64 {
    until_ms.saturating_sub(now_ms).clamp(0, HELD_MAX_MS)
}

fn nothing(_: Value) -> Option<()> {
    Some(())
}

/// A claim as it is kept: the request's id as text, then the fingerprint's bytes.
fn claimed(answer: &Value) -> Option<(RequestId, Fingerprint)> {
    let Value::BulkString(bytes) = answer else { return None };
    let (request, fingerprint) = bytes.split_at_checked(RequestId::TEXT_BYTES)?;
    let request = std::str::from_utf8(request).ok()?.parse().ok()?;
    Some((request, Fingerprint(fingerprint.try_into().ok()?)))
}

impl Cluster for RedisCluster {
    fn take(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        self.buckets(Script::Take, take, now_ms, |command, limit, _| {
            command.arg(limit);
        })
    }

    fn give_back(&self, take: &Take, rate: &Rate, now_ms: i64) -> Answer<'_, Result<Rate>> {
        if !rate.allowed || rate.by_share {
            return self.look(take, now_ms);
        }
        self.buckets(Script::GiveBack, take, now_ms, |command, _, index| {
            let window = if index == 0 { Some(rate.tenant) } else { rate.own };
            // A window that never was is not near any that is.
            command.arg(window.map_or(-WINDOW_MS, |window| window.ends_at_ms - now_ms));
        })
    }

    fn look(&self, take: &Take, now_ms: i64) -> Answer<'_, Result<Rate>> {
        self.buckets(Script::Look, take, now_ms, |_, _, _| {})
    }

    fn take_lease(
        &self,
        tenant: Tenant,
        session: SessionId,
        limit: u32,
        until_ms: i64,
        now_ms: i64,
    ) -> Answer<'_, Result<Option<Lease>>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Leases(tenant))).arg(self.now(now_ms)).arg(&session.text());
            command.arg(limit).arg(left_ms(until_ms, now_ms));
        };
        self.call(Script::LeaseTake, 1, 160, fill, |answer| {
            let mut numbers = numbers(answer)?;
            let taken = numbers.next()?;
            let in_use = u32::try_from(numbers.next()?).ok()?;
            Some((taken >= 0).then_some(Lease { taken: taken == 1, in_use }))
        })
    }

    fn restore_leases(&self, tenant: Tenant, leases: &[(SessionId, i64)], now_ms: i64) -> Answer<'_, Result<()>> {
        let leases: Vec<_> = leases.iter().copied().filter(|(_, until_ms)| now_ms < *until_ms).collect();
        Answer::Later(Box::pin(async move {
            // That all are there is said with the last part, after all others have succeeded.
            let (parts, last) = leases.split_at(leases.len() - leases.len() % LEASES_PER_CALL);
            let parts = parts.chunks(LEASES_PER_CALL).map(|part| (part, false)).chain([(last, true)]);
            for (part, all) in parts {
                let fill = |command: &mut Cmd| {
                    command.arg(self.key(Key::Leases(tenant))).arg(self.now(now_ms)).arg(u8::from(all));
                    for (session, until_ms) in part {
                        command.arg(&session.text()).arg(left_ms(*until_ms, now_ms));
                    }
                };
                self.call(Script::LeaseRestore, 1, 96 + 48 * part.len(), fill, nothing).get().await?;
            }
            Ok(())
        }))
    }

    fn renew_leases(&self, sessions: &[(Tenant, SessionId)], until_ms: i64, now_ms: i64) -> Answer<'_, Result<()>> {
        if sessions.is_empty() || until_ms <= now_ms {
            return Answer::Now(Ok(()));
        }
        let mut sessions = sessions.to_vec();
        sessions.sort_unstable_by_key(|(tenant, session)| (tenant.organization, tenant.environment as u8, *session));
        let lease_ms = left_ms(until_ms, now_ms);
        Answer::Later(Box::pin(async move {
            let parts: Vec<&[(Tenant, SessionId)]> = sessions
                .chunk_by(|(one, _), (other, _)| one == other)
                .flat_map(|tenants| tenants.chunks(LEASES_PER_CALL))
                .collect();
            for parts in parts.chunks(RENEWALS_AT_ONCE) {
                let calls: Vec<_> = parts.iter().map(|part| self.renew(part, lease_ms, now_ms)).collect();
                try_join_all(calls.into_iter().map(Answer::get)).await?;
            }
            Ok(())
        }))
    }

    fn release_lease(&self, tenant: Tenant, session: SessionId) -> Answer<'_, Result<()>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Leases(tenant))).arg(&session.text());
        };
        self.call(Script::LeaseRelease, 1, 96, fill, nothing)
    }

    fn leases_in_use(&self, tenant: Tenant, now_ms: i64) -> Answer<'_, Result<Option<u32>>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Leases(tenant))).arg(self.now(now_ms));
        };
        self.call(Script::LeaseCount, 1, 96, fill, |answer| match answer {
            Value::Int(in_use) => Some(u32::try_from(in_use).ok()),
            _ => None,
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
        let mut claim = [0; RequestId::TEXT_BYTES + 32];
        let (one, two) = claim.split_at_mut(RequestId::TEXT_BYTES);
        one.copy_from_slice(&request.text());
        two.copy_from_slice(&fingerprint.0);
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Claim(tenant, key))).arg(self.now(now_ms));
            command.arg(left_ms(until_ms, now_ms)).arg(claim.as_slice());
        };
        self.call(Script::Claim, 1, 160 + key.as_str().len(), fill, |answer| match answer {
            Value::Nil => Some(Claim::Taken),
            held => claimed(&held).map(|(request, fingerprint)| Claim::Held { request, fingerprint }),
        })
    }

    fn claimed_by(&self, tenant: Tenant, key: &IdempotencyKey, now_ms: i64) -> Answer<'_, Result<Option<RequestId>>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Claim(tenant, key))).arg(self.now(now_ms));
        };
        self.call(Script::ClaimLook, 1, 96 + key.as_str().len(), fill, |answer| match answer {
            Value::Nil => Some(None),
            held => claimed(&held).map(|(request, _)| Some(request)),
        })
    }

    fn release_claim(&self, tenant: Tenant, key: &IdempotencyKey, request: RequestId) -> Answer<'_, Result<()>> {
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::Claim(tenant, key))).arg(&request.text());
        };
        self.call(Script::ClaimRelease, 1, 128 + key.as_str().len(), fill, nothing)
    }

    fn count_failure(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        self.failures_of(Script::Count, address, limit, now_ms)
    }

    fn failures(&self, address: IpAddr, limit: u32, now_ms: i64) -> Answer<'_, Result<Window>> {
        self.failures_of(Script::Look, address, limit, now_ms)
    }

    fn announce(&self, news: &str) -> Answer<'_, Result<()>> {
        if news.len() > NEWS_BYTES_MAX {
            return Answer::Now(Err(Unavailable { cause: format!("news of {} bytes are too long", news.len()) }));
        }
        let fill = |command: &mut Cmd| {
            command.arg(self.key(Key::News)).arg(news).arg(NUMBER_MS);
        };
        self.call(Script::Announce, 1, 64 + news.len(), fill, nothing)
    }

    fn listen(&self) -> BoxStream<'static, Heard> {
        news::heard(&self.teller)
    }

    fn check(&self) -> Answer<'_, Result<()>> {
        match self.links.extra_turn() {
            Ok(turn) => Answer::Later(Box::pin(turn.ping())),
            Err(unavailable) => Answer::Now(Err(unavailable)),
        }
    }

    /// Every key expires by itself.
    fn sweep(&self, _now_ms: i64) {}
}
