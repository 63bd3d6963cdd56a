//! Several tracks become one channel: added, both parties at equal level, and rounded off where that would be too loud.
//!
//! What must stay true: every sample depends on the tracks' samples of that one moment alone, so that any part can be made for
//! itself; a channel of one track is that track exactly.

use std::io;

use kallglot_audio::g711::mulaw_to_linear;
use kallglot_core::session::Speaker;

use super::{Layout, Selection};
use crate::source::Source;
use crate::track::TrackReader;

/// Up to here a sum stays what it is: 2.5 dB below full scale.
const KNEE: i32 = 24_576;

/// The tracks of a selection, by channel.
#[derive(Debug)]
pub(super) struct Mixer<S> {
    channels: Vec<Vec<TrackReader<S>>>,
    duration_samples: u64,
    codes: Vec<u8>,
    /// The sum and the loudest of each moment.
    sums: Vec<(i32, i32)>,
}

impl<S: Source> Mixer<S> {
    pub(super) fn new(
        tracks: impl IntoIterator<Item = TrackReader<S>>,
        duration_samples: u64,
        selection: Selection,
    ) -> Self {
        let mut channels: Vec<_> = (0..selection.layout.channels()).map(|_| Vec::new()).collect();
        for reader in tracks {
            let track = reader.header().track;
            if selection.includes(track) {
                let right = selection.layout == Layout::Stereo && track.speaker() == Speaker::Customer;
                channels[usize::from(right)].push(reader);
            }
        }
        Self { channels, duration_samples, codes: Vec::new(), sums: Vec::new() }
    }

    /// Length of the time line.
    pub(super) const fn duration_samples(&self) -> u64 {
        self.duration_samples
    }

    pub(super) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Fills `samples` with what is heard in a channel from `place` on; silence before the time line's zero and beyond its end.
    pub(super) fn read(&mut self, channel: usize, place: i64, samples: &mut [i16]) -> io::Result<()> {
        samples.fill(0);
        let before = usize::try_from(-place).unwrap_or(0).min(samples.len());
        let place = place.max(0) as u64;
        let within = usize::try_from(self.duration_samples.saturating_sub(place)).unwrap_or(usize::MAX);
        let samples = &mut samples[before..];
        let length = samples.len().min(within);
        let samples = &mut samples[..length];
        self.codes.resize(length, 0);
        if let [only] = self.channels[channel].as_mut_slice() {
            only.read(place, &mut self.codes)?;
            for (sample, code) in samples.iter_mut().zip(&self.codes) {
                *sample = mulaw_to_linear(*code);
            }
            return Ok(());
        }
        self.sums.clear();
        self.sums.resize(length, (0, 0));
        for track in &mut self.channels[channel] {
            track.read(place, &mut self.codes)?;
            for ((sum, loudest), code) in self.sums.iter_mut().zip(&self.codes) {
                let sample = i32::from(mulaw_to_linear(*code));
                *sum += sample;
                *loudest = sample.abs().max(*loudest);
            }
        }
        for (sample, (sum, loudest)) in samples.iter_mut().zip(&self.sums) {
            *sample = limited(*sum, *loudest);
        }
        Ok(())
    }
}

/// The sum itself up to the knee, and up to the loudest of what was added, so that one voice alone stays what it is; above, ever less of
/// what is above, with no edge, and never the full scale.
fn limited(sum: i32, loudest: i32) -> i16 {
    let knee = loudest.max(KNEE);
    let (above, room) = (sum.abs() - knee, i32::from(i16::MAX) - knee);
    let magnitude = if above <= 0 { sum.abs() } else { knee + room * above / (room + above) };
    (magnitude * sum.signum()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_their_order_and_never_reach_full_scale() {
        for loudest in [1, 10_000, KNEE, 30_000, 32_124] {
            let mut last = limited(-4 * 32_124, loudest);
            assert!(last > -i16::MAX);
            for sum in -4 * 32_124..=4 * 32_124 {
                let now = limited(sum, loudest);
                assert!(now >= last && now - last <= 1 && limited(-sum, loudest) == -now, "{sum} {loudest}");
                assert!(sum.abs() > KNEE.max(loudest) || i32::from(now) == sum);
                last = now;
            }
            assert!(last < i16::MAX && last > 31_000);
        }
    }

    #[test]
    fn a_voice_that_grows_over_a_loud_one_makes_no_step() {
        let mut last = 32_124;
        for other in 0..=32_124 {
            let now = i32::from(limited(32_124 + other, 32_124));
            assert!(now >= last && now - last <= 1);
            last = now;
        }
    }
}
