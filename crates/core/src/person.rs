//! People at the Developer Portal: who they are, what lets them in, and what they may do in an organization, by role.
//!
//! What must stay true: a higher role may do everything that a lower one may; what a role may do is said here and nowhere else.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::id::{OrganizationId, PersonId, PortalLinkId, PortalSessionId};
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

/// A person as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// By which they are found; as [`email_address`] gives it.
    pub email: String,
    /// What people call them; valid by [`valid_name`](crate::organization::valid_name).
    pub name: String,
    /// Whether they look after the server itself: organizations, plans and credits.
    pub is_operator: bool,
    /// When their password was last set; none for who signs in otherwise.
    pub password_changed_at: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// An organization that a person belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub organization: OrganizationId,
    /// What people call it.
    pub organization_name: String,
    /// What the person is there.
    pub role: Role,
}

/// A person as one of an organization's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person: Person,
    /// What they are there.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
    /// When they last used the portal, to about a minute; none for who has no session any more.
    pub seen_at: Option<Timestamp>,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalSession {
    /// Its id; not what lets it in.
    pub id: PortalSessionId,
    /// Whose it is.
    pub person: PersonId,
    /// Whether the second factor is still to be shown: then it lets nobody in.
    pub pending: bool,
    /// When it was signed in.
    pub created_at: Timestamp,
    /// When it was last used, to about a minute.
    pub seen_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Until when sensitive acts need no confirmation; none for not at all.
    pub fresh_until: Option<Timestamp>,
    /// What the browser calls itself; at most [`USER_AGENT_CHARS_MAX`] characters.
    pub user_agent: String,
    /// From where it was signed in.
    pub address: Option<IpAddr>,
}

/// An invitation to become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its link.
    pub id: PortalLinkId,
    /// Where.
    pub organization: OrganizationId,
    /// What people call it.
    pub organization_name: String,
    /// As what.
    pub role: Role,
    /// Who: only an account of this address can accept it.
    pub email: String,
    /// Who has invited.
    pub made_by: PersonId,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
}

/// What a link lets its holder do, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortalLink {
    /// Make the first account.
    Setup {
        /// Its id; not its code.
        id: PortalLinkId,
        /// When it was made.
        created_at: Timestamp,
        /// Until when it can be used.
        expires_at: Timestamp,
    },
    /// Become a member.
    Invitation(Invitation),
    /// Set a new password.
    PasswordReset {
        /// Its id; not its code.
        id: PortalLinkId,
        /// Whose password.
        person: PersonId,
        /// By what they are found.
        email: String,
        /// When it was made.
        created_at: Timestamp,
        /// Until when it can be used.
        expires_at: Timestamp,
    },
}

/// Most characters that are kept of what a browser calls itself.
pub const USER_AGENT_CHARS_MAX: usize = 200;
/// Most bytes of an e-mail address (RFC 5321, section 4.5.3.1.3, without its angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Fewest characters of a password (NIST SP 800-63B-4, section 3.1.1.2, for those who may have no second factor: 15; with the lockout, 12 will do).
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Most bytes of a password: what is longer would only cost time.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The address in the form in which it is stored and compared: without spaces around it, in small letters. None for what can't be an
/// address. That it has one "@" with something before and a name after it is all that is asked: whether mail arrives, only mail can tell.
pub fn email_address(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let (local, domain) = text.rsplit_once('@')?;
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\",;:\\()[]".contains(c));
    let named = !domain.is_empty() && !domain.starts_with(['.', '-']) && !domain.ends_with(['.', '-']);
    (plain && named && !local.is_empty() && !local.contains('@') && text.len() <= EMAIL_BYTES_MAX).then_some(text)
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

    #[test]
    fn an_address_is_compared_in_small_letters_and_without_spaces_around_it() {
        assert_eq!(email_address("  Åsa.K@Example.COM ").as_deref(), Some("åsa.k@example.com"));
        let long = format!("{}@example.com", "a".repeat(EMAIL_BYTES_MAX));
        for text in ["", "@", "a@", "@b", "a b@c.de", "a@b@c", "a@.de", "a@b\r\nBcc: c@d", "<a@b.de>", &long] {
            assert_eq!(email_address(text), None, "{text:?}");
        }
    }
}
