//! Recognition: one worker process per direction of a call, and a few loaded spares so that a call need not wait for a model.
//!
//! A worker is ended with its direction and never used for another one: the decoder adapts to its speaker's voice and line, which
//! would spoil the first words of the next caller; a fresh process costs a quarter of a second, which the spares hide; and what a
//! caller said can't reach another.
//!
//! What must stay true: at most `recognizers_max` directions and `spares_max` spares; a worker that dies or hangs costs the
//! utterance that it was at.

mod driver;
mod queue;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_engine::{
    EngineError, Quality, RecognitionEventSender, RecognitionSpec, Recognizer, RecognizerFactory, SAMPLE_RATE_HZ,
    UtteranceId,
};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::espeak_data;
use crate::process::{WorkerCommand, WorkerProcess};
use crate::protocol::{FromRecognizer, RecognizerSetup, ToRecognizer};
use crate::respawn::Respawn;
use crate::text::restore::Restorer;
use crate::worker::WorkerKind;
use driver::Driver;
use queue::Queue;

/// Longest that loading a model may take, on a busy machine with a cold disk.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// After how long the list of languages is made again, since packages may have come or gone.
const SURVEY_AGE_MAX: Duration = Duration::from_secs(60);
/// How many setups are remembered to find out which ones are common.
const ASKED_MAX: usize = 8;
/// How often it is tried to remove the workers' temporary folder: some milliseconds in all.
const REMOVALS_MAX: usize = 500;
/// Where Debian's general English model is.
const ENGLISH_MODEL: &str = "/usr/share/pocketsphinx/model/en-us/en-us.lm.bin";

/// How recognition is set up.
#[derive(Debug, Clone)]
pub struct RecognitionConfig {
    /// Directions of calls at a time. A worker takes about 100 MB, and between a tenth and a third of a core while someone speaks.
    pub recognizers_max: usize,
    /// Loaded workers in reserve, for what was asked for last. Default 2.
    pub spares_max: usize,
    /// Primary languages to have a spare for from the start. Default English.
    pub warm: Vec<String>,
    /// How much audio of one direction may wait for its worker. Default 30 s.
    pub queue_ms_max: u32,
    /// After how long without progress a worker counts as hung. Default 5 s.
    pub stall: Duration,
    /// After how long a spare that nobody needed is ended, unless it is for a language in `warm`. Default 5 minutes.
    pub spare_idle: Duration,
}

impl Default for RecognitionConfig {
    fn default() -> Self {
        Self {
            recognizers_max: recognizers_that_fit(),
            spares_max: 2,
            warm: vec!["en".to_owned()],
            queue_ms_max: 30_000,
            stall: Duration::from_secs(5),
            spare_idle: Duration::from_secs(300),
        }
    }
}

/// Four directions per core (half of them silent at a time), and no more than half of the memory that is free.
fn recognizers_that_fit() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available_kb = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<usize>().ok())
        .unwrap_or(2_000_000);
    (cores * 4).min(available_kb / 2 / 100_000).max(2)
}

/// Makes recognizers of pocketsphinx.
#[derive(Debug)]
pub struct Sphinx {
    shared: Arc<Shared>,
    _ends_workers: DropGuard,
}

#[derive(Debug)]
struct Shared {
    start: Arc<Start>,
    config: RecognitionConfig,
    room: Arc<Semaphore>,
    spares: Mutex<VecDeque<Spare>>,
    spares_made: AtomicU64,
    /// What was asked for lately, last one last: what is asked for again gets a spare.
    asked: Mutex<VecDeque<RecognizerSetup>>,
    survey: Mutex<Survey>,
    /// Of spares and surveys; each direction has its own.
    respawn: Mutex<Respawn>,
    alive: CancellationToken,
}

/// What it takes to start a worker.
#[derive(Debug)]
struct Start {
    command: WorkerCommand,
    /// Where workers put temporary files; none when it can't be made, then they go where the system puts such files.
    scratch: Option<TempDir>,
}

#[derive(Debug)]
struct Spare {
    setup: RecognizerSetup,
    worker: WorkerProcess,
    number: u64,
}

#[derive(Debug)]
struct Survey {
    languages: Vec<(String, bool)>,
    made: Option<Instant>,
    running: bool,
}

impl Sphinx {
    /// Starts loading the spares in the background. Must be called within a tokio runtime.
    pub fn new(command: WorkerCommand, config: RecognitionConfig) -> Self {
        let alive = CancellationToken::new();
        let scratch = tempfile::Builder::new().prefix("kallglot-recognition-").tempdir().ok();
        let shared = Arc::new(Shared {
            start: Arc::new(Start { command, scratch }),
            room: Arc::new(Semaphore::new(config.recognizers_max)),
            spares: Mutex::default(),
            spares_made: AtomicU64::new(0),
            asked: Mutex::default(),
            survey: Mutex::new(Survey { languages: installed_languages(), made: None, running: false }),
            respawn: Mutex::default(),
            alive: alive.clone(),
            config,
        });
        shared.survey_if_old();
        for language in &shared.config.warm {
            shared.refill(RecognizerSetup {
                language: language.clone(),
                phrases: Vec::new(),
                words: Vec::new(),
                phrases_only: false,
            });
        }
        Self { shared, _ends_workers: alive.drop_guard() }
    }
}

