//! The portal in a real browser.

mod example;
mod first_start;
mod keys;
mod pages;
mod webhooks;
