//! What turns, lags and statistics promise.

use futures_util::future::join_all;
use kallglot_core::event::EventType;
use kallglot_core::id::{SegmentId, SessionId};
use kallglot_core::session::{EndReason, Speaker, UtteranceLag};
use kallglot_core::stream_statistics::{PartyStatistics, StreamStatistics};

use super::example::{STRANGERS, TENANT, at, begin, event, new_session, turn};
use crate::{Storage, TURNS_PAGE_MAX};

const SESSION: SessionId = SessionId::from_bits(1);
const UNKNOWN: SessionId = SessionId::from_bits(9);

async fn with_session(storage: &impl Storage) {
    begin(storage).await;
    storage.create_session(&new_session(1)).await.unwrap();
    storage.create_session(&new_session(2)).await.unwrap();
}

pub async fn turns_get_their_places_without_holes(storage: &impl Storage) {
    with_session(storage).await;
    assert_eq!(storage.turn_count(TENANT, SESSION).await.unwrap(), Some(0));
    // In the order of the calls, whatever the segments' ids.
    for (place, number) in [(1, 7), (2, 3), (3, 5)] {
        let stored = storage.append_turn(TENANT, SESSION, &turn(number)).await.unwrap();
        assert_eq!(stored, Some(turn(number).at(place)));
    }
    let other = storage.append_turn(TENANT, SessionId::from_bits(2), &turn(7)).await.unwrap().unwrap();
    assert_eq!(other.sequence, 1, "each session counts for itself");
    assert_eq!(storage.turn_count(TENANT, SESSION).await.unwrap(), Some(3));
    let expected = vec![turn(7).at(1), turn(3).at(2), turn(5).at(3)];
    assert_eq!(storage.turns(TENANT, SESSION, 0, TURNS_PAGE_MAX).await.unwrap(), Some(expected));
}

pub async fn a_turn_is_appended_once(storage: &impl Storage) {
    with_session(storage).await;
    storage.append_turn(TENANT, SESSION, &turn(1)).await.unwrap();
    storage.append_turn(TENANT, SESSION, &turn(2)).await.unwrap();
    let mut changed = turn(1);
    changed.text = "something else".into();
    let stored = storage.append_turn(TENANT, SESSION, &changed).await.unwrap();
    assert_eq!(stored, Some(turn(1).at(1)), "what was final stays as it was");
    assert_eq!(storage.turn_count(TENANT, SESSION).await.unwrap(), Some(2));
}

pub async fn turns_appended_at_once_have_no_holes(storage: &impl Storage) {
    with_session(storage).await;
    let numbers: Vec<_> = (0..20).map(turn).collect();
    let appends = numbers.iter().map(|turn| storage.append_turn(TENANT, SESSION, turn));
    let stored = join_all(appends).await;
    let mut places: Vec<_> = stored.into_iter().map(|turn| turn.unwrap().unwrap().sequence).collect();
    places.sort_unstable();
    assert_eq!(places, (1..=20).collect::<Vec<u32>>());
}

pub async fn turns_are_read_in_pages_and_after_the_end(storage: &impl Storage) {
    with_session(storage).await;
    for number in 1..=3 {
        storage.append_turn(TENANT, SESSION, &turn(number)).await.unwrap();
    }
    let ended = event(EventType::SessionEnded, "");
    storage.end_session(TENANT, SESSION, at(99), EndReason::Completed, &ended).await.unwrap();
    let late = storage.append_turn(TENANT, SESSION, &turn(4)).await.unwrap();
    assert_eq!(late, Some(turn(4).at(4)), "the last words become final about the end");

    assert_eq!(storage.turns(TENANT, SESSION, 1, 2).await.unwrap(), Some(vec![turn(2).at(2), turn(3).at(3)]));
    assert_eq!(storage.turns(TENANT, SESSION, 4, 2).await.unwrap(), Some(vec![]));
}

pub async fn turns_are_strangers_to_other_tenants(storage: &impl Storage) {
    with_session(storage).await;
    let lag = UtteranceLag {
        id: SegmentId::from_bits(1),
        speaker: Speaker::Agent,
        first_partial_ms: None,
        final_ms: 1,
        first_audio_ms: None,
    };
    let unknown = (TENANT, UNKNOWN);
    for (tenant, session) in STRANGERS.map(|stranger| (stranger, SESSION)).into_iter().chain([unknown]) {
        assert_eq!(storage.append_turn(tenant, session, &turn(1)).await.unwrap(), None);
        assert_eq!(storage.turns(tenant, session, 0, 10).await.unwrap(), None);
        assert_eq!(storage.turn_count(tenant, session).await.unwrap(), None);
        assert!(!storage.save_lags(tenant, session, &[lag]).await.unwrap());
        assert_eq!(storage.lags(tenant, session).await.unwrap(), None);
        let nothing = StreamStatistics::default();
        assert!(!storage.save_stream_statistics(tenant, session, &nothing).await.unwrap());
        assert_eq!(storage.stream_statistics(tenant, session).await.unwrap(), None);
    }
    assert_eq!(storage.turn_count(TENANT, SESSION).await.unwrap(), Some(0));
    assert_eq!(storage.lags(TENANT, SESSION).await.unwrap(), Some(vec![]));
}

pub async fn lags_are_kept_and_replaced(storage: &impl Storage) {
    with_session(storage).await;
    let lag = |number, first_audio_ms| UtteranceLag {
        id: SegmentId::from_bits(number),
        speaker: Speaker::Customer,
        first_partial_ms: Some(450),
        final_ms: 300,
        first_audio_ms,
    };
    assert!(storage.save_lags(TENANT, SESSION, &[lag(2, None), lag(1, Some(u32::MAX))]).await.unwrap());
    assert_eq!(storage.lags(TENANT, SESSION).await.unwrap(), Some(vec![lag(1, Some(u32::MAX)), lag(2, None)]));
    assert!(storage.save_lags(TENANT, SESSION, &[lag(2, Some(320))]).await.unwrap());
    assert_eq!(storage.lags(TENANT, SESSION).await.unwrap(), Some(vec![lag(1, Some(u32::MAX)), lag(2, Some(320))]));
}

pub async fn stream_statistics_are_replaced(storage: &impl Storage) {
    with_session(storage).await;
    assert_eq!(storage.stream_statistics(TENANT, SESSION).await.unwrap(), Some(StreamStatistics::default()));
    let customer = PartyStatistics {
        frames_in: 1,
        audio_in_ms: 2,
        duplicate_frames: 3,
        late_frames: 4,
        gaps: 5,
        gap_ms: 6,
        refused_messages: 7,
        audio_out_ms: 8,
        dropped_out_ms: 9,
    };
    let mut statistics = StreamStatistics { parties: [customer, PartyStatistics { gaps: 70, ..customer }] };
    assert!(storage.save_stream_statistics(TENANT, SESSION, &statistics).await.unwrap());
    assert_eq!(storage.stream_statistics(TENANT, SESSION).await.unwrap(), Some(statistics));
    statistics.parties[0].frames_in = 100;
    assert!(storage.save_stream_statistics(TENANT, SESSION, &statistics).await.unwrap());
    assert_eq!(storage.stream_statistics(TENANT, SESSION).await.unwrap(), Some(statistics));
}
