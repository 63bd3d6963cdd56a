//! Where phrases were said: tolerant of case, accents, punctuation, inflection and a few words between, and of an utterance that was
//! cut in two. What was said and its translation are searched each for itself.

use std::collections::HashMap;

use kallglot_core::session::Speaker;

use super::profile::{Phrase, Rule, words_in};
use crate::language::Language;
use crate::lexicon::{Lexicon, Role};
use crate::text::Word;
use crate::transcript::{Reading, Said, Transcript};

/// Turns of one party with less time between them than this are searched as one text.
const SAME_UTTERANCE_MS_MAX: u64 = 3_000;
/// Most places of one rule that are remembered.
const FOUND_MAX: usize = 200;
/// Most characters of a quote.
const QUOTE_CHARS_MAX: usize = 300;

/// A phrase, in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// The turn that it begins in.
    pub(super) said: &'a Said<'a>,
    pub(super) reading: &'a Reading<'a>,
    /// Where in the reading, in bytes.
    pub(super) at: usize,
    /// What was said there, in the words of the text.
    pub(super) quote: String,
    pub(super) phrase: &'a str,
}

impl PartialEq for Said<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.turn.sequence == other.turn.sequence
    }
}

impl Eq for Said<'_> {}

impl PartialEq for Reading<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.translated == other.translated && self.text == other.text
    }
}

impl Eq for Reading<'_> {}

/// A word in a run of turns.
struct Token<'a> {
    said: &'a Said<'a>,
    reading: &'a Reading<'a>,
    word: &'a Word,
}

/// Turns of one party in one language that follow each other closely.
pub(super) struct Run<'a> {
    speaker: Speaker,
    language: Option<Language>,
    tokens: Vec<Token<'a>>,
    /// Where each folded word and each stem stands.
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Run<'a> {
    fn of(speaker: Speaker, readings: &[(&'a Said<'a>, &'a Reading<'a>)]) -> Self {
        let tokens: Vec<Token<'a>> = readings
            .iter()
            .flat_map(|(said, reading)| reading.words.iter().map(|word| Token { said, reading, word }))
            .collect();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, token) in tokens.iter().enumerate() {
            places.entry(&token.word.folded).or_default().push(at);
            if token.word.stem != token.word.folded {
                places.entry(&token.word.stem).or_default().push(at);
            }
        }
        let language = readings.first().and_then(|(_, reading)| reading.language);
        Self { speaker, language, tokens, places }
    }

    fn starts(&self, first: &Word) -> Vec<usize> {
        let of = |key: &str| self.places.get(key).into_iter().flatten().copied();
        let mut starts: Vec<usize> =
            of(&first.folded).chain(of(&first.stem)).filter(|at| self.tokens[*at].word.is(first)).collect();
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Whether a word may stand between a phrase's words: anything but what turns its meaning around.
    fn may_be_skipped(&self, word: &Word) -> bool {
        self.language.is_none_or(|language| Lexicon::of(language).role(word) != Some(Role::Negation))
    }

    /// Where the phrase that begins at `start` ends, if it is there.
    fn end_of(&self, start: usize, words: &[Word], gap_words: usize) -> Option<usize> {
        // All places where the phrase's words so far may end.
        let mut ends = vec![start];
        for wanted in &words[1..] {
            let mut next = Vec::new();
            for end in &ends {
                for at in end + 1..(end + 2 + gap_words).min(self.tokens.len()) {
                    let word = self.tokens[at].word;
                    if word.is(wanted) && !next.contains(&at) {
                        next.push(at);
                    }
                    if !self.may_be_skipped(word) {
                        break;
                    }
                }
            }
            ends = next;
        }
        ends.into_iter().min()
    }

    fn quote(&self, start: usize, end: usize) -> String {
        let mut quote = String::new();
        for piece in self.tokens[start..=end].chunk_by(|one, other| std::ptr::eq(one.reading, other.reading)) {
            let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
            if !quote.is_empty() {
                quote.push_str(" … ");
            }
            quote.push_str(&first.reading.text[first.word.start..last.word.end]);
        }
        match quote.char_indices().nth(QUOTE_CHARS_MAX) {
            Some((cut, _)) => format!("{}…", &quote[..cut]),
            None => quote,
        }
    }

    /// `words` are the phrase's in this run's language.
    fn search(&self, phrase: &'a Phrase, words: &[Word], gap_words: u8, found: &mut Vec<Found<'a>>) {
        let Some(first) = self.tokens.first() else { return };
        if !phrase.is_for(first.reading.tag) {
            return;
        }
        let Some(begin) = words.first() else { return };
        let mut after = 0;
        for start in self.starts(begin) {
            if start < after || found.len() >= FOUND_MAX {
                continue;
            }
            let Some(end) = self.end_of(start, words, gap_words.into()) else { continue };
            after = end + 1;
            let token = &self.tokens[start];
            found.push(Found {
                said: token.said,
                reading: token.reading,
                at: token.word.start,
                quote: self.quote(start, end),
                phrase: &phrase.text,
            });
        }
    }
}

/// The runs of a call: of what was said, then of the translations.
pub(super) fn runs<'a>(transcript: &'a Transcript<'a>) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    for speaker in [Speaker::Customer, Speaker::Agent] {
        for translated in [false, true] {
            let mut run: Vec<(&Said<'_>, &Reading<'_>)> = Vec::new();
            for said in transcript.by(speaker) {
                let reading = if translated { said.translation.as_ref() } else { Some(&said.own) };
                let Some(reading) = reading else { continue };
                let goes_on = run.last().is_some_and(|(before, last)| {
                    last.tag.primary() == reading.tag.primary()
                        && said.turn.start_ms.saturating_sub(before.turn.end_ms) <= SAME_UTTERANCE_MS_MAX
                });
                if !goes_on && !run.is_empty() {
                    runs.push(Run::of(speaker, &std::mem::take(&mut run)));
                }
                run.push((said, reading));
            }
            if !run.is_empty() {
                runs.push(Run::of(speaker, &run));
            }
        }
    }
    runs
}

/// Where a rule's phrases were said by whom the rule is about, in the order of time; once per turn, what was said before its translation.
pub(super) fn search<'a>(rule: &'a Rule, runs: &[Run<'a>]) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    // There are many runs, and few languages.
    let mut phrases: HashMap<Option<Language>, Vec<Vec<Word>>> = HashMap::new();
    for run in runs.iter().filter(|run| rule.by.is(run.speaker)) {
        let words = phrases
            .entry(run.language)
            .or_insert_with(|| rule.phrases.iter().map(|phrase| words_in(phrase, run.language)).collect());
        for (phrase, words) in rule.phrases.iter().zip(words) {
            run.search(phrase, words, rule.gap_words, &mut found);
        }
    }
    found.sort_by_key(|found| (found.said.turn.start_ms, found.said.turn.sequence, found.reading.translated, found.at));
    found.dedup_by_key(|found| found.said.turn.sequence);
    found
}
