//! What takes part in a run: something that the server can do, with clients that use it and keep a record of what they were told, and what must
//! be true of that record afterwards.
//!
//! A new one (deliveries, recordings) is a file of its own beside `sessions.rs` and one line in `fault_run.rs`.
//! - Its clients run until the run is over; one [`Capability::act`] is over within seconds. They write down what they ask for before they ask, and
//!   what was acknowledged when the answer has come: what is neither is nobody's business, and what is asked for without an answer may have
//!   been done or not.
//! - They never stop at an answer that they did not expect: [`Requests`](super::requests::Requests) reports what no document names, and they
//!   report what contradicts their record, with [`Report::violation`](super::report::Report).
//! - [`Capability::settle`] brings things to their end when nothing fails any more, and before anything is checked;
//!   [`Capability::check`] then compares the record with what is stored, through any node.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kallglot_core::event::Event;
use serde_json::Value;

use crate::load::Chance;

/// Something that the server can do.
#[async_trait]
pub(super) trait Capability: Send + Sync {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// How many clients do nothing but this.
    fn clients(&self) -> usize;

    /// One thing that a client does.
    async fn act(&self, chance: &mut Chance);

    /// Nothing fails any more: ends what is under way.
    async fn settle(&self, chance: &mut Chance);

    /// Compares what clients were told with what there is.
    async fn check(&self, stored: &Stored, chance: &mut Chance);
}

/// What there is at the end, read once for all capabilities.
pub(super) struct Stored {
    /// All sessions of an organization by id, as the API shows them.
    pub(super) sessions: BTreeMap<String, BTreeMap<String, Value>>,
    /// All events that wait for delivery.
    pub(super) events: Vec<Event>,
}
