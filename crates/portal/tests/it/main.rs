//! The portal over HTTP, as browsers ask for it, without a browser.

mod sessions;
mod walk;
mod webhooks;
