#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use kallglot_core::id::SessionId;

use super::*;
use crate::track::{TrackHeader, TrackWriter};

mod sound;

use sound::{decoded_mp3, decoded_ogg, delay_of, speech};

fn track(track: Track, pieces: &[(u64, Vec<u8>)], duration_samples: u64) -> Vec<u8> {
    let mut file = Vec::new();
    let header = TrackHeader { session: SessionId::from_bits(9), track, origin_ms: 0 };
    let mut writer = TrackWriter::new(&mut file, header).unwrap();
    for (place, mulaw) in pieces {
        writer.push(*place, mulaw).unwrap();
    }
    writer.finish(duration_samples).unwrap();
    file
}

fn rendering(files: &[Vec<u8>], duration: u64, selection: Selection, format: Format) -> Rendering<&Vec<u8>> {
    let readers: Vec<_> = files.iter().map(|file| TrackReader::open(file).unwrap()).collect();
    Rendering::new(readers, duration, selection, format).unwrap()
}

fn whole(rendering: &mut Rendering<&Vec<u8>>) -> Vec<u8> {
    let mut bytes = vec![0; rendering.size_bytes() as usize + 10];
    let length = rendering.read_at(0, &mut bytes).unwrap();
    assert_eq!(length as u64, rendering.size_bytes());
    bytes.truncate(length);
    bytes
}

const MIXED: Selection = Selection { channel: Channel::Mixed, tracks: Tracks::Both, layout: Layout::Mono };
const STEREO: Selection = Selection { layout: Layout::Stereo, ..MIXED };

/// Ten seconds: each party speaks once, and is heard translated later.
fn call() -> (Vec<Vec<u8>>, u64) {
    let files = vec![
        track(Track::CustomerOriginal, &[(4_000, speech(1, 12_000))], 80_000),
        track(Track::CustomerTranslated, &[(20_000, speech(2, 12_000))], 80_000),
        track(Track::AgentOriginal, &[(40_123, speech(3, 15_000))], 80_000),
        track(Track::AgentTranslated, &[(60_000, speech(4, 15_000))], 80_000),
    ];
    (files, 80_000)
}

