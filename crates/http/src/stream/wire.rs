//! The stream's messages on the wire: JSON text frames in both directions (contract section 11).

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kallglot_app::live::{AudioOut, Outgoing, PartyLevels, SegmentText};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::Speaker;
use serde::{Deserialize, Serialize};

/// Shortest and longest frame of audio, in samples (10 to 1000 ms; one byte each in mu-law).
pub(crate) const FRAME_SAMPLES: std::ops::RangeInclusive<usize> = 80..=8_000;

/// Most of a parser's reason that a client is told.
const REASON_CHARS_MAX: usize = 200;

/// A message from a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Audio { sequence: u64, speaker: Option<Speaker>, mulaw: Vec<u8> },
    Ping,
    End,
}

/// Why a message is not taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// It is no message of the protocol; ten of them close the stream.
    Malformed(String),
    /// Its audio has another format; the stream goes on.
    Format(String),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    sequence: Option<u64>,
    #[serde(borrow)]
    speaker: Option<Cow<'a, str>>,
    #[serde(borrow)]
    audio: Option<Audio<'a>>,
}

#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(borrow)]
    encoding: Option<Cow<'a, str>>,
    sample_rate_hz: Option<serde_json::Number>,
    channels: Option<serde_json::Number>,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
}

/// Reads one text frame.
pub(crate) fn read(text: &str) -> Result<Incoming, Refusal> {
    let malformed = |message: String| Refusal::Malformed(message);
    let message: Message<'_> = serde_json::from_str(text).map_err(|error| {
        // It may quote what was sent, however long that is.
        let reason: String = error.to_string().chars().take(REASON_CHARS_MAX).collect();
        malformed(format!("The message is not as it must be: {reason}."))
    })?;
    match message.r#type.as_ref() {
        "audio.input" => {
            let sequence =
                message.sequence.ok_or_else(|| malformed("`audio.input` needs `sequence`, a whole number.".into()))?;
            let speaker = match message.speaker.as_deref() {
                None => None,
                Some(name) => Some(
                    Speaker::parse(name).ok_or_else(|| malformed("`speaker` must be `customer` or `agent`.".into()))?,
                ),
            };
            let audio = message.audio.ok_or_else(|| malformed("`audio.input` needs `audio`.".into()))?;
            Ok(Incoming::Audio { sequence, speaker, mulaw: read_audio(&audio)? })
        }
        "ping" => Ok(Incoming::Ping),
        "session.end" => Ok(Incoming::End),
        other => {
            let other: String = other.chars().take(60).collect();
            Err(malformed(format!("`{other}` is no message type. There are `audio.input`, `ping` and `session.end`.")))
        }
    }
}

