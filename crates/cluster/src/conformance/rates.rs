//! Buckets of requests, and failed attempts.

use std::collections::HashMap;
use std::sync::Arc;

use kallglot_core::id::ApiKeyId;
use kallglot_core::session::{Environment, Tenant};

use super::{Dice, T, hammer, session, tenant};
use crate::{Cluster, Rate, Take, WINDOW_MS, Window};

type Tested = Arc<dyn Cluster>;

fn wide(limit: u32) -> Take {
    Take { tenant: tenant(1), limit, own: None }
}

async fn take(cluster: &Tested, take: &Take, now_ms: i64) -> Rate {
    cluster.take(take, now_ms).get().await.unwrap()
}

async fn used(cluster: &Tested, take: &Take, now_ms: i64) -> u32 {
    cluster.look(take, now_ms).get().await.unwrap().tenant.used
}

pub async fn a_bucket_lets_exactly_its_limit_through(cluster: Tested) {
    for (window, limit) in [60, 600, 3_000].into_iter().enumerate() {
        let now_ms = T + window as i64 * WINDOW_MS;
        let passed = hammer(&[Arc::clone(&cluster)], 64, limit as usize / 32, move |cluster, _| async move {
            take(&cluster, &wide(limit), now_ms).await.allowed
        })
        .await;
        assert_eq!(passed, limit);
        assert_eq!(used(&cluster, &wide(limit), now_ms).await, limit);
    }
}

pub async fn a_key_with_its_own_limit_takes_of_both_buckets_or_of_none(cluster: Tested) {
    let narrow = Take { own: Some((ApiKeyId::from_bits(7), 3)), ..wide(10) };
    let mut passed = 0;
    for _ in 0..5 {
        passed += u32::from(take(&cluster, &narrow, T).await.allowed);
    }
    assert_eq!(passed, 3);
    assert_eq!(used(&cluster, &wide(10), T).await, 3, "the refused ones took nothing of the organization's");
    for _ in 0..20 {
        passed += u32::from(take(&cluster, &wide(10), T).await.allowed);
    }
    assert_eq!(passed, 10);
    let rate = take(&cluster, &narrow, T + WINDOW_MS).await;
    assert!(rate.allowed && !rate.by_share);
    assert_eq!(rate.tightest(), (Window { limit: 3, used: 1, ends_at_ms: T + 2 * WINDOW_MS }, true));
    assert_eq!(rate.tenant, Window { limit: 10, used: 1, ends_at_ms: T + 2 * WINDOW_MS });
}

pub async fn both_buckets_or_neither_whatever_the_concurrency(cluster: Tested) {
    // 7 keys with room for 20 each in an organization with room for 100: more than fits into either.
    let of = |key: u128| Take { own: Some((ApiKeyId::from_bits(key), 20)), ..wide(100) };
    let passed = hammer(&[Arc::clone(&cluster)], 64, 10, move |cluster, index| async move {
        take(&cluster, &of(index as u128 % 7), T).await.allowed
    })
    .await;
    assert_eq!(passed, 100);
    let mut own = 0;
    for key in 0..7 {
        let rate = cluster.look(&of(key), T).get().await.unwrap();
        assert!(rate.own.unwrap().used <= 20);
        own += rate.own.unwrap().used;
    }
    assert_eq!(own, 100, "what the keys have had is what the organization has had");
}

pub async fn what_is_given_back_can_be_taken_again_and_no_more(cluster: Tested) {
    let kept = hammer(&[Arc::clone(&cluster)], 16, 60, |cluster, index| async move {
        let rate = take(&cluster, &wide(100), T).await;
        if rate.allowed && index % 3 == 0 {
            cluster.give_back(&wide(100), &rate, T + 5).get().await.unwrap();
            return false;
        }
        rate.allowed
    })
    .await;
    assert_eq!(kept, 100);
    let rate = cluster.look(&wide(100), T).get().await.unwrap();
    assert_eq!((rate.tenant.used, rate.tenant.remaining()), (100, 0));
}

