//! The portal in a real browser.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

mod alerts;
mod calls;
mod example;
mod first_start;
mod keys;
mod pages;
mod passkeys;
mod webhooks;