fn samples_of(wav: &[u8]) -> Vec<i16> {
    wav[44..].as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

#[test]
fn a_wav_has_each_voice_where_it_was_said_and_exactly() {
    let (files, duration) = call();
    let wav = whole(&mut rendering(&files, duration, STEREO, Format::Wav));
    let (format, data) = kallglot_audio::wav::parse(&wav).unwrap();
    assert_eq!((format.channels, format.sample_rate_hz, data.len() as u64), (2, 8_000, duration * 4));
    let samples = samples_of(&wav);
    let mut expected = vec![0i16; 2 * duration as usize];
    for (channel, place, seed, length) in
        [(1, 4_000, 1, 12_000), (1, 20_000, 2, 12_000), (0, 40_123, 3, 15_000), (0, 60_000, 4, 15_000)]
    {
        for (n, code) in speech(seed, length).into_iter().enumerate() {
            expected[2 * (place + n) + channel] = kallglot_audio::g711::mulaw_to_linear(code);
        }
    }
    assert!(samples == expected);
}

#[test]
fn a_selection_has_the_tracks_it_says_and_a_missing_one_is_silent() {
    let (files, duration) = call();
    let hears = |files: &[Vec<u8>], channel, tracks| {
        let selection = Selection { channel, tracks, layout: Layout::Mono };
        let samples = samples_of(&whole(&mut rendering(files, duration, selection, Format::Wav)));
        [10_000, 26_000, 50_000, 70_000].map(|at| samples[at - 500..at + 500].iter().any(|&sample| sample != 0))
    };
    let (customer, agent) = (Channel::Party(Speaker::Customer), Channel::Party(Speaker::Agent));
    assert_eq!(hears(&files, Channel::Mixed, Tracks::Both), [true; 4]);
    assert_eq!(hears(&files, Channel::Mixed, Tracks::Original), [true, false, true, false]);
    assert_eq!(hears(&files, customer, Tracks::Both), [true, true, false, false]);
    assert_eq!(hears(&files, customer, Tracks::Translated), [false, true, false, false]);
    assert_eq!(hears(&files, agent, Tracks::Original), [false, false, true, false]);
    assert_eq!(hears(&files[1..], Channel::Mixed, Tracks::Both), [false, true, true, true]);
    assert_eq!(hears(&[], Channel::Mixed, Tracks::Both), [false; 4]);
}

#[test]
fn voices_at_once_are_added_and_do_not_clip() {
    let loud = vec![0x80; 1_000];
    let files = Track::ALL.map(|name| track(name, &[(0, loud.clone())], 1_000));
    let samples = samples_of(&whole(&mut rendering(&files, 1_000, MIXED, Format::Wav)));
    assert!(samples.iter().all(|&sample| sample > 31_000 && sample < i16::MAX));
    let files = Track::ALL.map(|name| track(name, &[(0, vec![0xc0; 1_000])], 1_000));
    let samples = samples_of(&whole(&mut rendering(&files, 1_000, MIXED, Format::Wav)));
    assert!(samples.iter().all(|&sample| sample == 4 * kallglot_audio::g711::mulaw_to_linear(0xc0)));
}

const FORMATS: [Format; 3] = [Format::Wav, Format::Mp3, Format::Ogg];

#[test]
fn any_range_has_the_bytes_of_the_whole() {
    let (files, duration) = call();
    for format in FORMATS {
        for selection in [MIXED, STEREO] {
            let all = whole(&mut rendering(&files, duration, selection, format));
            assert_eq!(all.len() as u64, format.size_bytes(selection.layout, duration));
            let mut again = rendering(&files, duration, selection, format);
            let length = all.len();
            let mut at = length - 1;
            // Backwards in uneven steps, then one that was never read from before.
            for step in (1..).map(|n| n * 977 + 13) {
                let mut bytes = vec![0; 700];
                let read = again.read_at(at as u64, &mut bytes).unwrap();
                assert_eq!(read, (length - at).min(700));
                assert!(bytes[..read] == all[at..at + read], "{format:?} from {at} of {length}");
                let Some(next) = at.checked_sub(step) else { break };
                at = next;
            }
            let mut bytes = vec![0; 3];
            let mut fresh = rendering(&files, duration, selection, format);
            assert_eq!(fresh.read_at(length as u64 / 2, &mut bytes).unwrap(), 3);
            assert_eq!(bytes, all[length / 2..][..3]);
            assert_eq!(fresh.read_at(length as u64, &mut bytes).unwrap(), 0);
            assert_eq!(fresh.read_at(u64::MAX, &mut bytes).unwrap(), 0);
        }
    }
}

/// Fails at every second reading.
struct Flaky<'a>(&'a Vec<u8>, std::cell::Cell<u32>);

impl Source for &Flaky<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.update(|n| n + 1);
        if self.1.get().is_multiple_of(2) {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            self.0.read_at(offset, buffer)
        }
    }
}

#[test]
fn a_reading_that_failed_can_be_done_again_and_gives_the_same_bytes() {
    let (files, duration) = call();
    for format in FORMATS {
        let all = whole(&mut rendering(&files, duration, STEREO, format));
        let flaky: Vec<_> = files.iter().map(|file| Flaky(file, std::cell::Cell::new(0))).collect();
        let readers: Vec<_> = flaky.iter().map(|source| TrackReader::open(source).unwrap()).collect();
        let mut again = Rendering::new(readers, duration, STEREO, format).unwrap();
        let (mut bytes, mut failures) = (vec![0; all.len()], 0);
        while again.read_at(0, &mut bytes).is_err() {
            failures += 1;
        }
        assert!(failures > 0 && bytes == all, "{format:?} {failures}");
    }
}

#[test]
fn the_shortest_files_are_whole_ones() {
    for format in FORMATS {
        for duration in [0, 1, 100, 139, 140, 141, 1_600, 15_980, 15_981] {
            let mut empty = rendering(&[], duration, MIXED, format);
            let bytes = whole(&mut empty);
            match format {
                Format::Wav => assert_eq!(samples_of(&bytes).len() as u64, duration),
                Format::Ogg => assert_eq!(decoded_ogg(&bytes, 1).len() as u64, duration),
                Format::Mp3 => assert_eq!(decoded_mp3(&bytes, 1).len() as u64, duration.div_ceil(288).max(1) * 288),
            }
        }
    }
}

