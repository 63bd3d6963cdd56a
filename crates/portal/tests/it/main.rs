//! The portal over HTTP, as browsers ask for it, without a browser.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

mod accounts;
mod authenticator;
mod forms;
mod keys;
mod mails;
mod members;
mod nodes;
mod passkeys;
mod quickstart;
mod secrets;
mod sessions;
mod settings;
mod sign_in;
mod single_sign_on;
mod usage;
mod walk;
mod webhooks;
