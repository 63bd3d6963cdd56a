//! Signing in: password, then the second factor if there is one; confirming; signing out.
//!
//! What must stay true: an attempt is counted for the account before the password is looked at (so the number of guesses holds however
//! many come at once), and for the client's address; both are counted for accounts that there are not, too, which get the same answer after the same time.

use std::net::{IpAddr, Ipv6Addr};

use jiff::SignedDuration;
use kallglot_cluster::network_of;
use kallglot_core::Timestamp;
use kallglot_core::audit::Who;
use kallglot_core::id::{PersonId, PortalSessionId};
use kallglot_core::person::{Person, PortalSession, email_address};
use kallglot_storage::{Attempt, Shown};
use sha2::{Digest as _, Sha256};

use super::password::{Busy, is_outdated};
use super::{Code, FRESH, NewSession, SESSION_IDLE, SignedIn, Visit, after};
use crate::{App, Error};

/// Failed attempts that a client has in a minute, whatever the accounts.
const FAILED_SIGN_INS_MAX: u32 = 30;
/// For so long the second factor can be shown.
pub const PENDING_VALID: SignedDuration = SignedDuration::from_mins(10);

/// What comes of a password that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInStep {
    /// They are signed in.
    Done(NewSession),
    /// The second factor is to be shown: the cookie is that of a session that lets nobody in ([`App::pending_sign_in`]).
    SecondFactor(NewSession),
}

