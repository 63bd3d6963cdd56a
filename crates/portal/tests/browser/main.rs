//! The portal in a real browser.

mod example;
mod pages;
