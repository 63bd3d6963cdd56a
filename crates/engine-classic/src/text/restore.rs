//! Case and punctuation, which recognizers leave out: for readers, and because the translator needs them ("i" is no "I" to it).
//!
//! What must stay true: only case and punctuation change, never a word; a text that has capitals already is left as it is; the
//! text so far of an utterance, restored, stays a beginning of the whole text restored wherever the language allows it.

use std::collections::HashMap;

use super::capitalized;

/// English words that are always written with a capital. Left out where another word is written the same ("may", "march").
const ENGLISH_NAMES: &str = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February April June July August September \
    October November December English Spanish French German Italian Portuguese Catalan Russian Chinese Japanese American British \
    European Mexican Spain France Germany Italy Portugal Mexico England America Europe London Paris Madrid Barcelona Christmas Easter \
    I I'm I'll I've I'd OK Mr Mrs Ms Dr";

const AUXILIARIES: [&str; 24] = [
    "is", "are", "am", "was", "were", "do", "does", "did", "can", "could", "will", "would", "should", "shall", "may",
    "might", "must", "have", "has", "had", "isn't", "aren't", "don't", "can't",
];
/// What may stand between such a word and the verb in a question that begins with it.
const SUBJECTS: [&str; 20] = [
    "i", "you", "he", "she", "it", "we", "they", "there", "this", "that", "these", "those", "the", "my", "your", "our",
    "his", "her", "anyone", "anybody",
];
/// What may come before the sentence proper.
const OPENERS: [&str; 14] =
    ["and", "so", "but", "okay", "ok", "well", "hello", "hi", "yes", "no", "now", "then", "please", "sorry"];

/// Restores one direction's texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restorer {
    language: String,
    /// Names as they are written, by their lower case.
    names: HashMap<String, String>,
}

impl Restorer {
    /// For texts in `language` (primary). `expected` is what the caller gave as words and phrases; names are learned from them.
    pub(crate) fn new<'a>(language: &str, expected: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = HashMap::new();
        for text in expected {
            let words: Vec<&str> = text.split_whitespace().map(bare).collect();
            for (index, word) in words.iter().enumerate() {
                // The first word of a sentence says nothing; that of a single word or name does.
                if (index > 0 || words.len() == 1) && word.chars().any(char::is_uppercase) {
                    names.insert(word.to_lowercase(), (*word).to_owned());
                }
            }
        }
        if language == "en" {
            names.extend(ENGLISH_NAMES.split_whitespace().map(|name| (name.to_lowercase(), name.to_owned())));
        }
        Self { language: language.to_owned(), names }
    }

    /// The text so far: only case.
    pub(crate) fn partial(&self, text: &str) -> String {
        let words: Vec<String> = text.split_whitespace().map(|word| self.word(word)).collect();
        capitalized(&words.join(" "))
    }

    /// The whole text: case, and the mark at its end.
    pub(crate) fn sentence(&self, text: &str) -> String {
        let mut sentence = self.partial(text);
        if !sentence.chars().next_back().is_some_and(char::is_alphanumeric) {
            return sentence;
        }
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        match self.language.as_str() {
            "en" if is_english_question(&words) => sentence.push('?'),
            "es" if is_spanish_question(&words) => {
                sentence.insert(0, '¿');
                sentence.push('?');
            }
            _ => sentence.push('.'),
        }
        sentence
    }

    fn word(&self, word: &str) -> String {
        let core = bare(word);
        let (stem, ending) = core.strip_suffix("'s").map_or((core, ""), |stem| (stem, "'s"));
        match (self.names.get(&core.to_lowercase()), self.names.get(&stem.to_lowercase())) {
            (Some(name), _) => word.replacen(core, name, 1),
            (None, Some(name)) => word.replacen(core, &format!("{name}{ending}"), 1),
            (None, None) => word.to_owned(),
        }
    }
}

/// A text for translation: as it is when it has capitals, else restored.
pub(crate) fn cased(text: &str, language: &str) -> String {
    if text.chars().any(char::is_uppercase) {
        return text.trim().to_owned();
    }
    Restorer::new(language, []).sentence(text)
}

