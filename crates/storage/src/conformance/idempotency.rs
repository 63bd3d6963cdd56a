//! What idempotency keys promise.

use futures_util::future::join_all;
use kallglot_core::Timestamp;
use kallglot_core::id::{ApiKeyId, SessionId};
use kallglot_core::idempotency::IdempotencyKey;

use super::example::{
    STRANGERS, TENANT, answer, at, begin, begin_with_credits, change, hash, key, new_session, secret,
};
use crate::{AuditFilter, CreatePaid, NewAnswer, NewSession, Once, PageRequest, Storage, StoredAnswer};

const DAY_S: i64 = 24 * 60 * 60;

fn stored(answer: &NewAnswer) -> StoredAnswer {
    StoredAnswer {
        fingerprint: answer.fingerprint,
        request: answer.request,
        status: answer.status,
        sealed_body: answer.sealed_body.clone(),
        at: answer.at,
    }
}

/// A session for one credit, made by request `number` which is called `key`.
fn named(number: u128, key: &str, at: Timestamp) -> NewSession {
    NewSession { credits: 1, idempotency: Some(answer(key, number, at)), ..new_session(number) }
}

fn is_new(outcome: CreatePaid) -> bool {
    matches!(outcome, CreatePaid::Created(Some(_)))
}

pub async fn the_same_request_is_done_once(storage: &impl Storage) {
    begin_with_credits(storage, 10).await;
    let first = named(1, "order 17", at(10));
    let answer = first.idempotency.as_ref().unwrap();
    assert_eq!(storage.answer(TENANT, &answer.key, at(10)).await.unwrap(), None);
    assert!(is_new(storage.create_session(&first).await.unwrap()));
    assert_eq!(storage.answer(TENANT, &answer.key, at(11)).await.unwrap(), Some(stored(answer)));

    let (credits, events) = (storage.credit_balance(TENANT.organization).await, storage.events(0, 100).await);
    let again = storage.create_session(&named(2, "order 17", at(20))).await.unwrap();
    assert_eq!(again, CreatePaid::Known(stored(answer)), "whatever is asked for: the caller compares fingerprints");
    assert_eq!(storage.session(TENANT, SessionId::from_bits(2)).await.unwrap(), None);
    assert_eq!(storage.credit_balance(TENANT.organization).await, credits);
    assert_eq!(storage.events(0, 100).await, events);
    assert_eq!(storage.answer(TENANT, &answer.key, at(21)).await.unwrap(), Some(stored(answer)));
}

pub async fn an_answer_comes_before_the_lack_of_credits(storage: &impl Storage) {
    begin_with_credits(storage, 1).await;
    let first = named(1, "k", at(10));
    assert!(is_new(storage.create_session(&first).await.unwrap()));
    let again = storage.create_session(&named(2, "k", at(20))).await.unwrap();
    assert_eq!(again, CreatePaid::Known(stored(first.idempotency.as_ref().unwrap())));
    let refused = storage.create_session(&named(3, "new", at(20))).await.unwrap();
    assert!(matches!(refused, CreatePaid::NoCredits(_)), "{refused:?}");
}

pub async fn many_requests_under_one_key_make_one_session(storage: &impl Storage) {
    begin_with_credits(storage, 1000).await;
    let all: Vec<NewSession> = (1..=100).map(|number| named(number, "the same", at(10))).collect();
    let outcomes = join_all(all.iter().map(|new| storage.create_session(new))).await;
    let sessions = storage.sessions(TENANT, &PageRequest::newest(100)).await.unwrap().items;
    assert_eq!(sessions.len(), 1);
    for (new, outcome) in all.iter().zip(outcomes) {
        match outcome.unwrap() {
            CreatePaid::Known(answer) => assert_eq!(answer.request.to_bits(), sessions[0].id.to_bits()),
            outcome => assert!(is_new(outcome) && new.session.id == sessions[0].id),
        }
    }
    assert_eq!(storage.credit_balance(TENANT.organization).await.unwrap().unwrap().remaining, 999);
}

