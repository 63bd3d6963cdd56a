//! What is in a session's logs or tracks, for who can't or may not listen: how loud each track is, minute by minute. And what it sounds
//! like, as a file.
//!
//! ```text
//! cargo run --release -p kallglot-recording --example listen -- FILE... [--to heard.wav|.mp3|.ogg] [--stereo]
//! ```

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use kallglot_recording::SAMPLE_RATE_HZ;
use kallglot_recording::level::measure;
use kallglot_recording::log::{LogError, LogReader};
use kallglot_recording::render::{Channel, Format, Layout, Rendering, Selection, Tracks};
use kallglot_recording::source::{FileSource, Source};
use kallglot_recording::split::split;
use kallglot_recording::track::TrackReader;

const MINUTE: u64 = 60 * SAMPLE_RATE_HZ as u64;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let (mut files, mut to, mut layout) = (Vec::new(), None, Layout::Mono);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--to") => to = Some(PathBuf::from(arguments.next().ok_or("--to needs a file's name")?)),
            Some("--stereo") => layout = Layout::Stereo,
            _ => files.push(PathBuf::from(argument)),
        }
    }
    let mut tracks = open(&files)?;
    let duration_samples = tracks.iter().map(TrackReader::duration_samples).max().ok_or("no files were given")?;
    for track in &mut tracks {
        println!("{} of {}", track.header().track.name(), track.header().session);
        for minute in 0..duration_samples.div_ceil(MINUTE) {
            let level = measure(track, minute * MINUTE..(minute + 1) * MINUTE)?;
            println!(
                "  minute {minute:4}: {:5.1} s of sound at {:5.1} dBFS, peak {:5.1} dBFS",
                level.active_ms as f64 / 1_000.0,
                level.active_dbfs,
                level.peak_dbfs
            );
        }
    }
    let Some(to) = to else { return Ok(()) };
    let format = match to.extension().and_then(|extension| extension.to_str()) {
        Some("wav") => Format::Wav,
        Some("mp3") => Format::Mp3,
        Some("ogg") => Format::Ogg,
        _ => return Err("--to takes a name that ends with .wav, .mp3 or .ogg".into()),
    };
    let selection = Selection { channel: Channel::Mixed, tracks: Tracks::Both, layout };
    let mut rendering = Rendering::new(tracks, duration_samples, selection, format)?;
    let (mut file, mut piece, mut offset) = (File::create(to)?, vec![0; 65_536], 0);
    loop {
        let length = rendering.read_at(offset, &mut piece)?;
        if length == 0 {
            return Ok(());
        }
        file.write_all(&piece[..length])?;
        offset += length as u64;
    }
}

/// Files that are tracks as they are; else all of them are taken for logs of one session and split in memory.
fn open(files: &[PathBuf]) -> Result<Vec<TrackReader<Box<dyn Source>>>, Failure> {
    let is_log = |file: &Path| Ok::<_, Failure>(!matches!(LogReader::open(File::open(file)?), Err(LogError::NoLog)));
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if is_log(first)? {
        let logs = files.iter().map(File::open).collect::<Result<Vec<_>, _>>()?;
        let mut tracks = [const { Vec::new() }; 4];
        println!("{:?}", split(logs, tracks.each_mut(), 0)?);
        sources.extend(tracks.map(|track| Box::new(track) as Box<dyn Source>));
    } else {
        for file in files {
            sources.push(Box::new(FileSource::new(File::open(file)?)?));
        }
    }
    Ok(sources.into_iter().map(TrackReader::open).collect::<Result<_, _>>()?)
}
