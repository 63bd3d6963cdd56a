//! Synthesis: one worker process speaks for all calls, one piece of text at a time, a thousand times faster than it is heard.
//!
//! What must stay true: a listener that takes its audio slowly holds up nobody else (a piece of text is bounded, so its audio is
//! too); a listener that has gone costs at most the piece that is being spoken; a worker that dies or hangs costs one piece.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::language::LanguageTag;
use kallglot_engine::{EngineError, SpeechChunks, Synthesizer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::espeak_data::EspeakData;
use crate::frame::Frame;
use crate::process::{Gone, WorkerCommand, WorkerProcess};
use crate::protocol::{FromSynthesizer, ToSynthesizer};
use crate::respawn::Respawn;
use crate::text;
use crate::worker::WorkerKind;

/// Longest text: some five minutes of speech.
const TEXT_CHARS_MAX: usize = 5_000;
/// Longest text that is spoken at once; a fair turn when several calls speak.
const PIECE_BYTES_MAX: usize = 300;
/// Chunks of one piece that may wait for a slow listener: more than a piece has (300 digits are three minutes of 50 ms chunks).
const PIECE_CHUNKS_MAX: usize = 4_096;
/// Chunks between the piece and the listener.
const CHUNKS_MAX: usize = 16;
/// Longest that the worker may take to load.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long the list of voices is read again, since packages may have come or gone.
const VOICES_AGE_MAX: Duration = Duration::from_secs(60);

/// How synthesis is set up.
#[derive(Debug, Clone)]
pub struct SynthesisConfig {
    /// Pieces of text that may wait for their turn. Default 64.
    pub queue_pieces_max: usize,
    /// How long one piece may take. It takes a few ms. Default 5 s.
    pub timeout: Duration,
}

impl Default for SynthesisConfig {
    fn default() -> Self {
        Self { queue_pieces_max: 64, timeout: Duration::from_secs(5) }
    }
}

/// Speaks with espeak-ng.
#[derive(Debug)]
pub struct Espeak {
    pieces: mpsc::Sender<Piece>,
    voices: Mutex<(Arc<EspeakData>, Instant)>,
    _ends_worker: DropGuard,
}

#[derive(Debug)]
struct Piece {
    text: String,
    voice: String,
    audio: mpsc::Sender<Result<Vec<i16>, EngineError>>,
}

impl Espeak {
    /// Starts the worker in the background. Must be called within a tokio runtime.
    pub fn new(command: WorkerCommand, config: SynthesisConfig) -> Self {
        let alive = CancellationToken::new();
        let (pieces, queue) = mpsc::channel(config.queue_pieces_max);
        let speaker = Speaker { command, queue, timeout: config.timeout, worker: None, respawn: Respawn::default() };
        let ended = alive.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = speaker.run() => {}
            }
        });
        let voices = Mutex::new((Arc::new(EspeakData::installed()), Instant::now()));
        Self { pieces, voices, _ends_worker: alive.drop_guard() }
    }

    fn voices(&self) -> Arc<EspeakData> {
        let mut voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        if voices.1.elapsed() > VOICES_AGE_MAX {
            *voices = (Arc::new(EspeakData::installed()), Instant::now());
        }
        Arc::clone(&voices.0)
    }
}

#[async_trait]
impl Synthesizer for Espeak {
    fn languages(&self) -> Vec<Option<String>> {
        self.voices().languages().into_iter().map(Some).collect()
    }

    async fn synthesize(
        &self,
        text: &str,
        language: &LanguageTag,
        voice: Option<&str>,
    ) -> Result<SpeechChunks, EngineError> {
        let voice = self
            .voices()
            .voice(language, voice)
            .ok_or_else(|| EngineError::Unsupported(format!("{} can't be spoken here", language.primary())))?;
        if text.chars().nth(TEXT_CHARS_MAX).is_some() {
            return Err(EngineError::Failed(format!("a text of more than {TEXT_CHARS_MAX} characters is not spoken")));
        }
        let (listener, chunks) = mpsc::channel(CHUNKS_MAX);
        let mut texts = text::sentences(text).into_iter().flat_map(|sentence| text::pieces(sentence, PIECE_BYTES_MAX));
        let Some(first) = texts.next() else { return Ok(chunks) };
        let later: Vec<String> = texts.map(str::to_owned).collect();
        let (audio, spoken) = mpsc::channel(PIECE_CHUNKS_MAX);
        let piece = Piece { text: first.to_owned(), voice: voice.clone(), audio };
        self.pieces.try_send(piece).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::Overloaded("too many texts wait to be spoken".into()),
            mpsc::error::TrySendError::Closed(_) => {
                EngineError::Unavailable("the synthesizer has been shut down".into())
            }
        })?;
        tokio::spawn(pass_on(self.pieces.clone().downgrade(), spoken, later, voice, listener));
        Ok(chunks)
    }
}

