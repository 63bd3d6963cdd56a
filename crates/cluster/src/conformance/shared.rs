//! What only counters promise that several processes share: that they say so when they have forgotten, and that news go round.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::leases::know;
use super::{T, session, tenant};
use crate::{Cluster, Heard, Lease, NEWS_BYTES_MAX};

type Tested = Arc<dyn Cluster>;

pub async fn slots_of_an_unknown_tenant_must_be_restored(cluster: Tested) {
    let take = async |id| cluster.take_lease(tenant(1), session(id), 2, T + 1_000, T).get().await.unwrap();
    assert_eq!(take(1).await, None);
    assert_eq!(cluster.leases_in_use(tenant(1), T).get().await.unwrap(), None);
    cluster.restore_leases(tenant(1), &[(session(7), T + 1_000)], T).get().await.unwrap();
    assert_eq!(take(1).await, Some(Lease { taken: true, in_use: 2 }));
    assert_eq!(take(2).await, Some(Lease { taken: false, in_use: 2 }));
    assert_eq!(cluster.leases_in_use(tenant(2), T).get().await.unwrap(), None, "each tenant by itself");
}

pub async fn renewing_does_not_say_that_all_slots_are_known(cluster: Tested) {
    cluster.renew_leases(&[(tenant(1), session(1))], T + 1_000, T).get().await.unwrap();
    assert_eq!(cluster.leases_in_use(tenant(1), T).get().await.unwrap(), None);
    know(&cluster, 1).await;
    assert_eq!(cluster.leases_in_use(tenant(1), T).get().await.unwrap(), Some(1), "what was renewed is among them");
}

pub async fn slots_that_nobody_renews_must_be_restored(cluster: Tested) {
    know(&cluster, 1).await;
    let take =
        async |id, now_ms| cluster.take_lease(tenant(1), session(id), 9, now_ms + 600_000, now_ms).get().await.unwrap();
    assert_eq!(take(1, T).await, Some(Lease { taken: true, in_use: 1 }));
    // Somebody renews every 10 s, then nobody for as long as a lease: other nodes' slots may have lapsed.
    for now_ms in [T + 10_000, T + 20_000, T + 30_000] {
        cluster.renew_leases(&[(tenant(1), session(2))], now_ms + 30_000, now_ms).get().await.unwrap();
        assert_eq!(cluster.leases_in_use(tenant(1), now_ms).get().await.unwrap(), Some(2));
    }
    assert_eq!(cluster.leases_in_use(tenant(1), T + 60_000).get().await.unwrap(), None);
    assert_eq!(take(3, T + 60_000).await, None);
    cluster.renew_leases(&[(tenant(1), session(2))], T + 90_000, T + 60_000).get().await.unwrap();
    assert_eq!(take(3, T + 60_000).await, None, "one node's renewal is not all of them");
    cluster.restore_leases(tenant(1), &[(session(4), T + 90_000)], T + 60_000).get().await.unwrap();
    assert_eq!(take(3, T + 60_000).await, Some(Lease { taken: true, in_use: 4 }));
}

/// The next that is heard.
async fn hear(listener: &mut BoxStream<'static, Heard>) -> Heard {
    listener.next().await.expect("news go on")
}

pub async fn news_are_heard_in_order_by_everybody(cluster: Tested) {
    let mut listeners = [cluster.listen(), cluster.listen()];
    for number in 0..100 {
        cluster.announce(&format!("news {number}")).get().await.unwrap();
    }
    let mut late = cluster.listen();
    cluster.announce("the last").get().await.unwrap();
    for listener in &mut listeners {
        for number in 0..100 {
            assert_eq!(hear(listener).await, Heard::News(format!("news {number}")));
        }
        assert_eq!(hear(listener).await, Heard::News("the last".into()));
    }
    while hear(&mut late).await != Heard::News("the last".into()) {}
}

pub async fn news_of_any_text_are_heard(cluster: Tested) {
    let mut listener = cluster.listen();
    let longest = "ä".repeat(NEWS_BYTES_MAX / 2);
    for news in ["", " ", "a b  c\n\r\n\0", "1 2", "%d {x}", &longest] {
        cluster.announce(news).get().await.unwrap();
        assert_eq!(hear(&mut listener).await, Heard::News(news.to_owned()));
    }
}

pub async fn a_listener_that_is_too_slow_hears_that_something_was_lost(cluster: Tested) {
    let mut slow = cluster.listen();
    let mut quick = cluster.listen();
    // More than any listener's queue holds.
    for number in 0..5_000 {
        let news = format!("{number}");
        cluster.announce(&news).get().await.unwrap();
        assert_eq!(hear(&mut quick).await, Heard::News(news));
    }
    assert_eq!(hear(&mut slow).await, Heard::Lost);
    let Heard::News(next) = hear(&mut slow).await else { panic!("once is enough") };
    let next: u32 = next.parse().unwrap();
    assert!(next > 0, "some were lost");
    for number in next + 1..5_000 {
        assert_eq!(hear(&mut slow).await, Heard::News(number.to_string()), "and none of those after it");
    }
}

pub async fn news_that_are_too_long_are_refused(cluster: Tested) {
    let mut listener = cluster.listen();
    assert!(cluster.announce(&"x".repeat(NEWS_BYTES_MAX + 1)).get().await.is_err());
    cluster.announce("short").get().await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::News("short".into()));
}
