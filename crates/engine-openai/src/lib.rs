//! Speech by any server that speaks OpenAI's HTTP API: transcription, translation by chat, speech.
//!
//! [`OpenAi`] is one server; the parts that its configuration names a model for become a [`recognizer`], a [`translator`], a
//! [`synthesizer`] and a [`summarizer`], each usable on its own. What must stay true: the key appears in no error, log or `Debug` text; every request has
//! a deadline, every answer a greatest size, and there is a greatest number of requests at a time; a slow or broken server costs
//! utterances, never a call; what the server says is shown to nobody but the log.

mod chat;
mod config;
mod http;
pub mod recognizer;
mod sse;
pub mod summarizer;
pub mod synthesizer;
pub mod translator;

use std::sync::Arc;

use kallglot_core::random::RandomSource;

pub use config::{InvalidConfig, Limits, OpenAiConfig, Secret};
pub use recognizer::OpenAiRecognizerFactory;
pub use summarizer::OpenAiSummarizer;
pub use synthesizer::OpenAiSynthesizer;
pub use translator::OpenAiTranslator;

/// One OpenAI-compatible server. Its parts share connections and the bound on requests.
#[derive(Debug)]
pub struct OpenAi {
    config: OpenAiConfig,
    http: Arc<http::Http>,
}

impl OpenAi {
    /// Checks the configuration; connects to nothing yet. `random` spreads retries.
    ///
    /// # Errors
    /// Names the value that is wrong and what is allowed.
    pub fn new(config: OpenAiConfig, random: Arc<dyn RandomSource>) -> Result<Self, InvalidConfig> {
        let config = config.checked()?;
        let http = Arc::new(http::Http::new(&config, random)?);
        Ok(Self { config, http })
    }

    /// The recognizer, if a transcription model is configured.
    pub fn recognizer(&self) -> Option<OpenAiRecognizerFactory> {
        OpenAiRecognizerFactory::new(&self.config, &self.http)
    }

    /// The translator, if a translation model is configured.
    pub fn translator(&self) -> Option<OpenAiTranslator> {
        OpenAiTranslator::new(&self.config, &self.http)
    }

    /// Who writes about calls, if a model for that is configured.
    pub fn summarizer(&self) -> Option<OpenAiSummarizer> {
        OpenAiSummarizer::new(&self.config, &self.http)
    }

    /// The synthesizer, if a speech model is configured.
    pub fn synthesizer(&self) -> Option<OpenAiSynthesizer> {
        OpenAiSynthesizer::new(&self.config, &self.http)
    }
}
