//! An organization: what owns keys, sessions and credits.

use jiff::Timestamp;

use crate::edition::Edition;
use crate::id::OrganizationId;
use crate::plan::{LimitOverrides, Limits, Plan};
use crate::session::Environment;
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
    /// When it was made.
    pub created_at: Timestamp,
}

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
