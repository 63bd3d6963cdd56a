//! What browsers answer (`RegistrationResponseJSON`, `AuthenticationResponseJSON`), and whether to believe it (sections 7.1 and 7.2).

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::authenticator_data::AuthenticatorData;
use crate::client_data::ClientData;
use crate::{CHALLENGE_BYTES, CREDENTIAL_ID_BYTES_MAX, Invalid, PublicKey, RESPONSE_BYTES_MAX, RelyingParty, cbor};

/// Base64url; some browsers' helpers pad it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn decode(text: &str) -> Result<Vec<u8>, Invalid> {
    BASE64.decode(text).map_err(|_| Invalid::Malformed)
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Invalid> {
    if json.len() > RESPONSE_BYTES_MAX {
        return Err(Invalid::Malformed);
    }
    serde_json::from_str(json).map_err(|_| Invalid::Malformed)
}

/// A credential as it is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredential {
    /// By which it is found; 1 to [`CREDENTIAL_ID_BYTES_MAX`] bytes.
    pub id: Vec<u8>,
    /// In COSE's form, which [`PublicKey::parse`] reads.
    pub public_key: Vec<u8>,
    /// How often it was used, for authenticators that count; 0 for those that don't.
    pub sign_count: u32,
    /// Whether it can be copied to other devices of its owner; that never changes.
    pub backup_eligible: bool,
    /// Whether it is.
    pub backed_up: bool,
    /// The model of its authenticator; zeros where it does not say.
    pub aaguid: [u8; 16],
}

/// What a credential's use has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How often it was used by now. When this or the stored number is not 0 it must be more than the stored one: otherwise there is a copy of the
    /// authenticator. Who stores it decides that, in one step with storing.
    pub sign_count: u32,
    /// Whether it is copied to other devices of its owner.
    pub backed_up: bool,
}

/// A browser's answer to being asked for a new credential.
#[derive(Debug)]
pub struct Attestation {
    id: Vec<u8>,
    attestation_object: Vec<u8>,
    client_data: ClientData,
}

#[derive(Deserialize)]
struct Answer<R> {
    #[serde(rename = "rawId")]
    raw_id: String,
    r#type: String,
    response: R,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttestationJson {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    attestation_object: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssertionJson {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    authenticator_data: String,
    signature: String,
    #[serde(default)]
    user_handle: Option<String>,
}

impl Attestation {
    /// Reads it; nothing of it is to be believed yet.
    ///
    /// # Errors
    /// [`Invalid::Malformed`].
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        let answer: Answer<AttestationJson> = parse(json)?;
        if answer.r#type != "public-key" {
            return Err(Invalid::Malformed);
        }
        let client_data = ClientData::parse(&decode(&answer.response.client_data_json)?)?;
        let attestation_object = decode(&answer.response.attestation_object)?;
        Ok(Self { id: decode(&answer.raw_id)?, attestation_object, client_data })
    }

    /// The challenge that it says it answers.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn challenge(&self) -> Result<[u8; CHALLENGE_BYTES], Invalid> {
        self.client_data.challenge()
    }

    /// The new credential, if this is an answer to `challenge` for this site.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn verify(&self, party: &RelyingParty, challenge: &[u8; CHALLENGE_BYTES]) -> Result<NewCredential, Invalid> {
        self.client_data.check("webauthn.create", challenge, &party.origin)?;
        let (object, rest) = cbor::read(&self.attestation_object).ok_or(Invalid::Malformed)?;
        let data = object.get("authData").and_then(cbor::Item::bytes);
        let (Some(data), true) = (data, rest.is_empty()) else { return Err(Invalid::Malformed) };
        let data = AuthenticatorData::parse(data)?;
        data.check(&party.id)?;
        let attested = data.attested.as_ref().ok_or(Invalid::Malformed)?;
        if attested.id != self.id {
            return Err(Invalid::Malformed);
        }
        if PublicKey::parse(attested.key).is_none() {
            return Err(Invalid::Algorithm);
        }
        Ok(NewCredential {
            id: attested.id.to_vec(),
            public_key: attested.key.to_vec(),
            sign_count: data.sign_count,
            backup_eligible: data.is_backup_eligible(),
            backed_up: data.is_backed_up(),
            aaguid: attested.aaguid,
        })
    }
}

/// A browser's answer to being asked for the use of a credential.
#[derive(Debug)]
pub struct Assertion {
    /// Which credential it says was used.
    pub credential_id: Vec<u8>,
    /// Whose it says it is; none when the browser was told which credentials may be used.
    pub user_handle: Option<Vec<u8>>,
    client_data_json: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
    client_data: ClientData,
}

impl Assertion {
    /// Reads it; nothing of it is to be believed yet.
    ///
    /// # Errors
    /// [`Invalid::Malformed`].
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        let answer: Answer<AssertionJson> = parse(json)?;
        let credential_id = decode(&answer.raw_id)?;
        if answer.r#type != "public-key" || credential_id.len() > CREDENTIAL_ID_BYTES_MAX {
            return Err(Invalid::Malformed);
        }
        let response = answer.response;
        let client_data_json = decode(&response.client_data_json)?;
        let client_data = ClientData::parse(&client_data_json)?;
        let user_handle = response.user_handle.filter(|handle| !handle.is_empty());
        Ok(Self {
            credential_id,
            user_handle: user_handle.as_deref().map(decode).transpose()?,
            client_data_json,
            authenticator_data: decode(&response.authenticator_data)?,
            signature: decode(&response.signature)?,
            client_data,
        })
    }

    /// The challenge that it says it answers.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn challenge(&self) -> Result<[u8; CHALLENGE_BYTES], Invalid> {
        self.client_data.challenge()
    }

    /// That the credential of this key was used to answer `challenge` for this site. Whether the credential is that of
    /// [`credential_id`](Self::credential_id) and its owner that of [`user_handle`](Self::user_handle) is the caller's to see to.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn verify(
        &self,
        party: &RelyingParty,
        challenge: &[u8; CHALLENGE_BYTES],
        key: &PublicKey,
        backup_eligible: bool,
    ) -> Result<Verified, Invalid> {
        self.client_data.check("webauthn.get", challenge, &party.origin)?;
        let data = AuthenticatorData::parse(&self.authenticator_data)?;
        data.check(&party.id)?;
        let mut signed = self.authenticator_data.clone();
        signed.extend_from_slice(&Sha256::digest(&self.client_data_json));
        if !key.verifies(&signed, &self.signature) {
            return Err(Invalid::Signature);
        }
        if data.is_backup_eligible() != backup_eligible {
            return Err(Invalid::Changed);
        }
        Ok(Verified { sign_count: data.sign_count, backed_up: data.is_backed_up() })
    }
}
