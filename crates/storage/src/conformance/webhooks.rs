//! What webhook endpoints promise.

use kallglot_core::audit::AuditAction;
use kallglot_core::delivery::{DisabledReason, FAILING_MAX, WEBHOOKS_MAX, Webhook, WebhookState};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{EventId, NodeId, WebhookId};

use super::example::{
    NODE, STRANGERS, TENANT, answer, at, begin, change, due, event, raise, report, webhook, with_webhook,
};
use crate::{
    AuditFilter, CreateWebhook, Cursor, DeliveryFilter, PageRequest, Queued, Storage, StorageError, Verdict,
    WebhookReport, WebhookUpdate,
};

const WEBHOOK: WebhookId = WebhookId::from_bits(1);

pub async fn a_webhook_is_kept_as_it_was_made(storage: &impl Storage) {
    begin(storage).await;
    let created = storage.create_webhook(&webhook(1), b"sealed", None, &change(10, 20)).await.unwrap();
    assert_eq!(created, CreateWebhook::Created);
    assert_eq!(storage.webhook(TENANT, WEBHOOK).await.unwrap(), Some(webhook(1)));
    for stranger in STRANGERS {
        assert_eq!(storage.webhook(stranger, WEBHOOK).await.unwrap(), None);
        assert_eq!(storage.webhooks(stranger, &PageRequest::newest(10)).await.unwrap().items, []);
        let update = WebhookUpdate { enabled: Some(false), ..WebhookUpdate::default() };
        assert_eq!(storage.update_webhook(stranger, WEBHOOK, &update, &change(11, 21)).await.unwrap(), None);
        let rotated = storage.rotate_webhook_secret(stranger, WEBHOOK, b"x", at(99), &change(12, 21)).await.unwrap();
        assert_eq!(rotated, None);
        assert!(!storage.delete_webhook(stranger, WEBHOOK, &change(13, 21)).await.unwrap());
        let test = event(EventType::WebhookTest, &WEBHOOK.to_string());
        assert_eq!(storage.test_webhook(stranger, WEBHOOK, &test).await.unwrap(), Queued::NotFound);
        let page = PageRequest::newest(10);
        let none = storage.deliveries(stranger, WEBHOOK, DeliveryFilter::default(), &page).await.unwrap();
        assert_eq!(none, None);
    }
    assert_eq!(storage.webhook(TENANT, WEBHOOK).await.unwrap(), Some(webhook(1)));
    let again = storage.create_webhook(&webhook(1), b"sealed", None, &change(14, 20)).await;
    assert!(matches!(again, Err(StorageError::Conflict { .. })), "{again:?}");
}

pub async fn a_webhook_is_made_once(storage: &impl Storage) {
    begin(storage).await;
    let kept = answer("once", 7, at(20));
    let first = storage.create_webhook(&webhook(1), b"sealed", Some(&kept), &change(10, 20)).await.unwrap();
    assert_eq!(first, CreateWebhook::Created);
    let second = storage.create_webhook(&webhook(2), b"sealed", Some(&kept), &change(11, 21)).await.unwrap();
    assert!(matches!(second, CreateWebhook::Known(known) if known.request == kept.request));
    assert_eq!(storage.webhook(TENANT, WebhookId::from_bits(2)).await.unwrap(), None);
}

pub async fn a_tenant_has_a_bounded_number_of_webhooks(storage: &impl Storage) {
    begin(storage).await;
    let make = async |number: u128| {
        storage.create_webhook(&webhook(number), b"sealed", None, &change(100 + number, 20)).await.unwrap()
    };
    for number in 1..=WEBHOOKS_MAX.into() {
        assert_eq!(make(number).await, CreateWebhook::Created, "{number}");
    }
    assert_eq!(make(1000).await, CreateWebhook::TooMany);
    assert!(storage.delete_webhook(TENANT, WEBHOOK, &change(2000, 30)).await.unwrap());
    assert_eq!(make(1001).await, CreateWebhook::Created);
    assert_eq!(make(1002).await, CreateWebhook::TooMany);
}

