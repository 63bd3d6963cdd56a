//! A fake authenticator with the browser around it: it does what it is asked, and as wrongly as it is told to.
#![allow(clippy::expect_used, reason = "a test that can't be set up must fail at once")]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A person's device. What is wrong with it is public, to be changed.
pub struct FakeAuthenticator {
    /// Where its browser is.
    pub origin: String,
    /// For whom it signs; None: for whom it is asked to.
    pub relying_party: Option<String>,
    /// Whether it asks for a finger or a PIN.
    pub verifies_user: bool,
    /// Whether it waits for a touch.
    pub asks_for_presence: bool,
    /// Whether it counts.
    pub counts: bool,
    /// Whether its credentials can be copied.
    pub backup_eligible: bool,
    /// Whether the browser was in another site's frame.
    pub cross_origin: bool,
    /// Its credentials, the newest last.
    pub credentials: Vec<FakeCredential>,
}

/// A credential of a fake authenticator.
pub struct FakeCredential {
    /// Its id.
    pub id: Vec<u8>,
    /// For whom it is.
    pub relying_party: String,
    /// Whose it is.
    pub user_handle: Vec<u8>,
    /// How often it was used.
    pub sign_count: u32,
    key: EcdsaKeyPair,
}

impl FakeAuthenticator {
    /// A good one, whose browser is at `origin`.
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            relying_party: None,
            verifies_user: true,
            asks_for_presence: true,
            counts: true,
            backup_eligible: false,
            cross_origin: false,
            credentials: Vec::new(),
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let (challenge, origin, cross) = (&options["challenge"], &self.origin, self.cross_origin);
        json!({ "type": kind, "challenge": challenge, "origin": origin, "crossOrigin": cross }).to_string().into_bytes()
    }

    fn authenticator_data(&self, relying_party: &str, sign_count: u32, attested: bool) -> Vec<u8> {
        let relying_party = self.relying_party.as_deref().unwrap_or(relying_party);
        let mut data = Sha256::digest(relying_party.as_bytes()).to_vec();
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        data.push(
            flag(self.asks_for_presence, 0x01)
                | flag(self.verifies_user, 0x04)
                | flag(self.backup_eligible, 0x08)
                | flag(attested, 0x40),
        );
        data.extend_from_slice(&if self.counts { sign_count } else { 0 }.to_be_bytes());
        data
    }

    /// What a browser answers to `navigator.credentials.create`, as JSON.
    pub fn create(&mut self, options: &Value) -> Value {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).expect("a key");
        let point = key.public_key().as_ref().to_vec();
        let relying_party = options["rp"]["id"].as_str().expect("a relying party").to_owned();
        let user_handle = BASE64.decode(options["user"]["id"].as_str().expect("a user")).expect("base64url");
        let id = Sha256::digest(&point).to_vec();
        let mut data = self.authenticator_data(&relying_party, 0, true);
        // The authenticator's model, the id, and the key in COSE's form.
        data.extend_from_slice(&[0; 16]);
        data.extend_from_slice(&[0, 32]);
        data.extend_from_slice(&id);
        data.extend_from_slice(&[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend_from_slice(&point[1..33]);
        data.extend_from_slice(&[0x22, 0x58, 0x20]);
        data.extend_from_slice(&point[33..]);
        // {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend_from_slice(&u16::try_from(data.len()).expect("short data").to_be_bytes());
        object.extend_from_slice(&data);
        self.credentials.push(FakeCredential { id: id.clone(), relying_party, user_handle, sign_count: 0, key });
        json!({
            "id": BASE64.encode(&id),
            "rawId": BASE64.encode(&id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": BASE64.encode(self.client_data("webauthn.create", options)),
                "attestationObject": BASE64.encode(&object),
                "transports": ["internal"],
            },
        })
    }

    /// What a browser answers to `navigator.credentials.get`, as JSON: by the newest credential that will do. None: there is none.
    pub fn get(&mut self, options: &Value) -> Option<Value> {
        let relying_party = options["rpId"].as_str()?.to_owned();
        let allowed: Vec<_> = options["allowCredentials"].as_array()?.iter().map(|one| one["id"].clone()).collect();
        let good = |credential: &FakeCredential| {
            let listed = allowed.contains(&json!(BASE64.encode(&credential.id)));
            credential.relying_party == relying_party && (allowed.is_empty() || listed)
        };
        let index = self.credentials.iter().rposition(good)?;
        self.credentials[index].sign_count += 1;
        let credential = &self.credentials[index];
        let client_data = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(&relying_party, credential.sign_count, false);
        let signed = [data.as_slice(), Sha256::digest(&client_data).as_slice()].concat();
        let signature = credential.key.sign(&SystemRandom::new(), &signed).expect("a signature");
        Some(json!({
            "id": BASE64.encode(&credential.id),
            "rawId": BASE64.encode(&credential.id),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": BASE64.encode(&client_data),
                "authenticatorData": BASE64.encode(&data),
                "signature": BASE64.encode(signature.as_ref()),
                "userHandle": BASE64.encode(&credential.user_handle),
            },
        }))
    }
}
