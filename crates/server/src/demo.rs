//! `kallglot demo`: a real call, translated live, on a server of its own.
//!
//! Nothing in it is staged: a server is started as `kallglot serve` would start it, the organization and the key are made as the
//! command line makes them, and the call is `kallglot call`'s. What must stay true: it says which voices are recordings and which
//! language is recognised with a phrase list; it fails when a party hears nothing.

mod after;
mod receiver;
mod recordings;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use kallglot_audio::{SAMPLES_PER_MS, wav};
use kallglot_client::{Client, Expectation, Secret, TranscriptFormat};
use kallglot_core::session::{Mode, Speaker};
use serde_json::{Value, json};

use crate::call::{self, CallError, Cue, Plan, Report, Show, When};
use crate::command::Context;
use crate::config::Config;
use crate::platform::{SystemClock, SystemRandom};
use crate::serve::{self, Running};
use crate::{key, org};
use receiver::Receiver;
use recordings::{BETWEEN_MS, LINES, SOUNDS};

/// Silence before the first word, as when somebody takes up the receiver.
const FIRST_PAUSE_MS: u64 = 1_500;
/// The pause before an answer.
const ANSWER_PAUSE_MS: u64 = 500;
/// How long the engine may take to be ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often it is asked.
const READY_POLL: Duration = Duration::from_millis(200);
/// What is quieter than this is not heard.
const AUDIBLE_DBFS: f32 = -45.0;

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the recordings are
    #[arg(long, value_name = "DIR", default_value = SOUNDS)]
    sounds: PathBuf,
    /// Do not colour
    #[arg(long)]
    no_color: bool,
}

/// Runs the demo in `data_dir`, or in a temporary folder that stays.
pub(crate) async fn run(args: DemoArgs, data_dir: &Option<&Path>, json: bool) -> ExitCode {
    let mut show = Show::on_stdout(json, !args.no_color);
    match demonstrate(&args, *data_dir, &mut show).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            call::tell_error(&mut show, &error.to_string());
            error.exit_code()
        }
    }
}

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> CallError {
    move |error| CallError::Failed(format!("{what}: {error}"))
}

async fn demonstrate(args: &DemoArgs, data_dir: Option<&Path>, show: &mut Show) -> Result<(), CallError> {
    check_packages(&args.sounds)?;
    let root = match data_dir {
        Some(folder) => folder.to_owned(),
        None => {
            let made = tempfile::Builder::new()
                .prefix("kallglot-demo-")
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir();
            made.map_err(|error| failed("no temporary folder can be made")(&error))?.keep()
        }
    };
    let files = root.join("demo");
    fs::create_dir_all(&files).map_err(|error| failed(&files.display().to_string())(&error))?;
    let variables = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let mut config = Config::load(None, variables).map_err(|error| failed("the settings")(&error))?;
    config.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    config.public_url = String::new();
    // The demo's receiver is on this machine and speaks plain HTTP.
    config.webhooks.allow_this_machine();
    log_to(&files.join("server.log"), &config.log.filter)?;

    show.heading("Kallglot demo: a customer who speaks English and an agent who speaks Spanish, translated live.");
    show.prose("Both voices are a person's (Allison Smith), from Debian's asterisk-core-sounds (CC-BY-SA-3.0), at telephone quality.");
    let phrases = recordings::phrases(Speaker::Agent);
    show.prose(&format!(
        "English is recognised without help. Spanish is recognised with a list of {} phrases: Debian has no Spanish acoustic model.",
        phrases.len()
    ));
    let cues = cues(&args.sounds)?;
    write_recordings(&files, &cues, &phrases)?;

    let running = serve::start(&config, &root).await.map_err(|error| failed("the server does not start")(&error))?;
    let result = on_server(&running, &files, cues, phrases, show).await;
    let stopped = running.shutdown().await.map_err(|error| failed("the server did not stop as it should")(&error));
    let (report, secret) = result?;
    stopped?;
    tell_results(&root, &files, &report, &secret, show);
    judge(&report)
}

/// What is missing on this machine, with what to install.
fn check_packages(sounds: &Path) -> Result<(), CallError> {
    let mut packages: Vec<String> = recordings::missing_packages(sounds).into_iter().map(str::to_owned).collect();
    for check in kallglot_engine_classic::check().into_iter().filter(|check| !check.ok) {
        packages.extend(check.advice.trim_start_matches("apt-get install ").split(' ').map(str::to_owned));
    }
    if packages.is_empty() {
        return Ok(());
    }
    Err(CallError::Failed(format!(
        "the demo needs packages that are not installed. Install them with: apt-get install {} (`scripts/demo` does that)",
        packages.join(" ")
    )))
}