pub async fn a_window_begins_with_its_first_request_and_ends_by_itself(cluster: Tested) {
    let first = take(&cluster, &wide(1), T + 5_000).await;
    assert_eq!(first.tenant, Window { limit: 1, used: 1, ends_at_ms: T + 65_000 });
    let second = take(&cluster, &wide(1), T + 64_999).await;
    assert!(!second.allowed && second.tenant.retry_after_s(T + 64_999) == 1);
    assert_eq!(second.tenant.ends_at_ms, T + 65_000);
    assert_eq!(second.tenant.resets_at_s(), T / 1000 + 65);
    assert!(take(&cluster, &wide(1), T + 65_000).await.allowed);
    cluster.give_back(&wide(1), &first, T + 65_001).get().await.unwrap();
    assert_eq!(used(&cluster, &wide(1), T + 65_001).await, 1, "a unit of a window that is over is not given back");
}

pub async fn what_is_given_back_late_or_twice_is_not_below_nothing(cluster: Tested) {
    let own = Take { own: Some((ApiKeyId::from_bits(1), 5)), ..wide(5) };
    let rate = take(&cluster, &own, T).await;
    for _ in 0..2 {
        let after = cluster.give_back(&own, &rate, T + 10).get().await.unwrap();
        assert_eq!((after.tenant.used, after.own.unwrap().used, after.allowed), (0, 0, false));
    }
    let after = cluster.give_back(&own, &rate, T + WINDOW_MS).get().await.unwrap();
    assert_eq!((after.tenant.used, after.own.unwrap().used), (0, 0));
    assert_eq!(take(&cluster, &own, T + WINDOW_MS).await.tenant.used, 1);
}

pub async fn a_refused_request_gives_nothing_back(cluster: Tested) {
    take(&cluster, &wide(1), T).await;
    let refused = take(&cluster, &wide(1), T).await;
    let after = cluster.give_back(&wide(1), &refused, T).get().await.unwrap();
    assert_eq!(after.tenant.used, 1);
}

pub async fn looking_counts_nothing(cluster: Tested) {
    let own = Take { own: Some((ApiKeyId::from_bits(1), 5)), ..wide(9) };
    let none = cluster.look(&own, T).get().await.unwrap();
    assert_eq!(none.tenant, Window { limit: 9, used: 0, ends_at_ms: T + WINDOW_MS });
    assert_eq!(none.own, Some(Window { limit: 5, used: 0, ends_at_ms: T + WINDOW_MS }));
    assert!(!none.allowed);
    take(&cluster, &own, T + 1).await;
    let one = cluster.look(&own, T + 2).get().await.unwrap();
    assert_eq!(one.tenant, Window { limit: 9, used: 1, ends_at_ms: T + 1 + WINDOW_MS });
}

pub async fn tenants_and_keys_have_their_own_buckets(cluster: Tested) {
    let live = wide(1);
    let test = Take { tenant: Tenant { environment: Environment::Test, ..tenant(1) }, ..live };
    let other = Take { tenant: tenant(2), ..live };
    let key = Take { own: Some((ApiKeyId::from_bits(1), 1)), ..wide(2) };
    for take_of in [live, test, other] {
        assert!(take(&cluster, &take_of, T).await.allowed);
        assert!(!take(&cluster, &take_of, T).await.allowed);
    }
    assert!(take(&cluster, &key, T).await.allowed, "with the second unit of its organization");
    let elsewhere = Take { tenant: tenant(3), ..key };
    assert_eq!(cluster.look(&elsewhere, T).get().await.unwrap().own.unwrap().used, 0);
}

