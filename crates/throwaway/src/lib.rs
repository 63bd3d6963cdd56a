//! Real PostgreSQL and Redis servers of a test's own, and a TCP proxy that can be cut.
//!
//! ```no_run
//! # async fn example() {
//! use kallglot_throwaway::{Postgres, Proxy, Redis};
//!
//! let mut postgres = Postgres::start().await;
//! let url = postgres.create_database("calls").await; // postgres://postgres:unguarded@127.0.0.1:23456/calls
//! let redis = Redis::start().await;
//! let proxy = Proxy::start(redis.address()).await; // a client of proxy.address() loses it with:
//! proxy.cut().await;
//! postgres.kill().await;
//! postgres.start_again().await;
//! # }
//! ```
//!
//! What must stay true:
//! - Nothing outlives its test, however the test ends: a watchdog process stops the server and removes its folder when the test's end
//!   of a pipe is closed, which the system does for a test that is killed.
//! - Nobody else's server is ever used: what answers on the port is asked whether it is the one that was started.
//! - Tests run side by side: every server has its own port and folder.

mod binaries;
mod port;
mod postgres;
mod process;
mod proxy;
mod redis;
mod s3;

pub use port::free_port;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;
pub use s3::S3;

use std::time::Duration;

/// Longest that a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether something has happened.
const LOOK: Duration = Duration::from_millis(5);

/// Looks at whether something has happened, again and again until it has.
struct Looks {
    what: &'static str,
    pause: tokio::time::Interval,
    last: tokio::time::Instant,
}

impl Looks {
    /// `what` is waited for.
    fn at(what: &'static str) -> Self {
        let mut pause = tokio::time::interval(LOOK);
        pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { what, pause, last: tokio::time::Instant::now() + PATIENCE }
    }

    /// Waits until it is time for the next look. Panics when it has taken too long.
    async fn next(&mut self) {
        let now = self.pause.tick().await;
        assert!(now < self.last, "it took too long: {}", self.what);
    }
}
