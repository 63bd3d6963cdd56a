//! The API from outside: a server in this process, a real client, a clock that the tests move.

mod errors;
mod gate;
mod sessions;
mod stream;
mod stream_hostile;
mod transcript;
