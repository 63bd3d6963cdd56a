//! What is analysed: the turns of a call, each with the texts that can be read of it.
//!
//! A turn has one or two texts: what was said, and its translation. Each part of the analysis chooses which to read; what it chose
//! is told with the result.

use std::collections::BTreeMap;

use kallglot_core::language::LanguageTag;
use kallglot_core::session::{Speaker, Turn};

use crate::language::Language;
use crate::text::{self, Word};

/// One text of a turn.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) tag: &'a LanguageTag,
    /// None when it can't be analysed.
    pub(crate) language: Option<Language>,
    pub(crate) text: &'a str,
    pub(crate) words: Vec<Word>,
    /// Whether it is the translation.
    pub(crate) translated: bool,
}

impl<'a> Reading<'a> {
    fn of(tag: &'a LanguageTag, text: &'a str, translated: bool) -> Self {
        let cut = text.char_indices().nth(TURN_CHARS_MAX).map_or(text, |(cut, _)| &text[..cut]);
        let language = Language::of(tag);
        Self { tag, language, text: cut, words: text::words(cut, language), translated }
    }
}

/// Most characters of a turn that are read. Nobody says more in one breath.
const TURN_CHARS_MAX: usize = 10_000;
/// Most turns that are read: a day of talk. What is beyond is told as left out.
pub(crate) const TURNS_MAX: usize = 20_000;

/// Most text that is read, in bytes: some days of talk.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// A turn and what can be read of it.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    pub(crate) turn: &'a Turn,
    pub(crate) own: Reading<'a>,
    pub(crate) translation: Option<Reading<'a>>,
}

impl<'a> Said<'a> {
    pub(crate) fn readings(&self) -> impl Iterator<Item = &Reading<'a>> {
        std::iter::once(&self.own).chain(&self.translation)
    }

    /// The text that says it best among those that can be analysed: what was said, else the translation.
    pub(crate) fn readable(&self) -> Option<(Language, &Reading<'a>)> {
        self.readings().find_map(|reading| Some((reading.language?, reading)))
    }

    /// The text in this language.
    pub(crate) fn reading_in(&self, language: Language) -> Option<&Reading<'a>> {
        self.readings().find(|reading| reading.language == Some(language))
    }
}

/// The turns of a call, in the order in which they were said.
#[derive(Debug)]
pub(crate) struct Transcript<'a> {
    pub(crate) said: Vec<Said<'a>>,
    /// How many turns are beyond what is read.
    pub(crate) left_out: usize,
}

impl<'a> Transcript<'a> {
    pub(crate) fn of(turns: &'a [Turn]) -> Self {
        let mut ordered: Vec<&Turn> = turns.iter().collect();
        ordered.sort_by_key(|turn| (turn.start_ms, turn.sequence));
        let mut bytes = 0;
        let read = ordered.iter().take(TURNS_MAX).take_while(|turn| {
            bytes += turn.text.len() + turn.translation.as_ref().map_or(0, |t| t.text.len());
            bytes <= TEXT_BYTES_MAX
        });
        let read = read.count();
        let left_out = ordered.len() - read;
        ordered.truncate(read);
        let said = ordered
            .into_iter()
            .map(|turn| Said {
                turn,
                own: Reading::of(&turn.language, &turn.text, false),
                translation: turn.translation.as_ref().map(|t| Reading::of(&t.language, &t.text, true)),
            })
            .collect();
        Self { said, left_out }
    }

    pub(crate) fn by(&self, speaker: Speaker) -> impl Iterator<Item = &Said<'a>> {
        self.said.iter().filter(move |said| said.turn.speaker == speaker)
    }

    /// The language in which most of the call can be read; of two, the one that the agent speaks, whose organization reads the
    /// analysis; then the first of the list. None when nothing can be analysed.
    pub(crate) fn language(&self) -> Option<Language> {
        Language::ALL
            .into_iter()
            .map(|language| {
                let readable = self.said.iter().filter(|said| said.reading_in(language).is_some()).count();
                let agents = self.by(Speaker::Agent).filter(|said| said.own.language == Some(language)).count();
                (readable, agents, language)
            })
            .filter(|(readable, ..)| *readable > 0)
            .max_by_key(|(readable, agents, language)| (*readable, *agents, std::cmp::Reverse(*language)))
            .map(|(.., language)| language)
    }

    /// The languages of turns of which no text can be analysed, with how many turns each has.
    pub(crate) fn unreadable(&self) -> BTreeMap<String, usize> {
        let mut languages = BTreeMap::new();
        for said in self.said.iter().filter(|said| !said.own.words.is_empty() && said.readable().is_none()) {
            *languages.entry(said.own.tag.primary().to_owned()).or_insert(0) += 1;
        }
        languages
    }
}
