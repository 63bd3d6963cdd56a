//! Idempotency keys (contract section 8): what one looks like, and when two requests are the same.
//!
//! Two requests are the same when method, path and canonical JSON body are: objects with their keys sorted, no white space. Numbers are
//! compared as they are written after parsing, so `1.0` and `1` differ.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Most characters of a key.
pub const KEY_CHARS_MAX: usize = 255;
/// How long an answer is kept, in seconds; then the key is new.
pub const KEPT_S: i64 = 24 * 60 * 60;
/// How long a request may hold a key, in seconds: a key whose process died is free after that.
pub const CLAIM_S_MAX: i64 = 60;

/// What a client calls its request, so that it can send it again: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

/// The text is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {KEY_CHARS_MAX} printable ASCII characters, bare or in double quotes")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Reads the header's value: bare (`abc`), or as a quoted string (`"abc"`, with `\"` and `\\`; RFC 8941 section 3.3.3). Both are
    /// the same key.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim_matches([' ', '\t']);
        let key = match text.strip_prefix('"') {
            None => text.to_owned(),
            Some(rest) => unquote(rest).ok_or(InvalidKey)?,
        };
        let printable = key.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if key.is_empty() || key.len() > KEY_CHARS_MAX || !printable {
            return Err(InvalidKey);
        }
        Ok(Self(key.into()))
    }

    /// The key without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is between the quotes; `rest` begins after the first.
fn unquote(rest: &str) -> Option<String> {
    let mut key = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            other => key.push(other),
        }
    }
}

/// What a request is, cut down to 32 bytes: two requests with different ones are different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request.
    pub fn of(method: &str, path: &str, body: &Map<String, Value>) -> Self {
        let mut text = String::with_capacity(256);
        canonical_object(body, &mut text);
        let mut hash = Sha256::new();
        for part in [method, path, text.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// Appends `value` as JSON with sorted keys and without white space. Not recursive beyond what the parser let in (128 levels).
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(object) => canonical_object(object, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn canonical_object(object: &Map<String, Value>, text: &mut String) {
    let mut names: Vec<_> = object.keys().collect();
    names.sort_unstable();
    text.push('{');
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::String(name.clone()).to_string());
        text.push(':');
        canonical(&object[name], text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn bare_and_quoted_keys_are_the_same() {
        let key = |text: &str| IdempotencyKey::parse(text).map(|key| key.as_str().to_owned());
        assert_eq!(key("order-17"), Ok("order-17".into()));
        assert_eq!(key(" \"order-17\" "), Ok("order-17".into()));
        assert_eq!(key(r#""a \"b\" \\ c""#), Ok(r#"a "b" \ c"#.into()));
        assert_eq!(key(&"k".repeat(255)), Ok("k".repeat(255)));
        for wrong in ["", "  ", "\"\"", "\"open", "\"a\"b", r#""a\n""#, "a\u{7f}", "ä", &"k".repeat(256)] {
            assert_eq!(key(wrong), Err(InvalidKey), "{wrong}");
        }
    }

    #[test]
    fn the_order_of_fields_is_no_difference_but_everything_else_is() {
        let of = |method, path, body: serde_json::Value| Fingerprint::of(method, path, body.as_object().unwrap());
        let one = of("POST", "/v1/sessions", json!({"a": 1, "b": {"c": [1, 2], "d": null}}));
        assert_eq!(one, of("POST", "/v1/sessions", json!({"b": {"d": null, "c": [1, 2]}, "a": 1})));
        for other in [
            of("POST", "/v1/sessions", json!({"a": 1, "b": {"c": [2, 1], "d": null}})),
            of("POST", "/v1/sessions", json!({"a": "1", "b": {"c": [1, 2], "d": null}})),
            of("POST", "/v1/sessions", json!({"a": 1, "b": {"c": [1, 2]}})),
            of("POST", "/v1/session", json!({"a": 1, "b": {"c": [1, 2], "d": null}})),
            of("PUT", "/v1/sessions", json!({"a": 1, "b": {"c": [1, 2], "d": null}})),
        ] {
            assert_ne!(one, other);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_is_its_own_key(text in ".{0,300}") {
            if let Ok(key) = IdempotencyKey::parse(&text) {
                prop_assert!((1..=KEY_CHARS_MAX).contains(&key.as_str().len()));
                if !key.as_str().starts_with(['"', ' ']) && !key.as_str().ends_with(' ') {
                    prop_assert_eq!(IdempotencyKey::parse(key.as_str()), Ok(key));
                }
            }
        }
    }
}
