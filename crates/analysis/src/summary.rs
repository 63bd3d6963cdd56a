//! A summary made of the call's own sentences, with who said them: for somebody who was not there.
//!
//! Sentences are ranked by LexRank; those that open the customer's part (why they call) and those that close the call (what was agreed) count more;
//! what says the same again counts less. They are told in the order in which they were said.

use kallglot_core::session::Speaker;
use serde::{Deserialize, Serialize};

use crate::SpeakerName;
use crate::language::Language;
use crate::rank::{self, Vector};
use crate::stop_words::is_stop_word;
use crate::text;
use crate::transcript::Transcript;

/// Most sentences of a summary.
const SENTENCES_MAX: usize = 9;
/// Fewest that are wanted, of calls that have as many.
const SENTENCES_MIN: usize = 4;
/// Of so many sentences of the call one is taken.
const SENTENCES_PER: usize = 4;
/// Most characters of the sentences of a summary.
const CHARS_MAX: usize = 1_200;
/// A sentence with fewer words that mean something is small talk.
const CONTENT_WORDS_MIN: usize = 2;
/// So many sentences are compared with each other at once; of a longer call the best of each part are compared again.
const BLOCK_SENTENCES: usize = 600;
/// How many of each part.
const BLOCK_BEST: usize = 60;
/// How much a sentence's own worth counts beside that it says something new.
const NEW: f64 = 0.7;

/// A sentence of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Highlight {
    /// The turn that it is from, by its place in the transcript.
    pub sequence: u32,
    /// Who said it.
    pub speaker: SpeakerName,
    /// When that turn began, in ms after the session's first audio.
    pub start_ms: u64,
    /// The sentence, in the summary's language where there is such a text.
    pub text: String,
    /// Its language.
    pub language: String,
    /// Whether it is from the translation.
    pub translated: bool,
}

/// A summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The sentences with their speakers, one speaker's a line.
    pub text: String,
    /// The language in which it is told: the primary subtag.
    pub language: String,
    /// The sentences that it is made of, in the order in which they were said.
    pub highlights: Vec<Highlight>,
}

struct Candidate<'a> {
    highlight: Highlight,
    keys: Vec<&'a str>,
    /// 1 and more for where it is.
    position: f64,
}

fn candidates<'a>(transcript: &'a Transcript<'_>, language: Language) -> Vec<Candidate<'a>> {
    let last = transcript.said.len().saturating_sub(1).max(1) as f64;
    let first_customer = transcript.said.iter().position(|said| said.turn.speaker == Speaker::Customer).unwrap_or(0);
    let mut found = Vec::new();
    for (place, said) in transcript.said.iter().enumerate() {
        let reading = said.reading_in(language).map(|reading| (language, reading)).or_else(|| said.readable());
        let Some((language, reading)) = reading else { continue };
        let near_end = place as f64 / last;
        let customer = said.turn.speaker == Speaker::Customer;
        let position = if customer && place < first_customer + 6 {
            1.5
        } else if near_end >= 0.8 && transcript.said.len() >= 10 {
            1.2
        } else {
            1.0
        };
        let mut words = reading.words.iter().peekable();
        for (from, to) in text::sentences(reading.text) {
            let mut keys = Vec::new();
            while let Some(word) = words.next_if(|word| word.start < to) {
                if word.start >= from && !is_stop_word(word, language) {
                    keys.push(word.stem.as_str());
                }
            }
            found.push(Candidate {
                highlight: Highlight {
                    sequence: said.turn.sequence,
                    speaker: said.turn.speaker.into(),
                    start_ms: said.turn.start_ms,
                    text: reading.text[from..to].to_owned(),
                    language: reading.tag.to_string(),
                    translated: reading.translated,
                },
                keys,
                position,
            });
        }
    }
    found
}

/// What a sentence is worth by itself: how central it is, where it is, whether it says enough, and whether it names figures.
fn worth(candidate: &Candidate<'_>, central: f64) -> f64 {
    let length = candidate.keys.len();
    if length < CONTENT_WORDS_MIN {
        // Better than nothing when there is nothing better.
        return 0.01 * central;
    }
    let enough = (length as f64 / 8.0).min(1.0).powf(0.7);
    let text = &candidate.highlight.text;
    let figures = if text.chars().any(char::is_numeric) { 1.1 } else { 1.0 };
    // What an agent asks is mostly routine; what it answers is what was agreed.
    let routine = candidate.highlight.speaker == SpeakerName::Agent && text.ends_with('?');
    (0.4 + 0.6 * central) * candidate.position * enough * figures * if routine { 0.6 } else { 1.0 }
}

fn ranked(candidates: &[Candidate<'_>]) -> (Vec<Vector>, Vec<f64>) {
    let keys: Vec<Vec<&str>> = candidates.iter().map(|candidate| candidate.keys.clone()).collect();
    let vectors = rank::vectors(&keys);
    let weights = candidates
        .iter()
        .zip(rank::centrality(&vectors))
        .map(|(candidate, central)| worth(candidate, central))
        .collect();
    (vectors, weights)
}

/// Leaves the best of each part of a long call, in their order.
fn thinned(mut candidates: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    while candidates.len() > BLOCK_SENTENCES {
        let mut kept = Vec::new();
        while !candidates.is_empty() {
            let rest = candidates.split_off(candidates.len().min(BLOCK_SENTENCES));
            let (_, weights) = ranked(&candidates);
            let mut places: Vec<usize> = (0..candidates.len()).collect();
            places.sort_by(|one, other| weights[*other].total_cmp(&weights[*one]).then(one.cmp(other)));
            let mut best = vec![false; candidates.len()];
            places.iter().take(BLOCK_BEST).for_each(|place| best[*place] = true);
            kept.extend(candidates.into_iter().zip(best).filter(|(_, best)| *best).map(|(candidate, _)| candidate));
            candidates = rest;
        }
        candidates = kept;
    }
    candidates
}

fn written(highlights: &[Highlight], language: Language) -> String {
    let mut text = String::new();
    for (place, highlight) in highlights.iter().enumerate() {
        let same = place > 0 && highlights[place - 1].speaker == highlight.speaker;
        if same {
            text.push(' ');
        } else {
            if place > 0 {
                text.push('\n');
            }
            text.push_str(language.party(highlight.speaker.into()));
            text.push_str(": ");
        }
        let mut letters = highlight.text.chars();
        text.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        text.push_str(letters.as_str());
        if highlight.text.ends_with(|c: char| c.is_alphanumeric()) {
            text.push('.');
        }
    }
    text
}

/// The summary of a call that can be read in `language`. None when there are no sentences.
pub(crate) fn of(transcript: &Transcript<'_>, language: Language) -> Option<Summary> {
    let all = candidates(transcript, language);
    let wanted = (all.len() / SENTENCES_PER).clamp(SENTENCES_MIN, SENTENCES_MAX);
    let candidates = thinned(all);
    let (vectors, weights) = ranked(&candidates);
    let mut chars = 0;
    let mut chosen = rank::choose(
        &vectors,
        &weights,
        NEW,
        |place| {
            let length = candidates[place].highlight.text.chars().count();
            let fits = chars + length <= CHARS_MAX;
            chars += if fits { length } else { 0 };
            fits
        },
        wanted,
    );
    if chosen.is_empty() {
        return None;
    }
    chosen.sort_unstable();
    let highlights: Vec<Highlight> = chosen.into_iter().map(|place| candidates[place].highlight.clone()).collect();
    Some(Summary { text: written(&highlights, language), language: language.as_str().into(), highlights })
}