fn read_audio(audio: &Audio<'_>) -> Result<Vec<u8>, Refusal> {
    let is = |number: &Option<serde_json::Number>, expected: u64| {
        number.as_ref().is_none_or(|number| number.as_u64() == Some(expected))
    };
    let format = |message: &str| Err(Refusal::Format(message.to_owned()));
    if audio.encoding.as_deref().is_some_and(|encoding| encoding != "mulaw") {
        return format("Only `mulaw` audio is accepted.");
    }
    if !is(&audio.sample_rate_hz, 8_000) {
        return format("Only a sample rate of 8000 Hz is accepted.");
    }
    if !is(&audio.channels, 1) {
        return format("Only one channel is accepted.");
    }
    let Some(payload) = audio.payload.as_deref() else {
        return Err(Refusal::Malformed("`audio` needs `payload`, in Base64.".into()));
    };
    let Ok(mulaw) = BASE64.decode(payload) else {
        return Err(Refusal::Malformed("`audio.payload` is not Base64.".into()));
    };
    if !FRAME_SAMPLES.contains(&mulaw.len()) {
        let ms = mulaw.len() / 8;
        return format(&format!("A frame holds 10 to 1000 ms of audio; this one has {ms} ms."));
    }
    Ok(mulaw)
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Told<'a> {
    #[serde(rename = "session.ready")]
    Ready {
        session_id: &'a str,
        mode: &'static str,
        source_language: Option<&'a str>,
        target_language: Option<&'a str>,
    },
    #[serde(rename = "transcript.partial")]
    Partial(Text<'a>),
    #[serde(rename = "transcript.final")]
    Final(Text<'a>),
    #[serde(rename = "pong")]
    Pong { session_id: &'a str },
    #[serde(rename = "session.error")]
    Error {
        session_id: &'a str,
        code: &'static str,
        message: &'a str,
        fatal: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        dropped_ms: Option<u64>,
    },
    #[serde(rename = "session.levels")]
    Levels { session_id: &'a str, elapsed_ms: Option<u64>, customer: Party, agent: Party },
    #[serde(rename = "session.lag")]
    Lag {
        session_id: &'a str,
        id: String,
        speaker: &'static str,
        first_partial_ms: Option<u32>,
        final_ms: u32,
        first_audio_ms: Option<u32>,
    },
    #[serde(rename = "session.recording")]
    Recording { session_id: &'a str, state: &'static str },
    #[serde(rename = "session.ended")]
    Ended { session_id: &'a str, reason: &'static str },
}

#[derive(Serialize)]
struct Party {
    level_dbfs: f32,
    voice: bool,
    heard_dbfs: f32,
}

impl From<PartyLevels> for Party {
    fn from(levels: PartyLevels) -> Self {
        // A tenth of a decibel is finer than anybody sees.
        let rounded = |level: f32| (level * 10.0).round() / 10.0;
        Self { level_dbfs: rounded(levels.level_dbfs), voice: levels.voice, heard_dbfs: rounded(levels.heard_dbfs) }
    }
}

#[derive(Serialize)]
struct Text<'a> {
    session_id: &'a str,
    id: String,
    speaker: &'static str,
    language: &'a str,
    text: &'a str,
    start_ms: u64,
    end_ms: u64,
    confidence: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    translation: Option<Translation<'a>>,
}

#[derive(Serialize)]
struct Translation<'a> {
    language: &'a str,
    text: &'a str,
}

/// Writes one message; none for a close, which is not a text frame.
pub(super) fn write(session_id: &str, message: &Outgoing) -> Option<String> {
    let told = match message {
        Outgoing::Audio(audio) => return Some(write_audio(session_id, audio)),
        Outgoing::Close(_) => return None,
        Outgoing::Ready { session_id: _, mode, source_language, target_language } => Told::Ready {
            session_id,
            mode: mode.as_str(),
            source_language: source_language.as_ref().map(|tag| tag.as_str()),
            target_language: target_language.as_ref().map(|tag| tag.as_str()),
        },
        Outgoing::Partial(text) => Told::Partial(segment(session_id, text)),
        Outgoing::Final(text) => Told::Final(segment(session_id, text)),
        Outgoing::Pong => Told::Pong { session_id },
        Outgoing::Error { code, message, fatal } => {
            Told::Error { session_id, code: code.as_str(), message, fatal: *fatal, dropped_ms: None }
        }
        Outgoing::AudioDropped { dropped_ms } => Told::Error {
            session_id,
            code: ErrorCode::AudioDropped.as_str(),
            message: ErrorCode::AudioDropped.row().message,
            fatal: false,
            dropped_ms: Some(*dropped_ms),
        },
        Outgoing::Levels(levels) => {
            let [customer, agent] = levels.parties.map(Party::from);
            Told::Levels { session_id, elapsed_ms: levels.elapsed_ms, customer, agent }
        }
        Outgoing::Lag(lag) => Told::Lag {
            session_id,
            id: lag.id.to_string(),
            speaker: lag.speaker.as_str(),
            first_partial_ms: lag.first_partial_ms,
            final_ms: lag.final_ms,
            first_audio_ms: lag.first_audio_ms,
        },
        Outgoing::Recording(mode) => Told::Recording { session_id, state: mode.as_str() },
        Outgoing::Ended { reason } => Told::Ended { session_id, reason: reason.as_str() },
    };
    // Plain structs of strings and numbers always serialize.
    serde_json::to_string(&told).ok()
}

fn segment<'a>(session_id: &'a str, text: &'a SegmentText) -> Text<'a> {
    Text {
        session_id,
        id: text.id.to_string(),
        speaker: text.speaker.as_str(),
        language: text.language.as_str(),
        text: &text.text,
        start_ms: text.start_ms,
        end_ms: text.end_ms,
        confidence: text.confidence,
        translation: text.translation.as_ref().map(|t| Translation { language: t.language.as_str(), text: &t.text }),
    }
}

/// Audio is most of all messages and has nothing to escape: written by hand, in one allocation.
fn write_audio(session_id: &str, audio: &AudioOut) -> String {
    let mut json = String::with_capacity(320 + audio.mulaw.len() * 4 / 3);
    let _ = write!(
        json,
        r#"{{"type":"audio.output","session_id":"{session_id}","sequence":{},"speaker":"{}","target":"{}","translation_of":"#,
        audio.sequence, audio.speaker, audio.target
    );
    let _ = match audio.translation_of {
        Some(segment) => write!(json, "\"{segment}\""),
        None => json.write_str("null"),
    };
    json.push_str(r#","audio":{"encoding":"mulaw","sample_rate_hz":8000,"payload":""#);
    BASE64.encode_string(&audio.mulaw, &mut json);
    json.push_str("\"}}");
    json
}