fn decoded(file: &[u8], format: Format, channels: usize) -> Vec<i16> {
    match format {
        Format::Wav => samples_of(file),
        Format::Mp3 => decoded_mp3(file, channels),
        Format::Ogg => decoded_ogg(file, channels),
    }
}

#[test]
fn each_voice_is_heard_where_it_was_said_in_every_format() {
    let (files, duration) = call();
    let said = samples_of(&whole(&mut rendering(&files, duration, MIXED, Format::Wav)));
    for (format, least_db) in [(Format::Mp3, 23.0), (Format::Ogg, 18.0)] {
        let heard = decoded(&whole(&mut rendering(&files, duration, MIXED, format)), format, 1);
        assert!(heard.len() >= said.len());
        let (delay, distance_db) = delay_of(&said, &heard[..said.len()]);
        assert!(delay == 0 && distance_db > least_db, "{format:?}: {delay} samples, {distance_db} dB");
        // Silence stays silent up to where a voice begins, but for what a block spreads: 72 ms.
        assert!(heard[..4_000 - 576].iter().all(|sample| sample.abs() < 16), "{format:?}");
    }
}

#[test]
fn the_agent_is_left_the_customer_right_and_neither_is_heard_on_the_other_side() {
    let duration = 12_000;
    let files = [
        track(Track::CustomerOriginal, &[(1_000, speech(1, 5_000))], duration),
        track(Track::AgentOriginal, &[(7_000, speech(2, 5_000))], duration),
    ];
    let said = samples_of(&whole(&mut rendering(&files, duration, STEREO, Format::Wav)));
    let side = |samples: &[i16], side: usize| samples.iter().skip(side).step_by(2).copied().collect::<Vec<_>>();
    for (format, least_db) in [(Format::Mp3, 23.0), (Format::Ogg, 18.0)] {
        let heard = decoded(&whole(&mut rendering(&files, duration, STEREO, format)), format, 2);
        for (n, silent) in [(0, 0..6_000), (1, 7_600..12_000)] {
            let (said, heard) = (side(&said, n), side(&heard[..said.len()], n));
            let (delay, distance_db) = delay_of(&said, &heard);
            assert!(delay == 0 && distance_db > least_db, "{format:?} {n}: {delay} samples, {distance_db} dB");
            assert!(heard[silent].iter().all(|sample| sample.abs() < 16), "{format:?} {n}");
        }
    }
}

#[test]
fn tones_and_noise_of_any_level_are_heard_as_they_are() {
    let tone = |hz: f32, level: f32, noise: f32| -> Vec<u8> {
        let mut random = 1u32;
        let sample = |n: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wave = (std::f32::consts::TAU * hz * n as f32 / 8_000.0).sin() * level;
            kallglot_audio::g711::linear_to_mulaw((wave + noise * (random as i32 as f32 / 2f32.powi(31))) as i16)
        };
        (0..8_000).map(sample).collect()
    };
    let cases = [
        (tone(300.0, 32_000.0, 0.0), 28.0, 24.0),
        (tone(1_000.0, 32_000.0, 0.0), 28.0, 24.0),
        (tone(3_100.0, 30_000.0, 0.0), 28.0, 20.0),
        (tone(440.0, 300.0, 0.0), 20.0, 12.0),
        (tone(440.0, 20_000.0, 9_000.0), 10.0, 8.0),
        // White noise has the most to say; it reaches up to where the rates end.
        (tone(0.0, 0.0, 32_000.0), 4.0, 2.0),
        (tone(0.0, 0.0, 100.0), 4.0, 2.0),
    ];
    for (n, (sound, mp3_db, ogg_db)) in cases.into_iter().enumerate() {
        let files = [track(Track::AgentOriginal, &[(0, sound)], 8_000)];
        let said = samples_of(&whole(&mut rendering(&files, 8_000, MIXED, Format::Wav)));
        for (format, least_db) in [(Format::Mp3, mp3_db), (Format::Ogg, ogg_db)] {
            let heard = decoded(&whole(&mut rendering(&files, 8_000, MIXED, format)), format, 1);
            // An MP3 fades in.
            let (_, distance_db) = delay_of(&said[640..], &heard[640..8_000]);
            assert!(distance_db > least_db, "{n} {format:?}: {distance_db} dB");
        }
    }
}
