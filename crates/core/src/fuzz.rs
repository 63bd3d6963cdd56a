//! What fuzzers feed with arbitrary bytes: each function panics exactly when a promise of its module is broken.

use jiff::Timestamp;

use crate::api_key::{self, Pepper};
use crate::id::{BASE62, SessionId};
use crate::session::Environment;
use crate::stream_token::{self, Claims, StreamTokenSecret, TokenRefusal};

const SECRET: StreamTokenSecret = StreamTokenSecret::new([7; 32]);

const SESSION: SessionId = SessionId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// Verifies the bytes as a stream token; then takes them for changes to a real one: place and new byte, two bytes each.
pub fn stream_token(bytes: &[u8]) {
    let Ok(expires_at) = Timestamp::from_second(1_000) else { return };
    if let Ok(text) = std::str::from_utf8(bytes) {
        // The fuzzer does not know the secret; it can't sign.
        assert_eq!(stream_token::verify(&SECRET, text, Timestamp::UNIX_EPOCH), Err(TokenRefusal::Invalid));
        if let Ok(id) = text.parse::<SessionId>() {
            assert_eq!(id.to_string(), text);
        }
    }
    let token = stream_token::issue(&SECRET, SESSION, Environment::Live, expires_at);
    let mut changed = token.clone().into_bytes();
    for &[place, byte] in bytes.as_chunks::<2>().0 {
        let place = usize::from(place) % changed.len();
        changed[place] = byte;
    }
    let Ok(changed) = String::from_utf8(changed) else { return };
    let claims = Claims { session: SESSION, environment: Environment::Live, expires_at };
    let expected = if changed == token { Ok(claims) } else { Err(TokenRefusal::Invalid) };
    assert_eq!(stream_token::verify(&SECRET, &changed, Timestamp::UNIX_EPOCH), expected);
}

/// Reads the bytes as an API key, as they are and with a right prefix in front; then takes the first two for a change (place and
/// new byte) to the sound key that is made of the others.
pub fn api_key(bytes: &[u8]) {
    if let Some((&[place, byte], body)) = bytes.split_first_chunk::<2>() {
        let digits = body.iter().chain(std::iter::repeat(&0)).map(|byte| BASE62[usize::from(*byte) % 62]);
        let mut key: Vec<u8> = api_key::prefix(Environment::Test).bytes().chain(digits.take(30)).collect();
        key.extend(api_key::checksum(&key));
        let parses = |key: &[u8]| std::str::from_utf8(key).is_ok_and(|key| api_key::parse(key).is_ok());
        assert!(parses(&key));
        let place = usize::from(place) % key.len();
        let unchanged = std::mem::replace(&mut key[place], byte) == byte;
        assert_eq!(parses(&key), unchanged, "one wrong character is always noticed");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text in [text.to_owned(), format!("sk_live_{text}"), format!("sk_test_{text}")] {
        if let Ok(parsed) = api_key::parse(&text) {
            assert_eq!(parsed.secret.expose(), text);
            assert!(text.starts_with(api_key::prefix(parsed.environment)));
            assert!(text.ends_with(parsed.secret.last4()));
            let pepper = Pepper::new(1, [9; 32]);
            let again = api_key::parse(&text).map(|again| again.secret.hash(&pepper));
            assert!(again.is_ok_and(|again| again == parsed.secret.hash(&pepper)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            super::stream_token(&bytes);
            super::api_key(&bytes);
        }

        #[test]
        fn what_looks_like_a_secret_breaks_no_promise(text in "[a-zA-Z0-9_]{30,50}") {
            super::stream_token(text.as_bytes());
            super::api_key(text.as_bytes());
        }
    }
}
