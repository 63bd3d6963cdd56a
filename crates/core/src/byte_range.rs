//! Which bytes of a file a request asks for: `Range`, `If-Range` and `If-None-Match` (RFC 9110 sections 13 and 14). One range at a time: of
//! several the file is sent whole, as the RFC allows.

use std::ops::Range;

/// What a request says of the bytes that it wants: its headers' values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asks<'a> {
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `Range`, of a GET that has one such header: for other methods it is not defined.
    pub range: Option<&'a str>,
}

/// What to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All of it.
    All,
    /// These bytes: at least one, and within it.
    Range(Range<u64>),
    /// Nothing: the client has it.
    Known,
    /// Nothing: no byte that was asked for is within it.
    Outside,
}

/// What a request asks of the file of `bytes` bytes that `etag` names.
pub fn asked(asks: &Asks<'_>, etag: &str, bytes: u64) -> Asked {
    if let Some(known) = asks.if_none_match
        && known.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == etag)
    {
        return Asked::Known;
    }
    // A validator that is a date can't be ours.
    if asks.if_range.is_some_and(|known| known != etag) {
        return Asked::All;
    }
    asks.range.map_or(Asked::All, |range| read(range, bytes))
}

/// What is no range, in a form or unit that we don't know, is as if it was not there.
fn read(text: &str, bytes: u64) -> Asked {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What is too large for a number lies beyond every file.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let Some((unit, range)) = text.split_once('=') else { return Asked::All };
    let Some((first, last)) = range.trim().split_once('-') else { return Asked::All };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::All;
    }
    let range = match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        (Some(first), None) if last.trim().is_empty() => first..bytes,
        (None, Some(length)) if first.trim().is_empty() => bytes.saturating_sub(length)..bytes,
        _ => return Asked::All,
    };
    if range.is_empty() { Asked::Outside } else { Asked::Range(range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ETAG: &str = "\"a\"";

    fn of(asks: Asks<'_>) -> Asked {
        asked(&asks, ETAG, 1000)
    }

    fn range(text: &str) -> Asks<'_> {
        Asks { range: Some(text), ..Asks::default() }
    }

    #[test]
    fn a_range_is_what_the_rfc_says() {
        for (text, expected) in [
            ("bytes=0-499", Asked::Range(0..500)),
            ("bytes=500-999", Asked::Range(500..1000)),
            ("bytes=999-5000", Asked::Range(999..1000)),
            ("bytes=-500", Asked::Range(500..1000)),
            ("bytes=-5000", Asked::Range(0..1000)),
            ("bytes=9500-", Asked::Outside),
            ("bytes=1000-", Asked::Outside),
            ("bytes=0-", Asked::Range(0..1000)),
            ("BYTES = 0-0", Asked::Range(0..1)),
            ("bytes=-0", Asked::Outside),
            ("bytes=0-99999999999999999999999", Asked::Range(0..1000)),
            ("bytes=99999999999999999999999-", Asked::Outside),
            // None of these is a range that we know.
            ("bytes=5-4", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes=a-b", Asked::All),
            ("bytes=+1-2", Asked::All),
            ("bytes=0-1,3-4", Asked::All),
            ("seconds=0-1", Asked::All),
            ("bytes", Asked::All),
        ] {
            assert_eq!(of(range(text)), expected, "{text}");
        }
        assert_eq!(of(Asks::default()), Asked::All);
    }

    #[test]
    fn a_range_of_another_file_is_not_given() {
        let if_range = |known| Asks { if_range: Some(known), ..range("bytes=0-9") };
        assert_eq!(of(if_range(ETAG)), Asked::Range(0..10));
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(of(if_range(other)), Asked::All, "{other}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        for known in [ETAG, "\"b\", \"a\"", "W/\"a\"", "*"] {
            assert_eq!(of(Asks { if_none_match: Some(known), ..range("bytes=0-9") }), Asked::Known, "{known}");
        }
        assert_eq!(of(Asks { if_none_match: Some("\"b\""), ..Asks::default() }), Asked::All);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_answer_is_within_the_file(text in "(bytes=)?[0-9a-z,= -]{0,24}", bytes in 0u64..2000) {
            if let Asked::Range(range) = read(&text, bytes) {
                prop_assert!(range.start < range.end && range.end <= bytes);
            }
        }
    }
}