pub async fn webhooks_are_listed_in_pages(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=5 {
        storage.create_webhook(&webhook(number), b"sealed", None, &change(10 + number, 20)).await.unwrap();
    }
    let page = storage.webhooks(TENANT, &PageRequest::newest(2)).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![webhook(5), webhook(4)], true));
    let next = PageRequest { limit: 10, cursor: Some(Cursor::StartingAfter(WebhookId::from_bits(4))) };
    let page = storage.webhooks(TENANT, &next).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![webhook(3), webhook(2), webhook(1)], false));
}

pub async fn what_is_done_to_a_webhook_is_in_the_audit_log(storage: &impl Storage) {
    with_webhook(storage).await;
    let update = WebhookUpdate {
        url: Some("https://other.example/".into()),
        description: Some(String::new()),
        event_types: Some(vec![]),
        enabled: Some(false),
    };
    for number in [20, 21] {
        let after = storage.update_webhook(TENANT, WEBHOOK, &update, &change(number, 30)).await.unwrap().unwrap();
        assert_eq!(after.state, WebhookState::Disabled { reason: DisabledReason::ByOwner, at: at(30) });
        assert_eq!(after.updated_at, at(30));
    }
    storage.rotate_webhook_secret(TENANT, WEBHOOK, b"second", at(50), &change(22, 40)).await.unwrap();
    assert!(storage.delete_webhook(TENANT, WEBHOOK, &change(23, 60)).await.unwrap());
    assert!(!storage.delete_webhook(TENANT, WEBHOOK, &change(24, 60)).await.unwrap());
    let log =
        storage.audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(4)).await.unwrap().items;
    let told: Vec<_> = log.iter().rev().map(|entry| (entry.action, entry.change.at, entry.object.clone())).collect();
    let id = WEBHOOK.to_string();
    assert_eq!(
        told,
        [
            (AuditAction::WebhookCreated, at(20), id.clone()),
            (AuditAction::WebhookUpdated, at(30), id.clone()),
            (AuditAction::WebhookRotated, at(40), id.clone()),
            (AuditAction::WebhookDeleted, at(60), id.clone()),
        ],
        "the second time nothing was different"
    );
    let names = |entry: usize| log[entry].changes.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names(2), ["description", "event_types", "state", "url"]);
    assert_eq!(log[2].changes["state"], ("enabled".into(), "disabled (by_owner)".into()));
    assert_eq!(names(1), ["old_secret_valid_until"]);
    assert_eq!(storage.webhook(TENANT, WEBHOOK).await.unwrap(), None);
}

pub async fn a_secret_is_replaced_with_an_overlap(storage: &impl Storage) {
    with_webhook(storage).await;
    raise(storage, 1).await;
    storage.fan_out(at(30)).await.unwrap();
    let claimed = storage.claim_webhooks(NODE, at(30), 10).await.unwrap().remove(0);
    assert_eq!((claimed.secrets.current.as_slice(), claimed.secrets.old), (&b"sealed"[..], None));

    for (secret, number) in [(b"second", 20), (b"third!", 21)] {
        let after =
            storage.rotate_webhook_secret(TENANT, WEBHOOK, secret, at(50), &change(number, 40)).await.unwrap().unwrap();
        assert_eq!(after.old_secret_valid_until, Some(at(50)));
    }
    let now = storage.claimed_webhook(NODE, WEBHOOK).await.unwrap().unwrap();
    assert_eq!(now.secrets.current, b"third!");
    assert_eq!(now.secrets.old, Some((b"second".to_vec(), at(50))));
    assert!(now.version > claimed.version, "who delivers sees that there is something new");
    let work = storage.webhook_work(NODE, at(30)).await.unwrap();
    assert_eq!(work.claimed[0].version, now.version);
}

