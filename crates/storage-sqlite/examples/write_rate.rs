//! How many sessions a second can be created durably, by how many concurrent callers: as `POST /v1/sessions` does it, each with an
//! idempotency key, a credit, and an event.
//!
//! `cargo run --release -p kallglot-storage-sqlite --example write_rate [folder [organizations [callers]…]]`: the folder decides
//! which disk is measured; the more organizations share the work, the more places of the database each commit changes. With callers 0, a second opening of the same database, as the command line has it, does one write after another beside
//! 256 callers: it must not starve.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kallglot_core::event::EventType;
use kallglot_core::id::{ApiKeyId, EventId, OrganizationId, RequestId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::conformance::example::{answer, at, change, event, key, new_session, organization, secret};
use kallglot_storage::{
    CreateSession, KeyRepository as _, NewSession, OrganizationRepository as _, OrganizationUpdate,
    SessionRepository as _, Storage as _,
};
use kallglot_storage_sqlite::{FILE_NAME, SqliteStorage};

const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mut numbers = arguments.map(|number| number.to_str().unwrap().parse().unwrap());
    let organizations = numbers.next().map(|number| vec![number]).unwrap_or(vec![1, 100]);
    let mut callers: Vec<usize> = numbers.collect();
    if callers.is_empty() {
        callers = vec![1, 32, 128, 256, 512, 0];
    }
    println!("durable session creations on {}, {} s each", parent.display(), MEASURED.as_secs());
    println!("                                                            the command line's writes meanwhile");
    println!(
        "callers   sessions/s   median ms   p99 ms   max ms   cpu us each, of writer   number   median ms   max ms"
    );
    for organizations in organizations {
        println!("{organizations} organizations");
        for callers in &callers {
            match callers {
                0 => measure(&parent, organizations, 256, true).await,
                _ => measure(&parent, organizations, *callers, false).await,
            }
        }
    }
}

/// Request `number`, of one organization of so many.
fn request(number: u64, organizations: usize) -> NewSession {
    let owner = u128::from(number % organizations as u64) + 1;
    let tenant = Tenant { organization: OrganizationId::from_bits(owner), environment: Environment::Live };
    // Ids as they are in life: the time, then chance.
    let chance = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 48;
    let bits = u128::from(1_750_000_000_000 + number / 20) << 80 | chance;
    let mut new = new_session(bits);
    new.session.tenant = tenant;
    new.session.created_by = ApiKeyId::from_bits(owner);
    new.session.vocabulary = Default::default();
    new.credits = 1;
    new.request = RequestId::from_bits(bits);
    for (event, event_type) in
        [(&mut new.event, EventType::SessionCreated), (&mut new.low_credits_event, EventType::CreditsLow)]
    {
        *event = self::event(event_type, &new.session.id.to_string());
        (event.id, event.organization, event.environment) =
            (EventId::from_bits(bits), tenant.organization, tenant.environment);
        event.detail = BTreeMap::new();
    }
    let mut answer = answer(&format!("{:032x}", chance.wrapping_mul(0x2545_f491_4f6c_dd1d)), number.into(), at(10));
    answer.request = new.request;
    answer.sealed_body = vec![7; 700];
    new.idempotency = Some(answer);
    new
}

async fn begin(storage: &SqliteStorage, organizations: usize) {
    for owner in 1..=organizations as u128 {
        storage.create_organization(&organization(owner), 1_000_000_000, &change(owner, 1)).await.unwrap();
        let mut key = key(owner);
        (key.organization, key.environment) = (OrganizationId::from_bits(owner), Environment::Live);
        storage.create_key(&key, &secret(owner as u8), None, &change(owner + 1000, 1)).await.unwrap();
    }
}

async fn measure(parent: &Path, organizations: usize, callers: usize, with_command_line: bool) {
    let folder = tempfile::tempdir_in(parent).unwrap();
    let storage = Arc::new(SqliteStorage::open(folder.path()).unwrap());
    begin(&storage, organizations).await;
    let next = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), ["", "db-write"].map(cpu_time));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (storage, next) = (Arc::clone(&storage), Arc::clone(&next));
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while start.elapsed() < MEASURED {
                    let new = request(next.fetch_add(1, Ordering::Relaxed), organizations);
                    let begun = Instant::now();
                    let created = storage.create_session(&new).await.unwrap();
                    waits.push(begun.elapsed());
                    assert!(matches!(created, CreateSession::Created(Some(_))), "{created:?}");
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
            let number = command_line.len() as u32;
            let update = OrganizationUpdate { low_credits_threshold: Some(number), ..OrganizationUpdate::default() };
            let change = change(10_000 + u128::from(number), 5);
            storage.update_organization(OrganizationId::from_bits(1), &update, &change).await.unwrap();
            command_line.push(begun.elapsed());
        }
        storage.close().await.unwrap();
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    let used = [cpu_time("") - cpu[0], cpu_time("db-write") - cpu[1]];
    let created = waits.len();
    let [median, p99, max] = quantiles_ms(waits);
    let rate = created as f64 / seconds;
    let [all_us, writer_us] = used.map(|used| used.as_secs_f64() * 1e6 / created as f64);
    print!("{callers:7}   {rate:10.0}   {median:9.2}   {p99:6.2}   {max:6.2}   {all_us:11.1}   {writer_us:9.1}");
    if with_command_line {
        let number = command_line.len();
        let [median, _, max] = quantiles_ms(command_line);
        print!("   {number:6}   {median:9.2}   {max:6.2}");
    }
    println!();
    let first = request(0, organizations).session;
    assert!(storage.session(first.tenant, first.id).await.unwrap().is_some());
    let granted =
        storage.grant_credits(OrganizationId::from_bits(1), NonZeroU32::MIN, &change(9_000, 9)).await.unwrap();
    assert!(granted.is_some());
    storage.close().await.unwrap();
    let file = rusqlite::Connection::open(folder.path().join(FILE_NAME)).unwrap();
    for (what, sql) in [
        ("session", "SELECT count(*) FROM sessions"),
        ("spend", "SELECT -sum(amount) FROM credit_ledger WHERE kind = 'spend'"),
        ("event", "SELECT count(*) FROM outbox WHERE type = 'session.created'"),
        ("answer", "SELECT count(*) FROM idempotency_answers"),
    ] {
        let stored: i64 = file.query_row(sql, (), |row| row.get(0)).unwrap();
        assert_eq!(stored as usize, created, "every acknowledged {what} is there");
    }
}

/// What threads of this process whose name begins with `name` have used of the processors.
fn cpu_time(name: &str) -> Duration {
    let mut ticks = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
        let Some((head, fields)) = stat.rsplit_once(')') else { continue };
        if head.split_once('(').is_some_and(|(_, thread)| thread.starts_with(name)) {
            // User and system time in ticks of 10 ms: fields 14 and 15, counted after the name, which may hold anything.
            let used = fields.split_ascii_whitespace().skip(11).take(2);
            ticks += used.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
        }
    }
    Duration::from_millis(ticks * 10)
}

/// Median, 99th percentile and maximum, in ms.
fn quantiles_ms(mut waits: Vec<Duration>) -> [f64; 3] {
    waits.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0)
}
