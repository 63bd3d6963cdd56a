//! How long a revoked key is still let in on other nodes: three nodes on one PostgreSQL and one Redis, with the announcement and without it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement that can't go on must stop, and prints what it found"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kallglot_core::id::ApiKeyId;
use kallglot_core::permission::Permission;
use kallglot_core::session::Environment;
use kallglot_testkit::backing::Servers;
use kallglot_testkit::client::Client;
use kallglot_testkit::{FakeClock, ServerBuilder};
use tokio::task::JoinSet;

/// Revocations at a time, so that a run takes minutes and not hours.
const AT_ONCE: usize = 16;

#[tokio::main]
async fn main() {
    let count: usize = std::env::args().nth(1).map_or(2000, |text| text.parse().unwrap());
    println!("| announced | revocations | p50 ms | p99 ms | p99.9 ms | worst ms |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for announced in [true, false] {
        let mut times = measure(count, announced).await;
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
        let name = if announced { "yes" } else { "no: Redis is cut off from the other nodes" };
        println!("| {name} | {count} | {:.1} | {:.1} | {:.1} | {:.1} |", at(0.5), at(0.99), at(0.999), at(1.0));
    }
}

/// From the answer to the revocation until the last of the other nodes has refused the key.
async fn measure(count: usize, announced: bool) -> Vec<Duration> {
    let servers = Servers::start().await;
    let clock = Arc::new(FakeClock::default());
    let (mut nodes, mut cables) = (Vec::new(), Vec::new());
    for seed in 1..=3 {
        let (backing, own) = servers.backing_through().await;
        nodes.push(ServerBuilder::default().start_on(backing, Arc::clone(&clock), seed).await);
        cables.push(own);
    }
    let organization = nodes[0]
        .organization_with(0, |organization| organization.overrides.requests_per_minute_max = Some(u32::MAX / 1024))
        .await;
    let admin = nodes[0].client_that_may(&organization, &[Permission::ApiKeysManage]).await;
    let mut keys: Vec<(ApiKeyId, Vec<Client>)> = Vec::new();
    for _ in 0..count {
        let (key, secret) = nodes[0].key_with(&organization, Environment::Live, |_| {}).await;
        keys.push((key, nodes.iter().map(|node| node.client_with(&secret)).collect()));
    }
    if !announced {
        for cables in &cables[1..] {
            cables.redis.cut().await;
        }
    }
    let (mut running, mut times) = (JoinSet::new(), Vec::new());
    for (key, clients) in keys {
        if running.len() >= AT_ONCE {
            times.extend(running.join_next().await.map(Result::unwrap));
        }
        running.spawn(one(admin.clone(), key, clients));
    }
    times.extend(running.join_all().await);
    for node in nodes {
        node.finish().await;
    }
    times
}

async fn one(admin: Client, key: ApiKeyId, clients: Vec<Client>) -> Duration {
    for client in &clients {
        assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
    }
    let answer = admin.post(&format!("/v1/api_keys/{key}/revoke"), serde_json::json!({})).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let revoked = Instant::now();
    for client in &clients[1..] {
        while client.get("/v1/whoami").await.unwrap().status != 401 {}
    }
    revoked.elapsed()
}
