//! Several nodes on one database: each endpoint is one node's, and another's when that one is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use kallglot_core::delivery::DeliveryStatus;
use kallglot_testkit::backing::Servers;
use kallglot_testkit::{Behaviour, FakeClock, FakeReceiver, ServerBuilder};

use crate::world::World;

#[tokio::test]
async fn each_event_is_delivered_once_by_one_of_three_nodes_and_a_node_that_stops_is_replaced() {
    let servers = Servers::start().await;
    let clock = Arc::new(FakeClock::default());
    let mut nodes = Vec::new();
    for seed in 1..=3 {
        let backing = servers.backing().await;
        nodes.push(ServerBuilder::default().start_on(backing, Arc::clone(&clock), seed).await);
    }
    let world = World::on(nodes.remove(0)).await;
    let receivers = {
        let mut receivers = Vec::new();
        for _ in 0..6 {
            receivers.push(FakeReceiver::start(Behaviour::ok()).await);
        }
        receivers
    };
    let mut endpoints = Vec::new();
    for receiver in &receivers {
        endpoints.push(world.endpoint(&receiver.url()).await.0);
    }
    for _ in 0..4 {
        world.session().await;
    }
    // The key of the first client, and of the others: one event each beside the sessions'.
    for (endpoint, receiver) in endpoints.iter().zip(&receivers) {
        world.all_succeed(*endpoint, 8).await;
        let mut times = BTreeMap::new();
        for received in receiver.received() {
            *times.entry(received.headers["webhook-id"].clone()).or_insert(0) += 1;
        }
        assert_eq!((times.len(), times.values().max()), (8, Some(&1)), "each event, and each once");
    }

    // Two of the three go; what they had is the third one's.
    for node in nodes {
        node.finish().await;
    }
    for endpoint in &endpoints {
        let delivery = world.test(*endpoint).await;
        let log = world.attempts(&delivery, 1).await;
        assert_eq!(log.delivery.status, DeliveryStatus::Succeeded);
    }
    world.server.finish().await;
}
