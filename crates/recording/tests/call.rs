//! A recording's whole way, as the server goes it: logs on disk, one of them torn, tracks on disk, and what is heard in the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::fs::{self, File};
use std::io::BufWriter;

use kallglot_audio::g711::mulaw_to_linear;
use kallglot_core::id::SessionId;
use kallglot_core::session::Speaker;
use kallglot_recording::log::{LogHeader, append};
use kallglot_recording::render::{Channel, Format, Layout, Rendering, Selection, Tracks};
use kallglot_recording::source::FileSource;
use kallglot_recording::split::split;
use kallglot_recording::track::TrackReader;
use kallglot_recording::{SAMPLE_RATE_HZ, Track};

const FRAME: u64 = 160;

/// What is said in a frame: the same code for all of its samples, another one for each track and time.
fn said(track: Track, frame: u64) -> [u8; FRAME as usize] {
    [0x80 + (frame % 50) as u8 + track.number() * 10; FRAME as usize]
}

#[test]
fn a_call_that_two_nodes_had_and_one_lost_is_heard_on_one_time_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let session = SessionId::from_bits(4711);

    // The first node has the first 10 s, writes every 250 ms and dies within a writing; the second one goes on at 12 s.
    let mut first = Vec::new();
    LogHeader { session, part: 1, origin_ms: 1_790_000_000_000 }.write(&mut first);
    for frame in 0..500 {
        append(&mut first, Track::CustomerOriginal, frame * FRAME, &said(Track::CustomerOriginal, frame));
        append(&mut first, Track::AgentTranslated, frame * FRAME, &said(Track::AgentTranslated, frame));
    }
    fs::write(path("first"), &first[..first.len() - 100]).unwrap();
    let mut second = Vec::new();
    LogHeader { session, part: 2, origin_ms: 1_790_000_000_000 }.write(&mut second);
    for frame in 600..1_000 {
        append(&mut second, Track::CustomerOriginal, frame * FRAME, &said(Track::CustomerOriginal, frame));
        append(&mut second, Track::AgentOriginal, frame * FRAME, &said(Track::AgentOriginal, frame));
    }
    fs::write(path("second"), &second).unwrap();

    let logs = ["second", "first"].map(|name| File::open(path(name)).unwrap());
    let tracks = Track::ALL.map(|track| BufWriter::new(File::create(path(track.name())).unwrap()));
    let summary = split(logs, tracks, 1_100 * FRAME).unwrap();
    assert_eq!((summary.duration_samples, summary.skipped_bytes), (1_100 * FRAME, 0));

    let open =
        |track: Track| TrackReader::open(FileSource::new(File::open(path(track.name())).unwrap()).unwrap()).unwrap();
    let selection = Selection { channel: Channel::Mixed, tracks: Tracks::Both, layout: Layout::Stereo };
    let render = |tracks: &[Track], selection, format| {
        Rendering::new(tracks.iter().map(|track| open(*track)), summary.duration_samples, selection, format).unwrap()
    };
    let mut wav = render(&Track::ALL, selection, Format::Wav);
    // Each side at the middle of a frame: all have one party alone, so nothing is mixed or bent.
    let mut heard = |frame: u64| {
        let mut bytes = [0; 4];
        assert_eq!(wav.read_at(44 + (frame * FRAME + 80) * 4, &mut bytes).unwrap(), 4);
        [i16::from_le_bytes([bytes[0], bytes[1]]), i16::from_le_bytes([bytes[2], bytes[3]])]
    };
    let code = |track, frame| mulaw_to_linear(said(track, frame)[0]);
    for frame in [0, 1, 49, 250, 498] {
        assert_eq!(heard(frame), [code(Track::AgentTranslated, frame), code(Track::CustomerOriginal, frame)]);
    }
    // The agent's translation of the last frame was being written when the node died.
    assert_eq!(heard(499), [0, code(Track::CustomerOriginal, 499)]);
    assert_eq!(heard(550), [0, 0]);
    for frame in [600, 999] {
        assert_eq!(heard(frame), [code(Track::AgentOriginal, frame), code(Track::CustomerOriginal, frame)]);
    }
    assert_eq!(heard(1_099), [0, 0]);

    // A track that is deleted for itself is silent, and the others stay.
    fs::remove_file(path(Track::CustomerOriginal.name())).unwrap();
    let rest = [Track::CustomerTranslated, Track::AgentOriginal, Track::AgentTranslated];
    let customer = Selection { channel: Channel::Party(Speaker::Customer), layout: Layout::Mono, ..selection };
    for (format, silence_bytes) in [(Format::Wav, 44), (Format::Mp3, 0), (Format::Ogg, 0)] {
        let mut silent = render(&rest, customer, format);
        let mut bytes = vec![0; silent.size_bytes() as usize];
        assert_eq!(silent.read_at(0, &mut bytes).unwrap(), bytes.len());
        assert!(silence_bytes == 0 || bytes[silence_bytes..].iter().all(|&byte| byte == 0));
        let seconds = summary.duration_samples / u64::from(SAMPLE_RATE_HZ);
        assert!(bytes.len() as u64 > seconds * 4_000, "{format:?} has a constant rate");
    }
}
