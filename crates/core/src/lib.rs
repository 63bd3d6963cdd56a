//! The pure domain of Kallglot: what things are called, what is valid, and what follows from what.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and randomness are arguments
//! ([`clock::Clock`] and [`random::RandomSource`] are the traits that the outermost layer implements).

pub mod alert;
pub mod analysis;
pub mod api_key;
pub mod audit;
pub mod byte_range;
pub mod clock;
pub mod credit;
pub mod delivery;
pub mod edition;
pub mod egress;
pub mod error_code;
pub mod event;
pub mod event_sample;
#[doc(hidden)]
pub mod fuzz;
pub mod id;
pub mod idempotency;
pub mod language;
pub mod organization;
pub mod permission;
pub mod person;
pub mod plan;
pub mod random;
pub mod recording;
pub mod redact;
pub mod request_record;
pub mod session;
pub mod stream_statistics;
pub mod stream_token;
pub mod usage;
pub mod vocabulary;
pub mod webhook;

pub use jiff::Timestamp;
