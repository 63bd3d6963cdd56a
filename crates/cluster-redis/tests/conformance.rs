//! The suite against a real Redis, each case with one of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::sync::Arc;
use std::time::Duration;

use kallglot_cluster::conformance as case;
use kallglot_cluster_redis::{RedisCluster, RedisConfig};
use kallglot_throwaway::Redis;
use redis::Client;

fn config(redis: &Redis) -> RedisConfig {
    // The machine that tests may be busy for long.
    RedisConfig { callers_clock: true, timeout: Duration::from_secs(10), ..RedisConfig::new(redis.url()) }
}

async fn alone() -> (RedisCluster, Redis) {
    let redis = Redis::start().await;
    (RedisCluster::connect(config(&redis)).await.unwrap(), redis)
}

kallglot_cluster::conformance_suite!(alone);
kallglot_cluster::shared_conformance_suite!(alone);

/// A Redis Cluster of one node refuses a script that touches keys of two slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_script_needs_keys_of_two_slots() {
    let redis = Redis::start_with(&["--cluster-enabled", "yes"]).await;
    let mut connection = Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383).exec_async(&mut connection).await.unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let up = async {
        while redis::cmd("GET").arg("anything").exec_async(&mut connection).await.is_err() {
            pause.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), up).await.expect("the cluster is up");
    let open = async |namespace: &str| {
        let config = RedisConfig { namespace: namespace.to_owned(), ..config(&redis) };
        Arc::new(RedisCluster::connect(config).await.unwrap())
    };
    case::both_buckets_or_neither_whatever_the_concurrency(open("a").await).await;
    case::what_is_given_back_can_be_taken_again_and_no_more(open("b").await).await;
    case::failures_are_counted_exactly_and_begin_anew(open("c").await).await;
    case::many_slots_are_restored_and_renewed(open("d").await).await;
    case::slots_are_like_their_model(open("e").await).await;
    case::a_claim_lapses_and_is_released_by_its_holder_alone(open("f").await).await;
    case::news_are_heard_in_order_by_everybody(open("g").await).await;
}
