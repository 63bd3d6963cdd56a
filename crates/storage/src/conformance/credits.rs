//! What the credit ledger promises.

use std::num::NonZeroU32;

use futures_util::future::join_all;
use kallglot_core::credit::{BillingPeriod, CreditBalance, LedgerEntry, LedgerKind};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{OrganizationId, RequestId, SessionId};

use super::example::{TENANT, answer, at, begin, begin_with_credits, change, new_session, organization};
use crate::{CreatePaid, NewSession, OrganizationUpdate, PageRequest, Storage};

const ORGANIZATION: OrganizationId = TENANT.organization;

/// A session that costs one credit.
fn paid(number: u128) -> NewSession {
    NewSession { credits: 1, ..new_session(number) }
}

async fn balance(storage: &impl Storage) -> CreditBalance {
    storage.credit_balance(ORGANIZATION).await.unwrap().unwrap()
}

pub async fn credits_are_granted_and_spent_in_a_ledger(storage: &impl Storage) {
    storage.create_organization(&organization(1), 100, &change(1, 1)).await.unwrap();
    let first = balance(storage).await;
    assert_eq!((first.remaining, first.used, first.period), (100, 0, BillingPeriod::of(at(1))));
    // A creation that is refused grants nothing.
    storage.create_organization(&organization(1), 100, &change(2, 1)).await.unwrap_err();
    assert_eq!(balance(storage).await, first);

    storage.create_organization(&organization(2), 0, &change(3, 1)).await.unwrap();
    storage.create_key(&super::example::key(1), &super::example::secret(1), None, &change(4, 2)).await.unwrap();
    let thirty_seven = NonZeroU32::new(37).unwrap();
    let granted = storage.grant_credits(ORGANIZATION, thirty_seven, &change(5, 3)).await.unwrap().unwrap();
    assert_eq!((granted.remaining, granted.used), (137, 0));
    assert!(granted.sequence > first.sequence, "the greater number is the newer");

    let CreatePaid::Created(Some(spent)) = storage.create_session(&paid(1)).await.unwrap() else { panic!("unpaid") };
    assert_eq!((spent.remaining, spent.used), (136, 1));
    assert!(spent.sequence > granted.sequence);
    assert_eq!(balance(storage).await, spent);

    let ledger = storage.ledger(ORGANIZATION, 0, 10).await.unwrap();
    let entry = |sequence, kind, amount, balance_after, request, second| LedgerEntry {
        sequence,
        organization: ORGANIZATION,
        kind,
        amount,
        balance_after,
        request: Some(RequestId::from_bits(request)),
        object: (kind == LedgerKind::Spend).then(|| SessionId::from_bits(1).to_string()),
        at: at(second),
    };
    let expected = [
        entry(first.sequence, LedgerKind::Grant, 100, 100, 1, 1),
        entry(granted.sequence, LedgerKind::Grant, 37, 137, 5, 3),
        entry(spent.sequence, LedgerKind::Spend, -1, 136, 1, 10),
    ];
    assert_eq!(ledger, expected);
    assert_eq!(storage.ledger(ORGANIZATION, first.sequence, 1).await.unwrap(), expected[1..2]);

    let back: Vec<_> = expected.iter().rev().cloned().collect();
    assert_eq!(storage.ledger_back(ORGANIZATION, None, 2).await.unwrap(), back[..2]);
    assert_eq!(storage.ledger_back(ORGANIZATION, Some(granted.sequence), 10).await.unwrap(), back[2..]);

    let other = OrganizationId::from_bits(2);
    assert_eq!(storage.ledger_back(other, None, 10).await.unwrap(), []);
    assert_eq!(storage.credit_balance(other).await.unwrap(), Some(CreditBalance::default()));
    assert_eq!(storage.ledger(other, 0, 10).await.unwrap(), []);
}