/// Somebody who has shown the password and is asked for the second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSignIn {
    /// What waits; to be given to [`App::open_session`] as [`Shown::SecondFactor`].
    pub session: PortalSessionId,
    /// Who.
    pub person: Person,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Wrong address, password or code: which, nobody is told.
    #[error("wrong credentials")]
    Wrong,
    /// Too many attempts, of the account's or the client's.
    #[error("too many attempts: wait {retry_after_s} s")]
    Wait {
        /// In so many seconds it can be tried again.
        retry_after_s: u32,
    },
    /// Too many are signing in: try again in a moment.
    #[error("too many people sign in at once")]
    Busy,
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<Busy> for SignInError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<kallglot_storage::StorageError> for SignInError {
    fn from(error: kallglot_storage::StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<kallglot_cluster::Unavailable> for SignInError {
    fn from(error: kallglot_cluster::Unavailable) -> Self {
        Self::Failed(error.into())
    }
}

/// Where a client's failed sign-ins are counted: under an address of nobody's network (RFC 4193) that is made of its own. Not under its own,
/// since a program behind the same address that shows a revoked key all day must not keep its people out.
pub(super) fn counted_as(address: IpAddr, what: &str) -> IpAddr {
    let mut hash = Sha256::new_with_prefix(what.as_bytes());
    match network_of(address) {
        IpAddr::V4(address) => hash.update(address.octets()),
        IpAddr::V6(address) => hash.update(address.octets()),
    }
    let hash = hash.finalize();
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&hash[..7]);
    Ipv6Addr::from(octets).into()
}

fn seconds_until(until: Timestamp, now: Timestamp) -> u32 {
    let wait_ms = until.duration_since(now).as_millis().max(1);
    u32::try_from((wait_ms + 999) / 1000).unwrap_or(u32::MAX)
}

impl App {
    /// Refuses a client that has failed too often.
    pub(super) async fn judge_address(&self, visit: &Visit<'_>) -> Result<(), SignInError> {
        let now_ms = self.clock.now().as_millisecond();
        let address = counted_as(visit.address, "sign-in");
        let window = self.cluster.failures(address, FAILED_SIGN_INS_MAX, now_ms).get().await?;
        match window.remaining() {
            0 => Err(SignInError::Wait { retry_after_s: window.retry_after_s(now_ms) }),
            _ => Ok(()),
        }
    }

    /// Counts a failure of this client; what it is to be told.
    async fn wrong(&self, visit: &Visit<'_>) -> SignInError {
        let now_ms = self.clock.now().as_millisecond();
        let address = counted_as(visit.address, "sign-in");
        match self.cluster.count_failure(address, FAILED_SIGN_INS_MAX, now_ms).get().await {
            Ok(_) => SignInError::Wrong,
            Err(unavailable) => unavailable.into(),
        }
    }

    /// Counts an attempt to show a secret of this account: a person's id, or a name for accounts that there are not.
    async fn count_attempt_at(&self, account: &str, visit: &Visit<'_>) -> Result<(), SignInError> {
        let change = self.change(Who::Server, visit.address, visit.request);
        match self.storage.count_attempt(account, &change).await? {
            Attempt::Allowed => Ok(()),
            Attempt::Locked(until) => Err(SignInError::Wait { retry_after_s: seconds_until(until, change.at) }),
        }
    }

    /// Counts an attempt to show a code of this person, before it is looked at. A sign-in forgets it; who only confirms calls
    /// [`Self::freshen`].
    ///
    /// # Errors
    /// [`SignInError::Wait`] when they may not try now.
    pub async fn count_attempt(&self, person: PersonId, visit: &Visit<'_>) -> Result<(), SignInError> {
        self.judge_address(visit).await?;
        self.count_attempt_at(&person.to_string(), visit).await
    }

    /// The refusal of an attempt after [`Self::count_attempt`] that showed something wrong.
    pub async fn failed_sign_in(&self, visit: &Visit<'_>) -> SignInError {
        self.wrong(visit).await
    }

    /// Under which name attempts at an account that there is not are counted: one of 65,536, so that they take no more room. Which, nobody can
    /// tell who has not the pepper; otherwise two addresses of one name would tell that there is no account of either.
    fn account_of_nobody(&self, email: &str) -> String {
        let hash = self.peppers().newest().derive(&format!("sign-in\n{email}"));
        format!("nobody-{:02x}{:02x}", hash[0], hash[1])
    }

    /// Signs in by password.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in(&self, email: &str, password: &str, visit: &Visit<'_>) -> Result<SignInStep, SignInError> {
        self.judge_address(visit).await?;
        // What is no address is nobody's.
        let email = email_address(email).unwrap_or_default();
        let found = self.storage.person_of_email(&email).await?;
        let account = match &found {
            Some((person, _)) => person.id.to_string(),
            None => self.account_of_nobody(&email),
        };
        self.count_attempt_at(&account, visit).await?;
        let hash = found.as_ref().and_then(|(_, hash)| hash.as_ref());
        let right = self.passwords.matches(password, hash).await?;
        let (true, Some((person, Some(mut hash)))) = (right, found) else { return Err(self.wrong(visit).await) };
        if is_outdated(&hash) {
            let new = self.passwords.hash(password, self.random.as_ref()).await?;
            self.storage.rehash_password(person.id, &hash, &new).await?;
            hash = new;
        }
        let shown = Shown::Password(hash);
        let second = self.has_second_factor(person.id).await?;
        // None: the password was changed meanwhile.
        let opened = self.open(person.id, &shown, second, visit).await?.ok_or(SignInError::Wrong)?;
        Ok(if second { SignInStep::SecondFactor(opened) } else { SignInStep::Done(opened) })
    }

    async fn open(
        &self,
        person: PersonId,
        shown: &Shown,
        pending: bool,
        visit: &Visit<'_>,
    ) -> Result<Option<NewSession>, Error> {
        let change = self.change(Who::Person(person), visit.address, visit.request);
        let (cookie, now) = (Code::new(self.random.as_ref()), change.at);
        let expires_at = after(now, if pending { PENDING_VALID } else { SESSION_IDLE });
        let session = PortalSession {
            id: PortalSessionId::new(now, self.random.as_ref()),
            person,
            pending,
            created_at: now,
            seen_at: now,
            expires_at,
            fresh_until: (!pending).then(|| after(now, FRESH)),
            user_agent: visit.user_agent(),
            address: Some(visit.address),
        };
        let opened = self.storage.open_portal_session(&session, &cookie.hash(), shown, &change).await?;
        Ok(opened.then_some(NewSession { cookie, id: session.id, person, expires_at }))
    }

    /// Signs in a person who has shown all that is asked for. None when what was shown does not hold any more.
    ///
    /// # Errors
    /// Storage's.
    pub async fn open_session(
        &self,
        person: PersonId,
        shown: &Shown,
        visit: &Visit<'_>,
    ) -> Result<Option<NewSession>, Error> {
        self.open(person, shown, false, visit).await
    }

    /// Who has this cookie and is asked for the second factor.
    ///
    /// # Errors
    /// Storage's.
    pub async fn pending_sign_in(&self, cookie: &str) -> Result<Option<PendingSignIn>, Error> {
        let Some(code) = Code::parse(cookie) else { return Ok(None) };
        let found = self.storage.portal_session(&code.hash(), self.clock.now()).await?;
        let pending = found.filter(|found| found.session.pending);
        Ok(pending.map(|found| PendingSignIn { session: found.session.id, person: found.person }))
    }

    /// Confirms by the password that it is still the same person: sensitive acts are done for [`FRESH`] from now.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn confirm_password(&self, who: &SignedIn, password: &str, visit: &Visit<'_>) -> Result<(), SignInError> {
        self.count_attempt(who.person.id, visit).await?;
        let hash = self.storage.password_of(who.person.id).await?;
        if !self.passwords.matches(password, hash.as_ref()).await? {
            return Err(self.wrong(visit).await);
        }
        Ok(self.freshen(who).await?)
    }

    /// Notes that a person has confirmed, by whatever they have shown.
    ///
    /// # Errors
    /// Storage's.
    pub async fn freshen(&self, who: &SignedIn) -> Result<(), Error> {
        self.storage.forget_attempts(&who.person.id.to_string()).await?;
        self.storage.freshen_portal_session(who.session.id, after(self.clock.now(), FRESH)).await?;
        Ok(())
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Storage's.
    pub async fn sign_out(&self, who: &SignedIn) -> Result<(), Error> {
        self.storage.close_portal_session(who.person.id, who.session.id).await?;
        Ok(())
    }
}
