//! What a call was about, how it felt, how it went, and whether what had to be said was said.
//!
//! Pure and deterministic: the same turns give the same analysis, on every machine. Nothing here reads a clock, a file or the network.
//! Everything is made by established methods that can be looked up; each module says which. A language that can't be analysed is told
//! as [`Problem`], never guessed at; where a turn has a translation into one that can, that is read instead.

mod compliance;
mod keywords;
mod language;
mod lexicon;
mod performance;
mod rank;
mod sentiment;
mod stop_words;
mod summary;
mod text;
mod transcript;

use std::collections::BTreeMap;

pub use kallglot_core::analysis::Part;
use kallglot_core::session::{Speaker, Turn, UtteranceLag};
use serde::{Deserialize, Serialize};

pub use compliance::*;
pub use keywords::{BySpeaker, Keyword};
pub use language::Language;
pub use performance::{DeadAir, Durations, Each, Performance};
pub use sentiment::{Label, PartySentiment, Sentiment, Trend, TurnSentiment};
pub use summary::{Highlight, Summary};
use transcript::Transcript;

/// One of the two parties, as JSON names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerName {
    /// Party A.
    Customer,
    /// Party B.
    Agent,
}

impl From<Speaker> for SpeakerName {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Customer => Self::Customer,
            Speaker::Agent => Self::Agent,
        }
    }
}

impl From<SpeakerName> for Speaker {
    fn from(name: SpeakerName) -> Self {
        match name {
            SpeakerName::Customer => Self::Customer,
            SpeakerName::Agent => Self::Agent,
        }
    }
}

/// A call to analyse.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What was said, in any order.
    pub turns: &'a [Turn],
    /// How long the translations took.
    pub lags: &'a [UtteranceLag],
    /// When the session ended, in ms after its first audio, as turns are timed; none while it has not.
    pub end_ms: Option<u64>,
}

/// Why a part is missing or not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// Some or all of what was said is in languages that can't be analysed and has no translation into one that can.
    UnsupportedLanguage,
    /// There is nothing to say it of.
    NothingSaid,
    /// The call is longer than what is read.
    TooLong,
    /// The endpoint that was to write it did not answer as it has to.
    EndpointFailed,
}

/// That a part is missing or not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which part; `action_items` is one too.
    pub part: String,
    /// Why.
    pub code: ProblemCode,
    /// The languages that could not be read, by primary subtag, with how many turns are in each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub languages: BTreeMap<String, usize>,
    /// A sentence for people.
    pub message: String,
}

/// An analysis: the parts that were asked for and could be made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// What was said that matters.
    pub summary: Option<Summary>,
    /// How each party felt.
    pub sentiment: Option<Sentiment>,
    /// Whether the profile's rules were kept.
    pub compliance: Option<Compliance>,
    /// What it was about, the most important first.
    pub keywords: Option<Vec<Keyword>>,
    /// How it went.
    pub performance: Option<Performance>,
    /// What is missing or not whole, and why.
    pub problems: Vec<Problem>,
}

/// To three digits after the point: what is beyond says nothing.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn names(languages: &BTreeMap<String, usize>) -> String {
    languages.keys().map(|language| format!("`{language}`")).collect::<Vec<_>>().join(", ")
}

fn unsupported(part: Part, languages: BTreeMap<String, usize>, whole: bool) -> Problem {
    let message = if whole {
        format!(
            "Nothing that was said, or its translation, is in a language that can be analysed; spoken: {}.",
            names(&languages)
        )
    } else {
        format!("Turns in {} were left out: neither they nor their translations can be analysed.", names(&languages))
    };
    Problem { part: part.as_str().into(), code: ProblemCode::UnsupportedLanguage, languages, message }
}

fn nothing_said(part: Part) -> Problem {
    let message = "Nothing was said that this could be made of.".into();
    Problem { part: part.as_str().into(), code: ProblemCode::NothingSaid, languages: BTreeMap::new(), message }
}

struct Work<'a> {
    transcript: &'a Transcript<'a>,
    language: Option<Language>,
    analysis: Analysis,
}

impl Work<'_> {
    fn summary(&mut self) {
        self.analysis.summary = self.language.and_then(|language| summary::of(self.transcript, language));
        self.told(Part::Summary, self.analysis.summary.is_some());
    }

    fn sentiment(&mut self) {
        let sentiment = sentiment::of(self.transcript);
        let made = sentiment != Sentiment::default();
        self.analysis.sentiment = made.then_some(sentiment);
        self.told(Part::Sentiment, made);
    }

    fn keywords(&mut self) {
        self.analysis.keywords = self.language.map(|language| keywords::of(self.transcript, language));
        self.told(Part::Keywords, self.analysis.keywords.is_some());
    }

    fn told(&mut self, part: Part, made: bool) {
        let unreadable = self.transcript.unreadable();
        if !unreadable.is_empty() {
            self.analysis.problems.push(unsupported(part, unreadable, !made));
        } else if !made {
            self.analysis.problems.push(nothing_said(part));
        }
    }
}

/// Analyses a call.
pub fn analyse(call: &Call<'_>, parts: &[Part], profile: Option<&Profile>) -> Analysis {
    let transcript = Transcript::of(call.turns);
    let language = transcript.language();
    let mut work = Work { transcript: &transcript, language, analysis: Analysis::default() };
    for part in Part::ALL.iter().copied().filter(|part| parts.contains(part)) {
        match part {
            Part::Summary => work.summary(),
            Part::Sentiment => work.sentiment(),
            Part::Keywords => work.keywords(),
            Part::Compliance => {
                let compliance = profile.map(|profile| compliance::of(&transcript, profile, call.end_ms));
                work.analysis.compliance = Some(compliance.unwrap_or_else(Compliance::without_profile));
            }
            Part::Performance => {
                work.analysis.performance = performance::of(&transcript, call.lags);
                if work.analysis.performance.is_none() {
                    work.analysis.problems.push(nothing_said(part));
                }
            }
        }
        if transcript.left_out > 0 {
            let message =
                format!("The last {} turns were left out: the call is longer than what is read.", transcript.left_out);
            let problem =
                Problem { part: part.as_str().into(), code: ProblemCode::TooLong, languages: BTreeMap::new(), message };
            work.analysis.problems.push(problem);
        }
    }
    work.analysis
}
