//! Voice activity: how likely it is that someone speaks, frame by frame.
//!
//! A small neural network (`earshot`, weights built in) decides; in front of it an energy gate answers for frames that can't be
//! speech, because a call is silent in one direction most of the time and the gate costs a hundredth of the network.
//! What must stay true: an instance stays under 12 KB and never allocates after it was made; no input makes it panic.

use earshot::Detector;

use crate::level::{dbfs_of_mean_square, mean_square};

/// Samples of one frame: 16 ms.
pub const FRAME_SAMPLES: usize = 128;
/// Milliseconds of one frame.
pub const FRAME_MS: u32 = 16;

/// Frames quieter than this mean square (-62 dBFS) are never speech: the quietest intelligible telephone speech is about -50 dBFS.
const QUIET_MEAN_SQUARE: f32 = 680.0;
/// Frames up to this much above the noise floor (4 dB) are noise, whatever the network says: it takes steady noise for voice for
/// up to a second after somebody spoke.
const NOISE_MARGIN: f32 = 2.5;
/// By how much of the difference per frame the noise floor follows what is quieter, and what is louder but no voice.
const NOISE_FALL: f32 = 0.3;
const NOISE_LEARN: f32 = 0.05;
/// The noise floor rises by this factor per frame of voice (1.5 dB a second), in case that the network takes noise for voice.
const NOISE_RISE: f32 = 1.0055;
/// The loudest noise floor (-30 dBFS): beyond it the network decides alone.
const NOISE_MEAN_SQUARE_MAX: f32 = 1_070_000.0;
/// Frames that the network goes on listening after its last hint of voice: it judges better with what is between words.
const HOLD_FRAMES: u8 = 20;
/// A score that is such a hint.
const HINT: f32 = 0.1;
/// A score below which loudness is taken for noise (white noise gets about 0.3).
const VOICE: f32 = 0.45;
/// While the network is at least this sure of voice and the level is this far above noise (15 dB), only every fourth frame is shown to
/// it: measured on 575 prompts, utterances begin and end at the same places (to 2 ms in the median) at a third of the cost.
const CONFIDENT: f32 = 0.7;
const CLEARLY_ABOVE_NOISE: f32 = 30.0;
const SKIPPED_FRAMES_MAX: u8 = 3;
/// Frames that the network's features look back; shown to it again when the gate opens.
const CONTEXT_FRAMES: usize = 2;
/// Taps on either side of the interpolation to the network's 16 kHz.
const HALF_TAPS: usize = 4;

/// Voice activity detection of one stream.
pub struct Vad {
    detector: Box<Detector>,
    interpolation: [f32; HALF_TAPS],
    /// The end of what was interpolated last, and the frame after it.
    history: [i16; 2 * HALF_TAPS + FRAME_SAMPLES],
    /// The last frames before this one.
    context: [[i16; FRAME_SAMPLES]; CONTEXT_FRAMES],
    noise_mean_square: f32,
    /// Frames for which the network goes on listening to what is no louder than noise.
    hold_frames: u8,
    /// Frames that were not shown to the network since it was last asked, and what it said then.
    skipped_frames: u8,
    last_heard: f32,
}

impl Default for Vad {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Vad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vad").field("noise_mean_square", &self.noise_mean_square).finish_non_exhaustive()
    }
}

impl Vad {
    /// A detector that has heard nothing.
    pub fn new() -> Self {
        let mut interpolation = [0.0; HALF_TAPS];
        for (index, tap) in interpolation.iter_mut().enumerate() {
            let distance = index as f32 + 0.5;
            let sinc = (std::f32::consts::PI * distance).sin() / (std::f32::consts::PI * distance);
            let window = (std::f32::consts::FRAC_PI_2 * distance / (HALF_TAPS as f32 + 0.5)).cos();
            *tap = sinc * window * window;
        }
        // Both neighbours count alike, so the taps of one side sum to one half.
        let gain = 2.0 * interpolation.iter().sum::<f32>();
        interpolation.iter_mut().for_each(|tap| *tap /= gain);
        Self {
            detector: Detector::default_boxed(),
            interpolation,
            history: [0; 2 * HALF_TAPS + FRAME_SAMPLES],
            context: [[0; FRAME_SAMPLES]; CONTEXT_FRAMES],
            noise_mean_square: QUIET_MEAN_SQUARE,
            hold_frames: 0,
            skipped_frames: 0,
            last_heard: 0.0,
        }
    }

