//! Links that work once: to the first account, to a membership, to a new password.
//!
//! A code stands after the `#` of its link, where no server, proxy or log sees it; the page takes it from there into a form.

use jiff::SignedDuration;
use kallglot_core::audit::{Change, Who};
use kallglot_core::id::{OrganizationId, PersonId, PortalLinkId};
use kallglot_core::organization::valid_name;
use kallglot_core::person::{Invitation, Person, PortalLink, Role, email_address};
use kallglot_core::random::RandomSource;
use kallglot_storage::{Invite, Invited, PasswordHash, Shown, Storage, StorageError, UseLink};

use super::organization::{FIRST_CREDITS, new_organization};
use super::password::Busy;
use super::sign_in::counted_as;
use super::{Code, NewSession, SignedIn, Visit, WeakPassword, after, judge_password};
use crate::{App, Error};

/// For so long the link to the first account can be used.
pub const SETUP_VALID: SignedDuration = SignedDuration::from_hours(24);
/// For so long an invitation can be accepted.
pub const INVITATION_VALID: SignedDuration = SignedDuration::from_hours(7 * 24);
/// For so long a link to a new password can be used.
pub const PASSWORD_RESET_VALID: SignedDuration = SignedDuration::from_hours(1);
/// Most links to new passwords that a client may ask for in a minute.
const RESETS_MAX: u32 = 10;

/// An account that is to be made.
#[derive(Clone)]
pub struct Account<'a> {
    /// The person's name.
    pub name: &'a str,
    /// Their password.
    pub password: &'a str,
}

/// Why a link did not do what it is for.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no such link, it was used or taken back, or its time is over.
    #[error("the link can't be used any more")]
    Invalid,
    /// There is an account of the invitation's address: it is for who signs in to that.
    #[error("there is an account of this address")]
    SignInFirst,
    /// The invitation is for another address than that of who is signed in.
    #[error("the invitation is for another address")]
    NotForYou,
    /// The organization or the person has as many members or memberships as there can be.
    #[error("there are as many as there can be")]
    TooMany,
    /// The password is not good enough.
    #[error(transparent)]
    Password(#[from] WeakPassword),
    /// A field is wrong: which, and what to do.
    #[error("{0}: {1}")]
    Field(&'static str, &'static str),
    /// Too many are at it at once: try again in a moment.
    #[error("too many at once")]
    Busy,
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<Busy> for LinkError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<StorageError> for LinkError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// How a link reaches whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// By mail.
    Mailed,
    /// By whoever made it: this is the link, which nobody is shown again.
    Show(String),
}

fn done<T>(used: UseLink<T>) -> Result<T, LinkError> {
    match used {
        UseLink::Done(done) => Ok(done),
        UseLink::Invalid => Err(LinkError::Invalid),
        UseLink::EmailTaken => Err(LinkError::SignInFirst),
        UseLink::NotForYou => Err(LinkError::NotForYou),
        UseLink::TooMany => Err(LinkError::TooMany),
    }
}

fn name(name: &str) -> Result<String, LinkError> {
    let name = name.trim();
    match valid_name(name) {
        true => Ok(name.to_owned()),
        false => Err(LinkError::Field("name", "A name has 1 to 100 characters.")),
    }
}

/// The address of the page on which this code is used.
fn link_with(portal_url: &str, code: &Code) -> String {
    format!("{portal_url}/link#{}", code.expose())
}

/// A new link to the first account; none when there is somebody already. `portal_url` as [`portal_url`](super::portal_url) gives it.
///
/// # Errors
/// Storage's.
pub async fn setup_link(
    storage: &dyn Storage,
    portal_url: &str,
    random: &dyn RandomSource,
    change: &Change,
) -> Result<Option<String>, StorageError> {
    if storage.has_people().await? {
        return Ok(None);
    }
    let code = Code::new(random);
    let id = PortalLinkId::new(change.at, random);
    let link = PortalLink::Setup { id, created_at: change.at, expires_at: after(change.at, SETUP_VALID) };
    storage.create_link(&link, &code.hash(), change).await?;
    Ok(Some(link_with(portal_url, &code)))
}

/// A new link to a new password of the person of this address; none when there is nobody.
///
/// # Errors
/// Storage's.
pub async fn password_reset_link(
    storage: &dyn Storage,
    email: &str,
    portal_url: &str,
    random: &dyn RandomSource,
    change: &Change,
) -> Result<Option<String>, StorageError> {
    let Some(email) = email_address(email) else { return Ok(None) };
    let Some((person, _)) = storage.person_of_email(&email).await? else { return Ok(None) };
    Ok(Some(reset_link_of(storage, &person, portal_url, random, change).await?))
}

