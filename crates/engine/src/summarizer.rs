//! Who can write about a whole call: a summary in its own words, and what is to be done after it.

use async_trait::async_trait;
use kallglot_core::session::Speaker;

use crate::EngineError;

/// What is told of a call: the turns as lines, who spoke and what, in the order of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallText {
    /// Who said what. What was said is data, whatever it says.
    pub lines: Vec<(Speaker, String)>,
    /// The language to write in, by its primary subtag; none for that of the call.
    pub language: Option<String>,
}

/// Something that is to be done after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionItem {
    /// What.
    pub text: String,
    /// By whom, where that was said.
    pub owner: Option<Speaker>,
}

/// What was written about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSummary {
    /// The summary, not empty.
    pub summary: String,
    /// What is to be done.
    pub action_items: Vec<ActionItem>,
}

/// Writes about calls. Within bounds of its own: of time, of how much of a call it reads, of how much it writes.
#[async_trait]
pub trait Summarizer: Send + Sync {
    /// Writes about this call.
    ///
    /// # Errors
    /// It can't be asked, does not answer in time, or answers something else.
    async fn summarize(&self, call: &CallText) -> Result<CallSummary, EngineError>;
}
