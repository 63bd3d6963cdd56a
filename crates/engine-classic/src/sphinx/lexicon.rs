//! Words and how they sound: from the Carnegie Mellon dictionary for English, from espeak-ng for the rest.
//!
//! What must stay true: a token of a closed vocabulary is `w` and a number, so that no spelling can break a grammar or a dictionary;
//! texts come back in the spelling that they were listed in. Nothing here depends on the order of a hash table.

use std::collections::{HashMap, HashSet};
use std::fs;

use super::arpabet::phones;
use super::espeak::phonemes;
use super::{DICTIONARY, MODEL_PACKAGE, SphinxError};

/// Most alternative pronunciations of a word.
const ALTERNATIVES_MAX: usize = 4;

/// espeak-ng's voices for a language; each may add a pronunciation.
fn voices(language: &str) -> &'static [&'static str] {
    match language {
        "en" => &["en-us"],
        "es" => &["es-419", "es"],
        "fr" => &["fr"],
        "it" => &["it"],
        _ => &[],
    }
}

/// Whether words of `language` can be given a pronunciation here.
pub(super) fn can_speak(language: &str) -> bool {
    voices(language).iter().any(|voice| phonemes(voice, &[]).is_ok())
}

/// The words of a text in lower case, without punctuation around them; compounds with hyphens or slashes come apart.
pub(super) fn words_of(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '-' | '/' | '–' | '—' | '_' | '.' | ',' | ';' | ':' | '…'))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase().replace('’', "'"))
        .filter(|word| !word.is_empty())
        .collect()
}

/// How each of `words` sounds, best first; words that nothing is known about are left out.
fn pronunciations(language: &str, words: &[String]) -> Result<HashMap<String, Vec<String>>, SphinxError> {
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    if language == "en" {
        let needed: HashSet<&str> = words.iter().map(String::as_str).collect();
        let dictionary = fs::read_to_string(DICTIONARY)
            .map_err(|_| SphinxError::DataMissing { path: DICTIONARY.into(), package: MODEL_PACKAGE })?;
        for line in dictionary.lines() {
            let Some((word, sounds)) = line.split_once(' ') else { continue };
            let plain = word.split('(').next().unwrap_or(word);
            if needed.contains(plain) {
                known.entry(plain.to_owned()).or_default().push(sounds.trim().to_owned());
            }
        }
    }
    let unknown: Vec<&str> = words.iter().map(String::as_str).filter(|word| !known.contains_key(*word)).collect();
    for voice in voices(language) {
        if unknown.is_empty() {
            break;
        }
        for (word, sound) in unknown.iter().zip(phonemes(voice, &unknown)?) {
            let sound = phones(&sound);
            let sounds = known.entry((*word).to_owned()).or_default();
            if !sound.is_empty() && !sounds.contains(&sound) {
                sounds.push(sound);
            }
        }
    }
    known.values_mut().for_each(|sounds| sounds.truncate(ALTERNATIVES_MAX));
    known.retain(|_, sounds| !sounds.is_empty());
    Ok(known)
}

/// Adds the lines of one word to a dictionary.
fn write_entry(dictionary: &mut String, token: &str, sounds: &[String]) {
    for (index, sound) in sounds.iter().enumerate() {
        match index {
            0 => dictionary.push_str(&format!("{token} {sound}\n")),
            _ => dictionary.push_str(&format!("{token}({}) {sound}\n", index + 1)),
        }
    }
}

/// Only the listed words exist.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// The dictionary's text.
    pub(super) dictionary: String,
    /// The tokens of each phrase, in the order of the phrases; a phrase with nothing to say is empty.
    pub(super) phrases: Vec<Vec<String>>,
    /// The tokens of the single words.
    pub(super) words: Vec<String>,
    /// Words in the order of their tokens' numbers, and how many pronunciations they have.
    spellings: Vec<(String, usize)>,
}

