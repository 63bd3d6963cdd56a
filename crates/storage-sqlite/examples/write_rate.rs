//! How many sessions a second can be created durably, by how many concurrent writers.
//!
//! `cargo run --release -p kallglot-storage-sqlite --example write_rate [folder]`: the folder decides which disk is measured.
//! Meanwhile a second opening of the same database, as the command line has it, does one write after another: it must not starve.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kallglot_storage::conformance::example::{TENANT, begin, session};
use kallglot_storage::{OrganizationRepository as _, SessionRepository as _, Storage as _};
use kallglot_storage_sqlite::{FILE_NAME, SqliteStorage};

const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("durable session creations on {}, {} s each", parent.display(), MEASURED.as_secs());
    println!("                                                    the command line's writes meanwhile");
    println!("writers   sessions/s   median ms   p99 ms   max ms   number   median ms    max ms");
    for (writers, with_command_line) in [(1, false), (32, false), (256, false), (1024, false), (1, true), (256, true)] {
        measure(&parent, writers, with_command_line).await;
    }
}

async fn measure(parent: &std::path::Path, writers: usize, with_command_line: bool) {
    let folder = tempfile::tempdir_in(parent).unwrap();
    let storage = Arc::new(SqliteStorage::open(folder.path()).unwrap());
    begin(storage.as_ref()).await;
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (storage, next) = (Arc::clone(&storage), Arc::clone(&next));
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while start.elapsed() < MEASURED {
                    let mut new = session(u128::from(next.fetch_add(1, Ordering::Relaxed)));
                    new.vocabulary = Default::default();
                    let begun = Instant::now();
                    storage.create_session(&new).await.unwrap();
                    waits.push(begun.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut command_line = Vec::new();
    if with_command_line {
        let storage = SqliteStorage::open(folder.path()).unwrap();
        while start.elapsed() < MEASURED {
            let begun = Instant::now();
            // Each time another value: SQLite does not write what is already there.
            storage.set_active(TENANT.organization, command_line.len() % 2 == 0).await.unwrap();
            command_line.push(begun.elapsed());
        }
        storage.close().await.unwrap();
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = waits.len() as f64 / seconds;
    let stored_expected = waits.len();
    let [median, p99, max] = quantiles_ms(waits);
    print!("{writers:7}   {rate:10.0}   {median:9.2}   {p99:6.2}   {max:6.2}");
    if with_command_line {
        let number = command_line.len();
        let [median, _, max] = quantiles_ms(command_line);
        print!("   {number:6}   {median:9.2}   {max:7.2}");
    }
    println!();
    assert!(storage.session(TENANT, session(0).id).await.unwrap().is_some());
    storage.close().await.unwrap();
    let stored: i64 = rusqlite::Connection::open(folder.path().join(FILE_NAME))
        .and_then(|file| file.query_row("SELECT count(*) FROM sessions", (), |row| row.get(0)))
        .unwrap();
    assert_eq!(stored as usize, stored_expected, "every acknowledged session is there");
}

/// Median, 99th percentile and maximum, in ms.
fn quantiles_ms(mut waits: Vec<Duration>) -> [f64; 3] {
    waits.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0)
}
