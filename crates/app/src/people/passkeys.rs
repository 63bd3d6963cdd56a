//! Passkeys: made, used to sign in without a password, as the second factor, and to confirm that it is still the same person.
//!
//! What must stay true: a challenge is good for what it was drawn for, for whom, for [`CEREMONY_VALID`], and once: it is sealed with all of that, and the
//! transaction that stores what came of it spends it. So no row is written for a page that a stranger opens, and any node can take the
//! answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::id::{PasskeyId, PersonId};
use kallglot_core::organization::valid_name;
use kallglot_core::random;
use kallglot_storage::{AddPasskey, CodeHash, Passkey, Shown, Spent, UsePasskey};
use kallglot_webauthn::{Assertion, Attestation, CHALLENGE_BYTES, NoPasskeys, PublicKey, RelyingParty};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{NewSession, PendingSignIn, SignInError, SignedIn, Visit, after};
use crate::{App, Error};

/// For so long a browser's answer is taken.
pub const CEREMONY_VALID: SignedDuration = SignedDuration::from_mins(5);

/// What a passkey is made or used for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// To add one.
    Add(&'a SignedIn),
    /// To sign in: whoever it is.
    SignIn,
    /// To sign in after the password.
    SecondFactor(&'a PendingSignIn),
    /// To confirm that it is still the same person.
    Confirm(&'a SignedIn),
}

impl Purpose<'_> {
    /// What a challenge is sealed for.
    fn place(&self) -> String {
        match self {
            Self::Add(who) => format!("passkey add\n{}", who.session.id),
            Self::SignIn => "passkey sign-in".into(),
            Self::SecondFactor(pending) => format!("passkey second factor\n{}", pending.session),
            Self::Confirm(who) => format!("passkey confirm\n{}", who.session.id),
        }
    }
}

/// A ceremony that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// What the browser is asked (`PublicKeyCredentialCreationOptionsJSON` or `PublicKeyCredentialRequestOptionsJSON`).
    pub options: Value,
    /// What is to come back with its answer.
    pub ceremony: String,
}

