//! How many turns a second can be stored durably: what calls cost the database while people speak, which is most of what it does. On a
//! PostgreSQL of its own, which writes to the disk before it answers.
//!
//! `cargo run --release -p kallglot-storage-postgres --example turn_rate`

#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kallglot_core::id::{SegmentId, SessionId};
use kallglot_storage::conformance::example::{TENANT, begin, new_session, turn};
use kallglot_storage::{NewTurn, SessionRepository as _, TurnRepository as _};
use kallglot_storage_postgres::{Config, PostgresStorage, migrate};
use kallglot_throwaway::Postgres;

const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let server = Postgres::durable().await;
    println!("calls   turns/s   median ms   p99 ms");
    for calls in [1, 32, 128] {
        let url = server.create_database(&format!("calls_{calls}")).await;
        migrate(&url).await.unwrap();
        let storage = Arc::new(PostgresStorage::open(&Config { url, connections_max: 16 }).await.unwrap());
        begin(storage.as_ref()).await;
        let begun = Instant::now();
        let tasks: Vec<_> = (1..=calls)
            .map(|call| {
                let storage = Arc::clone(&storage);
                tokio::spawn(async move {
                    storage.create_session(&new_session(call)).await.unwrap();
                    let (mut waits, mut number) = (Vec::new(), 0);
                    while begun.elapsed() < MEASURED {
                        number += 1;
                        let id = SegmentId::from_bits(call << 64 | u128::from(number));
                        let turn = NewTurn { id, ..turn(number) };
                        let asked = Instant::now();
                        storage.append_turn(TENANT, SessionId::from_bits(call), &turn).await.unwrap();
                        waits.push(asked.elapsed());
                    }
                    waits
                })
            })
            .collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.unwrap());
        }
        let rate = waits.len() as f64 / begun.elapsed().as_secs_f64();
        waits.sort_unstable();
        let [median, p99] =
            [0.5, 0.99].map(|share| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0);
        println!("{calls:5}   {rate:7.0}   {median:9.2}   {p99:6.2}");
    }
}
