//! People and what lets them into the Developer Portal: what can be stored and asked, by intent.
//!
//! What must stay true: a code of a link or a cookie is never stored, only its SHA-256 ([`CodeHash`]); a link is used once, by whoever comes
//! first, in the transaction that does what it is for; an organization that has an owner keeps one; attempts to sign in are counted
//! before the password is looked at, so that no number of them at once gets further than one after the other.

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::id::{OrganizationId, PersonId, PortalLinkId, PortalSessionId};
use kallglot_core::organization::Organization;
use kallglot_core::person::{Invitation, Member, Membership, Person, PortalLink, PortalSession, Role};

use crate::StorageError;
use crate::changes::Changes;
use crate::page::{Page, PageRequest};

type Result<T> = std::result::Result<T, StorageError>;

/// Most members of an organization.
pub const MEMBERS_MAX: u32 = 500;
/// Most organizations that a person belongs to.
pub const MEMBERSHIPS_MAX: u32 = 100;
/// Most invitations of an organization that wait to be accepted.
pub const INVITATIONS_MAX: u32 = 100;
/// Most sessions of a person; one more ends the one that was used least recently.
pub const PORTAL_SESSIONS_MAX: u32 = 50;
/// Attempts to sign in that an account has before it must wait.
pub const ATTEMPTS_FREE: u32 = 10;
/// So long after the last attempt they are forgotten. Seconds.
pub const ATTEMPTS_KEPT_S: i64 = 24 * 60 * 60;

/// How long an account must wait after its attempt of this number, counted from 1, in seconds: not at all before the last free one, from
/// then on a minute, twice as long each time, at most an hour.
pub fn wait_after_s(attempts: u32) -> Option<i64> {
    let doubled = attempts.checked_sub(ATTEMPTS_FREE)?.min(6);
    Some((60 << doubled).min(60 * 60))
}

/// SHA-256 of a code that was drawn at random (so nothing can be found by guessing): of a session's cookie, or of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeHash(pub [u8; 32]);

/// A person's stored password: Argon2id in the PHC string format. It does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// What became of using a link, or of what needs one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UseLink<T> {
    /// Done.
    Done(T),
    /// There is no such link, it was used or taken back, or its time is over.
    Invalid,
    /// There is an account of this e-mail address already.
    EmailTaken,
    /// The link is for somebody else.
    NotForYou,
    /// The organization or the person has as many as there can be.
    TooMany,
}

/// Who accepts an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invited {
    /// Somebody without an account, which is made. Its address is the invitation's, whatever stands in it.
    New(Box<Person>, Option<PasswordHash>),
    /// Somebody who has one.
    Known(PersonId),
}

/// What became of making an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invite {
    /// It is there.
    Made,
    /// Somebody of this address is a member already.
    Member,
    /// There are as many members or invitations as there can be.
    TooMany,
    /// Who asks may not: only owners make owners.
    Forbidden,
}

/// What became of changing or ending a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeMember {
    /// Done; the role before it.
    Done(Role),
    /// There would be no owner left.
    LastOwner,
    /// Who asks may not: only owners touch owners and make owners.
    Forbidden,
    /// There is no such member.
    NotFound,
}

/// What was shown to open a session, as far as it may have been changed or taken back meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The password that was stored so.
    Password(PasswordHash),
    /// A second factor, after what this pending session stands for; it is replaced.
    SecondFactor(PortalSessionId),
    /// Something that is used up by itself: a link, a passkey's answer, another server's word.
    Once,
}

/// A session with everything that a request of it needs, in one look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSession {
    /// The session.
    pub session: PortalSession,
    /// Whose it is.
    pub person: Person,
    /// What they belong to, by the organizations' names.
    pub memberships: Vec<Membership>,
}

/// Whether an attempt to sign in may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It may, and is counted.
    Allowed,
    /// It may not before then; it is not counted.
    Locked(Timestamp),
}

/// People, memberships, sessions of the portal, links.
#[async_trait]
pub trait PeopleRepository: Send + Sync {
    /// Whether there is anybody.
    async fn has_people(&self) -> Result<bool>;

    /// A person of this id.
    async fn person(&self, id: PersonId) -> Result<Option<Person>>;

    /// Who has this address ([`kallglot_core::person::email_address`]), and with what they sign in.
    async fn person_of_email(&self, email: &str) -> Result<Option<(Person, Option<PasswordHash>)>>;

    /// A person's stored password.
    async fn password_of(&self, id: PersonId) -> Result<Option<PasswordHash>>;

    /// A page of everybody, newest first.
    async fn people_for_operator(&self, page: &PageRequest<PersonId>) -> Result<Page<Person>>;

    /// Makes the first account, by a link of this purpose: the person, an organization with its first credits, and the person as its owner. With
    /// entries in the organization's audit log. [`UseLink::Invalid`] also when there is somebody already.
    async fn set_up(
        &self,
        link: &CodeHash,
        person: &Person,
        password: Option<&PasswordHash>,
        organization: &Organization,
        credits: u32,
        change: &Change,
    ) -> Result<UseLink<()>>;

    /// Makes an organization that has `owner` as its owner. False when they belong to [`MEMBERSHIPS_MAX`] already.
    async fn create_organization_of(
        &self,
        owner: PersonId,
        organization: &Organization,
        credits: u32,
        change: &Change,
    ) -> Result<bool>;

