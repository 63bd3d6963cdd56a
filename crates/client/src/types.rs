//! The REST bodies that a call needs (contract sections 10 and 13).

use std::collections::BTreeMap;

use kallglot_core::session::Mode;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::message::TranslatedText;
use crate::secret::Secret;

/// What to expect in one language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// Whole phrases.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,
    /// Words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Whether only the phrases will be said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub phrases_only: bool,
}

/// What a session is created with. Fields that are none or empty are not sent.
#[derive(Debug, Clone, Serialize)]
pub struct NewSession {
    /// What it does.
    #[serde(serialize_with = "mode_name")]
    pub mode: Mode,
    /// Party A's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_language: Option<String>,
    /// Party B's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_language: Option<String>,
    /// The voice to speak translations with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// What to expect, by language.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vocabulary: BTreeMap<String, Expectation>,
    /// The caller's own pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Any other field, as it is.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn mode_name<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.as_str())
}

impl NewSession {
    /// A session in this mode between these languages, and nothing else.
    pub fn new(mode: Mode, source_language: &str, target_language: &str) -> Self {
        Self {
            mode,
            source_language: Some(source_language.to_owned()),
            target_language: Some(target_language.to_owned()),
            voice: None,
            vocabulary: BTreeMap::new(),
            metadata: BTreeMap::new(),
            other: Map::new(),
        }
    }
}

impl NewSession {
    /// The same, recorded or not.
    #[must_use]
    pub fn recorded(mut self, enabled: bool) -> Self {
        self.other.insert("recording".into(), serde_json::json!({ "enabled": enabled }));
        self
    }
}

/// A recording as the server shows it. Times are RFC 3339 texts.
#[derive(Debug, Clone, Deserialize)]
pub struct Recording {
    /// `rec_…`.
    pub id: String,
    /// Of which session.
    pub session_id: String,
    /// `mixed`, `customer` or `agent`.
    pub channel: String,
    /// `processing`, `ready` or `failed`.
    pub status: String,
    /// Why it could not be made.
    #[serde(default)]
    pub error: Option<String>,
    /// In seconds, once it is ready.
    #[serde(default)]
    pub duration: Option<f64>,
    /// Whether audio is missing, or may be.
    #[serde(default)]
    pub incomplete: bool,
    /// How much is known to be missing.
    #[serde(default)]
    pub dropped_ms: u64,
    /// The form that `download_url` gives.
    pub format: String,
    /// Its length in that form. Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Where its audio is, from the server's root.
    pub download_url: String,
    /// When its session ended.
    pub created_at: String,
    /// Until when it is kept.
    pub expires_at: String,
}

/// A list of which only the items count.
#[derive(Debug, Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) data: Vec<T>,
}

/// A session as the server shows it. Times are RFC 3339 texts.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    /// `sess_…`.
    pub id: String,
    /// `created`, `active` or `ended`.
    pub status: String,
    /// The mode's name.
    pub mode: String,
    /// Party A's language.
    #[serde(default)]
    pub source_language: Option<String>,
    /// Party B's language.
    #[serde(default)]
    pub target_language: Option<String>,
    /// Where to connect.
    #[serde(default)]
    pub stream: Option<SessionStream>,
    /// The caller's own pairs.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    #[serde(default)]
    pub created_at: Option<String>,
    /// When the first audio came.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// First audio to end.
    #[serde(default)]
    pub duration_seconds: Option<i64>,
    /// Why it ended.
    #[serde(default)]
    pub end_reason: Option<String>,
}

/// Where and with what to connect to a session.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionStream {
    /// `ws://…` or `wss://…`.
    pub url: String,
    /// `kst_…`; none when the key may not write sessions.
    #[serde(default)]
    pub token: Option<Secret>,
    /// When the token expires.
    #[serde(default)]
    pub expires_at: Option<String>,
}

/// What ending a session answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EndedSession {
    /// `sess_…`.
    pub id: String,
    /// `ended`.
    pub status: String,
    /// First audio to end.
    #[serde(default)]
    pub duration_seconds: Option<i64>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<String>,
}

/// A session's transcript.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Transcript {
    /// `trn_…`.
    pub id: String,
    /// `sess_…`.
    pub session_id: String,
    /// `in_progress` or `completed`.
    pub status: String,
    /// What was said, in order.
    pub turns: Vec<Turn>,
    /// Totals.
    #[serde(default)]
    pub metadata: TranscriptMetadata,
}

/// One utterance of a transcript.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Turn {
    /// From 1, without holes.
    pub sequence: u32,
    /// `seg_…`.
    pub id: String,
    /// `customer` or `agent`.
    pub speaker: String,
    /// The language spoken.
    pub language: String,
    /// What was said.
    pub text: String,
    /// What it means in the other party's language.
    #[serde(default)]
    pub translation: Option<TranslatedText>,
    /// Where it begins, in ms after the session's first audio.
    #[serde(default)]
    pub start_ms: u64,
    /// Where it ends.
    #[serde(default)]
    pub end_ms: u64,
    /// 0 to 1.
    #[serde(default)]
    pub confidence: f32,
}

/// A transcript's totals.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct TranscriptMetadata {
    /// How many turns.
    #[serde(default)]
    pub total_turns: u64,
    /// First audio to end.
    #[serde(default)]
    pub duration_seconds: Option<f64>,
    /// The languages heard.
    #[serde(default)]
    pub languages_detected: Vec<String>,
}

/// An analysis: what is common to all of them; its parts as the server gives them.
#[derive(Debug, Clone, Deserialize)]
pub struct Analysis {
    /// Its id.
    pub id: String,
    /// Of which session.
    pub session_id: String,
    /// `processing`, `completed` or `failed`.
    pub status: String,
    /// The summary.
    pub summary: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Analysis {
    /// Whether it is over, one way or the other.
    pub fn is_over(&self) -> bool {
        self.status != "processing"
    }
}
