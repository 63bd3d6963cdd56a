//! Everything that the edges share: one value, passed.

use std::sync::Arc;

use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{Pepper, ServerEnvironment};
use kallglot_core::clock::Clock;
use kallglot_core::edition::Edition;
use kallglot_core::id::SessionId;
use kallglot_core::random::RandomSource;
use kallglot_core::session::Environment;
use kallglot_core::stream_token::{self, StreamTokenSecret};
use kallglot_engine::router::EngineRouter;
use kallglot_storage::Storage;

use crate::live::Hub;

/// Settings that use cases need.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// Which keys are let in.
    pub environment: ServerEnvironment,
    /// Where clients reach this server, without a slash at the end: `https://api.example.com`.
    pub public_url: String,
    /// How long stream tokens are valid, in place of the edition's default. Seconds.
    pub stream_token_s: Option<u32>,
    /// Without activity for this long a session ends with `timeout`. Seconds.
    pub session_idle_s: u32,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            environment: ServerEnvironment::Any,
            public_url: "http://127.0.0.1:8080".into(),
            stream_token_s: None,
            session_idle_s: 30 * 60,
        }
    }
}

/// What the edges share.
pub struct App {
    /// Settings.
    pub config: AppConfig,
    /// The database.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn RandomSource>,
    /// With which keys are hashed.
    pub pepper: Pepper,
    /// With which stream tokens are signed.
    pub stream_token_secret: StreamTokenSecret,
    /// The speech engines.
    pub engines: EngineRouter,
    /// The live sessions.
    pub hub: Hub,
}

/// A fresh stream token.
#[derive(Debug, Clone)]
pub struct StreamToken {
    /// The token.
    pub token: String,
    /// Until when it lets its holder connect.
    pub expires_at: Timestamp,
}

impl App {
    /// Signs a stream token for a session.
    pub fn stream_token(&self, session: SessionId, environment: Environment, edition: Edition) -> StreamToken {
        let lifetime_s = self.config.stream_token_s.unwrap_or(edition.rules().stream_token_lifetime_s);
        let now = self.clock.now();
        let expires_at = now.checked_add(SignedDuration::from_secs(i64::from(lifetime_s))).unwrap_or(Timestamp::MAX);
        // Tokens count whole seconds; what is told is what is signed.
        let expires_at = Timestamp::from_second(expires_at.as_second()).unwrap_or(expires_at);
        StreamToken {
            token: stream_token::issue(&self.stream_token_secret, session, environment, expires_at),
            expires_at,
        }
    }

    /// The address of a session's stream.
    pub fn stream_url(&self, session: SessionId) -> String {
        // http → ws, https → wss
        let base = self.config.public_url.strip_prefix("http").map(|rest| format!("ws{rest}"));
        format!("{}/v1/sessions/{session}/connect", base.as_deref().unwrap_or(&self.config.public_url))
    }
}
