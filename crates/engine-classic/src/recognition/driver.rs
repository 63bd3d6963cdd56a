//! The task of one direction: takes utterances from its queue to its worker and what the worker says back to the call.

use std::sync::Arc;

use kallglot_engine::{EngineError, RecognitionEvent, RecognitionEventSender, SAMPLE_RATE_HZ, UtteranceId};
use tokio::time::{Instant, timeout_at};

use super::queue::Next;
use super::{Line, Shared, lock};
use crate::frame::Frame;
use crate::process::{Gone, WorkerProcess};
use crate::protocol::{FromRecognizer, PROGRESS_SAMPLES, RecognizerSetup, ToRecognizer};
use crate::respawn::Respawn;
use crate::text::restore::Restorer;

/// How much audio a worker is given at a time.
const PIECE_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 2;
/// How much audio a worker may have taken without having worked through it. Less than it needs to report progress would be a
/// standstill; the rest waits in the queue, where it is counted.
const AHEAD_SAMPLES_MAX: usize = SAMPLE_RATE_HZ as usize * 2;

pub(super) struct Driver {
    shared: Arc<Shared>,
    setup: RecognizerSetup,
    restorer: Restorer,
    line: Arc<Line>,
    events: RecognitionEventSender,
    worker: Option<WorkerProcess>,
    respawn: Respawn,
}

struct Heard {
    text: String,
    confidence: f32,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        setup: RecognizerSetup,
        restorer: Restorer,
        line: Arc<Line>,
        events: RecognitionEventSender,
        worker: WorkerProcess,
    ) -> Self {
        Self { shared, setup, restorer, line, events, worker: Some(worker), respawn: Respawn::default() }
    }

    /// Works until the call's end of the events is gone. The caller drops this when the recognizer is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let utterance = self.wait_for_utterance().await;
            let outcome = self.recognize(utterance).await;
            let sent = match outcome {
                Ok(heard) => {
                    let text = heard.text;
                    let confidence = heard.confidence;
                    self.events
                        .send(RecognitionEvent::Final { utterance, text, language: None, confidence })
                        .await
                        .is_ok()
                }
                Err(error) => self.report(utterance, error).await,
            };
            if !sent {
                return;
            }
        }
    }

    /// The next utterance; sees to it meanwhile that there is a worker for it.
    async fn wait_for_utterance(&mut self) -> UtteranceId {
        loop {
            if let Some(utterance) = lock(&self.line.queue).front() {
                return utterance;
            }
            let Some(worker) = &mut self.worker else {
                if self.respawn.may_start(Instant::now()) && self.start_worker().await.is_ok() {
                    continue;
                }
                self.line.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.line.changed.notified() => {}
                step = worker.step() => match step {
                    // Late words of an utterance that was lost.
                    Ok(_) => {}
                    Err(gone) => self.worker_died(gone),
                },
            }
        }
    }

    async fn start_worker(&mut self) -> Result<(), EngineError> {
        if !self.respawn.may_start(Instant::now()) {
            return Err(EngineError::Unavailable(
                "the recognizer keeps failing; it will be tried again shortly".into(),
            ));
        }
        match self.shared.worker(&self.setup).await {
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

    fn worker_died(&mut self, gone: Gone) {
        tracing::warn!(%gone, language = self.setup.language, "a recognizer died");
        self.worker = None;
        self.respawn.died(Instant::now());
    }

    /// Reports an utterance as failed, unless the queue says that it was over already.
    async fn report(&mut self, utterance: UtteranceId, error: EngineError) -> bool {
        let lost = lock(&self.line.queue).give_up_if(utterance).unwrap_or(utterance..=utterance);
        for utterance in lost {
            if self.events.send(RecognitionEvent::Failed { utterance, error: error.clone() }).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn recognize(&mut self, utterance: UtteranceId) -> Result<Heard, EngineError> {
        if self.worker.is_none() {
            self.start_worker().await?;
        }
        let stall = self.shared.config.stall;
        let Self { worker: Some(worker), line, events, restorer, .. } = self else {
            return Err(EngineError::Unavailable("the recognizer can't be started".into()));
        };
        worker.put(&ToRecognizer::Begin { utterance });
        let mut ahead = 0;
        let mut ended = false;
        let mut progress = Instant::now();
        let failure = loop {
            while worker.all_sent() && !ended && ahead < AHEAD_SAMPLES_MAX {
                let next = lock(&line.queue).next(PIECE_SAMPLES);
                match next {
                    Next::Empty => break,
                    Next::Lost => {
                        // The worker is behind, not broken: it forgets the utterance when the next one begins.
                        return Err(EngineError::Overloaded("speech came faster than it could be recognized".into()));
                    }
                    Next::Audio(samples) => {
                        if ahead < PROGRESS_SAMPLES {
                            progress = Instant::now();
                        }
                        ahead += samples.len();
                        worker.put_audio(&samples);
                    }
                    Next::Ended => {
                        progress = Instant::now();
                        ended = true;
                        worker.put(&ToRecognizer::End);
                    }
                }
            }
            // Audio that is too short to be reported on is no work.
            let working = ended || ahead >= PROGRESS_SAMPLES || !worker.all_sent();
            let deadline = if working { progress + stall } else { Instant::now() + stall };
            let step = tokio::select! {
                step = timeout_at(deadline, worker.step()) => step,
                () = line.changed.notified(), if !ended => continue,
            };
            let frame = match step {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => continue,
                Ok(Err(gone)) => break Err(gone),
                Err(_) if working => break Ok(()),
                Err(_) => continue,
            };
            progress = Instant::now();
            match message(&frame) {
                Ok(FromRecognizer::Heard { utterance: of, samples }) if of == utterance => {
                    ahead = ahead.saturating_sub(samples)
                }
                Ok(FromRecognizer::Partial { utterance: of, text }) if of == utterance => {
                    let text = restorer.partial(&text);
                    if events.send(RecognitionEvent::Partial { utterance, text }).await.is_err() {
                        return Err(EngineError::Unavailable("the call is over".into()));
                    }
                    // The call's queue was waited for, not the worker.
                    progress = Instant::now();
                }
                Ok(FromRecognizer::Final { utterance: of, text, confidence, phrase }) if of == utterance => {
                    let text = phrase.unwrap_or_else(|| restorer.sentence(&text));
                    let confidence = if confidence.is_finite() { confidence.clamp(0.0, 1.0) } else { 0.0 };
                    return Ok(Heard { text, confidence });
                }
                // Of an utterance that was lost.
                Ok(FromRecognizer::Heard { .. } | FromRecognizer::Partial { .. } | FromRecognizer::Final { .. }) => {}
                Ok(_) => break Err(Gone::Garbled(crate::frame::Garbled::Message)),
                Err(gone) => break Err(gone),
            }
        };
        match failure {
            Err(gone) => {
                self.worker_died(gone);
                Err(EngineError::Failed("the recognizer broke on this utterance".into()))
            }
            Ok(()) => {
                tracing::warn!(language = self.setup.language, "a recognizer hangs");
                self.worker = None;
                self.respawn.died(Instant::now());
                Err(EngineError::TimedOut("the recognizer took too long for this utterance".into()))
            }
        }
    }
}

fn message(frame: &Frame) -> Result<FromRecognizer, Gone> {
    frame.message().map_err(Gone::from)
}
