//! What a call is about: runs of words between stop words and punctuation, as in RAKE (Rose et al., 2010), and the shorter runs inside them.
//!
//! A phrase's score is the sum of its words' degrees (how long the runs are that the word is in) times `ln(1 + count)²`. Words are counted by stem, so inflections
//! are one; the form that was said most often is shown.

use std::collections::{BTreeMap, HashMap, HashSet};

use kallglot_core::session::Speaker;
use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::round;
use crate::stop_words::is_stop_word;
use crate::text::Word;
use crate::transcript::Transcript;

/// Most keywords that are told.
const KEYWORDS_MAX: usize = 15;
/// Most words of one.
const WORDS_MAX: usize = 3;
/// A run longer than this is cut: it is a list, not a phrase.
const RUN_WORDS_MAX: usize = 6;

/// How often each party said something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BySpeaker {
    /// Party A.
    pub customer: u32,
    /// Party B.
    pub agent: u32,
}

/// A word or phrase that the call is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keyword {
    /// As it was said most often, in lower case.
    pub text: String,
    /// How often it was said.
    pub count: u32,
    /// By whom.
    pub by: BySpeaker,
    /// The higher the more the call is about it; for comparing within one call.
    pub score: f64,
}

#[derive(Default)]
struct Found<'a> {
    by: BySpeaker,
    /// Forms with how often each was said.
    forms: BTreeMap<String, u32>,
    stems: Vec<&'a str>,
}

fn runs(words: &[Word], language: Language) -> Vec<&[Word]> {
    let mut runs = Vec::new();
    for clause in words.chunk_by(|one, other| one.clause == other.clause) {
        for run in clause.split(|word| is_stop_word(word, language)).filter(|run| !run.is_empty()) {
            runs.extend(run.chunks(RUN_WORDS_MAX));
        }
    }
    runs
}

/// The keywords of a call, the most important first: in `language` where there is such a text.
pub(crate) fn of(transcript: &Transcript<'_>, language: Language) -> Vec<Keyword> {
    let mut degree: HashMap<&str, (f64, f64)> = HashMap::new();
    let mut found: BTreeMap<Vec<&str>, Found<'_>> = BTreeMap::new();
    for said in &transcript.said {
        let reading = said.reading_in(language).map(|reading| (language, reading)).or_else(|| said.readable());
        let Some((language, reading)) = reading else { continue };
        for run in runs(&reading.words, language) {
            for word in run {
                let (sum, count) = degree.entry(word.stem.as_str()).or_default();
                *sum += run.len() as f64;
                *count += 1.0;
            }
            for length in 1..=run.len().min(WORDS_MAX) {
                for phrase in run.windows(length) {
                    let stems: Vec<&str> = phrase.iter().map(|word| word.stem.as_str()).collect();
                    let place = found.entry(stems.clone()).or_insert_with(|| Found { stems, ..Found::default() });
                    match said.turn.speaker {
                        Speaker::Customer => place.by.customer += 1,
                        Speaker::Agent => place.by.agent += 1,
                    }
                    let (from, to) = (phrase[0].start, phrase[length - 1].end);
                    *place.forms.entry(reading.text[from..to].to_lowercase()).or_default() += 1;
                }
            }
        }
    }
    let mut ranked: Vec<(f64, Found<'_>)> = found
        .into_values()
        .map(|found| {
            let degrees: f64 = found.stems.iter().filter_map(|stem| degree.get(stem)).map(|(sum, n)| sum / n).sum();
            (degrees * (1.0 + f64::from(found.by.customer + found.by.agent)).ln().powi(2), found)
        })
        .collect();
    ranked.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.stems.cmp(&b.stems)));
    let mut chosen: Vec<Found<'_>> = Vec::new();
    let mut scores = Vec::new();
    let mut told: HashSet<&str> = HashSet::new();
    for (score, found) in ranked {
        // A part of a chosen phrase, or a phrase around one, says nothing new, unless it is said more often.
        let count = found.by.customer + found.by.agent;
        let repeated = found.stems.iter().all(|stem| told.contains(stem))
            && chosen.iter().any(|other| {
                let shares = other.stems.iter().any(|stem| found.stems.contains(stem));
                shares && count <= 2 * (other.by.customer + other.by.agent)
            });
        let overlaps = found.stems.len() > 1
            && found.stems.iter().filter(|stem| told.contains(*stem)).count() * 2 > found.stems.len();
        if repeated || overlaps {
            continue;
        }
        told.extend(&found.stems);
        scores.push(score);
        chosen.push(found);
        if chosen.len() == KEYWORDS_MAX {
            break;
        }
    }
    chosen
        .into_iter()
        .zip(scores)
        .map(|(found, score)| Keyword {
            text: most_said(&found.forms),
            count: found.by.customer + found.by.agent,
            by: found.by,
            score: round(score),
        })
        .collect()
}

/// The form that was said most often; of several the first of the alphabet.
fn most_said(forms: &BTreeMap<String, u32>) -> String {
    let best = forms.iter().max_by(|(one, a), (other, b)| a.cmp(b).then_with(|| other.cmp(one)));
    best.map(|(form, _)| form.clone()).unwrap_or_default()
}
