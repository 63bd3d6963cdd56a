//! The audit log: everything done to keys, plans and credits: who, when, from where, what changed.
//!
//! Every method that changes such a thing takes a [`Change`], so it can't be done without leaving an entry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::id::{ApiKeyId, AuditId, EventId, OrganizationId, PersonId, RequestId};
use crate::session::{Environment, named};

/// Who changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A request with this key.
    Key(ApiKeyId),
    /// A person at the Developer Portal.
    Person(PersonId),
    /// Somebody at the command line, who owns the data folder.
    Operator,
    /// Somebody who reported a leaked secret, and so holds it.
    LeakReporter,
    /// The server, by a rule of its own.
    Server,
}

/// A change that is about to be made: who, when and from where. Its id becomes the audit entry's, and the event's that it raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The audit entry's id.
    pub id: AuditId,
    /// Who.
    pub who: Who,
    /// From which address; none at the command line and for the server itself.
    pub address: Option<IpAddr>,
    /// By which request; none at the command line and for the server itself.
    pub request: Option<RequestId>,
    /// When.
    pub at: Timestamp,
}

impl Change {
    /// The id of the event that the change raises.
    pub const fn event_id(&self) -> EventId {
        EventId::from_bits(self.id.to_bits())
    }
}

named! {
    /// What was done.
    AuditAction {
        /// An organization was made.
        OrganizationCreated = "organization.created",
        /// Something about an organization was changed: plan, limits, state, edition, policies.
        OrganizationUpdated = "organization.updated",
        /// Credits were granted.
        CreditsGranted = "credits.granted",
        /// A key was made.
        KeyCreated = "api_key.created",
        /// Something about a key was changed.
        KeyUpdated = "api_key.updated",
        /// A key got a new secret.
        KeyRotated = "api_key.rotated",
        /// A key was revoked.
        KeyRevoked = "api_key.revoked",
        /// A key's secret was reported as leaked.
        KeyLeaked = "api_key.leaked",
        /// A webhook endpoint was made.
        WebhookCreated = "webhook.created",
        /// Something about a webhook endpoint was changed.
        WebhookUpdated = "webhook.updated",
        /// A webhook endpoint got a new secret.
        WebhookRotated = "webhook.secret_rotated",
        /// A webhook endpoint had failed for too long, or said that it is gone.
        WebhookDisabled = "webhook.disabled",
        /// A webhook endpoint was deleted.
        WebhookDeleted = "webhook.deleted",
        /// A rule of alerts was made.
        AlertRuleCreated = "alert_rule.created",
        /// A rule of alerts was changed.
        AlertRuleUpdated = "alert_rule.updated",
        /// A rule of alerts was deleted.
        AlertRuleDeleted = "alert_rule.deleted",
        /// A recording was deleted.
        RecordingDeleted = "recording.deleted",
        /// Somebody was invited.
        MemberInvited = "member.invited",
        /// An invitation was taken back.
        InvitationWithdrawn = "member.invitation_withdrawn",
        /// Somebody became a member.
        MemberJoined = "member.joined",
        /// A member got another role.
        MemberUpdated = "member.updated",
        /// Somebody is no member any more.
        MemberRemoved = "member.removed",
        /// A member signed in to the Developer Portal.
        PersonSignedIn = "person.signed_in",
        /// Too many failed attempts to sign in as a member: for some time, passwords are not looked at.
        PersonLocked = "person.locked",
        /// A member has set another password.
        PasswordChanged = "person.password_changed",
        /// A member has set a password by a link, without the one before it.
        PasswordReset = "person.password_reset",
        /// A member has a new passkey.
        PasskeyAdded = "person.passkey_added",
        /// A member has removed a passkey.
        PasskeyRemoved = "person.passkey_removed",
        /// A member's password no longer lets in alone: a code of an authenticator app must be shown too.
        TotpEnabled = "person.totp_enabled",
        /// A member's password lets in alone again.
        TotpDisabled = "person.totp_disabled",
        /// A member has new recovery codes.
        RecoveryCodesReplaced = "person.recovery_codes_replaced",
        /// A recovery code stood in for a member's authenticator app.
        RecoveryCodeUsed = "person.recovery_code_used",
        /// An account of the single sign-on provider lets a member in.
        IdentityLinked = "person.identity_linked",
        /// It does so no more.
        IdentityUnlinked = "person.identity_unlinked",
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who, when, from where.
    pub change: Change,
    /// In whose log it stands.
    pub organization: OrganizationId,
    /// The environment of what was changed; none for what concerns both.
    pub environment: Option<Environment>,
    /// What was done.
    pub action: AuditAction,
    /// The id of what it was done to: an organization's, a key's, a webhook endpoint's, a recording's, a person's or an invitation's.
    pub object: String,
    /// What changed: the property's name with its value before and after, as people read them; empty before for what is new. Never a secret.
    pub changes: BTreeMap<String, (String, String)>,
}
