//! Stream tokens: what lets a client join one session's stream (contract section 11), and observer tokens: what lets a client watch one.
//! Signed, not stored.
//!
//! `kst_live_` or `kst_test_` (for observers `kso_`), then unpadded base64url of: session id (16 bytes), expiry in Unix seconds (8 bytes, big-endian),
//! HMAC-SHA-256 (32 bytes) over a context line, the prefix and the 24 bytes before it. So the environment is signed too, and so is what
//! the token is for: each purpose has a context line of its own, so no observer can take part.
//!
//! The tag is not truncated: the token is 84 characters with it and 63 with half of it, which no client notices, and there is
//! nothing to argue about. Whether the session still exists and has not ended is the caller's to ask: a token dies with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::id::SessionId;
use crate::session::Environment;

/// The server's secret that signs stream tokens. Not the pepper: who leaks one has not leaked the other.
pub struct StreamTokenSecret([u8; 32]);

impl StreamTokenSecret {
    /// A secret of these bytes, which must come from a CSPRNG.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// What a token lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Take part: send and hear audio, read what is said, end the session.
    TakePart,
    /// Read what is said and how the call goes, and nothing else.
    Observe,
}

/// What a valid token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The session that it lets its holder join.
    pub session: SessionId,
    /// The session's environment.
    pub environment: Environment,
    /// When it expires; whole seconds.
    pub expires_at: Timestamp,
}

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not a token that this server has signed.
    #[error("not a stream token of this server")]
    Invalid,
    /// Signed by this server, but too late. Only the holder of a real token is ever told this.
    #[error("the stream token has expired")]
    Expired,
}

const CLAIMS_BYTES: usize = 24;
const TAG_BYTES: usize = 32;
/// Most characters that a token has; longer texts are refused unread.
pub const TOKEN_CHARS: usize = 9 + (CLAIMS_BYTES + TAG_BYTES) * 8 / 6 + 1;

const fn context(purpose: Purpose) -> &'static [u8] {
    match purpose {
        Purpose::TakePart => b"kallglot stream token 1\n",
        Purpose::Observe => b"kallglot observer token 1\n",
    }
}

const fn prefix(purpose: Purpose, environment: Environment) -> &'static str {
    match (purpose, environment) {
        (Purpose::TakePart, Environment::Live) => "kst_live_",
        (Purpose::TakePart, Environment::Test) => "kst_test_",
        (Purpose::Observe, Environment::Live) => "kso_live_",
        (Purpose::Observe, Environment::Test) => "kso_test_",
    }
}

fn mac(secret: &StreamTokenSecret, purpose: Purpose, environment: Environment, claims: &[u8]) -> Hmac<Sha256> {
    let mut mac = keyed(&secret.0);
    mac.update(context(purpose));
    mac.update(prefix(purpose, environment).as_bytes());
    mac.update(claims);
    mac
}

/// HMAC-SHA-256 with a key of 32 bytes, which is shorter than a block and so is never refused.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..32].copy_from_slice(key);
    // A key shorter than the block is padded with zeros by definition (RFC 2104), so this is the same key.
    Hmac::new(&block)
}

/// A token for `session` that is valid until `expires_at` (whole seconds; the rest is cut).
pub fn issue(
    secret: &StreamTokenSecret,
    purpose: Purpose,
    session: SessionId,
    environment: Environment,
    expires_at: Timestamp,
) -> String {
    let mut bytes = [0; CLAIMS_BYTES + TAG_BYTES];
    bytes[..16].copy_from_slice(&session.to_bits().to_be_bytes());
    bytes[16..CLAIMS_BYTES].copy_from_slice(&expires_at.as_second().to_be_bytes());
    let tag = mac(secret, purpose, environment, &bytes[..CLAIMS_BYTES]).finalize().into_bytes();
    bytes[CLAIMS_BYTES..].copy_from_slice(&tag);
    format!("{}{}", prefix(purpose, environment), URL_SAFE_NO_PAD.encode(bytes))
}

