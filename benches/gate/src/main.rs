//! What `benches/gate/run` needs beside wrk: a database full of keys, a flood of unknown ones, the bare figures of the disk, and a bare
//! handler as the floor.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A measuring program, whose output is its figures.

mod disk;
mod flood;
mod floor;
mod keys;
mod random;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Whatever stops the program; its text goes to standard error.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Parts of the gate's benchmark, started by benches/gate/run")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fill a database with copies of one organization and one key, each with an id and a secret of its own
    Keys(keys::KeysArgs),
    /// Ask with random keys that nobody has, at a fixed rate
    Flood(flood::FloodArgs),
    /// What the disk and SQLite alone can do
    Disk(disk::DiskArgs),
    /// A bare handler that hashes the key, looks it up, counts and sets six headers
    Floor(floor::FloorArgs),
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::Keys(args) => keys::run(&args),
        Command::Flood(args) => flood::run(&args),
        Command::Disk(args) => disk::run(&args),
        Command::Floor(args) => floor::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kallglot-bench-gate: {error}");
            ExitCode::FAILURE
        }
    }
}
