//! An ID token (OpenID Connect Core 1.0, section 2): a JSON Web Token in JWS's compact form (RFC 7515).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::SignInError;
use crate::keys::{Algorithm, Key};

/// How far the provider's clock may be from ours.
const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How old a token may be though it has not expired: it comes straight from the provider.
const AGE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Longest token. Bytes.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// Longest subject (section 2). Bytes.
const SUBJECT_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Names headers that must be understood; none are.
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// One audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
pub(crate) struct Claims {
    iss: String,
    pub(crate) sub: String,
    aud: Audience,
    #[serde(default)]
    azp: Option<String>,
    exp: f64,
    iat: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    auth_time: Option<f64>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    pub(crate) email: Option<String>,
    /// A boolean; some providers send it as a text.
    #[serde(default)]
    email_verified: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) name: Option<String>,
}

impl Claims {
    pub(crate) fn has_verified_email(&self) -> bool {
        match &self.email_verified {
            Some(serde_json::Value::Bool(verified)) => *verified,
            Some(serde_json::Value::String(text)) => text == "true",
            _ => false,
        }
    }
}

/// A token whose signature is still to be checked.
pub(crate) struct Unverified<'a> {
    header: Header,
    algorithm: Algorithm,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// What a token must be for.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) nonce: &'a str,
    /// Whether the person was to sign in once more, which must just have been then.
    pub(crate) again: bool,
    pub(crate) now: Timestamp,
}

fn wrong<T>(what: &'static str) -> Result<T, SignInError> {
    Err(SignInError::IdToken(what))
}

impl<'a> Unverified<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, SignInError> {
        let malformed = || SignInError::IdToken("it is malformed");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        let Some(algorithm) = Algorithm::parse(&header.alg) else {
            return wrong("it is signed in a way that is not believed");
        };
        if header.crit.is_some() {
            return wrong("it has headers that must be understood and are not");
        }
        Ok(Self { header, algorithm, signed, payload, signature: decode(signature)? })
    }

    /// The first of `keys` with which it is signed; with the token's key id, if it names one.
    pub(crate) fn is_signed_by_one_of(&self, keys: &[Key]) -> bool {
        let named = |key: &&Key| match (&self.header.kid, &key.id) {
            (Some(named), Some(id)) => named == id,
            _ => true,
        };
        let verifies = |key: &Key| key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature);
        keys.iter().filter(named).any(verifies)
    }

    /// What it claims, if that is for us, now, and in answer to the request with this nonce (section 3.1.3.7). The signature must have been checked.
    pub(crate) fn claims(&self, expected: &Expected<'_>) -> Result<Claims, SignInError> {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(self.payload).ok();
        let claims = payload.and_then(|payload| serde_json::from_slice::<Claims>(&payload).ok());
        let Some(claims) = claims else { return wrong("it lacks claims, or they are malformed") };
        if claims.iss != expected.issuer {
            return wrong("another provider has issued it");
        }
        let (ours, alone) = match &claims.aud {
            Audience::One(one) => (one == expected.client_id, true),
            Audience::Several(all) => (all.iter().any(|one| one == expected.client_id), all.len() == 1),
        };
        if !ours {
            return wrong("it is for another client");
        }
        // Of several that may read it, the one that asked for it is named.
        if claims.azp.as_ref().map_or(!alone, |azp| azp != expected.client_id) {
            return wrong("another client has asked for it");
        }
        let second = |seconds: f64| {
            let whole = (seconds.is_finite() && seconds.abs() < 1e11).then_some(seconds as i64);
            whole.and_then(|seconds| Timestamp::from_second(seconds).ok())
        };
        let (Some(expires_at), Some(issued_at)) = (second(claims.exp), second(claims.iat)) else {
            return wrong("its times are malformed");
        };
        let now = expected.now;
        if expires_at + CLOCKS_APART_MAX <= now {
            return wrong("it has expired");
        }
        let not_before = claims.nbf.map_or(Some(issued_at), second);
        if issued_at - CLOCKS_APART_MAX > now || not_before.is_none_or(|from| from - CLOCKS_APART_MAX > now) {
            return wrong("it is of the future");
        }
        if issued_at + AGE_MAX < now {
            return wrong("it is too old");
        }
        if expected.again && claims.auth_time.and_then(second).is_none_or(|signed_in| signed_in + AGE_MAX < now) {
            return wrong("the provider did not ask the person to sign in once more");
        }
        let nonce = claims.nonce.as_deref().unwrap_or_default();
        if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return wrong("it answers another request");
        }
        if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
            return wrong("its subject is empty or too long");
        }
        Ok(claims)
    }
}
