//! What usage over time promises.

use kallglot_core::Timestamp;
use kallglot_core::event::EventType;
use kallglot_core::id::{ApiKeyId, EventId, NodeId, RequestId, SessionId};
use kallglot_core::request_record::RequestRecord;
use kallglot_core::session::{EndReason, Session};
use kallglot_core::usage::{Counts, Slice, Totals, Usage};
use std::num::NonZeroU32;

use super::example::{
    STRANGERS, TENANT, at, begin, begin_with_credits, change, new_session, request_record, session, session_event,
    usage_of,
};
use crate::{CreditFlow, NewSession, RequestBatch, SessionSpan, Span, Storage};

const HOUR_S: i64 = 60 * 60;

fn key(number: u128) -> ApiKeyId {
    ApiKeyId::from_bits(number)
}

fn span(from: i64, to: i64) -> Span {
    Span { from: at(from), to: at(to) }
}

fn batch(node: u128, number: i64, records: &[RequestRecord]) -> RequestBatch {
    RequestBatch { node: NodeId::from_bits(node), number, at: at(0), blocks: vec![], usage: usage_of(records) }
}

/// What the records come to that `wanted` says, slice by slice: what storage must answer.
fn expected(
    slice: Slice,
    records: &[RequestRecord],
    wanted: impl Fn(&RequestRecord) -> bool,
) -> Vec<(Timestamp, Usage)> {
    let mut slices: std::collections::BTreeMap<Timestamp, Usage> = Default::default();
    for record in records.iter().filter(|record| wanted(record)) {
        slices.entry(slice.of(record.at)).or_default().add(record);
    }
    slices.into_iter().collect()
}

fn totals(slices: &[(Timestamp, Usage)]) -> Vec<(Timestamp, Totals)> {
    slices.iter().map(|(at, usage)| (*at, usage.all().totals())).collect()
}

/// 12 requests of two keys in the minutes from 0 s, 60 s, 120 s on.
fn records() -> Vec<RequestRecord> {
    (1..=12u32).map(|n| request_record(n.into(), u128::from(1 + n % 2), i64::from(n % 3) * 60, n % 5 == 0)).collect()
}

pub async fn usage_adds_up_and_is_found_by_key_and_time(storage: &impl Storage) {
    begin(storage).await;
    let records = records();
    for (number, records) in records.chunks(5).enumerate() {
        storage.append_requests(&batch(1, number as i64 + 1, records)).await.unwrap();
    }
    for slice in [Slice::Minute, Slice::Hour] {
        for wanted in [None, Some(key(1)), Some(key(2))] {
            let expected = expected(slice, &records, |record| wanted.is_none_or(|wanted| record.key == wanted));
            assert_eq!(storage.usage(TENANT, wanted, slice, span(0, HOUR_S)).await.unwrap(), expected);
            let found = storage.usage_totals(TENANT, wanted, slice, span(0, HOUR_S)).await.unwrap();
            assert_eq!(found, totals(&expected));
        }
        assert_eq!(storage.usage(TENANT, Some(key(3)), slice, span(0, HOUR_S)).await.unwrap(), []);
        for stranger in STRANGERS {
            assert_eq!(storage.usage(stranger, None, slice, span(0, HOUR_S)).await.unwrap(), []);
            assert_eq!(storage.usage(stranger, Some(key(1)), slice, span(0, HOUR_S)).await.unwrap(), []);
            assert_eq!(storage.usage_totals(stranger, None, slice, span(0, HOUR_S)).await.unwrap(), []);
            assert_eq!(storage.usage_by_key(stranger, slice, span(0, HOUR_S), 10).await.unwrap(), []);
        }
    }
    // A span is widened to the slice that it begins in, and ends before its end.
    let minute = |second| Slice::Minute.of(at(second));
    let second = Span { from: minute(60), to: minute(120) };
    let found = storage.usage_totals(TENANT, None, Slice::Minute, second).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.requests), (minute(60), 4));

    let by_key = storage.usage_by_key(TENANT, Slice::Hour, span(0, HOUR_S), 10).await.unwrap();
    let mut all = Counts::default();
    records.iter().filter(|record| record.key == key(1)).for_each(|record| all.add(record));
    assert_eq!(by_key[0], (key(1), all.totals()), "of two with as many requests the older one");
    assert_eq!(by_key.len(), 2);
    assert_eq!(storage.usage_by_key(TENANT, Slice::Hour, span(0, HOUR_S), 1).await.unwrap(), by_key[..1]);
    assert_eq!(all.totals().rate_limited, 1);
    assert_eq!(all.totals().pressure_permille, 1000);
}

pub async fn a_batch_of_requests_is_counted_once(storage: &impl Storage) {
    begin(storage).await;
    let first = batch(1, 1, &[request_record(1, 1, 0, false)]);
    let second = batch(1, 2, &[request_record(2, 1, 0, false)]);
    for batch in [&first, &first, &second, &first, &second] {
        storage.append_requests(batch).await.unwrap();
    }
    let found = storage.usage_totals(TENANT, None, Slice::Minute, span(0, 60)).await.unwrap();
    assert_eq!(found[0].1.requests, 2);
}