/// What `token` says, if this server signed it for this purpose and it has not expired at `now`. The tag is compared in constant time.
///
/// # Errors
/// [`TokenRefusal::Expired`] for an authentic token whose time is over (`now` at or after its expiry), else
/// [`TokenRefusal::Invalid`].
pub fn verify(
    secret: &StreamTokenSecret,
    purpose: Purpose,
    token: &str,
    now: Timestamp,
) -> Result<Claims, TokenRefusal> {
    let (environment, body) = [Environment::Live, Environment::Test]
        .into_iter()
        .find_map(|environment| token.strip_prefix(prefix(purpose, environment)).map(|body| (environment, body)))
        .ok_or(TokenRefusal::Invalid)?;
    if token.len() != TOKEN_CHARS {
        return Err(TokenRefusal::Invalid);
    }
    let mut bytes = [0; CLAIMS_BYTES + TAG_BYTES];
    match URL_SAFE_NO_PAD.decode_slice(body, &mut bytes) {
        Ok(length) if length == bytes.len() => {}
        _ => return Err(TokenRefusal::Invalid),
    }
    let (claims, tag) = bytes.split_at(CLAIMS_BYTES);
    mac(secret, purpose, environment, claims).verify_slice(tag).map_err(|_| TokenRefusal::Invalid)?;

    let (session, expiry) = claims.split_at(16);
    let session = session.try_into().map(u128::from_be_bytes).map_err(|_| TokenRefusal::Invalid)?;
    let expiry = expiry.try_into().map(i64::from_be_bytes).map_err(|_| TokenRefusal::Invalid)?;
    let expires_at = Timestamp::from_second(expiry).map_err(|_| TokenRefusal::Invalid)?;
    if now >= expires_at {
        return Err(TokenRefusal::Expired);
    }
    Ok(Claims { session: SessionId::from_bits(session), environment, expires_at })
}

#[cfg(test)]
mod tests {
    use super::Purpose::{Observe, TakePart};
    use super::*;
    use proptest::prelude::*;

    const SECRET: StreamTokenSecret = StreamTokenSecret::new([7; 32]);
    const SESSION: SessionId = SessionId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_lets_its_holder_in_until_it_expires() {
        let token = issue(&SECRET, TakePart, SESSION, Environment::Test, at(1_000));
        assert!(token.starts_with("kst_test_") && token.len() == TOKEN_CHARS, "{token}");
        let claims = Claims { session: SESSION, environment: Environment::Test, expires_at: at(1_000) };
        assert_eq!(verify(&SECRET, TakePart, &token, at(999)), Ok(claims));
        assert_eq!(verify(&SECRET, TakePart, &token, at(1_000)), Err(TokenRefusal::Expired));
    }

    #[test]
    fn another_secret_or_environment_is_invalid_even_when_late() {
        let token = issue(&SECRET, TakePart, SESSION, Environment::Test, at(1_000));
        assert_eq!(verify(&StreamTokenSecret::new([8; 32]), TakePart, &token, at(2_000)), Err(TokenRefusal::Invalid));
        let moved = token.replace("kst_test_", "kst_live_");
        assert_eq!(verify(&SECRET, TakePart, &moved, at(0)), Err(TokenRefusal::Invalid));
        assert_eq!(verify(&SECRET, TakePart, &moved, at(2_000)), Err(TokenRefusal::Invalid));
    }

    #[test]
    fn who_may_observe_may_not_take_part_and_who_takes_part_needs_another_token_to_observe() {
        for (own, other, prefix, others_prefix) in
            [(TakePart, Observe, "kst_live_", "kso_live_"), (Observe, TakePart, "kso_live_", "kst_live_")]
        {
            let token = issue(&SECRET, own, SESSION, Environment::Live, at(1_000));
            assert!(verify(&SECRET, own, &token, at(0)).is_ok());
            for token in [token.clone(), token.replace(prefix, others_prefix)] {
                assert_eq!(verify(&SECRET, other, &token, at(0)), Err(TokenRefusal::Invalid), "{token}");
            }
        }
    }

    #[test]
    fn the_tag_is_the_standards_hmac() {
        // RFC 4231 test case 2 has a short key, so it shows that the padded block is the same key.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mut mac = keyed(&key);
        mac.update(b"what do ya want for nothing?");
        let tag = mac.finalize().into_bytes();
        assert_eq!(tag[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(text in "(ks[to]_(live|test)_)?[A-Za-z0-9_=+/ -]{0,90}|\\PC{0,90}") {
            for purpose in [TakePart, Observe] {
                prop_assert_eq!(verify(&SECRET, purpose, &text, at(0)), Err(TokenRefusal::Invalid));
            }
        }

        #[test]
        fn a_token_changed_anywhere_is_invalid(index in 0..TOKEN_CHARS, byte in 0x20u8..0x7f, late: bool) {
            let token = issue(&SECRET, TakePart, SESSION, Environment::Live, at(1_000));
            let mut changed = token.clone().into_bytes();
            prop_assume!(changed[index] != byte);
            changed[index] = byte;
            let changed = String::from_utf8(changed).unwrap();
            let now = if late { at(2_000) } else { at(0) };
            prop_assert_eq!(verify(&SECRET, TakePart, &changed, now), Err(TokenRefusal::Invalid));
        }

        #[test]
        fn every_session_and_expiry_round_trips(bits: u128, expiry in -1_000_000i64..100_000_000_000) {
            let token = issue(&SECRET, TakePart, SessionId::from_bits(bits), Environment::Live, at(expiry));
            let claims = verify(&SECRET, TakePart, &token, at(expiry - 1)).unwrap();
            prop_assert_eq!((claims.session.to_bits(), claims.expires_at), (bits, at(expiry)));
        }
    }
}