fn bare(word: &str) -> &str {
    word.trim_matches(|character: char| !character.is_alphanumeric())
}

fn is_english_question(words: &[&str]) -> bool {
    let start = words.iter().take(3).take_while(|word| OPENERS.contains(word)).count();
    let Some((first, rest)) = words[start..].split_first() else { return false };
    let second = rest.first().copied().unwrap_or_default();
    let auxiliary = |word: &str| AUXILIARIES.contains(&word);
    match *first {
        "who" | "where" | "when" | "why" => auxiliary(second) || (*first == "why" && second == "not"),
        "what's" | "where's" | "who's" | "how's" => true,
        // "what time is it", "how many people are there", but not "how nice" and "what a day".
        "what" | "which" | "how" | "whose" => {
            !matches!(second, "a" | "an") && rest.iter().take(4).any(|word| auxiliary(word))
                || (*first == "how" && matches!(second, "much" | "many" | "about" | "long"))
                || (*first == "what" && second == "about")
        }
        // Also imperatives: "do this", "have the number ready".
        "do" | "have" | "had" => matches!(second, "i" | "you" | "we" | "they"),
        "don't" => matches!(second, "i" | "we" | "they"),
        word if auxiliary(word) => SUBJECTS.contains(&second),
        _ => false,
    }
}

fn is_spanish_question(words: &[&str]) -> bool {
    let start = usize::from(
        words.first().is_some_and(|word| ["a", "de", "en", "con", "por", "para", "y", "desde"].contains(word)),
    );
    words.get(start).is_some_and(|word| {
        [
            "qué", "cómo", "dónde", "adónde", "cuándo", "cuánto", "cuánta", "cuántos", "cuántas", "quién", "quiénes",
            "cuál", "cuáles",
        ]
        .contains(word)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn english(text: &str) -> String {
        cased(text, "en")
    }

    #[test]
    fn a_sentence_gets_its_capitals_and_its_end() {
        assert_eq!(english("i think i'm late on monday"), "I think I'm late on Monday.");
        assert_eq!(english("please enter your password"), "Please enter your password.");
        assert_eq!(english(""), "");
    }

    #[test]
    fn obvious_questions_get_a_question_mark() {
        for question in [
            "what time is it",
            "where is the station",
            "can i help you",
            "how much does it cost",
            "hello can you hear me",
            "is there anybody there",
            "do you speak english",
        ] {
            assert!(english(question).ends_with('?'), "{question}");
        }
        for statement in [
            "what a nice day",
            "do this first",
            "have the number ready",
            "when i come home",
            "how nice",
            "will power helps",
        ] {
            assert!(english(statement).ends_with('.'), "{statement}");
        }
        assert_eq!(cased("dónde está la estación", "es"), "¿Dónde está la estación?");
        assert_eq!(cased("por qué no funciona", "es"), "¿Por qué no funciona?");
        assert_eq!(cased("que tenga un buen día", "es"), "Que tenga un buen día.");
    }

    #[test]
    fn names_that_were_expected_are_written_as_they_were_given() {
        let restorer = Restorer::new("en", ["Kallglot", "Ask for Ana García", "Please hold"]);
        assert_eq!(restorer.sentence("ana garcía's please call kallglot"), "Ana García's please call Kallglot.");
    }

    #[test]
    fn a_text_with_capitals_is_left_alone() {
        assert_eq!(english("Ask NASA about it"), "Ask NASA about it");
    }

    proptest! {
        #[test]
        fn only_case_and_punctuation_change(words in proptest::collection::vec("[a-z']{1,8}", 1..12)) {
            let text = words.join(" ");
            let restored = english(&text);
            prop_assert_eq!(super::super::plain(&restored), super::super::plain(&text));
        }

        #[test]
        fn english_partials_are_beginnings_of_the_final(words in proptest::collection::vec("[a-z]{1,8}", 1..12), cut in 0usize..12) {
            let restorer = Restorer::new("en", []);
            let partial = restorer.partial(&words[..cut.min(words.len())].join(" "));
            prop_assert!(restorer.sentence(&words.join(" ")).starts_with(&partial));
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            cased(&text, "en");
            cased(&text, "es");
        }
    }
}
