//! Idempotency keys that are in use.

use std::sync::Arc;

use kallglot_core::id::RequestId;
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey, KEY_CHARS_MAX};
use kallglot_core::session::{Environment, Tenant};

use super::{T, hammer, tenant};
use crate::{Claim, Cluster};

type Tested = Arc<dyn Cluster>;

fn key() -> IdempotencyKey {
    IdempotencyKey::parse("order-17").unwrap()
}

fn request(number: u128) -> RequestId {
    RequestId::from_bits(number)
}

/// A fingerprint with bytes of every kind, also such as separate texts.
fn fingerprint() -> Fingerprint {
    Fingerprint(std::array::from_fn(|index| [0, 10, 13, 32, 255, 37][index % 6]))
}

async fn claim(cluster: &Tested, number: u128, now_ms: i64) -> Claim {
    let until_ms = now_ms + 60_000;
    cluster.claim(tenant(1), &key(), fingerprint(), request(number), until_ms, now_ms).get().await.unwrap()
}

async fn holder(cluster: &Tested, now_ms: i64) -> Option<RequestId> {
    cluster.claimed_by(tenant(1), &key(), now_ms).get().await.unwrap()
}

pub async fn an_idempotency_key_has_one_holder(cluster: Tested) {
    let taken = hammer(&[Arc::clone(&cluster)], 16, 16, |cluster, index| async move {
        claim(&cluster, index as u128, T).await == Claim::Taken
    })
    .await;
    assert_eq!(taken, 1);
    let Claim::Held { request, fingerprint: held } = claim(&cluster, 999, T + 1).await else { panic!("it is held") };
    assert_eq!(held, fingerprint());
    assert_eq!(holder(&cluster, T + 1).await, Some(request));
}

pub async fn a_claim_lapses_and_is_released_by_its_holder_alone(cluster: Tested) {
    assert_eq!(holder(&cluster, T).await, None);
    assert_eq!(claim(&cluster, 1, T).await, Claim::Taken);
    cluster.release_claim(tenant(1), &key(), request(2)).get().await.unwrap();
    assert_eq!(claim(&cluster, 2, T + 1).await, Claim::Held { request: request(1), fingerprint: fingerprint() });
    cluster.release_claim(tenant(1), &key(), request(1)).get().await.unwrap();
    cluster.release_claim(tenant(1), &key(), request(1)).get().await.unwrap();
    assert_eq!(holder(&cluster, T + 2).await, None);
    assert_eq!(claim(&cluster, 3, T + 3).await, Claim::Taken);
    assert_eq!(holder(&cluster, T + 60_002).await, Some(request(3)));
    assert_eq!(holder(&cluster, T + 60_003).await, None);
    assert_eq!(claim(&cluster, 4, T + 60_003).await, Claim::Taken, "a claim whose holder died lapses");
    cluster.release_claim(tenant(1), &key(), request(3)).get().await.unwrap();
    assert_eq!(holder(&cluster, T + 60_004).await, Some(request(4)), "the late holder releases nothing");
}

pub async fn tenants_have_their_own_claims(cluster: Tested) {
    let tenants = [tenant(1), tenant(2), Tenant { environment: Environment::Test, ..tenant(1) }];
    for (number, tenant) in tenants.into_iter().enumerate() {
        let request = request(number as u128);
        let claim = cluster.claim(tenant, &key(), fingerprint(), request, T + 60_000, T).get().await.unwrap();
        assert_eq!(claim, Claim::Taken);
    }
}

pub async fn odd_idempotency_keys_are_kept_apart(cluster: Tested) {
    let longest = "x".repeat(KEY_CHARS_MAX);
    let keys = ["a", "A", "{a}", "}{", "a b", "a:b", "%s", "*", "\\\"", &longest, &longest[1..]];
    for (number, text) in keys.into_iter().enumerate() {
        let key = IdempotencyKey::parse(&format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))).unwrap();
        let request = request(number as u128);
        let claim = cluster.claim(tenant(1), &key, fingerprint(), request, T + 60_000, T).get().await.unwrap();
        assert_eq!(claim, Claim::Taken, "{text}");
        assert_eq!(cluster.claimed_by(tenant(1), &key, T).get().await.unwrap(), Some(request), "{text}");
    }
}
