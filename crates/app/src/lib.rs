//! The use cases: what HTTP, the stream and telephony do, over traits; and the live session.
//!
//! What is shared by more than one edge is a function here; plain reading is the edge's own look-up in the repository.

pub mod alerts;
pub mod analysis;
mod arrival;
mod credit_news;
pub mod endpoints;
pub mod error;
pub mod feed;
pub mod gate;
pub mod idempotency;
pub mod keys;
pub mod languages;
pub mod leases;
pub mod live;
pub mod mail;
pub mod node;
pub mod people;
pub mod quickstart;
pub mod recordings;
pub mod request_log;
pub mod seal;
pub mod sessions;
pub mod state;
pub mod transcript;
pub mod upkeep;
pub mod usage;
pub mod webhooks;

pub use arrival::Arrival;
pub use error::{Error, Public};
pub use state::{App, AppConfig, Parts};
