//! Whether what had to be said was said, and what must not be said was not.
//!
//! Both what was said and its translation are searched; a flag says which of them it was found in. A phrase is found in languages that can't be
//! analysed too, but there only word for word. A rule whose phrases are all in languages in which there is nothing of those it is about can't be
//! judged, and so is not applicable.

mod profile;
mod search;

use kallglot_core::id::SegmentId;
use serde::{Deserialize, Serialize};

pub use profile::{
    By, GAP_WORDS, GAP_WORDS_MAX, InvalidProfile, PHRASE_CHARS_MAX, PHRASES_MAX, PROFILE_PHRASES_MAX, Phrase, Profile,
    RULE_ID_CHARS_MAX, RULE_NAME_CHARS_MAX, RULES_MAX, Rule, RuleKind, SECONDS_MAX, Severity,
};
use search::Found;

use crate::SpeakerName;
use crate::transcript::Transcript;

/// Most flags that are told of one rule; `found` of the rule's outcome counts all.
const FLAGS_OF_RULE_MAX: usize = 20;

/// How a call stands to a profile or a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComplianceStatus {
    /// Everything that could be judged was right.
    Passed,
    /// Something was not: there are flags.
    Failed,
    /// Nothing could be judged.
    NotApplicable,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// What had to be said was not said.
    Missing,
    /// What must not be said was said.
    Forbidden,
    /// What had to be said was said, but not where it had to be.
    OutOfOrder,
}

/// Something that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// The rule's id.
    pub rule: String,
    /// The rule's name.
    pub name: String,
    /// The rule's severity.
    pub severity: Severity,
    /// What is wrong.
    pub kind: FlagKind,
    /// Where it was said; none for what was not.
    pub place: Option<Place>,
}

/// Where a phrase was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The turn's place in the transcript.
    pub sequence: u32,
    /// The turn's id.
    pub turn: String,
    /// When the turn began, in ms after the session's first audio.
    pub start_ms: u64,
    /// Who said it.
    pub speaker: SpeakerName,
    /// What was said, as in the text that was searched.
    pub quote: String,
    /// The phrase that was looked for.
    pub phrase: String,
    /// The text's language.
    pub language: String,
    /// Whether the text is the translation.
    pub translated: bool,
}

/// Why a rule could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotJudged {
    /// Its phrases are in languages in which there is nothing of those it is about.
    LanguageNotSpoken,
    /// It is about the end of a session that has not ended.
    NotEnded,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOutcome {
    /// The rule's id.
    pub rule: String,
    /// How the call stands to it.
    pub status: ComplianceStatus,
    /// Why it was not judged, when it was not.
    pub reason: Option<NotJudged>,
    /// In how many turns a phrase was found, wherever.
    pub found: usize,
    /// Where it was first said as it had to be.
    pub place: Option<Place>,
}

/// How a call stands to a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compliance {
    /// Failed when there is a flag, else passed when a rule was judged.
    pub status: ComplianceStatus,
    /// What was wrong, the worst first, then in the order of time.
    pub flags: Vec<Flag>,
    /// Each rule's outcome, in the profile's order.
    pub rules: Vec<RuleOutcome>,
}

impl Compliance {
    /// When no profile was given.
    pub(crate) const fn without_profile() -> Self {
        Self { status: ComplianceStatus::NotApplicable, flags: Vec::new(), rules: Vec::new() }
    }
}

fn place(found: &Found<'_>) -> Place {
    let turn = found.said.turn;
    let id: SegmentId = turn.id;
    Place {
        sequence: turn.sequence,
        turn: id.to_string(),
        start_ms: turn.start_ms,
        speaker: turn.speaker.into(),
        quote: found.quote.clone(),
        phrase: found.phrase.to_owned(),
        language: found.reading.tag.to_string(),
        translated: found.reading.translated,
    }
}

/// Whether `later` was said after `earlier`.
fn follows(later: &Found<'_>, earlier: &Found<'_>) -> bool {
    let (one, other) = (earlier.said.turn, later.said.turn);
    if one.sequence == other.sequence {
        // Places in a text and in its translation can't be compared; the same turn is given the benefit of the doubt.
        return earlier.reading.translated != later.reading.translated || earlier.at < later.at;
    }
    (one.start_ms, one.sequence) < (other.start_ms, other.sequence)
}

