//! One party of a call: its audio on the session's time line, its interpreter, and the utterances under way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use kallglot_audio::SAMPLES_PER_MS;
use kallglot_audio::reorder::{ReorderBuffer, ReorderConfig, ReorderStats};
use kallglot_core::id::SegmentId;
use kallglot_core::language::LanguageTag;
use kallglot_core::session::Speaker;
use kallglot_engine::{EngineError, Event, Interpreter, UtteranceId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::live::message::SocketId;
use crate::live::playout::Playout;

/// Events of one interpreter that may wait; then the engine waits.
pub(super) const EVENTS_MAX: usize = 32;
/// Audio that is kept while the engine is being made ready; the oldest goes first.
const BACKLOG_MAX_SAMPLES: usize = 10_000 * SAMPLES_PER_MS;
/// Without audio for this long, what was being said is over.
const STALL: Duration = Duration::from_millis(600);
/// How long a missing frame is waited for (contract section 11).
const REORDER_WINDOW: Duration = Duration::from_millis(500);
/// How far a party's audio may lag behind the clock before it is taken for a pause in sending.
const LAG_MAX_MS: u64 = 250;
/// Frames whose arrival is remembered, to know when speech ended: about 10 s of 20 ms frames.
const ARRIVALS_MAX: usize = 512;
/// Jumps in a party's time line that are remembered; utterances are much shorter.
const ANCHORS_MAX: usize = 16;
/// First and longest pause before an engine that could not be opened is tried again.
const REOPEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// An interpreter that is ready, or why there is none.
type Opened = Result<Box<dyn Interpreter>, EngineError>;

/// Where a party's interpreter stands.
pub(super) enum EngineSlot {
    /// None is wanted yet.
    Idle,
    /// Being made.
    Opening(JoinHandle<Opened>),
    /// At work.
    Ready(Box<dyn Interpreter>),
    /// Could not be had; tried again at `retry_at`, or never.
    Broken {
        /// What clients were told.
        error: EngineError,
        /// When to try again.
        retry_at: Option<Instant>,
    },
}

/// An utterance from its first partial to the end of its translated speech.
#[derive(Debug, Clone)]
pub(super) struct Utterance {
    /// Its public id.
    pub(super) id: SegmentId,
    /// When its last sound arrived.
    pub(super) speech_ended: Option<Instant>,
    /// From its first sound's arrival to its first partial.
    pub(super) first_partial_ms: Option<u32>,
    /// From the end of speech to the final text.
    pub(super) final_ms: Option<u32>,
    /// From the end of speech to the first translated audio sent.
    pub(super) first_audio_ms: Option<u32>,
    /// Whether its translation is spoken.
    pub(super) has_speech: bool,
    /// Whether all its speech is queued.
    pub(super) speech_done: bool,
}

/// What happened at a party.
pub(super) enum PartyEvent {
    /// Its interpreter is ready or failed to become so.
    Opened(Opened),
    /// Its interpreter says something.
    Engine(Event),
}

/// One party.
pub(super) struct Party {
    /// Its language, once known.
    pub(super) language: Option<LanguageTag>,
    /// What it is to hear.
    pub(super) playout: Playout,
    /// The socket that sends its audio.
    pub(super) source: Option<SocketId>,
    /// Puts that socket's audio in order.
    pub(super) reorder: ReorderBuffer,
    /// Its interpreter.
    pub(super) engine: EngineSlot,
    /// Where that interpreter's events come from.
    pub(super) events: Option<mpsc::Receiver<(Speaker, Box<Event>)>>,
    /// Utterances under way.
    pub(super) utterances: HashMap<UtteranceId, Utterance>,
    /// Whether the interpreter was asked to flush and has not answered.
    pub(super) flushing: bool,
    /// Audio given to the interpreter, in samples.
    pushed: u64,
    backlog: VecDeque<i16>,
    anchors: VecDeque<Anchor>,
    arrivals: VecDeque<Arrival>,
    /// What the arrivals' times count from.
    epoch: Instant,
    last_audio: Option<Instant>,
    /// Since when frames have been held back because one is missing before them.
    pub(super) held_since: Option<Instant>,
    /// What the reorder buffer counted and the session's statistics have.
    pub(super) counted: ReorderStats,
    /// Whether audio was pushed since the last flush.
    unflushed: bool,
    reopen: Duration,
}

/// From `pushed` samples on, the session's time is `session_ms` later per sample.
#[derive(Clone, Copy)]
struct Anchor {
    pushed: u64,
    session_ms: u64,
}

/// When a frame came. Small, since hundreds are kept for each party: both counts last for 49 days, beyond which lags are wrong.
struct Arrival {
    /// The end of the frame in the audio pushed, in whole ms.
    pushed_ms: u32,
    /// In ms after the party's epoch.
    at_ms: u32,
}

impl Party {
    /// A party without audio.
    pub(super) fn new(speaker: Speaker, language: Option<LanguageTag>) -> Self {
        Self {
            language,
            playout: Playout::new(speaker),
            source: None,
            reorder: ReorderBuffer::new(ReorderConfig::default()),
            engine: EngineSlot::Idle,
            events: None,
            utterances: HashMap::new(),
            flushing: false,
            pushed: 0,
            backlog: VecDeque::new(),
            anchors: VecDeque::new(),
            arrivals: VecDeque::new(),
            epoch: Instant::now(),
            last_audio: None,
            held_since: None,
            counted: ReorderStats::default(),
            unflushed: false,
            reopen: REOPEN.0,
        }
    }

    /// Waits for the next event of its interpreter. Cancel-safe.
    pub(super) async fn next(&mut self) -> PartyEvent {
        if let EngineSlot::Opening(opening) = &mut self.engine {
            return PartyEvent::Opened(match opening.await {
                Ok(opened) => opened,
                Err(_) => Err(EngineError::Failed("The speech engine failed while it was being made ready.".into())),
            });
        }
        match &mut self.events {
            Some(events) => match events.recv().await {
                Some((_, event)) => PartyEvent::Engine(*event),
                None => {
                    self.events = None;
                    let error = EngineError::Unavailable("The speech engine stopped.".into());
                    PartyEvent::Engine(Event::Failed { error, fatal: true })
                }
            },
            None => std::future::pending().await,
        }
    }

    /// Takes audio in its order. `session_ms` is the session's clock. Answers with its place on the session's time line, in samples.
    pub(super) fn hear(&mut self, samples: &[i16], now: Instant, session_ms: u64) -> u64 {
        let length_ms = (samples.len() / SAMPLES_PER_MS) as u64;
        let expected = self.session_ms(self.pushed);
        if self.anchors.is_empty() || expected + length_ms + LAG_MAX_MS < session_ms {
            if self.anchors.len() == ANCHORS_MAX {
                self.anchors.pop_front();
            }
            let session_ms = session_ms.saturating_sub(length_ms).max(expected);
            self.anchors.push_back(Anchor { pushed: self.pushed, session_ms });
        }
        let place = self.place(self.pushed);
        self.pushed += samples.len() as u64;
        self.last_audio = Some(now);
        self.unflushed = true;
        if self.arrivals.len() == ARRIVALS_MAX {
            self.arrivals.pop_front();
        }
        let at_ms = now.saturating_duration_since(self.epoch).as_millis();
        self.arrivals.push_back(Arrival {
            pushed_ms: u32::try_from(self.pushed / SAMPLES_PER_MS as u64).unwrap_or(u32::MAX),
            at_ms: u32::try_from(at_ms).unwrap_or(u32::MAX),
        });
        match &mut self.engine {
            EngineSlot::Ready(interpreter) => interpreter.push(samples),
            _ => {
                self.backlog.extend(samples);
                let excess = self.backlog.len().saturating_sub(BACKLOG_MAX_SAMPLES);
                self.backlog.drain(..excess);
            }
        }
        place
    }

    /// Puts a new interpreter to work, with the audio that has waited for it.
    pub(super) fn start(&mut self, mut interpreter: Box<dyn Interpreter>) {
        // The interpreter counts from its own first sample: what is in the backlog is the end of what was pushed.
        let first = self.pushed - self.backlog.len() as u64;
        let anchor = Anchor { pushed: 0, session_ms: self.session_ms(first) };
        let later = self.anchors.iter().filter(|anchor| anchor.pushed > first);
        self.anchors =
            std::iter::once(anchor).chain(later.map(|a| Anchor { pushed: a.pushed - first, ..*a })).collect();
        let first_ms = u32::try_from(first / SAMPLES_PER_MS as u64).unwrap_or(u32::MAX);
        self.arrivals.retain(|arrival| arrival.pushed_ms > first_ms);
        self.arrivals.iter_mut().for_each(|arrival| arrival.pushed_ms -= first_ms);
        self.pushed -= first;
        interpreter.push(self.backlog.make_contiguous());
        self.backlog = VecDeque::new();
        self.utterances.clear();
        self.engine = EngineSlot::Ready(interpreter);
        self.reopen = REOPEN.0;
    }

    /// Its interpreter can't be had or can't go on. Tried again later where that may help.
    pub(super) fn broke(&mut self, error: EngineError, now: Instant) {
        let retry_at = (!matches!(error, EngineError::Unsupported(_))).then(|| now + self.reopen);
        self.reopen = (self.reopen * 2).min(REOPEN.1);
        self.engine = EngineSlot::Broken { error, retry_at };
        self.events = None;
        self.flushing = false;
        self.utterances.clear();
    }

    /// Asks the interpreter to finish what is open, where something may be.
    pub(super) fn flush(&mut self) {
        self.unflushed = false;
        if let EngineSlot::Ready(interpreter) = &mut self.engine {
            interpreter.flush();
            self.flushing = true;
        }
    }

    /// Forgets the socket that sent its audio and gives out what was held back to be put in order.
    pub(super) fn leave(&mut self) {
        self.source = None;
        self.reorder = ReorderBuffer::new(ReorderConfig::default());
        self.counted = ReorderStats::default();
        self.held_since = None;
    }

    /// Notes at `now` whether frames are being held back.
    pub(super) fn note_held(&mut self, now: Instant) {
        self.held_since = self.reorder.waiting_for().is_some().then(|| self.held_since.unwrap_or(now));
    }

    /// When frames that are held back must be given out, whatever is missing.
    pub(super) fn reorder_due(&self) -> Option<Instant> {
        self.held_since.map(|since| since + REORDER_WINDOW)
    }

    /// Whether audio came after `since`.
    pub(super) fn heard_since(&self, since: Instant) -> bool {
        self.last_audio.is_some_and(|at| at >= since)
    }

    /// When audio has been missing for too long; none while nothing is open.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        self.last_audio.filter(|_| self.unflushed).map(|at| at + STALL)
    }

    /// The utterance of this number, which gets `fresh` as its id when it is new.
    pub(super) fn utterance(&mut self, utterance: UtteranceId, fresh: impl FnOnce() -> SegmentId) -> &mut Utterance {
        self.utterances.entry(utterance).or_insert_with(|| Utterance {
            id: fresh(),
            speech_ended: None,
            first_partial_ms: None,
            final_ms: None,
            first_audio_ms: None,
            has_speech: false,
            speech_done: false,
        })
    }

    /// The session's time of a time in the interpreter's audio.
    pub(super) fn to_session_ms(&self, pushed_ms: u64) -> u64 {
        self.session_ms(pushed_ms * SAMPLES_PER_MS as u64)
    }

    /// When the audio at `pushed_ms` arrived; none when that is forgotten or has not been.
    pub(super) fn arrived(&self, pushed_ms: u64) -> Option<Instant> {
        let index = self.arrivals.partition_point(|arrival| u64::from(arrival.pushed_ms) < pushed_ms);
        self.arrivals.get(index).map(|arrival| self.epoch + Duration::from_millis(u64::from(arrival.at_ms)))
    }

    fn session_ms(&self, pushed: u64) -> u64 {
        self.place(pushed) / SAMPLES_PER_MS as u64
    }

    /// The place on the session's time line, in samples, of what was pushed after `pushed` samples.
    fn place(&self, pushed: u64) -> u64 {
        let anchor = self.anchors.iter().rev().find(|anchor| anchor.pushed <= pushed).or(self.anchors.front());
        anchor.map_or(0, |at| at.session_ms * SAMPLES_PER_MS as u64 + pushed.saturating_sub(at.pushed))
    }
}
