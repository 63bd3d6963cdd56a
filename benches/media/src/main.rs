//! Measures the media path: many sessions with the scripted engine, beside a bare WebSocket echo on the same library.
//!
//! `kallglot-bench-media steps --server target/release/kallglot` prints the table of this folder's README; `soak` shows whether memory
//! grows; `echo` is the floor, started by the others. Both parties of every session send a frame each 20 ms. In assistive mode the
//! agent hears the customer's own frames: the time from sending such a frame to receiving it is the delay that is measured. The
//! agent's utterances are recognised, translated, spoken and paced to the customer beside it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod echo;
mod load;
mod measure;
mod server;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use load::{Progress, Seen};
use measure::{Usage, load_average, usage};
use server::Server;

#[derive(Parser)]
#[command(about = "Measures the media path of kallglot with the scripted engine")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// More and more sessions, the server and the floor in turn
    Steps {
        /// How many sessions at a time
        #[arg(long, value_delimiter = ',', default_value = "100,250,500,750,1000")]
        sessions: Vec<usize>,
        #[command(flatten)]
        run: RunArgs,
    },
    /// The same number of sessions for long, with the memory every minute
    Soak {
        /// How many sessions
        #[arg(long, default_value_t = 500)]
        sessions: usize,
        #[command(flatten)]
        run: RunArgs,
    },
    /// The floor
    Echo {
        /// Where to listen
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[derive(Args, Clone)]
struct RunArgs {
    /// The server's program, built with --release
    #[arg(long, value_name = "PROGRAM", default_value = "target/release/kallglot")]
    server: PathBuf,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that
    #[arg(long, default_value_t = 5)]
    warm: u64,
    /// Sockets of a session: 1 for both parties, or 2, one for each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=2))]
    sockets: u64,
    /// The server on the first core, the load on the second
    #[arg(long)]
    pin: bool,
    /// Only the server, not the floor
    #[arg(long)]
    no_floor: bool,
    /// The server once more, recording every session
    #[arg(long)]
    record: bool,
}

fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Steps { sessions, run } => steps(&sessions, &run),
        Command::Soak { sessions, run } => soak(sessions, &run),
        Command::Echo { listen } => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(echo::serve(listen))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Kallglot,
    /// The same, with every session recorded.
    Recording,
    Echo,
}

/// One measurement.
struct Measured {
    seen: Seen,
    /// Parts of one core.
    server_cpu: f64,
    load_cpu: f64,
    /// Of the server, before and with all sessions.
    rss_kb: (u64, u64),
    /// Of the server, each second of the measurement.
    over_time_kb: Vec<u64>,
    load_average: f64,
    /// What the recordings grew by, per second and session.
    recorded_bytes: f64,
}

fn measure(
    system: System,
    sessions: usize,
    args: &RunArgs,
    mut each_second: impl FnMut(u64, Usage),
) -> io::Result<Measured> {
    let core = args.pin.then_some(0);
    let server = match system {
        System::Kallglot | System::Recording => Server::kallglot(&args.server, core)?,
        System::Echo => Server::echo(core)?,
    };
    if args.pin {
        let mut second = rustix::thread::CpuSet::new();
        second.set(1);
        rustix::thread::sched_setaffinity(None, &second)?;
    }
    let before = usage(server.pid());
    let doors = server.doors(sessions, args.sockets as usize, system == System::Recording)?;
    let progress = Arc::new(Progress::default());
    let (warm, measured) = (Duration::from_secs(args.warm), Duration::from_secs(args.seconds));
    let (sender, done) = sync_channel(1);
    let (address, shared) = (server.address, Arc::clone(&progress));
    let sockets: u64 = doors.iter().map(|door| door.sockets.len() as u64).sum();
    let loading = std::thread::spawn(move || {
        let _ = sender.send(load::run(address, &doors, warm, measured, &shared));
    });
    let mut over_time_kb = Vec::new();
    let mut start: Option<(Instant, Usage, Usage)> = None;
    let mut recorded = (0, 0);
    let mut end = None;
    let own = std::process::id();
    let mut connected_at = None;
    let seen = loop {
        match done.recv_timeout(Duration::from_secs(1)) {
            Ok(seen) => break seen?,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the load broke down")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if progress.connected.load(Ordering::Relaxed) < sockets {
            continue;
        }
        let at = Instant::now();
        let since = at.duration_since(*connected_at.get_or_insert(at));
        let now = usage(server.pid());
        if start.is_none() && since > warm {
            start = Some((at, now, usage(own)));
            recorded.0 = server.recorded_bytes();
        }
        if start.is_some() && since < warm + measured {
            over_time_kb.push(now.rss_kb);
            end = Some((at, now, usage(own)));
            recorded.1 = server.recorded_bytes();
            each_second(over_time_kb.len() as u64, now);
        }
        if progress.done.load(Ordering::SeqCst) {
            progress.leave.store(true, Ordering::SeqCst);
        }
    };
    let _ = loading.join();
    let (Some((from, server_from, own_from)), Some((to, server_to, own_to))) = (start, end) else {
        return Err(io::Error::other("too short to measure"));
    };
    let seconds = (to - from).as_secs_f64().max(0.1);
    Ok(Measured {
        seen,
        server_cpu: (server_to.cpu_s - server_from.cpu_s) / seconds,
        load_cpu: (own_to.cpu_s - own_from.cpu_s) / seconds,
        rss_kb: (before.rss_kb, server_to.rss_kb),
        over_time_kb,
        load_average: load_average(),
        recorded_bytes: recorded.1.saturating_sub(recorded.0) as f64 / seconds / sessions as f64,
    })
}

