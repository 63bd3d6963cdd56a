//! The database goes away and comes back: who asks hears that it is unavailable, and nothing that was acknowledged is lost or doubled.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use kallglot_core::credit::LedgerKind;
use kallglot_core::id::SessionId;
use kallglot_storage::conformance::example::{TENANT, answer, at, begin, begin_with_credits, new_session, turn};
use kallglot_storage::{
    CreatePaid, LogRepository as _, NewSession, OrganizationRepository as _, SessionRepository as _, Storage as _,
    StorageError, TurnRepository as _,
};
use kallglot_storage_postgres::{Config, OpenError, PostgresStorage, migrate};
use kallglot_throwaway::{Postgres, Proxy};

async fn open(url: String) -> PostgresStorage {
    migrate(&url).await.expect("a new schema");
    PostgresStorage::open(&Config { url, connections_max: 8 }).await.expect("the database")
}

/// The answer; none when the database is unavailable, which is the only thing that may be wrong with it.
fn if_available<T>(answer: Result<T, StorageError>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(StorageError::Unavailable { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_are_replaced() {
    let server = Postgres::start().await;
    server.create_database("calls").await;
    let proxy = Proxy::start(server.address()).await;
    let storage = open(server.url_at(proxy.address(), "calls")).await;
    begin(&storage).await;
    for number in 1..=5 {
        // Those that lie idle.
        proxy.cut_connections().await;
        storage.create_session(&new_session(number)).await.unwrap();
        proxy.cut_connections().await;
        assert!(storage.session(TENANT, SessionId::from_bits(number)).await.unwrap().is_some());
    }

    proxy.cut().await;
    assert_eq!(if_available(storage.create_session(&new_session(6)).await), None);
    assert_eq!(if_available(storage.session(TENANT, SessionId::from_bits(1)).await), None);
    assert_eq!(if_available(storage.changes().await), None);
    proxy.mend().await;
    while if_available(storage.changes().await).is_none() {
        tokio::task::yield_now().await;
    }
    storage.create_session(&new_session(6)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_in_the_middle_is_done_once_or_not_at_all() {
    let server = Postgres::start().await;
    server.create_database("calls").await;
    let proxy = Proxy::start(server.address()).await;
    let storage = Arc::new(open(server.url_at(proxy.address(), "calls")).await);
    begin_with_credits(&*storage, 10_000).await;
    let (next, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (storage, next, stop) = (Arc::clone(&storage), Arc::clone(&next), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = 0;
                while !stop.load(Ordering::Relaxed) {
                    create_until_answered(&storage, next.fetch_add(1, Ordering::Relaxed)).await;
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    // While new ones are made, so that every cut finds some.
    for _ in 0..40 {
        let seen = next.load(Ordering::Relaxed);
        while next.load(Ordering::Relaxed) < seen + 10 {
            tokio::task::yield_now().await;
        }
        proxy.cut_connections().await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: usize = join_all(callers).await.into_iter().map(|caller| caller.expect("no panic")).sum();
    assert_sound(&storage, acknowledged).await;
}

fn paid(number: u32, attempt: u32) -> NewSession {
    // Each attempt is another request of the same client, for another session: as over HTTP.
    let request = u128::from(number) << 32 | u128::from(attempt);
    let idempotency = Some(answer(&format!("order {number}"), request, at(10)));
    NewSession { credits: 1, idempotency, ..new_session(request + 1) }
}

/// Makes the session of this order, however often that takes; answers with its id.
async fn create_until_answered(storage: &PostgresStorage, number: u32) -> SessionId {
    let mut attempt = 0;
    loop {
        let new = paid(number, attempt);
        match if_available(storage.create_session(&new).await) {
            Some(CreatePaid::Created(Some(_))) => return new.session.id,
            Some(CreatePaid::Known(answer)) => return SessionId::from_bits(answer.request.to_bits() + 1),
            None => attempt += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// Appends a turn, however often that takes; answers with its place.
async fn append_until_answered(storage: &PostgresStorage, session: SessionId, number: u32) -> u32 {
    let said = turn(number);
    loop {
        if let Some(stored) = if_available(storage.append_turn(TENANT, session, &said).await) {
            return stored.expect("the session is there").sequence;
        }
    }
}

/// So many sessions are there, each paid for once and told once.
async fn assert_sound(storage: &PostgresStorage, sessions: usize) {
    let mut ids: Vec<SessionId> = Vec::new();
    while let page = storage.open_sessions(ids.last().copied(), 1000).await.unwrap()
        && !page.is_empty()
    {
        ids.extend(page.iter().map(|session| session.id));
    }
    assert_eq!(ids.len(), sessions, "each order has one session");
    let (mut paid_for, mut place, mut sum) = (Vec::new(), 0, 0);
    while let part = storage.ledger(TENANT.organization, place, 1000).await.unwrap()
        && let Some(last) = part.last()
    {
        place = last.sequence;
        for entry in part {
            sum += entry.amount;
            assert_eq!(entry.balance_after, sum);
            if entry.kind == LedgerKind::Spend {
                paid_for.extend(entry.object);
            }
        }
    }
    let mut expected: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut told = Vec::new();
    let mut place = 0;
    while let part = storage.events(place, 1000).await.unwrap()
        && let Some((last, _)) = part.last()
    {
        place = *last;
        told.extend(part.into_iter().map(|(_, event)| event.object).filter(|object| object.starts_with("sess_")));
    }
    for list in [&mut expected, &mut paid_for, &mut told] {
        list.sort();
    }
    assert_eq!(paid_for, expected);
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_under_load_loses_nothing_that_was_acknowledged() {
    // It answers before it has written, unless it is told otherwise: which is what this tests, too.
    let mut server = Postgres::start_with(&[("synchronous_commit", "off")]).await;
    let url = server.create_database("calls").await;
    let storage = Arc::new(open(url).await);
    begin_with_credits(&*storage, 1_000_000).await;
    storage.create_session(&NewSession { credits: 1, ..new_session(u128::MAX >> 1) }).await.unwrap();
    let talk = SessionId::from_bits(u128::MAX >> 1);
    let (next, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged: Arc<Mutex<BTreeMap<u32, (SessionId, u32)>>> = Arc::default();
    let callers: Vec<_> = (0..12)
        .map(|_| {
            let (storage, next, stop) = (Arc::clone(&storage), Arc::clone(&next), Arc::clone(&stop));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let session = create_until_answered(&storage, number).await;
                    let place = append_until_answered(&storage, talk, number).await;
                    acknowledged.lock().unwrap().insert(number, (session, place));
                }
            })
        })
        .collect();
    for round in 0..4 {
        let seen = acknowledged.lock().unwrap().len();
        while acknowledged.lock().unwrap().len() < seen + 50 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            server.kill().await
        } else {
            server.stop().await
        }
        server.start_again().await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 200);
    let turns = storage.turns(TENANT, talk, 0, 10_000).await.unwrap().unwrap();
    assert_eq!(turns.len(), acknowledged.len(), "each turn once");
    for (number, (session, place)) in &acknowledged {
        assert!(storage.session(TENANT, *session).await.unwrap().is_some(), "{number}");
        assert_eq!(turns[*place as usize - 1], turn(*number).at(*place));
    }
    assert_sound(&storage, acknowledged.len() + 1).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_address_is_said() {
    let refused = async |url: &str| match PostgresStorage::open(&Config { url: url.into(), connections_max: 1 }).await {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    };
    assert!(matches!(refused("postgres://127.0.0.1:1/calls?user=x").await, OpenError::Connect { .. }));
    for (url, says) in [
        ("mysql://127.0.0.1/calls", "URL"),
        ("postgres://127.0.0.1/calls?sslmode=maybe", "verify-full"),
        ("postgres://127.0.0.1/calls?sslmode=verify-ca&sslrootcert=/nowhere.pem", "/nowhere.pem"),
        ("postgres://127.0.0.1/calls?colour=red", "colour"),
    ] {
        let error = refused(url).await;
        assert!(matches!(error, OpenError::Url { .. }) && error.to_string().contains(says), "{url}: {error}");
    }
    let server = Postgres::start().await;
    let error = refused(&server.url()).await;
    assert!(matches!(error, OpenError::Older { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("kallglot migrate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_loses_everything_is_given_up_in_time() {
    let server = Postgres::start().await;
    server.create_database("calls").await;
    let proxy = Proxy::start(server.address()).await;
    let storage = open(server.url_at(proxy.address(), "calls")).await;
    begin(&storage).await;
    proxy.stall();
    let new = new_session(1);
    let (created, read) = tokio::join!(storage.create_session(&new), storage.session(TENANT, SessionId::from_bits(1)));
    assert_eq!((if_available(created), if_available(read)), (None, None));
    proxy.mend().await;
    while if_available(storage.changes().await).is_none() {
        tokio::task::yield_now().await;
    }
    match storage.create_session(&new).await {
        Ok(CreatePaid::Created(None)) => {}
        // What was lost on the way back was done.
        Err(StorageError::Conflict { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(storage.open_sessions(None, 10).await.unwrap(), [new.session]);
}
