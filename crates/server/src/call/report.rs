//! What is said about a call when it is over.

use std::path::PathBuf;

use kallglot_core::session::Speaker;
use serde_json::{Value, json};

use super::ear::EAR_MINUTES_MAX;
use super::tally::Tally;
use super::view::{Style, clean, seconds};

/// A finished call in figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) session_id: String,
    /// Where its transcript is.
    pub(crate) transcript_url: String,
    /// Of the call's audio.
    pub(crate) duration_ms: u64,
    /// By party: customer, agent.
    pub(crate) turns: [u64; 2],
    pub(crate) words: u64,
    pub(crate) final_lag: Lag,
    pub(crate) audio_lag: Lag,
    /// Audio that could not be sent in time.
    pub(crate) dropped_ms: u64,
    /// Audio that the server dropped because it was not read fast enough here.
    pub(crate) unheard_ms: u64,
    /// What each party heard, in ms, silence not counted.
    pub(crate) heard_ms: [u64; 2],
    /// How loud it was.
    pub(crate) heard_dbfs: [f32; 2],
    pub(crate) reconnections: u64,
    /// Errors that the server told, by code.
    pub(crate) errors: Vec<(String, u64)>,
    pub(crate) files: Vec<PathBuf>,
    /// Why the call failed, if it did.
    pub(crate) failure: Option<String>,
}

/// Lags of all utterances that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lag {
    pub(crate) count: usize,
    pub(crate) median_ms: u64,
    pub(crate) max_ms: u64,
}

impl Lag {
    fn of(lags: impl Iterator<Item = u64>) -> Self {
        let mut lags: Vec<u64> = lags.collect();
        lags.sort_unstable();
        let Some(&max_ms) = lags.last() else { return Self::default() };
        let middle = lags.len() / 2;
        let median_ms = if lags.len() % 2 == 1 { lags[middle] } else { (lags[middle - 1] + lags[middle]) / 2 };
        Self { count: lags.len(), median_ms, max_ms }
    }

    fn json(self) -> Value {
        if self.count == 0 {
            Value::Null
        } else {
            json!({"median_ms": self.median_ms, "max_ms": self.max_ms, "count": self.count})
        }
    }

    fn text(self) -> String {
        match self.count {
            0 => "none".into(),
            _ => format!("median {}, at most {}", seconds(self.median_ms), seconds(self.max_ms)),
        }
    }
}

impl Report {
    /// Of a call that took `duration_ms`, `dropped_ms` of whose audio were not sent.
    pub(crate) fn of(session_id: &str, tally: &Tally, duration_ms: u64, dropped_ms: u64) -> Self {
        let turns = |speaker: Speaker| tally.turns.iter().filter(|turn| turn.speaker == speaker).count() as u64;
        Self {
            session_id: session_id.to_owned(),
            transcript_url: String::new(),
            duration_ms,
            turns: [turns(Speaker::Customer), turns(Speaker::Agent)],
            words: tally.turns.iter().map(|turn| turn.text.split_whitespace().count() as u64).sum(),
            final_lag: Lag::of(tally.turns.iter().map(|turn| turn.final_lag_ms)),
            audio_lag: Lag::of(tally.turns.iter().filter_map(|turn| turn.audio_lag_ms)),
            dropped_ms,
            unheard_ms: tally.unheard_ms,
            heard_ms: [0, 1].map(|party| tally.ears[party].heard_ms()),
            heard_dbfs: [0, 1].map(|party| tally.ears[party].loudness_dbfs()),
            reconnections: tally.reconnections,
            errors: tally.errors.iter().map(|(code, &count)| (code.clone(), count)).collect(),
            files: Vec::new(),
            failure: tally.fatal.clone(),
        }
    }

    /// For people, several lines; with where its files and its transcript are when nobody else tells.
    pub(crate) fn text(&self, style: Style, with_places: bool) -> String {
        let [customer, agent] = self.turns;
        let mut lines = vec![format!(
            "{} {}; turns: {} ({customer} of the customer, {agent} of the agent), {} words",
            style.bold("Call ended after"),
            seconds(self.duration_ms),
            customer + agent,
            self.words
        )];
        for (what, lag) in [("final text", self.final_lag), ("first translated audio", self.audio_lag)] {
            lines.push(format!("  end of speech → {what:<22}  {}", lag.text()));
        }
        for speaker in [Speaker::Customer, Speaker::Agent] {
            let party = speaker.index();
            if self.heard_ms[party] > 0 {
                let (ms, dbfs) = (self.heard_ms[party], self.heard_dbfs[party]);
                let too_long =
                    if ms > EAR_MINUTES_MAX as u64 * 60_000 { ", of which the first hour was kept" } else { "" };
                lines.push(format!(
                    "  {:<9}heard {} of speech at {dbfs:.0} dBFS{too_long}",
                    speaker.as_str(),
                    seconds(ms)
                ));
            }
        }
        if self.dropped_ms > 0 {
            lines.push(style.warning(&format!("  {} of audio could not be sent in time", seconds(self.dropped_ms))));
        }
        if self.unheard_ms > 0 {
            lines.push(style.warning(&format!("  {} of speech was dropped by the server", seconds(self.unheard_ms))));
        }
        if self.reconnections > 0 {
            lines.push(format!("  reconnected {} times", self.reconnections));
        }
        for (code, count) in &self.errors {
            lines.push(style.warning(&format!("  the server reported {} {count} times", clean(code))));
        }
        if with_places {
            for file in &self.files {
                lines.push(format!(
                    "  what was heard: {} (left: the agent's ear, right: the customer's)",
                    file.display()
                ));
            }
            lines.push(format!("  session {}", self.session_id));
            let url = &self.transcript_url;
            lines
                .push(format!("  transcript: curl -H \"Authorization: Bearer $KALLGLOT_API_KEY\" '{url}?format=text'"));
        }
        lines.join("\n")
    }

    /// For machines, one object.
    pub(crate) fn json(&self) -> Value {
        let pair = |values: [Value; 2]| {
            let [customer, agent] = values;
            json!({"customer": customer, "agent": agent})
        };
        json!({
            "event": "summary",
            "session_id": self.session_id,
            "transcript_url": self.transcript_url,
            "duration_ms": self.duration_ms,
            "turns": pair(self.turns.map(Value::from)),
            "words": self.words,
            "final_lag": self.final_lag.json(),
            "audio_lag": self.audio_lag.json(),
            "dropped_ms": self.dropped_ms,
            "unheard_ms": self.unheard_ms,
            "heard_ms": pair(self.heard_ms.map(Value::from)),
            "heard_dbfs": pair(self.heard_dbfs.map(|dbfs| json!((dbfs * 10.0).round() / 10.0))),
            "reconnections": self.reconnections,
            "errors": self.errors.iter().map(|(code, count)| (code.clone(), Value::from(*count))).collect::<serde_json::Map<_, _>>(),
            "files": self.files,
            "failure": self.failure,
        })
    }
}
