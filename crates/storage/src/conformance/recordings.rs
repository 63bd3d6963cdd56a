//! Recordings: what is there from a session's end on, who makes them, and what is deleted when nothing needs it.

use std::time::Duration;

use kallglot_core::event::EventType;
use kallglot_core::id::{NodeId, RecordingId, SessionId};
use kallglot_core::recording::{Channel, Recording, RecordingMode, RecordingStatus, Removed, Track};
use kallglot_core::session::{EndReason, Session};

use super::example::{STRANGERS, TENANT, at, begin, change, event, new_session, session};
use crate::{
    AuditFilter, GateChange, MadeRecordings, NewSession, Node, PageRequest, RecordingPart, Storage, StorageError,
    StoredTrack,
};

const SESSION: SessionId = SessionId::from_bits(1);
const AWAY_AFTER: Duration = Duration::from_secs(3600);
/// Organization 1 keeps recordings for a week.
const KEPT_S: i64 = 7 * 24 * 3600;

fn node(number: u128) -> NodeId {
    NodeId::from_bits(number)
}

fn part(name: &str, of: u128) -> RecordingPart {
    RecordingPart { name: name.into(), node: node(of), object: None, dropped_ms: 0 }
}

fn object(track: Track) -> String {
    format!("recordings/1/{track}")
}

fn made() -> MadeRecordings {
    let track = |track: &Track| StoredTrack { track: *track, object: object(*track), bytes: 8_000 };
    MadeRecordings {
        duration_ms: 61_234,
        dropped_ms: 20,
        incomplete: true,
        tracks: Track::ALL.iter().map(track).collect(),
        at: at(120),
    }
}

async fn recorded_session(storage: &impl Storage, number: u128) {
    let session = Session { recording: RecordingMode::On, ..session(number) };
    storage.create_session(&NewSession { session, ..new_session(number) }).await.unwrap();
}

async fn start(storage: &impl Storage, number: u128) {
    let id = SessionId::from_bits(number);
    let started = event(EventType::SessionStarted, &id.to_string());
    storage.start_session(TENANT, id, at(20), &started).await.unwrap().unwrap();
}

async fn end(storage: &impl Storage, number: u128) {
    let id = SessionId::from_bits(number);
    let ended = event(EventType::SessionEnded, &id.to_string());
    storage.end_session(TENANT, id, at(100), EndReason::Completed, &ended).await.unwrap().unwrap();
}

/// A session that was recorded on node 1 and has ended.
async fn ended(storage: &impl Storage) {
    begin(storage).await;
    recorded_session(storage, 1).await;
    start(storage, 1).await;
    storage.save_recording_part(TENANT, SESSION, &part("a", 1)).await.unwrap();
    end(storage, 1).await;
}

/// Likewise, with its recordings made.
async fn ready(storage: &impl Storage) {
    ended(storage).await;
    let objects: Vec<String> = Track::ALL.iter().map(|track| object(*track)).collect();
    storage.reserve_objects(&objects, at(5_000)).await.unwrap();
    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    assert!(storage.finish_recordings(SESSION, node(1), &made()).await.unwrap());
}

fn id(channel: Channel) -> RecordingId {
    RecordingId::of(SESSION, channel)
}

async fn status(storage: &impl Storage, channel: Channel) -> (RecordingStatus, Option<Removed>) {
    let found = storage.recording(TENANT, id(channel)).await.unwrap().unwrap();
    (found.status, found.removed)
}

async fn events_of(storage: &impl Storage, event_type: EventType) -> Vec<String> {
    let events = storage.events(0, 1000).await.unwrap();
    let mut objects: Vec<String> =
        events.into_iter().filter(|(_, event)| event.event_type == event_type).map(|(_, event)| event.object).collect();
    objects.sort();
    objects
}

async fn kept_tracks(storage: &impl Storage) -> Vec<Track> {
    storage.recording_tracks(TENANT, SESSION).await.unwrap().into_iter().map(|track| track.track).collect()
}

