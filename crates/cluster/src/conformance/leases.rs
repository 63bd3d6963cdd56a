//! Sessions' slots.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Dice, T, hammer, session, tenant};
use crate::{Cluster, Lease};

type Tested = Arc<dyn Cluster>;

/// Says that the tenant has no open sessions but those that are told from now on.
pub(super) async fn know(cluster: &Tested, number: u128) {
    cluster.restore_leases(tenant(number), &[], T).get().await.unwrap();
}

async fn take(cluster: &Tested, id: u128, limit: u32, until_ms: i64, now_ms: i64) -> Lease {
    let lease = cluster.take_lease(tenant(1), session(id), limit, until_ms, now_ms).get().await.unwrap();
    lease.expect("the tenant is known")
}

async fn in_use(cluster: &Tested, now_ms: i64) -> Option<u32> {
    cluster.leases_in_use(tenant(1), now_ms).get().await.unwrap()
}

pub async fn slots_are_exactly_as_many_as_the_limit(cluster: Tested) {
    know(&cluster, 1).await;
    let taken = hammer(&[Arc::clone(&cluster)], 20, 10, |cluster, index| async move {
        take(&cluster, index as u128, 50, T + 10_000, T).await.taken
    })
    .await;
    assert_eq!(taken, 50);
    assert_eq!(in_use(&cluster, T).await, Some(50));
    assert_eq!(in_use(&cluster, T + 9_999).await, Some(50));
    assert_eq!(in_use(&cluster, T + 10_000).await, Some(0), "they lapse by themselves");
    know(&cluster, 2).await;
    assert_eq!(cluster.leases_in_use(tenant(2), T).get().await.unwrap(), Some(0));
}

pub async fn a_slot_is_held_once_prolonged_and_given_back(cluster: Tested) {
    know(&cluster, 1).await;
    assert_eq!(take(&cluster, 1, 1, T + 100, T).await, Lease { taken: true, in_use: 1 });
    assert_eq!(take(&cluster, 1, 1, T + 50, T).await, Lease { taken: true, in_use: 1 }, "again, and not shortened");
    assert_eq!(take(&cluster, 2, 1, T + 100, T + 99).await, Lease { taken: false, in_use: 1 });
    let running = [(tenant(1), session(1)), (tenant(1), session(3))];
    cluster.renew_leases(&running, T + 200, T).get().await.unwrap();
    assert_eq!(in_use(&cluster, T + 150).await, Some(2), "a running session is counted even over the limit");
    for id in [1, 3, 3, 9] {
        cluster.release_lease(tenant(1), session(id)).get().await.unwrap();
    }
    assert_eq!(take(&cluster, 2, 1, T + 300, T + 150).await, Lease { taken: true, in_use: 1 });
    assert_eq!(take(&cluster, 4, 1, T + 400, T + 300).await, Lease { taken: true, in_use: 1 }, "the slot has lapsed");
}

pub async fn restored_slots_count_until_they_end(cluster: Tested) {
    let open = [(session(1), T + 100), (session(2), T + 200), (session(3), T)];
    cluster.restore_leases(tenant(1), &open, T).get().await.unwrap();
    assert_eq!(in_use(&cluster, T).await, Some(2), "the third is over");
    assert_eq!(take(&cluster, 4, 2, T + 300, T).await, Lease { taken: false, in_use: 2 });
    cluster.restore_leases(tenant(1), &[(session(2), T + 150), (session(1), T + 250)], T).get().await.unwrap();
    assert_eq!(in_use(&cluster, T + 199).await, Some(2), "told again, each has its later end");
    assert_eq!(in_use(&cluster, T + 200).await, Some(1));
    assert_eq!(take(&cluster, 4, 2, T + 300, T + 200).await, Lease { taken: true, in_use: 2 });
}

pub async fn many_slots_are_restored_and_renewed(cluster: Tested) {
    // Of one tenant, and of many: both are told in parts.
    let open: Vec<_> = (0..1_201).map(|id| (session(id), T + 1_000)).collect();
    cluster.restore_leases(tenant(1), &open, T).get().await.unwrap();
    assert_eq!(in_use(&cluster, T).await, Some(1_201));
    let running: Vec<_> = (0..1_201).map(|id| (tenant(1 + id % 97), session(id))).collect();
    for number in 2..98 {
        know(&cluster, number).await;
    }
    cluster.renew_leases(&running, T + 2_000, T).get().await.unwrap();
    let mut all = 0;
    for number in 1..98 {
        all += cluster.leases_in_use(tenant(number), T + 1_500).get().await.unwrap().unwrap();
    }
    assert_eq!(all, 1_201);
    cluster.renew_leases(&[], T + 9_000, T).get().await.unwrap();
    cluster.renew_leases(&running, T + 1_600, T + 1_600).get().await.unwrap();
    assert_eq!(in_use(&cluster, T + 2_000).await, Some(0), "what is over when it is told is not prolonged");
}

pub async fn slots_are_like_their_model(cluster: Tested) {
    know(&cluster, 1).await;
    let mut dice = Dice(4);
    let mut now_ms = T;
    let mut model: HashMap<u128, i64> = HashMap::new();
    for step in 0..400 {
        now_ms += dice.roll(8) as i64;
        model.retain(|_, until_ms| now_ms < *until_ms);
        let (id, until_ms) = (u128::from(dice.roll(12)), now_ms + 1 + dice.roll(60) as i64);
        let hold = |model: &mut HashMap<u128, i64>| {
            let held = model.entry(id).or_insert(until_ms);
            *held = until_ms.max(*held);
        };
        match dice.roll(5) {
            0 => {
                cluster.release_lease(tenant(1), session(id)).get().await.unwrap();
                model.remove(&id);
            }
            1 => {
                cluster.renew_leases(&[(tenant(1), session(id))], until_ms, now_ms).get().await.unwrap();
                hold(&mut model);
            }
            _ => {
                let taken = model.contains_key(&id) || model.len() < 5;
                let lease = take(&cluster, id, 5, until_ms, now_ms).await;
                if taken {
                    hold(&mut model);
                }
                assert_eq!(lease, Lease { taken, in_use: model.len() as u32 }, "step {step}");
            }
        }
        assert_eq!(in_use(&cluster, now_ms).await, Some(model.len() as u32), "step {step}");
    }
}
