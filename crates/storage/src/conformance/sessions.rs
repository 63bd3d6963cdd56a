//! What sessions promise.

use std::time::Duration;

use futures_util::future::{join, join_all};
use kallglot_core::Timestamp;
use kallglot_core::event::{Event, EventType, segment_event, session_detail};
use kallglot_core::id::{ApiKeyId, NodeId, SessionId};
use kallglot_core::session::{EndReason, Session, SessionState, Status};

use super::example::{
    STRANGERS, TENANT, answer, at, begin, begin_with_credits, new_session, session, session_event, turn,
};
use crate::{CreatePaid, Cursor, EndedSession, Home, PageRequest, SessionFilter, Storage, StorageError};

const SESSION: SessionId = SessionId::from_bits(1);

fn start_event() -> Event {
    session_event(EventType::SessionStarted, SESSION.to_bits(), None)
}

fn end_event() -> Event {
    session_event(EventType::SessionEnded, SESSION.to_bits(), None)
}

/// Longer than any test takes.
const AWAY_AFTER: Duration = Duration::from_secs(3600);

/// A stream reaches node 1.
async fn settle(storage: &impl Storage, id: SessionId, at: Timestamp) -> Option<Session> {
    let settled = storage.settle_session(id, NodeId::from_bits(1), at, AWAY_AFTER).await.unwrap();
    settled.map(|(session, home)| {
        assert_eq!(home, Home::Here);
        session
    })
}

pub async fn a_session_is_kept_as_it_was_made(storage: &impl Storage) {
    begin(storage).await;
    assert_eq!(storage.create_session(&new_session(1)).await, Ok(CreatePaid::Created(None)));
    assert_eq!(storage.session(TENANT, SESSION).await.unwrap(), Some(session(1)));
    assert_eq!(storage.session_for_token_holder(SESSION).await.unwrap(), Some(session(1)));
    let again = storage.create_session(&new_session(1)).await;
    assert!(matches!(again, Err(StorageError::Conflict { .. })), "{again:?}");
}

pub async fn a_session_is_a_stranger_to_other_tenants(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    for stranger in STRANGERS {
        assert_eq!(storage.session(stranger, SESSION).await.unwrap(), None);
        assert_eq!(storage.sessions(stranger, &PageRequest::newest(10)).await.unwrap().items, []);
        storage.ask_to_end_session(stranger, SESSION, EndReason::Error).await.unwrap();
        assert_eq!(storage.start_session(stranger, SESSION, at(20), &start_event()).await.unwrap(), None);
        assert_eq!(storage.end_session(stranger, SESSION, at(20), EndReason::Error, &end_event()).await.unwrap(), None);
    }
    assert_eq!(storage.session(TENANT, SESSION).await.unwrap(), Some(session(1)));
}

pub async fn a_session_needs_its_key(storage: &impl Storage) {
    begin(storage).await;
    let mut keyless = new_session(1);
    keyless.session.created_by = ApiKeyId::from_bits(9);
    let created = storage.create_session(&keyless).await;
    assert!(matches!(created, Err(StorageError::Conflict { .. })), "{created:?}");
    assert_eq!(storage.session_for_token_holder(SESSION).await.unwrap(), None);
}

pub async fn a_session_goes_through_its_states(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    let mut expected = session(1);

    (expected.state, expected.last_activity_at) = (SessionState::Active { started_at: None }, at(20));
    assert_eq!(settle(storage, SESSION, at(20)).await, Some(expected.clone()));

    (expected.state, expected.last_activity_at) = (SessionState::Active { started_at: Some(at(21)) }, at(21));
    assert_eq!(storage.start_session(TENANT, SESSION, at(21), &start_event()).await.unwrap(), Some(expected.clone()));
    expected.last_activity_at = at(22);
    assert_eq!(
        storage.start_session(TENANT, SESSION, at(22), &start_event()).await.unwrap(),
        Some(expected.clone()),
        "the first audio counts"
    );
    assert_eq!(settle(storage, SESSION, at(15)).await, Some(expected.clone()), "time never goes back");

    storage.touch_sessions(&[(SESSION, at(30)), (SessionId::from_bits(9), at(30))]).await.unwrap();
    storage.touch_sessions(&[(SESSION, at(25))]).await.unwrap();
    expected.last_activity_at = at(30);
    assert_eq!(storage.session(TENANT, SESSION).await.unwrap(), Some(expected));
}

