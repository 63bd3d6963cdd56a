//! What deliveries of events to webhook endpoints promise.

use kallglot_core::delivery::{Delivery, DeliveryStatus, EXCERPT_BYTES_MAX, Webhook};
use kallglot_core::event::EventType;
use kallglot_core::id::{DeliveryId, EventId, NodeId, WebhookId};

use super::example::{NODE, STRANGERS, TENANT, at, begin, change, due, raise, report, webhook, with_webhook};
use crate::{
    Cursor, DeliveryFilter, FAN_OUT_MAX, FannedOut, PageRequest, Queued, Storage, Verdict, Want, WebhookUpdate,
};

const WEBHOOK: WebhookId = WebhookId::from_bits(1);
const DAY_S: i64 = 24 * 60 * 60;

async fn delivery(storage: &impl Storage, event: u128) -> Delivery {
    let id = Delivery::id_of(EventId::from_bits(event), WEBHOOK);
    storage.delivery(TENANT, WEBHOOK, id).await.unwrap().unwrap().delivery
}

pub async fn an_event_is_fanned_out_once_to_those_that_want_it(storage: &impl Storage) {
    begin(storage).await;
    raise(storage, 1).await;
    let wanting = |number, types: &[EventType]| Webhook { event_types: types.to_vec(), ..webhook(number) };
    for webhook in [wanting(1, &[]), wanting(2, &[EventType::CreditsLow]), wanting(3, &[EventType::SessionCreated])] {
        let number = webhook.id.to_bits() + 10;
        storage.create_webhook(&webhook, b"sealed", None, &change(number, 20)).await.unwrap();
    }
    let stranger = Webhook { tenant: STRANGERS[1], ..wanting(4, &[]) };
    storage.create_webhook(&stranger, b"sealed", None, &change(14, 20)).await.unwrap();
    raise(storage, 2).await;

    assert!(storage.webhook_work(NODE, at(30)).await.unwrap().events);
    let (one, two) = futures_util::future::join(storage.fan_out(at(30)), storage.fan_out(at(30))).await;
    // The event of the key that was made in the beginning, the one from before the endpoints, and the one after.
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.events + two.events, one.deliveries + two.deliveries), (3, 2));
    let work = storage.webhook_work(NODE, at(30)).await.unwrap();
    assert_eq!((work.events, work.unclaimed, work.claimed), (false, true, vec![]));
    assert_eq!(storage.fan_out(at(31)).await.unwrap(), FannedOut::default());

    let expected = Delivery {
        id: Delivery::id_of(EventId::from_bits(2), WEBHOOK),
        webhook: WEBHOOK,
        event: EventId::from_bits(2),
        event_type: EventType::SessionCreated,
        event_at: at(11),
        status: DeliveryStatus::Pending,
        attempts: 0,
        next_attempt_at: Some(at(30)),
        created_at: at(30),
        finished_at: None,
    };
    assert_eq!(delivery(storage, 2).await, expected);
    let claimed = storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    assert_eq!(claimed.iter().map(|claimed| claimed.webhook.id.to_bits()).collect::<Vec<_>>(), [1, 3]);
    let want = Want { webhook: WEBHOOK, held: vec![], limit: 10 };
    let due = storage.due_deliveries(NODE, at(30), &[want]).await.unwrap();
    assert_eq!(due.deliveries.len(), 1);
    assert_eq!(due.events.len(), 1);
    assert_eq!(due.events[0].0, due.deliveries[0].event_place);
    assert_eq!((due.events[0].1.id, due.events[0].1.session_sequence), (EventId::from_bits(2), Some(1)));
}

pub async fn many_events_are_fanned_out_in_parts(storage: &impl Storage) {
    with_webhook(storage).await;
    for number in 2..=250 {
        storage.create_webhook(&webhook(number), b"sealed", None, &change(10 + number, 20)).await.unwrap();
    }
    for number in 1..=6 {
        raise(storage, number).await;
    }
    let first = storage.fan_out(at(30)).await.unwrap();
    assert!(first.deliveries >= FAN_OUT_MAX && first.deliveries < FAN_OUT_MAX + 250, "{first:?}");
    let second = storage.fan_out(at(30)).await.unwrap();
    assert_eq!(first.deliveries + second.deliveries, 6 * 250);
}

