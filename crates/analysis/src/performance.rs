//! How the call went, by the clock alone: works for every language.
//!
//! Times are those of the speech itself, in ms on the session's time line. In a translated call a listener hears the translation later, so response times
//! hold that too; `translation_lag` says how much it was.
//!
//! - **talking**: the union of a party's turns, so a party that overlaps itself does not count twice.
//! - **interruption**: a turn that begins while the other party speaks, at least 300 ms after the other's beginning and 500 ms before its end. Listening noises
//!   (at most two words within 1 s) interrupt nobody.
//! - **response time**: from the end of one party's turn to the beginning of the other's next; 0 where they overlap.
//! - **dead air**: gaps between turns in which nobody spoke for more than 5 s: each counts whole.
//! - **score**: 100 less up to 30 for dead air (all of it at a quarter of the call), 20 for the agent's interruptions (all at two a minute), 20 for the agent's median
//!   response time (from 2 s, all at 10 s), 15 for how uneven the talking is (from 70 % for one party, all at 100 %), 15 for the median translation lag (from 2 s, all at
//!   8 s). What can't be measured takes nothing away.

use kallglot_core::session::{Speaker, UtteranceLag};
use serde::{Deserialize, Serialize};

use crate::round;
use crate::transcript::{Said, Transcript};

const INTERRUPTS_AFTER_MS: u64 = 300;
const INTERRUPTS_BEFORE_MS: u64 = 500;
const LISTENING_WORDS_MAX: usize = 2;
const LISTENING_MS_MAX: u64 = 1_000;
const DEAD_AIR_FROM_MS: u64 = 5_000;

/// A number for each party.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Each<T> {
    /// Party A.
    pub customer: T,
    /// Party B.
    pub agent: T,
}

impl<T> Each<T> {
    fn of(mut each: impl FnMut(Speaker) -> T) -> Self {
        Self { customer: each(Speaker::Customer), agent: each(Speaker::Agent) }
    }
}

/// Some durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// How many.
    pub count: usize,
    /// Half of them are at most this, in ms.
    pub median_ms: u64,
    /// Nine tenths of them are at most this, in ms.
    pub p90_ms: u64,
    /// The longest, in ms.
    pub longest_ms: u64,
}

impl Durations {
    fn of(mut all: Vec<u64>) -> Option<Self> {
        all.sort_unstable();
        // The nearest rank: always one of the measured values.
        let at = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { count: all.len(), median_ms: at(50)?, p90_ms: at(90)?, longest_ms: *all.last()? })
    }
}

/// Time in which nobody spoke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadAir {
    /// How many gaps of more than 5 s.
    pub count: usize,
    /// Their sum, in ms.
    pub total_ms: u64,
    /// The longest, in ms.
    pub longest_ms: u64,
}

/// How the call went; see the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Performance {
    /// 0 to 100.
    pub score: u8,
    /// From the first turn's beginning to the last one's end, in ms.
    pub spoken_span_ms: u64,
    /// How long each party spoke, in ms.
    pub talk_ms: Each<u64>,
    /// Each party's share of what both spoke, 0 to 1.
    pub talk_ratio: Each<f64>,
    /// How long both spoke at once, in ms.
    pub overlap_ms: u64,
    /// How often each party interrupted the other.
    pub interruptions: Each<usize>,
    /// How long each party let the other wait for an answer.
    pub response_time: Each<Option<Durations>>,
    /// When nobody spoke.
    pub dead_air: DeadAir,
    /// From the end of a party's speech to the first sound of its translation.
    pub translation_lag: Each<Option<Durations>>,
    /// Words per minute of talking; none for who did not speak, and for languages written without spaces.
    pub words_per_minute: Each<Option<f64>>,
    /// How long each party spoke at most before the other said more than a listening noise, pauses among it, in ms.
    pub longest_monologue_ms: Each<u64>,
}

/// A turn as a stretch of time. Its end is never before its beginning.
#[derive(Clone, Copy)]
struct Stretch {
    speaker: Speaker,
    from: u64,
    to: u64,
    listening: bool,
}

impl Stretch {
    fn of(said: &Said<'_>) -> Self {
        let from = said.turn.start_ms;
        let to = said.turn.end_ms.max(from);
        let listening = said.own.words.len() <= LISTENING_WORDS_MAX && to - from <= LISTENING_MS_MAX;
        Self { speaker: said.turn.speaker, from, to, listening }
    }
}

/// Overlapping stretches, which come by their beginnings, as one each.
fn union(stretches: impl Iterator<Item = Stretch>) -> Vec<(u64, u64)> {
    let mut union: Vec<(u64, u64)> = Vec::new();
    for stretch in stretches {
        match union.last_mut() {
            Some((_, to)) if stretch.from <= *to => *to = (*to).max(stretch.to),
            _ => union.push((stretch.from, stretch.to)),
        }
    }
    union
}

fn total(union: &[(u64, u64)]) -> u64 {
    union.iter().fold(0, |sum: u64, (from, to)| sum.saturating_add(to - from))
}

