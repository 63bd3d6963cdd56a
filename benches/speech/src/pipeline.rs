//! The whole pipeline as a client sees it: calls in which both parties play recorded prompts, in real time, on a server of its own.
//!
//! The lags are the server's own (`GET /v1/sessions/{id}/quality`): from the arrival of the last sound of an utterance, so
//! endpointing is part of them. The processor time is that of the server and of all its workers.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kallglot_audio::g711;
use kallglot_client::{Client, Expectation, NewSession, ServerMessage, Stream, TokenPlacement};
use kallglot_core::session::{Mode, Speaker};
use kallglot_core::vocabulary::Vocabulary;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::prompts::{self, Prompt};
use crate::spread;

/// Silence between two prompts: longer than an endpoint.
const BETWEEN_MS: usize = 900;
const FRAME_BYTES: usize = 160;

/// One kind of call: what the English party's recognizer is told. The Spanish party's has its phrases always.
#[derive(Clone, Copy)]
struct Kind {
    says: &'static str,
    english_phrases: bool,
}

/// Measures the calls whose name holds `calls` and prints the table.
pub(crate) fn run(limit: usize, calls: &str, kallglot: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    println!(
        "| call | party | prompts | finals | first partial ms, median | p95 | end → final ms, median | p95 | end → first audio ms, median | p95 | CPU s per s of call |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let kinds = [
        Kind { says: "English general, Spanish phrases", english_phrases: false },
        Kind { says: "both with phrases only", english_phrases: true },
    ];
    for kind in kinds.into_iter().filter(|kind| kind.says.contains(calls)) {
        let server = Server::start(kallglot)?;
        let rows = runtime.block_on(call(&server, kind, limit))?;
        print!("{rows}");
    }
    Ok(())
}

/// A server in a temporary folder; ended when dropped.
struct Server {
    child: Child,
    url: String,
    key: String,
    folder: PathBuf,
}