pub async fn a_limit_that_was_lowered_lets_nothing_through(cluster: Tested) {
    for _ in 0..5 {
        take(&cluster, &wide(5), T).await;
    }
    let lowered = take(&cluster, &wide(3), T).await;
    assert!(!lowered.allowed);
    assert_eq!((lowered.tenant.used, lowered.tenant.remaining()), (5, 0));
    assert!(take(&cluster, &wide(6), T).await.allowed, "a raised one counts at once");
    assert!(!take(&cluster, &Take { tenant: tenant(2), ..wide(0) }, T).await.allowed);
}

pub async fn a_bucket_is_like_its_model(cluster: Tested) {
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let limit = 1 + dice.roll(4) as u32;
        let of = Take { tenant: tenant(100 + u128::from(seed)), limit, own: None };
        let (mut now_ms, mut count, mut ends_at_ms, mut last) = (T, 0, 0, None::<Rate>);
        for _ in 0..60 {
            now_ms += dice.roll(40_000) as i64;
            if now_ms >= ends_at_ms {
                count = 0;
            }
            if dice.roll(2) == 0
                && let Some(rate) = last.take()
            {
                cluster.give_back(&of, &rate, now_ms).get().await.unwrap();
                if rate.tenant.ends_at_ms == ends_at_ms && now_ms < ends_at_ms {
                    count -= 1;
                }
                continue;
            }
            let rate = take(&cluster, &of, now_ms).await;
            assert_eq!(rate.allowed, count < limit, "seed {seed}");
            if rate.allowed {
                if now_ms >= ends_at_ms {
                    ends_at_ms = now_ms + WINDOW_MS;
                }
                count += 1;
                last = Some(rate);
            }
            assert_eq!(rate.tenant, Window { limit, used: count, ends_at_ms }, "seed {seed}");
        }
    }
}

pub async fn a_client_is_an_ipv4_address_or_an_ipv6_network(cluster: Tested) {
    let mut seen = HashMap::new();
    let attempts = [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:2", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
    ];
    for (address, network) in attempts {
        let count: &mut u32 = seen.entry(network).or_default();
        *count += 1;
        let window = cluster.count_failure(address.parse().unwrap(), 60, T).get().await.unwrap();
        assert_eq!(window, Window { limit: 60, used: *count, ends_at_ms: T + WINDOW_MS }, "{address}");
    }
    let network = "2001:db8::9".parse().unwrap();
    let failures = async |now_ms| cluster.failures(network, 60, now_ms).get().await.unwrap().used;
    assert_eq!(failures(T + 59_999).await, 2);
    assert_eq!(failures(T + 60_000).await, 0);
}

pub async fn failures_are_counted_exactly_and_begin_anew(cluster: Tested) {
    let address = "192.0.2.1".parse().unwrap();
    hammer(&[Arc::clone(&cluster)], 32, 10, move |cluster, _| async move {
        cluster.count_failure(address, 60, T).get().await.unwrap();
        true
    })
    .await;
    let window = cluster.failures(address, 60, T).get().await.unwrap();
    assert_eq!((window.used, window.remaining()), (320, 0), "also those above the limit");
    let window = cluster.count_failure(address, 60, T + WINDOW_MS).get().await.unwrap();
    assert_eq!((window.used, window.ends_at_ms), (1, T + 2 * WINDOW_MS));
}

pub async fn they_can_be_asked(cluster: Tested) {
    cluster.check().get().await.unwrap();
}

pub async fn sweeping_frees_nothing_that_counts(cluster: Tested) {
    take(&cluster, &wide(5), T).await;
    cluster.restore_leases(tenant(1), &[(session(1), T + 100_000)], T).get().await.unwrap();
    cluster.sweep(T + 1_000);
    assert_eq!(used(&cluster, &wide(5), T + 1_000).await, 1);
    assert_eq!(cluster.leases_in_use(tenant(1), T + 1_000).get().await.unwrap(), Some(1));
    cluster.sweep(T + 70_000);
    assert_eq!(used(&cluster, &wide(5), T + 70_000).await, 0);
}
