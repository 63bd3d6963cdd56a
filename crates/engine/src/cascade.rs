//! An interpreter made of three parts: voice activity → recognizer → translator → synthesizer.
//!
//! The caller's thread does only the voice activity detection, and only speech costs a message. Two tasks do the rest:
//! `listen` turns what the recognizer says into stable partials and starts the translation of every final text at once; `speak`
//! gives the results out in the order in which the utterances were spoken. So a slow translation delays the speech behind it,
//! never the audio, and at most [`TRANSLATIONS_MAX`] run at a time per direction. What must stay true: the events of an
//! utterance come in the order that [`Event`] promises, and each utterance that began ends in exactly one `Final` or `Discarded`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_audio::segment::{SegmentConfig, SegmentEvent, Segmenter};
use kallglot_core::language::LanguageTag;
use kallglot_core::session::Translation;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::interpreter::{DirectionSpec, Engine, EngineError, Event, EventSender, Interpreter, Offer, UtteranceId};
use crate::part::{
    RecognitionEvent, RecognitionSpec, Recognizer, RecognizerFactory, SpeechChunks, Synthesizer, Translator,
};
use crate::stable::StableText;

/// Recognised utterances of one direction whose translation or speech may be under way at a time.
pub const TRANSLATIONS_MAX: usize = 8;
/// Events of one recognizer that may wait.
const RECOGNITION_EVENTS_MAX: usize = 32;
/// Notes from the voice activity detector that may wait: two or three per utterance.
const NOTES_MAX: usize = 64;

/// How a cascade works.
#[derive(Debug, Clone)]
pub struct CascadeConfig {
    /// Voice activity and endpointing.
    pub segment: SegmentConfig,
    /// Longest that a translation may take before the text is given without one.
    pub translation_max_ms: u64,
    /// Longest wait for each chunk of speech.
    pub speech_chunk_max_ms: u64,
}

impl Default for CascadeConfig {
    fn default() -> Self {
        Self { segment: SegmentConfig::default(), translation_max_ms: 8_000, speech_chunk_max_ms: 8_000 }
    }
}

/// An engine of three parts.
pub struct Cascade {
    name: String,
    recognizer: Arc<dyn RecognizerFactory>,
    translator: Arc<dyn Translator>,
    synthesizer: Arc<dyn Synthesizer>,
    config: CascadeConfig,
}

impl Cascade {
    /// An engine called `name` of these parts.
    pub fn new(
        name: impl Into<String>,
        recognizer: Arc<dyn RecognizerFactory>,
        translator: Arc<dyn Translator>,
        synthesizer: Arc<dyn Synthesizer>,
        config: CascadeConfig,
    ) -> Self {
        Self { name: name.into(), recognizer, translator, synthesizer, config }
    }
}

#[async_trait]
impl Engine for Cascade {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offer> {
        let spoken = self.synthesizer.languages();
        let speaks = |language: &Option<String>| spoken.iter().any(|s| s.is_none() || s == language);
        let mut offers = Vec::new();
        for (heard, recognition) in self.recognizer.languages() {
            for (from, to) in self.translator.pairs() {
                // A side that says "any" takes the other side's language.
                let source = match (&heard, &from) {
                    (Some(heard), Some(from)) if heard != from => continue,
                    (Some(language), _) | (None, Some(language)) => Some(language.clone()),
                    (None, None) => None,
                };
                if source.is_some() && source == to {
                    continue;
                }
                offers.push(Offer { source, speech: speaks(&to), target: to, recognition });
            }
        }
        offers.sort_by(|a, b| (&a.source, &a.target).cmp(&(&b.source, &b.target)));
        offers.dedup();
        offers
    }

    fn detects_language(&self) -> bool {
        self.recognizer.detects_language()
    }

