//! The site that passkeys are for, and what browsers are asked.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::{Host, Url};

use crate::CHALLENGE_BYTES;
use crate::key::ALGORITHMS;

/// How long a browser lets its user think. Milliseconds; the caller's challenge has to live as long.
const TIMEOUT_MS: u32 = 5 * 60 * 1000;

/// Why there can be no passkeys at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPasskeys {
    /// Passkeys belong to a name.
    #[error("passkeys need a host name: this server's address is an IP address")]
    IpAddress,
    /// Browsers offer them on secure pages alone, and on `http://localhost`.
    #[error("passkeys need https (or http://localhost)")]
    NotSecure,
    /// It is no web address.
    #[error("the server's address is none")]
    Malformed,
}

/// The site that passkeys are for: its host name is the relying party's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    pub(crate) id: String,
    pub(crate) origin: String,
}

impl RelyingParty {
    /// Of the site at this address.
    ///
    /// # Errors
    /// [`NoPasskeys`].
    pub fn of_url(url: &str) -> Result<Self, NoPasskeys> {
        let url = Url::parse(url).map_err(|_| NoPasskeys::Malformed)?;
        let Some(host) = url.host() else { return Err(NoPasskeys::Malformed) };
        let Host::Domain(name) = host else { return Err(NoPasskeys::IpAddress) };
        let here = name == "localhost" || name.ends_with(".localhost");
        match url.scheme() {
            "https" => {}
            "http" if here => {}
            "http" => return Err(NoPasskeys::NotSecure),
            _ => return Err(NoPasskeys::Malformed),
        }
        Ok(Self { id: name.to_owned(), origin: url.origin().ascii_serialization() })
    }

    /// The relying party's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where ceremonies are to take place, as in `https://example.com`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What `navigator.credentials.create` is asked (`PublicKeyCredentialCreationOptionsJSON`): a passkey that its authenticator can find by
    /// itself. `user_handle` (at most 64 bytes) comes back when it is used; `known` are the user's other credentials, whose authenticators make no
    /// second one.
    pub fn creation_options(
        &self,
        challenge: &[u8; CHALLENGE_BYTES],
        user_handle: &[u8],
        name: &str,
        display_name: &str,
        known: &[Vec<u8>],
    ) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let algorithms: Vec<_> = ALGORITHMS.iter().map(|alg| json!({ "type": "public-key", "alg": alg })).collect();
        json!({
            "rp": { "id": self.id, "name": "Kallglot" },
            "user": { "id": encode(user_handle), "name": name, "displayName": display_name },
            "challenge": encode(challenge),
            "pubKeyCredParams": algorithms,
            "timeout": TIMEOUT_MS,
            "excludeCredentials": descriptors(known),
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": true,
                "userVerification": "required",
            },
            "attestation": "none",
        })
    }

    /// What `navigator.credentials.get` is asked (`PublicKeyCredentialRequestOptionsJSON`): one of the `known` credentials, or with none given any
    /// that is for this site.
    pub fn request_options(&self, challenge: &[u8; CHALLENGE_BYTES], known: &[Vec<u8>]) -> Value {
        json!({
            "rpId": self.id,
            "challenge": BASE64_URL_SAFE_NO_PAD.encode(challenge),
            "timeout": TIMEOUT_MS,
            "allowCredentials": descriptors(known),
            "userVerification": "required",
        })
    }
}

fn descriptors(known: &[Vec<u8>]) -> Vec<Value> {
    known.iter().map(|id| json!({ "type": "public-key", "id": BASE64_URL_SAFE_NO_PAD.encode(id) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_for_a_name_on_a_secure_page() {
        for (url, id, origin) in [
            ("https://Portal.Example.com", "portal.example.com", "https://portal.example.com"),
            ("https://portal.example.com:8443/portal", "portal.example.com", "https://portal.example.com:8443"),
            ("http://localhost:8080", "localhost", "http://localhost:8080"),
            ("https://bücher.example:443", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            let party = RelyingParty::of_url(url).unwrap();
            assert_eq!((party.id(), party.origin()), (id, origin));
        }
        for (url, expected) in [
            ("http://127.0.0.1:8080", NoPasskeys::IpAddress),
            ("https://[::1]", NoPasskeys::IpAddress),
            ("http://portal.example.com", NoPasskeys::NotSecure),
            ("http://notlocalhost", NoPasskeys::NotSecure),
            ("ftp://portal.example.com", NoPasskeys::Malformed),
            ("portal.example.com", NoPasskeys::Malformed),
        ] {
            assert_eq!(RelyingParty::of_url(url), Err(expected), "{url}");
        }
    }
}
