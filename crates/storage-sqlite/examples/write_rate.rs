//! How many sessions a second can be created durably, by how many concurrent writers.
//!
//! `cargo run --release -p kallglot-storage-sqlite --example write_rate [folder]`: the folder decides which disk is measured.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kallglot_storage::conformance::example::{TENANT, begin, session};
use kallglot_storage::{SessionRepository as _, Storage as _};
use kallglot_storage_sqlite::{FILE_NAME, SqliteStorage};

const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("durable session creations on {}, {} s each", parent.display(), MEASURED.as_secs());
    println!("writers   sessions/s   median ms   p99 ms   max ms");
    for writers in [1, 32, 256, 1024] {
        measure(&parent, writers).await;
    }
}

async fn measure(parent: &std::path::Path, writers: usize) {
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
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    waits.sort_unstable();
    let ms = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let rate = waits.len() as f64 / seconds;
    println!("{writers:7}   {rate:10.0}   {:9.2}   {:6.2}   {:6.2}", ms(0.5), ms(0.99), ms(1.0));
    assert!(storage.session(TENANT, session(0).id).await.unwrap().is_some());
    storage.close().await.unwrap();
    let stored: i64 = rusqlite::Connection::open(folder.path().join(FILE_NAME))
        .and_then(|file| file.query_row("SELECT count(*) FROM sessions", (), |row| row.get(0)))
        .unwrap();
    assert_eq!(stored as usize, waits.len(), "every acknowledged session is there");
}
