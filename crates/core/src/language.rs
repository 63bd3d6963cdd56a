//! Language tags: the part of BCP 47 (RFC 5646) that a call needs.

use std::fmt;
use std::str::FromStr;

/// A well-formed BCP 47 tag in its usual casing (`en`, `pt-BR`, `zh-Hant-TW`), at most 35 characters.
///
/// Well-formed means primary language of 2 or 3 letters and subtags of 1 to 8 letters or digits; whether an engine knows the
/// language is the engine's to say.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LanguageTag(Box<str>);

/// The text is no BCP 47 language tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a BCP 47 language tag such as `en`, `es-MX` or `pt-BR`")]
pub struct InvalidLanguageTag;

impl LanguageTag {
    /// Most characters that a tag may have (RFC 5646 section 4.4.1 asks for at least 35).
    pub const CHARS_MAX: usize = 35;

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The primary language: `pt` of `pt-BR`.
    pub fn primary(&self) -> &str {
        self.0.split('-').next().unwrap_or(&self.0)
    }
}

impl FromStr for LanguageTag {
    type Err = InvalidLanguageTag;

    fn from_str(text: &str) -> Result<Self, InvalidLanguageTag> {
        if text.len() > Self::CHARS_MAX {
            return Err(InvalidLanguageTag);
        }
        let mut tag = String::with_capacity(text.len());
        for (index, subtag) in text.split('-').enumerate() {
            let valid = if index == 0 {
                (2..=3).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphabetic())
            } else {
                (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
            };
            if !valid {
                return Err(InvalidLanguageTag);
            }
            if index > 0 {
                tag.push('-');
            }
            let lower = subtag.to_ascii_lowercase();
            match (index, subtag.len()) {
                (1.., 2) if subtag.bytes().all(|b| b.is_ascii_alphabetic()) => {
                    tag.push_str(&subtag.to_ascii_uppercase())
                }
                (1.., 4) if subtag.bytes().all(|b| b.is_ascii_alphabetic()) => {
                    tag.push_str(&lower[..1].to_ascii_uppercase());
                    tag.push_str(&lower[1..]);
                }
                _ => tag.push_str(&lower),
            }
        }
        Ok(Self(tag.into()))
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_brought_into_their_usual_casing() {
        for (given, expected) in [("EN", "en"), ("pt-br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW"), ("es-419", "es-419")]
        {
            assert_eq!(given.parse::<LanguageTag>().map(|tag| tag.to_string()), Ok(expected.into()));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "e", "english", "en_US", "en-", "-en", "en--US", "e1", "en-abcdefghi", "ñe", &"en-a".repeat(20)]
        {
            assert_eq!(text.parse::<LanguageTag>(), Err(InvalidLanguageTag), "{text}");
        }
    }

    #[test]
    fn the_primary_language_is_the_first_subtag() {
        let tag: LanguageTag = "pt-BR".parse().unwrap();
        assert_eq!(tag.primary(), "pt");
    }
}
