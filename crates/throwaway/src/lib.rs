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

pub use port::free_port;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;

use std::time::Duration;

/// Longest that a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether something has happened.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until something is there, and panics with `what` when that takes too long.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut pause = tokio::time::interval(LOOK);
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let looking = async {
        loop {
            pause.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("it took too long: {what}"),
    }
}
