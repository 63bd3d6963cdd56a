//! The portal in a real browser.

mod calls;
mod example;
mod first_start;
mod keys;
mod pages;
mod webhooks;
