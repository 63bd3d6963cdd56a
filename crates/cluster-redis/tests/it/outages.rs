//! Redis is slow, away, restarted, or no longer the one that may be written to.

use std::sync::atomic::AtomicU32;

use kallglot_cluster::conformance::{T, session, tenant};
use kallglot_cluster::fallback::Fallback;
use kallglot_cluster::{Answer, Lease};

use super::*;

/// Looks at whether calls fail without being made.
fn fails_at_once(node: &Arc<dyn Cluster>) -> bool {
    matches!(node.take(&wide(5), T), Answer::Now(Err(_)))
}

#[tokio::test]
async fn flushed_scripts_are_sent_again() {
    let redis = Redis::start().await;
    let node = node(&redis).await;
    let mut operator = operator(&redis).await;
    for used in 1..4 {
        let () = order(&mut operator, "SCRIPT FLUSH").await;
        assert_eq!(node.take(&wide(5), T).get().await.unwrap().tenant.used, used);
        node.restore_leases(tenant(1), &[(session(1), T + 1_000)], T).get().await.unwrap();
    }
}

#[tokio::test]
async fn a_restarted_redis_is_used_again_and_asks_for_the_slots() {
    let mut redis = Redis::start().await;
    let node = node(&redis).await;
    node.restore_leases(tenant(1), &[(session(1), T + 30_000)], T).get().await.unwrap();
    let take = async || node.take_lease(tenant(1), session(2), 9, T + 30_000, T).get().await;
    assert_eq!(take().await.unwrap(), Some(Lease { taken: true, in_use: 2 }));
    redis.kill().await;
    until("its absence is noticed", async || fails_at_once(&node)).await;
    assert!(node.check().get().await.is_err());
    redis.start_again().await;
    until_up(&node).await;
    assert_eq!(take().await.unwrap(), None, "it has forgotten");
    node.renew_leases(&[(tenant(1), session(2))], T + 30_000, T).get().await.unwrap();
    assert_eq!(node.leases_in_use(tenant(1), T).get().await.unwrap(), None);
    node.restore_leases(tenant(1), &[(session(1), T + 30_000)], T).get().await.unwrap();
    assert_eq!(take().await.unwrap(), Some(Lease { taken: true, in_use: 2 }));
}

#[tokio::test]
async fn a_redis_that_is_silent_is_given_up() {
    let redis = Redis::start().await;
    let node = node_with(RedisConfig::new(redis.url())).await;
    node.take(&wide(5), T).get().await.unwrap();
    redis.pause();
    // All of them at once, and all end, though nothing is answered.
    let calls = (0..64).map(|_| async {
        let taken = node.take(&wide(5), T).get().await.is_err();
        let looked = node.leases_in_use(tenant(1), T).get().await.is_err();
        let told = node.announce("x").get().await.is_err();
        taken && looked && told && node.check().get().await.is_err()
    });
    let all = tokio::time::timeout(PATIENCE, futures_util::future::join_all(calls)).await.expect("calls are bounded");
    assert!(all.into_iter().all(|failed| failed));
    until("calls fail without being made", async || fails_at_once(&node)).await;
    redis.resume();
    until_up(&node).await;
    until("it is asked again", async || node.take(&wide(5), T).get().await.is_ok()).await;
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_allowed() {
    let redis = Redis::start().await;
    let config = RedisConfig { in_flight_max: 2, timeout: PATIENCE, ..RedisConfig::new(redis.url()) };
    let node = node_with(config).await;
    redis.pause();
    let (one, two) = (node.take(&wide(5), T), node.take(&wide(5), T));
    assert!(matches!((&one, &two), (Answer::Later(_), Answer::Later(_))));
    assert!(fails_at_once(&node));
    drop(one);
    assert!(!fails_at_once(&node), "who no longer waits makes room");
    redis.resume();
    two.get().await.unwrap();
}

#[tokio::test]
async fn one_lost_connection_is_no_outage() {
    let redis = Redis::start().await;
    let node = node(&redis).await;
    let mut operator = operator(&redis).await;
    for used in 1..10 {
        let own: String = order(&mut operator, "CLIENT ID").await;
        let clients: String = order(&mut operator, "CLIENT LIST TYPE normal").await;
        let mut ids = clients.lines().filter_map(|line| line.split(' ').next()?.strip_prefix("id="));
        let other = ids.rfind(|id| *id != own).expect("the node is connected").to_owned();
        let killed: u32 = order(&mut operator, &format!("CLIENT KILL ID {other}")).await;
        assert_eq!(killed, 1);
        let mut failed = 0;
        until("it is replaced", async || {
            failed += u32::from(node.look(&wide(99), T).get().await.is_err());
            let clients: String = order(&mut operator, "CLIENT LIST TYPE normal").await;
            clients.lines().count() == 3 && !clients.lines().any(|line| line.starts_with(&format!("id={other} ")))
        })
        .await;
        assert!(failed <= 1, "only a call that met its end, not the next: {failed}");
        assert_eq!(node.take(&wide(99), T).get().await.unwrap().tenant.used, used);
    }
}

#[tokio::test]
async fn a_node_starts_without_redis_and_finds_it() {
    let mut redis = Redis::start().await;
    redis.stop().await;
    let node = node(&redis).await;
    assert!(fails_at_once(&node));
    assert!(node.check().get().await.is_err());
    redis.start_again().await;
    until_up(&node).await;
    assert!(node.take(&wide(5), T).get().await.unwrap().allowed);
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_left_until_it_can_be_written_to() {
    let redis = Redis::start().await;
    let node = node(&redis).await;
    let mut operator = operator(&redis).await;
    let () = order(&mut operator, "REPLICAOF 127.0.0.1 1").await;
    until("it is given up", async || {
        let _ = node.take(&wide(5), T).get().await;
        fails_at_once(&node)
    })
    .await;
    let () = order(&mut operator, "REPLICAOF NO ONE").await;
    until_up(&node).await;
    assert!(node.take(&wide(5), T).get().await.unwrap().allowed);
}

#[tokio::test]
async fn nodes_that_are_alone_let_their_shares_through_and_come_back() {
    let mut redis = Redis::start().await;
    let count = Arc::new(AtomicU32::new(3));
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Fallback::new(node(&redis).await, Arc::clone(&count)));
    }
    let passed = async || {
        let mut passed = 0;
        for _ in 0..10 {
            for node in &nodes {
                passed += u32::from(node.take(&wide(12), T).get().await.unwrap().allowed);
            }
        }
        passed
    };
    assert_eq!(passed().await, 12);
    redis.kill().await;
    assert_eq!(passed().await, 12, "each lets its four through");
    assert_eq!(passed().await, 0);
    redis.start_again().await;
    until("all are back", async || {
        let mut back = true;
        for node in &nodes {
            back &= node.check().get().await.is_ok();
        }
        back
    })
    .await;
    assert_eq!(passed().await, 12, "Redis has forgotten the window");
}
