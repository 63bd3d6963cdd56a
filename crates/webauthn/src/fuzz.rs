//! What fuzzing feeds: panics exactly when a promise is broken.

use serde_json::json;

use crate::authenticator_data::AuthenticatorData;
use crate::fake::FakeAuthenticator;
use crate::{Assertion, Attestation, PublicKey, RelyingParty, cbor};

const ORIGIN: &str = "https://portal.example.com";
const CHALLENGE: [u8; 32] = [7; 32];

/// Whatever a browser sends is read without a panic, and none of it is believed: no key of ours has signed it. Bare, and as each of the parts that are
/// encoded within it.
#[allow(clippy::expect_used, reason = "a broken promise is to be seen at once")]
pub fn answer(bytes: &[u8]) {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    if let Some((_, rest)) = cbor::read(bytes) {
        assert!(rest.len() < bytes.len(), "an item takes no room");
    }
    let _ = AuthenticatorData::parse(bytes);
    let _ = PublicKey::parse(bytes);
    let party = RelyingParty::of_url(ORIGIN).expect("an address");
    let encoded = BASE64.encode(bytes);
    let client_data = |kind: &str| {
        BASE64.encode(json!({ "type": kind, "challenge": BASE64.encode(CHALLENGE), "origin": ORIGIN }).to_string())
    };
    let within = json!({
        "rawId": encoded, "type": "public-key",
        "response": {
            "clientDataJSON": client_data("webauthn.create"), "attestationObject": encoded,
            "authenticatorData": encoded, "signature": encoded, "userHandle": encoded,
        },
    });
    for text in [String::from_utf8_lossy(bytes).into_owned(), within.to_string()] {
        if let Ok(attestation) = Attestation::parse(&text) {
            let _ = attestation.challenge();
            if let Ok(credential) = attestation.verify(&party, &CHALLENGE) {
                assert!(PublicKey::parse(&credential.public_key).is_some(), "a key that can't be used");
            }
        }
        if let Ok(assertion) = Assertion::parse(&text) {
            let _ = assertion.challenge();
        }
    }
}

/// A true answer with one byte changed is refused, or says the same as before. `at` and `to` choose the change.
#[allow(clippy::expect_used, reason = "a broken promise is to be seen at once")]
pub fn changed_answer(at: usize, to: u8) {
    let party = RelyingParty::of_url(ORIGIN).expect("an address");
    let mut device = FakeAuthenticator::new(ORIGIN);
    let made = device.create(&party.creation_options(&CHALLENGE, b"person", "a", "A", &[])).to_string();
    let credential = Attestation::parse(&made).and_then(|made| made.verify(&party, &CHALLENGE)).expect("a credential");
    let key = PublicKey::parse(&credential.public_key).expect("a key");
    let used = device.get(&party.request_options(&CHALLENGE, &[])).expect("a use of it");
    let mut text = used.to_string().into_bytes();
    let verify = |text: &str| {
        let assertion = Assertion::parse(text).ok()?;
        let verified = assertion.verify(&party, &CHALLENGE, &key, credential.backup_eligible).ok()?;
        Some((verified, assertion.credential_id, assertion.user_handle))
    };
    let (truth, id, handle) = verify(&String::from_utf8_lossy(&text)).expect("a true answer");
    let at = at % text.len();
    text[at] = to;
    if let Some((verified, changed_id, changed_handle)) = verify(&String::from_utf8_lossy(&text)) {
        // Id and user handle are not signed: who calls looks up the key by the one and compares the other.
        assert!(verified == truth, "byte {at} as {to} is believed");
        assert!(changed_id == id || changed_handle == handle, "one byte changed both");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_noticed_anywhere() {
        for at in 0..1200 {
            for to in [b'A', b'"', b'0', 0xff] {
                changed_answer(at, to);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        for length in 0..64 {
            for byte in [0x00, 0x5f, 0x80, 0x9f, 0xa1, 0xbf, 0xc0, 0xff] {
                answer(&vec![byte; length]);
            }
        }
    }
}
