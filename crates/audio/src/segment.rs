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
    ///
    /// Measured by `examples/endpoints` on 575 prompts read by people (English and Spanish, Asterisk's core sounds, 8 kHz), clean and
    /// with white noise 20 dB below the voice. Wrong: prompts of one clause that were split. All: splits per 100 prompts, most of
    /// them at a full stop or comma. Late: from the end of voice (by energy) to the endpoint, median and 95th percentile, in ms.
    ///
    /// | endpoint | en wrong, all, late | es wrong, all, late | en noisy | es noisy |
    /// | --- | --- | --- | --- | --- |
    /// | 250 | 0.9 %, 22.0, 256/320 | 1.6 %, 13.0, 236/266 | 2.7 %, 36.3, 228/328 | 1.1 %, 13.4, 296/326 |
    /// | 300 | 0.5 %, 12.1, 304/356 | 0.5 %, 9.6, 284/314 | 0.9 %, 20.7, 276/376 | 0.0 %, 9.2, 344/374 |
    /// | 350 | 0.5 %, 6.7, 352/404 | 0.0 %, 8.0, 332/362 | 0.5 %, 12.1, 340/440 | 0.0 %, 7.3, 402/436 |
    /// | 400 | 0.0 %, 4.5, 400/448 | 0.0 %, 6.9, 380/410 | 0.5 %, 6.7, 386/488 | 0.0 %, 6.5, 452/484 |
    /// | 500 | 0.0 %, 2.9, 512/560 | 0.0 %, 6.1, 492/522 | 0.0 %, 3.8, 484/584 | 0.0 %, 6.1, 550/580 |
    ///
    /// 400 is the shortest that splits no clause of a clean recording, and people who speak freely pause longer than those who read.
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

