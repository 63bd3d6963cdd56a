//! A fake clock, a fake random source, and a resolver that knows no name.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::clock::Clock;
use kallglot_core::random::RandomSource;
use kallglot_webhooks::Resolver;
use tokio::sync::watch;

/// A clock that stands still until it is moved.
pub struct FakeClock {
    now: watch::Sender<Timestamp>,
}

impl Default for FakeClock {
    fn default() -> Self {
        // Any fixed time will do; this one is easy to see in a message.
        let start = Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { now: watch::Sender::new(start) }
    }
}

impl FakeClock {
    /// Moves it forward. Who sleeps until a time that is then past wakes up.
    pub fn advance(&self, by: SignedDuration) {
        self.now.send_modify(|now| *now = now.checked_add(by).unwrap_or(Timestamp::MAX));
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut now = self.now.subscribe();
        // The sender lives as long as the clock.
        let _ = now.wait_for(|now| *now >= deadline).await;
    }
}

/// Different bytes each time, the same ones in every run with one seed (SplitMix64).
pub struct FakeRandom(AtomicU64);

impl FakeRandom {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl RandomSource for FakeRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(n ^ (n >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Names lead nowhere: no test asks a network for them.
pub(crate) struct NoNames;

#[async_trait]
impl Resolver for NoNames {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, format!("{name} is not resolved in tests")))
    }
}
