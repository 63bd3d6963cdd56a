#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use super::*;
use crate::log::{LogHeader, append};
use crate::track::TrackReader;
use crate::{DURATION_SAMPLES_MAX, SILENCE};

fn session() -> SessionId {
    SessionId::from_bits(77)
}

fn log(part: u64, records: &[(Track, u64, u8, usize)]) -> Vec<u8> {
    let mut log = Vec::new();
    LogHeader { session: session(), part, origin_ms: 5 }.write(&mut log);
    for (track, place, code, samples) in records {
        append(&mut log, *track, *place, &vec![*code; *samples]);
    }
    log
}

fn split_all(logs: &[Vec<u8>], duration: u64) -> ([Vec<u8>; 4], SplitSummary) {
    let mut files = [const { Vec::new() }; 4];
    let summary = split(logs.iter().map(Vec::as_slice), files.each_mut(), duration).unwrap();
    (files, summary)
}

fn heard(file: &Vec<u8>, place: u64, length: usize) -> Vec<u8> {
    let mut mulaw = vec![0; length];
    TrackReader::open(file).unwrap().read(place, &mut mulaw).unwrap();
    mulaw
}

#[test]
fn each_track_becomes_a_file_and_all_are_as_long_as_the_call() {
    let records: Vec<_> =
        Track::ALL.into_iter().enumerate().map(|(n, track)| (track, 1_000 * n as u64, 10 + n as u8, 160)).collect();
    let (files, summary) = split_all(&[log(1, &records)], 24_000);
    assert_eq!((summary.duration_samples, summary.skipped_bytes), (24_000, 0));
    for (n, file) in files.iter().enumerate() {
        let header = TrackReader::open(file).unwrap().header();
        assert_eq!((header.track, header.session, header.origin_ms), (Track::ALL[n], session(), 5));
        assert_eq!(summary.tracks[n].duration_samples, 24_000);
        assert!(heard(file, 1_000 * n as u64, 161) == [vec![10 + n as u8; 160], vec![SILENCE]].concat());
    }
    let (_, summary) = split_all(&[log(1, &records)], 0);
    assert_eq!(summary.duration_samples, 3_160);
}

#[test]
fn logs_of_several_lives_become_one_time_line_in_whatever_order_they_come() {
    let customer = Track::CustomerOriginal;
    let first = log(100, &[(customer, 0, 1, 8_000), (customer, 8_000, 2, 8_000)]);
    // The node died and the next one went on an hour later; its clock said a little earlier than the audio that the first still wrote.
    let second = log(200, &[(customer, 15_500, 3, 500), (customer, 28_800_000, 4, 8_000)]);
    let third = log(300, &[(customer, 28_900_000, 5, 160)]);
    let in_order = split_all(&[first.clone(), second.clone(), third.clone()], 0);
    let otherwise = split_all(&[third, first, second], 0);
    assert!(in_order.0 == otherwise.0);
    let file = &in_order.0[0];
    assert!(heard(file, 7_900, 200) == [[1; 100], [2; 100]].concat());
    assert!(heard(file, 15_400, 700) == [vec![2; 100], vec![3; 500], vec![SILENCE; 100]].concat());
    assert!(heard(file, 28_800_000, 8_001) == [vec![4; 8_000], vec![SILENCE]].concat());
    assert_eq!(in_order.1.duration_samples, 28_900_160);
    // An hour of nothing takes no room but bits.
    assert!(file.len() < 40_000, "{}", file.len());
}

#[test]
fn torn_and_empty_logs_give_what_they_have() {
    let mut torn = log(1, &[(Track::AgentOriginal, 0, 1, 160), (Track::AgentOriginal, 160, 2, 160)]);
    torn.truncate(torn.len() - 1);
    let empty = log(2, &[])[..20].to_vec();
    let (files, summary) = split_all(&[torn, empty], 0);
    assert_eq!((summary.duration_samples, summary.skipped_bytes), (160, 0));
    assert!(heard(&files[2], 0, 320) == [[1; 160], [SILENCE; 160]].concat());
}

#[test]
fn damage_in_the_middle_is_counted_and_costs_no_more_than_a_record() {
    let mut damaged = log(1, &[(Track::AgentOriginal, 0, 1, 160), (Track::AgentOriginal, 160, 2, 160)]);
    damaged[60] ^= 1;
    let (files, summary) = split_all(&[damaged], 0);
    assert_eq!(summary.skipped_bytes, 176);
    assert!(heard(&files[2], 0, 320) == [[SILENCE; 160], [2; 160]].concat());
}

#[test]
fn a_log_that_cannot_be_read_costs_no_other_one() {
    let (files, summary) = split_all(&[vec![7; 100], log(2, &[(Track::AgentOriginal, 0, 1, 160)])], 0);
    assert_eq!(summary.unread_logs, 1);
    assert!(heard(&files[2], 0, 160) == [1; 160]);
}

#[test]
fn logs_of_nothing_or_of_different_sessions_are_refused() {
    let refused = |logs: &[&[u8]]| split(logs.iter().copied(), [const { Vec::new() }; 4], 0).unwrap_err();
    assert!(matches!(refused(&[]), SplitError::Parts(0)));
    assert!(matches!(refused(&[&log(1, &[])[..10]]), SplitError::Parts(0)));
    assert!(matches!(refused(&[&[7; 100]]), SplitError::Log(LogError::NoLog)));
    let mut other = Vec::new();
    LogHeader { session: SessionId::from_bits(78), part: 1, origin_ms: 0 }.write(&mut other);
    assert!(matches!(refused(&[&log(1, &[]), &other]), SplitError::OtherSession { .. }));
}

/// Hours of a call, made while they are read: one frame of each track every five seconds.
struct LongCall {
    seconds: u64,
    pending: Vec<u8>,
    from: usize,
    made: u64,
}

impl Read for LongCall {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.from == self.pending.len() {
            self.pending.clear();
            self.from = 0;
            if self.made < self.seconds / 5 {
                for track in Track::ALL {
                    append(&mut self.pending, track, self.made * 40_000, &[track.number(); 160]);
                }
                self.made += 1;
            }
        }
        let length = buffer.len().min(self.pending.len() - self.from);
        buffer[..length].copy_from_slice(&self.pending[self.from..][..length]);
        self.from += length;
        Ok(length)
    }
}

/// Takes what is written and forgets it, but for the greatest piece.
#[derive(Default)]
struct Greatest(usize, u64);

impl Write for &mut Greatest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.max(bytes.len());
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_call_of_a_day_passes_through_in_small_pieces() {
    let seconds = DURATION_SAMPLES_MAX / 8_000;
    let mut pending = Vec::new();
    LogHeader { session: session(), part: 1, origin_ms: 0 }.write(&mut pending);
    let call = LongCall { seconds, pending, from: 0, made: 0 };
    let mut outputs: [Greatest; 4] = Default::default();
    let [a, b, c, d] = &mut outputs;
    let summary = split([call], [a, b, c, d], 0).unwrap();
    assert_eq!(summary.duration_samples, (seconds - 5) * 8_000 + 160);
    for output in outputs {
        // The greatest is the bits of the time line.
        assert!(output.0 < 55_000 && output.1 < seconds / 5 * 1_600 + 60_000, "{} {}", output.0, output.1);
    }
}
