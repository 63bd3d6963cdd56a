//! What is done to sound: telephony codes, rates, voice activity, utterances, order, speed, levels, files.
//!
//! What must stay true: nothing here does I/O of its own, reads a clock or waits; state is bounded; hostile input gives an error or
//! silence, never a panic. Samples are mono PCM of 16 bits at [`SAMPLE_RATE_HZ`] unless a function says otherwise.

#[doc(hidden)]
#[cfg(any(test, feature = "testing"))]
pub mod fake_voice;
#[doc(hidden)]
pub mod fuzz;
pub mod g711;
pub mod level;
pub mod mix;
pub mod reorder;
pub mod resample;
pub mod segment;
pub mod stretch;
pub mod vad;
pub mod wav;

/// Samples per second of all audio inside Kallglot.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
/// Samples per millisecond.
pub const SAMPLES_PER_MS: usize = SAMPLE_RATE_HZ as usize / 1_000;
