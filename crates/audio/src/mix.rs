//! Mixing tracks. Too loud becomes the loudest sample, never an overflow.

/// The sum of two tracks; the shorter one is continued by silence.
pub fn mix(a: &[i16], b: &[i16]) -> Vec<i16> {
    let (mut longer, shorter) = if a.len() >= b.len() { (a.to_vec(), b) } else { (b.to_vec(), a) };
    mix_into(&mut longer, shorter);
    longer
}

/// Adds `other` to `track`, which keeps its length: what `other` has beyond it is left out.
pub fn mix_into(track: &mut [i16], other: &[i16]) {
    for (sample, added) in track.iter_mut().zip(other) {
        *sample = sample.saturating_add(*added);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_added_and_kept_in_range() {
        assert_eq!(mix(&[1, 30_000, -30_000], &[2, 30_000, -30_000]), [3, i16::MAX, i16::MIN]);
    }

    #[test]
    fn the_shorter_track_is_continued_by_silence() {
        assert_eq!(mix(&[1, 2, 3], &[10]), [11, 2, 3]);
        assert_eq!(mix(&[10], &[1, 2, 3]), [11, 2, 3]);
        let mut track = [1, 2];
        mix_into(&mut track, &[10, 20, 30]);
        assert_eq!(track, [11, 22]);
    }
}
