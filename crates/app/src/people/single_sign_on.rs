//! Signing in with an account at the operator's OpenID Connect provider.
//!
//! What must stay true: somebody is known by issuer and subject, never by their address alone; an address ties an account at the provider to a person
//! here only when the provider says that it has verified it; an answer counts for the browser that asked, for
//! [`REQUEST_VALID`], and once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::id::{OrganizationId, PersonId};
use kallglot_core::organization::valid_name;
use kallglot_core::person::{Person, Role, email_address};
use kallglot_oidc::{Identity, Provider, RequestSecrets};
use kallglot_storage::{CodeHash, LinkIdentity, OidcIdentity, Shown, SignUp, Spent};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{NewSession, SignInError, SignedIn, Visit, after};
use crate::{App, Error};

/// How long somebody may take at the provider.
pub const REQUEST_VALID: SignedDuration = SignedDuration::from_mins(10);
/// Longest address to go on to, in bytes; a longer one is dropped.
const NEXT_BYTES_MAX: usize = 1000;

/// The provider, and whom it lets in.
pub struct SingleSignOn {
    /// What people call it: it stands on the button.
    pub name: String,
    /// The provider.
    pub provider: Provider,
    /// Domains of e-mail addresses that are let in; empty: all.
    pub email_domains: Vec<String>,
    /// Where somebody who is not known yet becomes a member, and as what. None: only who was invited gets an account.
    pub join: Option<(OrganizationId, Role)>,
}

/// Somebody who is sent to the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAway {
    /// Where to.
    pub url: String,
    /// For a cookie of [`REQUEST_VALID`]: what only this browser and the server may know. Sealed.
    pub cookie: String,
}

/// Somebody who came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameBack {
    /// They are signed in, and wanted to go on there.
    SignedIn(NewSession, String),
    /// They have confirmed that they are the same person.
    Confirmed(String),
}

/// Why somebody who came back is not let in.
#[derive(Debug, thiserror::Error)]
pub enum SingleSignOnError {
    /// There is none.
    #[error("single sign-on is not set up")]
    NotConfigured,
    /// The answer is of another browser, came too late or twice, or its address was changed.
    #[error("the answer is not to a request of this browser")]
    Stale,
    /// The provider did not say who they are.
    #[error("the provider: {0}")]
    Provider(#[from] kallglot_oidc::SignInError),
    /// The provider has not verified their address, or says none.
    #[error("the provider has not verified the address")]
    Unverified,
    /// Addresses of this domain are not let in.
    #[error("the address's domain is not let in")]
    Domain,
    /// Nobody has invited them.
    #[error("nobody has invited them")]
    NotInvited,
    /// The organization that they would join is full or not there; or the person has too many accounts at providers.
    #[error("there is no room for them")]
    TooMany,
    /// Who confirmed is somebody else than who is signed in.
    #[error("it is another person")]
    OtherPerson,
    /// The client has failed too often, or something failed.
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

impl From<Error> for SingleSignOnError {
    fn from(error: Error) -> Self {
        Self::SignIn(error.into())
    }
}

impl From<kallglot_storage::StorageError> for SingleSignOnError {
    fn from(error: kallglot_storage::StorageError) -> Self {
        Self::SignIn(error.into())
    }
}

/// What is sealed in the cookie.
#[derive(Serialize, Deserialize)]
struct Waiting {
    secrets: RequestSecrets,
    /// The session that is to be confirmed; none to sign in.
    confirms: Option<String>,
    next: String,
    expires_s: i64,
}

const PLACE: &[u8] = b"single sign-on request";

impl App {
    /// Where the provider sends people back to.
    pub fn single_sign_on_return(&self) -> String {
        format!("{}/sso/return", self.portal_url())
    }

    /// Sends somebody to the provider, who wants to go on to `next` then. `confirms`: they are signed in and are to show that they are still the same person.
    ///
    /// # Errors
    /// [`SingleSignOnError::NotConfigured`], or the provider can't be used.
    pub async fn begin_single_sign_on(
        &self,
        confirms: Option<&SignedIn>,
        next: &str,
    ) -> Result<SentAway, SingleSignOnError> {
        let sign_on = self.factors.single_sign_on.as_ref().ok_or(SingleSignOnError::NotConfigured)?;
        let now = self.clock.now();
        let secrets = RequestSecrets::new(self.random.as_ref());
        let redirect = self.single_sign_on_return();
        let url = sign_on.provider.authorization_url(&redirect, &secrets, confirms.is_some(), now).await?;
        let waiting = Waiting {
            secrets,
            confirms: confirms.map(|who| who.session.id.to_string()),
            next: if next.len() > NEXT_BYTES_MAX { String::new() } else { next.to_owned() },
            expires_s: after(now, REQUEST_VALID).as_second(),
        };
        // Texts and numbers: it can't fail.
        let text = serde_json::to_vec(&waiting).unwrap_or_default();
        let cookie = URL_SAFE_NO_PAD.encode(self.factors.seal.seal(&text, PLACE, self.random.as_ref()));
        Ok(SentAway { url, cookie })
    }

    /// Takes somebody back from the provider: who they are with this cookie, the answer's `state` and its `code`. `known` is who is signed in.
    ///
    /// # Errors
    /// [`SingleSignOnError`].
    pub async fn finish_single_sign_on(
        &self,
        known: Option<&SignedIn>,
        cookie: &str,
        state: &str,
        code: &str,
        visit: &Visit<'_>,
    ) -> Result<CameBack, SingleSignOnError> {
        let sign_on = self.factors.single_sign_on.as_ref().ok_or(SingleSignOnError::NotConfigured)?;
        self.judge_address(visit).await?;
        let now = self.clock.now();
        let Some(waiting) = self.open_waiting(cookie, state, now) else {
            return Err(SingleSignOnError::Stale);
        };
        // Before the provider is asked: of several answers at once, one goes on.
        let hash = CodeHash(Sha256::digest(waiting.secrets.state.as_bytes()).into());
        let expires_at = Timestamp::from_second(waiting.expires_s).unwrap_or(now);
        if !self.storage.spend(&Spent { hash, expires_at }).await? {
            return Err(SingleSignOnError::Stale);
        }
        let redirect = self.single_sign_on_return();
        let confirms = waiting.confirms.is_some();
        let identity = sign_on.provider.identity(code, &redirect, &waiting.secrets, confirms, now).await;
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => {
                if !matches!(error, kallglot_oidc::SignInError::Provider(_)) {
                    // What it is told is the provider's error; that it is counted is all that matters here.
                    self.failed_sign_in(visit).await;
                }
                return Err(error.into());
            }
        };
        if let Some(session) = &waiting.confirms {
            let who = known.filter(|who| who.session.id.to_string() == *session);
            let who = who.ok_or(SingleSignOnError::Stale)?;
            let person = self.storage.use_identity(&identity.issuer, &identity.subject, "", now).await?;
            if person != Some(who.person.id) {
                return Err(SingleSignOnError::OtherPerson);
            }
            self.freshen(who).await?;
            return Ok(CameBack::Confirmed(waiting.next));
        }
        let person = self.person_of_identity(sign_on, &identity, visit).await?;
        let opened = self.open_session(person, &Shown::Once, visit).await?;
        let opened = opened.ok_or(SingleSignOnError::Stale)?;
        Ok(CameBack::SignedIn(opened, waiting.next))
    }

    fn open_waiting(&self, cookie: &str, state: &str, now: Timestamp) -> Option<Waiting> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let opened = self.factors.seal.open(&sealed, PLACE).ok()?;
        let waiting: Waiting = serde_json::from_slice(&opened).ok()?;
        let same = bool::from(waiting.secrets.state.as_bytes().ct_eq(state.as_bytes()));
        (same && now.as_second() < waiting.expires_s).then_some(waiting)
    }

