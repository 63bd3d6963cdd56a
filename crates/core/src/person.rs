//! People at the Developer Portal: what a person may do in an organization, by role.
//!
//! What must stay true: a higher role may do everything that a lower one may; what a role may do is said here and nowhere else.

use crate::session::named;

named! {
    /// What a person is in an organization, the highest first.
    Role {
        /// May do everything, also make and remove owners.
        Owner = "owner",
        /// May do everything but what concerns owners.
        Admin = "admin",
        /// Works with the API: keys, webhooks, sessions, alerts. No people, no settings.
        Developer = "developer",
        /// Sees what a developer sees, and changes nothing.
        ReadOnly = "read_only",
    }
}

named! {
    /// Something that a person does in an organization, for which there is a lowest role.
    Act {
        /// See sessions, what was said in them, recordings, usage, the request log, and keys without their secrets.
        View = "view",
        /// Make, change, rotate and revoke API keys.
        ManageKeys = "manage_keys",
        /// Manage webhook endpoints, send deliveries again.
        ManageWebhooks = "manage_webhooks",
        /// Make and end sessions, request analyses, delete recordings.
        RunSessions = "run_sessions",
        /// Manage the rules of alerts.
        ManageAlerts = "manage_alerts",
        /// Invite people, change their roles, remove them; owners excepted.
        ManageMembers = "manage_members",
        /// Change the organization's settings.
        ManageOrganization = "manage_organization",
        /// Read the audit log.
        ViewAudit = "view_audit",
        /// Make and remove owners.
        ManageOwners = "manage_owners",
    }
}

impl Role {
    /// Whether somebody with this role may do this.
    pub const fn may(self, act: Act) -> bool {
        self as u8 <= act.lowest_role() as u8
    }

    /// Whether this role may do everything that `other` may.
    pub const fn is_at_least(self, other: Self) -> bool {
        self as u8 <= other as u8
    }

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Owner => "Owner",
            Self::Admin => "Admin",
            Self::Developer => "Developer",
            Self::ReadOnly => "Read-only",
        }
    }
}

impl Act {
    /// The lowest role that may do it.
    pub const fn lowest_role(self) -> Role {
        match self {
            Self::View => Role::ReadOnly,
            Self::ManageKeys | Self::ManageWebhooks | Self::RunSessions | Self::ManageAlerts => Role::Developer,
            Self::ManageMembers | Self::ManageOrganization | Self::ViewAudit => Role::Admin,
            Self::ManageOwners => Role::Owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_may_do_what_a_lower_one_may() {
        for pair in Role::ALL.windows(2) {
            for act in Act::ALL {
                assert!(!pair[1].may(*act) || pair[0].may(*act), "{} may not {act}", pair[0]);
            }
        }
    }

    #[test]
    fn who_only_reads_changes_nothing() {
        let may: Vec<_> = Act::ALL.iter().filter(|act| Role::ReadOnly.may(**act)).collect();
        assert_eq!(may, [&Act::View]);
    }

    #[test]
    fn only_owners_touch_owners() {
        let may: Vec<_> = Role::ALL.iter().filter(|role| role.may(Act::ManageOwners)).collect();
        assert_eq!(may, [&Role::Owner]);
    }
}
