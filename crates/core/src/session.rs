//! A session: one call between two parties, its states and what moves it between them (contract section 10).

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::{ApiKeyId, OrganizationId, SegmentId, SessionId};
use crate::language::LanguageTag;
use crate::recording::RecordingMode;
use crate::vocabulary::Vocabulary;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in the contract's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that the API uses.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of this name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named;

named! {
    /// Production or sandbox; their data are strangers to each other.
    Environment {
        /// Production.
        Live = "live",
        /// Sandbox.
        Test = "test",
    }
}

impl Environment {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Live => Self::Test,
            Self::Test => Self::Live,
        }
    }
}

named! {
    /// One of the two parties of a call. The customer is party A (speaks the source language), the agent is party B.
    Speaker {
        /// Party A, who speaks `source_language`.
        Customer = "customer",
        /// Party B, who speaks `target_language`.
        Agent = "agent",
    }
}

impl Speaker {
    /// The other party.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Customer => Self::Agent,
            Self::Agent => Self::Customer,
        }
    }

    /// 0 for the customer, 1 for the agent: to index pairs.
    pub const fn index(self) -> usize {
        self as usize
    }
}

named! {
    /// What a session does with what is said.
    Mode {
        /// Each party hears the other's words in its own language.
        BidirectionalTranslation = "bidirectional_translation",
        /// The agent hears the original and reads the translation; the customer hears the agent's words translated.
        AssistiveTranslation = "assistive_translation",
        /// The customer talks with an AI agent.
        AiAgent = "ai_agent",
        /// A voice in a help chat.
        HelpChatVoice = "help_chat_voice",
    }
}

named! {
    /// Where a session stands.
    Status {
        /// Made, nobody has connected yet.
        Created = "created",
        /// At least one stream has connected.
        Active = "active",
        /// Over; nothing about it changes any more.
        Ended = "ended",
    }
}

named! {
    /// Why a session ended.
    EndReason {
        /// Ended by the API without another reason.
        Completed = "completed",
        /// The customer hung up.
        CustomerHangup = "customer_hangup",
        /// The agent hung up.
        AgentHangup = "agent_hangup",
        /// It could not go on.
        Error = "error",
        /// Nothing happened for too long.
        Timeout = "timeout",
        /// A stream asked for the end (`session.end`).
        ExplicitEnd = "explicit_end",
    }
}

/// Whose data: every look-up of an owned object takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The organization.
    pub organization: OrganizationId,
    /// Its live or its test side.
    pub environment: Environment,
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who owns it.
    pub tenant: Tenant,
    /// The key that made it.
    pub created_by: ApiKeyId,
    /// What it does.
    pub mode: Mode,
    /// Party A's language; none to have it detected.
    pub source_language: Option<LanguageTag>,
    /// Party B's language; none to have it detected.
    pub target_language: Option<LanguageTag>,
    /// The voice asked for, if any.
    pub voice: Option<String>,
    /// What the recognizers should expect, on top of the organization's.
    pub vocabulary: Vocabulary,
    /// Whether it is recorded.
    pub recording: RecordingMode,
    /// The client's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something last happened in it.
    pub last_activity_at: Timestamp,
    /// Until when its first stream token lets somebody join; until then it counts as a concurrent session though nobody has joined.
    pub joinable_until: Timestamp,
    /// Where it stands, with the times that belong to it.
    pub state: SessionState,
}

/// Where a session stands; each state has what is known in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// Nobody has connected.
    Created,
    /// A stream has connected; `started_at` is the first audio's time.
    Active {
        /// When the first audio arrived.
        started_at: Option<Timestamp>,
    },
    /// Over.
    Ended {
        /// When the first audio arrived, if any did.
        started_at: Option<Timestamp>,
        /// When it ended.
        ended_at: Timestamp,
        /// Why.
        reason: EndReason,
    },
}

/// An ended session can't be moved to another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended and can't become {wanted}")]
pub struct AlreadyEnded {
    /// The state that was asked for.
    pub wanted: Status,
}

impl SessionState {
    /// The state's name.
    pub const fn status(&self) -> Status {
        match self {
            Self::Created => Status::Created,
            Self::Active { .. } => Status::Active,
            Self::Ended { .. } => Status::Ended,
        }
    }

    /// When the first audio arrived, if any did.
    pub const fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Created => None,
            Self::Active { started_at } | Self::Ended { started_at, .. } => *started_at,
        }
    }

    /// When it ended, if it did.
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Ended { ended_at, .. } => Some(*ended_at),
            _ => None,
        }
    }

    /// A stream has connected.
    ///
    /// # Errors
    /// The session has ended.
    pub fn connect(self) -> Result<Self, AlreadyEnded> {
        match self {
            Self::Created => Ok(Self::Active { started_at: None }),
            Self::Active { .. } => Ok(self),
            Self::Ended { .. } => Err(AlreadyEnded { wanted: Status::Active }),
        }
    }

    /// Audio has arrived at `now`; only the first time counts.
    ///
    /// # Errors
    /// The session has ended.
    pub fn start(self, now: Timestamp) -> Result<Self, AlreadyEnded> {
        match self {
            Self::Created | Self::Active { started_at: None } => Ok(Self::Active { started_at: Some(now) }),
            Self::Active { .. } => Ok(self),
            Self::Ended { .. } => Err(AlreadyEnded { wanted: Status::Active }),
        }
    }

    /// Ends it at `now`.
    ///
    /// # Errors
    /// It has already ended; the first end stays.
    pub fn end(self, now: Timestamp, reason: EndReason) -> Result<Self, AlreadyEnded> {
        match self {
            Self::Created => Ok(Self::Ended { started_at: None, ended_at: now, reason }),
            Self::Active { started_at } => Ok(Self::Ended { started_at, ended_at: now, reason }),
            Self::Ended { .. } => Err(AlreadyEnded { wanted: Status::Ended }),
        }
    }

    /// Whole seconds from the first audio to the end; none until it has ended, 0 without audio.
    pub fn duration_seconds(&self) -> Option<i64> {
        let ended_at = self.ended_at()?;
        Some(
            self.started_at()
                .map_or(0, |started_at| (ended_at.as_millisecond() - started_at.as_millisecond()).max(0) / 1000),
        )
    }
}

/// One final utterance of a transcript, never changed once stored (contract section 13).
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Place in the transcript, from 1, without holes.
    pub sequence: u32,
    /// The segment's id, as in its partials.
    pub id: SegmentId,
    /// Who spoke.
    pub speaker: Speaker,
    /// In which language, as recognised.
    pub language: LanguageTag,
    /// What was said.
    pub text: String,
    /// What it means in the other party's language, where it was translated.
    pub translation: Option<Translation>,
    /// When it became final.
    pub timestamp: Timestamp,
    /// Where it begins, in ms after the session's first audio.
    pub start_ms: u64,
    /// Where it ends, in ms after the session's first audio.
    pub end_ms: u64,
    /// How sure the recognizer is, 0 to 1.
    pub confidence: f32,
}

/// A text in another language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// Which language.
    pub language: LanguageTag,
    /// The text.
    pub text: String,
}

/// How long each step of one utterance took. All in ms after the end of speech, as the voice activity detector heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UtteranceLag {
    /// The segment.
    pub id: SegmentId,
    /// Who spoke.
    pub speaker: Speaker,
    /// From the first audio of the utterance to its first partial text; none when there was no partial.
    pub first_partial_ms: Option<u32>,
    /// From the end of speech to the final text.
    pub final_ms: u32,
    /// From the end of speech to the first translated audio sent; none when nothing was spoken.
    pub first_audio_ms: Option<u32>,
}
