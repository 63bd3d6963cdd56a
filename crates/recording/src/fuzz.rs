//! What fuzzers feed with arbitrary bytes: each function panics exactly when a promise of its module is broken.

use kallglot_core::id::SessionId;

use crate::log::{HEADER_BYTES, LogHeader, LogReader, RECORD_HEADER_BYTES, RECORD_SAMPLES_MAX, append};
use crate::split::split;
use crate::track::{TrackHeader, TrackReader, TrackWriter};
use crate::{DURATION_SAMPLES_MAX, Track};

/// Reads the bytes as a log: as they are, after a sound header, and with a sound record after them, which must be found. Then splits them, if there
/// is anything of theirs.
pub fn log(bytes: &[u8]) {
    let _ = LogReader::open(bytes).map(read_log);
    let mut file = Vec::with_capacity(bytes.len() + 1_000);
    LogHeader { session: SessionId::from_bits(1), part: 1, origin_ms: 0 }.write(&mut file);
    file.extend_from_slice(bytes);
    let place = DURATION_SAMPLES_MAX / 2;
    // What comes before may pass for a record's beginning that would take in what follows, up to a record's length.
    let gap = RECORD_HEADER_BYTES + RECORD_SAMPLES_MAX;
    file.resize(file.len() + gap, 0);
    append(&mut file, Track::AgentOriginal, place, &[1; 160]);
    let mut reader = LogReader::open(file.as_slice()).unwrap_or_else(|error| panic!("a sound header: {error}"));
    let (records, last) = read_log_with(&mut reader);
    assert_eq!(last, Some((Track::AgentOriginal, place, 160)));
    assert_eq!(reader.sound_bytes(), file.len() as u64);
    assert!(reader.skipped_bytes() <= (bytes.len() + gap) as u64);

    if records == 1 {
        return;
    }
    let mut tracks = [const { Vec::new() }; 4];
    let summary = split([file.as_slice()], tracks.each_mut(), 0).unwrap_or_else(|error| panic!("a sound log: {error}"));
    for (file, summary) in tracks.iter().zip(summary.tracks) {
        let mut reader = TrackReader::open(file).unwrap_or_else(|error| panic!("a track of our own: {error}"));
        assert!(reader.duration_samples() == summary.duration_samples && reader.verify().is_ok());
    }
}

/// Makes records of the bytes (track, place, length, audio), and changes one byte of the log: all records but one are read back.
pub fn log_of_records(bytes: &[u8]) {
    let Some((&[at_high, at_low, change], rest)) = bytes.split_first_chunk::<3>() else { return };
    let mut file = Vec::new();
    LogHeader { session: SessionId::from_bits(1), part: 1, origin_ms: 0 }.write(&mut file);
    let mut ends = Vec::new();
    for piece in rest.chunks(24) {
        let Some((&[track, a, b, c, length], audio)) = piece.split_first_chunk::<5>() else { break };
        let place = u64::from(u32::from_le_bytes([a, b, c, length & 0x3f])) / 2;
        let before = file.len();
        append(&mut file, Track::ALL[usize::from(track % 4)], place, &audio.repeat(usize::from(length)));
        if file.len() > before {
            ends.push(file.len());
        }
    }
    let at = HEADER_BYTES + usize::from(u16::from_be_bytes([at_high, at_low]));
    let hit = at < file.len() && change != 0;
    if hit {
        file[at] ^= change;
    }
    let mut reader = LogReader::open(file.as_slice()).unwrap_or_else(|error| panic!("a sound header: {error}"));
    assert_eq!(read_log_with(&mut reader).0, ends.len() - usize::from(hit));
    let mut tracks = [const { Vec::new() }; 4];
    let summary = split([file.as_slice()], tracks.each_mut(), 0).unwrap_or_else(|error| panic!("a sound log: {error}"));
    for (file, summary) in tracks.iter().zip(summary.tracks) {
        let mut reader = TrackReader::open(file).unwrap_or_else(|error| panic!("a track of our own: {error}"));
        assert!(reader.duration_samples() == summary.duration_samples && reader.verify().is_ok());
    }
}

fn read_log(mut reader: LogReader<&[u8]>) {
    read_log_with(&mut reader);
}

fn read_log_with(reader: &mut LogReader<&[u8]>) -> (usize, Option<(Track, u64, usize)>) {
    let (mut records, mut last, mut bytes) = (0, None, HEADER_BYTES as u64);
    while let Ok(Some(record)) = reader.read() {
        let samples = record.mulaw.len();
        assert!((1..=RECORD_SAMPLES_MAX).contains(&samples));
        assert!(record.place + samples as u64 <= DURATION_SAMPLES_MAX);
        bytes += (RECORD_HEADER_BYTES + samples) as u64;
        records += 1;
        last = Some((record.track, record.place, samples));
    }
    assert_eq!(bytes + reader.skipped_bytes(), reader.sound_bytes());
    (records, last)
}

/// Reads the bytes as a track, as they are and with a footer whose checksums are right; and writes them as one.
pub fn track(bytes: &[u8]) {
    let mut with_checksums = bytes.to_vec();
    if let Some(footer) = with_checksums.len().checked_sub(64) {
        // A duration that the bits' size would fit to is seldom guessed: the first byte says it.
        let bits = usize::from(bytes[0]).min(footer);
        let duration = bits as u64 * 8 * 1_600;
        with_checksums[footer + 24..footer + 32].copy_from_slice(&duration.to_le_bytes());
        let crc = crc32fast::hash(&with_checksums[footer - bits..footer]);
        with_checksums[footer + 40..footer + 44].copy_from_slice(&crc.to_le_bytes());
        with_checksums[footer + 44..footer + 48].copy_from_slice(&crate::SAMPLE_RATE_HZ.to_le_bytes());
        with_checksums[footer + 50..footer + 52].copy_from_slice(&1u16.to_le_bytes());
        let crc = crc32fast::hash(&with_checksums[footer..footer + 52]);
        with_checksums[footer + 52..footer + 56].copy_from_slice(&crc.to_le_bytes());
        with_checksums[footer + 56..].copy_from_slice(b"KGLTEND\n");
    }
    for file in [bytes, &with_checksums] {
        let Ok(mut reader) = TrackReader::open(file) else { continue };
        assert!(reader.duration_samples() <= DURATION_SAMPLES_MAX);
        let _ = reader.verify();
        let mut mulaw = [0; 2_000];
        let mut place = Some(0);
        for _ in 0..20 {
            let Some(at) = place else { break };
            // All that the bits say to be there is there, as the size was right.
            assert!(reader.read(at, &mut mulaw).is_ok());
            place = reader.next_sound(at + 1_600);
        }
    }

    let mut file = Vec::new();
    let header = TrackHeader { session: SessionId::from_bits(1), track: Track::CustomerOriginal, origin_ms: 0 };
    let written = TrackWriter::new(&mut file, header).and_then(|mut writer| {
        for piece in bytes.chunks(40) {
            let mut place = [0; 8];
            let length = piece.len().min(4);
            place[..length].copy_from_slice(&piece[..length]);
            writer.push(u64::from_le_bytes(place), piece)?;
        }
        writer.finish(0)
    });
    let Ok(summary) = written else { panic!("writing to memory fails") };
    assert_eq!(summary.size_bytes, file.len() as u64);
    let mut reader = TrackReader::open(&file).unwrap_or_else(|error| panic!("a track of our own: {error}"));
    assert!(reader.duration_samples() == summary.duration_samples && reader.verify().is_ok());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            super::log(&bytes);
            super::log_of_records(&bytes);
            super::track(&bytes);
        }
    }
}
