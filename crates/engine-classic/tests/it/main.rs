//! The engine with the real programs: Debian's pocketsphinx, Apertium and espeak-ng, and human voices from asterisk-core-sounds.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are outside of what clippy.toml takes for tests")]

mod recognition;
mod synthesis;
mod translation;

use std::time::Duration;

use kallglot_core::language::LanguageTag;
use kallglot_engine_classic::WorkerCommand;
use rustix::process::{Pid, Signal};

/// Longer than anything takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Workers of one test: the marker is on their command lines, so that tests that run at the same time tell theirs apart.
fn worker(marker: &str) -> WorkerCommand {
    WorkerCommand { program: env!("CARGO_BIN_EXE_classic-worker").into(), args: vec![marker.to_owned()] }
}

fn tag(text: &str) -> LanguageTag {
    text.parse().unwrap()
}

/// Children of this process, alive, that have the text on their command line.
fn processes(marker: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = format!("PPid:\t{}\n", std::process::id());
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if status.contains(&parent) && String::from_utf8_lossy(&command).contains(marker) {
            found.push(pid);
        }
    }
    found
}

fn signal(pid: Pid, signal: Signal) {
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until something is so.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let watch = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, watch).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}
