//! Texts as words and sentences.
//!
//! A word is known by two keys: its folded form (lower case, without accents and apostrophes) and its folded stem. Two words are
//! taken for the same when either agrees, so `Información`, `informacion` and `informaciones` are one.
//! Places are byte offsets that lie on character boundaries of the text they came from.

use snowball_stemmers_rs::Stemmer;
use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::language::Language;

/// Longer words are known by their first so many characters: nobody says them.
const WORD_CHARS_MAX: usize = 64;
/// A sentence without an end is cut after so many words: recognizers may leave punctuation out.
const SENTENCE_WORDS_MAX: usize = 50;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where it begins in the text, in bytes.
    pub(crate) start: usize,
    /// Where it ends in the text, in bytes.
    pub(crate) end: usize,
    /// Lower case, without accents and apostrophes.
    pub(crate) folded: String,
    /// Its stem, folded; the folded word where the language has no stemmer.
    pub(crate) stem: String,
    /// Which clause of the text it is in: counts what punctuation parts, from 0.
    pub(crate) clause: u32,
}

impl Word {
    /// Whether this is the other word, written or inflected in another way.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.folded == other.folded || self.stem == other.stem
    }
}

/// Accents of Latin, Greek and Cyrillic letters, and the vowel marks that Arabic and Hebrew are mostly written without.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{652}')
}

/// A text in lower case without accents and apostrophes.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            '\'' | '\u{2019}' | '\u{2bc}' => {}
            'ß' => folded.push_str("ss"),
            // What lower case may add: `İ` becomes `i` and a mark.
            c if is_mark(c) => {}
            c => folded.push(c),
        }
    }
    folded
}

fn stem(word: &str, language: Language) -> String {
    let lower: String = word.nfc().flat_map(char::to_lowercase).collect();
    fold(&Stemmer::create(language.stemmer()).stem(&lower))
}

fn word(text: &str, start: usize, end: usize, language: Option<Language>, clause: u32) -> Option<Word> {
    let whole = text.get(start..end)?;
    let known = whole.char_indices().nth(WORD_CHARS_MAX).map_or(whole, |(cut, _)| &whole[..cut]);
    let folded = fold(known);
    if folded.is_empty() {
        return None;
    }
    let stem = language.map_or_else(|| folded.clone(), |language| stem(known, language));
    let stem = if stem.is_empty() { folded.clone() } else { stem };
    Some(Word { start, end, folded, stem, clause })
}

/// The words of a text, in their order. Writing systems without spaces give a word per character.
pub(crate) fn words(text: &str, language: Option<Language>) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut clause, mut after) = (0, 0);
    for (start, whole) in text.unicode_word_indices() {
        if !words.is_empty() && text[after..start].chars().any(|c| !c.is_whitespace() && !is_joiner(c)) {
            clause += 1;
        }
        after = start + whole.len();
        let mut from = start;
        if language.is_some_and(Language::elides) {
            for (at, c) in whole.char_indices().filter(|(_, c)| matches!(c, '\'' | '\u{2019}')) {
                words.extend(word(text, from, start + at, language, clause));
                from = start + at + c.len_utf8();
            }
        }
        words.extend(word(text, from, after, language, clause));
    }
    words
}

/// What stands between words without parting clauses.
fn is_joiner(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{2011}' | '\'' | '\u{2019}' | '/' | '&' | '@' | '#' | '%' | '+' | '_')
}

const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "st", "vs", "no", "nr", "inc", "ltd", "etc", "approx", "sr", "sra", "srta", "dra", "ud",
    "uds", "núm", "art", "av", "hr", "fr", "bzw", "ca", "ggf", "evtl", "usw", "mme", "mlle", "env", "tel", "tél",
];

/// Whether the full stop at the end of `before` belongs to its last word.
fn abbreviates(before: &str) -> bool {
    let last = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let lower = last.to_lowercase();
    let single_letter = last.chars().count() == 1 && last.chars().all(char::is_alphabetic);
    single_letter || ABBREVIATIONS.contains(&lower.as_str())
}

