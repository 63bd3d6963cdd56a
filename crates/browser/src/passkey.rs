//! A passkey that needs no hand: WebDriver's virtual authenticator (<https://www.w3.org/TR/webauthn-3/#sctn-automation>).

use serde_json::{Value, json};

use crate::Browser;

/// An authenticator in the browser, as one that is built into a computer. Passkeys need a page at `localhost`, not at `127.0.0.1`.
#[derive(Debug)]
pub struct Authenticator {
    id: String,
}

impl Browser {
    /// Adds an authenticator that keeps passkeys and recognizes its person.
    pub async fn authenticator(&mut self) -> Authenticator {
        let what = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserConsenting": true,
            "isUserVerified": true,
        });
        let id = self.done(self.session.post("/webauthn/authenticator", what).await);
        Authenticator { id: id.as_str().expect("an id").to_owned() }
    }

    /// The passkeys in it, as the standard's “Credential Parameters”.
    pub async fn passkeys(&self, authenticator: &Authenticator) -> Vec<Value> {
        let path = format!("/webauthn/authenticator/{}/credentials", authenticator.id);
        let all = self.done(self.session.get(&path).await);
        all.as_array().cloned().unwrap_or_default()
    }

    /// Whether it recognizes its person from now on.
    pub async fn recognize(&mut self, authenticator: &Authenticator, recognizes: bool) {
        let path = format!("/webauthn/authenticator/{}/uv", authenticator.id);
        self.done(self.session.post(&path, json!({ "isUserVerified": recognizes })).await);
    }

    /// Takes it away.
    pub async fn remove_authenticator(&mut self, authenticator: Authenticator) {
        self.done(self.session.delete(&format!("/webauthn/authenticator/{}", authenticator.id)).await);
    }
}