    /// How likely the next frame (16 ms that follow the last frame) is speech, 0 to 1.
    pub fn score(&mut self, frame: &[i16; FRAME_SAMPLES]) -> f32 {
        let power = mean_square(frame);
        let audible = power > self.noise_mean_square * NOISE_MARGIN;
        let mut voice = false;
        let mut score = 0.0;
        if audible || self.hold_frames > 0 {
            if self.hold_frames == 0 {
                for index in 0..CONTEXT_FRAMES {
                    let earlier = self.context[index];
                    self.predict(&earlier);
                }
            }
            let confident = self.last_heard > CONFIDENT && power > self.noise_mean_square * CLEARLY_ABOVE_NOISE;
            let heard = if confident && self.skipped_frames < SKIPPED_FRAMES_MAX {
                self.skipped_frames += 1;
                self.remember(frame);
                self.last_heard
            } else {
                self.skipped_frames = 0;
                self.predict(frame)
            };
            self.last_heard = heard;
            if audible {
                score = heard;
            }
            voice = heard >= VOICE;
            self.hold_frames = if score >= HINT { HOLD_FRAMES } else { self.hold_frames.saturating_sub(1) };
        }
        self.learn_noise(power, voice);
        self.context.rotate_left(1);
        self.context[CONTEXT_FRAMES - 1] = *frame;
        score
    }

    /// The level of what is heard between words, in dBFS; -62 for a silent line.
    pub fn noise_dbfs(&self) -> f32 {
        dbfs_of_mean_square(self.noise_mean_square)
    }

    /// Learns the noise floor: at once from what is quieter, soon from what is no voice, slowly (in case that voice is mistaken)
    /// from what is.
    fn learn_noise(&mut self, power: f32, voice: bool) {
        let floor = &mut self.noise_mean_square;
        if power < *floor {
            *floor += (power - *floor) * NOISE_FALL;
        } else if voice {
            *floor *= NOISE_RISE;
        } else {
            *floor += (power - *floor) * NOISE_LEARN;
        }
        *floor = floor.clamp(QUIET_MEAN_SQUARE, NOISE_MEAN_SQUARE_MAX);
    }

    fn remember(&mut self, frame: &[i16; FRAME_SAMPLES]) {
        self.history.copy_within(FRAME_SAMPLES.., 0);
        self.history[2 * HALF_TAPS..].copy_from_slice(frame);
    }

    /// Doubles the rate and asks the network.
    fn predict(&mut self, frame: &[i16; FRAME_SAMPLES]) -> f32 {
        self.remember(frame);
        let mut doubled = [0i16; 2 * FRAME_SAMPLES];
        for (index, pair) in doubled.chunks_exact_mut(2).enumerate() {
            let window = &self.history[index..index + 2 * HALF_TAPS];
            let between: f32 = (0..HALF_TAPS)
                .map(|tap| {
                    let sum = i32::from(window[HALF_TAPS - 1 - tap]) + i32::from(window[HALF_TAPS + tap]);
                    sum as f32 * self.interpolation[tap]
                })
                .sum();
            pair[0] = window[HALF_TAPS - 1];
            pair[1] = between.round() as i16;
        }
        self.detector.predict_i16(&doubled).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fake_voice::voice;
    use crate::level::rms_dbfs;

    /// White noise up to `amplitude`.
    pub(crate) fn noise(duration_ms: usize, amplitude: i32) -> Vec<i16> {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 33) as i32 % (2 * amplitude + 1) - amplitude) as i16
        };
        (0..duration_ms * 8).map(|_| next()).collect()
    }

    fn scores(vad: &mut Vad, samples: &[i16]) -> Vec<f32> {
        samples.as_chunks::<FRAME_SAMPLES>().0.iter().map(|frame| vad.score(frame)).collect()
    }

    fn part_above(scores: &[f32], limit: f32) -> f32 {
        scores.iter().filter(|score| **score >= limit).count() as f32 / scores.len() as f32
    }

    #[test]
    fn voice_is_told_from_silence() {
        let mut vad = Vad::new();
        assert_eq!(part_above(&scores(&mut vad, &[0; 8_000]), 0.01), 0.0);
        let heard = scores(&mut vad, &voice(2_000));
        assert!(part_above(&heard, 0.5) > 0.9, "{heard:.2?}");
        assert_eq!(part_above(&scores(&mut vad, &[0; 8_000]), 0.01), 0.0);
    }

    #[test]
    fn steady_noise_is_learned_and_voice_is_heard_above_it() {
        let mut vad = Vad::new();
        let quiet = noise(3_000, 500);
        scores(&mut vad, &quiet);
        assert!((vad.noise_dbfs() - rms_dbfs(&quiet)).abs() < 2.0, "{}", vad.noise_dbfs());
        assert_eq!(part_above(&scores(&mut vad, &quiet), 0.01), 0.0);
        let mixed = crate::mix::mix(&voice(2_000), &quiet);
        assert!(part_above(&scores(&mut vad, &mixed[..16_000]), 0.5) > 0.8);
        let after = scores(&mut vad, &quiet[..8_000]);
        assert!(part_above(&after, 0.5) < 0.1, "{after:.2?}");
    }

    #[test]
    fn whatever_is_heard_gives_a_probability() {
        let mut vad = Vad::new();
        for samples in [vec![i16::MIN; 4_000], noise(500, 32_767), vec![i16::MAX; 4_000]] {
            assert!(scores(&mut vad, &samples).iter().all(|score| (0.0..=1.0).contains(score)));
        }
    }
}
