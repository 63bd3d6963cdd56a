//! Measures how well telephone speech is recognised, and trains the network that helps with it.
//!
//! `kallglot-bench-speech table [--limit N] [--languages en,es] [--rows TEXT] [--out FILE]` prints the table of this folder's README,
//! row by row (only the rows whose name holds TEXT);
//! `kallglot-bench-speech pipeline [--limit N] [--calls TEXT] [--kallglot PROGRAM]` measures whole calls through a server;
//! `kallglot-bench-speech train FOLDER` writes the network's weights and the telephone's mean; `kallglot-bench-speech heard LANGUAGE KIND [--limit N]` shows each
//! prompt beside what was heard.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod g722;
mod measure;
mod pipeline;
mod prompts;
mod score;
mod train;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use kallglot_engine_classic::sphinx::{DecoderConfig, Fixes};

use measure::Outcome;
use prompts::Prompt;

/// What the decoder is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing: general English.
    General,
    /// All prompts' texts, beside general English.
    Listed,
    /// All prompts' texts and nothing else.
    Only,
    /// The texts of every second prompt and nothing else; the others are what should not be understood.
    Half,
}

/// A row of the table.
struct Row {
    language: &'static str,
    kind: Kind,
    fixes: Fixes,
    says: &'static str,
}

const BARE: Fixes = Fixes { mean: Some(false), widen: Some(false) };
const MEAN: Fixes = Fixes { mean: Some(true), widen: Some(false) };
const WIDEN: Fixes = Fixes { mean: None, widen: Some(true) };