    /// Whom an account at the provider lets in: who is known by it, who has its verified address, or somebody new.
    async fn person_of_identity(
        &self,
        sign_on: &SingleSignOn,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<PersonId, SingleSignOnError> {
        let now = self.clock.now();
        let email = identity.verified_email.as_deref().and_then(email_address);
        let allowed = |email: &str| {
            let domain = email.rsplit('@').next().unwrap_or_default();
            sign_on.email_domains.is_empty() || sign_on.email_domains.iter().any(|one| one.eq_ignore_ascii_case(domain))
        };
        // The settings hold for who is known already, too.
        if !sign_on.email_domains.is_empty() && !email.as_deref().is_some_and(allowed) {
            return Err(if email.is_none() { SingleSignOnError::Unverified } else { SingleSignOnError::Domain });
        }
        let (issuer, subject) = (identity.issuer.as_str(), identity.subject.as_str());
        let known = self.storage.use_identity(issuer, subject, email.as_deref().unwrap_or_default(), now).await?;
        if let Some(person) = known {
            return Ok(person);
        }
        let email = email.ok_or(SingleSignOnError::Unverified)?;
        let new = |person: PersonId| OidcIdentity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            person,
            email: email.clone(),
            created_at: now,
            last_used_at: Some(now),
        };
        if let Some((person, _)) = self.storage.person_of_email(&email).await? {
            return match self.storage.link_identity(&new(person.id), &self.change_of(person.id, visit)).await? {
                LinkIdentity::Linked => Ok(person.id),
                // Somebody else's browser was faster; the next attempt finds it.
                LinkIdentity::Taken => Err(SingleSignOnError::Stale),
                LinkIdentity::TooMany => Err(SingleSignOnError::TooMany),
            };
        }
        let id = PersonId::new(now, self.random.as_ref());
        let local = email.split('@').next().unwrap_or_default().to_owned();
        let name = identity.name.as_deref().map(str::trim).filter(|name| valid_name(name));
        let person = Person {
            id,
            email: email.clone(),
            name: name.unwrap_or(&local).to_owned(),
            is_operator: false,
            password_changed_at: None,
            created_at: now,
        };
        let change = self.change_of(id, visit);
        match self.storage.sign_up_with_identity(&person, &new(id), sign_on.join, &change).await? {
            SignUp::Done => Ok(id),
            SignUp::Taken => Err(SingleSignOnError::Stale),
            SignUp::NotInvited => Err(SingleSignOnError::NotInvited),
            SignUp::TooMany => Err(SingleSignOnError::TooMany),
        }
    }
}