impl Server {
    fn start(kallglot: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", kallglot.display());
        let folder = std::env::temp_dir().join(format!("kallglot-bench-speech-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let json = |words: &[&str]| -> Result<Value, String> {
            let output = Command::new(kallglot)
                .args(words)
                .arg("--json")
                .arg("--data-dir")
                .arg(&folder)
                .output()
                .map_err(failed)?;
            serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let organization = json(&["org", "create", "--name", "bench", "--plan", "pro"])?;
        let id = organization["id"].as_str().ok_or("no organization")?.to_owned();
        let key = json(&["key", "create", "--org", &id, "--env", "live"])?;
        let key = key["secret"].as_str().ok_or("no key")?.to_owned();
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(failed)?;
        let log = fs::File::create(folder.join("server.log")).map_err(failed)?;
        let child = Command::new(kallglot)
            .args(["serve", "--listen", &address.to_string(), "--data-dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, url: format!("http://{address}"), key, folder })
    }

    /// Processor time of the server and of all that it has started, in seconds.
    fn cpu_s(&self) -> f64 {
        let ticks = descendants(self.child.id()).into_iter().map(cpu_ticks).sum::<u64>();
        ticks as f64 / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process and all below it.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = format!("/proc/{0}/task", found[next]);
        for task in fs::read_dir(children).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// User and system time of a process and of its children that have ended, in ticks of 10 ms (proc(5), stat fields 14 to 17).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

async fn call(server: &Server, kind: Kind, limit: usize) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let client = Client::new(&server.url, Some(&server.key)).map_err(|error| text(&error))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.get("/readyz").await.is_err() {
        if Instant::now() > deadline {
            return Err("the server does not start; its log says why".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Longer than a phrase of a vocabulary may be are only a few.
    let load = |language: &str| -> Result<Vec<Prompt>, String> {
        let mut all = prompts::load(language)?;
        all.retain(|prompt| prompt.text.chars().count() <= Vocabulary::PHRASE_CHARS_MAX);
        Ok(all)
    };
    let (english, spanish) = (load("en")?, load("es")?);
    let phrases = |prompts: &[Prompt]| Expectation {
        phrases: prompts.iter().map(|prompt| prompt.text.clone()).collect(),
        words: Vec::new(),
        phrases_only: true,
    };
    let mut new = NewSession::new(Mode::BidirectionalTranslation, "en", "es");
    new.vocabulary.insert("es".into(), phrases(&spanish));
    if kind.english_phrases {
        new.vocabulary.insert("en".into(), phrases(&english));
    }
    let session = client.create_session(&new).await.map_err(|error| text(&error))?;
    let stream = session.stream.as_ref().ok_or("no stream")?;
    let token = stream.token.as_ref().ok_or("no token")?;
    let stream = Stream::connect(&stream.url, token.reveal(), TokenPlacement::Bearer, None)
        .await
        .map_err(|error| text(&error))?;
    let (mut sender, mut receiver) = stream.split();
    let listening = tokio::spawn(async move {
        let mut finals = [0usize; 2];
        while let Some(message) = receiver.next().await {
            match message {
                ServerMessage::Final(text) => finals[text.speaker.index()] += 1,
                ServerMessage::Error { code, message, .. } => eprintln!("{code}: {message}"),
                _ => {}
            }
        }
        finals
    });

    // The recognizers load while silence is sent.
    let lead = vec![g711::MULAW_SILENCE; 3_000 * 8];
    let (english, spanish) = (spread(&english, limit), spread(&spanish, limit));
    let tracks = [track(&lead, &english)?, track(&lead, &spanish)?];
    let frames = tracks.iter().map(|track| track.len().div_ceil(FRAME_BYTES)).max().unwrap_or(0);
    eprintln!("{}: {} s of call", kind.says, frames / 50);
    let (cpu, begun) = (server.cpu_s(), Instant::now());
    let mut clock = interval(Duration::from_millis(20));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for frame in 0..frames {
        clock.tick().await;
        for (speaker, track) in [Speaker::Customer, Speaker::Agent].into_iter().zip(&tracks) {
            let from = (frame * FRAME_BYTES).min(track.len());
            let to = (from + FRAME_BYTES).min(track.len());
            let mut mulaw = track[from..to].to_vec();
            mulaw.resize(FRAME_BYTES, g711::MULAW_SILENCE);
            sender.send_audio(speaker, &mulaw).await.map_err(|close| format!("the stream was closed: {close:?}"))?;
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cpu = (server.cpu_s() - cpu) / begun.elapsed().as_secs_f64();
    client.end_session(&session.id, None).await.map_err(|error| text(&error))?;
    let finals = listening.await.map_err(|error| text(&error))?;
    let quality = client.quality(&session.id).await.map_err(|error| text(&error))?;
    let mut rows = String::new();
    for (speaker, prompts) in [(Speaker::Customer, english.len()), (Speaker::Agent, spanish.len())] {
        let empty = Vec::new();
        let utterances = quality["utterances"].as_array().unwrap_or(&empty);
        let of = |name: &str| {
            let own = utterances.iter().filter(|utterance| utterance["speaker"] == speaker.as_str());
            let mut values: Vec<u64> = own.filter_map(|utterance| utterance[name].as_u64()).collect();
            values.sort_unstable();
            let at = |percent: usize| {
                values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied()
            };
            format!("{} | {}", at(50).unwrap_or(0), at(95).unwrap_or(0))
        };
        rows += &format!(
            "| {} | {} | {prompts} | {} | {} | {} | {} | {cpu:.2} |\n",
            kind.says,
            if speaker == Speaker::Customer { "en → es" } else { "es → en" },
            finals[speaker.index()],
            of("first_partial_ms"),
            of("final_ms"),
            of("first_audio_ms"),
        );
    }
    Ok(rows)
}

/// The prompts one after the other with silence between them, as mu-law.
fn track(lead: &[u8], prompts: &[Prompt]) -> Result<Vec<u8>, String> {
    let mut track = lead.to_vec();
    for prompt in prompts {
        g711::encode_mulaw_into(&prompt.telephone()?, &mut track);
        track.resize(track.len() + BETWEEN_MS * 8, g711::MULAW_SILENCE);
    }
    Ok(track)
}
