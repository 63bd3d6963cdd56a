#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use kallglot_core::id::SessionId;

use super::*;
use crate::track::{TrackHeader, TrackWriter};

mod sound;

use sound::{decoded_ogg, delay_of, speech};

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

const FORMATS: [Format; 2] = [Format::Wav, Format::Ogg];

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

#[test]
fn the_shortest_files_are_whole_ones() {
    for format in FORMATS {
        for duration in [0, 1, 100, 139, 140, 141, 1_600, 15_980, 15_981] {
            let mut empty = rendering(&[], duration, MIXED, format);
            let bytes = whole(&mut empty);
            if format == Format::Ogg {
                assert_eq!(decoded_ogg(&bytes, 1).len() as u64, duration, "{duration}");
            }
        }
    }
}

#[test]
fn an_ogg_has_each_voice_where_it_was_said() {
    let (files, duration) = call();
    let wav = samples_of(&whole(&mut rendering(&files, duration, MIXED, Format::Wav)));
    let ogg = decoded_ogg(&whole(&mut rendering(&files, duration, MIXED, Format::Ogg)), 1);
    assert_eq!(ogg.len(), wav.len());
    let (delay, distance_db) = delay_of(&wav, &ogg);
    assert!(delay == 0 && distance_db > 18.0, "{delay} samples, {distance_db} dB");
}