/// The most telling rows first, so that a run that is cut short has said most.
const ROWS: [Row; 14] = [
    Row { language: "en", kind: Kind::General, fixes: WIDEN, says: "general, network" },
    Row { language: "en", kind: Kind::Only, fixes: WIDEN, says: "phrases only, network" },
    Row { language: "en", kind: Kind::General, fixes: BARE, says: "general, no fix" },
    Row { language: "en", kind: Kind::Only, fixes: BARE, says: "phrases only, no fix" },
    Row { language: "en", kind: Kind::Listed, fixes: WIDEN, says: "general and phrases, network" },
    Row { language: "en", kind: Kind::Half, fixes: WIDEN, says: "phrases only, half of them listed, network" },
    Row { language: "en", kind: Kind::Only, fixes: MEAN, says: "phrases only, telephone mean" },
    Row { language: "en", kind: Kind::General, fixes: MEAN, says: "general, telephone mean" },
    Row { language: "es", kind: Kind::Only, fixes: WIDEN, says: "phrases only, network" },
    Row { language: "es", kind: Kind::Only, fixes: BARE, says: "phrases only, no fix" },
    Row { language: "es", kind: Kind::Half, fixes: WIDEN, says: "phrases only, half of them listed, network" },
    Row { language: "es", kind: Kind::Only, fixes: MEAN, says: "phrases only, telephone mean" },
    Row { language: "it", kind: Kind::Only, fixes: WIDEN, says: "phrases only, network (trained on this voice)" },
    Row { language: "fr", kind: Kind::Only, fixes: WIDEN, says: "phrases only, network (trained on this voice)" },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    const USAGE: &str = "usage: table [--limit N] [--languages en,es,it,fr] [--rows TEXT] [--out FILE] | pipeline [--limit N] [--calls TEXT] [--kallglot PROGRAM] | train FOLDER | heard LANGUAGE general|listed|only|half [--limit N]";
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let limit = option("--limit").map_or(Ok(usize::MAX), str::parse).map_err(|_| USAGE.to_owned())?;
    match arguments.first().map(String::as_str) {
        Some("table") => {
            let languages = option("--languages").unwrap_or("en,es,it,fr");
            table(limit, languages, option("--rows").unwrap_or(""), option("--out"))
        }
        Some("pipeline") => pipeline::run(
            limit,
            option("--calls").unwrap_or(""),
            Path::new(option("--kallglot").unwrap_or("target/release/kallglot")),
        ),
        Some("train") => {
            let folder = Path::new(arguments.get(1).ok_or(USAGE)?);
            let trained = train::train()?;
            let mean = trained.telephone_mean.map(|value| format!("{value:.2}")).join(",") + "\n";
            std::fs::write(folder.join("widen.bin"), trained.network.to_bytes())
                .and_then(|()| std::fs::write(folder.join("telephone-mean.txt"), mean))
                .map_err(|error| format!("{}: {error}", folder.display()))
        }
        Some("heard") => {
            let kind = match arguments.get(2).map(String::as_str) {
                Some("general") => Kind::General,
                Some("listed") => Kind::Listed,
                Some("only") => Kind::Only,
                Some("half") => Kind::Half,
                _ => return Err(USAGE.into()),
            };
            let language = &arguments[1];
            let all = prompts::load(language)?;
            let config = configuration(language, kind, Fixes::default(), &all);
            let outcome = measure::run(language, &config, &spread(&all, limit), true)?;
            println!("WER {:.1} %", outcome.errors.rate());
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn table(limit: usize, languages: &str, rows: &str, out: Option<&str>) -> Result<(), String> {
    let mut text = String::from(
        "| language | decoder | prompts | WER % | exact % | CPU s per s | `end()` ms, median | p95 | `open()` ms |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    print!("{text}");
    let wanted = |row: &&Row| languages.split(',').any(|language| language == row.language) && row.says.contains(rows);
    for row in ROWS.iter().filter(wanted) {
        let all = match prompts::load(row.language) {
            Ok(all) => all,
            Err(message) => {
                eprintln!("{message}; left out");
                continue;
            }
        };
        let config = configuration(row.language, row.kind, row.fixes, &all);
        eprintln!("{}: {}", row.language, row.says);
        let lines = if row.kind == Kind::Half {
            half(row, &config, &all, limit)?
        } else {
            let outcome = measure::run(row.language, &config, &spread(&all, limit), false)?;
            line(row.language, row.says, &outcome)
        };
        print!("{lines}");
        text.push_str(&lines);
        if let Some(file) = out {
            std::fs::write(file, &text).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    Ok(())
}

/// What is listed should be heard, what isn't listed should give no text at all.
fn half(row: &Row, config: &DecoderConfig, all: &[Prompt], limit: usize) -> Result<String, String> {
    let listed = |prompt: &&Prompt| {
        let words = score::words(row.language, &prompt.text);
        config.phrases.iter().any(|phrase| score::words(row.language, phrase) == words)
    };
    let (inside, outside): (Vec<_>, Vec<_>) = all.iter().partition(listed);
    let [inside, outside] = [inside, outside].map(|prompts| prompts.into_iter().cloned().collect::<Vec<_>>());
    let heard = measure::run(row.language, config, &spread(&inside, limit / 2), false)?;
    let refused = measure::run(row.language, config, &spread(&outside, limit / 2), false)?;
    let mut lines = line(row.language, row.says, &heard);
    _ = writeln!(
        lines,
        "| {} | the half that is not listed | {} | | text given for {:.0} % | | | | |",
        row.language,
        refused.errors.sentences,
        100.0 * refused.answered as f64 / refused.errors.sentences.max(1) as f64
    );
    Ok(lines)
}

fn line(language: &str, says: &str, outcome: &Outcome) -> String {
    format!(
        "| {language} | {says} | {} | {:.1} | {:.1} | {:.3} | {:.0} | {:.0} | {:.0} |\n",
        outcome.errors.sentences,
        outcome.errors.rate(),
        outcome.errors.exact_rate(),
        outcome.work_s / outcome.audio_s.max(0.001),
        outcome.end_ms(50),
        outcome.end_ms(95),
        outcome.open.as_secs_f64() * 1000.0,
    )
}

fn configuration(language: &str, kind: Kind, fixes: Fixes, all: &[Prompt]) -> DecoderConfig {
    let texts = all.iter().map(|prompt| prompt.text.clone());
    let phrases = match kind {
        Kind::General => Vec::new(),
        Kind::Listed | Kind::Only => texts.collect(),
        Kind::Half => texts.step_by(2).collect(),
    };
    let phrases_only = matches!(kind, Kind::Only | Kind::Half);
    DecoderConfig { language: language.into(), phrases, words: Vec::new(), phrases_only, fixes }
}

/// At most `limit` of them, from everywhere in the list.
fn spread(prompts: &[Prompt], limit: usize) -> Vec<Prompt> {
    let count = prompts.len().min(limit);
    (0..count).map(|at| prompts[at * prompts.len() / count].clone()).collect()
}
