//! What one party says: frames on a schedule, silence where there is nothing to say.
//!
//! What must stay true: a frame is always there, as from a telephone line; what a microphone gives beyond [`BACKLOG_MS_MAX`] is
//! dropped (and counted), so that the call never runs behind the speaker.

use std::collections::VecDeque;

use kallglot_audio::segment::{SegmentConfig, SegmentEvent, Segmenter};
use kallglot_audio::{SAMPLES_PER_MS, level};

/// Length of a frame.
pub(crate) const FRAME_MS: u64 = 20;
/// Samples of a frame.
pub(crate) const FRAME_SAMPLES: usize = FRAME_MS as usize * SAMPLES_PER_MS;
/// Most that waits of live audio.
const BACKLOG_MS_MAX: usize = 300;

/// Ends of voice that are remembered: those that a server may still be busy with.
const VOICE_ENDS_MAX: usize = 16;
/// How far the server's idea of when it was may be from ours.
const CLOCKS_APART_MS_MAX: u64 = 1_000;

/// One party's mouth.
#[derive(Debug)]
pub(crate) struct Mouth {
    pending: VecDeque<i16>,
    /// Tells when the party speaks, so that the call knows which answers are to come.
    segmenter: Segmenter,
    /// Where voice ended, the last few times.
    voice_ends_ms: VecDeque<u64>,
    level_dbfs: f32,
    dropped_samples: u64,
    /// Live audio is coming: it is not done when nothing is pending.
    pub(crate) live: bool,
}

impl Mouth {
    pub(crate) fn new() -> Self {
        Self {
            pending: VecDeque::new(),
            segmenter: Segmenter::new(&SegmentConfig::default()),
            voice_ends_ms: VecDeque::new(),
            level_dbfs: level::SILENCE_DBFS,
            dropped_samples: 0,
            live: false,
        }
    }

    /// Says all of `samples`, after what is still to be said.
    pub(crate) fn say(&mut self, samples: &[i16]) {
        self.pending.extend(samples);
    }

    /// Says live audio; the oldest goes when too much waits.
    pub(crate) fn say_live(&mut self, samples: &[i16]) {
        self.pending.extend(samples);
        let excess = self.pending.len().saturating_sub(BACKLOG_MS_MAX * SAMPLES_PER_MS);
        self.pending.drain(..excess);
        self.dropped_samples += excess as u64;
    }

    /// The next frame. Live audio waits until there is a whole frame of it.
    pub(crate) fn next_frame(&mut self) -> [i16; FRAME_SAMPLES] {
        let mut frame = [0; FRAME_SAMPLES];
        if !(self.live && self.pending.len() < FRAME_SAMPLES) {
            let count = self.pending.len().min(FRAME_SAMPLES);
            for (slot, sample) in frame.iter_mut().zip(self.pending.drain(..count)) {
                *slot = sample;
            }
        }
        self.level_dbfs = level::rms_dbfs(&frame);
        let voice_ends_ms = &mut self.voice_ends_ms;
        self.segmenter.push(&frame, &mut |event| {
            if let SegmentEvent::End { speech_end_ms, .. } = event {
                voice_ends_ms.truncate(VOICE_ENDS_MAX - 1);
                voice_ends_ms.push_front(speech_end_ms);
            }
        });
        frame
    }

    /// Whether there is nothing more to say.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty() && !self.live
    }

    /// Whether the party is speaking, or stopped so short a time ago that it may go on.
    pub(crate) fn is_speaking(&self) -> bool {
        self.segmenter.is_speaking()
    }

    /// Where the last voice ended, in ms of audio said.
    pub(crate) fn voice_end_ms(&self) -> Option<u64> {
        self.voice_ends_ms.front().copied()
    }

    /// Where the voice ended that the server says ended at `end_ms`. Its clock starts anew when audio is held up on the way, so
    /// what was heard here is better to measure from; none when nothing was heard to end about then.
    pub(crate) fn voice_end_near(&self, end_ms: u64) -> Option<u64> {
        let nearest = self.voice_ends_ms.iter().copied().min_by_key(|end| end.abs_diff(end_ms))?;
        (nearest.abs_diff(end_ms) <= CLOCKS_APART_MS_MAX).then_some(nearest)
    }

    /// How loud the last frame was.
    pub(crate) fn level_dbfs(&self) -> f32 {
        self.level_dbfs
    }

    /// How much live audio was dropped, in ms.
    pub(crate) fn dropped_ms(&self) -> u64 {
        self.dropped_samples / SAMPLES_PER_MS as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_in_frames_and_then_silence() {
        let mut mouth = Mouth::new();
        assert!(mouth.is_done());
        mouth.say(&[5; 200]);
        assert_eq!(mouth.next_frame(), [5; 160]);
        let second = mouth.next_frame();
        assert_eq!((second[39], second[40]), (5, 0));
        assert!(mouth.is_done());
        assert_eq!(mouth.next_frame(), [0; 160]);
        assert_eq!(mouth.voice_end_ms(), None);
    }

    #[test]
    fn the_end_of_voice_is_the_one_that_the_server_means() {
        let mut mouth = Mouth::new();
        assert_eq!(mouth.voice_end_near(900), None);
        mouth.voice_ends_ms = [9_000, 5_000, 1_000].into();
        assert_eq!(mouth.voice_end_ms(), Some(9_000));
        assert_eq!(mouth.voice_end_near(5_350), Some(5_000));
        assert_eq!(mouth.voice_end_near(10_001), None, "another clock, or another voice");
    }

    #[test]
    fn a_microphone_that_runs_ahead_loses_its_oldest_audio_and_one_that_lags_gives_silence() {
        let mut mouth = Mouth::new();
        mouth.live = true;
        mouth.say_live(&[1; 100]);
        assert_eq!(mouth.next_frame(), [0; 160], "less than a frame is not torn apart");
        mouth.say_live(&[2; 3_000]);
        assert_eq!(mouth.dropped_ms(), 700 / 8);
        assert_eq!(mouth.next_frame(), [2; 160]);
        assert!(!mouth.is_done());
        while mouth.next_frame() != [0; 160] {}
        mouth.live = false;
        mouth.next_frame();
        assert!(mouth.is_done());
    }
}