/// The sentences of a text as ranges of bytes, none of them blank.
pub(crate) fn sentences(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let ends = match c {
            '.' => !abbreviates(&text[from..at]) && chars.peek().is_none_or(|(_, next)| !next.is_alphanumeric()),
            '!' | '?' | '…' | '؟' | '।' | '。' | '！' | '？' | '\n' => true,
            _ => false,
        };
        if !ends {
            continue;
        }
        // What closes the sentence belongs to it: `?!`, `."`, `…)`.
        let mut end = at + c.len_utf8();
        while let Some((next_at, next)) =
            chars.next_if(|(_, next)| matches!(next, '.' | '!' | '?' | '…' | '"' | '”' | '»' | ')' | '\''))
        {
            end = next_at + next.len_utf8();
        }
        push_sentence(text, from, end, &mut found);
        from = end;
    }
    push_sentence(text, from, text.len(), &mut found);
    found
}

fn push_sentence(text: &str, from: usize, end: usize, found: &mut Vec<(usize, usize)>) {
    let piece = &text[from..end];
    let trimmed = piece.trim_start();
    let mut from = from + (piece.len() - trimmed.len());
    let end = from + trimmed.trim_end().len();
    if text[from..end].unicode_words().next().is_none() {
        return;
    }
    // Words are counted again from each cut, so that no piece is longer.
    while let Some((cut, _)) = text[from..end].unicode_word_indices().nth(SENTENCE_WORDS_MAX) {
        found.push((from, from + text[from..from + cut].trim_end().len()));
        from += cut;
    }
    found.push((from, end));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|(from, to)| &text[from..to]).collect()
    }

    #[test]
    fn the_same_word_is_found_in_every_spelling_and_inflection() {
        for (language, one, other) in [
            (Language::Es, "Información", "informacion"),
            (Language::Es, "habitaciones", "habitación"),
            (Language::De, "Straße", "STRASSE"),
            (Language::De, "Buchungen", "Buchung"),
            (Language::En, "don’t", "DON'T"),
            (Language::En, "recorded", "recording"),
            (Language::Fr, "réservations", "reservation"),
        ] {
            let (one, other) = (words(one, Some(language)), words(other, Some(language)));
            assert!(one[0].is(&other[0]), "{one:?} {other:?}");
        }
    }

    #[test]
    fn french_elisions_are_words_of_their_own() {
        let folded: Vec<String> =
            words("L’addition n'est pas là", Some(Language::Fr)).into_iter().map(|w| w.folded).collect();
        assert_eq!(folded, ["l", "addition", "n", "est", "pas", "la"]);
    }

    #[test]
    fn sentences_end_where_they_do() {
        assert_eq!(
            pieces("Hello, Dr. Smith. It costs 3.50 today! Really?! Yes"),
            ["Hello, Dr. Smith.", "It costs 3.50 today!", "Really?!", "Yes"]
        );
        assert_eq!(pieces("¿Tiene habitación? Sí. … "), ["¿Tiene habitación?", "Sí."]);
        assert_eq!(pieces("你好。再见！"), ["你好。", "再见！"]);
    }

    #[test]
    fn a_sentence_without_an_end_is_cut() {
        let long = "word ".repeat(120);
        assert_eq!(sentences(&long).len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_has_words_and_sentences_at_places_that_exist(text in "\\PC{0,200}") {
            for language in Language::ALL.into_iter().map(Some).chain([None]) {
                let mut last = 0;
                for word in words(&text, language) {
                    prop_assert!(word.start >= last && text.get(word.start..word.end).is_some());
                    prop_assert!(!word.folded.is_empty() && !word.stem.is_empty());
                    last = word.end;
                }
            }
            let mut last = 0;
            for (from, to) in sentences(&text) {
                prop_assert!(from >= last && from < to && text.get(from..to).is_some());
                last = to;
            }
        }
    }
}
