//! The running mean of a speaker's frames, which takes the line's and the voice's colour out of them.
//!
//! What must stay true: a new mean starts from what is usual, so that the first words of a call are not spoilt; it follows the speaker
//! within seconds, and pauses don't pull at it.

/// Frames that count fully before old ones begin to fade: 8 s.
const FRAMES_MAX: f32 = 800.0;
/// How far below the loudest recent frame speech may be, in units of the natural logarithm of energy (26 dB).
const SPEECH_RANGE: f32 = 6.0;
/// How fast the loudest frame is forgotten, each frame: 10 dB in 10 s.
const PEAK_FALL: f32 = 0.0023;

/// A mean of vectors of `N` numbers.
#[derive(Debug, Clone)]
pub struct RunningMean<const N: usize> {
    sum: [f32; N],
    frames: f32,
    frames_max: f32,
    peak: f32,
}

impl<const N: usize> RunningMean<N> {
    /// Starts from `usual`, as if `frames` frames of it had been heard.
    pub fn new(usual: &[f32; N], frames: f32) -> Self {
        RunningMean { sum: usual.map(|value| value * frames), frames, frames_max: FRAMES_MAX, peak: f32::MIN }
    }

    /// Never lets old frames fade.
    pub fn remember_all(&mut self) {
        self.frames_max = f32::INFINITY;
    }

    /// The mean; zeros before any frame.
    pub fn value(&self) -> [f32; N] {
        self.sum.map(|sum| sum / self.frames.max(1.0))
    }

    /// Takes in a frame, whose `level` is the logarithm of its energy; only speech counts.
    pub fn add(&mut self, frame: &[f32; N], level: f32) {
        self.peak = level.max(self.peak - PEAK_FALL);
        if level < self.peak - SPEECH_RANGE {
            return;
        }
        if self.frames >= self.frames_max {
            let keep = 1.0 - 1.0 / self.frames_max;
            self.sum.iter_mut().for_each(|value| *value *= keep);
            self.frames *= keep;
        }
        self.sum.iter_mut().zip(frame).for_each(|(sum, value)| *sum += value);
        self.frames += 1.0;
    }

    /// The frame without the mean.
    pub fn without(&self, frame: &[f32; N]) -> [f32; N] {
        std::array::from_fn(|at| frame[at] - self.sum[at] / self.frames)
    }
}
