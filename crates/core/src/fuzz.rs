//! What fuzzers feed with arbitrary bytes: each function panics exactly when a promise of its module is broken.

use jiff::Timestamp;

use crate::api_key::{self, Pepper};
use crate::id::{BASE62, SessionId};
use crate::idempotency::{IdempotencyKey, KEY_CHARS_MAX};
use crate::session::Environment;
use crate::stream_token::{self, Claims, Purpose, StreamTokenSecret, TokenRefusal};

const SECRET: StreamTokenSecret = StreamTokenSecret::new([7; 32]);

const SESSION: SessionId = SessionId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// Verifies the bytes as a stream token; then takes them for changes to a real one: place and new byte, two bytes each.
pub fn stream_token(bytes: &[u8]) {
    let Ok(expires_at) = Timestamp::from_second(1_000) else { return };
    if let Ok(text) = std::str::from_utf8(bytes) {
        // The fuzzer does not know the secret; it can't sign.
        assert_eq!(
            stream_token::verify(&SECRET, Purpose::TakePart, text, Timestamp::UNIX_EPOCH),
            Err(TokenRefusal::Invalid)
        );
        if let Ok(id) = text.parse::<SessionId>() {
            assert_eq!(id.to_string(), text);
        }
    }
    let token = stream_token::issue(&SECRET, Purpose::TakePart, SESSION, Environment::Live, expires_at);
    let mut changed = token.clone().into_bytes();
    for &[place, byte] in bytes.as_chunks::<2>().0 {
        let place = usize::from(place) % changed.len();
        changed[place] = byte;
    }
    let Ok(changed) = String::from_utf8(changed) else { return };
    let claims = Claims { session: SESSION, environment: Environment::Live, expires_at };
    let expected = if changed == token { Ok(claims) } else { Err(TokenRefusal::Invalid) };
    assert_eq!(stream_token::verify(&SECRET, Purpose::TakePart, &changed, Timestamp::UNIX_EPOCH), expected);
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

/// Reads the bytes as an idempotency key: bare, and with quotes around.
pub fn idempotency_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let right = |key: &str| {
        (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };
    let bare = text.trim_matches([' ', '\t']);
    let read = IdempotencyKey::parse(text);
    match &read {
        Ok(key) => assert!(right(key.as_str()), "{key:?} is let in"),
        Err(_) => assert!(bare.starts_with('"') || !right(bare), "{bare:?} is refused"),
    }
    if !bare.starts_with('"') {
        assert!(read.is_ok_and(|key| key.as_str() == bare) || !right(bare), "a bare key is what is sent");
    }
    // Any text can be quoted, and then means itself.
    let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let read = IdempotencyKey::parse(&quoted);
    assert_eq!(read.is_ok(), right(text), "{quoted}");
    assert!(read.is_ok_and(|key| key.as_str() == text) || !right(text), "{quoted} is not read as {text:?}");
}

/// Looks for secrets in the bytes, as they are and with a sound key and a stream token put in where the first byte says.
pub fn redact(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let once = crate::redact::redact(&text);
    assert_eq!(crate::redact::redact(&once), once, "what is left is no secret");
    let place = bytes.first().map_or(0, |byte| usize::from(*byte) % (text.len() + 1));
    let (before, after) = text.split_at(text.floor_char_boundary(place));
    let mut key: Vec<u8> = format!("{}{}", api_key::prefix(Environment::Live), "k".repeat(30)).into();
    key.extend(api_key::checksum(&key));
    let key = String::from_utf8_lossy(&key);
    let token = stream_token::issue(&SECRET, Purpose::TakePart, SESSION, Environment::Live, Timestamp::UNIX_EPOCH);
    for secret in [&*key, &token] {
        let shown = crate::redact::redact(&format!("{before}{secret}{after}")).into_owned();
        let middle = &secret[9..29];
        assert!(!shown.contains(middle) || text.contains(middle), "{secret} is in {shown}");
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
            super::idempotency_key(&bytes);
            super::redact(&bytes);
        }

        #[test]
        fn what_looks_like_an_idempotency_key_breaks_no_promise(text in "[ \"\\\\a-c~\t\u{7f}]{0,12}") {
            super::idempotency_key(text.as_bytes());
        }

        #[test]
        fn what_looks_like_a_secret_breaks_no_promise(text in "[a-zA-Z0-9_]{30,50}") {
            super::stream_token(text.as_bytes());
            super::api_key(text.as_bytes());
            super::redact(text.as_bytes());
        }

        #[test]
        fn texts_full_of_prefixes_hide_nothing_but_secrets(text in "(sk_live_|sk_|kst_|test_|live_|[k_ é]){0,12}") {
            super::redact(text.as_bytes());
        }
    }
}