    /// Gives the person another name. False when there is none.
    async fn rename_person(&self, id: PersonId, name: &str) -> Result<bool>;

    /// Sets the person's password and ends their sessions, but for `keep`. With an entry in the audit log of each of their
    /// organizations. False when there is no such person.
    async fn set_password(
        &self,
        id: PersonId,
        password: &PasswordHash,
        keep: Option<PortalSessionId>,
        change: &Change,
    ) -> Result<bool>;

    /// Replaces a stored password by the same one under other parameters, unless it was changed meanwhile.
    async fn rehash_password(&self, id: PersonId, old: &PasswordHash, new: &PasswordHash) -> Result<()>;

    /// Notes something that concerns a person's account in the audit log of each of their organizations; the object is the person.
    async fn audit_person(&self, id: PersonId, action: AuditAction, changes: &Changes, change: &Change) -> Result<()>;

    /// Stores a link to the first account or to a new password.
    async fn create_link(&self, link: &PortalLink, code: &CodeHash, change: &Change) -> Result<()>;

    /// The link of this code, if it can be used at `now`.
    async fn link_of_code(&self, code: &CodeHash, now: Timestamp) -> Result<Option<PortalLink>>;

    /// Stores an invitation by `by`, in place of the one that this address may have already, with an entry in the audit log.
    async fn invite(&self, invitation: &Invitation, code: &CodeHash, change: &Change) -> Result<Invite>;

    /// An organization's invitations that can be accepted at `now`, oldest first.
    async fn invitations(&self, organization: OrganizationId, now: Timestamp) -> Result<Vec<Invitation>>;

    /// Takes an invitation back, with an entry in the audit log. False when there is none.
    async fn withdraw_invitation(
        &self,
        organization: OrganizationId,
        id: PortalLinkId,
        change: &Change,
    ) -> Result<bool>;

    /// Accepts an invitation at `change.at`, by `change.who`; who is a member already gets the invitation's role if that is more. With an entry
    /// in the audit log.
    async fn accept_invitation(
        &self,
        code: &CodeHash,
        invited: &Invited,
        change: &Change,
    ) -> Result<UseLink<OrganizationId>>;

    /// Sets a new password by a link, ends all sessions of the person, and forgets failed attempts. With an entry in the audit log of
    /// each of their organizations. Answers with whose it was.
    async fn reset_password(
        &self,
        code: &CodeHash,
        password: &PasswordHash,
        change: &Change,
    ) -> Result<UseLink<PersonId>>;

    /// What a person belongs to, by the organizations' names.
    async fn memberships(&self, id: PersonId) -> Result<Vec<Membership>>;

    /// An organization's members by name: at most [`MEMBERS_MAX`].
    async fn members(&self, organization: OrganizationId) -> Result<Vec<Member>>;

    /// Gives a member another role, with an entry in the audit log.
    async fn change_role(
        &self,
        organization: OrganizationId,
        person: PersonId,
        role: Role,
        by: PersonId,
        change: &Change,
    ) -> Result<ChangeMember>;

    /// Ends a membership, also one's own, with an entry in the audit log.
    async fn remove_member(
        &self,
        organization: OrganizationId,
        person: PersonId,
        by: PersonId,
        change: &Change,
    ) -> Result<ChangeMember>;

    /// Stores a session under its cookie's hash. False, and nothing is done, when what was shown does not hold any more. One that is not
    /// pending forgets the person's attempts, and leaves an entry in the audit log of each of their organizations.
    async fn open_portal_session(
        &self,
        session: &PortalSession,
        cookie: &CodeHash,
        shown: &Shown,
        change: &Change,
    ) -> Result<bool>;

    /// The session of this cookie, if it has not ended at `now`; also one that is pending.
    async fn portal_session(&self, cookie: &CodeHash, now: Timestamp) -> Result<Option<FoundSession>>;

    /// Notes that a session was used at `now`, and until when it lasts then.
    async fn touch_portal_session(&self, id: PortalSessionId, now: Timestamp, expires_at: Timestamp) -> Result<()>;

    /// Sets until when the session's sensitive acts need no confirmation. False when it is not there.
    async fn freshen_portal_session(&self, id: PortalSessionId, until: Timestamp) -> Result<bool>;

    /// A person's sessions that have not ended at `now` and are not pending, newest first: at most [`PORTAL_SESSIONS_MAX`].
    async fn portal_sessions(&self, person: PersonId, now: Timestamp) -> Result<Vec<PortalSession>>;

    /// Ends one of a person's sessions. False when there is none.
    async fn close_portal_session(&self, person: PersonId, id: PortalSessionId) -> Result<bool>;

    /// Ends all of a person's sessions but `keep`. Answers with how many there were.
    async fn close_portal_sessions(&self, person: PersonId, keep: Option<PortalSessionId>) -> Result<u64>;

    /// Counts an attempt to sign in to `account`: a person's id, or a name that stands for accounts that there are not. The one after which a
    /// person must wait leaves an entry in the audit log of each of their organizations.
    async fn count_attempt(&self, account: &str, change: &Change) -> Result<Attempt>;

    /// Forgets the attempts: one has succeeded.
    async fn forget_attempts(&self, account: &str) -> Result<()>;
}
