//! How well utterances are found in recordings of speech: `endpoints FOLDER TRANSCRIPTS`.
//!
//! The folder holds 8 kHz WAV files of clean speech, the transcripts are lines of `name: text` (Asterisk's core sounds come so).
//! Where speech truly begins and ends is taken from the energy of the clean recording.

#![allow(clippy::print_stdout)]

use std::fs;
use std::path::Path;

use kallglot_audio::level::rms_dbfs;
use kallglot_audio::segment::{SegmentConfig, SegmentEvent, Segmenter};
use kallglot_audio::{g711, wav};

struct Prompt {
    samples: Vec<i16>,
    /// Pauses between its sentences, where a split is right.
    pauses: usize,
    one_clause: bool,
    begin_ms: i64,
    end_ms: i64,
}

const PADDING_MS: usize = 1_500;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, transcripts, ..] = arguments.as_slice() else {
        println!("usage: endpoints FOLDER TRANSCRIPTS");
        return;
    };
    let transcripts = fs::read_to_string(transcripts).expect("transcripts");
    let prompts: Vec<Prompt> = transcripts.lines().filter_map(|line| load(Path::new(folder), line)).collect();
    let seconds: usize = prompts.iter().map(|prompt| prompt.samples.len() / 8_000).sum();
    let one_clause = prompts.iter().filter(|prompt| prompt.one_clause).count();
    println!("{} prompts, {seconds} s with padding, {one_clause} of one clause", prompts.len());
    println!(
        "condition  endpoint | missed | one-clause split % | splits /100 | splits beyond pauses /100 | start p5/p50/p95 ms | cut in | end p5/p50/p95 | known after end p50/p95"
    );
    let only = arguments.get(3).map(String::as_str);
    for condition in ["clean", "mulaw", "noise20", "noise10"] {
        if only.is_some_and(|only| only != condition) {
            continue;
        }
        for endpoint_ms in [250, 300, 350, 400, 500, 700] {
            let config = SegmentConfig { endpoint_ms, ..SegmentConfig::default() };
            measure(condition, &config, &prompts);
        }
    }
}

fn measure(condition: &str, config: &SegmentConfig, prompts: &[Prompt]) {
    let (mut missed, mut split_one, mut beyond, mut cut, mut splits) = (0, 0, 0, 0, 0);
    let (mut starts, mut ends, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let mut one_clause = 0;
    for (index, prompt) in prompts.iter().enumerate() {
        let audio = degrade(condition, &prompt.samples, index as u64);
        let mut segmenter = Segmenter::new(config);
        let mut utterances: Vec<(u64, u64, u64, u64)> = Vec::new();
        let mut on = |event: SegmentEvent<'_>| match event {
            SegmentEvent::Start { start_ms, audio_ms } => utterances.push((start_ms, audio_ms, 0, 0)),
            SegmentEvent::Audio(_) => {}
            SegmentEvent::End { speech_end_ms, endpoint_ms } => {
                let last = utterances.last_mut().expect("a start before an end");
                (last.2, last.3) = (speech_end_ms, endpoint_ms);
            }
        };
        audio.chunks(160).for_each(|chunk| segmenter.push(chunk, &mut on));
        segmenter.flush(&mut on);
        one_clause += usize::from(prompt.one_clause);
        let (Some(first), Some(last)) = (utterances.first(), utterances.last()) else {
            missed += 1;
            continue;
        };
        split_one += usize::from(prompt.one_clause && utterances.len() > 1);
        splits += utterances.len() - 1;
        beyond += (utterances.len() - 1).saturating_sub(prompt.pauses);
        cut += usize::from(first.1 as i64 > prompt.begin_ms);
        starts.push(first.0 as i64 - prompt.begin_ms);
        ends.push(last.2 as i64 - prompt.end_ms);
        known.push(last.3 as i64 - prompt.end_ms);
    }
    for list in [&mut starts, &mut ends, &mut known] {
        list.sort_unstable();
    }
    let at = |list: &[i64], percent: usize| {
        list.get((list.len() * percent / 100).min(list.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    println!(
        "{condition:9} {:>5} ms | {missed:4} | {:5.1} | {:5.1} | {:5.1} | {:4} {:4} {:4} | {cut:3} | {:4} {:4} {:4} | {:4} {:4}",
        config.endpoint_ms,
        100.0 * split_one as f32 / one_clause.max(1) as f32,
        100.0 * splits as f32 / prompts.len() as f32,
        100.0 * beyond as f32 / prompts.len() as f32,
        at(&starts, 5),
        at(&starts, 50),
        at(&starts, 95),
        at(&ends, 5),
        at(&ends, 50),
        at(&ends, 95),
        at(&known, 50),
        at(&known, 95),
    );
}

fn load(folder: &Path, line: &str) -> Option<Prompt> {
    let (name, text) = line.split_once(':')?;
    let text = text.trim();
    if line.starts_with(';') || text.contains('[') || text.split_whitespace().count() < 2 {
        return None;
    }
    let bytes = fs::read(folder.join(format!("{}.wav", name.trim()))).ok()?;
    let speech = wav::read(&bytes, wav::Channel::Mix).ok()?;
    let pauses = text.trim_end_matches(['.', '!', '?', ' ']).matches(['.', '!', '?', ':', ';', ',']).count();
    let mut samples = vec![0; PADDING_MS * 8];
    samples.extend(speech);
    samples.extend(vec![0; PADDING_MS * 8]);
    let levels: Vec<f32> = samples.chunks(80).map(rms_dbfs).collect();
    let limit = (levels.iter().copied().fold(-96.0, f32::max) - 38.0).max(-62.0);
    let begin_ms = levels.iter().position(|level| *level > limit)? as i64 * 10;
    let end_ms = levels.iter().rposition(|level| *level > limit)? as i64 * 10 + 10;
    Some(Prompt { samples, pauses, one_clause: pauses == 0, begin_ms, end_ms })
}

/// The recording as a telephone line would bring it.
fn degrade(condition: &str, samples: &[i16], seed: u64) -> Vec<i16> {
    let snr_db = match condition {
        "clean" => return samples.to_vec(),
        "mulaw" => return samples.iter().map(|&sample| g711::mulaw_to_linear(g711::linear_to_mulaw(sample))).collect(),
        "noise20" => 20.0,
        _ => 10.0,
    };
    let spoken: Vec<i16> = samples.iter().copied().filter(|sample| sample.unsigned_abs() > 300).collect();
    let amplitude = 32_768.0 * 10f32.powf((rms_dbfs(&spoken) - snr_db) / 20.0) * 3f32.sqrt();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    samples
        .iter()
        .map(|&sample| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = ((state >> 40) as f32 / 8_388_608.0 - 1.0) * amplitude;
            g711::mulaw_to_linear(g711::linear_to_mulaw(sample.saturating_add(noise as i16)))
        })
        .collect()
}
