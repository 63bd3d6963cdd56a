//! Delivery of webhooks as organizations see it: a whole server on one side, receivers of all kinds on the other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

mod delivers;
mod egress;
mod hostile;
mod several;
mod world;
