//! How loud a track is: listening by measuring.
//!
//! What must stay true: silence costs nothing to measure, and pauses don't make speech quieter.

use std::io;
use std::ops::Range;

use kallglot_audio::g711::decode_mulaw_into;
use kallglot_audio::level::{SILENCE_DBFS, peak_dbfs, rms_dbfs};

use crate::source::Source;
use crate::track::TrackReader;

/// A piece of 20 ms is sound from this level on. Noise of a line lies below it, and speech is 20 dB above.
pub const ACTIVE_DBFS: f32 = -45.0;

/// Samples of a piece.
const PIECE: usize = 160;

/// How loud a stretch of a track is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The greatest sample, -96 to 0 dBFS.
    pub peak_dbfs: f32,
    /// The root mean square of what is sound, -96 to 0 dBFS; a track of a party should have about -26.
    pub active_dbfs: f32,
    /// How much is sound, in milliseconds.
    pub active_ms: u64,
}

/// Measures what lies within `places` on the time line; whole pieces of 20 ms are counted.
///
/// # Errors
/// Reading failed.
pub fn measure<S: Source>(track: &mut TrackReader<S>, places: Range<u64>) -> io::Result<Level> {
    let (mut power, mut pieces, mut peak) = (0.0, 0u64, SILENCE_DBFS);
    let (mut codes, mut samples) = ([0; PIECE], Vec::with_capacity(PIECE));
    let mut place = places.start;
    while let Some(sound) = track.next_sound(place).filter(|sound| *sound < places.end) {
        // On from where a piece would have begun without the jump.
        place += (sound - place) / PIECE as u64 * PIECE as u64;
        track.read(place, &mut codes)?;
        samples.clear();
        decode_mulaw_into(&codes, &mut samples);
        peak = peak.max(peak_dbfs(&samples));
        let level = rms_dbfs(&samples);
        if level >= ACTIVE_DBFS {
            power += 10f64.powf(f64::from(level) / 10.0);
            pieces += 1;
        }
        place += PIECE as u64;
    }
    let active_dbfs = if pieces == 0 { SILENCE_DBFS } else { (10.0 * (power / pieces as f64).log10()) as f32 };
    Ok(Level { peak_dbfs: peak, active_dbfs, active_ms: pieces * 20 })
}

#[cfg(test)]
mod tests {
    use kallglot_audio::g711::linear_to_mulaw;
    use kallglot_core::id::SessionId;

    use super::*;
    use crate::Track;
    use crate::track::{TrackHeader, TrackWriter};

    #[test]
    fn a_tone_has_its_level_however_long_the_pauses_are() {
        let mut file = Vec::new();
        let header = TrackHeader { session: SessionId::from_bits(1), track: Track::AgentOriginal, origin_ms: 0 };
        let mut writer = TrackWriter::new(&mut file, header).unwrap();
        let tone =
            |amplitude: f32| (0..8_000).map(move |n| linear_to_mulaw((amplitude * (n as f32 * 0.3).sin()) as i16));
        writer.push(0, &tone(60.0).collect::<Vec<_>>()).unwrap();
        writer.push(16_000, &tone(10_000.0).collect::<Vec<_>>()).unwrap();
        writer.push(800_000, &tone(10_000.0).collect::<Vec<_>>()).unwrap();
        writer.finish(8_000_000).unwrap();
        let mut track = TrackReader::open(&file).unwrap();
        let level = measure(&mut track, 0..8_000_000).unwrap();
        // 10,000 is 10.3 dB below full scale, and a sine's power 3 dB below its peak.
        assert!((level.peak_dbfs + 10.3).abs() < 0.2 && (level.active_dbfs + 13.3).abs() < 0.2, "{level:?}");
        assert_eq!(level.active_ms, 2_000);
        let quiet = measure(&mut track, 0..12_000).unwrap();
        assert!(quiet.active_ms == 0 && quiet.active_dbfs == SILENCE_DBFS && quiet.peak_dbfs > -60.0, "{quiet:?}");
    }
}
