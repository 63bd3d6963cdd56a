//! How many sessions a second can be created durably, by how many concurrent callers of how many nodes: as `POST /v1/sessions` does it,
//! each with an idempotency key, a credit, and an event. On a PostgreSQL of its own, which writes to the disk before it answers.
//!
//! `cargo run --release -p kallglot-storage-postgres --example write_rate [delay_ms]`: with a delay, every piece of data takes so long
//! in each direction between the nodes and the database, as between machines.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // A measuring program, whose output is its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kallglot_core::event::EventType;
use kallglot_core::id::{ApiKeyId, EventId, OrganizationId, RequestId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::conformance::example::{answer, at, change, event, key, new_session, organization, secret};
use kallglot_storage::{
    CreatePaid, KeyRepository as _, NewSession, OrganizationRepository as _, SessionRepository as _,
};
use kallglot_storage_postgres::{Config, PostgresStorage, migrate};
use kallglot_throwaway::{Postgres, Proxy};

const MEASURED: Duration = Duration::from_secs(4);
const CONNECTIONS_MAX: u32 = 16;

#[tokio::main]
async fn main() {
    let delay_ms = std::env::args().nth(1).map_or(0, |text| text.parse().unwrap());
    let server = Postgres::durable().await;
    println!("durable session creations, {CONNECTIONS_MAX} connections per node, {delay_ms} ms each way");
    println!("nodes   organizations   callers   sessions/s   median ms   p99 ms   max ms");
    let mut round = 0;
    for (nodes, organizations) in [(1, 1), (1, 100), (3, 1), (3, 100)] {
        for callers in [1, 32, 128] {
            round += 1;
            let name = format!("round_{round}");
            migrate(&server.create_database(&name).await).await.unwrap();
            let proxy = Proxy::start(server.address()).await;
            if delay_ms > 0 {
                proxy.delay(Duration::from_millis(delay_ms));
            }
            let address = if delay_ms > 0 { proxy.address() } else { server.address() };
            measure(&server.url_at(address, &name), nodes, organizations, callers).await;
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
        event.detail.clear();
    }
    let mut answer = answer(&format!("{:032x}", chance.wrapping_mul(0x2545_f491_4f6c_dd1d)), number.into(), at(10));
    answer.request = new.request;
    answer.sealed_body = vec![7; 700];
    new.idempotency = Some(answer);
    new
}

async fn measure(url: &str, nodes: usize, organizations: usize, callers: usize) {
    let config = Config { url: url.into(), connections_max: CONNECTIONS_MAX };
    let mut opened = Vec::new();
    for _ in 0..nodes {
        opened.push(Arc::new(PostgresStorage::open(&config).await.unwrap()));
    }
    for owner in 1..=organizations as u128 {
        let storage = &opened[0];
        storage.create_organization(&organization(owner), 1_000_000_000, &change(owner, 1)).await.unwrap();
        let mut key = key(owner);
        (key.organization, key.environment) = (OrganizationId::from_bits(owner), Environment::Live);
        storage.create_key(&key, &secret(owner as u8), None, &change(owner + 1000, 1)).await.unwrap();
    }
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (storage, next) = (Arc::clone(&opened[caller % nodes]), Arc::clone(&next));
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while start.elapsed() < MEASURED {
                    let new = request(next.fetch_add(1, Ordering::Relaxed), organizations);
                    let begun = Instant::now();
                    let created = storage.create_session(&new).await.unwrap();
                    waits.push(begun.elapsed());
                    assert!(matches!(created, CreatePaid::Created(Some(_))), "{created:?}");
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    waits.sort_unstable();
    let [median, p99, max] =
        [0.5, 0.99, 1.0].map(|share| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0);
    println!("{nodes:5}   {organizations:13}   {callers:7}   {rate:10.0}   {median:9.2}   {p99:6.2}   {max:6.2}");
}
