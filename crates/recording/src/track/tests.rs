use proptest::prelude::*;

use super::*;

fn header() -> TrackHeader {
    TrackHeader {
        session: SessionId::from_bits(5 << 80 | 3),
        track: Track::AgentTranslated,
        origin_ms: 1_790_000_000_123,
    }
}

fn written(pieces: &[(u64, Vec<u8>)], duration_samples: u64) -> (Vec<u8>, TrackSummary) {
    let mut file = Vec::new();
    let mut writer = TrackWriter::new(&mut file, header()).unwrap();
    for (place, mulaw) in pieces {
        writer.push(*place, mulaw).unwrap();
    }
    let summary = writer.finish(duration_samples).unwrap();
    assert_eq!(summary.size_bytes, file.len() as u64);
    (file, summary)
}

fn read(file: &Vec<u8>, place: u64, length: usize) -> Vec<u8> {
    let mut mulaw = vec![0x55; length];
    TrackReader::open(file).unwrap().read(place, &mut mulaw).unwrap();
    mulaw
}

#[test]
fn what_was_pushed_is_read_back_with_silence_around_it() {
    let (file, summary) = written(&[(1_000, vec![1; 160]), (50_000, vec![2; 4_000])], 90_000);
    assert_eq!((summary.duration_samples, summary.late_samples), (90_000, 0));
    let mut reader = TrackReader::open(&file).unwrap();
    assert_eq!((reader.header(), reader.duration_samples()), (header(), 90_000));
    assert_eq!(reader.sound_samples(), 4 * BLOCK_SAMPLES as u64);
    reader.verify().unwrap();
    let mut expected = vec![SILENCE; 100_000];
    expected[1_000..1_160].fill(1);
    expected[50_000..54_000].fill(2);
    assert!(read(&file, 0, 100_000) == expected);
    assert!(read(&file, 51_234, 9_999) == expected[51_234..][..9_999]);
    assert!(read(&file, u64::MAX, 10) == [SILENCE; 10]);
}

#[test]
fn frames_may_come_late_by_the_window_and_what_comes_later_is_counted() {
    let newest = 20 * 8_000;
    let at_the_edge = newest + 160 - WINDOW_SAMPLES;
    let (file, summary) = written(&[(newest, vec![1; 160]), (at_the_edge, vec![2; 160]), (100, vec![3; 160])], 0);
    assert_eq!((summary.duration_samples, summary.late_samples), (newest + 160, 160));
    assert!(read(&file, at_the_edge, 160) == [2; 160]);
    assert!(read(&file, 100, 160) == [SILENCE; 160]);
}

#[test]
fn of_two_sounds_at_the_same_moment_the_later_one_is_kept() {
    let (file, _) = written(&[(0, vec![1; 160]), (80, vec![2; 160]), (40, vec![3; 10])], 0);
    assert!(read(&file, 0, 240) == [vec![1; 40], vec![3; 10], vec![1; 30], vec![2; 160]].concat()[..]);
}

#[test]
fn the_longest_time_line_is_the_end() {
    let (file, summary) =
        written(&[(DURATION_SAMPLES_MAX - 100, vec![1; 160]), (u64::MAX - 5, vec![2; 160])], u64::MAX);
    assert_eq!(summary.duration_samples, DURATION_SAMPLES_MAX);
    assert!(
        read(&file, DURATION_SAMPLES_MAX - 101, 200) == [vec![SILENCE], vec![1; 100], vec![SILENCE; 99]].concat()[..]
    );
    // 24 hours of silence: bits, and no more.
    assert!(file.len() < 60_000);
}

#[test]
fn a_track_that_is_cut_off_or_damaged_anywhere_is_refused_or_found_out() {
    let (file, _) = written(&[(0, (0..3_000).map(|n| n as u8).collect())], 40_000);
    for length in 0..file.len() {
        assert!(matches!(TrackReader::open(&file[..length]), Err(TrackError::Broken(_))), "cut to {length}");
    }
    // The header's bytes are for people and tools that look at files.
    for at in HEADER_BYTES..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        let sound = TrackReader::open(&damaged).and_then(|mut reader| reader.verify());
        assert!(matches!(sound, Err(TrackError::Broken(_))), "damaged at {at}");
    }
    TrackReader::open(&file).unwrap().verify().unwrap();
}

