//! Plans and what they allow (contract section 6): one table, with per-organization overrides on top.

use crate::session::{Environment, named};

named! {
    /// What an organization has subscribed to.
    Plan {
        /// The smallest.
        Starter = "starter",
        /// The middle.
        Pro = "pro",
        /// Limits set per organization.
        Enterprise = "enterprise",
    }
}

/// What an organization may do in one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests per minute, all keys together.
    pub requests_per_minute_max: u32,
    /// Sessions that are not over, at one time.
    pub concurrent_sessions_max: u32,
    /// Messages per second on one stream.
    pub stream_messages_per_second_max: u32,
    /// Bytes of decoded audio per second on one stream (the table's KB are 1024 bytes).
    pub stream_audio_bytes_per_second_max: u32,
}

/// What is set for one organization in place of its plan's limits.
///
/// They hold for the live environment, whatever the plan; the test environment has the table's limits always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// In place of [`Limits::requests_per_minute_max`].
    pub requests_per_minute_max: Option<u32>,
    /// In place of [`Limits::concurrent_sessions_max`].
    pub concurrent_sessions_max: Option<u32>,
    /// In place of [`Limits::stream_messages_per_second_max`].
    pub stream_messages_per_second_max: Option<u32>,
    /// In place of [`Limits::stream_audio_bytes_per_second_max`].
    pub stream_audio_bytes_per_second_max: Option<u32>,
}

impl LimitOverrides {
    /// Most that any override may be: keeps every computation with limits far from overflow.
    pub const LIMIT_MAX: u32 = 1_000_000_000;

    /// Whether every override is 1 to [`Self::LIMIT_MAX`]. An organization is stopped by deactivating it, not by a limit of 0.
    pub fn is_valid(&self) -> bool {
        [
            self.requests_per_minute_max,
            self.concurrent_sessions_max,
            self.stream_messages_per_second_max,
            self.stream_audio_bytes_per_second_max,
        ]
        .into_iter()
        .flatten()
        .all(|limit| (1..=Self::LIMIT_MAX).contains(&limit))
    }
}

const fn row(requests: u32, sessions: u32, messages: u32, audio_kb: u32) -> Limits {
    Limits {
        requests_per_minute_max: requests,
        concurrent_sessions_max: sessions,
        stream_messages_per_second_max: messages,
        stream_audio_bytes_per_second_max: audio_kb * 1024,
    }
}

impl Limits {
    /// The table of contract section 6 with the organization's overrides.
    pub fn of(environment: Environment, plan: Plan, overrides: &LimitOverrides) -> Self {
        let table = match (environment, plan) {
            (Environment::Test, _) => return row(60, 5, 100, 32),
            (Environment::Live, Plan::Starter) => row(120, 10, 500, 64),
            (Environment::Live, Plan::Pro) => row(600, 50, 1000, 128),
            (Environment::Live, Plan::Enterprise) => row(6000, 500, 1000, 128),
        };
        Self {
            requests_per_minute_max: overrides.requests_per_minute_max.unwrap_or(table.requests_per_minute_max),
            concurrent_sessions_max: overrides.concurrent_sessions_max.unwrap_or(table.concurrent_sessions_max),
            stream_messages_per_second_max: overrides
                .stream_messages_per_second_max
                .unwrap_or(table.stream_messages_per_second_max),
            stream_audio_bytes_per_second_max: overrides
                .stream_audio_bytes_per_second_max
                .unwrap_or(table.stream_audio_bytes_per_second_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contracts() {
        let none = LimitOverrides::default();
        for (environment, plan, expected) in [
            (Environment::Test, Plan::Enterprise, (60, 5, 100, 32 * 1024)),
            (Environment::Live, Plan::Starter, (120, 10, 500, 64 * 1024)),
            (Environment::Live, Plan::Pro, (600, 50, 1000, 128 * 1024)),
            (Environment::Live, Plan::Enterprise, (6000, 500, 1000, 128 * 1024)),
        ] {
            let limits = Limits::of(environment, plan, &none);
            let row = (
                limits.requests_per_minute_max,
                limits.concurrent_sessions_max,
                limits.stream_messages_per_second_max,
                limits.stream_audio_bytes_per_second_max,
            );
            assert_eq!(row, expected, "{environment} {plan}");
        }
    }

    #[test]
    fn overrides_hold_for_live_only_and_leave_the_rest() {
        let overrides = LimitOverrides { requests_per_minute_max: Some(7), ..LimitOverrides::default() };
        let live = Limits::of(Environment::Live, Plan::Starter, &overrides);
        assert_eq!((live.requests_per_minute_max, live.concurrent_sessions_max), (7, 10));
        assert_eq!(Limits::of(Environment::Test, Plan::Starter, &overrides).requests_per_minute_max, 60);
    }

    #[test]
    fn an_override_of_nothing_is_not_valid() {
        assert!(LimitOverrides::default().is_valid());
        assert!(!LimitOverrides { concurrent_sessions_max: Some(0), ..LimitOverrides::default() }.is_valid());
        assert!(!LimitOverrides { concurrent_sessions_max: Some(u32::MAX), ..LimitOverrides::default() }.is_valid());
    }
}
