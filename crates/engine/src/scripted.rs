//! The engine of tests and of media benchmarks: it hears what its script says, translates by putting the language in front, and
//! speaks a tone. Voice activity, endpointing and all that follows are real.

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::language::LanguageTag;
use tokio::sync::mpsc;

use crate::cascade::{Cascade, CascadeConfig};
use crate::interpreter::{EngineError, Quality, UtteranceId};
use crate::part::{
    RecognitionEvent, RecognitionEventSender, RecognitionSpec, Recognizer, RecognizerFactory, SpeechChunks,
    Synthesizer, Translator,
};

/// Commands to one scripted recognizer that may wait.
const COMMANDS_MAX: usize = 256;

/// What the engine does.
#[derive(Debug, Clone)]
pub struct Script {
    /// What is heard in each primary language, one entry per utterance, from the start again after the last. A language without
    /// entries hears `utterance 1`, `utterance 2` and so on.
    pub utterances: BTreeMap<String, Vec<String>>,
    /// A partial with one more word comes each time this much speech was heard.
    pub partial_every_ms: u32,
    /// From the end of an utterance to its text.
    pub recognition_delay_ms: u64,
    /// How long a translation takes.
    pub translation_delay_ms: u64,
    /// How long the spoken translation of one character is.
    pub speech_ms_per_character: u32,
    /// What goes wrong, switched while it runs.
    pub faults: Arc<Faults>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            utterances: BTreeMap::new(),
            partial_every_ms: 200,
            recognition_delay_ms: 0,
            translation_delay_ms: 0,
            speech_ms_per_character: 50,
            faults: Arc::default(),
        }
    }
}

/// What goes wrong, for tests of what a call does then.
#[derive(Debug, Default)]
pub struct Faults {
    /// No recognizer can be made.
    pub unavailable: AtomicBool,
    /// Every utterance fails in recognition.
    pub recognition_fails: AtomicBool,
    /// Every translation fails.
    pub translation_fails: AtomicBool,
    /// No translation ever comes back.
    pub translation_hangs: AtomicBool,
}

/// The scripted engine, as a cascade of its three parts.
pub fn engine(script: Script, config: CascadeConfig) -> Cascade {
    let script = Arc::new(Scripted::new(script));
    Cascade::new("scripted", script.clone(), script.clone(), script, config)
}

/// All three parts.
pub struct Scripted(Script);

impl Scripted {
    /// The parts that follow `script`.
    pub fn new(script: Script) -> Self {
        Self(script)
    }
}

enum Command {
    Partial { utterance: UtteranceId, words: usize },
    Final { utterance: UtteranceId },
}

struct ScriptedRecognizer {
    commands: mpsc::Sender<Command>,
    partial_every_samples: usize,
    utterance: UtteranceId,
    heard_samples: usize,
    words: usize,
}

impl Recognizer for ScriptedRecognizer {
    fn begin(&mut self, utterance: UtteranceId) {
        (self.utterance, self.heard_samples, self.words) = (utterance, 0, 0);
    }

    fn push(&mut self, samples: &[i16]) {
        self.heard_samples += samples.len();
        if self.heard_samples >= (self.words + 1) * self.partial_every_samples {
            self.words += 1;
            let _ = self.commands.try_send(Command::Partial { utterance: self.utterance, words: self.words });
        }
    }

    fn end(&mut self) {
        let _ = self.commands.try_send(Command::Final { utterance: self.utterance });
    }
}

impl Script {
    fn text(&self, language: &str, utterance: UtteranceId) -> String {
        match self.utterances.get(language) {
            Some(texts) if !texts.is_empty() => texts[utterance as usize % texts.len()].clone(),
            _ => format!("utterance {}", utterance + 1),
        }
    }
}

#[async_trait]
impl RecognizerFactory for Scripted {
    fn languages(&self) -> Vec<(Option<String>, Quality)> {
        vec![(None, Quality::Good)]
    }

    async fn open(
        &self,
        spec: RecognitionSpec,
        events: RecognitionEventSender,
    ) -> Result<Box<dyn Recognizer>, EngineError> {
        let script = self.0.clone();
        if script.faults.unavailable.load(Ordering::SeqCst) {
            return Err(EngineError::Unavailable("The scripted engine was told to be unavailable.".into()));
        }
        let language =
            spec.language.ok_or_else(|| EngineError::Unsupported("The scripted engine detects no language.".into()))?;
        let (sender, mut commands) = mpsc::channel(COMMANDS_MAX);
        let partial_every_samples = (script.partial_every_ms.max(1) * crate::SAMPLE_RATE_HZ / 1000) as usize;
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let event = match command {
                    Command::Partial { utterance, words } => {
                        let text = script.text(language.primary(), utterance);
                        RecognitionEvent::Partial {
                            utterance,
                            text: text.split(' ').take(words).collect::<Vec<_>>().join(" "),
                        }
                    }
                    Command::Final { utterance } => {
                        if script.recognition_delay_ms > 0 {
                            tokio::time::sleep(Duration::from_millis(script.recognition_delay_ms)).await;
                        }
                        if script.faults.recognition_fails.load(Ordering::SeqCst) {
                            let error = EngineError::Failed("The scripted recognizer was told to fail.".into());
                            RecognitionEvent::Failed { utterance, error }
                        } else {
                            let text = script.text(language.primary(), utterance);
                            RecognitionEvent::Final { utterance, text, language: None, confidence: 1.0 }
                        }
                    }
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::new(ScriptedRecognizer {
            commands: sender,
            partial_every_samples,
            utterance: 0,
            heard_samples: 0,
            words: 0,
        }))
    }
}

#[async_trait]
impl Translator for Scripted {
    fn pairs(&self) -> Vec<(Option<String>, Option<String>)> {
        vec![(None, None)]
    }

    async fn translate(&self, text: &str, _from: &LanguageTag, to: &LanguageTag) -> Result<String, EngineError> {
        if self.0.faults.translation_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.translation_delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.0.translation_delay_ms)).await;
        }
        if self.0.faults.translation_fails.load(Ordering::SeqCst) {
            return Err(EngineError::Failed("The scripted translator was told to fail.".into()));
        }
        Ok(format!("[{}] {text}", to.primary()))
    }
}

#[async_trait]
impl Synthesizer for Scripted {
    fn languages(&self) -> Vec<Option<String>> {
        vec![None]
    }

    async fn synthesize(
        &self,
        text: &str,
        _language: &LanguageTag,
        _voice: Option<&str>,
    ) -> Result<SpeechChunks, EngineError> {
        let samples = text.chars().count() * (self.0.speech_ms_per_character * crate::SAMPLE_RATE_HZ / 1000) as usize;
        let (sender, chunks) = mpsc::channel(1);
        let tone =
            (0..samples).map(|n| ((n as f32 * TAU * 440.0 / crate::SAMPLE_RATE_HZ as f32).sin() * 8_000.0) as i16);
        // The channel is new and has room for one.
        let _ = sender.try_send(Ok(tone.collect()));
        Ok(chunks)
    }
}
