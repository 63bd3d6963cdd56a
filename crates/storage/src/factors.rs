//! What lets people in beside their password: passkeys, authenticator apps with recovery codes, accounts at the single sign-on provider.
//!
//! What must stay true: what may be used once (a challenge, a code of an app, a recovery code) is used up in the transaction that says that it was
//! good, whichever node asks; everything here belongs to a person, and whatever names it names the person too.

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::audit::Change;
use kallglot_core::id::{OrganizationId, PasskeyId, PersonId};
use kallglot_core::person::{Person, Role};

use crate::{CodeHash, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// Most passkeys of a person.
pub const PASSKEYS_MAX: u32 = 20;
/// Most accounts at a provider that let one person in.
pub const IDENTITIES_MAX: u32 = 10;
/// How many recovery codes a person gets at once.
pub const RECOVERY_CODES: usize = 10;

/// Something that is used once, as it is used: a ceremony's challenge, a sign-in request's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// SHA-256 of it.
    pub hash: CodeHash,
    /// When it would have expired anyway: until then it is remembered.
    pub expires_at: Timestamp,
}

/// A passkey as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Its id; not what authenticators know it by.
    pub id: PasskeyId,
    /// Whose it is.
    pub person: PersonId,
    /// What its owner calls it; valid by [`valid_name`](kallglot_core::organization::valid_name).
    pub name: String,
    /// What authenticators know it by: 1 to 1023 bytes, different for each.
    pub credential: Vec<u8>,
    /// Its public key in COSE's form.
    pub public_key: Vec<u8>,
    /// How often it was used, as its authenticator counts; 0 for those that don't.
    pub sign_count: u32,
    /// Whether it can be copied to other devices of its owner.
    pub backup_eligible: bool,
    /// Whether it is.
    pub backed_up: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// What became of adding a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddPasskey {
    /// It is there.
    Added,
    /// The challenge was used before.
    Spent,
    /// There is one that authenticators know by the same.
    Taken,
    /// The person has [`PASSKEYS_MAX`] already.
    TooMany,
}

/// What became of using a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsePasskey {
    /// It was used.
    Used,
    /// The challenge was used before.
    Spent,
    /// Its count has not grown: there is a copy of its authenticator.
    Copied,
    /// There is none, or no more.
    NotFound,
}

/// A person's authenticator app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totp {
    /// The secret that it shares with us, sealed.
    pub sealed_secret: Vec<u8>,
    /// When it was set up.
    pub created_at: Timestamp,
}

/// A person's account at the single sign-on provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIdentity {
    /// Which provider: its issuer identifier.
    pub issuer: String,
    /// What it calls them; with `issuer` different for each.
    pub subject: String,
    /// Whose it is.
    pub person: PersonId,
    /// The address that the provider had when it was last used.
    pub email: String,
    /// Since when it lets them in.
    pub created_at: Timestamp,
    /// When it last did.
    pub last_used_at: Option<Timestamp>,
}

/// What became of linking an account at the provider to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkIdentity {
    /// It lets them in from now on.
    Linked,
    /// It lets in somebody already.
    Taken,
    /// The person has [`IDENTITIES_MAX`] already.
    TooMany,
}

/// What became of making an account for somebody whom the provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUp {
    /// They are there.
    Done,
    /// The provider's account lets in somebody already, or there is an account of this e-mail address.
    Taken,
    /// Nobody has invited them, and the settings name no organization for everybody.
    NotInvited,
    /// The organization has as many members as there can be, or is not there.
    TooMany,
}

/// Passkeys, authenticator apps, recovery codes, accounts at the provider.
#[async_trait]
pub trait FactorRepository: Send + Sync {
    /// Uses something up. False when it was before.
    async fn spend(&self, spent: &Spent) -> Result<bool>;

    /// Adds a passkey, with an entry in the audit log of each of the person's organizations.
    async fn add_passkey(&self, passkey: &Passkey, spent: &Spent, change: &Change) -> Result<AddPasskey>;

