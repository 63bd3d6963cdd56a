//! What recording costs: appending while a call runs, splitting after it, and rendering, by this thread's own CPU time.
//!
//! ```text
//! cargo run --release -p kallglot-recording --example recording_cost [-- MINUTES]
//! ```
//!
//! The call is made up: each party speaks half of the time, in turns, over a line that hums, and is translated.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people at a terminal")]

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kallglot_audio::g711::linear_to_mulaw;
use kallglot_core::id::SessionId;
use kallglot_core::session::Speaker;
use kallglot_recording::log::{LogHeader, append};
use kallglot_recording::render::{Channel, Format, Layout, Rendering, Selection, Tracks};
use kallglot_recording::split::split;
use kallglot_recording::track::TrackReader;
use kallglot_recording::{SILENCE, Track};

/// Counts memory in use and how often it was asked for.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator that counts can't be had otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        PEAK.fetch_max(IN_USE.fetch_add(block.size(), Relaxed) + block.size(), Relaxed);
        // SAFETY: the caller keeps what this asks for.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        IN_USE.fetch_sub(block.size(), Relaxed);
        // SAFETY: the caller keeps what this asks for.
        unsafe { System.dealloc(at, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a piece of work took.
struct Cost {
    cpu_s: f64,
    peak_bytes: usize,
    allocations: usize,
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (in_use, calls, cpu) = (IN_USE.load(Relaxed), CALLS.load(Relaxed), cpu_s());
    PEAK.store(in_use, Relaxed);
    let result = work();
    let cost = Cost {
        cpu_s: cpu_s() - cpu,
        peak_bytes: PEAK.load(Relaxed) - in_use,
        allocations: CALLS.load(Relaxed) - calls,
    };
    (result, cost)
}

/// CPU time of this thread, which other work on the machine doesn't count into.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

const FRAME: usize = 160;

fn voice(party: usize, frame: usize) -> Vec<u8> {
    let speaks = (frame / 250) % 2 == party;
    let sample = |n: usize| {
        let time = (frame * FRAME + n) as f32 / 8_000.0;
        let pitch = (110.0 + 70.0 * party as f32) * std::f32::consts::TAU;
        let syllable = if speaks { 4_000.0 * (time * 20.0).sin().max(0.0) } else { 0.0 };
        let voice: f32 = (1..12).map(|k| (time * pitch * k as f32).sin() / k as f32).sum();
        linear_to_mulaw((syllable * voice + 60.0 * (time * 314.159).sin()) as i16)
    };
    (0..FRAME).map(sample).collect()
}

fn main() {
    let minutes: usize = std::env::args().nth(1).map_or(10, |text| text.parse().unwrap());
    let frames = minutes * 60 * 50;
    let hours = minutes as f64 / 60.0;
    let seconds = minutes as f64 * 60.0;
    // 20 s of voices, repeated.
    let voices: Vec<[Vec<u8>; 2]> = (0..1_000).map(|frame| [voice(0, frame), voice(1, frame)]).collect();
    let silence = vec![SILENCE; FRAME];

    let mut log = Vec::with_capacity(frames * 2 * (FRAME * 2 + 40) + 1_000);
    LogHeader { session: SessionId::from_bits(1), part: 1, origin_ms: 0 }.write(&mut log);
    let ((), cost) = measure(|| {
        for frame in 0..frames {
            let place = (frame * FRAME) as u64;
            let both = &voices[frame % 1_000];
            append(&mut log, Track::CustomerOriginal, place, &both[0]);
            append(&mut log, Track::AgentOriginal, place, &both[1]);
            // Heard 2 s later, while the other one speaks; else the stream carries silence.
            let speaker = (frame / 250) % 2;
            for (party, track) in [(0, Track::CustomerTranslated), (1, Track::AgentTranslated)] {
                append(&mut log, track, place, if speaker == party { &silence } else { &both[speaker] });
            }
        }
    });
    println!(
        "append  {:6.2} µs CPU per second of a session, {:5.1} MB an hour, {} allocations",
        cost.cpu_s * 1e6 / seconds,
        log.len() as f64 / 1e6 / hours,
        cost.allocations
    );

    let mut files = [const { Vec::new() }; 4];
    files.iter_mut().for_each(|file| file.reserve_exact(seconds as usize * 8_000 + 100_000));
    let (summary, cost) = measure(|| split([log.as_slice()], files.each_mut(), 0).unwrap());
    println!(
        "split   {:6.2} ms CPU per hour, {:5.1} MB of tracks an hour, {} KB at most",
        cost.cpu_s * 1e3 / hours,
        files.iter().map(Vec::len).sum::<usize>() as f64 / 1e6 / hours,
        cost.peak_bytes / 1_024,
    );

    for format in [Format::Wav, Format::Mp3, Format::Ogg] {
        for (name, channel, layout) in [
            ("mono, one party", Channel::Party(Speaker::Customer), Layout::Mono),
            ("mono, both mixed", Channel::Mixed, Layout::Mono),
            ("stereo", Channel::Mixed, Layout::Stereo),
        ] {
            let selection = Selection { channel, tracks: Tracks::Both, layout };
            let (size_bytes, cost) = measure(|| {
                let tracks = files.iter().map(|file| TrackReader::open(file).unwrap());
                let mut rendering = Rendering::new(tracks, summary.duration_samples, selection, format).unwrap();
                let (mut buffer, mut offset) = (vec![0; 65_536], 0);
                while offset < rendering.size_bytes() {
                    offset += rendering.read_at(offset, &mut buffer).unwrap() as u64;
                    black_box(&buffer);
                }
                offset
            });
            let ((), first) = measure(|| {
                for part in 0..100 {
                    let tracks = files.iter().map(|file| TrackReader::open(file).unwrap());
                    let mut rendering = Rendering::new(tracks, summary.duration_samples, selection, format).unwrap();
                    black_box(rendering.read_at(size_bytes * part / 100, &mut [0; 1_000]).unwrap());
                }
            });
            println!(
                "{:4} {name:17} {:7.2} s CPU per hour ({:6.0} x real time), {:5.1} MB an hour, {:4} KB at most, {:3} allocations; 1,000 bytes from anywhere {:5.2} ms",
                format.extension(),
                cost.cpu_s / hours,
                seconds / cost.cpu_s,
                size_bytes as f64 / 1e6 / hours,
                cost.peak_bytes / 1_024,
                cost.allocations,
                first.cpu_s * 1e3 / 100.0,
            );
        }
    }
}
