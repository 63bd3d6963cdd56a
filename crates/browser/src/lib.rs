//! A real Chromium for tests, driven through WebDriver: what people see and do, as they see and do it.
//!
//! ```no_run
//! # async fn example() {
//! use kallglot_browser::{Browser, Setup, Theme, Width};
//!
//! let mut browser = Browser::start(Setup::default()).await;
//! browser.open("http://localhost:8080/portal/sign-in").await;
//! browser.fill("Email", "ana@example.com").await;
//! browser.press("Sign in").await;
//! browser.see("Welcome").await;
//! browser.look(Width::Narrow, Theme::Dark).await;
//! assert_eq!(browser.violations().await, []);
//! browser.close().await; // fails when a page wrote an error to its console or broke its content security policy
//! # }
//! ```
//!
//! What must stay true:
//! - Nothing outlives its test, however the test ends: a watchdog process ends the browser and removes its folder when the test's end
//!   of a pipe is closed, which the system does for a test that is killed.
//! - Tests run side by side: every browser has its own driver, port and profile.
//! - Nothing leaves this machine: names other than `localhost` don't resolve in the browser.
//! - Every wait is for a condition, and bounded by [`PATIENCE`].

mod axe;
mod browser;
mod element;
mod looks;
mod measure;
mod passkey;
mod process;
mod setup;
mod wire;

pub use axe::Violation;
pub use browser::Browser;
pub use element::Element;
pub use looks::{Theme, Width};
pub use measure::Weight;
pub use passkey::Authenticator;
pub use setup::Setup;

use std::time::Duration;

/// Longest that anything may take: a machine that builds at the same time starts a browser slowly.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether something has happened.
const LOOK: Duration = Duration::from_millis(20);