    /// A person's passkeys, newest first: at most [`PASSKEYS_MAX`].
    async fn passkeys(&self, person: PersonId) -> Result<Vec<Passkey>>;

    /// The passkey that authenticators know by this.
    async fn passkey_of_credential(&self, credential: &[u8]) -> Result<Option<Passkey>>;

    /// Notes a use at `at`. Unless both the stored count and the new one are 0, the new one must be more.
    async fn use_passkey(
        &self,
        person: PersonId,
        id: PasskeyId,
        sign_count: u32,
        backed_up: bool,
        spent: &Spent,
        at: Timestamp,
    ) -> Result<UsePasskey>;

    /// Gives a passkey another name. False when the person has none of this id.
    async fn rename_passkey(&self, person: PersonId, id: PasskeyId, name: &str) -> Result<bool>;

    /// Removes a passkey, with an entry in the audit log of each of the person's organizations. False when the person has none of this id.
    async fn remove_passkey(&self, person: PersonId, id: PasskeyId, change: &Change) -> Result<bool>;

    /// A person's authenticator app. Who has one must show it, or something better, after the password.
    async fn totp(&self, person: PersonId) -> Result<Option<Totp>>;

    /// Sets up an authenticator app of which the code of `step` was shown, and recovery codes in place of those before, with an entry in the
    /// audit log of each of the person's organizations. False when there is one already.
    async fn set_totp(
        &self,
        person: PersonId,
        totp: &Totp,
        step: i64,
        recovery_codes: &[CodeHash],
        change: &Change,
    ) -> Result<bool>;

    /// Uses the code of a step up, and those of all steps before. False when it was before, or there is no app.
    async fn use_totp(&self, person: PersonId, step: i64) -> Result<bool>;

    /// Removes the authenticator app and the recovery codes, with an entry in the audit log of each of the person's organizations. False when there
    /// is none.
    async fn remove_totp(&self, person: PersonId, change: &Change) -> Result<bool>;

    /// Replaces the recovery codes, with an entry in the audit log of each of the person's organizations. False when there is no app that they could
    /// stand in for.
    async fn replace_recovery_codes(&self, person: PersonId, codes: &[CodeHash], change: &Change) -> Result<bool>;

    /// How many recovery codes a person has left.
    async fn recovery_codes_left(&self, person: PersonId) -> Result<u32>;

    /// Uses a recovery code up, with an entry in the audit log of each of the person's organizations. False when there is none such.
    async fn use_recovery_code(&self, person: PersonId, code: &CodeHash, change: &Change) -> Result<bool>;

    /// Whom an account at the provider lets in; notes that it did.
    async fn use_identity(&self, issuer: &str, subject: &str, email: &str, at: Timestamp) -> Result<Option<PersonId>>;

    /// A person's accounts at providers, newest first: at most [`IDENTITIES_MAX`].
    async fn identities(&self, person: PersonId) -> Result<Vec<OidcIdentity>>;

    /// Lets an account at the provider let a person in, with an entry in the audit log of each of the person's organizations.
    async fn link_identity(&self, identity: &OidcIdentity, change: &Change) -> Result<LinkIdentity>;

    /// Makes an account for somebody whom the provider knows: as a member of `join` with that role, or of every organization that has
    /// invited this e-mail address, whose invitations are used up. With entries in the organizations' audit logs.
    async fn sign_up_with_identity(
        &self,
        person: &Person,
        identity: &OidcIdentity,
        join: Option<(OrganizationId, Role)>,
        change: &Change,
    ) -> Result<SignUp>;

    /// Lets an account at the provider let nobody in any more, with an entry in the audit log of each of the person's organizations. False when it was not
    /// this person's.
    async fn unlink_identity(&self, person: PersonId, issuer: &str, subject: &str, change: &Change) -> Result<bool>;
}
