//! What goes into a live session and what comes out of it, before any carrier's framing.

use std::sync::Arc;

use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{SegmentId, SessionId};
use kallglot_core::language::LanguageTag;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{EndReason, Mode, Speaker, Translation, UtteranceLag};

/// Counts the sockets of one live session, from 0.
pub type SocketId = u32;

/// One frame of a party's audio as it arrived.
#[derive(Debug, Clone)]
pub struct AudioFrame {
    /// Whose audio.
    pub speaker: Speaker,
    /// Its place in the sender's count.
    pub sequence: u64,
    /// Mu-law, 8 kHz, mono: one byte per sample.
    pub mulaw: Vec<u8>,
}

/// Audio for one party to hear.
#[derive(Debug, Clone)]
pub struct AudioOut {
    /// Counts the frames for this target, from 1.
    pub sequence: u64,
    /// Whose words.
    pub speaker: Speaker,
    /// Who should hear them.
    pub target: Speaker,
    /// The segment whose translation this is; none for the original voice.
    pub translation_of: Option<SegmentId>,
    /// Mu-law, 8 kHz, mono.
    pub mulaw: Arc<[u8]>,
}

/// The text of a segment, partial or final.
#[derive(Debug, Clone)]
pub struct SegmentText {
    /// The segment; a partial's id is its final's id.
    pub id: SegmentId,
    /// Who spoke.
    pub speaker: Speaker,
    /// In which language.
    pub language: LanguageTag,
    /// What was said.
    pub text: String,
    /// Its translation, on finals.
    pub translation: Option<Translation>,
    /// In ms after the session's first audio.
    pub start_ms: u64,
    /// In ms after the session's first audio.
    pub end_ms: u64,
    /// 0 to 1.
    pub confidence: f32,
}

/// How loud it is at one party, over the last quarter of a second. Levels are root mean squares in dBFS, -96 for silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartyLevels {
    /// What the party says.
    pub level_dbfs: f32,
    /// Whether that is voice.
    pub voice: bool,
    /// The translated speech that the party hears.
    pub heard_dbfs: f32,
}

/// How loud it is at both parties.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// How long the call has lasted, in ms after the session's first audio; none before it.
    pub elapsed_ms: Option<u64>,
    /// The customer's, then the agent's.
    pub parties: [PartyLevels; 2],
}

/// Why a server closes a stream (contract section 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// The session ended.
    Ended,
    /// The server is going away; connect again with a fresh token.
    GoingAway,
    /// A frame was over the size limit.
    TooBig,
    /// Too many malformed messages.
    Malformed,
    /// The session's access was revoked.
    Revoked,
    /// Nobody seems to be there.
    Idle,
    /// Faster or larger than the plan for too long, or too many streams.
    Rate,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Ended => 1000,
            Self::GoingAway => 1001,
            Self::TooBig => 1009,
            Self::Malformed => 4400,
            Self::Revoked => 4401,
            Self::Idle => 4408,
            Self::Rate => 4429,
        }
    }

    /// The reason on the wire, in a few words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ended => "session ended",
            Self::GoingAway => "server going away; connect again with a fresh token",
            Self::TooBig => "message over 64 KiB",
            Self::Malformed => "too many malformed messages",
            Self::Revoked => "access revoked",
            Self::Idle => "no sign of life",
            Self::Rate => "stream limits exceeded",
        }
    }
}

/// What a stream is told.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// The first message of every stream.
    Ready {
        /// The session.
        session_id: SessionId,
        /// What it does.
        mode: Mode,
        /// Party A's language.
        source_language: Option<LanguageTag>,
        /// Party B's language.
        target_language: Option<LanguageTag>,
    },
    /// Text that may still grow.
    Partial(Arc<SegmentText>),
    /// Text that is stored and stays.
    Final(Arc<SegmentText>),
    /// Audio to hear.
    Audio(AudioOut),
    /// Answer to a ping.
    Pong,
    /// Something went wrong.
    Error {
        /// Which.
        code: ErrorCode,
        /// What and what to do.
        message: Arc<str>,
        /// Whether the stream is closed because of it.
        fatal: bool,
    },
    /// Audio was dropped because this stream did not read fast enough.
    AudioDropped {
        /// How much since it was last told.
        dropped_ms: u64,
    },
    /// How loud it is. Only observers are told; a newer one replaces one that was not read.
    Levels(Levels),
    /// How long an utterance took. Only observers are told.
    Lag(UtteranceLag),
    /// Whether it is recorded. Only observers are told.
    Recording(RecordingMode),
    /// The session is over; nothing follows but the close.
    Ended {
        /// Why.
        reason: EndReason,
    },
    /// Close the stream.
    Close(CloseCode),
}