pub async fn an_endpoint_that_says_that_it_is_gone_is_disabled(storage: &impl Storage) {
    with_webhook(storage).await;
    storage
        .create_webhook(&Webhook { event_types: vec![], ..webhook(2) }, b"sealed", None, &change(11, 20))
        .await
        .unwrap();
    raise(storage, 1).await;
    storage.fan_out(at(30)).await.unwrap();
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    let delivery = due(storage, WEBHOOK, at(30)).await.remove(0);
    let gone = WebhookReport { gone: true, ..report(&delivery, at(31), Verdict::GivenUp, &change(20, 31)) };
    assert_eq!(storage.keep_attempts(std::slice::from_ref(&gone)).await.unwrap(), [WEBHOOK]);
    let webhook = storage.webhook(TENANT, WEBHOOK).await.unwrap().unwrap();
    assert_eq!(webhook.state, WebhookState::Disabled { reason: DisabledReason::Gone, at: at(31) });
    assert_eq!(webhook.last_failure_at, Some(at(31)));
    assert_eq!(storage.keep_attempts(&[gone]).await.unwrap(), [], "once");

    let entry = storage
        .audit_log(TENANT.organization, &AuditFilter::default(), &PageRequest::newest(1))
        .await
        .unwrap()
        .items
        .remove(0);
    assert_eq!((entry.action, entry.change), (AuditAction::WebhookDisabled, change(20, 31)));
    // The tenant's other endpoint is told.
    storage.fan_out(at(32)).await.unwrap();
    let told = due(storage, WebhookId::from_bits(2), at(32)).await;
    assert_eq!(told.len(), 2);
    assert_eq!(storage.webhook_work(NODE, at(32)).await.unwrap().claimed.len(), 1, "it is nobody's any more");
    let newest = PageRequest::newest(1);
    let page = storage.deliveries(TENANT, WebhookId::from_bits(2), DeliveryFilter::default(), &newest).await;
    assert_eq!(page.unwrap().unwrap().items[0].event_type, EventType::WebhookDisabled);
}

pub async fn an_endpoint_that_fails_for_five_days_is_disabled(storage: &impl Storage) {
    with_webhook(storage).await;
    let five_days_s = FAILING_MAX.as_secs();
    let fails = async |number: u128, second: i64, verdict: Verdict| {
        raise(storage, number).await;
        storage.fan_out(at(second)).await.unwrap();
        storage.claim_webhooks(NODE, at(second), 10).await.unwrap();
        let delivery = due(storage, WEBHOOK, at(second)).await.pop().unwrap();
        let report = report(&delivery, at(second), verdict, &change(100 + number, second));
        storage.keep_attempts(&[report]).await.unwrap();
        storage.webhook(TENANT, WEBHOOK).await.unwrap().unwrap()
    };
    let once = fails(1, 100, Verdict::GivenUp).await;
    assert_eq!((once.failing_since, once.last_failure_at), (Some(at(100)), Some(at(100))));
    let later = fails(2, 100 + five_days_s - 1, Verdict::GivenUp).await;
    assert_eq!((later.failing_since, later.state), (Some(at(100)), WebhookState::Enabled));
    // A success in between: everything begins anew.
    let fine = fails(3, 100 + five_days_s, Verdict::Succeeded).await;
    assert_eq!((fine.failing_since, fine.last_success_at), (None, Some(at(100 + five_days_s))));
    let again = fails(4, 200 + five_days_s, Verdict::GivenUp).await;
    assert_eq!((again.failing_since, again.state), (Some(at(200 + five_days_s)), WebhookState::Enabled));
    let end = 200 + 2 * five_days_s;
    let disabled = fails(5, end, Verdict::Retry(at(end + 5))).await;
    assert_eq!(disabled.state, WebhookState::Disabled { reason: DisabledReason::Failing, at: at(end) });

    // What waited goes on when its owner has repaired it, and it has five days again.
    assert!(!storage.webhook_work(NODE, at(end + 10)).await.unwrap().unclaimed);
    let update = WebhookUpdate { enabled: Some(true), ..WebhookUpdate::default() };
    let enabled = storage.update_webhook(TENANT, WEBHOOK, &update, &change(300, end + 10)).await.unwrap().unwrap();
    assert_eq!((enabled.state, enabled.failing_since), (WebhookState::Enabled, None));
    assert!(storage.webhook_work(NODE, at(end + 10)).await.unwrap().unclaimed);
}