#[async_trait]
impl RecognizerFactory for Sphinx {
    fn languages(&self) -> Vec<(Option<String>, Quality)> {
        self.shared.survey_if_old();
        let survey = lock(&self.shared.survey);
        let quality = |free: bool| if free { Quality::Basic } else { Quality::PhrasesOnly };
        survey.languages.iter().map(|(language, free)| (Some(language.clone()), quality(*free))).collect()
    }

    async fn open(
        &self,
        spec: RecognitionSpec,
        events: RecognitionEventSender,
    ) -> Result<Box<dyn Recognizer>, EngineError> {
        let language = spec
            .language
            .ok_or_else(|| EngineError::Unsupported("this engine can't find out which language is spoken".into()))?;
        let language = language.primary().to_owned();
        let free = {
            let survey = lock(&self.shared.survey);
            survey.languages.iter().find(|(known, _)| *known == language).map(|(_, free)| *free)
        };
        let expected = &spec.expectation;
        match free {
            None => return Err(EngineError::Unsupported(format!("speech in {language} is not understood here"))),
            Some(false) if expected.phrases.is_empty() && expected.words.is_empty() => {
                return Err(EngineError::Unsupported(format!(
                    "speech in {language} is understood only with a list of the phrases to expect"
                )));
            }
            Some(_) => {}
        }
        let room = Arc::clone(&self.shared.room).try_acquire_owned().map_err(|_| {
            EngineError::Overloaded(format!(
                "all {} recognizers of this server are in use",
                self.shared.config.recognizers_max
            ))
        })?;
        let restorer = Restorer::new(&language, expected.words.iter().chain(&expected.phrases).map(String::as_str));
        let setup = RecognizerSetup {
            language,
            phrases: spec.expectation.phrases,
            words: spec.expectation.words,
            phrases_only: spec.expectation.phrases_only,
        };
        let worker = self.shared.worker(&setup).await?;
        let line = Arc::new(Line {
            queue: Mutex::new(Queue::new(self.shared.config.queue_ms_max as usize * (SAMPLE_RATE_HZ as usize / 1_000))),
            changed: Notify::new(),
            closed: CancellationToken::new(),
        });
        let driver = Driver::new(Arc::clone(&self.shared), setup, restorer, Arc::clone(&line), events, worker);
        let ended = (self.shared.alive.clone(), line.closed.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.0.cancelled() => {}
                () = ended.1.cancelled() => {}
                () = driver.run() => {}
            }
            drop(room);
        });
        Ok(Box::new(SphinxRecognizer { line }))
    }
}

/// What a recognizer and its driver share.
#[derive(Debug)]
struct Line {
    queue: Mutex<Queue>,
    changed: Notify,
    closed: CancellationToken,
}

/// One direction of one call.
#[derive(Debug)]
struct SphinxRecognizer {
    line: Arc<Line>,
}

impl SphinxRecognizer {
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut lock(&self.line.queue));
        self.line.changed.notify_one();
    }
}

impl Recognizer for SphinxRecognizer {
    fn begin(&mut self, utterance: UtteranceId) {
        self.change(|queue| queue.begin(utterance));
    }

    fn push(&mut self, samples: &[i16]) {
        self.change(|queue| queue.push(samples));
    }

    fn end(&mut self) {
        self.change(Queue::end);
    }
}

impl Drop for SphinxRecognizer {
    fn drop(&mut self) {
        self.line.closed.cancel();
    }
}

impl Shared {
    /// A loaded worker: a spare, else a new one.
    async fn worker(self: &Arc<Self>, setup: &RecognizerSetup) -> Result<WorkerProcess, EngineError> {
        let worker = match self.take_spare(setup) {
            Some(worker) => worker,
            None => load(&self.start, setup).await?,
        };
        if self.is_common(setup) {
            self.refill(setup.clone());
        }
        Ok(worker)
    }

    /// Whether a spare would probably be needed: for general recognition, and for a vocabulary that was asked for lately.
    fn is_common(&self, setup: &RecognizerSetup) -> bool {
        let mut asked = lock(&self.asked);
        let again = asked.contains(setup);
        asked.retain(|known| known != setup);
        if asked.len() >= ASKED_MAX {
            asked.pop_front();
        }
        asked.push_back(setup.clone());
        again || (setup.phrases.is_empty() && setup.words.is_empty())
    }

    fn take_spare(&self, setup: &RecognizerSetup) -> Option<WorkerProcess> {
        let mut spares = lock(&self.spares);
        while let Some(index) = spares.iter().position(|spare| spare.setup == *setup) {
            if let Some(mut spare) = spares.remove(index)
                && spare.worker.runs()
            {
                return Some(spare.worker);
            }
        }
        None
    }