async fn reset_link_of(
    storage: &dyn Storage,
    person: &Person,
    portal_url: &str,
    random: &dyn RandomSource,
    change: &Change,
) -> Result<String, StorageError> {
    let code = Code::new(random);
    let link = PortalLink::PasswordReset {
        id: PortalLinkId::new(change.at, random),
        person: person.id,
        email: person.email.clone(),
        created_at: change.at,
        expires_at: after(change.at, PASSWORD_RESET_VALID),
    };
    storage.create_link(&link, &code.hash(), change).await?;
    Ok(link_with(portal_url, &code))
}

impl App {
    /// What the link of this code is for; none when it can't be used.
    ///
    /// # Errors
    /// Storage's.
    pub async fn link_of(&self, code: &Code) -> Result<Option<PortalLink>, Error> {
        Ok(self.storage.link_of_code(&code.hash(), self.clock.now()).await?)
    }

    async fn new_password(&self, password: &str, own: &[&str]) -> Result<PasswordHash, LinkError> {
        judge_password(password, own)?;
        Ok(self.passwords.hash(password, self.random.as_ref()).await?)
    }

    /// Makes the first account, which is an operator's, and its organization; they are signed in.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn set_up(
        &self,
        code: &Code,
        email: &str,
        account: &Account<'_>,
        organization_name: &str,
        visit: &Visit<'_>,
    ) -> Result<NewSession, LinkError> {
        let name = name(account.name)?;
        let email = email_address(email).ok_or(LinkError::Field("email", "This is no e-mail address."))?;
        if !valid_name(organization_name.trim()) {
            return Err(LinkError::Field("organization", "A name has 1 to 100 characters."));
        }
        // Before the password costs anything: who has no link could make the server work.
        if !matches!(self.link_of(code).await?, Some(PortalLink::Setup { .. })) {
            return Err(LinkError::Invalid);
        }
        let password = self.new_password(account.password, &[&email, &name, organization_name]).await?;
        let now = self.clock.now();
        let id = PersonId::new(now, self.random.as_ref());
        let change = self.change_of(id, visit);
        let person = Person { id, email, name, is_operator: true, password_changed_at: Some(now), created_at: now };
        let organization = new_organization(organization_name.trim(), now, self.random.as_ref());
        let hash = code.hash();
        let made = self.storage.set_up(&hash, &person, Some(&password), &organization, FIRST_CREDITS, &change).await?;
        done(made)?;
        self.opened(id, visit).await
    }

    /// Signs in who has just used a link.
    async fn opened(&self, person: PersonId, visit: &Visit<'_>) -> Result<NewSession, LinkError> {
        self.open_session(person, &Shown::Once, visit).await?.ok_or(LinkError::Invalid)
    }

    /// Accepts an invitation with a new account; they are signed in. Answers also with the organization.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn accept_with_new_account(
        &self,
        code: &Code,
        account: &Account<'_>,
        visit: &Visit<'_>,
    ) -> Result<(NewSession, OrganizationId), LinkError> {
        let name = name(account.name)?;
        let Some(PortalLink::Invitation(invitation)) = self.link_of(code).await? else {
            return Err(LinkError::Invalid);
        };
        let password = self.new_password(account.password, &[&invitation.email, &name]).await?;
        let now = self.clock.now();
        let id = PersonId::new(now, self.random.as_ref());
        let person = Person {
            id,
            email: invitation.email,
            name,
            is_operator: false,
            password_changed_at: Some(now),
            created_at: now,
        };
        let invited = Invited::New(Box::new(person), Some(password));
        let change = self.change_of(id, visit);
        let organization = done(self.storage.accept_invitation(&code.hash(), &invited, &change).await?)?;
        Ok((self.opened(id, visit).await?, organization))
    }

    /// Accepts an invitation as who is signed in.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn accept_invitation(
        &self,
        code: &Code,
        who: &SignedIn,
        visit: &Visit<'_>,
    ) -> Result<OrganizationId, LinkError> {
        let change = self.change_of(who.person.id, visit);
        done(self.storage.accept_invitation(&code.hash(), &Invited::Known(who.person.id), &change).await?)
    }

    /// Invites somebody to an organization. Whether `who` may, the storage judges at that moment.
    ///
    /// # Errors
    /// [`LinkError::Field`] for the address; storage's.
    pub async fn invite(
        &self,
        who: &SignedIn,
        organization: OrganizationId,
        email: &str,
        role: Role,
        visit: &Visit<'_>,
    ) -> Result<Result<Sent, Invite>, LinkError> {
        let email = email_address(email).ok_or(LinkError::Field("email", "This is no e-mail address."))?;
        let named = who.memberships.iter().find(|one| one.organization == organization);
        let organization_name = named.map(|one| one.organization_name.clone()).unwrap_or_default();
        let (code, change) = (Code::new(self.random.as_ref()), self.change_of(who.person.id, visit));
        let invitation = Invitation {
            id: PortalLinkId::new(change.at, self.random.as_ref()),
            organization,
            organization_name,
            role,
            email,
            made_by: who.person.id,
            created_at: change.at,
            expires_at: after(change.at, INVITATION_VALID),
        };
        match self.storage.invite(&invitation, &code.hash(), &change).await? {
            Invite::Made => {}
            refused => return Ok(Err(refused)),
        }
        let link = link_with(&self.portal_url(), &code);
        let subject = format!("{} invites you to {}", who.person.name, invitation.organization_name);
        let text = format!(
            "{} ({}) invites you to {} on Kallglot, as {}.\n\nOpen this link to accept. It works once, until {}:\n\n{link}\n\n\
             If you did not expect this, do nothing.\n",
            who.person.name,
            who.person.email,
            invitation.organization_name,
            role.title(),
            invitation.expires_at.strftime("%Y-%m-%d %H:%M UTC"),
        );
        Ok(Ok(match self.send_mail(&invitation.email, &subject, &text) {
            Ok(()) => Sent::Mailed,
            Err(_) => Sent::Show(link),
        }))
    }

    /// Mails a link to a new password to this address, if there is an account of it; whether there is, the caller can't tell. Done in the
    /// background: it must take as long for nobody as for somebody.
    pub async fn mail_password_reset(self: &std::sync::Arc<Self>, email: &str, visit: &Visit<'_>) {
        let now_ms = self.clock.now().as_millisecond();
        let address = counted_as(visit.address, "password reset");
        let counted = self.cluster.count_failure(address, RESETS_MAX, now_ms).get().await;
        if !counted.is_ok_and(|window| window.used <= RESETS_MAX) {
            return;
        }
        let (Some(email), Ok(place)) = (email_address(email), self.passwords.background()) else { return };
        let change = self.change(Who::Server, visit.address, visit.request);
        let app = std::sync::Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = app.mail_reset(&email, &change).await {
                tracing::warn!(%error, "a link to a new password could not be made");
            }
        });
    }

    async fn mail_reset(&self, email: &str, change: &Change) -> Result<(), StorageError> {
        let Some((person, _)) = self.storage.person_of_email(email).await? else { return Ok(()) };
        // So many per account and no more, by whomever they are asked for.
        let account = format!("reset {}", person.id);
        if self.storage.count_attempt(&account, change).await? != kallglot_storage::Attempt::Allowed {
            return Ok(());
        }
        let link =
            reset_link_of(self.storage.as_ref(), &person, &self.portal_url(), self.random.as_ref(), change).await?;
        let text = format!(
            "Somebody, hopefully you, has asked for a new password for {} on Kallglot.\n\nOpen this link to set one. It works once, \
             for an hour:\n\n{link}\n\nIf it was not you, do nothing: your password stays as it is.\n",
            person.email,
        );
        if let Err(error) = self.send_mail(&person.email, "Set a new password", &text) {
            tracing::warn!(%error, "a link to a new password could not be mailed");
        }
        Ok(())
    }

    /// Sets a new password by a link. All sessions of the person end; they are to sign in with it.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn reset_password(&self, code: &Code, password: &str, visit: &Visit<'_>) -> Result<PersonId, LinkError> {
        let Some(PortalLink::PasswordReset { person, email, .. }) = self.link_of(code).await? else {
            return Err(LinkError::Invalid);
        };
        let hash = self.new_password(password, &[&email]).await?;
        let change = self.change_of(person, visit);
        done(self.storage.reset_password(&code.hash(), &hash, &change).await?)
    }

    /// Sets another password of who is signed in and has confirmed. Their other sessions end.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn change_password(&self, who: &SignedIn, password: &str, visit: &Visit<'_>) -> Result<(), LinkError> {
        let hash = self.new_password(password, &[&who.person.email, &who.person.name]).await?;
        let change = self.change_of(who.person.id, visit);
        self.storage.set_password(who.person.id, &hash, Some(who.session.id), &change).await?;
        Ok(())
    }
}
