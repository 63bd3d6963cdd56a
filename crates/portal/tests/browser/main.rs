//! The portal in a real browser.

mod alerts;
mod calls;
mod example;
mod first_start;
mod keys;
mod pages;
mod webhooks;