/// Counts what is read.
struct Counted<'a>(&'a [u8], std::cell::RefCell<Vec<usize>>);

impl Source for Counted<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.borrow_mut().push(buffer.len());
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn an_hour_takes_few_requests_and_a_moment_takes_little() {
    let (file, _) = written(&(0..3_600).map(|second| (second * 8_000, vec![1; 8_000])).collect::<Vec<_>>(), 0);
    let counted = Counted(&file, std::cell::RefCell::default());
    let mut reader = TrackReader::open(&counted).unwrap();
    let mut mulaw = [0; 160];
    reader.read(1_800 * 8_000, &mut mulaw).unwrap();
    assert!(counted.1.borrow().iter().sum::<usize>() < 100_000 && counted.1.borrow().len() == 2);
    for place in (0..3_600 * 8_000).step_by(160) {
        reader.read(place, &mut mulaw).unwrap();
    }
    let requests = counted.1.borrow();
    assert!(requests.len() < 130 && requests.iter().max().unwrap() <= &(256 * 1_024), "{}", requests.len());
    assert!(requests.iter().sum::<usize>() < file.len() + 150_000);
}

/// Fails once in the middle.
struct Flaky<'a>(&'a [u8], std::cell::Cell<bool>);

impl Source for Flaky<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.1.take() { Err(io::ErrorKind::TimedOut.into()) } else { self.0.read_at(offset, buffer) }
    }
}

#[test]
fn a_reading_that_failed_can_be_done_again() {
    let (file, _) = written(&[(0, (0..160_000).map(|n| (n / 7) as u8).collect())], 0);
    let flaky = Flaky(&file, std::cell::Cell::new(false));
    let mut reader = TrackReader::open(&flaky).unwrap();
    let mut mulaw = vec![0; 100_000];
    reader.read(0, &mut mulaw[..10]).unwrap();
    flaky.1.set(true);
    assert!(reader.read(0, &mut mulaw).is_err());
    reader.read(0, &mut mulaw).unwrap();
    assert!(mulaw == read(&file, 0, 100_000));
}

#[test]
fn the_next_sound_is_found() {
    let (file, _) = written(&[(200 * 1_600 + 5, vec![1; 10])], 500 * 1_600);
    let reader = TrackReader::open(&file).unwrap();
    assert_eq!(reader.next_sound(0), Some(200 * 1_600));
    assert_eq!(reader.next_sound(200 * 1_600 + 7), Some(200 * 1_600 + 7));
    assert_eq!(reader.next_sound(201 * 1_600), None);
    assert_eq!(reader.next_sound(u64::MAX), None);
}

proptest! {
    #[test]
    fn any_pushes_within_the_window_are_one_time_line(
        pieces in proptest::collection::vec((0u64..70_000, proptest::collection::vec(any::<u8>(), 0..3_000)), 0..12),
        duration in 0u64..100_000,
        from in 0u64..80_000,
    ) {
        let mut expected = vec![SILENCE; 200_000];
        for (place, mulaw) in &pieces {
            expected[*place as usize..][..mulaw.len()].copy_from_slice(mulaw);
        }
        let end = pieces.iter().filter(|(_, mulaw)| !mulaw.is_empty()).map(|(place, mulaw)| place + mulaw.len() as u64).max();
        let (file, summary) = written(&pieces, duration);
        prop_assert_eq!(summary.duration_samples, duration.max(end.unwrap_or(0)));
        let heard = |mulaw: &[u8]| mulaw.iter().map(|&code| kallglot_audio::g711::mulaw_to_linear(code)).collect::<Vec<_>>();
        prop_assert!(heard(&read(&file, from, 10_000)) == heard(&expected[from as usize..][..10_000]));
        TrackReader::open(&file).unwrap().verify().unwrap();
    }

    #[test]
    fn a_hostile_footer_is_refused_or_kept_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::track(&bytes);
    }
}