pub async fn a_session_ends_once(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    storage.start_session(TENANT, SESSION, at(21), &start_event()).await.unwrap();

    // Finer than a microsecond: answered as it will be read.
    let fine = Timestamp::new(at(40).as_second(), 123_456_789).unwrap();
    let ended =
        storage.end_session(TENANT, SESSION, fine, EndReason::CustomerHangup, &end_event()).await.unwrap().unwrap();
    assert!(ended.ended_now);
    let state = SessionState::Ended { started_at: Some(at(21)), ended_at: at(40), reason: EndReason::CustomerHangup };
    assert_eq!(ended.session.state, state);

    let again = storage.end_session(TENANT, SESSION, at(50), EndReason::Timeout, &end_event()).await.unwrap();
    assert_eq!(again, Some(EndedSession { session: ended.session.clone(), ended_now: false }));
    assert_eq!(settle(storage, SESSION, at(60)).await, Some(ended.session.clone()));
    assert_eq!(
        storage.start_session(TENANT, SESSION, at(60), &start_event()).await.unwrap(),
        Some(ended.session.clone())
    );
    storage.touch_sessions(&[(SESSION, at(60))]).await.unwrap();
    assert_eq!(storage.session(TENANT, SESSION).await.unwrap(), Some(ended.session));
}

pub async fn what_happens_to_a_session_is_told_once(storage: &impl Storage) {
    begin(storage).await;
    let before = storage.events(0, 100).await.unwrap().last().unwrap().0;
    storage.create_session(&new_session(1)).await.unwrap();
    settle(storage, SESSION, at(20)).await;
    for second in [21, 22] {
        storage.start_session(TENANT, SESSION, at(second), &start_event()).await.unwrap();
    }
    for second in [30, 31] {
        storage.end_session(TENANT, SESSION, at(second), EndReason::Completed, &end_event()).await.unwrap();
    }
    storage.start_session(TENANT, SESSION, at(40), &start_event()).await.unwrap();
    let events = storage.events(before, 100).await.unwrap();
    let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
    let started = SessionState::Active { started_at: Some(at(21)) };
    let ended = SessionState::Ended { started_at: Some(at(21)), ended_at: at(30), reason: EndReason::Completed };
    let told = |event: Event, place, state| Event {
        session_sequence: Some(place),
        detail: session_detail(&Session { state, ..session(1) }),
        ..event
    };
    let created = Event { session_sequence: Some(1), ..new_session(1).event };
    assert_eq!(events, [created, told(start_event(), 2, started), told(end_event(), 3, ended)]);
}

pub async fn what_is_said_is_told_in_its_order(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    storage.create_session(&new_session(2)).await.unwrap();
    let before = storage.events(0, 100).await.unwrap().last().unwrap().0;
    let mut said = Vec::new();
    for number in [1, 2, 2] {
        said.push(storage.append_turn(TENANT, SESSION, &turn(number)).await.unwrap().unwrap());
    }
    storage.append_turn(TENANT, SessionId::from_bits(2), &turn(3)).await.unwrap();
    storage.end_session(TENANT, SESSION, at(30), EndReason::Completed, &end_event()).await.unwrap();
    storage.append_turn(TENANT, SESSION, &turn(4)).await.unwrap();

    let events = storage.events(before, 100).await.unwrap();
    let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
    let of = |session: SessionId| events.iter().filter(move |event| event.session == Some(session));
    let told =
        |session| of(session).map(|event| (event.session_sequence.unwrap(), event.event_type)).collect::<Vec<_>>();
    assert_eq!(
        told(SESSION),
        [
            (2, EventType::TranscriptSegment),
            (3, EventType::TranscriptSegment),
            (4, EventType::SessionEnded),
            (5, EventType::TranscriptReady),
            (6, EventType::TranscriptSegment),
        ],
        "a turn that was stored twice is told once"
    );
    assert_eq!(told(SessionId::from_bits(2)), [(2, EventType::TranscriptSegment)]);
    let second = of(SESSION).nth(1).unwrap();
    assert_eq!(*second, Event { session_sequence: Some(3), ..segment_event(TENANT, SESSION, &said[1]) });
    assert_eq!(of(SESSION).nth(3).unwrap().detail["total_turns"], 2);
}

