//! Whether a password alone signs a person in, and what is sealed of what they sign in with.

use std::sync::Arc;

use kallglot_core::id::PersonId;
use sha2::{Digest as _, Sha256};

use super::single_sign_on::SingleSignOn;
use crate::seal::Seal;
use crate::{App, Error};

/// What signing in needs beside passwords.
pub struct Factors {
    pub(super) seal: Seal,
    /// The single sign-on provider, if the settings name one.
    pub single_sign_on: Option<Arc<SingleSignOn>>,
}

impl Factors {
    /// `key` is that of webhooks' secrets, from a CSPRNG: what secrets of authenticator apps are sealed with is made of it, so without it their codes can't
    /// be checked. One key that lasts is one less that every node must be given.
    pub fn new(key: [u8; 32], single_sign_on: Option<SingleSignOn>) -> Self {
        let key = Sha256::new_with_prefix(b"kallglot portal seal\n").chain_update(key).finalize();
        Self { seal: Seal::new(key.into()), single_sign_on: single_sign_on.map(Arc::new) }
    }
}

impl App {
    /// Whether the person has set up something that is to be shown after the password: an authenticator app. Who has one may show a passkey
    /// instead.
    pub(super) async fn has_second_factor(&self, person: PersonId) -> Result<bool, Error> {
        Ok(self.storage.totp(person).await?.is_some())
    }
}
