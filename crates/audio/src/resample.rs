//! Streaming conversion between sample rates: a band-limited (windowed-sinc) polyphase filter.
//!
//! Pass band to about 85 % of the lower rate's half (3.4 kHz at 8 kHz), more than 50 dB down where images and aliases would begin.
//! What must stay true: however the input is cut into chunks, the output is the same; output sample `n` stands for the moment
//! `n / to_hz`, so that nothing is delayed (the last samples need look-ahead and come with [`Resampler::flush`]); memory does not
//! grow with the input.

use std::f64::consts::PI;
use std::sync::Arc;

/// Lowest and highest rate that is converted, in Hz.
pub const RATE_HZ: std::ops::RangeInclusive<u32> = 1_000..=384_000;

/// Zero crossings of the sinc on either side: the filter's length in samples of the lower rate, halved.
const ZERO_CROSSINGS: f64 = 24.0;
/// Where the filter is 6 dB down, as a part of the lower rate's half.
const CUTOFF: f64 = 0.925;
/// The Kaiser window's shape: about 65 dB of stop-band attenuation.
const KAISER_BETA: f64 = 6.2;
/// Filter phases that are tabulated at most. Ratios that need more (44,101 → 8,000) use the nearest, about 60 dB exact.
const PHASES_MAX: u64 = 512;
/// Input samples that are taken at a time, so that a huge chunk needs no huge buffer.
const BLOCK_SAMPLES: usize = 1_024;

/// A rate that is out of [`RATE_HZ`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sample rate of {0} Hz is not supported (1,000 to 384,000 Hz)")]
pub struct UnsupportedRate(pub u32);

/// Converts one stream from one rate to another. A clone shares the filter, which is most of the cost of making one.
#[derive(Debug, Clone)]
pub struct Resampler {
    /// None where both rates are the same.
    filter: Option<Arc<Filter>>,
    /// Input that is still needed; its first `half` samples are silence at the start.
    pending: Vec<f32>,
    /// Where in `pending` the window of the next output sample begins.
    window: usize,
    /// How far the next output sample is beyond that input sample, in `1 / up` of an input sample.
    fraction: u64,
    /// Input samples taken, and output samples given since the start; decides where the output ends.
    taken: u64,
    given: u64,
}

#[derive(Debug)]
struct Filter {
    /// The ratio in lowest terms: `up` output samples for `down` input samples.
    up: u64,
    down: u64,
    /// Taps of one phase: `2 * half`.
    half: usize,
    phases: u64,
    /// `phases` × `2 * half` coefficients.
    taps: Vec<f32>,
}

impl Filter {
    fn new(from_hz: u32, to_hz: u32) -> Self {
        let divisor = gcd(from_hz, to_hz);
        let (up, down) = (u64::from(to_hz / divisor), u64::from(from_hz / divisor));
        let phases = up.min(PHASES_MAX);
        // Band limit in cycles per input sample.
        let band = 0.5 * CUTOFF * (f64::from(to_hz) / f64::from(from_hz)).min(1.0);
        let reach = ZERO_CROSSINGS * (f64::from(from_hz) / f64::from(to_hz)).max(1.0);
        // A multiple of 4 on either side lets the sum run in whole blocks of 8.
        let half = (reach.ceil() as usize).next_multiple_of(4);
        let mut taps = Vec::with_capacity(phases as usize * 2 * half);
        for phase in 0..phases {
            let offset = phase as f64 / phases as f64;
            let first = taps.len();
            for tap in 0..2 * half {
                // Distance from the tap's input sample to the moment of the output sample.
                let distance = tap as f64 - (half as f64 - 1.0) - offset;
                taps.push(2.0 * band * sinc(2.0 * band * distance) * kaiser(distance / reach));
            }
            // Every phase passes a constant unchanged, else their differences would be heard as a tone.
            let gain: f64 = taps[first..].iter().sum();
            taps[first..].iter_mut().for_each(|tap| *tap /= gain);
        }
        Self { up, down, half, phases, taps: taps.into_iter().map(|tap| tap as f32).collect() }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window at `x` from -1 to 1; 0 outside.
fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel_i0(KAISER_BETA) }
}