pub async fn due_deliveries_come_oldest_first_without_those_in_hand(storage: &impl Storage) {
    with_webhook(storage).await;
    for number in 1..=5 {
        raise(storage, number).await;
        storage.fan_out(at(30 + number as i64)).await.unwrap();
    }
    let asked = async |node, second, held: &[DeliveryId], limit| {
        let want = Want { webhook: WEBHOOK, held: held.to_vec(), limit };
        let due = storage.due_deliveries(node, at(second), &[want]).await.unwrap().deliveries;
        due.iter().map(|due| due.id).collect::<Vec<_>>()
    };
    assert_eq!(asked(NODE, 40, &[], 10).await, [], "who has not claimed the endpoint gets none");
    storage.claim_webhooks(NODE, at(40), 10).await.unwrap();
    let ids = [1, 2, 3, 4, 5].map(|number| Delivery::id_of(EventId::from_bits(number), WEBHOOK));
    assert_eq!(asked(NODE, 40, &[], 10).await, ids);
    assert_eq!(asked(NODE, 33, &[], 10).await, ids[..3], "what is due later comes later");
    assert_eq!(asked(NODE, 40, &ids[..2], 2).await, ids[2..4]);
    assert_eq!(asked(NODE, 40, &ids[1..3], 2).await, [ids[0], ids[3]]);
    assert_eq!(asked(NodeId::from_bits(2), 40, &[], 10).await, []);
}

pub async fn attempts_are_kept_once_and_decide_what_follows(storage: &impl Storage) {
    with_webhook(storage).await;
    for number in 1..=3 {
        raise(storage, number).await;
    }
    storage.fan_out(at(30)).await.unwrap();
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    let [retried, succeeded, given_up] = due(storage, WEBHOOK, at(30)).await.try_into().unwrap();
    let mut all = report(&retried, at(31), Verdict::Retry(at(36)), &change(20, 31));
    let attempt = &mut all.attempts[0].attempt;
    attempt.answer_body = format!("{}é\0", "x".repeat(EXCERPT_BYTES_MAX - 1));
    let kept = (attempt.clone(), "x".repeat(EXCERPT_BYTES_MAX - 1));
    all.attempts.extend(report(&succeeded, at(31), Verdict::Succeeded, &change(20, 31)).attempts);
    all.attempts.extend(report(&given_up, at(31), Verdict::GivenUp, &change(20, 31)).attempts);
    for _ in 0..2 {
        storage.keep_attempts(std::slice::from_ref(&all)).await.unwrap();
    }
    let stands = async |event| {
        let it = delivery(storage, event).await;
        (it.status, it.attempts, it.next_attempt_at, it.finished_at.is_some())
    };
    assert_eq!(stands(1).await, (DeliveryStatus::Pending, 1, Some(at(36)), false));
    assert_eq!(stands(2).await, (DeliveryStatus::Succeeded, 1, None, true));
    assert_eq!(stands(3).await, (DeliveryStatus::Failed, 1, None, true));
    let log = storage.delivery(TENANT, WEBHOOK, retried.id).await.unwrap().unwrap();
    assert_eq!(log.attempts.len(), 1);
    assert_eq!((log.attempts[0].status, log.attempts[0].error), (kept.0.status, kept.0.error));
    assert_eq!(log.attempts[0].answer_body, kept.1, "cut between characters");
    assert_eq!(log.event.unwrap().id, EventId::from_bits(1));

    // The endpoint is due again when its next delivery is.
    let due_at = async |second| storage.webhook_work(NODE, at(second)).await.unwrap().claimed[0].due_at;
    assert_eq!(due_at(31).await, Some(at(36)));
    assert_eq!(due(storage, WEBHOOK, at(35)).await, []);
    let again = due(storage, WEBHOOK, at(36)).await.remove(0);
    assert_eq!((again.id, again.tries, again.begun_at, again.due_at), (retried.id, 1, at(30), at(36)));
    // A node that was cut off tells late what it found: who has accepted a delivery has it.
    storage.keep_attempts(&[report(&again, at(37), Verdict::Succeeded, &change(21, 37))]).await.unwrap();
    storage.keep_attempts(&[report(&again, at(38), Verdict::Retry(at(60)), &change(22, 38))]).await.unwrap();
    assert_eq!(stands(1).await, (DeliveryStatus::Succeeded, 3, None, true));
    assert_eq!(due_at(99).await, None);
}

