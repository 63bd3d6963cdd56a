//! Taking API keys, stream and observer tokens out of texts that clients wrote and that are shown or logged: the name of a field that there is not,
//! the source of a leaked key.

use std::borrow::Cow;

/// What secrets start with.
const PREFIXES: [&str; 6] = ["sk_live_", "sk_test_", "kst_live_", "kst_test_", "kso_live_", "kso_test_"];
/// So many characters after a prefix are a secret or a part of one; fewer say nothing about it.
const SECRET_CHARS_MIN: usize = 8;

/// The text with "…" in place of what follows the prefix of each secret, whole, cut or mistyped.
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some((mut at, mut end)) = next(text, 0) else { return Cow::Borrowed(text) };
    let (mut shown, mut done) = (String::with_capacity(text.len()), 0);
    loop {
        shown.push_str(&text[done..at]);
        shown.push('…');
        done = end;
        match next(text, done) {
            Some(found) => (at, end) = found,
            None => break,
        }
    }
    shown.push_str(&text[done..]);
    Cow::Owned(shown)
}

/// From where to where the first secret after `from` is in the text, without its prefix.
fn next(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let ends = PREFIXES.iter().filter_map(|prefix| text[from..].find(prefix).map(|at| from + at + prefix.len()));
        let start = ends.min()?;
        let is_secret = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let length = text.as_bytes()[start..].iter().take_while(|byte| is_secret(byte)).count();
        if length >= SECRET_CHARS_MIN {
            return Some((start, start + length));
        }
        from = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_nothing_else() {
        let key = format!("sk_live_{}", "aB3".repeat(12));
        let token = format!("kst_test_{}", "x-_9".repeat(10));
        for (text, shown) in [
            (key.clone(), "sk_live_…"),
            (format!("?key={key}&token={token}."), "?key=sk_live_…&token=kst_test_…."),
            (format!("{key}, {key}"), "sk_live_…, sk_live_…"),
            (format!("sk_live_ sk_test_{}", &key[8..20]), "sk_live_ sk_test_…"),
            (format!("sk_live_sk_test_{}", &key[8..20]), "sk_live_…"),
        ] {
            assert_eq!(redact(&text), shown);
        }
        for harmless in ["", "mode", "sk_live_", "sk_live_…", "an API key (`sk_test_1234567`)", "é sk_live_é"] {
            assert!(matches!(redact(harmless), Cow::Borrowed(same) if same == harmless), "{harmless}");
        }
    }
}