pub async fn a_recorded_session_has_three_recordings_from_its_end_on(storage: &impl Storage) {
    begin(storage).await;
    recorded_session(storage, 1).await;
    start(storage, 1).await;
    assert_eq!(storage.recordings_of(TENANT, SESSION, None).await.unwrap(), []);
    end(storage, 1).await;
    end(storage, 1).await;
    let expected: Vec<Recording> = Channel::ALL
        .iter()
        .map(|channel| Recording {
            id: id(*channel),
            tenant: TENANT,
            session: SESSION,
            channel: *channel,
            status: RecordingStatus::Processing,
            error: None,
            duration_ms: None,
            dropped_ms: 0,
            incomplete: false,
            created_at: at(100),
            expires_at: at(100 + KEPT_S),
            removed: None,
        })
        .collect();
    assert_eq!(storage.recordings_of(TENANT, SESSION, None).await.unwrap(), expected);
    let agent = storage.recordings_of(TENANT, SESSION, Some(Channel::Agent)).await.unwrap();
    assert_eq!(agent, expected[2..]);
    for stranger in STRANGERS {
        assert_eq!(storage.recording(stranger, id(Channel::Mixed)).await.unwrap(), None);
        assert_eq!(storage.recordings_of(stranger, SESSION, None).await.unwrap(), []);
        assert_eq!(storage.recordings(stranger, &PageRequest::newest(10)).await.unwrap().items, []);
        assert_eq!(storage.recording_tracks(stranger, SESSION).await.unwrap(), []);
        assert!(!storage.delete_recording(stranger, id(Channel::Mixed), &change(9, 9)).await.unwrap());
    }
    let page = storage.recordings(TENANT, &PageRequest::newest(2)).await.unwrap();
    assert_eq!((page.items.len(), page.has_more), (2, true));
}

pub async fn what_was_not_recorded_has_no_recordings(storage: &impl Storage) {
    begin(storage).await;
    recorded_session(storage, 1).await;
    storage.create_session(&new_session(2)).await.unwrap();
    start(storage, 2).await;
    recorded_session(storage, 3).await;
    storage.save_recording_part(TENANT, SessionId::from_bits(3), &part("a", 1)).await.unwrap();
    for number in 1..=3 {
        end(storage, number).await;
    }
    let counts = [1, 2, 3].map(|number| (SessionId::from_bits(number), if number == 3 { 3 } else { 0 }));
    for (session, expected) in counts {
        assert_eq!(storage.recordings_of(TENANT, session, None).await.unwrap().len(), expected, "{session}");
    }
    assert_eq!(storage.recording_work_count().await.unwrap(), 1, "who never spoke, and who was not to be recorded");
}