pub async fn a_creation_that_fails_takes_nothing_with_it(storage: &impl Storage) {
    begin_with_credits(storage, 10).await;
    let paid = |number| {
        let mut new = new_session(number);
        new.credits = 1;
        new.idempotency = Some(answer(&format!("order {number}"), number, at(10)));
        new
    };
    storage.create_session(&paid(1)).await.unwrap();
    let before = storage.events(0, 100).await.unwrap().last().unwrap().0;

    // The same session again under another key, and a session of an unknown key, in the midst of good ones.
    let mut taken = paid(1);
    taken.idempotency = Some(answer("other", 9, at(10)));
    let mut keyless = paid(5);
    keyless.session.created_by = ApiKeyId::from_bits(9);
    let all = [paid(2), taken, paid(3), keyless, paid(4)];
    let created = join_all(all.iter().map(|new| storage.create_session(new))).await;
    for (index, created) in created.iter().enumerate() {
        match index {
            1 | 3 => assert!(matches!(created, Err(StorageError::Conflict { .. })), "{created:?}"),
            _ => assert!(matches!(created, Ok(CreatePaid::Created(Some(_)))), "{created:?}"),
        }
    }

    let sessions = storage.sessions(TENANT, &PageRequest::newest(10)).await.unwrap();
    let numbers: Vec<u128> = sessions.items.iter().map(|session| session.id.to_bits()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert_eq!(storage.credit_balance(TENANT.organization).await.unwrap().unwrap().remaining, 6);
    assert_eq!(storage.events(before, 100).await.unwrap().len(), 3);
    for (new, kept) in all.iter().zip([true, false, true, false, true]) {
        let key = &new.idempotency.as_ref().unwrap().key;
        assert_eq!(storage.answer(TENANT, key, at(11)).await.unwrap().is_some(), kept, "{key}");
    }
}

pub async fn two_ends_at_once_have_one_winner(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    let event = end_event();
    let end = |second, reason| storage.end_session(TENANT, SESSION, at(second), reason, &event);
    let (a, b) = join(end(40, EndReason::Error), end(41, EndReason::Timeout)).await;
    let (a, b) = (a.unwrap().unwrap(), b.unwrap().unwrap());
    assert!(a.ended_now != b.ended_now, "{a:?} {b:?}");
    assert_eq!(a.session, b.session);
}

pub async fn sessions_are_listed_in_pages(storage: &impl Storage) {
    begin(storage).await;
    for number in [4, 1, 5, 2, 3] {
        storage.create_session(&new_session(number)).await.unwrap();
    }
    let id = SessionId::from_bits;
    for (cursor, expected, has_more) in [
        (None, vec![5, 4], true),
        (Some(Cursor::StartingAfter(id(4))), vec![3, 2], true),
        (Some(Cursor::StartingAfter(id(3))), vec![2, 1], false),
        (Some(Cursor::StartingAfter(id(1))), vec![], false),
        (Some(Cursor::EndingBefore(id(2))), vec![4, 3], true),
        (Some(Cursor::EndingBefore(id(3))), vec![5, 4], false),
        (Some(Cursor::EndingBefore(id(5))), vec![], false),
    ] {
        let page = storage.sessions(TENANT, &PageRequest { limit: 2, cursor }).await.unwrap();
        let numbers: Vec<u128> = page.items.iter().map(|session| session.id.to_bits()).collect();
        assert_eq!((numbers, page.has_more), (expected, has_more), "{cursor:?}");
    }
}

pub async fn sessions_are_found_by_status_and_time(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=5u32 {
        let mut new = new_session(u128::from(number));
        new.session.created_at = at(i64::from(number) * 10);
        storage.create_session(&new).await.unwrap();
    }
    let id = SessionId::from_bits;
    for number in [2, 3] {
        storage.settle_session(id(number), NodeId::from_bits(1), at(60), AWAY_AFTER).await.unwrap();
    }
    storage.end_session(TENANT, id(3), at(61), EndReason::Completed, &end_event()).await.unwrap();
    let found = async |tenant, filter, page| {
        let page = storage.session_page(tenant, filter, &page).await.unwrap();
        (page.items.iter().map(|session| session.id.to_bits()).collect::<Vec<_>>(), page.has_more)
    };
    let all = PageRequest::newest(10);
    let with = |status| SessionFilter { status: Some(status), ..SessionFilter::default() };
    assert_eq!(found(TENANT, SessionFilter::default(), all).await, (vec![5, 4, 3, 2, 1], false));
    assert_eq!(found(TENANT, with(Status::Created), all).await, (vec![5, 4, 1], false));
    assert_eq!(found(TENANT, with(Status::Active), all).await, (vec![2], false));
    assert_eq!(found(TENANT, with(Status::Ended), all).await, (vec![3], false));
    let between = SessionFilter { from: Some(at(20)), until: Some(at(50)), ..SessionFilter::default() };
    assert_eq!(found(TENANT, between, all).await, (vec![4, 3, 2], false), "the end is not in it");
    let second = PageRequest { limit: 1, cursor: Some(Cursor::StartingAfter(id(4))) };
    assert_eq!(found(TENANT, between, second).await, (vec![3], true));
    let both = SessionFilter { status: Some(Status::Created), ..between };
    assert_eq!(found(TENANT, both, all).await, (vec![4], false));
    for stranger in STRANGERS {
        assert_eq!(found(stranger, SessionFilter::default(), all).await, (vec![], false));
    }
}

pub async fn idle_sessions_are_found_longest_idle_first(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=4 {
        storage.create_session(&new_session(number)).await.unwrap();
    }
    let id = SessionId::from_bits;
    storage.touch_sessions(&[(id(1), at(40)), (id(2), at(30)), (id(3), at(50))]).await.unwrap();
    storage.end_session(TENANT, id(4), at(11), EndReason::Completed, &end_event()).await.unwrap();
    let found = async |before, limit| {
        let sessions = storage.idle_sessions(before, limit, NodeId::from_bits(1), AWAY_AFTER).await.unwrap();
        sessions.iter().map(|session| session.id.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(found(at(50), 10).await, [2, 1]);
    assert_eq!(found(at(50), 1).await, [2]);
    assert_eq!(found(at(30), 10).await, []);
}

pub async fn open_sessions_are_found_in_pages(storage: &impl Storage) {
    begin(storage).await;
    for number in [4, 1, 5, 2, 3] {
        storage.create_session(&new_session(number)).await.unwrap();
    }
    let id = SessionId::from_bits;
    settle(storage, id(1), at(20)).await;
    storage.end_session(TENANT, id(3), at(20), EndReason::Completed, &end_event()).await.unwrap();
    let found = async |after: Option<u128>, limit| {
        let sessions = storage.open_sessions(after.map(id), limit).await.unwrap();
        sessions.iter().map(|session| session.id.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(found(None, 2).await, [1, 2]);
    assert_eq!(found(Some(2), 2).await, [4, 5]);
    assert_eq!(found(Some(3), 9).await, [4, 5], "the id needs not be open, nor exist");
    assert_eq!(found(Some(5), 2).await, []);
}

pub async fn own_changes_are_not_another_process(storage: &impl Storage) {
    let before = storage.changes().await.unwrap();
    begin(storage).await;
    assert_eq!(storage.changes().await.unwrap(), before);
}

pub async fn after_closing_nothing_is_answered(storage: &impl Storage) {
    begin(storage).await;
    storage.close().await.unwrap();
    storage.close().await.unwrap();
    let closed = storage.session(TENANT, SESSION).await;
    assert!(matches!(closed, Err(StorageError::Unavailable { .. })), "{closed:?}");
    let closed = storage.create_session(&new_session(1)).await;
    assert!(matches!(closed, Err(StorageError::Unavailable { .. })), "{closed:?}");
}
