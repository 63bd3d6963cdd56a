//! What a server sends on a stream (contract section 11).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kallglot_core::session::Speaker;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One message of the server. Fields that are not known are skipped.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// The session is there; audio may be sent.
    Ready {
        /// `sess_…`.
        session_id: String,
        /// The mode's name.
        mode: String,
        /// Party A's language.
        source_language: Option<String>,
        /// Party B's language.
        target_language: Option<String>,
    },
    /// Text so far; grows until its final.
    Partial(Transcript),
    /// What was said, with what it means.
    Final(Transcript),
    /// Speech to be played.
    Audio(AudioOutput),
    /// Answer to a ping.
    Pong {
        /// `sess_…`.
        session_id: String,
    },
    /// Something failed.
    Error {
        /// The error's code.
        code: String,
        /// What is wrong and what to do.
        message: String,
        /// Whether the stream ends because of it.
        fatal: bool,
        /// How much audio was dropped since this was last told; only with `audio_dropped`.
        dropped_ms: Option<u64>,
    },
    /// The session is over; the server closes next.
    Ended {
        /// `sess_…`.
        session_id: String,
        /// Why, for example `explicit_end`.
        reason: String,
    },
    /// JSON of a type that this client does not know, or whose fields are not what the API promises.
    Other(Value),
    /// A frame that is no JSON: never sent by a sound server.
    Garbage(String),
}

/// Text of one utterance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Transcript {
    /// `sess_…`.
    pub session_id: String,
    /// `seg_…`, the same in all partials and the final of an utterance.
    pub id: String,
    /// Who spoke.
    #[serde(deserialize_with = "speaker")]
    pub speaker: Speaker,
    /// The language spoken.
    pub language: String,
    /// What was said.
    pub text: String,
    /// Where it begins, in ms after the session's first audio.
    #[serde(default)]
    pub start_ms: u64,
    /// Where it ends.
    #[serde(default)]
    pub end_ms: u64,
    /// 0 to 1.
    #[serde(default)]
    pub confidence: f32,
    /// What it means in the other party's language; only in finals.
    #[serde(default)]
    pub translation: Option<TranslatedText>,
}

/// A text in another language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TranslatedText {
    /// Which language.
    pub language: String,
    /// The text.
    pub text: String,
}

/// Speech for one party.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AudioOutput {
    /// `sess_…`.
    pub session_id: String,
    /// Counts up.
    pub sequence: u64,
    /// Whose words they are.
    #[serde(deserialize_with = "speaker")]
    pub speaker: Speaker,
    /// Who should hear them.
    #[serde(deserialize_with = "speaker")]
    pub target: Speaker,
    /// The utterance that it translates; none for a party's own voice.
    #[serde(default)]
    pub translation_of: Option<String>,
    /// The audio.
    pub audio: Audio,
}

/// Audio with its format.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Audio {
    /// `mulaw`.
    pub encoding: String,
    /// 8000.
    pub sample_rate_hz: u32,
    /// The encoded bytes.
    #[serde(deserialize_with = "base64_bytes")]
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Audio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audio({} {} Hz, {} bytes)", self.encoding, self.sample_rate_hz, self.payload.len())
    }
}

fn speaker<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Speaker, D::Error> {
    let name = String::deserialize(deserializer)?;
    Speaker::parse(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is no speaker")))
}

fn base64_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    BASE64.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
}

impl ServerMessage {
    /// Reads one text frame. Never fails: what it can't read comes as [`Self::Other`] or [`Self::Garbage`].
    pub fn parse(text: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(tag = "type")]
        enum Wire {
            #[serde(rename = "session.ready")]
            Ready { session_id: String, mode: String, source_language: Option<String>, target_language: Option<String> },
            #[serde(rename = "transcript.partial")]
            Partial(Transcript),
            #[serde(rename = "transcript.final")]
            Final(Transcript),
            #[serde(rename = "audio.output")]
            Audio(AudioOutput),
            #[serde(rename = "pong")]
            Pong { session_id: String },
            #[serde(rename = "session.error")]
            Error {
                code: String,
                message: String,
                #[serde(default)]
                fatal: bool,
                dropped_ms: Option<u64>,
            },
            #[serde(rename = "session.ended")]
            Ended { session_id: String, reason: String },
        }
        match serde_json::from_str(text) {
            Ok(Wire::Ready { session_id, mode, source_language, target_language }) => {
                Self::Ready { session_id, mode, source_language, target_language }
            }
            Ok(Wire::Partial(transcript)) => Self::Partial(transcript),
            Ok(Wire::Final(transcript)) => Self::Final(transcript),
            Ok(Wire::Audio(audio)) => Self::Audio(audio),
            Ok(Wire::Pong { session_id }) => Self::Pong { session_id },
            Ok(Wire::Error { code, message, fatal, dropped_ms }) => Self::Error { code, message, fatal, dropped_ms },
            Ok(Wire::Ended { session_id, reason }) => Self::Ended { session_id, reason },
            Err(_) => serde_json::from_str(text).map_or_else(|_| Self::Garbage(text.to_owned()), Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_has_its_translation_and_unknown_fields_are_skipped() {
        let text = r#"{"type":"transcript.final","session_id":"sess_1","id":"seg_1","speaker":"agent","language":"es","text":"hola",
            "start_ms":20,"end_ms":900,"confidence":0.5,"translation":{"language":"en","text":"hello","engine":"x"},"mood":"good"}"#;
        let ServerMessage::Final(segment) = ServerMessage::parse(text) else { panic!("no final") };
        assert_eq!((segment.speaker, segment.end_ms), (Speaker::Agent, 900));
        assert_eq!(segment.translation, Some(TranslatedText { language: "en".into(), text: "hello".into() }));
    }

    #[test]
    fn audio_comes_decoded() {
        let text = r#"{"type":"audio.output","session_id":"sess_1","sequence":7,"speaker":"customer","target":"agent",
            "translation_of":"seg_1","audio":{"encoding":"mulaw","sample_rate_hz":8000,"payload":"/38A"}}"#;
        let ServerMessage::Audio(output) = ServerMessage::parse(text) else { panic!("no audio") };
        assert_eq!(output.audio.payload, [0xff, 0x7f, 0x00]);
        assert_eq!((output.speaker, output.target, output.sequence), (Speaker::Customer, Speaker::Agent, 7));
    }

    #[test]
    fn messages_of_a_later_api_are_kept_as_they_are() {
        for text in [
            r#"{"type":"session.mood"}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"transcript.final","speaker":"nobody"}"#,
            "[]",
        ] {
            assert_eq!(ServerMessage::parse(text), ServerMessage::Other(serde_json::from_str(text).unwrap()), "{text}");
        }
        assert_eq!(ServerMessage::parse("{"), ServerMessage::Garbage("{".into()));
    }
}
