//! Nodes that share a real Redis, and what becomes of them when it is slow, cut off, restarted or replaced.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

mod exactness;
mod news;
mod outages;

use std::sync::Arc;
use std::time::Duration;

use kallglot_cluster::{Cluster, Take};
use kallglot_cluster_redis::{RedisCluster, RedisConfig};
use kallglot_throwaway::Redis;
use redis::aio::MultiplexedConnection;

/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn node_with(config: RedisConfig) -> Arc<dyn Cluster> {
    Arc::new(RedisCluster::connect(config).await.unwrap())
}

/// A node as it usually is, but patient: the machine that tests may be busy.
async fn node(redis: &Redis) -> Arc<dyn Cluster> {
    node_with(RedisConfig { timeout: PATIENCE, ..RedisConfig::new(redis.url()) }).await
}

/// A connection of an operator's.
async fn operator(redis: &Redis) -> MultiplexedConnection {
    redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Does what an operator types.
async fn order<T: redis::FromRedisValue>(operator: &mut MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(operator).await.unwrap()
}

/// Looks until it is so.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    let looking = async {
        while !look().await {
            pause.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("it took too long: {what}"));
}

async fn until_up(node: &Arc<dyn Cluster>) {
    until("Redis can be asked again", async || node.check().get().await.is_ok()).await;
}

fn wide(limit: u32) -> Take {
    Take { tenant: kallglot_cluster::conformance::tenant(1), limit, own: None }
}