    async fn open(&self, spec: DirectionSpec, events: EventSender) -> Result<Box<dyn Interpreter>, EngineError> {
        let (recognition_sender, recognition) = mpsc::channel(RECOGNITION_EVENTS_MAX);
        let expectation = spec.source.as_ref().map(|language| spec.vocabulary.of(language)).unwrap_or_default();
        let recognition_spec = RecognitionSpec { language: spec.source.clone(), expectation };
        let recognizer = self.recognizer.open(recognition_spec, recognition_sender).await?;
        let (notes_sender, notes) = mpsc::channel(NOTES_MAX);
        let (spoken_sender, spoken) = mpsc::channel(TRANSLATIONS_MAX);
        let heard_ms = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        if let (Some(from), Some(to)) = (&spec.source, &spec.target) {
            let (translator, from, to) = (Arc::clone(&self.translator), from.clone(), to.clone());
            tasks.spawn(async move { translator.warm(&from, &to).await });
        }
        let listener = Listener {
            spec: Arc::new(spec),
            translator: Arc::clone(&self.translator),
            synthesizer: Arc::clone(&self.synthesizer),
            translation_max: Duration::from_millis(self.config.translation_max_ms),
            events: events.clone(),
            heard_ms: Arc::clone(&heard_ms),
            open: VecDeque::new(),
            flushes: 0,
            results: spoken_sender,
        };
        tasks.spawn(listener.run(recognition, notes));
        tasks.spawn(speak(spoken, events, Duration::from_millis(self.config.speech_chunk_max_ms)));
        Ok(Box::new(CascadeInterpreter {
            segmenter: Segmenter::new(&self.config.segment),
            recognizer,
            notes: notes_sender,
            heard_ms,
            heard_samples: 0,
            next: 0,
            current: None,
            _tasks: tasks,
        }))
    }
}

/// What the voice activity detector tells the listener, in order.
enum Note {
    Start { utterance: UtteranceId, start_ms: u64 },
    End { utterance: UtteranceId, end_ms: u64 },
    Flush,
}

struct CascadeInterpreter {
    segmenter: Segmenter,
    recognizer: Box<dyn Recognizer>,
    notes: mpsc::Sender<Note>,
    heard_ms: Arc<AtomicU64>,
    heard_samples: u64,
    next: UtteranceId,
    current: Option<UtteranceId>,
    /// Aborted when the interpreter is dropped.
    _tasks: JoinSet<()>,
}

impl CascadeInterpreter {
    fn on(
        event: SegmentEvent<'_>,
        recognizer: &mut dyn Recognizer,
        notes: &mpsc::Sender<Note>,
        next: &mut UtteranceId,
        current: &mut Option<UtteranceId>,
    ) {
        match event {
            SegmentEvent::Start { start_ms, .. } => {
                // Room for this utterance's end too, else it is not begun: nobody has listened for dozens of utterances.
                if notes.capacity() < 2 || notes.try_send(Note::Start { utterance: *next, start_ms }).is_err() {
                    tracing::warn!("an utterance was skipped: the engine is too far behind");
                    return;
                }
                recognizer.begin(*next);
                *current = Some(*next);
                *next += 1;
            }
            SegmentEvent::Audio(samples) => {
                if current.is_some() {
                    recognizer.push(samples);
                }
            }
            SegmentEvent::End { speech_end_ms, .. } => {
                if let Some(utterance) = current.take() {
                    let _ = notes.try_send(Note::End { utterance, end_ms: speech_end_ms });
                    recognizer.end();
                }
            }
        }
    }
}

impl Interpreter for CascadeInterpreter {
    fn push(&mut self, samples: &[i16]) {
        self.heard_samples += samples.len() as u64;
        self.heard_ms.store(self.heard_samples * 1000 / u64::from(crate::SAMPLE_RATE_HZ), Ordering::Relaxed);
        let Self { segmenter, recognizer, notes, next, current, .. } = self;
        segmenter.push(samples, &mut |event| Self::on(event, recognizer.as_mut(), notes, next, current));
    }

    fn flush(&mut self) {
        let Self { segmenter, recognizer, notes, next, current, .. } = self;
        segmenter.flush(&mut |event| Self::on(event, recognizer.as_mut(), notes, next, current));
        let _ = notes.try_send(Note::Flush);
    }
}

/// What becomes of an utterance, in order.
enum Spoken {
    Utterance { utterance: UtteranceId, outcome: AbortOnDrop },
    Nothing { utterance: UtteranceId, error: Option<EngineError> },
    Flush,
}

