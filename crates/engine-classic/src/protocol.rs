//! What the server and its workers say to each other. Audio travels in frames of its own between these messages and belongs
//! to the utterance or the text that was named last.

use kallglot_engine::{SAMPLE_RATE_HZ, UtteranceId};
use serde::{Deserialize, Serialize};

/// A recognition worker reports progress after each so many samples: 100 ms.
pub(crate) const PROGRESS_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 10;

/// Server to recognition worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToRecognizer {
    /// Instead of all others: which languages can be understood. Answered with `Languages`.
    Survey,
    /// First, once: what to load. Answered with `Ready` or `Refused`.
    Open(RecognizerSetup),
    /// An utterance begins; what was unfinished is forgotten.
    Begin { utterance: UtteranceId },
    /// It is over: answer with its `Final`.
    End,
}

/// What a recognition worker loads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct RecognizerSetup {
    /// Primary language.
    pub language: String,
    pub phrases: Vec<String>,
    pub words: Vec<String>,
    pub phrases_only: bool,
}

/// Recognition worker to server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromRecognizer {
    /// Primary languages, each with whether free speech is understood.
    Languages { languages: Vec<(String, bool)> },
    /// Loaded.
    Ready,
    /// Can't be loaded.
    Refused { reason: String },
    /// This many samples of the utterance have been worked through since the last such message.
    Heard { utterance: UtteranceId, samples: usize },
    /// The text so far changed.
    Partial { utterance: UtteranceId, text: String },
    /// The utterance's text; `phrase` when it is exactly one of the phrases given, as it was given.
    Final { utterance: UtteranceId, text: String, confidence: f32, phrase: Option<String> },
}

/// Server to synthesis worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToSynthesizer {
    /// Speak this: audio frames, then `Done` or `Failed`.
    Speak { text: String, voice: String },
}

/// Synthesis worker to server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromSynthesizer {
    /// Loaded.
    Ready,
    /// Can't be loaded.
    Refused { reason: String },
    /// All audio of the text has been sent.
    Done,
    /// The text can't be spoken.
    Failed { reason: String },
}
