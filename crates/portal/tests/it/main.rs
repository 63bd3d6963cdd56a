//! The portal over HTTP, as browsers ask for it, without a browser.

mod walk;
mod webhooks;