/// The final event of an utterance, and its speech.
struct Outcome {
    failed: Option<EngineError>,
    event: Event,
    speech: Option<SpeechChunks>,
}

struct OpenUtterance {
    utterance: UtteranceId,
    start_ms: u64,
    end_ms: Option<u64>,
    stable: StableText,
}

/// The task that turns recognition into partials and final texts.
struct Listener {
    spec: Arc<DirectionSpec>,
    translator: Arc<dyn Translator>,
    synthesizer: Arc<dyn Synthesizer>,
    translation_max: Duration,
    events: EventSender,
    heard_ms: Arc<AtomicU64>,
    open: VecDeque<OpenUtterance>,
    /// Flushes asked for and not yet answered.
    flushes: usize,
    results: mpsc::Sender<Spoken>,
}

impl Listener {
    async fn run(mut self, mut recognition: mpsc::Receiver<RecognitionEvent>, mut notes: mpsc::Receiver<Note>) {
        loop {
            // Notes first: an utterance is known before anything is said about it.
            let goes_on = tokio::select! {
                biased;
                note = notes.recv() => match note {
                    Some(note) => self.note(note).await,
                    None => false,
                },
                event = recognition.recv() => match event {
                    Some(event) => self.recognised(event).await,
                    None => {
                        self.recognizer_gone().await;
                        false
                    }
                },
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn note(&mut self, note: Note) -> bool {
        match note {
            Note::Start { utterance, start_ms } => {
                self.open.push_back(OpenUtterance { utterance, start_ms, end_ms: None, stable: StableText::default() });
                true
            }
            Note::End { utterance, end_ms } => {
                if let Some(open) = self.open.iter_mut().find(|open| open.utterance == utterance) {
                    open.end_ms = Some(end_ms);
                }
                self.events.send(Event::Endpoint { utterance, end_ms }).await
            }
            Note::Flush => {
                self.flushes += 1;
                self.answer_flushes().await
            }
        }
    }

    async fn recognised(&mut self, event: RecognitionEvent) -> bool {
        match event {
            RecognitionEvent::Partial { utterance, text } => {
                let heard_ms = self.heard_ms.load(Ordering::Relaxed);
                let Some(language) = self.spec.source.clone() else { return true };
                let Some(open) = self.open.iter_mut().find(|open| open.utterance == utterance) else { return true };
                let Some(text) = open.stable.hear(&text) else { return true };
                let (start_ms, end_ms) = (open.start_ms, open.end_ms.unwrap_or(heard_ms));
                self.events.send(Event::Partial { utterance, language, text, start_ms, end_ms, confidence: 0.5 }).await
            }
            RecognitionEvent::Final { utterance, text, language, confidence } => {
                let Some(open) = self.take(utterance) else { return true };
                let language = language.or_else(|| self.spec.source.clone());
                let text = text.trim().to_owned();
                let spoken = match (text.is_empty(), language) {
                    (true, _) => Spoken::Nothing { utterance, error: None },
                    (false, None) => Spoken::Nothing {
                        utterance,
                        error: Some(EngineError::Failed("The language of an utterance was not recognised.".into())),
                    },
                    (false, Some(language)) => self.translate(open, language, text, confidence),
                };
                self.results.send(spoken).await.is_ok() && self.answer_flushes().await
            }
            RecognitionEvent::Failed { utterance, error } => {
                if self.take(utterance).is_none() {
                    return true;
                }
                self.results.send(Spoken::Nothing { utterance, error: Some(error) }).await.is_ok()
                    && self.answer_flushes().await
            }
        }
    }

    fn take(&mut self, utterance: UtteranceId) -> Option<OpenUtterance> {
        let index = self.open.iter().position(|open| open.utterance == utterance)?;
        self.open.remove(index)
    }

    fn translate(&self, open: OpenUtterance, language: LanguageTag, text: String, confidence: f32) -> Spoken {
        let (spec, translator, synthesizer) =
            (Arc::clone(&self.spec), Arc::clone(&self.translator), Arc::clone(&self.synthesizer));
        let translation_max = self.translation_max;
        let end_ms = open.end_ms.unwrap_or_else(|| self.heard_ms.load(Ordering::Relaxed));
        let (utterance, start_ms) = (open.utterance, open.start_ms);
        let outcome = tokio::spawn(async move {
            let mut failed = None;
            let mut speech = None;
            let mut translation = None;
            if let Some(target) = &spec.target {
                let work = translator.translate(&text, &language, target);
                match tokio::time::timeout(translation_max, work).await {
                    Ok(Ok(translated)) => {
                        translation = Some(Translation { language: target.clone(), text: translated })
                    }
                    Ok(Err(error)) => failed = Some(error),
                    Err(_) => {
                        failed = Some(EngineError::TimedOut("The translation of an utterance took too long.".into()))
                    }
                }
            }
            if let (true, Some(translation)) = (spec.speak, &translation) {
                let work = synthesizer.synthesize(&translation.text, &translation.language, spec.voice.as_deref());
                match tokio::time::timeout(translation_max, work).await {
                    Ok(Ok(chunks)) => speech = Some(chunks),
                    Ok(Err(error)) => failed = Some(error),
                    Err(_) => failed = Some(EngineError::TimedOut("Speaking a translation took too long.".into())),
                }
            }
            let event = Event::Final { utterance, language, text, translation, start_ms, end_ms, confidence };
            Outcome { failed, event, speech }
        });
        Spoken::Utterance { utterance, outcome: AbortOnDrop(outcome) }
    }

    async fn answer_flushes(&mut self) -> bool {
        while self.flushes > 0 && self.open.is_empty() {
            self.flushes -= 1;
            if self.results.send(Spoken::Flush).await.is_err() {
                return false;
            }
        }
        true
    }

    /// The recognizer hung up: what was open is lost and nothing more will come.
    async fn recognizer_gone(&mut self) {
        for open in std::mem::take(&mut self.open) {
            let _ = self.results.send(Spoken::Nothing { utterance: open.utterance, error: None }).await;
        }
        self.answer_flushes().await;
        let error = EngineError::Unavailable("Speech recognition stopped and did not come back.".into());
        self.events.send(Event::Failed { error, fatal: true }).await;
    }
}

/// The task that gives out final texts and speech in the order in which they were spoken.
async fn speak(mut spoken: mpsc::Receiver<Spoken>, events: EventSender, chunk_max: Duration) {
    while let Some(next) = spoken.recv().await {
        let alive = match next {
            Spoken::Flush => events.send(Event::Flushed).await,
            Spoken::Nothing { utterance, error } => {
                if let Some(error) = error {
                    events.send(Event::Failed { error, fatal: false }).await;
                }
                events.send(Event::Discarded { utterance }).await
            }
            Spoken::Utterance { utterance, outcome } => speak_one(utterance, outcome, &events, chunk_max).await,
        };
        if !alive {
            return;
        }
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(JoinHandle<Outcome>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn speak_one(
    utterance: UtteranceId,
    mut outcome: AbortOnDrop,
    events: &EventSender,
    chunk_max: Duration,
) -> bool {
    let Ok(Outcome { failed, event, speech }) = (&mut outcome.0).await else {
        let error = EngineError::Failed("An utterance was lost to an internal failure of the engine.".into());
        events.send(Event::Failed { error, fatal: false }).await;
        return events.send(Event::Discarded { utterance }).await;
    };
    if let Some(error) = failed {
        events.send(Event::Failed { error, fatal: false }).await;
    }
    if !events.send(event).await {
        return false;
    }
    let Some(mut chunks) = speech else { return events.send(Event::SpeechDone { utterance }).await };
    loop {
        match tokio::time::timeout(chunk_max, chunks.recv()).await {
            Ok(Some(Ok(samples))) => {
                if !events.send(Event::Speech { utterance, samples }).await {
                    return false;
                }
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                events.send(Event::Failed { error, fatal: false }).await;
                break;
            }
            Err(_) => {
                let error = EngineError::TimedOut("Speaking a translation took too long.".into());
                events.send(Event::Failed { error, fatal: false }).await;
                break;
            }
        }
    }
    events.send(Event::SpeechDone { utterance }).await
}