/// What is said when: each line once the one before it has been translated and heard.
fn cues(sounds: &Path) -> Result<Vec<Cue>, CallError> {
    let mut cues = Vec::new();
    for line in LINES {
        let mut samples = Vec::new();
        for (prompt, _) in line.prompts {
            if !samples.is_empty() {
                samples.resize(samples.len() + BETWEEN_MS * SAMPLES_PER_MS, 0);
            }
            samples.extend(call::read_wav(&recordings::path(sounds, line.speaker, prompt))?);
        }
        let when =
            if cues.is_empty() { When::At(FIRST_PAUSE_MS) } else { When::Answered { pause_ms: ANSWER_PAUSE_MS } };
        cues.push(Cue { speaker: line.speaker, when, samples });
    }
    Ok(cues)
}

/// Each party's recordings in one file and the phrase list, to go on with.
fn write_recordings(files: &Path, cues: &[Cue], phrases: &[String]) -> Result<(), CallError> {
    for speaker in [Speaker::Customer, Speaker::Agent] {
        let mut samples = Vec::new();
        for cue in cues.iter().filter(|cue| cue.speaker == speaker) {
            samples.extend(&cue.samples);
            samples.resize(samples.len() + 1_000 * SAMPLES_PER_MS, 0);
        }
        write(&files.join(format!("{speaker}.wav")), &wav::mono_file(&samples, kallglot_audio::SAMPLE_RATE_HZ))?;
    }
    write(&files.join("phrases-es.txt"), (phrases.join("\n") + "\n").as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CallError> {
    fs::write(path, bytes).map_err(|error| failed(&path.display().to_string())(&error))
}

/// Sends the server's log to a file.
fn log_to(path: &Path, filter: &str) -> Result<(), CallError> {
    let file = fs::File::create(path).map_err(|error| failed(&path.display().to_string())(&error))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Arc::new(file));
    builder.try_init().map_err(|error| failed("the log")(&error))
}

async fn on_server(
    running: &Running,
    files: &Path,
    cues: Vec<Cue>,
    phrases: Vec<String>,
    show: &mut Show,
) -> Result<(Report, Secret), CallError> {
    let organization = administer(running, &["org", "create", "--name", "Demo"]).await?;
    let id = organization["id"].as_str().unwrap_or_default();
    let key = administer(running, &["key", "create", "--org", id, "--env", "test", "--name", "demo"]).await?;
    let secret = Secret::new(key["secret"].as_str().unwrap_or_default());
    let client =
        Client::new(&running.base_url(), Some(secret.reveal())).map_err(|error| failed("the client")(&error))?;
    let receiver = Receiver::start().await.map_err(|error| failed("the webhook receiver")(&error))?;
    after::subscribe(&client, &receiver).await?;
    wait_until_ready(&client).await?;
    show.prose(&format!(
        "A server runs at {}, its organization and test key are made. The call begins.\n",
        running.base_url()
    ));

    let tag = |speaker: Speaker| recordings::language(speaker).parse().map_err(|error| failed("the language")(&error));
    let expectation = Expectation { phrases, words: Vec::new(), phrases_only: true };
    let plan = Plan {
        server: running.base_url(),
        key: secret.clone(),
        mode: Mode::BidirectionalTranslation,
        from: tag(Speaker::Customer)?,
        to: tag(Speaker::Agent)?,
        voice: None,
        vocabulary: [(recordings::language(Speaker::Agent).to_owned(), expectation)].into(),
        cues,
        microphone: false,
        made_by: "kallglot demo",
        record: true,
        out: Some(files.join("heard.wav")),
    };
    let report = call::make(plan, show).await?;
    show.report(&report, false);
    for format in TranscriptFormat::ALL {
        let text = client
            .transcript_text(&report.session_id, format)
            .await
            .map_err(|error| failed("the transcript")(&error))?;
        write(&files.join(transcript_file(format)), text.as_bytes())?;
    }
    let quality = client.quality(&report.session_id).await.map_err(|error| failed("the call's quality")(&error))?;
    write(&files.join("quality.json"), format!("{quality:#}\n").as_bytes())?;
    after::look(&client, &report.session_id, files, &receiver, show).await?;
    Ok((report, secret))
}

fn transcript_file(format: TranscriptFormat) -> &'static str {
    match format {
        TranscriptFormat::Json => "transcript.json",
        TranscriptFormat::Text => "transcript.txt",
        TranscriptFormat::Srt => "transcript.srt",
        TranscriptFormat::Vtt => "transcript.vtt",
    }
}

