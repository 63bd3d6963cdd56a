//! What counting in Redis costs: latency and throughput of `take` over loopback by the number of connections, and what goes over the
//! wire. Starts a Redis of its own: `cargo run --release -p kallglot-cluster-redis --example measure`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kallglot_cluster::conformance::tenant;
use kallglot_cluster::{Cluster as _, Take};
use kallglot_cluster_redis::{RedisCluster, RedisConfig};
use kallglot_core::id::ApiKeyId;
use kallglot_throwaway::Redis;

const TAKES: usize = 100_000;

fn take_of(index: usize) -> Take {
    Take { tenant: tenant(index as u128 % 97), limit: u32::MAX, own: Some((ApiKeyId::from_bits(1), u32::MAX)) }
}

/// What a field of `INFO` says.
async fn info(operator: &mut redis::aio::MultiplexedConnection, field: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg("everything").query_async(operator).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let digits: String = line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

async fn run(cluster: &Arc<RedisCluster>, tasks: usize, takes: usize) -> (Vec<Duration>, Duration) {
    let began = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let cluster = Arc::clone(cluster);
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(takes / tasks);
                for index in 0..takes / tasks {
                    let began = Instant::now();
                    cluster.take(&take_of(task + index), 0).get().await.unwrap();
                    times.push(began.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::with_capacity(takes);
    for task in running {
        times.extend(task.await.unwrap());
    }
    let whole = began.elapsed();
    times.sort_unstable();
    (times, whole)
}

#[tokio::main]
async fn main() {
    let redis = Redis::start().await;
    let mut operator = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    for connections in [1, 2, 3, 4] {
        let timeout = Duration::from_secs(5);
        let config = RedisConfig { connections, timeout, ..RedisConfig::new(redis.url()) };
        let cluster = Arc::new(RedisCluster::connect(config).await.unwrap());
        run(&cluster, 64, 10_000).await;
        for (tasks, takes) in [(1, TAKES / 10), (8, TAKES), (64, TAKES)] {
            let fields = ["total_net_input_bytes:", "total_net_output_bytes:", "cmdstat_evalsha:calls="];
            let mut before = [0; 3];
            for (value, field) in before.iter_mut().zip(fields) {
                *value = info(&mut operator, field).await;
            }
            let (times, whole) = run(&cluster, tasks, takes).await;
            let mut each = [0.0; 3];
            for ((value, field), before) in each.iter_mut().zip(fields).zip(before) {
                *value = (info(&mut operator, field).await - before) as f64 / times.len() as f64;
            }
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
            println!(
                "{connections} connections, {tasks:2} tasks: p50 {} µs, p99 {} µs, {:.0}/s; {:.2} calls, {:.0} bytes there, {:.0} back",
                at(0.5),
                at(0.99),
                times.len() as f64 / whole.as_secs_f64(),
                each[2],
                each[0],
                each[1],
            );
        }
    }
}