/// Why this rule can't be judged, if so.
fn not_judged(rule: &Rule, transcript: &Transcript<'_>, end_ms: Option<u64>) -> Option<NotJudged> {
    if rule.within_last_seconds.is_some() && end_ms.is_none() {
        return Some(NotJudged::NotEnded);
    }
    let mut readings = transcript
        .said
        .iter()
        .filter(|said| rule.by.is(said.turn.speaker))
        .flat_map(|said| said.readings())
        .filter(|reading| !reading.words.is_empty())
        .peekable();
    let spoke = readings.peek().is_some();
    let searched = readings.any(|reading| rule.phrases.iter().any(|phrase| phrase.is_for(reading.tag)));
    (spoke && !searched).then_some(NotJudged::LanguageNotSpoken)
}

/// How the call stands to the profile. `end_ms` is when the session ended, on the time line of its turns; none while it has not.
pub(crate) fn of(transcript: &Transcript<'_>, profile: &Profile, end_ms: Option<u64>) -> Compliance {
    let runs = search::runs(transcript);
    let found: Vec<Vec<Found<'_>>> = profile.rules.iter().map(|rule| search::search(rule, &runs)).collect();
    let first_of = |id: &str| {
        let place = profile.rules.iter().position(|rule| rule.id == id)?;
        found[place].first()
    };
    let mut flags = Vec::new();
    let mut rules = Vec::with_capacity(profile.rules.len());
    for (rule, found) in profile.rules.iter().zip(&found) {
        if let Some(reason) = not_judged(rule, transcript, end_ms) {
            let status = ComplianceStatus::NotApplicable;
            rules.push(RuleOutcome {
                rule: rule.id.clone(),
                status,
                reason: Some(reason),
                found: found.len(),
                place: None,
            });
            continue;
        }
        let counts = |found: &&Found<'_>| {
            let turn = found.said.turn;
            rule.within_first_seconds.is_none_or(|seconds| turn.start_ms <= seconds * 1000)
                && rule
                    .within_last_seconds
                    .zip(end_ms)
                    .is_none_or(|(seconds, end)| turn.end_ms >= end.saturating_sub(seconds * 1000))
                && rule
                    .after
                    .as_deref()
                    .is_none_or(|after| first_of(after).is_some_and(|earlier| follows(found, earlier)))
        };
        let flag = |kind, found: Option<&Found<'_>>| Flag {
            rule: rule.id.clone(),
            name: rule.name.clone(),
            severity: rule.severity,
            kind,
            place: found.map(place),
        };
        let first = found.iter().find(counts);
        let before = flags.len();
        match rule.kind {
            RuleKind::MustSay if first.is_none() => match found.first() {
                Some(elsewhere) => flags.push(flag(FlagKind::OutOfOrder, Some(elsewhere))),
                None => flags.push(flag(FlagKind::Missing, None)),
            },
            RuleKind::MustSay => {}
            RuleKind::MustNotSay => {
                let forbidden = found.iter().filter(counts).take(FLAGS_OF_RULE_MAX);
                flags.extend(forbidden.map(|found| flag(FlagKind::Forbidden, Some(found))));
            }
        }
        let status = if flags.len() == before { ComplianceStatus::Passed } else { ComplianceStatus::Failed };
        let said = first.filter(|_| rule.kind == RuleKind::MustSay).map(place);
        rules.push(RuleOutcome { rule: rule.id.clone(), status, reason: None, found: found.len(), place: said });
    }
    flags.sort_by_key(|flag| {
        (std::cmp::Reverse(flag.severity), flag.place.as_ref().map_or(u64::MAX, |place| place.start_ms))
    });
    let status = if !flags.is_empty() {
        ComplianceStatus::Failed
    } else if rules.iter().any(|rule| rule.status == ComplianceStatus::Passed) {
        ComplianceStatus::Passed
    } else {
        ComplianceStatus::NotApplicable
    };
    Compliance { status, flags, rules }
}
