//! What the browser says of a ceremony (`CollectedClientData`, section 5.8.1). The authenticator signs its hash.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::{CHALLENGE_BYTES, Invalid};

#[derive(Debug, Deserialize)]
pub(crate) struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: Option<bool>,
}

impl ClientData {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(json).map_err(|_| Invalid::Malformed)
    }

    /// What it says that it answers; for finding out which ceremony that was.
    pub(crate) fn challenge(&self) -> Result<[u8; CHALLENGE_BYTES], Invalid> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&self.challenge).map_err(|_| Invalid::Malformed)?;
        bytes.try_into().map_err(|_| Invalid::Challenge)
    }

    /// Steps 7 to 10 of registration and 10 to 13 of authentication.
    pub(crate) fn check(&self, kind: &str, challenge: &[u8; CHALLENGE_BYTES], origin: &str) -> Result<(), Invalid> {
        if self.r#type != kind {
            return Err(Invalid::Type);
        }
        if !bool::from(self.challenge()?.ct_eq(challenge)) {
            return Err(Invalid::Challenge);
        }
        // The portal lets itself be put into nobody's frame.
        if self.origin != origin || self.cross_origin == Some(true) {
            return Err(Invalid::Origin);
        }
        Ok(())
    }
}
