//! Speaking faster without a higher voice: time-scale modification by waveform-similarity overlap-add.
//!
//! Used when translated speech lags behind the call. Pieces of 15 ms are taken from the input at the speed wanted, each from the place
//! nearby that continues the piece before it best, and faded into it. What must stay true: at speed 1 the output is the input; no
//! piece begins with a jump; memory is bounded by a fraction of a second of audio.

/// The range of speeds.
pub const SPEED: std::ops::RangeInclusive<f32> = 1.0..=1.5;

/// Samples of one piece: 15 ms.
const PIECE: usize = 120;
/// How far from its place a piece may be taken, in samples: 8 ms, more than half a period of the deepest voice (65 Hz).
const REACH: usize = 64;
/// Of the samples that are compared, every which one.
const COMPARE_STEP: usize = 2;

/// Changes the speed of one stream.
#[derive(Debug, Clone)]
pub struct Stretcher {
    speed: f32,
    /// Input from the continuation on; what is before it is done with, except as far as a piece may be taken from there.
    input: Vec<i16>,
    /// Where in `input` the audio lies that naturally follows what was given out.
    continuation: usize,
    /// Where the next piece should come from, were it not for similarity.
    place: f64,
}

impl Default for Stretcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Stretcher {
    /// Begins at speed 1.
    pub fn new() -> Self {
        Self { speed: 1.0, input: Vec::new(), continuation: 0, place: 0.0 }
    }

    /// Sets the speed of what has not been given out yet; brought into [`SPEED`], 1 for what is no number.
    pub fn set_speed(&mut self, speed: f32) {
        self.speed = if speed.is_nan() { 1.0 } else { speed.clamp(*SPEED.start(), *SPEED.end()) };
    }

    /// The speed now.
    pub fn speed(&self) -> f32 {
        self.speed
    }

    /// Takes the next audio and appends what it becomes. Up to 40 ms of it is kept for the next call.
    pub fn process(&mut self, samples: &[i16], output: &mut Vec<i16>) {
        for block in samples.chunks(1_024) {
            self.input.extend_from_slice(block);
            self.advance(output);
        }
    }

    /// The stream ends: appends the rest, and begins anew.
    pub fn flush(&mut self, output: &mut Vec<i16>) {
        output.extend_from_slice(&self.input[self.continuation..]);
        self.input.clear();
        self.continuation = 0;
        self.place = 0.0;
    }

    fn advance(&mut self, output: &mut Vec<i16>) {
        loop {
            if self.speed == 1.0 {
                // The natural continuation, unchanged. Keeping two pieces back lets a later change of speed start from here.
                let until = self.input.len().saturating_sub(2 * PIECE).max(self.continuation);
                output.extend_from_slice(&self.input[self.continuation..until]);
                self.continuation = until;
                self.place = until as f64;
                break;
            }
            // A piece and what continues it must be there wherever the piece is taken.
            let place = self.place as usize;
            if place + REACH + 2 * PIECE > self.input.len() {
                break;
            }
            let from = self.most_similar(place);
            let before = &self.input[self.continuation..self.continuation + PIECE];
            let piece = &self.input[from..from + PIECE];
            output.extend(before.iter().zip(piece).enumerate().map(|(index, (&old, &new))| {
                let fade = 0.5 - 0.5 * (std::f32::consts::PI * (index as f32 + 0.5) / PIECE as f32).cos();
                (f32::from(old) * (1.0 - fade) + f32::from(new) * fade).round() as i16
            }));
            self.continuation = from + PIECE;
            self.place += f64::from(self.speed) * PIECE as f64;
        }
        let done = self.continuation.min((self.place as usize).saturating_sub(REACH));
        self.input.drain(..done);
        self.continuation -= done;
        self.place -= done as f64;
    }

