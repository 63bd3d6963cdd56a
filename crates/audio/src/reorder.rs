//! Puts frames of audio back in the order of their sequence numbers.
//!
//! A frame that is missing is waited for while up to a window of later audio is held; then its place is filled with silence. What must
//! stay true: every frame is given out at most once and in order; what is held never exceeds the window and one frame; silence in one
//! place never exceeds [`ReorderConfig::gap_max_ms`]; no sequence of numbers makes it panic or wait for ever. It knows no clock: who
//! owns it calls [`ReorderBuffer::release`] when [`ReorderBuffer::waiting_for`] has named the same frame for longer than the window.

use std::collections::{BTreeMap, VecDeque};

use crate::SAMPLES_PER_MS;

/// How long to wait and how much to make up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReorderConfig {
    /// Audio that is held while a frame is missing.
    pub window_ms: u32,
    /// The longest gap that is filled with silence. A number further away than that (and than four frames), forwards or backwards,
    /// is no gap: when the next number follows it, the sender has begun a new count.
    pub gap_max_ms: u32,
}

impl Default for ReorderConfig {
    fn default() -> Self {
        Self { window_ms: 500, gap_max_ms: 2_000 }
    }
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReorderStats {
    /// Places that were filled with silence.
    pub gaps: u64,
    /// Frames that were missing there.
    pub lost_frames: u64,
    /// Silence given out for them.
    pub silence_ms: u64,
    /// Frames that had come before.
    pub duplicates: u64,
    /// Frames that came after their place was filled, or that fit nowhere.
    pub late: u64,
    /// How often the sender began a new count.
    pub restarts: u64,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Given out, with what had waited for it.
    InOrder,
    /// Held until an earlier frame comes or is given up.
    Early,
    /// Dropped: it had come before.
    Duplicate,
    /// Dropped: its place was filled.
    Late,
    /// Held: far from what was expected. The next frame shows whether the sender began a new count.
    Stray,
}

/// The least that a frame counts for when frames are counted as time, so that empty ones are bounded too: 10 ms.
const FRAME_SAMPLES_MIN: usize = 10 * SAMPLES_PER_MS;
/// A distance in frames that is never far.
const NEAR_FRAMES: u64 = 4;
/// Given-up places that are remembered to tell late frames from duplicates.
const LOST_RANGES_MAX: usize = 8;

/// Orders the frames of one sender.
#[derive(Debug)]
pub struct ReorderBuffer {
    config: ReorderConfig,
    /// The number wanted next; none before the first frame.
    next: Option<u64>,
    held: BTreeMap<u64, Vec<i16>>,
    held_samples: usize,
    /// Samples of the last frame that was given out: what a missing one is taken to have had.
    usual_samples: usize,
    stray: Option<(u64, Vec<i16>)>,
    lost_ranges: VecDeque<(u64, u64)>,
    silence_samples: u64,
    stats: ReorderStats,
}

impl ReorderBuffer {
    /// An empty buffer. The first frame, whatever its number, begins the count.
    pub fn new(config: ReorderConfig) -> Self {
        Self {
            config,
            next: None,
            held: BTreeMap::new(),
            held_samples: 0,
            usual_samples: FRAME_SAMPLES_MIN,
            stray: None,
            lost_ranges: VecDeque::new(),
            silence_samples: 0,
            stats: ReorderStats::default(),
        }
    }

