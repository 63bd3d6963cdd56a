//! The suite that every backend passes: what the counters promise, as examples of their use.
//!
//! A backend's test crate says `kallglot_cluster::conformance_suite!(open)`, where `open` is an `async fn() -> (impl Cluster, impl
//! Sized)` that gives new, empty counters that go by the `now_ms` of each call, and whatever must live as long as they; each case
//! becomes one `#[tokio::test]`. A backend that several processes share says [`shared_conformance_suite!`](crate::shared_conformance_suite)
//! too.

// Test code, in a library only so that every backend can run it.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

mod claims;
mod leases;
mod rates;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use kallglot_core::id::{OrganizationId, SessionId};
use kallglot_core::session::{Environment, Tenant};

pub use self::claims::*;
pub use self::leases::*;
pub use self::rates::*;
pub use self::shared::*;
use crate::Cluster;

/// When the cases begin: an hour of the year 2027.
pub const T: i64 = 1_800_000_000_000;
/// Longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A tenant.
pub fn tenant(number: u128) -> Tenant {
    Tenant { organization: OrganizationId::from_bits(number), environment: Environment::Live }
}

/// A session.
pub fn session(number: u128) -> SessionId {
    SessionId::from_bits(number)
}

/// Numbers that look like chance and are the same every time.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64, by Sebastiano Vigna: https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }
}

/// `tasks` at once try `tries` times each, spread over the clusters: how often the answer was yes. What is tried gets its number.
pub async fn hammer<Work, Trying>(clusters: &[Arc<dyn Cluster>], tasks: usize, tries: usize, work: Work) -> u32
where
    Work: Fn(Arc<dyn Cluster>, usize) -> Trying + Clone + Send + Sync + 'static,
    Trying: Future<Output = bool> + Send,
{
    let mut running = Vec::with_capacity(tasks);
    for task in 0..tasks {
        let (cluster, work) = (Arc::clone(&clusters[task % clusters.len()]), work.clone());
        running.push(tokio::spawn(async move {
            let mut yes = 0;
            for index in 0..tries {
                yes += u32::from(work(Arc::clone(&cluster), task * tries + index).await);
            }
            yes
        }));
    }
    let mut yes = 0;
    for task in running {
        yes += task.await.unwrap();
    }
    yes
}

/// Makes one test of each case that every backend passes.
#[macro_export]
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::conformance_cases! { $open,
            a_bucket_lets_exactly_its_limit_through,
            a_key_with_its_own_limit_takes_of_both_buckets_or_of_none,
            both_buckets_or_neither_whatever_the_concurrency,
            what_is_given_back_can_be_taken_again_and_no_more,
            a_window_begins_with_its_first_request_and_ends_by_itself,
            what_is_given_back_late_or_twice_is_not_below_nothing,
            a_refused_request_gives_nothing_back,
            looking_counts_nothing,
            tenants_and_keys_have_their_own_buckets,
            a_limit_that_was_lowered_lets_nothing_through,
            a_bucket_is_like_its_model,
            a_client_is_an_ipv4_address_or_an_ipv6_network,
            failures_are_counted_exactly_and_begin_anew,
            slots_are_exactly_as_many_as_the_limit,
            a_slot_is_held_once_prolonged_and_given_back,
            restored_slots_count_until_they_end,
            many_slots_are_restored_and_renewed,
            slots_are_like_their_model,
            an_idempotency_key_has_one_holder,
            a_claim_lapses_and_is_released_by_its_holder_alone,
            tenants_have_their_own_claims,
            odd_idempotency_keys_are_kept_apart,
            they_can_be_asked,
            sweeping_frees_nothing_that_counts,
        }
    };
}

/// Makes one test of each case that a backend passes which several processes share, beside
/// [`conformance_suite!`](crate::conformance_suite).
#[macro_export]
macro_rules! shared_conformance_suite {
    ($open:path) => {
        $crate::conformance_cases! { $open,
            slots_of_an_unknown_tenant_must_be_restored,
            slots_that_nobody_renews_must_be_restored,
            renewing_does_not_say_that_all_slots_are_known,
            news_are_heard_in_order_by_everybody,
            news_of_any_text_are_heard,
            a_listener_that_is_too_slow_hears_that_something_was_lost,
            news_that_are_too_long_are_refused,
        }
    };
}

/// One test per case.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($open:path, $($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (cluster, _alive) = $open().await;
            let cluster: std::sync::Arc<dyn $crate::Cluster> = std::sync::Arc::new(cluster);
            let case = $crate::conformance::$case(cluster);
            tokio::time::timeout($crate::conformance::PATIENCE, case).await.expect("the case ends");
        }
    )*};
}
