//! The parts against a fake server that is normal, slow, broken and hostile.

// What a helper of the tests can't do ends the test.
#![allow(clippy::unwrap_used)]

mod failures;
mod fake_server;
mod recognizer;
mod summarizer;
mod synthesizer;
mod translator;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use kallglot_core::language::LanguageTag;
use kallglot_core::random::RandomSource;
use kallglot_engine_openai::{Limits, OpenAi, OpenAiConfig, Secret};

pub(crate) const KEY: &str = "sk-very-secret";

/// A random source that counts.
#[derive(Default)]
struct FakeRandom(AtomicU8);

impl RandomSource for FakeRandom {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(77, Ordering::Relaxed));
    }
}

pub(crate) fn config(base_url: &str) -> OpenAiConfig {
    OpenAiConfig {
        api_key: Some(Secret::new(KEY)),
        transcription_model: Some("hears".into()),
        translation_model: Some("translates".into()),
        speech_model: Some("speaks".into()),
        voice: "usual".into(),
        limits: Limits { backoff_ms: 1, backoff_max_ms: 2, ..Limits::default() },
        ..OpenAiConfig::new(base_url)
    }
}

pub(crate) fn open(config: OpenAiConfig) -> OpenAi {
    OpenAi::new(config, Arc::new(FakeRandom::default())).unwrap()
}

pub(crate) fn tag(text: &str) -> LanguageTag {
    text.parse().unwrap()
}

/// The result of what should take no time; fails instead of hanging.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), future).await.expect("it hangs")
}