pub async fn nodes_count_side_by_side(storage: &impl Storage) {
    begin(storage).await;
    let records = records();
    let stored = |node: u128| {
        let mine: Vec<RequestRecord> =
            records.iter().filter(|record| record.id.to_bits() % 3 == node).cloned().collect();
        async move {
            for (number, record) in mine.iter().enumerate() {
                storage.append_requests(&batch(node, number as i64 + 1, std::slice::from_ref(record))).await.unwrap();
            }
        }
    };
    futures_util::future::join3(stored(0), stored(1), stored(2)).await;
    for slice in [Slice::Minute, Slice::Hour] {
        let expected = expected(slice, &records, |_| true);
        assert_eq!(storage.usage(TENANT, None, slice, span(0, HOUR_S)).await.unwrap(), expected);
        assert_eq!(storage.usage_totals(TENANT, None, slice, span(0, HOUR_S)).await.unwrap(), totals(&expected));
    }
}

pub async fn usage_is_forgotten_minutes_first(storage: &impl Storage) {
    begin(storage).await;
    storage.append_requests(&batch(1, 1, &records())).await.unwrap();
    let kept = async || {
        let mut kept = [0; 2];
        for (count, slice) in kept.iter_mut().zip([Slice::Minute, Slice::Hour]) {
            *count = storage.usage_totals(TENANT, None, slice, span(0, HOUR_S)).await.unwrap().len();
        }
        kept
    };
    let before = kept().await;
    storage.forget(at(47 * HOUR_S), 1000).await.unwrap();
    assert_eq!(kept().await, before);
    assert_eq!(storage.forget(at(49 * HOUR_S), 2).await.unwrap(), 2, "no more than asked for");
    while storage.forget(at(49 * HOUR_S), 1000).await.unwrap() > 0 {}
    assert_eq!(kept().await, [0, 1], "hours are kept on");
    while storage.forget(at(395 * 24 * HOUR_S), 1000).await.unwrap() > 0 {}
    assert_eq!(kept().await, [0, 1]);
    while storage.forget(at(397 * 24 * HOUR_S), 1000).await.unwrap() > 0 {}
    assert_eq!(kept().await, [0, 0]);
}

pub async fn sessions_that_were_there_are_found_by_their_time(storage: &impl Storage) {
    begin(storage).await;
    for (number, from, to) in [(1, 0, Some(100)), (2, 50, Some(200)), (3, 150, None), (4, 300, Some(400))] {
        let made = Session { created_at: at(from), last_activity_at: at(from), ..session(number) };
        storage.create_session(&NewSession { session: made, ..new_session(number) }).await.unwrap();
        if let Some(to) = to {
            let event = session_event(EventType::SessionEnded, number, None);
            let event = kallglot_core::event::Event { id: EventId::from_bits(90 + 2 * number), ..event };
            let id = SessionId::from_bits(number);
            storage.end_session(TENANT, id, at(to), EndReason::Completed, &event).await.unwrap();
        }
    }
    let spanned = |from, to: Option<i64>| SessionSpan { created_at: at(from), ended_at: to.map(at) };
    let all = [spanned(150, None), spanned(300, Some(400)), spanned(50, Some(200)), spanned(0, Some(100))];
    let found = async |from, to, limit| storage.session_spans(TENANT, span(from, to), limit).await.unwrap();
    assert_eq!(found(0, 1000, 10).await, all);
    assert_eq!(found(0, 1000, 2).await, all[..2]);
    assert_eq!(found(100, 150, 10).await, all[2..3]);
    assert_eq!(found(100, 151, 10).await, [all[0], all[2]]);
    assert_eq!(found(500, 600, 10).await, all[..1]);
    for stranger in STRANGERS {
        assert_eq!(storage.session_spans(stranger, span(0, 1000), 10).await.unwrap(), []);
    }
}

pub async fn where_credits_went_is_told_by_time(storage: &impl Storage) {
    begin_with_credits(storage, 100).await; // at second 3
    for (number, second) in [(1u128, 10), (2, 20), (3, 70), (4, 7_300)] {
        let made = Session { created_at: at(second), ..session(number) };
        let paid =
            NewSession { session: made, credits: 2, request: RequestId::from_bits(number), ..new_session(number) };
        storage.create_session(&paid).await.unwrap();
    }
    let granted = NonZeroU32::new(5).unwrap();
    storage.grant_credits(TENANT.organization, granted, &change(40, 7_310)).await.unwrap();
    let flow = |slice_s: i64, second, spent, granted| {
        let slice = at(second).as_second().div_euclid(slice_s) * slice_s;
        CreditFlow { at: Timestamp::from_second(slice).unwrap(), spent, granted, expired: 0 }
    };
    let organization = TENANT.organization;
    let found = async |from, to, slice_s| storage.credit_flows(organization, span(from, to), slice_s).await.unwrap();
    let hour = [flow(HOUR_S, 3, 6, 100), flow(HOUR_S, 7_300, 2, 5)];
    assert_eq!(found(0, 10_000, 3_600).await, hour);
    assert_eq!(found(7_200, 10_000, 3_600).await, hour[1..]);
    assert_eq!(found(7_301, 10_000, 3_600).await, [flow(HOUR_S, 7_310, 0, 5)]);
    assert_eq!(found(0, 11, 1).await, [flow(1, 3, 0, 100), flow(1, 10, 2, 0)]);
    assert_eq!(found(8_000, 10_000, 60).await, []);
    let stranger = STRANGERS[1].organization;
    assert_eq!(storage.credit_flows(stranger, span(0, 10_000), 60).await.unwrap(), []);
}
