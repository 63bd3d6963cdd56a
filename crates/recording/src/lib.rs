//! Recordings as bytes: the log that a live call appends to, the tracks it becomes, and the sound that is made of them on demand.
//!
//! Four tracks of 8 kHz mono mu-law share one time line that is counted in samples since the session's first audio. While the call
//! runs they are interleaved in a [`log`]; afterwards they are split into one file each, of which
//! WAV, MP3 or Ogg is rendered, any byte range of it, without keeping what was made.
//!
//! What must stay true: nothing here knows sockets, databases or a clock; memory does not grow with the length of a call; hostile
//! bytes give an error or silence, never a panic; what is on the time line at one moment is heard at that moment in every format.

mod bytes;
#[doc(hidden)]
pub mod fuzz;
pub mod level;
pub mod log;
pub mod render;
pub mod source;
pub mod split;
pub mod track;

use kallglot_core::session::Speaker;

pub use kallglot_audio::SAMPLE_RATE_HZ;

/// The longest time line: 24 hours. What lies beyond is not recorded.
pub const DURATION_SAMPLES_MAX: u64 = 24 * 3_600 * SAMPLE_RATE_HZ as u64;

/// The mu-law code of silence, which is what stands wherever nothing was recorded.
pub const SILENCE: u8 = kallglot_audio::g711::MULAW_SILENCE;

/// One of a session's four tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// What the customer said.
    CustomerOriginal,
    /// The translation of the customer's words, as and when the agent heard it.
    CustomerTranslated,
    /// What the agent said.
    AgentOriginal,
    /// The translation of the agent's words, as and when the customer heard it.
    AgentTranslated,
}

impl Track {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::CustomerOriginal, Self::CustomerTranslated, Self::AgentOriginal, Self::AgentTranslated];

    /// Its number, 0 to 3, as files have it.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The track with this number.
    pub const fn of_number(number: u8) -> Option<Self> {
        match number {
            0..4 => Some(Self::ALL[number as usize]),
            _ => None,
        }
    }

    /// Whose words it has.
    pub const fn speaker(self) -> Speaker {
        match self {
            Self::CustomerOriginal | Self::CustomerTranslated => Speaker::Customer,
            Self::AgentOriginal | Self::AgentTranslated => Speaker::Agent,
        }
    }

    /// Whether it has their translation.
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::CustomerTranslated | Self::AgentTranslated)
    }

    /// Its name, for file names: `customer_original` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CustomerOriginal => "customer_original",
            Self::CustomerTranslated => "customer_translated",
            Self::AgentOriginal => "agent_original",
            Self::AgentTranslated => "agent_translated",
        }
    }
}

/// Whether all of it is digital silence (mu-law has two zeros), which no file needs to hold.
fn is_silent(mulaw: &[u8]) -> bool {
    mulaw.iter().all(|&code| code | 0x80 == SILENCE)
}
