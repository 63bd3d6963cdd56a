//! What one party hears, on the time line of the call.
//!
//! What must stay true: audio lies where a listener would have heard it (when it arrived, or after what was still playing), silence in
//! between; memory is bounded by [`EAR_MINUTES_MAX`].

use kallglot_audio::{SAMPLES_PER_MS, level};
use kallglot_core::session::Speaker;

/// Longest that is kept; later audio still counts but is not kept.
pub(crate) const EAR_MINUTES_MAX: usize = 60;
const SAMPLES_MAX: usize = EAR_MINUTES_MAX * 60_000 * SAMPLES_PER_MS;
/// Audio that comes at most this much after what was playing follows it without a gap, as a player's buffer would make it do.
const JITTER_MS: u64 = 60;
/// How much of the past a level is taken from.
const LEVEL_WINDOW_MS: u64 = 100;

/// One party's ear.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    samples: Vec<i16>,
    /// Until when each speaker's words are playing, in ms of the call.
    playing_until_samples: [u64; 2],
    heard_samples: u64,
}

impl Ear {
    /// Hears `samples` of `speaker`'s words, which arrive at `now_ms`.
    pub(crate) fn hear(&mut self, now_ms: u64, speaker: Speaker, samples: &[i16]) {
        let playing_until = &mut self.playing_until_samples[speaker.index()];
        let now = now_ms * SAMPLES_PER_MS as u64;
        let start = if now > *playing_until + JITTER_MS * SAMPLES_PER_MS as u64 { now } else { *playing_until };
        let end = start + samples.len() as u64;
        *playing_until = end;
        self.heard_samples += samples.len() as u64;
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return };
        let (start, end) = (start.min(SAMPLES_MAX), end.min(SAMPLES_MAX));
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        kallglot_audio::mix::mix_into(&mut self.samples[start..end], samples);
    }

    /// Whether something is still to be heard at `now_ms`.
    pub(crate) fn is_hearing(&self, now_ms: u64) -> bool {
        self.playing_until_samples.iter().any(|&until| until > now_ms * SAMPLES_PER_MS as u64)
    }

    /// How loud it is at `now_ms`, in dBFS.
    pub(crate) fn level_dbfs(&self, now_ms: u64) -> f32 {
        let at =
            |ms: u64| usize::try_from(ms).unwrap_or(usize::MAX).saturating_mul(SAMPLES_PER_MS).min(self.samples.len());
        level::rms_dbfs(&self.samples[at(now_ms.saturating_sub(LEVEL_WINDOW_MS))..at(now_ms)])
    }

    /// All that was heard, from the call's beginning.
    pub(crate) fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// How much audio was heard, in ms, silence in between not counted.
    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_samples / SAMPLES_PER_MS as u64
    }

    /// How loud what was heard is on the whole, in dBFS: frames of 20 ms that are silent do not count.
    pub(crate) fn loudness_dbfs(&self) -> f32 {
        let frames = self.samples.chunks(20 * SAMPLES_PER_MS).filter(|frame| level::rms_dbfs(frame) > -60.0);
        let (count, sum) = frames.fold((0u32, 0f64), |(count, sum), frame| {
            (count + 1, sum + 10f64.powf(f64::from(level::rms_dbfs(frame)) / 10.0))
        });
        if count == 0 { level::SILENCE_DBFS } else { 10.0 * (sum / f64::from(count)).log10() as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_lies_where_it_was_heard_and_frames_that_come_a_little_late_leave_no_gap() {
        let mut ear = Ear::default();
        ear.hear(100, Speaker::Customer, &[7; 160]);
        ear.hear(125, Speaker::Customer, &[8; 160]);
        assert_eq!(ear.samples().len(), 140 * 8, "the second frame follows the first at 120 ms");
        assert_eq!((ear.samples()[799], ear.samples()[800], ear.samples()[960]), (0, 7, 8));
        ear.hear(500, Speaker::Customer, &[9; 160]);
        assert_eq!((ear.samples()[3_999], ear.samples()[4_000]), (0, 9));
        assert_eq!(ear.heard_ms(), 60);
        assert!(ear.is_hearing(519) && !ear.is_hearing(520));
    }

    #[test]
    fn a_burst_is_heard_one_after_the_other_and_two_voices_at_once() {
        let mut ear = Ear::default();
        ear.hear(0, Speaker::Customer, &[1; 160]);
        ear.hear(0, Speaker::Customer, &[2; 160]);
        ear.hear(0, Speaker::Agent, &[10; 160]);
        assert_eq!((ear.samples()[0], ear.samples()[160], ear.samples().len()), (11, 2, 320));
    }

    #[test]
    fn more_than_is_kept_is_counted_only() {
        let mut ear = Ear::default();
        ear.hear(EAR_MINUTES_MAX as u64 * 60_000 + 5, Speaker::Agent, &[1; 160]);
        assert_eq!(ear.samples().len(), SAMPLES_MAX);
        ear.hear(u64::from(u32::MAX), Speaker::Agent, &[1; 160]);
        assert_eq!((ear.samples().len(), ear.heard_ms()), (SAMPLES_MAX, 40));
    }

    #[test]
    fn loudness_leaves_silence_out() {
        let mut ear = Ear::default();
        assert_eq!(ear.loudness_dbfs(), level::SILENCE_DBFS);
        ear.hear(60_000, Speaker::Agent, &[16_384; 1_600]);
        assert!((ear.loudness_dbfs() + 6.02).abs() < 0.1, "{}", ear.loudness_dbfs());
        assert!((ear.level_dbfs(60_100) + 6.02).abs() < 0.1);
    }
}