/// Gives one listener its audio, piece after piece; stops when it has gone.
async fn pass_on(
    pieces: mpsc::WeakSender<Piece>,
    mut spoken: mpsc::Receiver<Result<Vec<i16>, EngineError>>,
    later: Vec<String>,
    voice: String,
    listener: mpsc::Sender<Result<Vec<i16>, EngineError>>,
) {
    let mut later = later.into_iter();
    loop {
        loop {
            let chunk = tokio::select! {
                chunk = spoken.recv() => chunk,
                () = listener.closed() => return,
            };
            let Some(chunk) = chunk else { break };
            let failed = chunk.is_err();
            if listener.send(chunk).await.is_err() || failed {
                return;
            }
        }
        let Some(text) = later.next() else { return };
        let (audio, next) = mpsc::channel(PIECE_CHUNKS_MAX);
        spoken = next;
        let Some(pieces) = pieces.upgrade() else { return };
        // A text that has begun waits for its turn; new ones are refused while the queue is full.
        let queued = tokio::select! {
            queued = pieces.send(Piece { text, voice: voice.clone(), audio }) => queued,
            () = listener.closed() => return,
        };
        if queued.is_err() {
            return;
        }
    }
}

/// The task that feeds the worker.
struct Speaker {
    command: WorkerCommand,
    queue: mpsc::Receiver<Piece>,
    timeout: Duration,
    worker: Option<WorkerProcess>,
    respawn: Respawn,
}

impl Speaker {
    async fn run(mut self) {
        // The first text should not wait for the library to be loaded. What is wrong, the first text will be told.
        let _ = self.start_worker().await;
        while let Some(piece) = self.next_piece().await {
            if piece.audio.is_closed() {
                continue;
            }
            if let Err(error) = self.speak(&piece).await {
                // A listener that has gone needs no error.
                let _ = piece.audio.try_send(Err(error));
            }
        }
    }

    /// The next piece; replaces a worker that dies while there is nothing to do.
    async fn next_piece(&mut self) -> Option<Piece> {
        loop {
            let Some(worker) = &mut self.worker else { return self.queue.recv().await };
            tokio::select! {
                piece = self.queue.recv() => return piece,
                step = worker.step() => {
                    let gone = match step {
                        Ok(None) => continue,
                        Ok(Some(_)) => Gone::Garbled(crate::frame::Garbled::Message),
                        Err(gone) => gone,
                    };
                    self.worker_died(gone);
                    if self.respawn.may_start(Instant::now()) {
                        let _ = self.start_worker().await;
                    }
                }
            }
        }
    }

    fn worker_died(&mut self, gone: Gone) {
        tracing::warn!(%gone, "the synthesizer died");
        self.worker = None;
        self.respawn.died(Instant::now());
    }

    async fn start_worker(&mut self) -> Result<(), EngineError> {
        if !self.respawn.may_start(Instant::now()) {
            return Err(EngineError::Unavailable(
                "the synthesizer keeps failing; it will be tried again shortly".into(),
            ));
        }
        let started = async {
            let mut worker = WorkerProcess::spawn(&self.command, WorkerKind::Synthesize, None)?;
            let ready = async {
                loop {
                    if let Some(frame) = worker.step().await? {
                        return frame.message::<FromSynthesizer>().map_err(Gone::from);
                    }
                }
            };
            match tokio::time::timeout(OPEN_TIMEOUT, ready).await {
                Ok(Ok(FromSynthesizer::Ready)) => Ok(worker),
                Ok(Ok(FromSynthesizer::Refused { reason })) => Err(EngineError::Unavailable(reason)),
                Ok(_) => Err(EngineError::Unavailable("the synthesizer can't be started".into())),
                Err(_) => Err(EngineError::TimedOut("the synthesizer takes too long to start".into())),
            }
        };
        match started.await {
            Ok(worker) => {
                self.worker = Some(worker);
                Ok(())
            }
            Err(error) => {
                self.respawn.died(Instant::now());
                Err(error)
            }
        }
    }

    async fn speak(&mut self, piece: &Piece) -> Result<(), EngineError> {
        if self.worker.is_none() {
            self.start_worker().await?;
        }
        let Some(worker) = &mut self.worker else {
            return Err(EngineError::Unavailable("the synthesizer can't be started".into()));
        };
        worker.put(&ToSynthesizer::Speak { text: piece.text.clone(), voice: piece.voice.clone() });
        let spoken = async {
            loop {
                let Some(frame) = worker.step().await? else { continue };
                if let Frame::Audio(samples) = frame {
                    match piece.audio.try_send(Ok(samples)) {
                        // The rest of a piece that nobody listens to is made and dropped: that takes milliseconds.
                        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                        Err(mpsc::error::TrySendError::Full(_)) => {
                            tracing::warn!("a piece of speech was longer than it can be");
                        }
                    }
                    continue;
                }
                match frame.message::<FromSynthesizer>()? {
                    FromSynthesizer::Done => return Ok(Ok(())),
                    FromSynthesizer::Failed { reason } => return Ok(Err(EngineError::Failed(reason))),
                    FromSynthesizer::Ready | FromSynthesizer::Refused { .. } => {
                        return Err(Gone::Garbled(crate::frame::Garbled::Message));
                    }
                }
            }
        };
        match tokio::time::timeout(self.timeout, spoken).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(gone)) => {
                self.worker_died(gone);
                Err(EngineError::Failed("the synthesizer broke on this text".into()))
            }
            Err(_) => {
                tracing::warn!("the synthesizer hangs");
                self.worker = None;
                self.respawn.died(Instant::now());
                Err(EngineError::TimedOut("the synthesizer took too long for this text".into()))
            }
        }
    }
}
