//! Whether a password alone signs a person in.

use kallglot_core::id::PersonId;

use crate::{App, Error};

impl App {
    /// Whether the person has set up something that is to be shown after the password.
    pub(super) async fn has_second_factor(&self, _person: PersonId) -> Result<bool, Error> {
        Ok(false)
    }
}
