use proptest::prelude::*;

use super::*;
use crate::SILENCE;

fn header() -> LogHeader {
    LogHeader { session: SessionId::from_bits(7 << 90 | 5), part: 3, origin_ms: 1_790_000_000_000 }
}

type Owned = (Track, u64, Vec<u8>);

fn read_all(bytes: &[u8]) -> (Vec<Owned>, u64, u64) {
    let mut reader = LogReader::open(bytes).unwrap();
    assert_eq!(reader.header(), header());
    let mut records = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        records.push((record.track, record.place, record.mulaw.to_vec()));
    }
    (records, reader.sound_bytes(), reader.skipped_bytes())
}

fn log_of(records: &[Owned]) -> (Vec<u8>, Vec<usize>) {
    let (mut log, mut ends) = (Vec::new(), Vec::new());
    header().write(&mut log);
    assert_eq!(log.len(), HEADER_BYTES);
    for (track, place, mulaw) in records {
        append(&mut log, *track, *place, mulaw);
        ends.push(log.len());
    }
    (log, ends)
}

/// Twelve frames of four tracks; among the audio are marks of records.
fn some() -> Vec<Owned> {
    (0..12u64).map(|n| (Track::ALL[n as usize % 4], n * 160, [MARK[0], MARK[1], n as u8, 0].repeat(10))).collect()
}

#[test]
fn what_was_appended_is_read_back() {
    let (log, _) = log_of(&some());
    assert_eq!(read_all(&log), (some(), log.len() as u64, 0));
}

#[test]
fn a_log_that_is_torn_at_any_byte_gives_all_whole_records_before_it() {
    let (log, ends) = log_of(&some());
    for torn in 0..log.len() {
        if torn < HEADER_BYTES {
            assert!(matches!(LogReader::open(&log[..torn]), Err(LogError::Empty)));
            continue;
        }
        let whole = ends.iter().filter(|&&end| end <= torn).count();
        let sound = if whole == 0 { HEADER_BYTES } else { ends[whole - 1] };
        assert_eq!(read_all(&log[..torn]), (some()[..whole].to_vec(), sound as u64, 0), "torn at {torn}");
    }
}

#[test]
fn damage_at_any_byte_costs_one_record_and_never_gives_a_wrong_one() {
    let (log, ends) = log_of(&some());
    for at in HEADER_BYTES..log.len() {
        for flipped in [0x01, 0x80, 0xff] {
            let mut damaged = log.clone();
            damaged[at] ^= flipped;
            let hit = ends.iter().position(|&end| at < end).unwrap();
            let mut expected = some();
            expected.remove(hit);
            let (records, sound, skipped) = read_all(&damaged);
            assert_eq!(records, expected, "damaged at {at}");
            let last = hit == ends.len() - 1;
            assert_eq!(sound as usize, ends[ends.len() - 1 - usize::from(last)]);
            assert_eq!(skipped > 0, !last);
        }
    }
}

#[test]
fn a_damaged_header_and_other_files_are_refused() {
    let (log, _) = log_of(&some());
    for at in 0..HEADER_BYTES {
        let mut damaged = log.clone();
        damaged[at] ^= 4;
        assert!(matches!(LogReader::open(damaged.as_slice()), Err(LogError::NoLog)), "{at}");
    }
    let mut newer = log;
    newer[8] = 2;
    let crc = crc32fast::hash(&newer[..48]);
    newer[48..52].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(LogReader::open(newer.as_slice()), Err(LogError::Version(2))));
}

#[test]
fn silence_costs_nothing_and_long_audio_is_cut_into_records() {
    let mut log = Vec::new();
    append(&mut log, Track::AgentOriginal, 0, &[SILENCE; 160]);
    append(&mut log, Track::AgentOriginal, 160, &[0x7f; 160]);
    append(&mut log, Track::AgentOriginal, 320, &[]);
    assert!(log.is_empty());
    header().write(&mut log);
    append(&mut log, Track::AgentOriginal, 500, &[1; 2 * RECORD_SAMPLES_MAX + 1]);
    let (records, ..) = read_all(&log);
    let shape: Vec<_> = records.iter().map(|(_, place, mulaw)| (*place, mulaw.len())).collect();
    assert_eq!(shape, [(500, 8_000), (8_500, 8_000), (16_500, 1)]);
}

#[test]
fn what_lies_beyond_the_longest_time_line_is_left_out() {
    let mut log = Vec::new();
    header().write(&mut log);
    append(&mut log, Track::AgentOriginal, DURATION_SAMPLES_MAX, &[1; 160]);
    append(&mut log, Track::AgentOriginal, u64::MAX, &[1; 160]);
    assert_eq!(log.len(), HEADER_BYTES);
    append(&mut log, Track::AgentOriginal, DURATION_SAMPLES_MAX - 3, &[1; 160]);
    assert_eq!(read_all(&log).0, [(Track::AgentOriginal, DURATION_SAMPLES_MAX - 3, vec![1; 3])]);
}

/// Gives at most three bytes at a time, and an interruption before each.
struct Dribble<'a>(&'a [u8], bool);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let end = buffer.len().min(3);
        self.0.read(&mut buffer[..end])
    }
}

#[test]
fn it_does_not_matter_how_the_bytes_come() {
    let (log, _) = log_of(&some());
    let mut reader = LogReader::open(Dribble(&log, false)).unwrap();
    let mut places = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        places.push(record.place);
    }
    assert_eq!(places, (0..12).map(|n| n * 160).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn whole_records_survive_garbage_between_them(
        records in proptest::collection::vec((0u8..4, 0..DURATION_SAMPLES_MAX / 2, proptest::collection::vec(0u8..0x7f, 1..400)), 0..20),
        garbage in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 20),
    ) {
        let mut log = Vec::new();
        header().write(&mut log);
        let mut expected = Vec::new();
        for ((track, place, mulaw), garbage) in records.into_iter().zip(&garbage) {
            // No mark of a record, so that the garbage can't take in what follows it.
            log.extend(garbage.iter().map(|byte| byte & 0x0f));
            let track = Track::of_number(track).unwrap();
            append(&mut log, track, place, &mulaw);
            expected.push((track, place, mulaw));
        }
        let (records, sound, _) = read_all(&log);
        prop_assert_eq!(records, expected);
        prop_assert_eq!(sound, log.len() as u64);
    }

    #[test]
    fn hostile_bytes_give_records_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        let mut log = Vec::new();
        header().write(&mut log);
        log.extend(bytes);
        for (_, place, mulaw) in read_all(&log).0 {
            prop_assert!(!mulaw.is_empty() && place + mulaw.len() as u64 <= DURATION_SAMPLES_MAX);
        }
    }
}