impl Closed {
    pub(super) fn new(language: &str, phrases: &[String], words: &[String]) -> Result<Self, SphinxError> {
        let texts: Vec<Vec<String>> = phrases.iter().map(|phrase| words_of(phrase)).collect();
        let singles: Vec<String> = words.iter().flat_map(|word| words_of(word)).collect();
        let mut spellings = Vec::new();
        let mut seen = HashSet::new();
        for word in texts.iter().flatten().chain(&singles) {
            if seen.insert(word.as_str()) {
                spellings.push(word.clone());
            }
        }
        let sounds = pronunciations(language, &spellings)?;
        let counted = |word: String| {
            let count = sounds.get(&word).map_or(0, Vec::len);
            (word, count)
        };
        let spellings = spellings.into_iter().map(counted).collect();
        let mut closed = Closed { spellings, ..Closed::default() };
        let mut tokens: HashMap<&str, String> = HashMap::new();
        for (index, (spelling, _)) in closed.spellings.iter().enumerate() {
            if let Some(sounds) = sounds.get(spelling) {
                let token = format!("w{index}");
                write_entry(&mut closed.dictionary, &token, sounds);
                tokens.insert(spelling, token);
            }
        }
        let of =
            |words: &[String]| words.iter().filter_map(|word| tokens.get(word.as_str()).cloned()).collect::<Vec<_>>();
        closed.phrases = texts.iter().map(|words| of(words)).collect();
        closed.words = of(&singles);
        if tokens.is_empty() {
            return Err(SphinxError::NothingToRecognise);
        }
        Ok(closed)
    }

    fn word(&self, token: &str) -> Option<&(String, usize)> {
        let plain = token.split('(').next()?;
        self.spellings.get(plain.strip_prefix('w')?.parse::<usize>().ok()?)
    }

    /// The spelling behind a token; none for what isn't one.
    pub(super) fn spelling(&self, token: &str) -> Option<&str> {
        self.word(token).map(|(spelling, _)| spelling.as_str())
    }

    /// How many pronunciations a token has.
    pub(super) fn pronunciations(&self, token: &str) -> usize {
        self.word(token).map_or(0, |(_, count)| *count)
    }
}

/// The general English dictionary and what must be added to it.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// The dictionary's text; empty when the installed one has every word.
    pub(super) dictionary: String,
    /// The words of each phrase.
    pub(super) phrases: Vec<Vec<String>>,
    /// The single words.
    pub(super) words: Vec<String>,
}

impl Open {
    pub(super) fn new(phrases: &[String], words: &[String]) -> Result<Self, SphinxError> {
        // A token of the open vocabulary is the word itself, so only plain ones get in.
        let plain = |word: &String| word.chars().all(|c| c.is_alphanumeric() || c == '\'');
        let texts: Vec<Vec<String>> =
            phrases.iter().map(|phrase| words_of(phrase).into_iter().filter(plain).collect()).collect();
        let singles: Vec<String> = words.iter().flat_map(|word| words_of(word)).filter(plain).collect();
        let mut all: Vec<String> = texts.iter().flatten().chain(&singles).cloned().collect();
        if all.is_empty() {
            return Ok(Open::default());
        }
        all.sort();
        all.dedup();
        let installed = fs::read_to_string(DICTIONARY)
            .map_err(|_| SphinxError::DataMissing { path: DICTIONARY.into(), package: MODEL_PACKAGE })?;
        let known: HashSet<&str> = installed.lines().filter_map(|line| line.split(' ').next()).collect();
        let missing: Vec<String> = all.into_iter().filter(|word| !known.contains(word.as_str())).collect();
        let mut dictionary = String::new();
        let mut unspeakable = HashSet::new();
        if !missing.is_empty() {
            let sounds = pronunciations("en", &missing)?;
            dictionary = installed.clone();
            for word in &missing {
                match sounds.get(word) {
                    Some(sounds) => write_entry(&mut dictionary, word, sounds),
                    None => _ = unspeakable.insert(word.clone()),
                }
            }
        }
        let keep =
            |words: Vec<String>| words.into_iter().filter(|word| !unspeakable.contains(word)).collect::<Vec<_>>();
        Ok(Open { dictionary, phrases: texts.into_iter().map(keep).collect(), words: keep(singles) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_and_case_are_not_part_of_a_word() {
        assert_eq!(words_of("Call-Forward on “Busy”... don’t!"), ["call", "forward", "on", "busy", "don't"]);
        assert!(words_of(" - … ").is_empty());
    }

    #[test]
    fn a_phrase_comes_back_in_its_own_spelling() {
        let closed = Closed::new("es", &["Opción inválida.".into()], &[]).unwrap();
        let spelled: Vec<_> = closed.phrases[0].iter().filter_map(|token| closed.spelling(token)).collect();
        assert_eq!(spelled, ["opción", "inválida"]);
        assert!(closed.dictionary.starts_with("w0 OW P S Y OW N\n"), "{}", closed.dictionary);
    }

    #[test]
    fn a_word_that_no_dictionary_has_gets_a_pronunciation() {
        let open = Open::new(&["Welcome to Kallglot".into()], &["Zyxmatic".into()]).unwrap();
        let added: Vec<&str> = open.dictionary.lines().rev().take(2).collect();
        assert!(added.iter().any(|line| line.starts_with("kallglot K ")), "{added:?}");
        assert_eq!(open.words, ["zyxmatic"]);
    }
}
