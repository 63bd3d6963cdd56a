//! Where utterances begin and end: voice activity plus endpointing.
//!
//! What must stay true: audio is given out once, in order, and only between a `Start` and its `End`; positions count all audio that
//! was pushed and never go back; an utterance never exceeds its greatest length; memory is fixed (about 16 KB) after creation.

use std::collections::VecDeque;

use crate::SAMPLES_PER_MS;
use crate::vad::{FRAME_MS, FRAME_SAMPLES, Vad};

/// How speech is cut into utterances.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentConfig {
    /// Voice that it takes to begin an utterance, so that a click is none; 16 to 500 ms.
    pub onset_ms: u32,
    /// Silence that it takes to end one; 100 to 3,000 ms.
    pub endpoint_ms: u32,
    /// Audio given out from before the first voice, so that a soft first sound is not lost; up to 1,000 ms.
    pub preroll_ms: u32,
    /// Greatest length of an utterance; 2 to 120 s. In its last quarter ever shorter pauses end it, so that it is cut in a pause where
    /// there is one.
    pub utterance_max_ms: u32,
    /// Score from which a frame is voice, 0.05 to 0.95.
    pub threshold: f32,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self { onset_ms: 48, endpoint_ms: 400, preroll_ms: 250, utterance_max_ms: 20_000, threshold: 0.5 }
    }
}

impl SegmentConfig {
    /// With every value brought into its range.
    #[must_use]
    pub fn clamped(&self) -> Self {
        Self {
            onset_ms: self.onset_ms.clamp(FRAME_MS, 500),
            endpoint_ms: self.endpoint_ms.clamp(100, 3_000),
            preroll_ms: self.preroll_ms.min(1_000),
            utterance_max_ms: self.utterance_max_ms.clamp(2_000, 120_000),
            threshold: if self.threshold.is_nan() { 0.5 } else { self.threshold.clamp(0.05, 0.95) },
        }
    }
}

/// What a [`Segmenter`] finds. Positions are in ms of all audio pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentEvent<'a> {
    /// An utterance begins.
    Start {
        /// Where voice begins.
        start_ms: u64,
        /// Where its audio begins: up to `preroll_ms` earlier.
        audio_ms: u64,
    },
    /// Its next audio.
    Audio(&'a [i16]),
    /// It is over.
    End {
        /// Where voice ended.
        speech_end_ms: u64,
        /// Where that became known: how far audio had been pushed.
        endpoint_ms: u64,
    },
}

/// How far a voice that has begun may fall below the threshold and still be voice.
const HYSTERESIS: f32 = 0.15;

/// Cuts one stream into utterances.
#[derive(Debug)]
pub struct Segmenter {
    config: SegmentConfig,
    vad: Vad,
    frame: [i16; FRAME_SAMPLES],
    frame_len: usize,
    /// Samples before `frame`.
    position: u64,
    state: State,
    /// While nobody speaks: the last audio that was not given out.
    recent: VecDeque<i16>,
}

#[derive(Debug)]
enum State {
    Silence {
        /// Frames of voice lately, less those without.
        voiced_frames: u32,
        /// Where the first of them begins.
        voice_from: u64,
    },
    Speech {
        start: u64,
        /// Where the last voice ended.
        voice_until: u64,
    },
}

const SILENCE: State = State::Silence { voiced_frames: 0, voice_from: 0 };

impl Segmenter {
    /// A segmenter at position 0. Values of `config` that are out of range are brought into it.
    pub fn new(config: &SegmentConfig) -> Self {
        let config = config.clamped();
        let recent_max = Self::recent_samples_max(&config);
        Self {
            config,
            vad: Vad::new(),
            frame: [0; FRAME_SAMPLES],
            frame_len: 0,
            position: 0,
            state: SILENCE,
            recent: VecDeque::with_capacity(recent_max + FRAME_SAMPLES),
        }
    }

    /// Audio that is kept while nobody speaks: the pre-roll and what it can take to notice that somebody does.
    fn recent_samples_max(config: &SegmentConfig) -> usize {
        (config.preroll_ms + 2 * config.onset_ms + FRAME_MS) as usize * SAMPLES_PER_MS
    }

