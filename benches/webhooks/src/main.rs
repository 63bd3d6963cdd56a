//! How webhooks are delivered to many endpoints of which some are slow, some fail and some hang: see README.md.
//!
//! Two processes: this one is the receivers and the judge; it starts itself again as the server (database, fan-out and delivery, without the
//! HTTP API), which raises the events as sessions are made, and which can be killed in the middle.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A measuring program, whose output is its figures.

mod receivers;
mod report;
mod server;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use receivers::Receivers;

/// Whatever stops the program; its text goes to standard error.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Measures the delivery of webhooks")]
struct CommandLine {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Receive, and judge
    Measure(Measure),
    /// Raise events and deliver them; started by `measure`
    Serve(server::Serve),
}

#[derive(Args, Clone)]
struct Measure {
    /// Deliveries in all: each event goes to the endpoints of one organization
    #[arg(long, default_value_t = 100_000)]
    deliveries: u64,
    /// Deliveries that fall due in a second
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Organizations that share the 100 endpoints: 100 for one endpoint each, 1 for each event to all endpoints
    #[arg(long, default_value_t = 100)]
    organizations: u64,
    /// Endpoints that answer after 2 s
    #[arg(long, default_value_t = 10)]
    slow: u64,
    /// Endpoints that answer 500
    #[arg(long, default_value_t = 10)]
    fail: u64,
    /// Endpoints that never answer
    #[arg(long, default_value_t = 5)]
    hang: u64,
    /// Kill the server without warning when half of the events have been raised, and start it again
    #[arg(long)]
    kill: bool,
    /// How long to wait for healthy endpoints' last deliveries, in seconds
    #[arg(long, default_value_t = 120)]
    patience_s: u64,
}

/// Endpoints in all.
const ENDPOINTS: u64 = 100;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match (CommandLine::parse().role, runtime) {
        (Role::Measure(args), Ok(runtime)) => runtime.block_on(measure(args)),
        (Role::Serve(args), Ok(runtime)) => runtime.block_on(server::run(args)),
        (_, Err(error)) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kallglot-bench-webhooks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server, as a process of its own.
struct Process {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Process {
    fn start(args: &Measure, folder: &Path, ports: &Path) -> Result<Self, Failure> {
        let text = |number: u64| number.to_string();
        let events = args.deliveries / (ENDPOINTS / args.organizations);
        let rate = (args.rate / (ENDPOINTS / args.organizations)).max(1);
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .args([Path::new("--data"), folder, Path::new("--ports"), ports])
            .args(["--events", &text(events), "--rate", &text(rate), "--organizations", &text(args.organizations)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Self { child, lines })
    }

    /// Waits for a line that begins so; answers with the rest of it.
    async fn line(&mut self, begins: &str) -> Result<String, Failure> {
        while let Some(line) = self.lines.next_line().await? {
            if let Some(rest) = line.strip_prefix(begins) {
                return Ok(rest.trim().to_owned());
            }
        }
        Err(format!("the server ended before it said {begins:?}").into())
    }
}

async fn measure(args: Measure) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data)?;
    let receivers = Receivers::start(ENDPOINTS, args.slow, args.fail, args.hang).await?;
    let ports: PathBuf = folder.path().join("ports");
    std::fs::write(&ports, receivers.ports.iter().map(|port| format!("{port}\n")).collect::<String>())?;
    let healthy = ENDPOINTS - args.slow - args.fail - args.hang;
    let expected = args.deliveries / ENDPOINTS * healthy;

    let mut cpu_ms = 0;
    let mut killed_at = None;
    let mut process = Process::start(&args, &data, &ports)?;
    if args.kill {
        process.line("half").await?;
        cpu_ms += report::cpu_ms(process.child.id().ok_or("the server is gone")?)?;
        process.child.start_kill()?;
        process.child.wait().await?;
        killed_at = Some(jiff_now_ms());
        println!("killed; {} of {expected} healthy deliveries had come", receivers.healthy());
        process = Process::start(&args, &data, &ports)?;
    }
    let began = std::time::Instant::now();
    let raised = process.line("raised").await?;
    println!("events raised: {raised}");
    let all = timeout(Duration::from_secs(args.patience_s), receivers.until(expected)).await.is_ok();
    let id = process.child.id().ok_or("the server is gone")?;
    cpu_ms += report::cpu_ms(id)?;
    let memory_kb = report::memory_kb(id)?;
    if let Some(mut input) = process.child.stdin.take() {
        input.write_all(b"stop\n").await?;
    }
    timeout(Duration::from_secs(60), process.child.wait()).await??;
    println!("all healthy deliveries came: {all} ({} of {expected})", receivers.healthy());
    println!("since the server's last start: {:.1} s", began.elapsed().as_secs_f64());
    receivers.report(killed_at);
    report::accounts(&data, &args, cpu_ms, memory_kb, receivers.received())
}

fn jiff_now_ms() -> i64 {
    use kallglot_core::clock::Clock as _;
    server::SystemClock.now().as_millisecond()
}
