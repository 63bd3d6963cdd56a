//! Cepstra from telephone audio: 8 kHz samples are brought to 16 kHz and turned into the 13 mel-frequency cepstral coefficients
//! that the `en-us` acoustic model was trained on.
//!
//! What must stay true: [`Front`] gives the numbers of the library's own front end with the model's `feat.params` (and neither
//! noise nor silence removal), to within rounding; a test compares the two. Frames come every 10 ms whatever the sizes of the
//! pieces pushed.

use std::f64::consts::PI;

/// Coefficients of one frame that the acoustic model expects.
pub const CEPSTRA: usize = 13;
/// Sample rate that the model wants, in hertz.
const RATE_HZ: f64 = 16_000.0;
/// Samples of a frame: 25.625 ms.
const FRAME: usize = 410;
/// Samples between the starts of frames: 10 ms.
const SHIFT: usize = 160;
/// Points of the Fourier transform.
const POINTS: usize = 512;
/// Mel filters, and their outer edges in hertz: the model's `feat.params`.
pub const FILTERS: usize = 25;
const LOWEST_HZ: f64 = 130.0;
const HIGHEST_HZ: f64 = 6_800.0;
const LIFTER: f64 = 22.0;
const PRE_EMPHASIS: f64 = 0.97;

/// Logarithms of the energies in the mel filters, one frame.
pub type LogMel = [f32; FILTERS];
/// One frame of cepstra.
pub type Cepstrum = [f32; CEPSTRA];

/// Doubles the sample rate with a linear-phase low-pass filter; delays by `HALF` output samples.
#[derive(Debug, Clone)]
pub struct Upsampler {
    taps: [Vec<f32>; 2],
    history: Vec<f32>,
}

impl Upsampler {
    /// Half the filter's length in output samples.
    const HALF: usize = 24;

    /// Before any audio.
    pub fn new() -> Self {
        // A windowed sinc with its edge at 4 kHz, split into the taps of even and odd output samples.
        let length = 2 * Self::HALF;
        let mut taps = [Vec::new(), Vec::new()];
        for index in 0..length {
            let at = index as f64 - Self::HALF as f64 + 0.5;
            let x = PI * at / 2.0;
            let window = 0.5 + 0.5 * (PI * at / Self::HALF as f64).cos();
            taps[index % 2].push((x.sin() / x * window) as f32);
        }
        for phase in &mut taps {
            let sum: f32 = phase.iter().sum();
            phase.iter_mut().for_each(|tap| *tap /= sum);
        }
        Upsampler { taps, history: vec![0.0; Self::HALF - 1] }
    }

    /// Twice as many samples as were pushed.
    pub fn push(&mut self, samples: &[i16], output: &mut Vec<i16>) {
        let keep = self.history.len();
        self.history.extend(samples.iter().map(|sample| f32::from(*sample)));
        for end in keep..self.history.len() {
            let window = &self.history[end - keep..=end];
            for phase in &self.taps {
                let sum: f32 = window.iter().rev().zip(phase).map(|(sample, tap)| sample * tap).sum();
                output.push(sum.round().clamp(-32768.0, 32767.0) as i16);
            }
        }
        let surplus = self.history.len() - keep;
        self.history.drain(..surplus);
    }
}

/// Frames of 16 kHz audio to logarithms of mel energies.
#[derive(Debug, Clone)]
pub struct Front {
    window: Vec<f64>,
    /// First bin and weights of each filter.
    filters: Vec<(usize, Vec<f64>)>,
    /// (cos, sin) of the transform's angles.
    turns: Vec<(f64, f64)>,
    pending: Vec<f64>,
    /// The last raw sample, for the pre-emphasis.
    previous: f64,
}

fn mel(hertz: f64) -> f64 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

fn hertz(mel: f64) -> f64 {
    700.0 * (10f64.powf(mel / 2595.0) - 1.0)
}

