//! The API from outside: a server in this process, a real client, a clock that the tests move.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

mod analysis;
mod cluster;
mod errors;
mod events;
mod gate;
mod idempotency;
mod keys;
mod limits;
mod observers;
mod openapi;
mod recordings;
mod request_log;
mod sessions;
mod stream;
mod stream_hostile;
mod transcript;
mod webhooks;
