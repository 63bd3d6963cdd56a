//! What reading events promises.

use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{EventId, SessionId};
use kallglot_core::session::EndReason;

use super::example::{STRANGERS, TENANT, at, begin, event, new_session, session_event, turn};
use crate::{Cursor, EventFilter, EventMark, NewSession, PageRequest, Storage};

const SESSION: SessionId = SessionId::from_bits(1);

/// Two sessions; in the first, two things are said and it ends. Event ids are numbered in the order of time.
async fn two_calls(storage: &impl Storage) {
    begin(storage).await;
    for number in [1, 2] {
        let new = new_session(number);
        let event = Event { id: EventId::from_bits(number), ..new.event.clone() };
        storage.create_session(&NewSession { event, ..new }).await.unwrap();
    }
    for number in [4, 5] {
        storage.append_turn(TENANT, SESSION, &turn(number)).await.unwrap().unwrap();
    }
    let ended = Event { id: EventId::from_bits(8), ..session_event(EventType::SessionEnded, 1, None) };
    storage.end_session(TENANT, SESSION, at(30), EndReason::Completed, &ended).await.unwrap().unwrap();
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(|event| event.event_type).collect()
}

pub async fn a_sessions_events_are_read_in_their_order(storage: &impl Storage) {
    two_calls(storage).await;
    let all = storage.session_events(TENANT, SESSION, 0, 100).await.unwrap();
    let expected = [
        EventType::SessionCreated,
        EventType::TranscriptSegment,
        EventType::TranscriptSegment,
        EventType::SessionEnded,
        EventType::TranscriptReady,
    ];
    assert_eq!(types(&all), expected);
    let places: Vec<_> = all.iter().map(|event| event.session_sequence).collect();
    assert_eq!(places, (1..=5).map(Some).collect::<Vec<_>>());
    assert_eq!(storage.session_events(TENANT, SESSION, 2, 2).await.unwrap(), all[2..4]);
    assert_eq!(storage.session_events(TENANT, SESSION, 5, 2).await.unwrap(), []);
    assert_eq!(storage.session_event_count(TENANT, SESSION).await.unwrap(), Some(5));
    for stranger in STRANGERS {
        assert_eq!(storage.session_events(stranger, SESSION, 0, 100).await.unwrap(), []);
        assert_eq!(storage.session_event_count(stranger, SESSION).await.unwrap(), None);
    }
}

pub async fn a_tenants_events_are_listed_newest_first(storage: &impl Storage) {
    two_calls(storage).await;
    let page = async |filter, request: &PageRequest<EventId>| {
        let page = storage.event_page(TENANT, filter, request).await.unwrap();
        (page.items.iter().map(|event| event.id).collect::<Vec<_>>(), page.has_more)
    };
    let everything = EventFilter::default();
    let (all, more) = page(everything, &PageRequest::newest(100)).await;
    assert!(!more && all.is_sorted_by(|newer, older| newer > older) && all.len() >= 6, "{all:?}");
    assert_eq!(page(everything, &PageRequest::newest(2)).await, (all[..2].to_vec(), true));
    let after = PageRequest { limit: 2, cursor: Some(Cursor::StartingAfter(all[1])) };
    assert_eq!(page(everything, &after).await, (all[2..4].to_vec(), true));
    let before = PageRequest { limit: 100, cursor: Some(Cursor::EndingBefore(all[1])) };
    assert_eq!(page(everything, &before).await, (all[..1].to_vec(), false));

    let of_type = |event_type| EventFilter { event_type: Some(event_type), session: None };
    for (event_type, count) in
        [(EventType::TranscriptSegment, 2), (EventType::SessionCreated, 2), (EventType::RecordingReady, 0)]
    {
        assert_eq!(page(of_type(event_type), &PageRequest::newest(100)).await.0.len(), count, "{event_type}");
    }
    let of_session = EventFilter { event_type: None, session: Some(SESSION) };
    assert_eq!(page(of_session, &PageRequest::newest(100)).await.0.len(), 5);
    let both = EventFilter { event_type: Some(EventType::SessionCreated), session: Some(SESSION) };
    assert_eq!(page(both, &PageRequest::newest(100)).await.0, [EventId::from_bits(1)]);

    let event = storage.event(TENANT, EventId::from_bits(8)).await.unwrap().unwrap();
    assert_eq!((event.event_type, event.session_sequence), (EventType::SessionEnded, Some(4)));
    assert_eq!(storage.event(TENANT, EventId::from_bits(77)).await.unwrap(), None);
    for stranger in STRANGERS {
        assert_eq!(storage.event(stranger, EventId::from_bits(8)).await.unwrap(), None);
        assert_eq!(storage.event_page(stranger, of_session, &PageRequest::newest(100)).await.unwrap().items, []);
        assert_eq!(storage.event_page(stranger, everything, &PageRequest::newest(100)).await.unwrap().items, []);
    }
}

pub async fn who_waits_for_events_sees_each_from_where_it_was(storage: &impl Storage) {
    begin(storage).await;
    let begun = storage.last_event_place().await.unwrap();
    storage.create_session(&new_session(1)).await.unwrap();
    let seen = storage.last_event_place().await.unwrap();
    assert!(seen > begun);
    storage.create_session(&new_session(2)).await.unwrap();
    storage.create_session(&new_session(3)).await.unwrap();

    let marks = storage.event_marks(seen, 100).await.unwrap();
    let mark = |index: usize| EventMark {
        place: marks[index].place,
        tenant: TENANT,
        session: Some(SessionId::from_bits(index as u128 + 2)),
    };
    assert_eq!(marks, [mark(0), mark(1)]);
    assert_eq!(storage.event_marks(seen, 1).await.unwrap(), marks[..1]);
    assert_eq!(storage.event_marks(marks[1].place, 100).await.unwrap(), []);
    assert_eq!(storage.last_event_place().await.unwrap(), marks[1].place);

    let events = storage.events(seen, 100).await.unwrap();
    assert_eq!(storage.tenant_events(TENANT, seen, marks[1].place, 100).await.unwrap(), events);
    assert_eq!(storage.tenant_events(TENANT, seen, marks[0].place, 100).await.unwrap(), events[..1]);
    assert_eq!(storage.tenant_events(TENANT, seen, marks[1].place, 1).await.unwrap(), events[..1]);
    for stranger in STRANGERS {
        assert_eq!(storage.tenant_events(stranger, 0, marks[1].place, 100).await.unwrap(), []);
    }
    let created = event(EventType::SessionCreated, "").id;
    let place = storage.event_place(TENANT, created).await.unwrap();
    assert!(place.is_some_and(|place| place > begun), "{place:?}");
    assert_eq!(storage.event_place(STRANGERS[0], created).await.unwrap(), None);
}
