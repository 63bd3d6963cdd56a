//! People at the Developer Portal: who is signed in, and by what they got there.
//!
//! What must stay true:
//! - A cookie or a link's code is 256 random bits, shown once, and stored as its SHA-256 only.
//! - Each sign-in makes a new session with a new cookie; none that a browser brought along is ever signed in (session fixation).
//! - A session is looked up for each request, in one query, and never remembered: ended on one node, it has ended on all.
//! - Nothing here tells whether there is an account: not by an answer, a wait or the time that it takes.

mod link;
mod organization;
mod passkeys;
mod password;
mod second_factor;
mod sign_in;
mod single_sign_on;
mod totp;

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::audit::{Change, Who};
use kallglot_core::id::{OrganizationId, PersonId, PortalSessionId, RequestId};
use kallglot_core::person::{Membership, Person, PortalSession, Role, USER_AGENT_CHARS_MAX};
use kallglot_core::random::{self, RandomSource};
use kallglot_storage::{CodeHash, FoundSession};
use sha2::{Digest as _, Sha256};

pub use link::{
    Account, INVITATION_VALID, LinkError, PASSWORD_RESET_VALID, SETUP_VALID, Sent, password_reset_link, setup_link,
};
pub use organization::{FIRST_CREDITS, new_organization};
pub use passkeys::{AddPasskeyError, CEREMONY_VALID, Ceremony, Purpose};
pub use password::{Passwords, WeakPassword, judge_password};
pub use second_factor::Factors;
pub use sign_in::{PENDING_VALID, PendingSignIn, SignInError, SignInStep};
pub use single_sign_on::{CameBack, REQUEST_VALID, SentAway, SingleSignOn, SingleSignOnError};
pub use totp::{EnrolError, TotpEnrolment};

use crate::{App, Error};

/// So long after its last use a session ends.
pub const SESSION_IDLE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So long after the sign-in a session ends, however much it is used.
pub const SESSION_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// For so long after a sign-in or a confirmation sensitive acts are done without another one.
pub const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// How often at most it is noted that a session is used.
const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// 256 random bits, as text: what is in a cookie or after a link's `#`. It does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

/// How many characters a code has.
pub const CODE_CHARS: usize = 43;

impl Code {
    fn new(random: &dyn RandomSource) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::bytes::<32>(random)))
    }

    /// What `text` is, if it looks like a code; spaces around one that was pasted are passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (text.len() == CODE_CHARS && text.bytes().all(digits)).then(|| Self(text.to_owned()))
    }

    /// The text, to be sent to whom it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> CodeHash {
        CodeHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// What forms of the session with this cookie carry: who can't read the cookie can't make it.
    fn csrf(&self) -> String {
        let mut hash = Sha256::new_with_prefix(b"kallglot portal form\n");
        hash.update(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code")
    }
}

/// From where a request of a browser comes.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// The request's id.
    pub request: RequestId,
    /// What the browser calls itself; what is too long is cut.
    pub user_agent: &'a str,
}

impl Visit<'_> {
    fn user_agent(&self) -> String {
        self.user_agent.chars().filter(|it| !it.is_control()).take(USER_AGENT_CHARS_MAX).collect()
    }
}

/// A session that was just opened: its cookie is to be set, in place of the one that the browser brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// What the cookie holds.
    pub cookie: Code,
    /// Its id.
    pub id: PortalSessionId,
    /// Whose it is.
    pub person: PersonId,
    /// When the cookie can be dropped.
    pub expires_at: Timestamp,
}

/// Somebody who is signed in, with everything that a page needs to judge what they may.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The session.
    pub session: PortalSession,
    /// What forms of this session hold, so that no other site can send them.
    pub csrf: String,
    /// Who.
    pub person: Person,
    /// What they belong to, by the organizations' names.
    pub memberships: Vec<Membership>,
}

impl SignedIn {
    /// What they are in this organization; none for a stranger.
    pub fn role(&self, organization: OrganizationId) -> Option<Role> {
        self.memberships.iter().find(|one| one.organization == organization).map(|one| one.role)
    }
}

fn after(now: Timestamp, time: SignedDuration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Where people reach the portal of the server at `public_url`, without a slash at the end. A browser allows passkeys for names only, so this
/// machine's own address is said by its name.
pub fn portal_url(public_url: &str) -> String {
    for own in ["http://127.0.0.1", "http://[::1]", "http://0.0.0.0", "http://[::]"] {
        if let Some(rest) = public_url.strip_prefix(own)
            && (rest.is_empty() || rest.starts_with(':'))
        {
            return format!("http://localhost{rest}/portal");
        }
    }
    format!("{public_url}/portal")
}

impl App {
    /// Who is signed in with this cookie; none when nobody is, or when a second factor is still to be shown.
    ///
    /// # Errors
    /// Storage's.
    pub async fn signed_in(&self, cookie: &str) -> Result<Option<SignedIn>, Error> {
        let Some(code) = Code::parse(cookie) else { return Ok(None) };
        let now = self.clock.now();
        let Some(found) = self.storage.portal_session(&code.hash(), now).await? else { return Ok(None) };
        let FoundSession { session, person, memberships } = found;
        if session.pending {
            return Ok(None);
        }
        if now.duration_since(session.seen_at) >= SEEN_EVERY {
            let expires_at = after(now, SESSION_IDLE).min(after(session.created_at, SESSION_LASTS));
            self.storage.touch_portal_session(session.id, now, expires_at).await?;
        }
        Ok(Some(SignedIn { session, csrf: code.csrf(), person, memberships }))
    }

    /// A change that a person makes by this request.
    pub fn change_of(&self, person: PersonId, visit: &Visit<'_>) -> Change {
        self.change(Who::Person(person), visit.address, visit.request)
    }

    /// Where people reach the portal: see [`portal_url`].
    pub fn portal_url(&self) -> String {
        portal_url(&self.config.public_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_said_by_its_name() {
        assert_eq!(portal_url("http://127.0.0.1:8080"), "http://localhost:8080/portal");
        assert_eq!(portal_url("http://[::1]:8080"), "http://localhost:8080/portal");
        assert_eq!(portal_url("http://0.0.0.0:8080"), "http://localhost:8080/portal");
        assert_eq!(portal_url("https://api.example.com"), "https://api.example.com/portal");
        assert_eq!(portal_url("http://127.0.0.10:80"), "http://127.0.0.10:80/portal");
    }

    #[test]
    fn a_code_is_what_was_pasted_without_what_is_around_it() {
        let text = "a".repeat(CODE_CHARS);
        assert_eq!(Code::parse(&format!(" {text}\n")).map(|code| code.0), Some(text.clone()));
        for other in ["", "abc", &"a".repeat(44), &format!("{}é", "a".repeat(41)), &format!("{}#", "a".repeat(42))] {
            assert_eq!(Code::parse(other), None, "{other}");
        }
    }
}
