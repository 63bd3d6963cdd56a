//! What a recognizer is told about the words it will hear: phrase lists and domain words, per language.

use std::collections::BTreeMap;

use crate::language::LanguageTag;

/// Phrases and words to expect, by language. Belongs to an organization or to one session; a session's comes on top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// What to expect in each language. Keyed by the tag as given; looked up by [`Vocabulary::of`].
    pub languages: BTreeMap<LanguageTag, Expectation>,
}

/// What to expect in one language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Whole phrases that are likely to be said. At most [`Vocabulary::PHRASES_MAX`].
    pub phrases: Vec<String>,
    /// Words (names, products) that the recognizer should know. At most [`Vocabulary::WORDS_MAX`].
    pub words: Vec<String>,
    /// Whether only what `phrases` is made of will be said: more exact on a closed domain, wrong outside it.
    pub phrases_only: bool,
}

/// What is wrong with a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVocabulary {
    /// Too many phrases in one language.
    #[error("more than {} phrases for one language", Vocabulary::PHRASES_MAX)]
    Phrases,
    /// Too many words in one language.
    #[error("more than {} words for one language", Vocabulary::WORDS_MAX)]
    Words,
    /// A phrase or word that is empty, too long or has control characters.
    #[error("a phrase or word must have 1 to {} characters and no control characters", Vocabulary::PHRASE_CHARS_MAX)]
    Text,
    /// `phrases_only` without phrases.
    #[error("`phrases_only` needs at least one phrase")]
    Nothing,
}

impl Vocabulary {
    /// Most phrases for one language.
    pub const PHRASES_MAX: usize = 2_000;
    /// Most words for one language.
    pub const WORDS_MAX: usize = 2_000;
    /// Most characters of a phrase or word.
    pub const PHRASE_CHARS_MAX: usize = 200;

    /// Checks every bound.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), InvalidVocabulary> {
        for expectation in self.languages.values() {
            if expectation.phrases.len() > Self::PHRASES_MAX {
                return Err(InvalidVocabulary::Phrases);
            }
            if expectation.words.len() > Self::WORDS_MAX {
                return Err(InvalidVocabulary::Words);
            }
            if expectation.phrases_only && expectation.phrases.is_empty() {
                return Err(InvalidVocabulary::Nothing);
            }
            let valid = |text: &String| {
                let chars = text.chars().count();
                (1..=Self::PHRASE_CHARS_MAX).contains(&chars)
                    && !text.trim().is_empty()
                    && !text.chars().any(char::is_control)
            };
            if !expectation.phrases.iter().chain(&expectation.words).all(valid) {
                return Err(InvalidVocabulary::Text);
            }
        }
        Ok(())
    }

    /// What to expect in `language`: that of the exact tag, else that of a tag with the same primary language, else nothing.
    pub fn of(&self, language: &LanguageTag) -> Expectation {
        self.languages
            .get(language)
            .or_else(|| self.languages.iter().find(|(tag, _)| tag.primary() == language.primary()).map(|(_, e)| e))
            .cloned()
            .unwrap_or_default()
    }

    /// This vocabulary with `other`'s phrases and words added; `phrases_only` where either says so.
    #[must_use]
    pub fn with(mut self, other: Vocabulary) -> Self {
        for (language, added) in other.languages {
            let expectation = self.languages.entry(language).or_default();
            expectation.phrases.extend(added.phrases);
            expectation.words.extend(added.words);
            expectation.phrases_only |= added.phrases_only;
        }
        self
    }
}
