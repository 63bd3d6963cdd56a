//! When a process that died may be started again: at once, unless it keeps dying.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Deaths within [`WINDOW`] after which starting pauses.
const DEATHS_MAX: usize = 5;
/// What "rapid" means.
const WINDOW: Duration = Duration::from_secs(10);
/// How long starting pauses.
const PAUSE: Duration = Duration::from_secs(3);

/// Remembers recent deaths of one kind of process.
#[derive(Debug, Default)]
pub(crate) struct Respawn {
    deaths: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Respawn {
    /// Notes that a process died, could not be started, or had to be killed.
    pub(crate) fn died(&mut self, now: Instant) {
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|death| now.duration_since(*death) > WINDOW) {
            self.deaths.pop_front();
        }
        if self.deaths.len() >= DEATHS_MAX {
            self.deaths.clear();
            self.paused_until = Some(now + PAUSE);
        }
    }

    /// Whether a process may be started now.
    pub(crate) fn may_start(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| now >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_rapid_deaths_pause_starting_for_a_while() {
        let start = Instant::now();
        let mut respawn = Respawn::default();
        for death in 0..4 {
            respawn.died(start + Duration::from_secs(death));
            assert!(respawn.may_start(start + Duration::from_secs(death)));
        }
        respawn.died(start + Duration::from_secs(4));
        assert!(!respawn.may_start(start + Duration::from_secs(4)));
        assert!(!respawn.may_start(start + Duration::from_secs(6)));
        assert!(respawn.may_start(start + Duration::from_secs(7)));
    }

    #[test]
    fn deaths_far_apart_never_pause_it() {
        let start = Instant::now();
        let mut respawn = Respawn::default();
        for death in 0..50 {
            let now = start + Duration::from_secs(3 * death);
            respawn.died(now);
            assert!(respawn.may_start(now));
        }
    }
}
