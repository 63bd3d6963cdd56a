//! Translated speech on its way to one listener: paced at real time, slightly faster when it lags, dropped only when hopeless.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kallglot_audio::SAMPLES_PER_MS;
use kallglot_audio::g711;
use kallglot_audio::stretch::Stretcher;
use kallglot_core::id::SegmentId;
use kallglot_core::session::Speaker;
use tokio::time::Instant;

use crate::live::message::AudioOut;

/// Length of one outgoing frame.
pub(super) const FRAME_MS: usize = 20;
const FRAME_SAMPLES: usize = FRAME_MS * SAMPLES_PER_MS;
const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);
/// How far ahead of real time frames are sent, so that a late timer does not make a hole.
const LEAD: Duration = Duration::from_millis(40);
/// Speech that waits beyond this is sped up by the factor beside it. The last row that fits counts.
const CATCH_UP: [(usize, f32); 2] = [(2_000, 1.12), (5_000, 1.25)];
/// Speech that may wait for one listener; beyond it the oldest utterance that has not begun is dropped.
const BACKLOG_MAX_MS: usize = 30_000;

/// The queue of one listener.
pub(super) struct Playout {
    target: Speaker,
    speeches: VecDeque<Speech>,
    queued_samples: usize,
    next_frame_at: Option<Instant>,
    sequence: u64,
    stretch: Stretcher,
    /// Audio at its final speed that is not sent yet: less than a frame, or a little more.
    ready: Vec<i16>,
}

struct Speech {
    segment: SegmentId,
    samples: VecDeque<i16>,
    begun: bool,
    complete: bool,
}

/// One frame to send.
pub(super) struct Frame {
    /// The audio.
    pub(super) audio: AudioOut,
    /// Whether it is the first of its segment.
    pub(super) first: bool,
    /// When its listener hears it: it is sent a little ahead.
    pub(super) heard_at: Instant,
}

impl Playout {
    /// An empty queue for `target`.
    pub(super) fn new(target: Speaker) -> Self {
        Self {
            target,
            speeches: VecDeque::new(),
            queued_samples: 0,
            next_frame_at: None,
            sequence: 0,
            stretch: Stretcher::new(),
            ready: Vec::new(),
        }
    }

    /// Adds speech of a segment. Returns how many ms of other speech had to be dropped to stay within the bound.
    pub(super) fn add(&mut self, segment: SegmentId, samples: &[i16]) -> u64 {
        match self.speeches.back_mut() {
            Some(last) if last.segment == segment => last.samples.extend(samples),
            _ => self.speeches.push_back(Speech {
                segment,
                samples: samples.iter().copied().collect(),
                begun: false,
                complete: false,
            }),
        }
        self.queued_samples += samples.len();
        let mut dropped = 0;
        while self.queued_samples > BACKLOG_MAX_MS * SAMPLES_PER_MS {
            let oldest = self.speeches.iter().position(|speech| !speech.begun && speech.complete);
            let Some(speech) = oldest.and_then(|index| self.speeches.remove(index)) else { break };
            self.queued_samples -= speech.samples.len();
            dropped += speech.samples.len();
        }
        // One endless speech: its oldest audio goes.
        if self.queued_samples > 2 * BACKLOG_MAX_MS * SAMPLES_PER_MS
            && let Some(speech) = self.speeches.front_mut()
        {
            let excess = (self.queued_samples - 2 * BACKLOG_MAX_MS * SAMPLES_PER_MS).min(speech.samples.len());
            speech.samples.drain(..excess);
            self.queued_samples -= excess;
            dropped += excess;
        }
        (dropped / SAMPLES_PER_MS) as u64
    }

    /// All speech of a segment has been added.
    pub(super) fn complete(&mut self, segment: SegmentId) {
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.segment == segment) {
            speech.complete = true;
        }
    }

    /// The sequence number of the next frame that reaches this listener another way (the original voice).
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// When the next frame is to be sent; none while there is nothing to say.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let speech = self.speeches.front()?;
        if speech.samples.is_empty() && self.ready.is_empty() && !speech.complete {
            return None;
        }
        Some(self.next_frame_at.unwrap_or(now))
    }

    /// The next frame, if it is due at `now`.
    pub(super) fn frame(&mut self, now: Instant) -> Option<Frame> {
        loop {
            let due = self.due(now)?;
            if due > now {
                return None;
            }
            let speed = self.speed();
            let speech = self.speeches.front_mut()?;
            while self.ready.len() < FRAME_SAMPLES && !speech.samples.is_empty() {
                let taken = speech.samples.len().min(FRAME_SAMPLES);
                let chunk: Vec<i16> = speech.samples.drain(..taken).collect();
                self.queued_samples -= taken;
                self.stretch.set_speed(speed);
                self.stretch.process(&chunk, &mut self.ready);
            }
            let at_end = speech.samples.is_empty();
            if self.ready.len() < FRAME_SAMPLES {
                if !at_end || !speech.complete {
                    // The synthesizer is behind; go on when it has more.
                    return None;
                }
                self.stretch.flush(&mut self.ready);
            }
            if self.ready.is_empty() {
                self.speeches.pop_front();
                continue;
            }
            let taken = self.ready.len().min(FRAME_SAMPLES);
            let mut pcm = [0i16; FRAME_SAMPLES];
            pcm[..taken].copy_from_slice(&self.ready[..taken]);
            self.ready.drain(..taken);
            let mut mulaw = [0u8; FRAME_SAMPLES];
            for (code, sample) in mulaw.iter_mut().zip(pcm) {
                *code = g711::linear_to_mulaw(sample);
            }
            let first = !std::mem::replace(&mut speech.begun, true);
            let segment = speech.segment;
            if at_end && speech.complete && self.ready.is_empty() {
                self.speeches.pop_front();
            }
            // After a pause the clock starts anew, a little ahead.
            let scheduled =
                self.next_frame_at.filter(|at| now.saturating_duration_since(*at) < 5 * FRAME).unwrap_or(now - LEAD);
            self.next_frame_at = Some(scheduled + FRAME);
            let sequence = self.next_sequence();
            let audio = AudioOut {
                sequence,
                speaker: self.target.other(),
                target: self.target,
                translation_of: Some(segment),
                mulaw: Arc::from(mulaw.as_slice()),
            };
            return Some(Frame { audio, first, heard_at: scheduled + LEAD });
        }
    }

    fn speed(&self) -> f32 {
        let backlog_ms = self.queued_samples / SAMPLES_PER_MS;
        CATCH_UP.iter().rev().find(|(over_ms, _)| backlog_ms > *over_ms).map_or(1.0, |(_, speed)| *speed)
    }
}