pub async fn a_test_event_goes_to_the_tested_endpoint_alone(storage: &impl Storage) {
    with_webhook(storage).await;
    storage
        .create_webhook(&Webhook { event_types: vec![], ..webhook(2) }, b"sealed", None, &change(11, 20))
        .await
        .unwrap();
    let test = Event { id: EventId::from_bits(50), ..event(EventType::WebhookTest, &WEBHOOK.to_string()) };
    let queued = storage.test_webhook(TENANT, WEBHOOK, &test).await.unwrap();
    let Queued::Queued(delivery) = queued else { panic!("{queued:?}") };
    assert_eq!((delivery.event, delivery.event_type), (test.id, EventType::WebhookTest));
    assert_eq!(storage.fan_out(at(30)).await.unwrap().deliveries, 0);
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    assert_eq!(due(storage, WEBHOOK, at(30)).await.len(), 1);
    assert_eq!(due(storage, WebhookId::from_bits(2), at(30)).await.len(), 0);

    let disable = WebhookUpdate { enabled: Some(false), ..WebhookUpdate::default() };
    storage.update_webhook(TENANT, WEBHOOK, &disable, &change(20, 40)).await.unwrap();
    let second = Event { id: EventId::from_bits(51), ..test };
    assert_eq!(storage.test_webhook(TENANT, WEBHOOK, &second).await.unwrap(), Queued::Disabled);
}

pub async fn endpoints_are_claimed_by_one_node_each(storage: &impl Storage) {
    with_webhook(storage).await;
    for number in 2..=6 {
        storage.create_webhook(&webhook(number), b"sealed", None, &change(10 + number, 20)).await.unwrap();
    }
    raise(storage, 1).await;
    storage.fan_out(at(30)).await.unwrap();
    let other = NodeId::from_bits(2);
    assert_eq!(storage.claim_webhooks(NODE, at(29), 10).await.unwrap(), [], "nothing is due yet");
    let (one, two) =
        futures_util::future::join(storage.claim_webhooks(NODE, at(30), 4), storage.claim_webhooks(other, at(30), 4))
            .await;
    let (one, two) = (one.unwrap(), two.unwrap());
    // Who came second may find what the first one has taken, and comes again.
    let rest = storage.claim_webhooks(other, at(30), 10).await.unwrap();
    let mut all: Vec<WebhookId> = one.iter().chain(&two).chain(&rest).map(|claimed| claimed.webhook.id).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=6).map(WebhookId::from_bits).collect::<Vec<_>>());
    let mine = storage.webhook_work(NODE, at(30)).await.unwrap().claimed;
    assert_eq!(mine.len(), one.len());

    // A node that is away loses what it has; one that gives back, too.
    let ids: Vec<WebhookId> = mine.iter().map(|state| state.id).collect();
    storage.release_webhooks(NODE, &ids[..1]).await.unwrap();
    storage.release_webhooks(other, &ids[1..]).await.unwrap();
    assert_eq!(storage.webhook_work(NODE, at(30)).await.unwrap().claimed.len(), ids.len() - 1);
    let released = storage.release_webhooks_of_others(other, std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(released, ids.len() as u64 - 1);
    assert_eq!(storage.claim_webhooks(other, at(30), 10).await.unwrap().len(), ids.len());
}

/// An endpoint to which the creation of session 500 has been delivered.
pub(super) async fn fill(storage: &impl Storage) {
    while storage.fan_out(at(20)).await.unwrap().events > 0 {}
    storage.create_webhook(&webhook(1), b"sealed", None, &change(1_000, 20)).await.unwrap();
    raise(storage, 500).await;
    storage.fan_out(at(30)).await.unwrap();
    storage.claim_webhooks(NODE, at(30), 10).await.unwrap();
    let delivery = due(storage, WEBHOOK, at(30)).await.remove(0);
    storage.keep_attempts(&[report(&delivery, at(31), Verdict::Succeeded, &change(1_001, 31))]).await.unwrap();
}
