//! Several nodes, one Redis: as exact as one process.

use std::time::Duration;

use kallglot_cluster::conformance::{T, hammer, session, tenant};
use kallglot_cluster::{Claim, WINDOW_MS};
use kallglot_core::id::{ApiKeyId, RequestId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_throwaway::Redis;

use super::*;

async fn three(redis: &Redis) -> Vec<Arc<dyn Cluster>> {
    vec![node(redis).await, node(redis).await, node(redis).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_600_lets_exactly_600_through() {
    let redis = Redis::start().await;
    let nodes = three(&redis).await;
    let take = |node: Arc<dyn Cluster>, _| async move { node.take(&wide(600), T).get().await.unwrap().allowed };
    let passed = hammer(&nodes, 64, 15, take).await;
    assert_eq!(passed, 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_sessions_exactly_50_get_one_of_50_slots() {
    let redis = Redis::start().await;
    let nodes = three(&redis).await;
    // Whoever hears that the tenant is unknown restores it, several at once, and asks again.
    let taken = hammer(&nodes, 50, 4, |node, index| async move {
        let until_ms = T + 30_000;
        loop {
            let lease = node.take_lease(tenant(1), session(index as u128), 50, until_ms, T).get().await.unwrap();
            if let Some(lease) = lease {
                return lease.taken;
            }
            node.restore_leases(tenant(1), &[], T).get().await.unwrap();
        }
    })
    .await;
    assert_eq!(taken, 50);
    assert_eq!(nodes[0].leases_in_use(tenant(1), T).get().await.unwrap(), Some(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_is_taken_once() {
    let redis = Redis::start().await;
    let taken = hammer(&three(&redis).await, 48, 5, |node, index| async move {
        let key = IdempotencyKey::parse("order-17").unwrap();
        let request = RequestId::from_bits(index as u128);
        let claim = node.claim(tenant(1), &key, Fingerprint([7; 32]), request, T + 60_000, T);
        claim.get().await.unwrap() == Claim::Taken
    })
    .await;
    assert_eq!(taken, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_differ_share_a_window() {
    const HOUR_MS: i64 = 3_600_000;
    let redis = Redis::start().await;
    let (early, late) = (node(&redis).await, node(&redis).await);
    let first = early.take(&wide(3), T).get().await.unwrap();
    let second = late.take(&wide(3), T + HOUR_MS).get().await.unwrap();
    assert_eq!((first.tenant.used, second.tenant.used), (1, 2));
    assert_eq!(first.tenant.ends_at_ms, T + WINDOW_MS, "each is told by its own clock when it ends");
    let ends_at_ms = second.tenant.ends_at_ms - HOUR_MS;
    assert!((T..=T + WINDOW_MS).contains(&ends_at_ms), "{ends_at_ms}");
    let after = late.give_back(&wide(3), &second, T + HOUR_MS).get().await.unwrap();
    assert_eq!(after.tenant.used, 1);
    early.restore_leases(tenant(1), &[], T).get().await.unwrap();
    early.take_lease(tenant(1), session(1), 9, T + 30_000, T).get().await.unwrap();
    assert_eq!(late.leases_in_use(tenant(1), T + HOUR_MS).get().await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_window_of_a_server_whose_clock_was_ahead_is_over() {
    let redis = Redis::start().await;
    let config = RedisConfig { callers_clock: true, timeout: PATIENCE, ..RedisConfig::new(redis.url()) };
    let node = node_with(config).await;
    let (ahead_ms, now_ms) = (T + 3_600_000, T);
    assert!(node.take(&wide(1), ahead_ms).get().await.unwrap().allowed);
    let rate = node.take(&wide(1), now_ms).get().await.unwrap();
    assert!(rate.allowed, "nobody is refused for an hour because another server has taken over");
    assert_eq!(rate.tenant.ends_at_ms, now_ms + WINDOW_MS);
}

#[tokio::test]
async fn installations_with_different_namespaces_share_nothing() {
    let redis = Redis::start().await;
    let other = RedisConfig { namespace: "other".into(), timeout: PATIENCE, ..RedisConfig::new(redis.url()) };
    let (one, other) = (node(&redis).await, node_with(other).await);
    assert!(one.take(&wide(1), T).get().await.unwrap().allowed);
    assert!(other.take(&wide(1), T).get().await.unwrap().allowed);
    assert!(!one.take(&wide(1), T).get().await.unwrap().allowed);
}

#[tokio::test]
async fn nothing_stays_for_ever() {
    let redis = Redis::start().await;
    let node = node(&redis).await;
    let own = Take { own: Some((ApiKeyId::from_bits(1), 5)), ..wide(9) };
    let rate = node.take(&own, T).get().await.unwrap();
    node.give_back(&own, &rate, T).get().await.unwrap();
    node.restore_leases(tenant(1), &[(session(1), T + 1_000)], T).get().await.unwrap();
    node.renew_leases(&[(tenant(2), session(2))], T + 1_000, T).get().await.unwrap();
    node.take_lease(tenant(1), session(3), 5, i64::MAX, T).get().await.unwrap();
    node.count_failure("192.0.2.1".parse().unwrap(), 5, T).get().await.unwrap();
    let key = IdempotencyKey::parse("order-17").unwrap();
    let claim = node.claim(tenant(1), &key, Fingerprint([7; 32]), RequestId::from_bits(1), T + 60_000, T);
    claim.get().await.unwrap();
    node.announce("something").get().await.unwrap();
    let mut operator = operator(&redis).await;
    let keys: Vec<String> = order(&mut operator, "KEYS *").await;
    assert!(keys.len() >= 7, "{keys:?}");
    for key in keys {
        let left_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut operator).await.unwrap();
        let most = Duration::from_secs(8 * 24 * 3600).as_millis() as i64;
        assert!((0..most).contains(&left_ms) || left_ms == -2, "{key} {left_ms}");
    }
}
