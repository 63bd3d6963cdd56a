//! The portal over HTTP, as browsers ask for it, without a browser.

mod keys;
mod quickstart;
mod sessions;
mod settings;
mod walk;
mod webhooks;
