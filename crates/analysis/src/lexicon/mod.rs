//! What words feel like: a lexicon per language, written for talk on the telephone between a business and its customers.
//!
//! A word's weight is -3 to 3. Words are written folded (lower case, no accents, no apostrophes); a word that is not there itself is looked up by
//! its stem. Two words that belong together are joined by `_`.

mod de;
mod en;
mod es;
mod fr;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use crate::language::Language;
use crate::text::{self, Word};

/// A language's words, as they are written down.
pub(crate) struct Lists {
    /// Words by weight. Pairs of weight 0 are what people say without feeling it: "good morning".
    pub(crate) weights: &'static [(i8, &'static str)],
    /// What turns the words after it around.
    pub(crate) negations: &'static str,
    /// What makes the next word stronger.
    pub(crate) intensifiers: &'static str,
    /// What makes the next word weaker.
    pub(crate) softeners: &'static str,
    /// What sets the rest of a sentence against its beginning: the rest is what is meant.
    pub(crate) contrasts: &'static str,
}

/// What a word does to the feeling of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Negation,
    Intensifier,
    Softener,
    Contrast,
}

/// A language's words, to be looked up.
pub(crate) struct Lexicon {
    words: HashMap<String, i8>,
    stems: HashMap<String, i8>,
    roles: HashMap<&'static str, Role>,
}

fn lists(language: Language) -> &'static Lists {
    match language {
        Language::En => &en::LISTS,
        Language::Es => &es::LISTS,
        Language::De => &de::LISTS,
        Language::Fr => &fr::LISTS,
    }
}

impl Lexicon {
    fn build(language: Language) -> Self {
        let lists = lists(language);
        let mut words = HashMap::new();
        // 0 marks a stem whose words disagree: it says nothing.
        let mut stems: HashMap<String, i8> = HashMap::new();
        for (weight, list) in lists.weights {
            for entry in list.split_whitespace() {
                words.insert(entry.to_owned(), *weight);
                let Some(word) = text::words(entry, Some(language)).into_iter().next().filter(|_| !entry.contains('_'))
                else {
                    continue;
                };
                match stems.entry(word.stem) {
                    Entry::Vacant(place) => {
                        place.insert(*weight);
                    }
                    Entry::Occupied(mut place) if place.get().signum() != weight.signum() => {
                        place.insert(0);
                    }
                    Entry::Occupied(_) => {}
                }
            }
        }
        let roles = [
            (Role::Negation, lists.negations),
            (Role::Intensifier, lists.intensifiers),
            (Role::Softener, lists.softeners),
            (Role::Contrast, lists.contrasts),
        ];
        let roles = roles.into_iter().flat_map(|(role, list)| list.split_whitespace().map(move |word| (word, role)));
        Self { words, stems, roles: roles.collect() }
    }

    /// The lexicon of this language.
    pub(crate) fn of(language: Language) -> &'static Self {
        static LEXICONS: LazyLock<[Lexicon; 4]> = LazyLock::new(|| Language::ALL.map(Lexicon::build));
        &LEXICONS[language as usize]
    }

    /// The weight of the word at this place and how many words it is made of; none for a word that feels like nothing.
    /// A pair's weight may be 0.
    pub(crate) fn weight(&self, words: &[Word], at: usize) -> Option<(i8, usize)> {
        let word = words.get(at)?;
        if let Some(next) = words.get(at + 1)
            && let Some(weight) = self.words.get(&format!("{}_{}", word.folded, next.folded))
        {
            return Some((*weight, 2));
        }
        let weight = self.words.get(&word.folded).or_else(|| self.stems.get(&word.stem))?;
        (*weight != 0).then_some((*weight, 1))
    }

    /// What a word does to those around it.
    pub(crate) fn role(&self, word: &Word) -> Option<Role> {
        self.roles.get(word.folded.as_str()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_lexicon_has_several_hundred_words_each_once_and_folded() {
        for language in Language::ALL {
            let mut seen = HashSet::new();
            for (weight, list) in lists(language).weights {
                assert!((-3..=3).contains(weight));
                for entry in list.split_whitespace() {
                    assert_eq!(text::fold(entry), entry, "{language:?}");
                    assert!(*weight != 0 || entry.contains('_'), "{entry}");
                    assert!(seen.insert(entry), "{language:?}: {entry} is there twice");
                }
            }
            assert!(seen.len() >= 300, "{language:?} has {}", seen.len());
        }
    }

    #[test]
    fn inflections_are_found_by_their_stems() {
        for (language, word, positive) in [
            (Language::En, "disappointingly", false),
            (Language::Es, "maravillosas", true),
            (Language::De, "unfreundliche", false),
            (Language::Fr, "insatisfaites", false),
        ] {
            let words = text::words(word, Some(language));
            let weight = Lexicon::of(language).weight(&words, 0);
            assert!(weight.is_some_and(|(weight, _)| (weight > 0) == positive), "{word} {weight:?}");
        }
    }
}
