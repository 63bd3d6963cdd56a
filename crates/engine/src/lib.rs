//! What turns one party's speech into translated speech.
//!
//! A call has one [`Interpreter`] per direction. An engine may be an interpreter as a whole (direct speech to speech) or offer
//! the three parts that [`cascade`] makes one of: [`Recognizer`], [`Translator`], [`Synthesizer`]. All audio in these
//! interfaces is mono PCM of 16 bits at [`SAMPLE_RATE_HZ`]; an engine that wants another rate converts inside.
//!
//! What must stay true: nothing here ever blocks the caller (the task that owns the call), every queue has a bound, and an engine
//! that fails says so by an event and leaves the call alive.

pub mod cascade;
pub mod interpreter;
pub mod part;
pub mod router;
pub mod scripted;
mod stable;
pub mod summarizer;

pub use interpreter::{
    DirectionSpec, Engine, EngineError, Event, EventSender, Interpreter, Offer, Quality, UtteranceId,
};
pub use part::{
    RecognitionEvent, RecognitionEventSender, RecognitionSpec, Recognizer, RecognizerFactory, SpeechChunks,
    Synthesizer, Translator,
};
pub use summarizer::{ActionItem, CallSummary, CallText, Summarizer};

/// Samples per second of all audio that crosses these interfaces.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