fn interruptions(stretches: &[Stretch], by: Speaker) -> usize {
    // Of the other party's stretches so far, the one that ends last.
    let mut other: Option<Stretch> = None;
    let mut count = 0;
    for stretch in stretches {
        if stretch.speaker != by {
            if other.is_none_or(|other| other.to < stretch.to) {
                other = Some(*stretch);
            }
        } else if !stretch.listening
            && other.is_some_and(|other| {
                stretch.from >= other.from.saturating_add(INTERRUPTS_AFTER_MS)
                    && stretch.from.saturating_add(INTERRUPTS_BEFORE_MS) <= other.to
            })
        {
            count += 1;
        }
    }
    count
}

fn responses(stretches: &[Stretch], by: Speaker) -> Option<Durations> {
    let waits = stretches.windows(2).filter(|pair| pair[0].speaker != by && pair[1].speaker == by);
    Durations::of(waits.map(|pair| pair[1].from.saturating_sub(pair[0].to)).collect())
}

fn monologue(stretches: &[Stretch], by: Speaker) -> u64 {
    let mut longest = 0;
    let mut run: Option<(u64, u64)> = None;
    for stretch in stretches {
        if stretch.speaker == by {
            let (from, to) = run.unwrap_or((stretch.from, stretch.to));
            run = Some((from, to.max(stretch.to)));
            longest = longest.max(to.max(stretch.to) - from);
        } else if !stretch.listening {
            run = None;
        }
    }
    longest
}

fn dead_air(spoken: &[(u64, u64)]) -> DeadAir {
    let gaps = spoken.windows(2).map(|pair| pair[1].0 - pair[0].1).filter(|gap| *gap > DEAD_AIR_FROM_MS);
    gaps.fold(DeadAir::default(), |air, gap| DeadAir {
        count: air.count + 1,
        total_ms: air.total_ms.saturating_add(gap),
        longest_ms: air.longest_ms.max(gap),
    })
}

/// Whether a language is written with spaces between words, so that words can be counted.
fn has_spaces(primary: &str) -> bool {
    !matches!(primary, "zh" | "yue" | "ja" | "th" | "lo" | "km" | "my" | "bo")
}

/// How far `value` is on the way from `from` to `to`, 0 to 1.
fn way(value: f64, from: f64, to: f64) -> f64 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

impl Performance {
    fn scored(mut self) -> Self {
        let span = self.spoken_span_ms as f64;
        let minutes = span / 60_000.0;
        let mut taken = 0.0;
        if span > 0.0 {
            taken += 30.0 * way(self.dead_air.total_ms as f64 / span, 0.0, 0.25);
            taken += 20.0 * way(self.interruptions.agent as f64 / minutes.max(1.0), 0.0, 2.0);
        }
        if let Some(response) = self.response_time.agent {
            taken += 20.0 * way(response.median_ms as f64, 2_000.0, 10_000.0);
        }
        if self.talk_ms.agent > 0 || self.talk_ms.customer > 0 {
            taken += 15.0 * way(self.talk_ratio.agent.max(self.talk_ratio.customer), 0.7, 1.0);
        }
        let lags = [self.translation_lag.customer, self.translation_lag.agent];
        if let Some(worst) = lags.into_iter().flatten().map(|lag| lag.median_ms).max() {
            taken += 15.0 * way(worst as f64, 2_000.0, 8_000.0);
        }
        self.score = (100.0 - taken).round().clamp(0.0, 100.0) as u8;
        self
    }
}

/// How the call went. None when nobody spoke.
pub(crate) fn of(transcript: &Transcript<'_>, lags: &[UtteranceLag]) -> Option<Performance> {
    let stretches: Vec<Stretch> = transcript.said.iter().map(Stretch::of).collect();
    let first = stretches.first()?.from;
    let last = stretches.iter().map(|stretch| stretch.to).max()?;
    let own = Each::of(|by| union(stretches.iter().copied().filter(|stretch| stretch.speaker == by)));
    let spoken = union(stretches.iter().copied());
    let talk_ms = Each { customer: total(&own.customer), agent: total(&own.agent) };
    let both = talk_ms.customer.saturating_add(talk_ms.agent);
    let share = |part: u64| if both == 0 { 0.0 } else { round(part as f64 / both as f64) };
    let words_per_minute = |speaker: Speaker, talk_ms: u64| {
        let mut said = transcript.by(speaker).peekable();
        said.peek()?;
        let mut words = 0;
        for said in said {
            if !has_spaces(said.own.tag.primary()) {
                return None;
            }
            words += said.own.words.len();
        }
        (talk_ms > 0).then(|| round(words as f64 * 60_000.0 / talk_ms as f64))
    };
    let lag = |speaker| {
        let audible = lags.iter().filter(|lag| lag.speaker == speaker).filter_map(|lag| lag.first_audio_ms);
        Durations::of(audible.map(u64::from).collect())
    };
    let performance = Performance {
        score: 0,
        spoken_span_ms: last - first,
        talk_ms,
        talk_ratio: Each { customer: share(talk_ms.customer), agent: share(talk_ms.agent) },
        overlap_ms: both.saturating_sub(total(&spoken)),
        interruptions: Each::of(|by| interruptions(&stretches, by)),
        response_time: Each::of(|by| responses(&stretches, by)),
        dead_air: dead_air(&spoken),
        translation_lag: Each::of(lag),
        words_per_minute: Each {
            customer: words_per_minute(Speaker::Customer, talk_ms.customer),
            agent: words_per_minute(Speaker::Agent, talk_ms.agent),
        },
        longest_monologue_ms: Each::of(|by| monologue(&stretches, by)),
    };
    Some(performance.scored())
}
