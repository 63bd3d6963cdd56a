//! The analysis as its users see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

mod calls;
mod compliance;
mod examples;
mod hostile;
mod performance;