/// What is added to the endpoint on a noisy line, in ms. It is back by then: noise hides the last 60 to 120 ms of speech.
const NOISY_LINE_ENDPOINT_MS: f32 = 100.0;
/// Noise from which the endpoint grows, and at which it has grown fully.
const QUIET_LINE_DBFS: f32 = -60.0;
const NOISY_LINE_DBFS: f32 = -40.0;

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
                if silence_ms >= endpoint_ms(&self.config, spoken_ms, self.vad.noise_dbfs())
                    || spoken_ms >= self.config.utterance_max_ms
                {
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

/// Silence that ends an utterance of `spoken_ms` so far: what is configured, more on a noisy line where the soft ends of words are not
/// heard, ever less in the last quarter of the greatest length.
fn endpoint_ms(config: &SegmentConfig, spoken_ms: u32, noise_dbfs: f32) -> u32 {
    let noisiness = ((noise_dbfs - QUIET_LINE_DBFS) / (NOISY_LINE_DBFS - QUIET_LINE_DBFS)).clamp(0.0, 1.0);
    let wanted_ms = config.endpoint_ms + (NOISY_LINE_ENDPOINT_MS * noisiness) as u32;
    let last_quarter_ms = config.utterance_max_ms / 4;
    let left_ms = config.utterance_max_ms.saturating_sub(spoken_ms).min(last_quarter_ms);
    (wanted_ms * left_ms / last_quarter_ms).max(FRAME_MS)
}

fn to_ms(samples: u64) -> u64 {
    samples / SAMPLES_PER_MS as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fake_voice::voice;
    use crate::vad::tests::noise;

    #[derive(Debug, PartialEq, Clone)]
    struct Utterance {
        start_ms: u64,
        audio_ms: u64,
        samples: Vec<i16>,
        speech_end_ms: u64,
        endpoint_ms: u64,
    }

    /// Cuts `audio`, given in chunks of `chunk` samples, and checks that events come in order and nothing is lost or given twice.
    fn cut(config: &SegmentConfig, audio: &[i16], chunk: usize) -> Vec<Utterance> {
        let mut segmenter = Segmenter::new(config);
        let mut utterances: Vec<Utterance> = Vec::new();
        let mut open = false;
        let mut on = |event: SegmentEvent<'_>| match event {
            SegmentEvent::Start { start_ms, audio_ms } => {
                assert!(!open);
                open = true;
                assert!(audio_ms <= start_ms && utterances.last().is_none_or(|last| last.endpoint_ms <= audio_ms));
                utterances.push(Utterance {
                    start_ms,
                    audio_ms,
                    samples: Vec::new(),
                    speech_end_ms: 0,
                    endpoint_ms: 0,
                });
            }
            SegmentEvent::Audio(samples) => {
                assert!(open && !samples.is_empty());
                utterances.last_mut().unwrap().samples.extend(samples);
            }
            SegmentEvent::End { speech_end_ms, endpoint_ms } => {
                assert!(std::mem::take(&mut open));
                let last = utterances.last_mut().unwrap();
                (last.speech_end_ms, last.endpoint_ms) = (speech_end_ms, endpoint_ms);
                assert!(last.start_ms <= speech_end_ms && speech_end_ms <= endpoint_ms);
            }
        };
        for chunk in audio.chunks(chunk) {
            segmenter.push(chunk, &mut on);
        }
        assert_eq!(segmenter.position_ms(), audio.len() as u64 / 8);
        segmenter.flush(&mut on);
        assert!(!segmenter.is_speaking());
        assert!(!open);
        for utterance in &utterances {
            let from = utterance.audio_ms as usize * 8;
            assert_eq!(utterance.samples, audio[from..from + utterance.samples.len()]);
            assert!(utterance.endpoint_ms - utterance.start_ms <= u64::from(config.clamped().utterance_max_ms));
        }
        utterances
    }

    fn near(value: u64, expected: u64) -> bool {
        value.abs_diff(expected) <= 120
    }

    #[test]
    fn two_utterances_are_found_where_they_are() {
        let audio = [vec![0; 8_000], voice(1_000), vec![0; 8_000], voice(1_500), vec![0; 8_000]].concat();
        let utterances = cut(&SegmentConfig::default(), &audio, 160);
        let places: Vec<_> = utterances.iter().map(|u| (u.start_ms, u.speech_end_ms, u.endpoint_ms)).collect();
        assert_eq!(places.len(), 2, "{places:?}");
        assert!(near(places[0].0, 1_000) && near(places[0].1, 2_000) && near(places[0].2, 2_400), "{places:?}");
        assert!(near(places[1].0, 3_000) && near(places[1].1, 4_500) && near(places[1].2, 4_900), "{places:?}");
    }

    #[test]
    fn audio_begins_before_voice_does() {
        let audio = [vec![0; 8_000], voice(500), vec![0; 8_000]].concat();
        let utterance = cut(&SegmentConfig::default(), &audio, 160).remove(0);
        assert_eq!(utterance.start_ms - utterance.audio_ms, 250);
    }

    #[test]
    fn a_pause_shorter_than_the_endpoint_ends_nothing() {
        let audio = [voice(800), vec![0; 250 * 8], voice(800), vec![0; 8_000]].concat();
        assert_eq!(cut(&SegmentConfig::default(), &audio, 160).len(), 1);
        let hasty = SegmentConfig { endpoint_ms: 150, ..SegmentConfig::default() };
        assert_eq!(cut(&hasty, &audio, 160).len(), 2);
    }

    #[test]
    fn silence_noise_and_clicks_are_no_utterance() {
        let mut clicks = vec![0; 32_000];
        for at in (4_000..28_000).step_by(4_000) {
            clicks[at..at + 20].fill(20_000);
        }
        for audio in [vec![0; 32_000], noise(4_000, 300), clicks] {
            assert_eq!(cut(&SegmentConfig::default(), &audio, 160), []);
        }
    }

    #[test]
    fn flush_ends_an_open_utterance_and_the_next_one_goes_on_from_there() {
        let mut segmenter = Segmenter::new(&SegmentConfig::default());
        let mut events = Vec::new();
        let mut on = |event: SegmentEvent<'_>| match event {
            SegmentEvent::Start { start_ms, .. } => events.push(("start", start_ms)),
            SegmentEvent::Audio(_) => {}
            SegmentEvent::End { endpoint_ms, .. } => events.push(("end", endpoint_ms)),
        };
        segmenter.push(&voice(1_003), &mut on);
        segmenter.flush(&mut on);
        segmenter.flush(&mut on);
        segmenter.push(&vec![0; 4_000], &mut on);
        segmenter.push(&voice(1_000), &mut on);
        segmenter.flush(&mut on);
        let [("start", first), ("end", 1_003), ("start", second), ("end", 2_503)] = events[..] else {
            panic!("{events:?}")
        };
        assert!(near(first, 0) && near(second, 1_503), "{events:?}");
    }

    #[test]
    fn endless_speech_is_cut_in_its_best_pause_or_at_the_limit() {
        let config = SegmentConfig { utterance_max_ms: 4_000, ..SegmentConfig::default() };
        // A pause that would end nothing in the beginning does so near the limit.
        let paused = [voice(1_000), vec![0; 200 * 8], voice(2_400), vec![0; 200 * 8], voice(1_500)].concat();
        let utterances = cut(&config, &paused, 160);
        assert_eq!(utterances.len(), 2);
        assert!(near(utterances[0].speech_end_ms, 3_600), "{}", utterances[0].speech_end_ms);

        let utterances = cut(&config, &voice(9_000), 160);
        assert_eq!(utterances.len(), 3);
        assert!(utterances.windows(2).all(|pair| pair[1].audio_ms - pair[0].endpoint_ms < 16), "nothing is left out");
    }

    #[test]
    fn nonsense_in_the_configuration_is_brought_into_range() {
        let config = SegmentConfig {
            onset_ms: 0,
            endpoint_ms: u32::MAX,
            preroll_ms: u32::MAX,
            utterance_max_ms: 0,
            threshold: f32::NAN,
        };
        let expected = SegmentConfig {
            onset_ms: 16,
            endpoint_ms: 3_000,
            preroll_ms: 1_000,
            utterance_max_ms: 2_000,
            threshold: 0.5,
        };
        assert_eq!(config.clamped(), expected);
        cut(&config, &voice(3_000), 160);
    }

    #[test]
    fn an_instance_is_small() {
        let config = SegmentConfig::default();
        let recent_bytes = 2 * Segmenter::new(&config).recent.capacity();
        let bytes = size_of::<Segmenter>() + size_of::<earshot::Detector>() + recent_bytes;
        assert!(bytes < 20_000, "{bytes}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chunks_make_no_difference(chunk in 1usize..2_000) {
            let audio = [vec![0; 3_000], voice(700), noise(700, 100), voice(300), vec![0; 5_000]].concat();
            let config = SegmentConfig::default();
            prop_assert_eq!(cut(&config, &audio, chunk), cut(&config, &audio, 160));
        }

        #[test]
        fn any_samples_keep_the_promises(audio in proptest::collection::vec(any::<i16>(), 0..40_000), endpoint_ms in 0u32..1_000) {
            let config = SegmentConfig { endpoint_ms, utterance_max_ms: 2_000, threshold: 0.1, ..SegmentConfig::default() };
            cut(&config, &audio, 333);
        }
    }
}