/// Runs a command on the server's database, as the command line would; what it prints.
async fn administer(running: &Running, words: &[&str]) -> Result<Value, CallError> {
    #[derive(Parser)]
    enum Line {
        Org(org::OrgArgs),
        Key(key::KeyArgs),
    }
    let error = |error: &dyn std::fmt::Display| failed(&format!("kallglot {} {}", words[0], words[1]))(error);
    let line = Line::try_parse_from([&["kallglot"], words].concat()).map_err(|e| error(&e))?;
    let mut out = Vec::new();
    let mut context = Context {
        storage: running.storage.as_ref(),
        peppers: &running.peppers(),
        clock: &SystemClock,
        random: &SystemRandom,
        json: true,
        out: &mut out,
    };
    match line {
        Line::Org(args) => org::run(args, &mut context).await,
        Line::Key(args) => key::run(args, &mut context).await,
    }
    .map_err(|e| error(&e))?;
    serde_json::from_slice(&out).map_err(|e| error(&e))
}

/// Waits until both directions can be interpreted: models are loaded in the background.
async fn wait_until_ready(client: &Client) -> Result<(), CallError> {
    let offers = |languages: &Value, from: &str, to: &str| {
        languages["data"].as_array().is_some_and(|list| {
            let is = |value: &Value, tag: &str| value.is_null() || value == tag;
            list.iter().any(|offer| is(&offer["source_language"], from) && is(&offer["target_language"], to))
        })
    };
    let deadline = tokio::time::Instant::now() + READY_MAX;
    loop {
        let languages = client.languages().await.map_err(|error| failed("the server")(&error))?;
        if offers(&languages, "en", "es") && offers(&languages, "es", "en") {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(CallError::Failed(
                "the speech engine is not ready after 30 s: `kallglot doctor` shows what it needs, server.log what happened".into(),
            ));
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Where everything is and how to go on.
fn tell_results(root: &Path, files: &Path, report: &Report, secret: &Secret, show: &mut Show) {
    let names = [
        "transcript.json",
        "transcript.txt",
        "transcript.srt",
        "transcript.vtt",
        "quality.json",
        "heard.wav",
        "customer.wav",
    ];
    let names = [&names[..], &["agent.wav", "phrases-es.txt", "server.log"], &after::FILES].concat();
    let paths: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), Value::from(files.join(name).display().to_string()))).collect();
    let ok = judge(report).is_ok();
    show.json(&json!({"event": "demo", "ok": ok, "data_dir": root, "files": paths, "report": report.json()}));

    let program = std::env::args().next().unwrap_or_else(|| "kallglot".into());
    let (root, files) = (root.display(), files.display());
    show.line("");
    show.heading("Everything is here:");
    show.line(&format!("  {files}/transcript.txt    (also .json, .srt, .vtt)"));
    show.line(&format!("  {files}/heard.wav         left: what the agent heard, right: what the customer heard"));
    show.line(&format!(
        "  {files}/recording.mp3     the call as it was recorded: left the agent, right the customer (also .ogg)"
    ));
    show.line(&format!("  {files}/analysis.json     summary, sentiment, keywords, performance"));
    show.line(&format!("  {files}/webhooks.json     what a receiver was told, and when"));
    show.line(&format!("  {files}/quality.json      the lags as the server measured them"));
    show.line(&format!("  {files}/server.log        what the server logged"));
    show.line("");
    show.heading("Next, on the same data:");
    show.line(&format!("  {program} serve --data-dir {root}"));
    show.prose(
        "and in another terminal (the key is the demo's; `kallglot org create` and `kallglot key create` make others):",
    );
    show.line(&format!("  export KALLGLOT_API_KEY={}", secret.reveal()));
    show.line(&format!("  {program} call --file {files}/customer.wav --from en --to es --out heard.wav"));
    show.line(&format!(
        "  {program} call --file {files}/customer.wav --agent-file {files}/agent.wav --take-turns --phrases es={files}/phrases-es.txt"
    ));
    show.line(&format!("  {program} call --microphone            your own voice"));
}

/// Whether the demo showed what it should: words of both, and translations that can be heard by both.
fn judge(report: &Report) -> Result<(), CallError> {
    if let Some(reason) = &report.failure {
        return Err(CallError::Failed(format!("the call failed: {reason}")));
    }
    for speaker in [Speaker::Customer, Speaker::Agent] {
        let (party, ear) = (speaker.index(), speaker.other().index());
        if report.turns[party] == 0 {
            return Err(CallError::Failed(format!(
                "nothing that the {speaker} said was understood; server.log may tell why"
            )));
        }
        if report.heard_dbfs[ear] < AUDIBLE_DBFS {
            return Err(CallError::Failed(format!(
                "the {} heard nothing of what the {speaker} said; server.log may tell why",
                speaker.other()
            )));
        }
    }
    Ok(())
}