/// The modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > sum * 1e-12 {
        term *= (x / 2.0 / n) * (x / 2.0 / n);
        sum += term;
        n += 1.0;
    }
    sum
}

/// Eight running sums, which the compiler keeps in vector registers (it may not reorder a plain float sum itself).
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

impl Resampler {
    /// Converts from `from_hz` to `to_hz` samples per second.
    ///
    /// # Errors
    /// A rate is out of [`RATE_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, UnsupportedRate> {
        for rate in [from_hz, to_hz] {
            if !RATE_HZ.contains(&rate) {
                return Err(UnsupportedRate(rate));
            }
        }
        let filter = (from_hz != to_hz).then(|| Arc::new(Filter::new(from_hz, to_hz)));
        let mut resampler = Self { filter, pending: Vec::new(), window: 0, fraction: 0, taken: 0, given: 0 };
        resampler.reset();
        Ok(resampler)
    }

    /// Takes the next input and appends what can already be said of the output.
    pub fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        let Some(filter) = self.filter.clone() else {
            output.extend_from_slice(input);
            return;
        };
        self.taken += input.len() as u64;
        for block in input.chunks(BLOCK_SAMPLES) {
            self.pending.extend(block.iter().map(|&sample| f32::from(sample)));
            self.convert(&filter, u64::MAX, output);
        }
    }

    /// Ends the stream: appends the rest of the output and gets ready for another stream. All in all there is one output sample for
    /// each moment `n / to_hz` before the input's end.
    pub fn flush(&mut self, output: &mut Vec<i16>) {
        let Some(filter) = self.filter.clone() else { return };
        let wanted = (u128::from(self.taken) * u128::from(filter.up)).div_ceil(u128::from(filter.down)) as u64;
        self.pending.resize(self.pending.len() + filter.half + 1, 0.0);
        self.convert(&filter, wanted, output);
        self.reset();
    }

    /// Forgets the stream so far.
    pub fn reset(&mut self) {
        self.pending.clear();
        self.window = 0;
        self.fraction = 0;
        self.taken = 0;
        self.given = 0;
        if let Some(filter) = &self.filter {
            self.pending.resize(filter.half - 1, 0.0);
        }
    }

    fn convert(&mut self, filter: &Filter, wanted: u64, output: &mut Vec<i16>) {
        let length = 2 * filter.half;
        while self.window + length <= self.pending.len() && self.given < wanted {
            let phase = (self.fraction * filter.phases / filter.up) as usize;
            let taps = &filter.taps[phase * length..][..length];
            let sample = dot(taps, &self.pending[self.window..][..length]);
            // The cast keeps what is too loud at the greatest sample.
            output.push(sample.round() as i16);
            self.given += 1;
            self.fraction += filter.down;
            self.window += (self.fraction / filter.up) as usize;
            self.fraction %= filter.up;
        }
        let done = self.window.min(self.pending.len());
        self.pending.drain(..done);
        self.window -= done;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level::rms_dbfs;

    const PAIRS: [(u32, u32); 9] = [
        (8_000, 16_000),
        (16_000, 8_000),
        (22_050, 8_000),
        (24_000, 8_000),
        (44_100, 8_000),
        (48_000, 8_000),
        (8_000, 48_000),
        (44_101, 8_000),
        (11_025, 8_000),
    ];

    fn tone(rate_hz: u32, tone_hz: f64, seconds: f64) -> Vec<i16> {
        let step = 2.0 * PI * tone_hz / f64::from(rate_hz);
        (0..(f64::from(rate_hz) * seconds) as usize)
            .map(|n| (16_000.0 * (n as f64 * step).sin()).round() as i16)
            .collect()
    }

    fn convert(from_hz: u32, to_hz: u32, input: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
        let mut output = Vec::new();
        resampler.process(input, &mut output);
        resampler.flush(&mut output);
        output
    }

    /// Without the ends, where the filter sees the silence around the tone.
    fn middle(samples: &[i16]) -> &[i16] {
        &samples[samples.len() / 5..samples.len() * 4 / 5]
    }

    #[test]
    fn a_tone_keeps_its_frequency_level_and_place() {
        for (from_hz, to_hz) in PAIRS {
            for tone_hz in [100.0, 440.0, 1_000.0, 3_300.0] {
                let output = convert(from_hz, to_hz, &tone(from_hz, tone_hz, 0.5));
                let expected = tone(to_hz, tone_hz, 0.5);
                assert!(output.len().abs_diff(expected.len()) <= 1, "{from_hz} to {to_hz}: {} samples", output.len());
                let error: Vec<i16> = middle(&output).iter().zip(middle(&expected)).map(|(a, b)| a - b).collect();
                let ratio_db = rms_dbfs(middle(&expected)) - rms_dbfs(&error);
                assert!(ratio_db > 45.0, "{from_hz} to {to_hz} at {tone_hz} Hz: error only {ratio_db:.1} dB down");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_removed() {
        for (from_hz, to_hz) in PAIRS.into_iter().filter(|(from, to)| from > to) {
            for tone_hz in [4_100.0, 4_400.0, 5_200.0].into_iter().filter(|hz| *hz < f64::from(from_hz) / 2.0) {
                let input = tone(from_hz, tone_hz, 0.5);
                let rejection_db = rms_dbfs(&input) - rms_dbfs(middle(&convert(from_hz, to_hz, &input)));
                assert!(rejection_db > 50.0, "{from_hz} to {to_hz}: {tone_hz} Hz only {rejection_db:.1} dB down");
            }
        }
    }

    #[test]
    fn conversion_upwards_adds_no_image() {
        // 3 kHz at 8 kHz would come back at 5 kHz.
        let output = convert(8_000, 16_000, &tone(8_000, 3_000.0, 0.5));
        let image = |hz: f64| {
            let step = 2.0 * PI * hz / 16_000.0;
            let (mut re, mut im) = (0.0, 0.0);
            for (n, &sample) in middle(&output).iter().enumerate() {
                re += f64::from(sample) * (n as f64 * step).cos();
                im += f64::from(sample) * (n as f64 * step).sin();
            }
            10.0 * (re * re + im * im).log10()
        };
        assert!(image(3_000.0) - image(5_000.0) > 50.0);
    }

    #[test]
    fn the_same_rate_changes_nothing() {
        let input = tone(8_000, 440.0, 0.1);
        assert_eq!(convert(8_000, 8_000, &input), input);
    }

    #[test]
    fn full_scale_stays_in_range_and_nothing_gives_nothing() {
        let square: Vec<i16> = (0..2_000).map(|n| if n / 50 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        assert_eq!(convert(24_000, 8_000, &square).len(), 667);
        assert_eq!(convert(24_000, 8_000, &[]), Vec::<i16>::new());
        assert_eq!(convert(24_000, 8_000, &[7]).len(), 1);
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for (from_hz, to_hz, wrong) in [(0, 8_000, 0), (8_000, 0, 0), (999, 8_000, 999), (8_000, 384_001, 384_001)] {
            assert_eq!(Resampler::new(from_hz, to_hz).map(|_| ()), Err(UnsupportedRate(wrong)));
        }
    }

    #[test]
    fn a_flushed_resampler_serves_another_stream() {
        let input = tone(24_000, 440.0, 0.1);
        let mut resampler = Resampler::new(24_000, 8_000).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        resampler.process(&input, &mut first);
        resampler.flush(&mut first);
        resampler.process(&input, &mut second);
        resampler.flush(&mut second);
        assert_eq!(first, second);
        assert_eq!(convert(24_000, 8_000, &input), first);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunks_make_no_difference(
            input in proptest::collection::vec(any::<i16>(), 0..3_000),
            cuts in proptest::collection::vec(1usize..700, 1..30),
            pair in 0..PAIRS.len(),
        ) {
            let (from_hz, to_hz) = PAIRS[pair];
            let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
            let (mut output, mut rest) = (Vec::new(), input.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                resampler.process(chunk, &mut output);
                rest = tail;
            }
            resampler.flush(&mut output);
            prop_assert_eq!(output, convert(from_hz, to_hz, &input));
        }
    }
}