pub async fn tenants_have_their_own_idempotency_keys(storage: &impl Storage) {
    begin(storage).await;
    let (mine, key) = (answer("k", 1, at(10)), IdempotencyKey::parse("k").unwrap());
    assert_eq!(storage.keep_answer(TENANT, &mine).await.unwrap(), Once::Done(()));
    for (stranger, number) in STRANGERS.into_iter().zip(2..) {
        assert_eq!(storage.answer(stranger, &key, at(10)).await.unwrap(), None);
        let theirs = answer("k", number, at(10));
        assert_eq!(storage.keep_answer(stranger, &theirs).await.unwrap(), Once::Done(()));
        assert_eq!(storage.answer(stranger, &key, at(10)).await.unwrap(), Some(stored(&theirs)));
    }
    assert_eq!(storage.answer(TENANT, &key, at(10)).await.unwrap(), Some(stored(&mine)));
}

pub async fn an_idempotency_key_is_new_after_a_day(storage: &impl Storage) {
    begin_with_credits(storage, 10).await;
    let first = named(1, "k", at(0));
    let key = &first.idempotency.as_ref().unwrap().key;
    let old = stored(first.idempotency.as_ref().unwrap());
    assert!(is_new(storage.create_session(&first).await.unwrap()));
    let just_before = at(DAY_S).checked_sub(std::time::Duration::from_micros(1)).unwrap();
    assert_eq!(storage.answer(TENANT, key, just_before).await.unwrap(), Some(old.clone()));
    let again = storage.create_session(&named(2, "k", just_before)).await.unwrap();
    assert_eq!(again, CreatePaid::Known(old));

    assert_eq!(storage.answer(TENANT, key, at(DAY_S)).await.unwrap(), None);
    let second = named(3, "k", at(DAY_S));
    assert!(is_new(storage.create_session(&second).await.unwrap()));
    let new = Some(stored(second.idempotency.as_ref().unwrap()));
    assert_eq!(storage.answer(TENANT, key, at(DAY_S)).await.unwrap(), new);
}

pub async fn an_answer_is_kept_once(storage: &impl Storage) {
    begin(storage).await;
    let (first, second) = (answer("k", 1, at(10)), answer("k", 2, at(20)));
    assert_eq!(storage.keep_answer(TENANT, &first).await.unwrap(), Once::Done(()));
    assert_eq!(storage.keep_answer(TENANT, &second).await.unwrap(), Once::Known(stored(&first)));
    let much_later = answer("k", 3, at(10 + DAY_S));
    assert_eq!(storage.keep_answer(TENANT, &much_later).await.unwrap(), Once::Done(()));
    assert_eq!(storage.answer(TENANT, &first.key, at(10 + DAY_S)).await.unwrap(), Some(stored(&much_later)));
}

pub async fn a_key_is_made_once(storage: &impl Storage) {
    begin(storage).await;
    let first = answer("make a key", 5, at(10));
    let made = storage.create_key(&key(2), &secret(2), Some(&first), &change(10, 10)).await.unwrap();
    assert_eq!(made, Once::Done(()));
    let (audit, events) = (audit_ids(storage).await, storage.events(0, 100).await);
    let second = answer("make a key", 6, at(20));
    let again = storage.create_key(&key(3), &secret(3), Some(&second), &change(11, 20)).await.unwrap();
    assert_eq!(again, Once::Known(stored(&first)));
    assert_eq!(storage.key(TENANT, ApiKeyId::from_bits(3)).await.unwrap(), None);
    assert_eq!(storage.key_of_secret(&hash(3)).await.unwrap(), None);
    assert_eq!((audit_ids(storage).await, storage.events(0, 100).await), (audit, events));
}

async fn audit_ids(storage: &impl Storage) -> Vec<u128> {
    let page =
        storage.audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(100)).await.unwrap();
    page.items.iter().map(|entry| entry.change.id.to_bits()).collect()
}