pub async fn exactly_as_many_sessions_as_credits(storage: &impl Storage) {
    const CREDITS: u32 = 37;
    const CALLERS: u128 = 64;
    begin_with_credits(storage, CREDITS).await;
    let all: Vec<NewSession> = (1..=CALLERS)
        .map(|number| NewSession {
            idempotency: Some(answer(&format!("order {number}"), number, at(10))),
            ..paid(number)
        })
        .collect();
    let outcomes = join_all(all.iter().map(|new| storage.create_session(new))).await;

    let mut made = Vec::new();
    let mut sequences = Vec::new();
    for (new, outcome) in all.iter().zip(outcomes) {
        let stored = storage.session(TENANT, new.session.id).await.unwrap().is_some();
        let answered = storage.answer(TENANT, &new.idempotency.as_ref().unwrap().key, at(10)).await.unwrap().is_some();
        match outcome.unwrap() {
            CreatePaid::Created(Some(balance)) => {
                made.push(new.session.id.to_string());
                sequences.push(balance.sequence);
                assert!(stored && answered);
            }
            CreatePaid::NoCredits(balance) => {
                assert_eq!((balance.remaining, balance.used), (0, i64::from(CREDITS)));
                assert!(!stored && !answered, "nothing is left of what was not paid for");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made.len(), CREDITS as usize);

    let ledger = storage.ledger(ORGANIZATION, 0, 1000).await.unwrap();
    let mut sum = 0;
    for entry in &ledger {
        sum += entry.amount;
        assert_eq!(entry.balance_after, sum, "each entry has the balance after it");
        assert!(sum >= 0);
    }
    assert_eq!((sum, balance(storage).await.remaining), (0, 0));
    let spends = ledger.iter().filter(|entry| entry.kind == LedgerKind::Spend);
    let mut paid_for: Vec<(String, i64)> =
        spends.map(|entry| (entry.object.clone().unwrap(), entry.sequence)).collect();
    let mut expected: Vec<(String, i64)> = made.into_iter().zip(sequences).collect();
    paid_for.sort();
    expected.sort();
    assert_eq!(paid_for, expected, "each spend names the session that it paid for, and each answer its spend");
}

pub async fn what_costs_nothing_is_not_in_the_ledger(storage: &impl Storage) {
    begin(storage).await;
    assert_eq!(storage.create_session(&new_session(1)).await, Ok(CreatePaid::Created(None)));
    assert_eq!(storage.ledger(ORGANIZATION, 0, 10).await.unwrap(), []);

    let refused = storage.create_session(&paid(2)).await.unwrap();
    assert_eq!(refused, CreatePaid::NoCredits(CreditBalance::default()));
    let dear = NewSession { credits: 3, ..new_session(3) };
    let granted = storage.grant_credits(ORGANIZATION, NonZeroU32::new(2).unwrap(), &change(10, 5)).await.unwrap();
    assert_eq!(storage.create_session(&dear).await, Ok(CreatePaid::NoCredits(granted.unwrap())));
    let sessions = storage.sessions(TENANT, &PageRequest::newest(10)).await.unwrap();
    assert_eq!(sessions.items, [new_session(1).session]);
}

pub async fn low_credits_are_told_once_per_crossing(storage: &impl Storage) {
    // The organization's threshold is 3.
    begin_with_credits(storage, 5).await;
    let told = async || {
        let events = storage.events(0, 1000).await.unwrap();
        let low = events.into_iter().map(|(_, event)| event).filter(|event| event.event_type == EventType::CreditsLow);
        low.collect::<Vec<Event>>()
    };
    let spend = async |number| storage.create_session(&paid(number)).await.unwrap();
    spend(1).await;
    assert_eq!(told().await, [], "4 are left");
    spend(2).await;
    let mut expected = paid(2).low_credits_event;
    expected.detail.extend([("remaining".to_owned(), 3.into()), ("threshold".to_owned(), 3.into())]);
    assert_eq!(told().await, [expected.clone()]);
    spend(3).await;
    assert_eq!(told().await.len(), 1, "2 are left: it was crossed before");

    storage.grant_credits(ORGANIZATION, NonZeroU32::new(2).unwrap(), &change(10, 5)).await.unwrap();
    assert_eq!(told().await.len(), 1);
    spend(4).await;
    assert_eq!(told().await, [expected.clone(), expected], "from 4 to 3 again");

    // A threshold of 0 tells when nothing is left.
    let update = OrganizationUpdate { low_credits_threshold: Some(0), ..OrganizationUpdate::default() };
    storage.update_organization(ORGANIZATION, &update, &change(11, 5)).await.unwrap();
    for number in 5..=7 {
        spend(number).await;
    }
    assert_eq!(told().await.last().unwrap().detail["remaining"], 0);
    assert_eq!(told().await.len(), 3);
}

pub async fn what_was_used_is_counted_by_month(storage: &impl Storage) {
    begin_with_credits(storage, 10).await;
    let spend = async |number, time: &str| {
        let mut new = paid(number);
        new.session.created_at = time.parse().unwrap();
        match storage.create_session(&new).await.unwrap() {
            CreatePaid::Created(Some(balance)) => balance,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(spend(1, "2026-11-30T23:59:58Z").await.used, 1);
    let november = spend(2, "2026-11-30T23:59:59.999999Z").await;
    assert_eq!(november.used, 2);
    let december = spend(3, "2026-12-01T00:00:00Z").await;
    assert_eq!((december.used, december.remaining), (1, 7));
    assert!(december.period > november.period);
    let late = spend(4, "2026-11-30T23:59:59Z").await;
    assert_eq!((late.used, late.period), (2, december.period), "a clock set back does not bring the old month back");
}
