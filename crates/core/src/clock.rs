//! Wall-clock time as an argument, so that tests move it by hand.

use async_trait::async_trait;
use jiff::Timestamp;

/// Where the time comes from. The server passes the system's clock, tests pass one they move.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Returns once `now()` has reached `deadline`; at once when it already has.
    async fn sleep_until(&self, deadline: Timestamp);
}
