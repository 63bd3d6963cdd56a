//! What the databases that speak SQL share: every query and every rule about it is written here, once.
//!
//! A backend implements [`Sql`] for its connection inside a transaction, and runs jobs (a function of this crate and its arguments)
//! with it; [`repositories!`] makes the repository traits of that. A backend that answers at once (SQLite) gives futures that are
//! ready; one that is asked over a network sends what is asked together, together.
//!
//! What must stay true:
//! - A query without its tenant is named for who may ask it, as in the repository traits.
//! - A row that a job reads in order to change it is locked by the job first ([`Sql::lock`]), in a statement of its own before the
//!   one that reads it: then the job reads what the one before it has left.
//! - A job may run several times, each time after what it did before was taken back. It does nothing but ask its connection.
//! - No `SELECT *`: a column that a newer version adds must not change what an older one is answered.

pub mod alert;
pub mod analysis;
pub mod audit;
pub mod credit;
pub mod delivery;
pub mod event;
pub mod factors;
pub mod gate;
pub mod idempotency;
pub mod key;
pub mod log;
pub mod node;
pub mod organization;
pub mod people;
mod purchase;
mod query;
pub mod recording;
mod repositories;
mod row;
pub mod session;
pub mod sql;
pub mod transfer;
pub mod turn;
pub mod usage;
pub mod webhook;

pub use query::page;
pub use row::{Columns, count, cut, spaced, us, us_if_any};
pub use sql::{Dialect, FromValue, Row, Sql, ToValue, Value};

/// What the macro [`repositories!`] needs where it is used.
#[doc(hidden)]
pub mod names {
    pub use async_trait::async_trait;
    pub use kallglot_core as core;
    pub use kallglot_storage as storage;
}

/// What every function here answers with.
pub type Result<T> = std::result::Result<T, kallglot_storage::StorageError>;
