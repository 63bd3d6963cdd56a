//! The promises of the traits, as examples and against a simple model.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use kallglot_core::id::OrganizationId;
use kallglot_core::session::Environment;
use proptest::prelude::*;

use super::*;

fn now<T>(answer: Answer<'_, Result<T>>) -> T {
    match answer {
        Answer::Now(value) => value.unwrap(),
        Answer::Later(_) => panic!("memory answers at once"),
    }
}

fn tenant(number: u128) -> Tenant {
    Tenant { organization: OrganizationId::from_bits(number), environment: Environment::Live }
}

fn session(number: u128) -> SessionId {
    SessionId::from_bits(number)
}

/// Every thread tries `tries` times; how often `work` said yes.
fn hammer(threads: usize, tries: usize, work: impl Fn(usize) -> bool + Sync) -> u32 {
    let yes = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (yes, work) = (&yes, &work);
            scope.spawn(move || {
                for index in 0..tries {
                    if work(thread * tries + index) {
                        yes.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    yes.into_inner()
}

#[test]
fn a_bucket_lets_exactly_its_limit_through() {
    let memory = Memory::default();
    for (window, limit) in [60, 600, 10_000].into_iter().enumerate() {
        let now_ms = window as i64 * WINDOW_MS;
        let take = Take { tenant: tenant(1), limit, own: None };
        let passed = hammer(64, limit as usize / 32, |_| now(memory.take(&take, now_ms)).allowed);
        assert_eq!(passed, limit);
    }
}

#[test]
fn what_is_given_back_can_be_taken_again_and_no_more() {
    let memory = Memory::default();
    let take = Take { tenant: tenant(1), limit: 100, own: None };
    let kept = hammer(16, 200, |index| {
        let rate = now(memory.take(&take, 0));
        if rate.allowed && index % 3 == 0 {
            now(memory.give_back(&take, &rate, 0));
            return false;
        }
        rate.allowed
    });
    assert_eq!(kept, 100);
    let rate = now(memory.look(&take, 0));
    assert_eq!((rate.tenant.used, rate.tenant.remaining()), (100, 0));
}

#[test]
fn a_key_with_its_own_limit_takes_of_both_buckets_or_of_none() {
    let memory = Memory::default();
    let key = ApiKeyId::from_bits(7);
    let narrow = Take { tenant: tenant(1), limit: 10, own: Some((key, 3)) };
    let wide = Take { tenant: tenant(1), limit: 10, own: None };
    let passed = (0..5).filter(|_| now(memory.take(&narrow, 0)).allowed).count();
    assert_eq!(passed, 3);
    assert_eq!(now(memory.look(&wide, 0)).tenant.used, 3, "the refused ones took nothing of the organization's");
    let passed = (0..20).filter(|_| now(memory.take(&wide, 0)).allowed).count();
    assert_eq!(passed, 7);
    let rate = now(memory.take(&narrow, WINDOW_MS));
    assert!(rate.allowed);
    assert_eq!(rate.tightest(), (Window { limit: 3, used: 1, ends_at_ms: 2 * WINDOW_MS }, true));
}

#[test]
fn a_window_begins_with_its_first_request_and_ends_by_itself() {
    let memory = Memory::default();
    let take = Take { tenant: tenant(1), limit: 1, own: None };
    let first = now(memory.take(&take, 5_000));
    assert_eq!(first.tenant, Window { limit: 1, used: 1, ends_at_ms: 65_000 });
    let second = now(memory.take(&take, 64_999));
    assert!(!second.allowed && second.tenant.retry_after_s(64_999) == 1 && second.tenant.resets_at_s() == 65);
    assert!(now(memory.take(&take, 65_000)).allowed);
    now(memory.give_back(&take, &first, 65_001));
    assert_eq!(now(memory.look(&take, 65_001)).tenant.used, 1, "a unit of a window that is over is not given back");
}

#[test]
fn slots_are_exactly_as_many_as_the_limit() {
    let memory = Memory::default();
    let taken =
        hammer(20, 10, |index| now(memory.take_lease(tenant(1), session(index as u128), 50, 1_000, 0)).unwrap().taken);
    assert_eq!(taken, 50);
    assert_eq!(now(memory.leases_in_use(tenant(1), 0)), Some(50));
    assert_eq!(now(memory.leases_in_use(tenant(2), 0)), Some(0));
    assert_eq!(now(memory.leases_in_use(tenant(1), 1_000)), Some(0), "they lapse by themselves");
}

#[test]
fn a_slot_is_held_once_prolonged_and_given_back() {
    let memory = Memory::default();
    let lease = |id, until_ms, now_ms| now(memory.take_lease(tenant(1), session(id), 1, until_ms, now_ms)).unwrap();
    assert_eq!(lease(1, 100, 0), Lease { taken: true, in_use: 1 });
    assert_eq!(lease(1, 50, 0), Lease { taken: true, in_use: 1 }, "again, and not shortened");
    assert_eq!(lease(2, 100, 99), Lease { taken: false, in_use: 1 });
    now(memory.renew_leases(&[(tenant(1), session(1)), (tenant(1), session(3))], 200, 0));
    assert_eq!(now(memory.leases_in_use(tenant(1), 150)), Some(2), "a running session is counted even over the limit");
    now(memory.release_lease(tenant(1), session(1)));
    now(memory.release_lease(tenant(1), session(3)));
    now(memory.release_lease(tenant(1), session(3)));
    assert_eq!(lease(2, 300, 150), Lease { taken: true, in_use: 1 });
}

#[test]
fn an_idempotency_key_has_one_holder() {
    let memory = Memory::default();
    let key = IdempotencyKey::parse("order-17").unwrap();
    let claim = |request: u128, now_ms| {
        let request = RequestId::from_bits(request);
        now(memory.claim(tenant(1), &key, Fingerprint([1; 32]), request, now_ms + 60_000, now_ms))
    };
    let taken = hammer(16, 16, |index| claim(index as u128, 0) == Claim::Taken);
    assert_eq!(taken, 1);
    let Claim::Held { request, .. } = claim(999, 1) else { panic!("it is held") };
    assert_eq!(now(memory.claimed_by(tenant(1), &key, 1)), Some(request));
    now(memory.release_claim(tenant(1), &key, RequestId::from_bits(999)));
    assert!(matches!(claim(998, 2), Claim::Held { .. }), "another's claim can't be released");
    now(memory.release_claim(tenant(1), &key, request));
    assert_eq!(claim(997, 3), Claim::Taken);
    assert_eq!(claim(996, 60_003), Claim::Taken, "a claim whose holder died lapses");
}

#[test]
fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
    let memory = Memory::default();
    let fail = |text: &str| now(memory.count_failure(text.parse().unwrap(), 60, 0)).used;
    assert_eq!(fail("192.0.2.1"), 1);
    assert_eq!(fail("::ffff:192.0.2.1"), 2);
    assert_eq!(fail("192.0.2.2"), 1);
    assert_eq!(fail("2001:db8::1"), 1);
    assert_eq!(fail("2001:db8::ffff:2"), 2);
    assert_eq!(fail("2001:db8:0:1::1"), 1);
    assert_eq!(now(memory.failures("2001:db8::9".parse().unwrap(), 60, 59_999)).used, 2);
    assert_eq!(now(memory.failures("2001:db8::9".parse().unwrap(), 60, 60_000)).used, 0);
}

#[test]
fn sweeping_frees_what_is_over_and_nothing_else() {
    let memory = Memory::default();
    let take = Take { tenant: tenant(1), limit: 5, own: None };
    now(memory.take(&take, 0));
    now(memory.take_lease(tenant(1), session(1), 5, 100_000, 0));
    memory.sweep(1_000);
    assert_eq!(now(memory.look(&take, 1_000)).tenant.used, 1);
    memory.sweep(70_000);
    assert_eq!(memory.buckets.shards.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>(), 0);
    assert_eq!(now(memory.leases_in_use(tenant(1), 70_000)), Some(1));
}

proptest! {
    /// Any order of taking, giving back and waiting: never more in a window than its limit, and refused only when it is full.
    #[test]
    fn a_bucket_is_like_its_model(limit in 1u32..5, steps in prop::collection::vec((0i64..40_000, any::<bool>()), 1..60)) {
        let memory = Memory::default();
        let take = Take { tenant: tenant(1), limit, own: None };
        let (mut now_ms, mut used, mut ends_at_ms, mut last) = (0, 0, 0, None);
        for (wait_ms, back) in steps {
            now_ms += wait_ms;
            if now_ms >= ends_at_ms {
                used = 0;
            }
            if back && let Some(rate) = last.take() {
                let rate: Rate = rate;
                now(memory.give_back(&take, &rate, now_ms));
                if rate.tenant.ends_at_ms == ends_at_ms && now_ms < ends_at_ms {
                    used -= 1;
                }
                continue;
            }
            let rate = now(memory.take(&take, now_ms));
            prop_assert_eq!(rate.allowed, used < limit);
            if rate.allowed {
                if now_ms >= ends_at_ms {
                    ends_at_ms = now_ms + WINDOW_MS;
                }
                used += 1;
                last = Some(rate);
            }
            prop_assert_eq!(rate.tenant.used, used);
        }
    }
}