fn head() {
    println!(
        "| sessions | server | p50 ms | p95 ms | p99 ms | max ms | late % | lost % | server CPU % | load CPU % | sent late % | KB / session | received / s | finals | speech frames | errors | other load |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|");
}

fn row(system: System, sessions: usize, args: &RunArgs, measured: &Measured) {
    let Measured { seen, server_cpu, load_cpu, rss_kb, load_average, .. } = measured;
    let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    let delays = &seen.delays;
    let lost = seen.expected.saturating_sub(delays.count());
    let errors: Vec<String> = seen.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
    let mut errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
    if seen.closed > 0 {
        errors.push_str(&format!(", {} closed", seen.closed));
    }
    println!(
        "| {sessions} | {} | {:.2} | {:.2} | {:.2} | {:.1} | {:.3} | {:.3} | {:.0} | {:.0} | {:.2} | {:.1} | {} | {} | {} | {errors} | {load_average:.1} |",
        match system {
            System::Kallglot => "kallglot",
            System::Recording => "recording",
            System::Echo => "echo",
        },
        delays.quantile_ms(0.5),
        delays.quantile_ms(0.95),
        delays.quantile_ms(0.99),
        delays.max_ms(),
        percent(delays.late(), delays.count()),
        percent(lost, seen.expected),
        server_cpu * 100.0,
        load_cpu * 100.0,
        percent(seen.sent_late, seen.sent),
        rss_kb.1.saturating_sub(rss_kb.0) as f64 / sessions as f64,
        seen.received / args.seconds.max(1),
        seen.finals,
        seen.speech,
    );
}

fn steps(sessions: &[usize], args: &RunArgs) -> io::Result<()> {
    println!(
        "{} socket(s) per session, {}, {} s each after {} s\n",
        args.sockets,
        if args.pin { "server on core 0, load on core 1" } else { "any core" },
        args.seconds,
        args.warm
    );
    head();
    for &count in sessions {
        for system in [System::Kallglot, System::Recording, System::Echo] {
            if (args.no_floor && system == System::Echo) || (!args.record && system == System::Recording) {
                continue;
            }
            let measured = measure(system, count, args, |_, _| {})?;
            row(system, count, args, &measured);
            if system == System::Recording {
                println!("\n{:.0} bytes a second and session on disk\n", measured.recorded_bytes);
            }
        }
    }
    Ok(())
}

fn soak(sessions: usize, args: &RunArgs) -> io::Result<()> {
    println!("| minute | RSS MB |\n|---:|---:|");
    let measured = measure(System::Kallglot, sessions, args, |second, usage| {
        if second % 60 == 1 {
            println!("| {} | {:.1} |", second / 60, usage.rss_kb as f64 / 1_024.0);
        }
    })?;
    let rss = &measured.over_time_kb;
    let tenth = (rss.len() / 10).max(1);
    let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len().max(1) as f64 / 1_024.0;
    println!(
        "\nfirst tenth {:.1} MB, last tenth {:.1} MB\n",
        mean(&rss[..tenth.min(rss.len())]),
        mean(&rss[rss.len() - tenth.min(rss.len())..])
    );
    head();
    row(System::Kallglot, sessions, args, &measured);
    Ok(())
}