    /// Loads a spare in the background, in the place of the one that was needed longest ago.
    fn refill(self: &Arc<Self>, setup: RecognizerSetup) {
        if self.config.spares_max == 0 || !lock(&self.respawn).may_start(Instant::now()) {
            return;
        }
        let shared = Arc::downgrade(self);
        let (start, alive) = (Arc::clone(&self.start), self.alive.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = alive.cancelled() => {}
                () = keep_spare(shared, &start, setup) => {}
            }
        });
    }

    fn put_spare(&self, setup: RecognizerSetup, worker: WorkerProcess) -> u64 {
        let number = self.spares_made.fetch_add(1, Ordering::Relaxed);
        let mut spares = lock(&self.spares);
        spares.retain(|spare| spare.setup != setup);
        if spares.len() >= self.config.spares_max {
            spares.pop_front();
        }
        spares.push_back(Spare { setup, worker, number });
        number
    }

    /// Asks a worker, in the background, which languages can be understood: finding out loads the libraries.
    fn survey_if_old(self: &Arc<Self>) {
        let mut survey = lock(&self.survey);
        if survey.running || survey.made.is_some_and(|made| made.elapsed() < SURVEY_AGE_MAX) {
            return;
        }
        survey.running = true;
        drop(survey);
        let (shared, start, alive) = (Arc::downgrade(self), Arc::clone(&self.start), self.alive.clone());
        tokio::spawn(async move {
            let languages = tokio::select! {
                () = alive.cancelled() => return,
                languages = ask_languages(&start) => languages,
            };
            let Some(shared) = shared.upgrade() else { return };
            let mut survey = lock(&shared.survey);
            survey.running = false;
            survey.made = Some(Instant::now());
            // Without an answer what was known stays.
            if let Ok(languages) = languages {
                survey.languages = languages;
            }
        });
    }
}

async fn keep_spare(shared: Weak<Shared>, start: &Start, setup: RecognizerSetup) {
    let loaded = load(start, &setup).await;
    let Some(shared) = shared.upgrade() else { return };
    let worker = match loaded {
        Ok(worker) => worker,
        Err(error) => {
            tracing::warn!(%error, language = setup.language, "no spare recognizer");
            lock(&shared.respawn).died(Instant::now());
            return;
        }
    };
    let general = setup.phrases.is_empty() && setup.words.is_empty();
    let stays = general && shared.config.warm.contains(&setup.language);
    let number = shared.put_spare(setup, worker);
    if stays {
        return;
    }
    let idle = shared.config.spare_idle;
    let shared = Arc::downgrade(&shared);
    tokio::time::sleep(idle).await;
    if let Some(shared) = shared.upgrade() {
        lock(&shared.spares).retain(|spare| spare.number != number);
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        let Some(scratch) = self.scratch.take() else { return };
        // A worker that is just being killed may still put a file into the folder or take one away while it is being emptied.
        let folder = scratch.keep();
        let _removed = (0..REMOVALS_MAX).any(|_| {
            let gone = std::fs::remove_dir_all(&folder).is_ok() || !folder.exists();
            if !gone {
                std::thread::yield_now();
            }
            gone
        });
    }
}

impl Start {
    fn worker(&self) -> Result<WorkerProcess, EngineError> {
        WorkerProcess::spawn(&self.command, WorkerKind::Recognize, self.scratch.as_ref().map(TempDir::path))
    }
}

/// Starts a worker and waits until it has loaded its models.
async fn load(start: &Start, setup: &RecognizerSetup) -> Result<WorkerProcess, EngineError> {
    let mut worker = start.worker()?;
    match ask(&mut worker, &ToRecognizer::Open(setup.clone())).await? {
        FromRecognizer::Ready => Ok(worker),
        FromRecognizer::Refused { reason } => Err(EngineError::Unavailable(reason)),
        _ => Err(EngineError::Unavailable("the recognizer can't be started".into())),
    }
}

async fn ask_languages(start: &Start) -> Result<Vec<(String, bool)>, EngineError> {
    let mut worker = start.worker()?;
    match ask(&mut worker, &ToRecognizer::Survey).await? {
        FromRecognizer::Languages { languages } => Ok(languages),
        _ => Err(EngineError::Unavailable("the recognizer can't be started".into())),
    }
}

/// Sends a first message and waits for its answer.
async fn ask(worker: &mut WorkerProcess, question: &ToRecognizer) -> Result<FromRecognizer, EngineError> {
    worker.put(question);
    let answer = async {
        loop {
            if let Some(frame) = worker.step().await? {
                return frame.message::<FromRecognizer>().map_err(crate::process::Gone::from);
            }
        }
    };
    match tokio::time::timeout(OPEN_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(gone)) => {
            tracing::warn!(%gone, "a recognizer could not be started");
            Err(EngineError::Unavailable("the recognizer can't be started".into()))
        }
        Err(_) => Err(EngineError::TimedOut("the recognizer takes too long to start".into())),
    }
}

/// What files say; good until a worker has found out more.
fn installed_languages() -> Vec<(String, bool)> {
    if !Path::new(ENGLISH_MODEL).exists() {
        return Vec::new();
    }
    let mut languages = vec![("en".to_owned(), true)];
    if espeak_data::library_installed() {
        languages.extend(["es", "fr", "it"].map(|language| (language.to_owned(), false)));
    }
    languages
}

/// Nothing that is done under these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