pub async fn recordings_are_made_once(storage: &impl Storage) {
    ended(storage).await;
    let work = storage.recording_work(node(1), at(100), AWAY_AFTER, 10).await.unwrap();
    assert_eq!(work.len(), 1);
    assert_eq!((work[0].session, work[0].tenant, work[0].ended_at, work[0].attempts), (SESSION, TENANT, at(100), 0));
    assert_eq!(work[0].parts, [(part("a", 1), false)], "a node that runs alone never says that it is there");
    assert!(!storage.finish_recordings(SESSION, node(1), &made()).await.unwrap(), "it is not claimed");

    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    storage.postpone_recording_work(SESSION, node(1), at(110), true).await.unwrap();
    assert_eq!(storage.recording_work(node(1), at(109), AWAY_AFTER, 10).await.unwrap(), []);
    let again = storage.recording_work(node(1), at(110), AWAY_AFTER, 10).await.unwrap();
    assert_eq!(again[0].attempts, 1);

    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    assert!(storage.finish_recordings(SESSION, node(1), &made()).await.unwrap());
    assert!(!storage.finish_recordings(SESSION, node(1), &made()).await.unwrap());
    assert!(!storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    let made = storage.recording(TENANT, id(Channel::Customer)).await.unwrap().unwrap();
    assert_eq!((made.status, made.duration_ms, made.dropped_ms), (RecordingStatus::Ready, Some(61_234), 20));
    assert!(made.incomplete);
    assert_eq!(kept_tracks(storage).await.len(), 4);
    let mut ids: Vec<String> = Channel::ALL.iter().map(|channel| id(*channel).to_string()).collect();
    ids.sort();
    assert_eq!(events_of(storage, EventType::RecordingReady).await, ids);
    assert_eq!(storage.recording_work_count().await.unwrap(), 0);
}

pub async fn what_cannot_be_recorded_says_why(storage: &impl Storage) {
    ended(storage).await;
    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    assert!(storage.fail_recordings(SESSION, node(1), "Nothing was recorded.", at(130)).await.unwrap());
    assert!(!storage.fail_recordings(SESSION, node(1), "Nothing was recorded.", at(130)).await.unwrap());
    let failed = storage.recording(TENANT, id(Channel::Mixed)).await.unwrap().unwrap();
    assert_eq!(failed.status, RecordingStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some("Nothing was recorded."));
    assert_eq!(events_of(storage, EventType::RecordingFailed).await.len(), 3);
}

pub async fn work_is_taken_over_from_a_node_that_is_gone(storage: &impl Storage) {
    ended(storage).await;
    let there = Node { id: node(1), url: "http://a".into(), version: "1".into() };
    storage.beat(&there, AWAY_AFTER).await.unwrap();
    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    assert!(!storage.claim_recording_work(SESSION, node(2), AWAY_AFTER).await.unwrap());
    assert_eq!(storage.recording_work(node(2), at(100), AWAY_AFTER, 10).await.unwrap(), []);
    let own = storage.recording_work(node(1), at(100), AWAY_AFTER, 10).await.unwrap();
    assert_eq!(own[0].parts, [(part("a", 1), true)]);

    storage.leave(node(1)).await.unwrap();
    assert_eq!(storage.recording_work(node(2), at(100), AWAY_AFTER, 10).await.unwrap().len(), 1);
    assert!(storage.claim_recording_work(SESSION, node(2), AWAY_AFTER).await.unwrap());
    assert!(!storage.finish_recordings(SESSION, node(1), &made()).await.unwrap(), "its claim is gone");
    assert!(storage.finish_recordings(SESSION, node(2), &made()).await.unwrap());
}

pub async fn parts_of_several_nodes_come_together(storage: &impl Storage) {
    begin(storage).await;
    recorded_session(storage, 1).await;
    start(storage, 1).await;
    let dropped = RecordingPart { dropped_ms: 40, ..part("a", 1) };
    storage.save_recording_part(TENANT, SESSION, &part("a", 1)).await.unwrap();
    storage.save_recording_part(TENANT, SESSION, &dropped).await.unwrap();
    storage.save_recording_part(TENANT, SESSION, &part("a", 1)).await.unwrap();
    storage.save_recording_part(TENANT, SESSION, &part("b", 2)).await.unwrap();
    for stranger in STRANGERS {
        storage.save_recording_part(stranger, SESSION, &part("c", 2)).await.unwrap();
    }
    assert_eq!(storage.parts_to_store(node(1), 10).await.unwrap(), [], "the session goes on");
    end(storage, 1).await;
    assert_eq!(storage.parts_to_store(node(1), 10).await.unwrap(), [(SESSION, "a".to_owned())]);

    // Node 2 starts anew, as node 3, and finds its file.
    assert!(storage.adopt_recording_part(SESSION, "b", node(3)).await.unwrap());
    assert_eq!(storage.parts_to_store(node(2), 10).await.unwrap(), []);
    storage.reserve_objects(&["parts/b".to_owned()], at(900)).await.unwrap();
    assert!(storage.part_stored(SESSION, "b", "parts/b").await.unwrap());
    assert_eq!(storage.parts_to_store(node(3), 10).await.unwrap(), []);
    assert!(!storage.adopt_recording_part(SESSION, "b", node(4)).await.unwrap(), "it is stored: the file can go");
    let work = storage.recording_work(node(1), at(100), AWAY_AFTER, 10).await.unwrap().remove(0);
    let stored = RecordingPart { object: Some("parts/b".into()), ..part("b", 3) };
    assert_eq!(work.parts, [(dropped, false), (stored, false)]);

    assert_eq!(storage.objects_to_delete(at(900), 10).await.unwrap(), Vec::<String>::new());
    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    assert!(storage.finish_recordings(SESSION, node(1), &made()).await.unwrap());
    assert_eq!(storage.objects_to_delete(at(101), 10).await.unwrap(), ["parts/b"]);
    assert!(!storage.adopt_recording_part(SESSION, "a", node(1)).await.unwrap(), "nothing needs it any more");
    assert!(!storage.part_stored(SESSION, "a", "parts/a").await.unwrap(), "too late");
    assert_eq!(storage.objects_to_delete(at(101), 10).await.unwrap(), ["parts/a", "parts/b"]);
}

pub async fn a_track_lives_as_long_as_a_recording_needs_it(storage: &impl Storage) {
    ready(storage).await;
    assert!(storage.delete_recording(TENANT, id(Channel::Mixed), &change(20, 200)).await.unwrap());
    assert!(!storage.delete_recording(TENANT, id(Channel::Mixed), &change(21, 200)).await.unwrap());
    assert_eq!(status(storage, Channel::Mixed).await, (RecordingStatus::Ready, Some(Removed::Deleted)));
    assert_eq!(kept_tracks(storage).await.len(), 4);

    assert!(storage.delete_recording(TENANT, id(Channel::Agent), &change(22, 200)).await.unwrap());
    assert_eq!(kept_tracks(storage).await, [Track::CustomerOriginal, Track::CustomerTranslated]);
    let gone = [object(Track::AgentOriginal), object(Track::AgentTranslated)];
    assert_eq!(storage.objects_to_delete(at(200), 10).await.unwrap(), gone);
    storage.objects_not_deleted(&gone[..1], at(300)).await.unwrap();
    assert_eq!(storage.objects_to_delete(at(200), 10).await.unwrap(), gone[1..]);
    storage.objects_deleted(&gone).await.unwrap();
    assert_eq!(storage.objects_to_delete(at(300), 10).await.unwrap(), Vec::<String>::new());

    let left = storage.recordings_of(TENANT, SESSION, None).await.unwrap();
    assert_eq!(left.iter().map(|recording| recording.channel).collect::<Vec<_>>(), [Channel::Customer]);
    let entries =
        storage.audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(10)).await.unwrap().items;
    let deleted = entries.iter().filter(|entry| entry.action.as_str() == "recording.deleted");
    assert_eq!(deleted.count(), 2);
}

