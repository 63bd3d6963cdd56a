//! The engine's worker as a program of its own: `classic-worker [anything] recognize|synthesize`. The server starts itself instead; this one is
//! for tests and measurements of this crate.

use std::process::ExitCode;

use kallglot_engine_classic::worker_main;

fn main() -> ExitCode {
    match std::env::args().next_back().as_deref().map(str::parse) {
        Some(Ok(kind)) => worker_main(kind),
        _ => ExitCode::from(2),
    }
}
