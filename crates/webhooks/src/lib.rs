//! Delivers events to webhook endpoints (contract section 13).
//!
//! [`worker`] decides what is sent when: it fans events out, claims endpoints, fetches what is due to them, starts attempts and keeps what
//! came of them. [`send`] makes one attempt; [`connect`] gives it a connection to an address that has been judged.
//!
//! What must stay true:
//! - A delivery is finished only when that is stored: a crash makes an attempt twice, never not at all.
//! - Nothing is sent to an address that [`kallglot_core::egress`] has not let through, whatever a name says the next time.
//! - Whatever an endpoint does, an attempt takes no longer than [`send::ATTEMPT_MAX`] and a few dozen KiB of memory.
//! - One endpoint never takes what another one needs: each has a bounded number of attempts under way, fewer when it is slow or fails,
//!   and all that are slow together at most half of what there is.

pub mod connect;
mod endpoint;
pub mod send;
pub mod worker;

pub use connect::{ConnectConfig, ProxyAddress, Resolver, SystemResolver};
pub use worker::{WorkerConfig, start};
