//! The three parts of a cascade: recognizer, translator, synthesizer.

use async_trait::async_trait;
use kallglot_core::language::LanguageTag;
use kallglot_core::vocabulary::Expectation;
use tokio::sync::mpsc;

use crate::interpreter::{EngineError, Quality, UtteranceId};

/// What a recognizer of one direction is asked for.
#[derive(Debug, Clone)]
pub struct RecognitionSpec {
    /// The language spoken; none to detect it.
    pub language: Option<LanguageTag>,
    /// What to expect in it.
    pub expectation: Expectation,
}

/// What a recognizer says about an utterance: partials, then exactly one `Final` or `Failed`, utterances in order.
#[derive(Debug, Clone)]
pub enum RecognitionEvent {
    /// The best text so far; may still change (the cascade makes it stable).
    Partial {
        /// Which utterance.
        utterance: UtteranceId,
        /// The text.
        text: String,
    },
    /// The text; empty when there were no words.
    Final {
        /// Which utterance.
        utterance: UtteranceId,
        /// The text.
        text: String,
        /// The language heard, where the recognizer detects it.
        language: Option<LanguageTag>,
        /// 0 to 1.
        confidence: f32,
    },
    /// The utterance is lost; the next one may work again.
    Failed {
        /// Which utterance.
        utterance: UtteranceId,
        /// Why.
        error: EngineError,
    },
}

/// Where a recognizer sends its events: the cascade's bounded queue. Send with `.await`; an error means the call is gone.
pub type RecognitionEventSender = mpsc::Sender<RecognitionEvent>;

/// Streaming recognition of one direction of one call. Never blocks: work happens elsewhere, bounded. When a bound is reached the
/// utterance fails with [`EngineError::Overloaded`].
pub trait Recognizer: Send {
    /// An utterance begins; ids count up.
    fn begin(&mut self, utterance: UtteranceId);
    /// Its next audio: mono PCM at [`crate::SAMPLE_RATE_HZ`].
    fn push(&mut self, samples: &[i16]);
    /// It is over: send its `Final`.
    fn end(&mut self);
}

/// Makes recognizers.
#[async_trait]
pub trait RecognizerFactory: Send + Sync + 'static {
    /// Primary languages that it understands now, and how well. `None` stands for any language.
    fn languages(&self) -> Vec<(Option<String>, Quality)>;

    /// Whether it can find out which language is spoken.
    fn detects_language(&self) -> bool {
        false
    }

    /// Makes the recognizer of one direction.
    ///
    /// # Errors
    /// Says why it can't.
    async fn open(
        &self,
        spec: RecognitionSpec,
        events: RecognitionEventSender,
    ) -> Result<Box<dyn Recognizer>, EngineError>;
}

/// Translates text. Shared by all calls.
#[async_trait]
pub trait Translator: Send + Sync + 'static {
    /// Pairs of primary languages (from, to) that it can do now. `None` stands for any language.
    fn pairs(&self) -> Vec<(Option<String>, Option<String>)>;

    /// Translates one utterance. Bounded in time by the implementation.
    ///
    /// # Errors
    /// Says why it can't.
    async fn translate(&self, text: &str, from: &LanguageTag, to: &LanguageTag) -> Result<String, EngineError>;

    /// Gets ready for a pair, so that the first sentence is not slow. Optional.
    async fn warm(&self, _from: &LanguageTag, _to: &LanguageTag) {}
}

/// Speech as it is made: chunks of mono PCM at [`crate::SAMPLE_RATE_HZ`], in order; the channel closes at the end.
pub type SpeechChunks = mpsc::Receiver<Result<Vec<i16>, EngineError>>;

/// Speaks text. Shared by all calls.
#[async_trait]
pub trait Synthesizer: Send + Sync + 'static {
    /// Primary languages that it speaks now. `None` stands for any language.
    fn languages(&self) -> Vec<Option<String>>;

    /// Starts to speak `text`. The first chunk should come as soon as it is made.
    ///
    /// # Errors
    /// Says why it can't; later failures come through the channel.
    async fn synthesize(
        &self,
        text: &str,
        language: &LanguageTag,
        voice: Option<&str>,
    ) -> Result<SpeechChunks, EngineError>;
}