    /// Takes the next audio and tells what it contains.
    pub fn push(&mut self, mut samples: &[i16], on: &mut impl FnMut(SegmentEvent<'_>)) {
        while !samples.is_empty() {
            let taken = samples.len().min(FRAME_SAMPLES - self.frame_len);
            self.frame[self.frame_len..self.frame_len + taken].copy_from_slice(&samples[..taken]);
            self.frame_len += taken;
            samples = &samples[taken..];
            if self.frame_len == FRAME_SAMPLES {
                self.take_frame(on);
            }
        }
    }

    /// No audio is coming for now: takes what is left of a frame and ends the utterance that is open.
    pub fn flush(&mut self, on: &mut impl FnMut(SegmentEvent<'_>)) {
        if self.frame_len > 0 {
            self.frame[self.frame_len..].fill(0);
            self.take_frame(on);
        }
        if let State::Speech { voice_until, .. } = self.state {
            self.end(voice_until, on);
        }
        self.state = SILENCE;
    }

    /// Whether an utterance is open.
    pub fn is_speaking(&self) -> bool {
        matches!(self.state, State::Speech { .. })
    }

    /// How much audio was pushed, in ms.
    pub fn position_ms(&self) -> u64 {
        to_ms(self.position + self.frame_len as u64)
    }

    fn take_frame(&mut self, on: &mut impl FnMut(SegmentEvent<'_>)) {
        let score = self.vad.score(&self.frame);
        let frame_from = self.position;
        let len = std::mem::take(&mut self.frame_len);
        self.position += len as u64;
        match &mut self.state {
            State::Silence { voiced_frames, voice_from } => {
                self.recent.extend(&self.frame[..len]);
                let excess = self.recent.len().saturating_sub(Self::recent_samples_max(&self.config));
                self.recent.drain(..excess);
                if score < self.config.threshold {
                    *voiced_frames = voiced_frames.saturating_sub(1);
                    return;
                }
                if *voiced_frames == 0 {
                    *voice_from = frame_from;
                }
                *voiced_frames += 1;
                if *voiced_frames * FRAME_MS >= self.config.onset_ms {
                    let start = *voice_from;
                    self.begin(start, on);
                }
            }
            State::Speech { start, voice_until } => {
                on(SegmentEvent::Audio(&self.frame[..len]));
                if score >= self.config.threshold - HYSTERESIS {
                    *voice_until = self.position;
                }
                let spoken_ms = to_ms(self.position - *start) as u32;
                let silence_ms = to_ms(self.position - *voice_until) as u32;
                if silence_ms >= endpoint_ms(&self.config, spoken_ms) || spoken_ms >= self.config.utterance_max_ms {
                    let voice_until = *voice_until;
                    self.end(voice_until, on);
                }
            }
        }
    }

    fn begin(&mut self, start: u64, on: &mut impl FnMut(SegmentEvent<'_>)) {
        let wanted = (self.position - start) as usize + self.config.preroll_ms as usize * SAMPLES_PER_MS;
        let excess = self.recent.len().saturating_sub(wanted);
        self.recent.drain(..excess);
        let audio_from = self.position - self.recent.len() as u64;
        on(SegmentEvent::Start { start_ms: to_ms(start.max(audio_from)), audio_ms: to_ms(audio_from) });
        let (older, newer) = self.recent.as_slices();
        for part in [older, newer].into_iter().filter(|part| !part.is_empty()) {
            on(SegmentEvent::Audio(part));
        }
        self.recent.clear();
        self.state = State::Speech { start, voice_until: self.position };
    }

    fn end(&mut self, voice_until: u64, on: &mut impl FnMut(SegmentEvent<'_>)) {
        on(SegmentEvent::End { speech_end_ms: to_ms(voice_until), endpoint_ms: to_ms(self.position) });
        self.state = SILENCE;
    }
}

/// Silence that ends an utterance of `spoken_ms` so far.
fn endpoint_ms(config: &SegmentConfig, spoken_ms: u32) -> u32 {
    let last_quarter_ms = config.utterance_max_ms / 4;
    let left_ms = config.utterance_max_ms.saturating_sub(spoken_ms);
    if left_ms >= last_quarter_ms {
        return config.endpoint_ms;
    }
    (config.endpoint_ms * left_ms / last_quarter_ms).max(FRAME_MS)
}

fn to_ms(samples: u64) -> u64 {
    samples / SAMPLES_PER_MS as u64
}
