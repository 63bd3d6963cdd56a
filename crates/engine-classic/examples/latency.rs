//! Measures the engine's parts on this machine, as a call sees them: `cargo run --release --example latency`.
//!
//! Human voices from asterisk-core-sounds-en-wav are pushed at the speed of speech, 20 ms at a time, one call at a time.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kallglot_core::vocabulary::Expectation;
use kallglot_engine::{RecognitionEvent, RecognitionSpec, RecognizerFactory, Synthesizer, Translator};
use kallglot_engine_classic::{Classic, ClassicConfig, WorkerCommand};
use tokio::sync::mpsc;

const PROMPTS: [&str; 8] = [
    "agent-pass",
    "agent-loginok",
    "all-circuits-busy-now",
    "cannot-complete-as-dialed",
    "conf-invalid",
    "conf-onlyperson",
    "auth-incorrect",
    "check-number-dial-again",
];
const SENTENCES: [&str; 8] = [
    "The door is open and the house is big.",
    "I would like to speak with someone about my account.",
    "Your appointment is on Monday at three in the afternoon.",
    "We could not find your order in our system.",
    "The password that you have entered is not correct.",
    "Can I pay with a credit card?",
    "All of our agents are busy with other customers.",
    "I have been waiting for two weeks.",
];

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Next to this example's folder.
    let folder =
        std::env::current_exe()?.parent().and_then(|folder| folder.parent()).map(PathBuf::from).ok_or("no folder")?;
    let worker = WorkerCommand { program: folder.join("classic-worker"), args: Vec::new() };
    let classic = Classic::start(ClassicConfig::new(worker));
    recognition(&classic).await?;
    translation(&classic).await?;
    synthesis(&classic).await?;
    memory();
    Ok(())
}

async fn recognition(classic: &Classic) -> Result<(), Failure> {
    for (name, phrases_only) in [("general", false), ("phrases", true)] {
        let phrases = if phrases_only { PROMPTS.map(|prompt| prompt.replace('-', " ")).to_vec() } else { Vec::new() };
        let expectation = Expectation { phrases, words: Vec::new(), phrases_only };
        let spec = RecognitionSpec { language: Some("en".parse()?), expectation };
        let (sender, mut events) = mpsc::channel(256);
        let mut opened = Vec::new();
        for _ in 0..2 {
            let start = Instant::now();
            drop(classic.recognizer.open(spec.clone(), sender.clone()).await?);
            opened.push(start.elapsed());
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        let mut recognizer = classic.recognizer.open(spec, sender).await?;
        let (mut first_partial, mut last) = (Vec::new(), Vec::new());
        for (index, prompt) in PROMPTS.iter().enumerate() {
            let bytes = std::fs::read(format!("/usr/share/asterisk/sounds/en/{prompt}.wav"))?;
            let samples = kallglot_audio::wav::read(&bytes, kallglot_audio::wav::Channel::Mix)?;
            recognizer.begin(u32::try_from(index)?);
            let (begun, mut partial) = (Instant::now(), None);
            let mut clock = tokio::time::interval(Duration::from_millis(20));
            for frame in samples.chunks(160) {
                clock.tick().await;
                recognizer.push(frame);
                while let Ok(RecognitionEvent::Partial { .. }) = events.try_recv() {
                    partial.get_or_insert(begun.elapsed());
                }
            }
            recognizer.end();
            let ended = Instant::now();
            while let Some(event) = events.recv().await {
                match event {
                    RecognitionEvent::Final { .. } => break,
                    RecognitionEvent::Failed { error, .. } => return Err(error.into()),
                    RecognitionEvent::Partial { .. } => {}
                }
            }
            last.push(ended.elapsed());
            first_partial.extend(partial);
        }
        println!("recognition, {name}: open {:.0?}, again {:.0?}", opened[0], opened[1]);
        println!("  first partial after {}, end to final {}", summary(&mut first_partial), summary(&mut last));
        if !phrases_only {
            memory();
        }
    }
    Ok(())
}

async fn translation(classic: &Classic) -> Result<(), Failure> {
    for (from, to) in [("en", "es"), ("es", "en"), ("en", "ca")] {
        let (from, to) = (from.parse()?, to.parse()?);
        let start = Instant::now();
        classic.translator.translate(SENTENCES[0], &from, &to).await?;
        let cold = start.elapsed();
        let mut times = Vec::new();
        for _ in 0..50 {
            for sentence in SENTENCES {
                let start = Instant::now();
                classic.translator.translate(sentence, &from, &to).await?;
                times.push(start.elapsed());
            }
        }
        println!("translation {from} to {to}: first {cold:.0?}, then {}", summary(&mut times));
    }
    Ok(())
}

async fn synthesis(classic: &Classic) -> Result<(), Failure> {
    let language = "es".parse()?;
    let (mut first, mut whole, mut samples) = (Vec::new(), Vec::new(), 0);
    for _ in 0..20 {
        for sentence in ["Su llamada es importante para nosotros, por favor no cuelgue.", "La casa es grande."] {
            let start = Instant::now();
            let mut chunks = classic.synthesizer.synthesize(sentence, &language, None).await?;
            let mut heard = None;
            while let Some(chunk) = chunks.recv().await {
                heard.get_or_insert(start.elapsed());
                samples += chunk?.len();
            }
            first.extend(heard);
            whole.push(start.elapsed());
        }
    }
    println!("synthesis: first chunk {}, whole {}", summary(&mut first), summary(&mut whole));
    println!("  {:.0} s of speech in {:.0?}", samples as f64 / 8_000.0, whole.iter().sum::<Duration>());
    Ok(())
}

fn summary(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| {
        times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    format!("median {:.1?}, p95 {:.1?}", at(50), at(95))
}

/// Memory that only the process itself has, per child.
fn memory() {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if !read("status").contains(&format!("PPid:\t{}\n", std::process::id())) {
            continue;
        }
        let kilobytes = |name: &str| -> u64 {
            let rollup = read("smaps_rollup");
            let lines = rollup.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
        };
        let command = read("cmdline").replace('\0', " ");
        println!(
            "  {:5.1} MB resident, {:5.1} MB its own: {:.100}",
            kilobytes("Rss:") as f64 / 1_024.0,
            kilobytes("Private_") as f64 / 1_024.0,
            command
        );
    }
}
