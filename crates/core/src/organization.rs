//! An organization: what owns keys, sessions and credits.

use jiff::Timestamp;

use crate::edition::Edition;
use crate::id::OrganizationId;
use crate::plan::{LimitOverrides, Limits, Plan};
use crate::session::{Environment, named};
use crate::vocabulary::Vocabulary;

/// An organization as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// What people call it; valid by [`valid_name`].
    pub name: String,
    /// What it has subscribed to.
    pub plan: Plan,
    /// What is set for it in place of the plan's limits.
    pub overrides: LimitOverrides,
    /// Whether its subscription is active: without it every request is refused (`organization_inactive`).
    pub active: bool,
    /// The edition of the contract that its keys speak unless they say otherwise.
    pub edition: Edition,
    /// The name of the speech engine that its sessions use; none for the server's default.
    pub engine: Option<String>,
    /// What its recognizers should expect in every session.
    pub vocabulary: Vocabulary,
    /// What happens to a key whose secret is reported as leaked.
    pub leak_policy: LeakPolicy,
    /// When a spend brings its credits down to this many or fewer, `credits.low` is raised, once per crossing.
    pub low_credits_threshold: u32,
    /// Whether sessions are recorded whose creation does not say.
    pub recording: bool,
    /// For how many days recordings are kept, 1 to [`crate::recording::KEPT_DAYS_MAX`]; those that are there keep what they had.
    pub recordings_kept_days: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

named! {
    /// What happens to a key whose secret is reported as leaked (`POST /v1/api_keys/leaks`). Always an event and an audit entry.
    LeakPolicy {
        /// The key is revoked and the streams of its sessions are closed.
        Revoke = "revoke",
        /// The key may only read from then on, until somebody lifts the quarantine.
        Quarantine = "quarantine",
        /// Nothing happens to the key.
        Notify = "notify",
    }
}

impl Default for LeakPolicy {
    /// Who holds a leaked key could do worse with it than revoke it.
    fn default() -> Self {
        Self::Revoke
    }
}

/// The low-credit threshold of a new organization.
pub const LOW_CREDITS_THRESHOLD: u32 = 10;

/// Most characters of an organization's or key's name.
pub const NAME_CHARS_MAX: usize = 100;

/// Whether `name` can name an organization or a key: 1 to [`NAME_CHARS_MAX`] characters, not blank, no control characters.
pub fn valid_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.chars().any(char::is_control)
}

impl Organization {
    /// What it may do in `environment`.
    pub fn limits(&self, environment: Environment) -> Limits {
        Limits::of(environment, self.plan, &self.overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_printable_and_not_blank() {
        assert!(valid_name("Åsa & Söner") && valid_name(&"ä".repeat(NAME_CHARS_MAX)));
        for name in ["", "   ", "a\nb", "a\u{0}", &"a".repeat(NAME_CHARS_MAX + 1)] {
            assert!(!valid_name(name), "{name:?}");
        }
    }
}
