//! What an API key may do (contract section 4), as an enum and a set of it.
//!
//! The text form of a set is its permissions in the contract's order, separated by one space (as OAuth 2 writes scopes).

use std::fmt;
use std::str::FromStr;

use crate::session::named;

named! {
    /// One thing that a key may be allowed to do.
    Permission {
        /// Read sessions and transcripts.
        SessionsRead = "sessions:read",
        /// Create, end and dial sessions; get a stream token.
        SessionsWrite = "sessions:write",
        /// List, read and download recordings.
        RecordingsRead = "recordings:read",
        /// Delete recordings.
        RecordingsDelete = "recordings:delete",
        /// Read analyses.
        AnalysisRead = "analysis:read",
        /// Request an analysis.
        AnalysisWrite = "analysis:write",
        /// Manage webhook endpoints.
        WebhooksManage = "webhooks:manage",
        /// Read AI agents.
        AgentsRead = "agents:read",
        /// Manage AI agents.
        AgentsWrite = "agents:write",
        /// Manage the organization's keys by API. In no standard set.
        ApiKeysManage = "api_keys:manage",
    }
}

/// The text names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no permission; there are {}", PermissionSet::all())]
pub struct UnknownPermission {
    /// What was given, cut to 40 characters.
    pub given: String,
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::parse(text).ok_or_else(|| UnknownPermission { given: text.chars().take(40).collect() })
    }
}

/// A set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PermissionSet(u16);

impl PermissionSet {
    /// No permission.
    pub const NONE: Self = Self(0);

    /// The set of these permissions.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < permissions.len() {
            bits |= 1 << permissions[index] as u16;
            index += 1;
        }
        Self(bits)
    }

    /// Every permission there is.
    pub const fn all() -> Self {
        Self::of(Permission::ALL)
    }

    /// Whether `permission` is in it.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u16) != 0
    }

    /// Whether everything in `other` is in it: a key may make another key only with a subset of its own permissions.
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set and `permission`.
    #[must_use]
    pub const fn with(self, permission: Permission) -> Self {
        Self(self.0 | 1 << permission as u16)
    }

    /// Its permissions in the contract's order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

impl FromStr for PermissionSet {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        text.split_ascii_whitespace().map(Permission::from_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_set_is_written_in_the_contracts_order() {
        let set: PermissionSet = "webhooks:manage sessions:read".parse().unwrap();
        assert_eq!(set.to_string(), "sessions:read webhooks:manage");
        assert!(set.contains(Permission::WebhooksManage) && !set.contains(Permission::SessionsWrite));
        assert_eq!("".parse(), Ok(PermissionSet::NONE));
    }

    #[test]
    fn an_unknown_name_is_told_with_what_there_is() {
        let error = "sessions:raed".parse::<PermissionSet>().unwrap_err().to_string();
        assert!(error.starts_with("`sessions:raed` is no permission") && error.contains("api_keys:manage"), "{error}");
    }

    #[test]
    fn only_a_subset_is_contained() {
        let reader = PermissionSet::of(&[Permission::SessionsRead]);
        let writer = reader.with(Permission::SessionsWrite);
        assert!(
            writer.contains_all(reader) && !reader.contains_all(writer) && reader.contains_all(PermissionSet::NONE)
        );
    }

    proptest! {
        #[test]
        fn text_and_set_are_the_same_thing(bits in 0u16..1 << Permission::ALL.len()) {
            let set = PermissionSet(bits);
            prop_assert_eq!(set.to_string().parse::<PermissionSet>(), Ok(set));
        }
    }
}