    /// Where near `place` the input is most like the natural continuation of what was given out.
    fn most_similar(&self, place: usize) -> usize {
        let wanted = &self.input[self.continuation..self.continuation + PIECE];
        let mut best = (f32::NEG_INFINITY, place);
        for from in place.saturating_sub(REACH)..=place + REACH {
            let candidate = &self.input[from..from + PIECE];
            let (mut product, mut power) = (0i64, 0i64);
            for (a, b) in wanted.iter().zip(candidate).step_by(COMPARE_STEP) {
                product += i64::from(*a) * i64::from(*b);
                power += i64::from(*b) * i64::from(*b);
            }
            let similarity = product as f32 / (power as f32 + 1.0).sqrt();
            if similarity > best.0 {
                best = (similarity, from);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fake_voice::voice;

    fn tone(hz: f32, seconds: f32) -> Vec<i16> {
        let step = std::f32::consts::TAU * hz / 8_000.0;
        (0..(seconds * 8_000.0) as usize).map(|n| (10_000.0 * (n as f32 * step).sin()) as i16).collect()
    }

    fn stretch(speed: f32, samples: &[i16], chunk: usize) -> Vec<i16> {
        let mut stretcher = Stretcher::new();
        stretcher.set_speed(speed);
        let mut output = Vec::new();
        for chunk in samples.chunks(chunk) {
            stretcher.process(chunk, &mut output);
            assert!(stretcher.input.len() < 2_000);
        }
        stretcher.flush(&mut output);
        output
    }

    /// Times per second that the wave rises through zero.
    fn frequency(samples: &[i16]) -> f32 {
        let rises = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        rises as f32 * 8_000.0 / samples.len() as f32
    }

    fn greatest_jump(samples: &[i16]) -> i32 {
        samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn speech_becomes_shorter_by_the_speed() {
        for speed in [1.0, 1.1, 1.25, 1.5] {
            let output = stretch(speed, &voice(5_000), 160);
            let expected = 40_000.0 / speed;
            assert!((output.len() as f32 - expected).abs() < 400.0, "speed {speed}: {} samples", output.len());
        }
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_has_no_clicks() {
        for hz in [75.0, 120.0, 200.0, 440.0, 1_000.0, 2_500.0] {
            let input = tone(hz, 3.0);
            for speed in [1.1, 1.3, 1.5] {
                let output = stretch(speed, &input, 160);
                let heard = frequency(&output);
                assert!((heard / hz - 1.0).abs() < 0.02, "{hz} Hz at speed {speed} became {heard} Hz");
                let (jump, natural) = (greatest_jump(&output), greatest_jump(&input));
                assert!(
                    jump as f32 <= natural as f32 * 1.25 + 100.0,
                    "{hz} Hz at speed {speed}: a jump of {jump}, {natural} before"
                );
            }
        }
    }

    #[test]
    fn speech_has_no_clicks() {
        let input = voice(4_000);
        assert!(greatest_jump(&stretch(1.4, &input, 160)) <= greatest_jump(&input));
    }

    #[test]
    fn speed_1_changes_nothing_also_after_another_speed() {
        let input = voice(1_000);
        assert_eq!(stretch(1.0, &input, 77), input);
        assert_eq!(stretch(f32::NAN, &input, 77), input);

        let mut stretcher = Stretcher::new();
        stretcher.set_speed(1.5);
        let mut output = Vec::new();
        stretcher.process(&input, &mut output);
        stretcher.set_speed(1.0);
        let before = output.len();
        stretcher.process(&input, &mut output);
        stretcher.flush(&mut output);
        assert!(output.len() - before >= input.len());
        assert_eq!(output[output.len() - input.len()..], input);
    }

    #[test]
    fn speeds_are_brought_into_range() {
        let mut stretcher = Stretcher::new();
        for (asked, given) in [(0.1, 1.0), (9.0, 1.5), (1.2, 1.2), (f32::INFINITY, 1.5)] {
            stretcher.set_speed(asked);
            assert_eq!(stretcher.speed(), given);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn chunks_make_no_difference(chunk in 1usize..3_000, speed in 1.0f32..1.5) {
            let input = voice(800);
            prop_assert_eq!(stretch(speed, &input, chunk), stretch(speed, &input, 160));
        }

        #[test]
        fn any_samples_and_speeds_keep_the_promises(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<i16>(), 0..900), 0.9f32..1.6), 0..12),
        ) {
            let mut stretcher = Stretcher::new();
            let (mut taken, mut output) = (0, Vec::new());
            for (samples, speed) in pieces {
                taken += samples.len();
                stretcher.set_speed(speed);
                stretcher.process(&samples, &mut output);
                prop_assert!(stretcher.input.len() < 2_000);
            }
            stretcher.flush(&mut output);
            prop_assert!(output.len() <= taken + REACH && output.len() as f32 >= taken as f32 / 1.5 - 200.0);
        }
    }
}