pub async fn what_is_deleted_while_it_is_made_is_never_heard(storage: &impl Storage) {
    ended(storage).await;
    assert!(storage.claim_recording_work(SESSION, node(1), AWAY_AFTER).await.unwrap());
    for (number, channel) in [(20, Channel::Mixed), (21, Channel::Customer)] {
        assert!(storage.delete_recording(TENANT, id(channel), &change(number, 110)).await.unwrap());
    }
    assert!(storage.finish_recordings(SESSION, node(1), &made()).await.unwrap());
    assert_eq!(kept_tracks(storage).await, [Track::AgentOriginal, Track::AgentTranslated]);
    assert_eq!(events_of(storage, EventType::RecordingReady).await, [id(Channel::Agent).to_string()]);

    recorded_session(storage, 2).await;
    start(storage, 2).await;
    end(storage, 2).await;
    let second = SessionId::from_bits(2);
    for (number, channel) in [(22, Channel::Mixed), (23, Channel::Customer), (24, Channel::Agent)] {
        let recording = RecordingId::of(second, channel);
        assert!(storage.delete_recording(TENANT, recording, &change(number, 110)).await.unwrap());
    }
    assert_eq!(storage.recording_work_count().await.unwrap(), 0, "there is nothing left to make");
}

pub async fn recordings_expire(storage: &impl Storage) {
    ready(storage).await;
    assert_eq!(storage.expire_recordings(at(99 + KEPT_S), 10).await.unwrap(), 0);
    assert_eq!(storage.expire_recordings(at(100 + KEPT_S), 2).await.unwrap(), 2);
    assert_eq!(storage.expire_recordings(at(100 + KEPT_S), 2).await.unwrap(), 1);
    assert_eq!(storage.expire_recordings(at(100 + KEPT_S), 2).await.unwrap(), 0);
    assert_eq!(status(storage, Channel::Mixed).await, (RecordingStatus::Ready, Some(Removed::Expired)));
    assert_eq!(storage.recordings(TENANT, &PageRequest::newest(10)).await.unwrap().items, []);
    assert_eq!(storage.objects_to_delete(at(101 + KEPT_S), 10).await.unwrap().len(), 4);
}

