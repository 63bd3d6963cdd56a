//! A whole server in the test's own process, on a free port, with a clock that the test moves and an engine that follows a script.
//!
//! ```no_run
//! # async fn example() {
//! use kallglot_testkit::TestServer;
//!
//! let server = TestServer::start().await;
//! let api = server.test_client().await;
//! let answer = api.get("/v1/sessions").await.unwrap();
//! assert_eq!(answer.status, 200);
//! server.finish().await;
//! # }
//! ```

pub mod backing;
mod call;
mod fake_provider;
mod fakes;
mod mail;
mod portal;
mod receiver;
mod server;

pub use call::{Call, next_matching, voice_mulaw};
pub use fake_provider::{FAKE_ISSUER, FakeFetch, FakeProvider, Signing};
pub use fakes::{FakeClock, FakeRandom};
pub use kallglot_client as client;
pub use kallglot_engine::scripted::{Faults, Script};
pub use kallglot_webauthn::fake::{FakeAuthenticator, FakeCredential};
pub use mail::{FakeMailServer, FakeMailer};
pub use portal::{Sight, Team, Visitor, encoded};
pub use receiver::{Behaviour, FakeReceiver, Received};
pub use server::{Organization, ServerBuilder, TestServer};

use std::time::Duration;

/// Longest that anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen; panics with `what` when it does not.
///
/// # Panics
/// When it takes longer than [`PATIENCE`].
pub async fn soon<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(value) => value,
        Err(_) => panic!("it took too long: {what}"),
    }
}