    /// Takes a frame and appends to `output` what is now in order.
    pub fn push(&mut self, sequence: u64, samples: &[i16], output: &mut Vec<i16>) -> Arrival {
        // The greatest number has none that follows it.
        if sequence == u64::MAX {
            self.stats.late += 1;
            return Arrival::Late;
        }
        let next = *self.next.get_or_insert(sequence);
        if self.is_far(sequence.abs_diff(next)) {
            return self.take_stray(sequence, samples, output);
        }
        self.drop_stray();
        if sequence < next {
            let was_given_up = self.lost_ranges.iter().any(|(from, to)| (*from..*to).contains(&sequence));
            if was_given_up {
                self.stats.late += 1;
                return Arrival::Late;
            }
            self.stats.duplicates += 1;
            return Arrival::Duplicate;
        }
        if sequence == next {
            self.give(sequence, samples, output);
            self.give_held(output);
            return Arrival::InOrder;
        }
        if self.held.contains_key(&sequence) {
            self.stats.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.held.insert(sequence, samples.to_vec());
        self.held_samples += weight(samples);
        while self.held_samples > self.config.window_ms as usize * SAMPLES_PER_MS {
            self.release(output);
        }
        if self.next.is_some_and(|next| sequence < next) { Arrival::InOrder } else { Arrival::Early }
    }

    /// The number of the frame that audio is waiting for; none when nothing waits.
    pub fn waiting_for(&self) -> Option<u64> {
        if self.held.is_empty() { None } else { self.next }
    }

    /// Gives up the frames that are waited for: fills their place with silence and appends what follows it, up to the next gap.
    /// Does nothing when nothing waits.
    pub fn release(&mut self, output: &mut Vec<i16>) {
        let (Some(next), Some((&first, _))) = (self.next, self.held.first_key_value()) else { return };
        let missing = first - next;
        if missing > 0 {
            let gap_max = self.config.gap_max_ms as usize * SAMPLES_PER_MS;
            let silence =
                usize::try_from(missing).unwrap_or(usize::MAX).saturating_mul(self.usual_samples).min(gap_max);
            output.resize(output.len() + silence, 0);
            self.stats.gaps += 1;
            self.stats.lost_frames += missing;
            self.silence_samples += silence as u64;
            self.lost_ranges.push_back((next, first));
            if self.lost_ranges.len() > LOST_RANGES_MAX {
                self.lost_ranges.pop_front();
            }
        }
        self.next = Some(first);
        self.give_held(output);
    }

    /// The sender is known to begin a new count (it connected anew): appends what is held, and lets the next frame begin.
    pub fn restart(&mut self, output: &mut Vec<i16>) {
        while !self.held.is_empty() {
            self.release(output);
        }
        self.drop_stray();
        self.lost_ranges.clear();
        self.next = None;
    }

    /// What happened so far.
    pub fn stats(&self) -> ReorderStats {
        ReorderStats { silence_ms: self.silence_samples / SAMPLES_PER_MS as u64, ..self.stats }
    }

    fn is_far(&self, distance_frames: u64) -> bool {
        let gap_max = self.config.gap_max_ms as usize * SAMPLES_PER_MS;
        distance_frames > NEAR_FRAMES && distance_frames > (gap_max / self.usual_samples) as u64
    }

    fn take_stray(&mut self, sequence: u64, samples: &[i16], output: &mut Vec<i16>) -> Arrival {
        match self.stray.take() {
            Some((before, held)) if before + 1 == sequence => {
                self.restart(output);
                self.stats.restarts += 1;
                self.give(before, &held, output);
                self.give(sequence, samples, output);
                Arrival::InOrder
            }
            earlier => {
                self.stats.late += u64::from(earlier.is_some());
                self.stray = Some((sequence, samples.to_vec()));
                Arrival::Stray
            }
        }
    }

    fn drop_stray(&mut self) {
        if self.stray.take().is_some() {
            self.stats.late += 1;
        }
    }

    fn give(&mut self, sequence: u64, samples: &[i16], output: &mut Vec<i16>) {
        output.extend_from_slice(samples);
        self.usual_samples = weight(samples);
        self.next = Some(sequence + 1);
    }

    fn give_held(&mut self, output: &mut Vec<i16>) {
        while let Some(next) = self.next
            && let Some(samples) = self.held.remove(&next)
        {
            self.held_samples -= weight(&samples);
            self.give(next, &samples, output);
        }
    }
}

fn weight(samples: &[i16]) -> usize {
    samples.len().max(FRAME_SAMPLES_MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 20 ms that can be recognised.
    fn frame(number: u64) -> Vec<i16> {
        vec![(number as i16).wrapping_add(1); 160]
    }

    fn frames(numbers: impl IntoIterator<Item = u64>) -> Vec<i16> {
        numbers.into_iter().flat_map(frame).collect()
    }

    fn push_all(buffer: &mut ReorderBuffer, numbers: impl IntoIterator<Item = u64>) -> Vec<i16> {
        let mut output = Vec::new();
        for number in numbers {
            buffer.push(number, &frame(number), &mut output);
        }
        output
    }

    fn buffer() -> ReorderBuffer {
        ReorderBuffer::new(ReorderConfig::default())
    }

    #[test]
    fn frames_are_put_in_order_whatever_number_they_begin_with() {
        for first in [0, 1, 4_000_000_000, u64::MAX - 10] {
            let mut buffer = buffer();
            let numbers = [0, 2, 1, 5, 4, 3].map(|n| first + n);
            let mut output = Vec::new();
            let arrivals = numbers.map(|number| buffer.push(number, &frame(number - first), &mut output));
            use Arrival::{Early, InOrder};
            assert_eq!(arrivals, [InOrder, Early, InOrder, Early, Early, InOrder]);
            assert_eq!(output, frames(0..6));
            assert_eq!((buffer.stats(), buffer.waiting_for()), (ReorderStats::default(), None));
        }
    }

    #[test]
    fn duplicates_are_dropped() {
        let mut buffer = buffer();
        assert_eq!(push_all(&mut buffer, [0, 1, 1, 0, 3, 3, 2, 3]), frames(0..4));
        assert_eq!(buffer.stats(), ReorderStats { duplicates: 4, ..ReorderStats::default() });
    }

    #[test]
    fn a_lost_frame_becomes_silence_once_the_window_is_full() {
        let mut buffer = buffer();
        let before = push_all(&mut buffer, (0..3).chain(5..30));
        assert_eq!(before, frames(0..3), "25 frames of 20 ms are held");
        assert_eq!(buffer.waiting_for(), Some(3));
        let after = push_all(&mut buffer, [30]);
        assert_eq!(after, [vec![0; 320], frames(5..31)].concat());
        let expected = ReorderStats { gaps: 1, lost_frames: 2, silence_ms: 40, ..ReorderStats::default() };
        assert_eq!(buffer.stats(), expected);
        assert_eq!(buffer.push(4, &frame(4), &mut Vec::new()), Arrival::Late);
        assert_eq!(buffer.push(5, &frame(5), &mut Vec::new()), Arrival::Duplicate);
    }

    #[test]
    fn release_ends_the_wait_when_time_has_passed_and_no_frames_come() {
        let mut buffer = buffer();
        push_all(&mut buffer, [0, 2, 4]);
        let mut output = Vec::new();
        buffer.release(&mut output);
        assert_eq!(output, [vec![0; 160], frame(2)].concat());
        assert_eq!(buffer.waiting_for(), Some(3), "the next gap has its own wait");
        buffer.release(&mut output);
        assert_eq!(output, [vec![0; 160], frame(2), vec![0; 160], frame(4)].concat());
        buffer.release(&mut output);
        assert_eq!(output.len(), 640, "nothing waits any more");
    }

    #[test]
    fn a_sender_that_counts_anew_is_followed_from_its_second_frame() {
        for restarted in [0, 1_000_000] {
            let mut buffer = buffer();
            push_all(&mut buffer, (1_000..1_010).chain([1_011]));
            let output = push_all(&mut buffer, [restarted, restarted + 1, restarted + 2]);
            let expected = [vec![0; 160], frame(1_011), frames(restarted..restarted + 3)].concat();
            assert_eq!(output, expected, "what was held comes first");
            assert_eq!(buffer.stats().restarts, 1);
        }
    }

    #[test]
    fn one_frame_from_elsewhere_changes_nothing() {
        let mut buffer = buffer();
        assert_eq!(push_all(&mut buffer, [0, 1, 1_000_000, 2, 3, u64::MAX, 4]), frames(0..5));
        assert_eq!(buffer.stats(), ReorderStats { late: 2, ..ReorderStats::default() });
    }

    #[test]
    fn a_sender_that_connects_anew_may_count_from_anywhere() {
        let mut buffer = buffer();
        push_all(&mut buffer, [10, 11, 13]);
        let mut output = Vec::new();
        buffer.restart(&mut output);
        output.extend(push_all(&mut buffer, [9, 10]));
        assert_eq!(output, [vec![0; 160], frame(13), frames(9..11)].concat());
    }

    #[test]
    fn frames_may_have_any_length() {
        let mut buffer = buffer();
        let mut output = Vec::new();
        for (number, length) in [(0, 80), (2, 8_000), (3, 0), (1, 160)] {
            buffer.push(number, &vec![7; length], &mut output);
        }
        // One second is more than the window: the wait for frame 1 was over at once.
        assert_eq!(output.len(), 80 + 80 + 8_000);
        assert_eq!(buffer.stats().late, 1);
    }

    proptest! {
        #[test]
        fn any_order_within_the_window_with_duplicates_gives_the_original(
            blocks in proptest::collection::vec(Just((0u64..20).collect::<Vec<_>>()).prop_shuffle(), 1..5),
            copies in proptest::collection::vec(1usize..3, 20),
            first in 0u64..1_000_000,
        ) {
            let mut buffer = buffer();
            let mut output = push_all(&mut buffer, [first]);
            for (block, order) in blocks.iter().enumerate() {
                for (index, offset) in order.iter().enumerate() {
                    for _ in 0..copies[index] {
                        output.extend(push_all(&mut buffer, [first + 1 + block as u64 * 20 + offset]));
                    }
                }
            }
            prop_assert_eq!(output, frames(first..=first + blocks.len() as u64 * 20));
            prop_assert_eq!(buffer.stats().lost_frames, 0);
        }

        #[test]
        fn no_sequence_breaks_a_promise(
            pushes in proptest::collection::vec(
                (prop_oneof![0u64..40, 0u64..3_000, any::<u64>(), Just(u64::MAX), Just(u64::MAX - 1)], 0usize..2_000, any::<bool>()), 0..300),
        ) {
            let mut buffer = buffer();
            let (mut input_samples, mut output) = (0, Vec::new());
            for (sequence, length, release) in pushes {
                input_samples += length;
                buffer.push(sequence, &vec![1; length], &mut output);
                if release {
                    buffer.release(&mut output);
                }
                prop_assert!(buffer.held_samples <= 4_000);
                prop_assert_eq!(buffer.held_samples, buffer.held.values().map(|samples| weight(samples)).sum::<usize>());
                prop_assert!(buffer.lost_ranges.len() <= LOST_RANGES_MAX);
            }
            let stats = buffer.stats();
            prop_assert!(output.len() as u64 <= input_samples as u64 + stats.gaps * 16_000);
            prop_assert_eq!(output.iter().filter(|sample| **sample == 0).count() as u64 / 8, stats.silence_ms);
        }
    }
}