pub async fn recording_is_paused_where_the_session_lives(storage: &impl Storage) {
    begin(storage).await;
    recorded_session(storage, 1).await;
    storage.create_session(&new_session(2)).await.unwrap();
    let (paused, on) = (RecordingMode::Paused, RecordingMode::On);
    let marker = storage.gate_changes_since(None).await.unwrap().marker;
    let session = storage.set_recording(TENANT, SESSION, paused).await.unwrap().unwrap();
    assert_eq!(session.recording, paused);
    let told = storage.gate_changes_since(Some(marker)).await.unwrap().changes;
    assert!(told.contains(&GateChange::Record(SESSION, paused)), "{told:?}");
    assert_eq!(storage.recording_mode(TENANT, SESSION).await.unwrap(), Some((paused, false)));
    storage.recording_heard(SESSION, paused).await.unwrap();
    assert_eq!(storage.recording_mode(TENANT, SESSION).await.unwrap(), Some((paused, true)));
    storage.set_recording(TENANT, SESSION, on).await.unwrap();
    storage.recording_heard(SESSION, paused).await.unwrap();
    assert_eq!(storage.recording_mode(TENANT, SESSION).await.unwrap(), Some((on, false)), "that was before");

    for stranger in STRANGERS {
        assert_eq!(storage.set_recording(stranger, SESSION, paused).await.unwrap(), None);
        assert_eq!(storage.recording_mode(stranger, SESSION).await.unwrap(), None);
    }
    let other = storage.set_recording(TENANT, SessionId::from_bits(2), paused).await.unwrap().unwrap();
    assert_eq!(other.recording, RecordingMode::Off, "what is not recorded can't be paused");
    end(storage, 1).await;
    let ended: Result<_, StorageError> = storage.set_recording(TENANT, SESSION, paused).await;
    assert_eq!(ended.unwrap().unwrap().recording, on, "what has ended stays as it is");
}

/// A session whose recordings are made, and one whose recordings are still to be made: sessions 301 and 302.
pub(super) async fn fill(storage: &impl Storage) {
    for number in [301, 302] {
        let session = SessionId::from_bits(number);
        recorded_session(storage, number).await;
        start(storage, number).await;
        storage.save_recording_part(TENANT, session, &part(&format!("part {number}"), 1)).await.unwrap();
        end(storage, number).await;
    }
    let objects: Vec<String> = Track::ALL.iter().map(|track| object(*track)).chain(["of nobody".into()]).collect();
    storage.reserve_objects(&objects, at(5_000)).await.unwrap();
    let first = SessionId::from_bits(301);
    assert!(storage.claim_recording_work(first, node(1), AWAY_AFTER).await.unwrap());
    assert!(storage.finish_recordings(first, node(1), &made()).await.unwrap());
}