impl Front {
    /// Before any audio.
    pub fn new() -> Self {
        let window = (0..FRAME).map(|at| 0.54 - 0.46 * (2.0 * PI * at as f64 / (FRAME as f64 - 1.0)).cos()).collect();
        let bin = RATE_HZ / POINTS as f64;
        let step = (mel(HIGHEST_HZ) - mel(LOWEST_HZ)) / (FILTERS as f64 + 1.0);
        let edge = |index: usize| (hertz(mel(LOWEST_HZ) + index as f64 * step) / bin + 0.5).floor() * bin;
        let filters = (0..FILTERS)
            .map(|index| {
                let (low, middle, high) = (edge(index), edge(index + 1), edge(index + 2));
                let first = (low / bin).ceil() as usize;
                let last = ((high / bin).floor() as usize).min(POINTS / 2);
                let weights = (first..=last)
                    .map(|at| {
                        let at = at as f64 * bin;
                        let rising = (at - low) / (middle - low);
                        let falling = (high - at) / (high - middle);
                        // Each filter has the same area.
                        rising.min(falling).max(0.0) * 2.0 / (high - low)
                    })
                    .collect();
                (first, weights)
            })
            .collect();
        let turns =
            (0..POINTS / 2).map(|at| (2.0 * PI * at as f64 / POINTS as f64).sin_cos()).map(|(s, c)| (c, s)).collect();
        Front { window, filters, turns, pending: Vec::new(), previous: 0.0 }
    }

    /// Forgets the audio of the last utterance.
    pub fn reset(&mut self) {
        self.pending.clear();
        self.previous = 0.0;
    }

    /// The frames that `samples` (16 kHz) complete.
    pub fn push(&mut self, samples: &[i16], output: &mut Vec<LogMel>) {
        for sample in samples {
            let sample = f64::from(*sample);
            self.pending.push(sample - PRE_EMPHASIS * self.previous);
            self.previous = sample;
        }
        let mut start = 0;
        while start + FRAME <= self.pending.len() {
            output.push(self.frame(start));
            start += SHIFT;
        }
        self.pending.drain(..start);
    }

    fn frame(&self, start: usize) -> LogMel {
        let mut real = [0f64; POINTS];
        let mut imaginary = [0f64; POINTS];
        for (at, weight) in self.window.iter().enumerate() {
            real[at] = self.pending[start + at] * weight;
        }
        self.transform(&mut real, &mut imaginary);
        let mut energies = [0f32; FILTERS];
        for (energy, (first, weights)) in energies.iter_mut().zip(&self.filters) {
            let sum: f64 = weights
                .iter()
                .enumerate()
                .map(|(at, weight)| weight * (real[first + at].powi(2) + imaginary[first + at].powi(2)))
                .sum();
            // The floor keeps digital silence finite; the same number as the library's.
            *energy = (sum + 1e-4).ln() as f32;
        }
        energies
    }

    /// An in-place radix-2 Fourier transform.
    fn transform(&self, real: &mut [f64; POINTS], imaginary: &mut [f64; POINTS]) {
        let bits = POINTS.trailing_zeros();
        for at in 0..POINTS {
            let other = at.reverse_bits() >> (usize::BITS - bits);
            if at < other {
                real.swap(at, other);
                imaginary.swap(at, other);
            }
        }
        let mut size = 2;
        while size <= POINTS {
            let half = size / 2;
            for block in (0..POINTS).step_by(size) {
                for at in 0..half {
                    let (cosine, sine) = self.turns[at * (POINTS / size)];
                    let (top, bottom) = (block + at, block + at + half);
                    let r = real[bottom] * cosine + imaginary[bottom] * sine;
                    let i = imaginary[bottom] * cosine - real[bottom] * sine;
                    real[bottom] = real[top] - r;
                    imaginary[bottom] = imaginary[top] - i;
                    real[top] += r;
                    imaginary[top] += i;
                }
            }
            size *= 2;
        }
    }
}

/// The cosine transform from mel energies to cepstra, with the model's lifter.
#[derive(Debug, Clone)]
pub struct Cosines {
    rows: Vec<LogMel>,
}

impl Cosines {
    /// The table of cosines.
    pub fn new() -> Self {
        let filters = FILTERS as f64;
        let rows = (0..CEPSTRA)
            .map(|row| {
                let scale = if row == 0 { (1.0 / filters).sqrt() } else { (2.0 / filters).sqrt() };
                let lifter = 1.0 + LIFTER / 2.0 * (row as f64 * PI / LIFTER).sin();
                std::array::from_fn(|at| {
                    (scale * lifter * (PI * row as f64 * (at as f64 + 0.5) / filters).cos()) as f32
                })
            })
            .collect();
        Cosines { rows }
    }

    /// The cepstrum of a frame.
    pub fn cepstrum(&self, energies: &LogMel) -> Cepstrum {
        std::array::from_fn(|row| self.rows[row].iter().zip(energies).map(|(cosine, energy)| cosine * energy).sum())
    }
}

impl Default for Upsampler {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Front {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Cosines {
    fn default() -> Self {
        Self::new()
    }
}
