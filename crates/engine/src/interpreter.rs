//! One direction of one call: audio in, events out.

use std::sync::Arc;

use async_trait::async_trait;
use kallglot_core::language::LanguageTag;
use kallglot_core::session::{Speaker, Translation};
use kallglot_core::vocabulary::Vocabulary;
use tokio::sync::mpsc;

/// Counts the utterances of one direction, from 0.
pub type UtteranceId = u32;

/// What one direction of a call asks of an engine.
#[derive(Debug, Clone)]
pub struct DirectionSpec {
    /// Whose words are interpreted.
    pub speaker: Speaker,
    /// The language spoken; none to detect it.
    pub source: Option<LanguageTag>,
    /// The language to translate into; none to only transcribe.
    pub target: Option<LanguageTag>,
    /// Whether the translation is to be spoken, or text is enough.
    pub speak: bool,
    /// The voice asked for; an engine that does not know it uses its default for the language.
    pub voice: Option<String>,
    /// What to expect in each language.
    pub vocabulary: Arc<Vocabulary>,
}

/// What happens in one direction. Sent in order; per utterance: partials, one `Final` or `Discarded`, audio, one `SpeechDone`.
#[derive(Debug, Clone)]
pub enum Event {
    /// Text so far. Only ever grows: each partial of an utterance starts with the one before it.
    Partial {
        /// Which utterance.
        utterance: UtteranceId,
        /// In which language.
        language: LanguageTag,
        /// The stable text.
        text: String,
        /// Where the utterance begins, in ms of audio pushed.
        start_ms: u64,
        /// How far the audio has been heard.
        end_ms: u64,
        /// 0 to 1.
        confidence: f32,
    },
    /// Speech ended (in the audio; the endpoint itself comes later). `end_ms` is the end of voice.
    Endpoint {
        /// Which utterance.
        utterance: UtteranceId,
        /// Where voice ended, in ms of audio pushed.
        end_ms: u64,
    },
    /// What was said and what it means. Never taken back.
    Final {
        /// Which utterance.
        utterance: UtteranceId,
        /// In which language.
        language: LanguageTag,
        /// What was said.
        text: String,
        /// Its translation; none when none was asked for, or when it failed (then a `Failed` came first).
        translation: Option<Translation>,
        /// Where the utterance begins, in ms of audio pushed.
        start_ms: u64,
        /// Where it ends.
        end_ms: u64,
        /// 0 to 1.
        confidence: f32,
    },
    /// The utterance had no words; partials of it, had there been any, would have become a `Final`.
    Discarded {
        /// Which utterance.
        utterance: UtteranceId,
    },
    /// Translated speech, in order.
    Speech {
        /// Which utterance it translates.
        utterance: UtteranceId,
        /// Mono PCM at [`crate::SAMPLE_RATE_HZ`].
        samples: Vec<i16>,
    },
    /// All speech of this utterance has been sent (also when there was none).
    SpeechDone {
        /// Which utterance.
        utterance: UtteranceId,
    },
    /// Something failed; the interpreter goes on with the next utterance unless `fatal`.
    Failed {
        /// What.
        error: EngineError,
        /// Whether this direction can't go on.
        fatal: bool,
    },
    /// Answer to [`Interpreter::flush`]: all events of the audio pushed before it have been sent.
    Flushed,
}

/// Where an interpreter sends what happens: the call's bounded queue, tagged with whose direction it is.
#[derive(Debug, Clone)]
pub struct EventSender {
    speaker: Speaker,
    queue: mpsc::Sender<(Speaker, Box<Event>)>,
}

impl EventSender {
    /// Sends to `queue` as `speaker`'s direction. Events are boxed, since a queue has room for 32 of them even when it is empty.
    pub fn new(speaker: Speaker, queue: mpsc::Sender<(Speaker, Box<Event>)>) -> Self {
        Self { speaker, queue }
    }

    /// Sends one event, waiting while the queue is full. Returns false once the call is gone: stop working then.
    pub async fn send(&self, event: Event) -> bool {
        self.queue.send((self.speaker, Box::new(event))).await.is_ok()
    }
}

/// One direction of one call. Dropping it ends it and frees what it holds.
pub trait Interpreter: Send {
    /// Takes the next audio, which follows what was pushed before without a gap. Never blocks, costs microseconds.
    fn push(&mut self, samples: &[i16]);

    /// No audio is coming for now: finish the utterance that is open. Answered with [`Event::Flushed`].
    fn flush(&mut self);
}

/// How well a direction works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Understands only what a phrase list gives it.
    PhrasesOnly,
    /// Understands free speech, roughly.
    Basic,
    /// Understands free speech well.
    Good,
}

impl Quality {
    /// The name that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PhrasesOnly => "phrases_only",
            Self::Basic => "basic",
            Self::Good => "good",
        }
    }
}

/// One direction that an engine can interpret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The primary language spoken; none for any.
    pub source: Option<String>,
    /// The primary language translated into; none for any.
    pub target: Option<String>,
    /// How well speech is understood.
    pub recognition: Quality,
    /// Whether the translation can be spoken.
    pub speech: bool,
}

/// Why an engine can't do something. The text is for the caller of the API: it names no path and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It does not do this language or pair.
    #[error("{0}")]
    Unsupported(String),
    /// It (or a part of it) is not there or not reachable; it may be later.
    #[error("{0}")]
    Unavailable(String),
    /// It has no room for another call now.
    #[error("{0}")]
    Overloaded(String),
    /// It broke on this piece of work.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
}

/// Something that makes interpreters.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its name in configuration and in `GET /v1/languages`.
    fn name(&self) -> &str;

    /// The directions it can interpret now, honestly; used to choose an engine and shown to clients.
    fn offers(&self) -> Vec<Offer>;

    /// Whether it can find out itself which language is spoken.
    fn detects_language(&self) -> bool {
        false
    }

    /// Makes the interpreter of one direction. May take as long as loading a model.
    ///
    /// # Errors
    /// Says why it can't.
    async fn open(&self, spec: DirectionSpec, events: EventSender) -> Result<Box<dyn Interpreter>, EngineError>;
}
