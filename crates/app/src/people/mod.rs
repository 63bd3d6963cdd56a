//! People at the Developer Portal: who is signed in.

use kallglot_core::person::{Membership, Person, PortalSession};
use kallglot_storage::{CodeHash, FoundSession};
use sha2::{Digest as _, Sha256};

use crate::{App, Error};

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

impl App {
    /// Who is signed in with this cookie; none when nobody is, or when a second factor is still to be shown.
    ///
    /// # Errors
    /// Storage's.
    pub async fn signed_in(&self, cookie: &str) -> Result<Option<SignedIn>, Error> {
        let hash = CodeHash(Sha256::digest(cookie.as_bytes()).into());
        let found = self.storage.portal_session(&hash, self.clock.now()).await?;
        Ok(found.filter(|found| !found.session.pending).map(|FoundSession { session, person, memberships }| SignedIn {
            session,
            csrf: form_token(cookie),
            person,
            memberships,
        }))
    }
}

/// What the forms of a session hold: follows from its cookie, which can't be found from it.
fn form_token(cookie: &str) -> String {
    let hash = Sha256::new().chain_update(b"kallglot portal forms\0").chain_update(cookie.as_bytes()).finalize();
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
