//! What is stored of a completed analysis, and given by the API as it is.

use kallglot_analysis::{
    Analysis, Compliance, Highlight, Keyword, Performance, Problem, ProblemCode, Sentiment, SpeakerName,
};
use kallglot_core::analysis::Part;
use kallglot_engine::{CallSummary, EngineError};
use serde::{Deserialize, Serialize};

/// How a summary was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryMethod {
    /// Of the call's own sentences, on this machine.
    Extractive,
    /// In words of its own, by the endpoint that is configured.
    Abstractive,
}

/// Something that is to be done after the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionItem {
    /// What.
    pub text: String,
    /// By whom, where that was said.
    pub owner: Option<SpeakerName>,
}

/// Of what a completed analysis was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// How many turns the transcript had.
    pub turns: usize,
    /// Whether the session had ended.
    pub complete: bool,
}

/// The parts of a completed analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The summary as text.
    pub summary: Option<String>,
    /// Its language: the primary subtag.
    pub summary_language: Option<String>,
    /// How it was made.
    pub summary_method: Option<SummaryMethod>,
    /// The sentences of the call that matter most.
    pub highlights: Option<Vec<Highlight>>,
    /// What is to be done; only with an endpoint.
    pub action_items: Option<Vec<ActionItem>>,
    /// How each party felt.
    pub sentiment: Option<Sentiment>,
    /// Whether the profile's rules were kept.
    pub compliance: Option<Compliance>,
    /// What it was about.
    pub keywords: Option<Vec<Keyword>>,
    /// How it went.
    pub performance: Option<Performance>,
    /// What is missing or not whole, and why.
    pub errors: Vec<Problem>,
    /// Of what it was made.
    pub transcript: Source,
}

impl Document {
    /// What this machine has made.
    pub fn of(analysis: Analysis, transcript: Source) -> Self {
        let Analysis { summary, sentiment, compliance, keywords, performance, problems } = analysis;
        let summary_method = summary.as_ref().map(|_| SummaryMethod::Extractive);
        let (text, language, highlights) = match summary {
            Some(summary) => (Some(summary.text), Some(summary.language), Some(summary.highlights)),
            None => (None, None, None),
        };
        Self {
            summary: text,
            summary_language: language,
            summary_method,
            highlights,
            action_items: None,
            sentiment,
            compliance,
            keywords,
            performance,
            errors: problems,
            transcript,
        }
    }

    /// Puts in what the endpoint wrote. Why it did not is told beside what this machine has made, which stays.
    pub fn write(&mut self, written: Result<CallSummary, EngineError>) {
        match written {
            Ok(CallSummary { summary, action_items }) => {
                self.summary = Some(summary);
                self.summary_method = Some(SummaryMethod::Abstractive);
                let item = |item: kallglot_engine::ActionItem| ActionItem {
                    text: item.text,
                    owner: item.owner.map(SpeakerName::from),
                };
                self.action_items = Some(action_items.into_iter().map(item).collect());
                // What this machine can't read itself, the endpoint may.
                self.errors.retain(|problem| problem.part != Part::Summary.as_str());
            }
            Err(error) => {
                tracing::warn!(%error, "a summary could not be written");
                for part in [Part::Summary.as_str(), "action_items"] {
                    self.errors.push(Problem {
                        part: part.into(),
                        code: ProblemCode::EndpointFailed,
                        languages: std::collections::BTreeMap::new(),
                        message: "The language model that was to write it did not answer as it has to. What this server makes by itself is not touched by that.".into(),
                    });
                }
            }
        }
    }

    /// Whether any part is there.
    pub const fn has_anything(&self) -> bool {
        self.summary.is_some()
            || self.sentiment.is_some()
            || self.compliance.is_some()
            || self.keywords.is_some()
            || self.performance.is_some()
    }
}
