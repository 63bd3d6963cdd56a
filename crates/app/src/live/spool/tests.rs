use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{EventId, OrganizationId, SegmentId};
use kallglot_core::session::{EndReason, Environment, Speaker, Translation, UtteranceLag};
use kallglot_core::stream_statistics::StreamStatistics;
use kallglot_storage::NewTurn;
use proptest::prelude::*;

use super::*;

const SESSION: SessionId = SessionId::from_bits(7);
const TENANT: Tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live };

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_750_000_000 + second, 123_456_000).unwrap()
}

fn turn(number: u128, text: &str) -> Write {
    Write::Turn(Box::new(NewTurn {
        id: SegmentId::from_bits(number),
        speaker: Speaker::Agent,
        language: "en-GB".parse().unwrap(),
        text: text.into(),
        translation: Some(Translation { language: "es".parse().unwrap(), text: text.to_uppercase() }),
        timestamp: at(1),
        start_ms: 1000,
        end_ms: u64::from(u32::MAX) + 7,
        confidence: 0.1 + 0.7,
    }))
}

fn event(event_type: EventType) -> Box<Event> {
    Box::new(Event {
        id: EventId::from_bits(3),
        organization: TENANT.organization,
        environment: TENANT.environment,
        event_type,
        object: SESSION.to_string(),
        session: Some(SESSION),
        session_sequence: None,
        detail: serde_json::Map::from_iter([("a".to_owned(), "№ \"b\"".into())]),
        at: at(2),
    })
}

#[test]
fn every_kind_of_write_reads_back_as_it_was() {
    let mut statistics = StreamStatistics::default();
    statistics.parties[0].frames_in = 1;
    statistics.parties[1].dropped_out_ms = u64::MAX;
    let lag = UtteranceLag {
        id: SegmentId::from_bits(9),
        speaker: Speaker::Customer,
        first_partial_ms: None,
        final_ms: 400,
        first_audio_ms: Some(900),
    };
    for write in [
        Write::Started(event(EventType::SessionStarted)),
        Write::Activity(at(5)),
        turn(1, "zwei\nZeilen, \u{1f600} und \"Zeichen\""),
        Write::Lag(lag),
        Write::Statistics(statistics),
        Write::Ended(EndReason::CustomerHangup, event(EventType::SessionEnded)),
    ] {
        let line = record::write(TENANT, SESSION, &write);
        let text = std::str::from_utf8(&line).unwrap().strip_suffix('\n').unwrap();
        assert!(!text.contains('\n'), "one write is one line");
        let (tenant, session, read) = record::read(text).unwrap();
        assert_eq!((tenant, session), (TENANT, SESSION));
        assert_eq!(format!("{read:?}"), format!("{write:?}"));
    }
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(text in ".{0,200}") {
        let _ = record::read(&text);
    }

    #[test]
    fn any_text_reads_back(text in any::<String>()) {
        let line = record::write(TENANT, SESSION, &turn(1, &text));
        let line = std::str::from_utf8(&line).unwrap();
        let Some((_, _, Write::Turn(read))) = record::read(line.trim_end_matches('\n')) else { panic!("{line}") };
        prop_assert_eq!(read.text, text);
    }
}

#[tokio::test]
async fn what_waits_survives_a_crash_and_a_line_that_was_cut_off_does_not_spoil_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    assert!(!spool.holds(SESSION));
    for number in 1..=3 {
        spool.keep(TENANT, SESSION, &turn(number, "text")).await.unwrap();
    }
    assert!(spool.holds(SESSION));
    assert!(!spool.holds(SessionId::from_bits(8)));
    let whole = std::fs::read(folder.path().join(FILE)).unwrap();
    drop(spool);

    let cut = [whole.as_slice(), &whole[..40]].concat();
    std::fs::write(folder.path().join(FILE), cut).unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    assert!(spool.holds(SESSION));
    assert_eq!(spool.bytes(), whole.len() as u64, "half a line was not answered");
    spool.keep(TENANT, SESSION, &turn(4, "more")).await.unwrap();
    let lines = spool.read(0).await.unwrap();
    let ids = lines.iter().map(|line| match record::read(line) {
        Some((_, _, Write::Turn(turn))) => turn.id.to_bits(),
        _ => 0,
    });
    assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3, 4]);
    tokio::time::timeout(Duration::from_secs(5), spool.came()).await.expect("something waits");
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500 {
        let spool = spool.clone();
        tasks.spawn(async move { spool.keep(TENANT, SessionId::from_bits(number % 5), &turn(number, "t")).await });
    }
    for kept in tasks.join_all().await {
        kept.unwrap();
    }
    let (mut offset, mut lines) = (0, 0);
    loop {
        let read = spool.read(offset).await.unwrap();
        if read.is_empty() {
            break;
        }
        lines += read.len();
        offset += read.iter().map(|line| line.len() as u64 + 1).sum::<u64>();
    }
    assert_eq!((lines, offset), (500, spool.bytes()));
}
