//! The suite, and what is only true of memory.
#![allow(clippy::unwrap_used)]

use std::future::ready;

use proptest::prelude::*;

use super::*;
use crate::conformance::{session, tenant};

async fn open() -> (Memory, ()) {
    (Memory::default(), ())
}

crate::conformance_suite!(open);

fn now<T>(answer: Answer<'_, Result<T>>) -> T {
    match answer {
        Answer::Now(value) => value.unwrap(),
        Answer::Later(_) => panic!("memory answers at once"),
    }
}

#[tokio::test]
async fn a_process_alone_hears_nothing_from_others() {
    let memory = Memory::default();
    let mut heard = memory.listen();
    memory.announce("something").get().await.unwrap();
    let nothing = tokio::select! { biased; _ = heard.next() => false, () = ready(()) => true };
    assert!(nothing);
}

#[test]
fn sweeping_frees_what_is_over() {
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
    fn a_bucket_keeps_to_its_limit_in_any_order(limit in 1u32..5, steps in prop::collection::vec((0i64..40_000, any::<bool>()), 1..60)) {
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