pub async fn a_delivery_is_begun_anew_when_asked(storage: &impl Storage) {
    with_webhook(storage).await;
    raise(storage, 1).await;
    storage.fan_out(at(30)).await.unwrap();
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    let first = due(storage, WEBHOOK, at(30)).await.remove(0);
    storage.keep_attempts(&[report(&first, at(31), Verdict::Succeeded, &change(20, 31))]).await.unwrap();
    for stranger in STRANGERS {
        assert_eq!(storage.redeliver(stranger, WEBHOOK, first.id, at(40)).await.unwrap(), Queued::NotFound);
    }
    let other = storage.redeliver(TENANT, WebhookId::from_bits(9), first.id, at(40)).await.unwrap();
    assert_eq!(other, Queued::NotFound);
    let Queued::Queued(again) = storage.redeliver(TENANT, WEBHOOK, first.id, at(40)).await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!((again.status, again.attempts, again.next_attempt_at), (DeliveryStatus::Pending, 1, Some(at(40))));
    let due = due(storage, WEBHOOK, at(40)).await.remove(0);
    assert_eq!((due.tries, due.begun_at), (0, at(40)));
    let disable = WebhookUpdate { enabled: Some(false), ..WebhookUpdate::default() };
    storage.update_webhook(TENANT, WEBHOOK, &disable, &change(21, 41)).await.unwrap();
    assert_eq!(storage.redeliver(TENANT, WEBHOOK, first.id, at(42)).await.unwrap(), Queued::Disabled);
}

pub async fn deliveries_are_listed_in_pages_and_by_how_they_stand(storage: &impl Storage) {
    with_webhook(storage).await;
    for number in 1..=6 {
        // A later event has a later id, as in life.
        raise(storage, number << 80).await;
    }
    storage.fan_out(at(30)).await.unwrap();
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    for (due, verdict) in due(storage, WEBHOOK, at(30)).await.iter().zip([Verdict::Succeeded, Verdict::GivenUp]) {
        storage.keep_attempts(&[report(due, at(31), verdict, &change(20, 31))]).await.unwrap();
    }
    let listed = async |filter, request: PageRequest<DeliveryId>| {
        let page = storage.deliveries(TENANT, WEBHOOK, filter, &request).await.unwrap().unwrap();
        (page.items.iter().map(|it| (it.event.to_bits() >> 80) as u32).collect::<Vec<_>>(), page.has_more)
    };
    let all = DeliveryFilter::default();
    assert_eq!(listed(all, PageRequest::newest(4)).await, (vec![6, 5, 4, 3], true));
    let after = Cursor::StartingAfter(Delivery::id_of(EventId::from_bits(3 << 80), WEBHOOK));
    assert_eq!(listed(all, PageRequest { limit: 4, cursor: Some(after) }).await, (vec![2, 1], false));
    let only = |status| DeliveryFilter { status: Some(status), event: None };
    assert_eq!(listed(only(DeliveryStatus::Pending), PageRequest::newest(9)).await, (vec![6, 5, 4, 3], false));
    assert_eq!(listed(only(DeliveryStatus::Succeeded), PageRequest::newest(9)).await, (vec![1], false));
    assert_eq!(listed(only(DeliveryStatus::Failed), PageRequest::newest(9)).await, (vec![2], false));
    let event = DeliveryFilter { status: None, event: Some(EventId::from_bits(4 << 80)) };
    assert_eq!(listed(event, PageRequest::newest(9)).await, (vec![4], false));
    let backlog = storage.delivery_backlog(at(40)).await.unwrap();
    assert_eq!((backlog.due, backlog.pending, backlog.enabled_webhooks), (4, 4, 1));
    assert_eq!(backlog.oldest_due_at, Some(at(30)));
    assert_eq!(storage.delivery_backlog(at(29)).await.unwrap().due, 0);
}

pub async fn deliveries_are_forgotten_with_their_events(storage: &impl Storage) {
    with_webhook(storage).await;
    raise(storage, 1).await;
    raise(storage, 2).await;
    storage.fan_out(at(30)).await.unwrap();
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    let first = due(storage, WEBHOOK, at(30)).await.remove(0);
    storage.keep_attempts(&[report(&first, at(31), Verdict::Succeeded, &change(20, 31))]).await.unwrap();
    storage.forget(at(11 + 30 * DAY_S - 1), 100).await.unwrap();
    assert!(storage.delivery(TENANT, WEBHOOK, first.id).await.unwrap().is_some());
    let events = storage.events(0, 100).await.unwrap().len();
    while storage.forget(at(11 + 30 * DAY_S), 1).await.unwrap() > 0 {
        let page = PageRequest::newest(9);
        let left =
            storage.deliveries(TENANT, WEBHOOK, DeliveryFilter::default(), &page).await.unwrap().unwrap().items.len();
        let events_left = storage.events(0, 100).await.unwrap().len();
        assert!(left == 0 || events_left == events, "an event lasts as long as its deliveries");
    }
    assert_eq!(storage.delivery(TENANT, WEBHOOK, first.id).await.unwrap(), None);
    assert!(storage.events(0, 100).await.unwrap().len() < events);
}