/// Why a passkey was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddPasskeyError {
    /// There can be none at this server's address.
    #[error(transparent)]
    NoPasskeys(#[from] NoPasskeys),
    /// The answer came too late, twice, or is not genuine.
    #[error("the browser's answer is not valid")]
    Invalid,
    /// It is there already.
    #[error("the passkey is there already")]
    Taken,
    /// The person has as many as there can be.
    #[error("there are too many passkeys")]
    TooMany,
    /// It needs a name of 1 to 100 characters.
    #[error("the name is not valid")]
    Name,
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<kallglot_storage::StorageError> for AddPasskeyError {
    fn from(error: kallglot_storage::StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// A challenge that was drawn here and may still be answered.
struct Open {
    challenge: [u8; CHALLENGE_BYTES],
    spent: Spent,
}

impl App {
    /// The site that passkeys are for.
    ///
    /// # Errors
    /// Why there can be none at this server's address.
    pub fn relying_party(&self) -> Result<RelyingParty, NoPasskeys> {
        RelyingParty::of_url(&self.portal_url())
    }

    /// Begins a ceremony.
    ///
    /// # Errors
    /// There can be no passkeys here, or storage's.
    pub async fn begin_passkey(&self, purpose: Purpose<'_>) -> Result<Ceremony, AddPasskeyError> {
        let party = self.relying_party()?;
        let challenge: [u8; CHALLENGE_BYTES] = random::bytes(self.random.as_ref());
        let person = match purpose {
            Purpose::Add(who) | Purpose::Confirm(who) => Some(&who.person),
            Purpose::SecondFactor(pending) => Some(&pending.person),
            Purpose::SignIn => None,
        };
        let known = match person {
            Some(person) => self.storage.passkeys(person.id).await?,
            None => Vec::new(),
        };
        let known: Vec<_> = known.into_iter().map(|passkey| passkey.credential).collect();
        let options = match (purpose, person) {
            (Purpose::Add(_), Some(person)) => {
                let handle = person.id.to_string();
                party.creation_options(&challenge, handle.as_bytes(), &person.email, &person.name, &known)
            }
            _ => party.request_options(&challenge, &known),
        };
        let expires_at = after(self.clock.now(), CEREMONY_VALID);
        let mut sealed = expires_at.as_second().to_be_bytes().to_vec();
        sealed.extend_from_slice(&challenge);
        let sealed = self.factors.seal.seal(&sealed, purpose.place().as_bytes(), self.random.as_ref());
        Ok(Ceremony { options, ceremony: URL_SAFE_NO_PAD.encode(sealed) })
    }

    /// The challenge of a ceremony of this purpose that is not too old.
    fn open_ceremony(&self, purpose: Purpose<'_>, ceremony: &str) -> Option<Open> {
        let sealed = URL_SAFE_NO_PAD.decode(ceremony).ok()?;
        let opened = self.factors.seal.open(&sealed, purpose.place().as_bytes()).ok()?;
        let (second, challenge) = opened.split_first_chunk::<8>()?;
        let expires_at = Timestamp::from_second(i64::from_be_bytes(*second)).ok()?;
        if expires_at <= self.clock.now() {
            return None;
        }
        let hash = CodeHash(Sha256::digest(challenge).into());
        Some(Open { challenge: challenge.try_into().ok()?, spent: Spent { hash, expires_at } })
    }

    /// Adds the passkey that a browser has made for a ceremony [`Purpose::Add`].
    ///
    /// # Errors
    /// [`AddPasskeyError`].
    pub async fn add_passkey(
        &self,
        who: &SignedIn,
        name: &str,
        ceremony: &str,
        answer: &str,
        visit: &Visit<'_>,
    ) -> Result<(), AddPasskeyError> {
        let party = self.relying_party()?;
        let name = name.trim();
        if !valid_name(name) {
            return Err(AddPasskeyError::Name);
        }
        let open = self.open_ceremony(Purpose::Add(who), ceremony).ok_or(AddPasskeyError::Invalid)?;
        let made = Attestation::parse(answer).and_then(|answer| answer.verify(&party, &open.challenge));
        let made = made.map_err(|why| {
            tracing::warn!(person = %who.person.id, %why, "a new passkey was refused");
            AddPasskeyError::Invalid
        })?;
        let now = self.clock.now();
        let passkey = Passkey {
            id: PasskeyId::new(now, self.random.as_ref()),
            person: who.person.id,
            name: name.to_owned(),
            credential: made.id,
            public_key: made.public_key,
            sign_count: made.sign_count,
            backup_eligible: made.backup_eligible,
            backed_up: made.backed_up,
            created_at: now,
            last_used_at: None,
        };
        match self.storage.add_passkey(&passkey, &open.spent, &self.change_of(who.person.id, visit)).await? {
            AddPasskey::Added => Ok(()),
            AddPasskey::Spent => Err(AddPasskeyError::Invalid),
            AddPasskey::Taken => Err(AddPasskeyError::Taken),
            AddPasskey::TooMany => Err(AddPasskeyError::TooMany),
        }
    }

    /// Whose passkey has answered a ceremony, and is used by that. None for what is not genuine, came too late or twice, or is another person's than `of`.
    async fn passkey_used(
        &self,
        purpose: Purpose<'_>,
        of: Option<PersonId>,
        ceremony: &str,
        answer: &str,
    ) -> Result<Option<PersonId>, Error> {
        let Ok(party) = self.relying_party() else { return Ok(None) };
        let Some(open) = self.open_ceremony(purpose, ceremony) else { return Ok(None) };
        let Ok(answer) = Assertion::parse(answer) else { return Ok(None) };
        let Some(passkey) = self.storage.passkey_of_credential(&answer.credential_id).await? else { return Ok(None) };
        let owner = passkey.person.to_string();
        let says_so = match &answer.user_handle {
            Some(handle) => handle == owner.as_bytes(),
            // A browser that was not told whom it is about has to say it (WebAuthn, section 7.2, step 6).
            None => of.is_some(),
        };
        if !says_so || of.is_some_and(|person| person != passkey.person) {
            return Ok(None);
        }
        let key = PublicKey::parse(&passkey.public_key);
        let key = key.ok_or_else(|| kallglot_storage::StorageError::Corrupt {
            table: "passkeys",
            column: "public_key",
            id: passkey.id.to_string(),
        })?;
        let verified = match answer.verify(&party, &open.challenge, &key, passkey.backup_eligible) {
            Ok(verified) => verified,
            Err(why) => {
                tracing::warn!(passkey = %passkey.id, %why, "the use of a passkey was refused");
                return Ok(None);
            }
        };
        let (count, backed_up) = (verified.sign_count, verified.backed_up);
        let now = self.clock.now();
        let used = self.storage.use_passkey(passkey.person, passkey.id, count, backed_up, &open.spent, now).await?;
        if used == UsePasskey::Copied {
            tracing::warn!(passkey = %passkey.id, "a passkey was refused since its count has not grown: there may be a copy of its authenticator");
        }
        Ok((used == UsePasskey::Used).then_some(passkey.person))
    }

    /// Signs in by a passkey alone.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in_with_passkey(
        &self,
        ceremony: &str,
        answer: &str,
        visit: &Visit<'_>,
    ) -> Result<NewSession, SignInError> {
        // Signatures can't be guessed, so no account is locked by wrong ones: only the client has a bound.
        self.judge_address(visit).await?;
        let Some(person) = self.passkey_used(Purpose::SignIn, None, ceremony, answer).await? else {
            return Err(self.failed_sign_in(visit).await);
        };
        let opened = self.open_session(person, &Shown::Once, visit).await?;
        opened.ok_or(SignInError::Wrong)
    }

    /// Signs in who has shown the password and now a passkey.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn second_factor_by_passkey(
        &self,
        pending: &PendingSignIn,
        ceremony: &str,
        answer: &str,
        visit: &Visit<'_>,
    ) -> Result<NewSession, SignInError> {
        self.judge_address(visit).await?;
        let person = pending.person.id;
        let purpose = Purpose::SecondFactor(pending);
        if self.passkey_used(purpose, Some(person), ceremony, answer).await?.is_none() {
            return Err(self.failed_sign_in(visit).await);
        }
        let opened = self.open_session(person, &Shown::SecondFactor(pending.session), visit).await?;
        opened.ok_or(SignInError::Wrong)
    }

    /// Confirms by a passkey that it is still the same person: sensitive acts are done for [`super::FRESH`] from now.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn confirm_passkey(
        &self,
        who: &SignedIn,
        ceremony: &str,
        answer: &str,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        self.judge_address(visit).await?;
        let person = who.person.id;
        if self.passkey_used(Purpose::Confirm(who), Some(person), ceremony, answer).await?.is_none() {
            return Err(self.failed_sign_in(visit).await);
        }
        Ok(self.freshen(who).await?)
    }

    /// Gives a passkey another name. False when the person has none of this id, or the name is not valid.
    ///
    /// # Errors
    /// Storage's.
    pub async fn rename_passkey(&self, who: &SignedIn, id: PasskeyId, name: &str) -> Result<bool, Error> {
        let name = name.trim();
        Ok(valid_name(name) && self.storage.rename_passkey(who.person.id, id, name).await?)
    }

    /// Removes a passkey. False when the person has none of this id.
    ///
    /// # Errors
    /// Storage's.
    pub async fn remove_passkey(&self, who: &SignedIn, id: PasskeyId, visit: &Visit<'_>) -> Result<bool, Error> {
        Ok(self.storage.remove_passkey(who.person.id, id, &self.change_of(who.person.id, visit)).await?)
    }
}
