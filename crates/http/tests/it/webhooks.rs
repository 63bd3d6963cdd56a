//! Webhook endpoints by API (contract section 13): made, changed, rotated, tested, deleted; and what was delivered.

use kallglot_core::Timestamp;
use kallglot_core::session::Environment;
use kallglot_core::webhook::{Unproven, WebhookSecret, verify_kallglot, verify_standard};
use kallglot_testkit::client::{Body, Client, ClientError, NewWebhook, Webhook, WebhookDelivery};
use kallglot_testkit::{Behaviour, FakeReceiver, Received, TestServer, soon};
use serde_json::{Value, json};

fn at(url: &str) -> NewWebhook {
    NewWebhook { url: url.into(), ..NewWebhook::default() }
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
fn secret(webhook: &Webhook) -> WebhookSecret {
    WebhookSecret::parse(webhook.secret.as_ref().unwrap().reveal()).unwrap()
}

/// What the receiver's own code would say of what it got.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
fn verified(received: &Received, secret: &WebhookSecret) -> Result<(), Unproven> {
    let header = |name: &str| received.headers.get(name).unwrap().as_str();
    let now = Timestamp::from_second(header("webhook-timestamp").parse().unwrap()).unwrap();
    let (id, time, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    verify_standard(secret, id, time, signature, received.body.as_bytes(), now)?;
    verify_kallglot(secret, header("kallglot-signature"), received.body.as_bytes(), now)
}

/// Waits until a delivery stands so.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn until(api: &Client, webhook: &str, delivery: &str, status: &str) -> WebhookDelivery {
    soon(&format!("the delivery is {status}"), async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            look.tick().await;
            let found = api.webhook_delivery(webhook, delivery).await.unwrap();
            if found.status == status {
                return found;
            }
        }
    })
    .await
}

/// A server, and a client whose test key has no limit that a test would meet.
async fn begin() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let owner = server
        .organization_with(100, |organization| organization.overrides.requests_per_minute_max = Some(100_000))
        .await;
    let api = server.client(&owner, Environment::Test).await;
    (server, api)
}

#[tokio::test]
async fn a_test_event_is_delivered_signed_and_its_log_says_how() {
    let (server, api) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let webhook = api.create_webhook(&at(&receiver.url())).await.unwrap();
    assert_eq!((webhook.status.as_str(), webhook.events.as_slice()), ("enabled", &["*".to_owned()][..]));
    assert!(api.webhook(&webhook.id).await.unwrap().secret.is_none(), "it is shown once");

    let queued = api.test_webhook(&webhook.id, "session.ended").await.unwrap();
    assert_eq!((queued.event_type.as_str(), queued.status.as_str()), ("session.ended", "pending"));
    let received = receiver.until(1).await.remove(0);
    assert_eq!(verified(&received, &secret(&webhook)), Ok(()));
    let tampered = Received { body: received.body.replace("ended", "ENDED"), ..received.clone() };
    assert_eq!(verified(&tampered, &secret(&webhook)), Err(Unproven::Signature));
    let event: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!((&event["type"], &event["data"]["sequence"]), (&json!("session.ended"), &json!(1)));
    assert_eq!(event["data"]["session"]["status"], "ended");

    let log = until(&api, &webhook.id, &queued.id, "succeeded").await;
    assert_eq!((log.request_body.as_deref(), log.attempt_count), (Some(received.body.as_str()), 1));
    let attempt = &log.attempts[0];
    assert_eq!(attempt["request"]["headers"]["webhook-id"], received.headers["webhook-id"].as_str());
    assert_eq!(attempt["request"]["headers"]["webhook-timestamp"], received.headers["webhook-timestamp"].as_str());
    assert_eq!((&attempt["response"]["status"], &attempt["error"]), (&json!(200), &Value::Null));
    assert!(!serde_json::to_string(&log.attempts).unwrap().contains("v1,"), "nobody can read a signature there");

    api.redeliver_webhook(&webhook.id, &queued.id).await.unwrap();
    let again = receiver.until(2).await.remove(1);
    assert_eq!((&again.body, &again.headers["webhook-id"]), (&received.body, &received.headers["webhook-id"]));
    let page = api.webhook_deliveries(&webhook.id, &format!("?event_id={}", queued.event_id)).await.unwrap();
    assert_eq!(page.data.len(), 1);
    server.finish().await;
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_sign() {
    let (server, api) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let old = api.create_webhook(&at(&receiver.url())).await.unwrap();
    let new = api.rotate_webhook_secret(&old.id, 60).await.unwrap();
    api.test_webhook(&old.id, "webhook.test").await.unwrap();
    let received = receiver.until(1).await.remove(0);
    for webhook in [&old, &new] {
        assert_eq!(verified(&received, &secret(webhook)), Ok(()));
    }
    // At once: from now on only the newest signs.
    let newest = api.rotate_webhook_secret(&old.id, 0).await.unwrap();
    api.test_webhook(&old.id, "webhook.test").await.unwrap();
    let received = receiver.until(2).await.remove(1);
    assert_eq!(verified(&received, &secret(&newest)), Ok(()));
    for webhook in [&old, &new] {
        assert_eq!(verified(&received, &secret(webhook)), Err(Unproven::Signature));
    }
    let answer =
        api.post(&format!("/v1/webhooks/{}/rotate_secret", old.id), json!({ "overlap_seconds": 604_801 })).await;
    assert_eq!(answer.unwrap().json()["error"]["param"], "overlap_seconds");
    server.finish().await;
}

#[tokio::test]
async fn an_endpoint_gets_the_events_it_wants_and_nobody_elses() {
    let (server, api) = begin().await;
    let [all, ends, other] = [
        FakeReceiver::start(Behaviour::ok()).await,
        FakeReceiver::start(Behaviour::ok()).await,
        FakeReceiver::start(Behaviour::ok()).await,
    ];
    api.create_webhook(&at(&all.url())).await.unwrap();
    let wanted = NewWebhook { events: Some(vec!["session.ended".into()]), ..at(&ends.url()) };
    let webhook = api.create_webhook(&wanted).await.unwrap();
    let strangers = server.client(&server.organization().await, Environment::Test).await;
    let theirs = strangers.create_webhook(&at(&other.url())).await.unwrap();

    let session = api.post("/v1/sessions", json!({ "mode": "bidirectional_translation" })).await.unwrap().json();
    let id = session["id"].as_str().unwrap();
    assert_eq!(api.post(&format!("/v1/sessions/{id}/end"), json!({})).await.unwrap().status, 200);
    let types = |received: Vec<Received>| -> Vec<String> {
        let body =
            |one: &Received| serde_json::from_str::<Value>(&one.body).unwrap()["type"].as_str().unwrap().to_owned();
        let mut types: Vec<_> = received.iter().map(body).collect();
        types.sort();
        types
    };
    assert_eq!(types(all.until(2).await), ["session.created", "session.ended"]);
    assert_eq!(types(ends.until(1).await), ["session.ended"]);
    // What is tested reaches the endpoint that is tested; so all that could have come to others has.
    let test = api.test_webhook(&webhook.id, "session.created").await.unwrap();
    until(&api, &webhook.id, &test.id, "succeeded").await;
    strangers.test_webhook(&theirs.id, "webhook.test").await.unwrap();
    assert_eq!(types(other.until(1).await), ["webhook.test"]);
    assert_eq!(all.received().len(), 2);
    server.finish().await;
}

#[tokio::test]
async fn what_an_endpoint_may_be_is_said() {
    let (server, api) = begin().await;
    let refused = async |body: Value| {
        let answer = api.post("/v1/webhooks", body).await.unwrap();
        (answer.status, answer.json()["error"]["param"].as_str().unwrap_or_default().to_owned(), answer.text())
    };
    let url = "https://example.com/hooks";
    for (body, param) in [
        (json!({}), "url"),
        (json!({ "url": "example.com" }), "url"),
        (json!({ "url": "https://10.0.0.1/" }), "url"),
        (json!({ "url": "https://[::ffff:169.254.169.254]/latest" }), "url"),
        (json!({ "url": "https://me:word@example.com/" }), "url"),
        (json!({ "url": url, "events": ["session.finished"] }), "events[0]"),
        (json!({ "url": url, "events": ["session.ended", "*"] }), "events[1]"),
        (json!({ "url": url, "events": ["webhook.test"] }), "events[0]"),
        (json!({ "url": url, "events": "session.ended" }), "events"),
        (json!({ "url": url, "description": "" }), "description"),
        (json!({ "url": url, "secret": "whsec_x" }), "secret"),
    ] {
        let (status, named, text) = refused(body.clone()).await;
        assert_eq!((status, named.as_str()), (422, param), "{body}: {text}");
    }
    let (_, _, text) = refused(json!({ "url": url, "events": ["session.finished"] })).await;
    assert!(text.contains("`session.ended`"), "it says what there is: {text}");
    let live = server.client(&server.organization().await, Environment::Live).await;
    let answer = live.create_webhook(&at("http://127.0.0.1:1/")).await;
    assert!(
        matches!(answer, Err(ClientError::Refused(error)) if error.param.as_deref() == Some("url")),
        "live is https"
    );
    server.finish().await;
}

#[tokio::test]
async fn an_endpoint_is_changed_disabled_and_deleted() {
    let (server, api) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let webhook = api.create_webhook(&at(&receiver.url())).await.unwrap();
    let id = webhook.id.as_str();
    let changed = api
        .update_webhook(id, json!({ "events": ["session.ended", "session.ended"], "description": "Archive" }))
        .await
        .unwrap();
    assert_eq!(
        (changed.events.as_slice(), changed.description.as_deref()),
        (&["session.ended".to_owned()][..], Some("Archive"))
    );
    let changed = api.update_webhook(id, json!({ "description": null, "enabled": false })).await.unwrap();
    assert_eq!((changed.status.as_str(), changed.description, changed.events.len()), ("disabled", None, 1));
    let refused = api.test_webhook(id, "webhook.test").await;
    assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == "validation_failed"));
    assert_eq!(api.update_webhook(id, json!({ "enabled": true, "events": ["*"] })).await.unwrap().status, "enabled");
    let delivery = api.test_webhook(id, "webhook.test").await.unwrap();
    receiver.until(1).await;

    assert_eq!(api.webhooks("?limit=1").await.unwrap().data[0].id, id);
    api.delete_webhook(id).await.unwrap();
    for path in [format!("/v1/webhooks/{id}"), format!("/v1/webhooks/{id}/deliveries/{}", delivery.id)] {
        assert_eq!(api.get(&path).await.unwrap().error_code().as_deref(), Some("webhook_not_found"), "{path}");
    }
    assert!(api.webhooks("").await.unwrap().data.is_empty());
    server.finish().await;
}

#[tokio::test]
async fn an_endpoint_is_made_once_whatever_is_repeated() {
    let (server, api) = begin().await;
    let body = json!({ "url": "http://127.0.0.1:1/hooks" });
    let create = async |body: &Value| {
        let headers = [("idempotency-key", "endpoint-1")];
        api.request("POST", "/v1/webhooks", &headers, Body::Json(body.clone())).await.unwrap()
    };
    let first = create(&body).await;
    let again = create(&body).await;
    assert_eq!((first.status, &first.body), (201, &again.body), "the secret too, for a day");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(api.webhooks("").await.unwrap().data.len(), 1);
    let other = create(&json!({ "url": "http://127.0.0.1:1/others" })).await;
    assert_eq!(other.error_code().as_deref(), Some("idempotency_mismatch"));
    server.finish().await;
}

#[tokio::test]
async fn deliveries_are_listed_in_pages_by_how_they_stand() {
    let (server, api) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::status(500)).await;
    let webhook = api.create_webhook(&at(&receiver.url())).await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(api.test_webhook(&webhook.id, "webhook.test").await.unwrap().id);
    }
    receiver.until(3).await;
    sent.sort();
    sent.reverse();
    let ids = async |query: &str| -> Vec<String> {
        let page = api.webhook_deliveries(&webhook.id, query).await.unwrap();
        page.data.into_iter().map(|delivery| delivery.id).collect()
    };
    assert_eq!(ids("").await, sent);
    assert_eq!(ids("?limit=2").await, sent[..2]);
    assert_eq!(ids(&format!("?starting_after={}", sent[0])).await, sent[1..]);
    assert_eq!(ids("?status=pending").await, sent, "they are tried again");
    assert_eq!(ids("?status=succeeded").await, Vec::<String>::new());
    let answer = api.get(&format!("/v1/webhooks/{}/deliveries?status=lost", webhook.id)).await.unwrap();
    assert_eq!(answer.json()["error"]["param"], "status");
    server.finish().await;
}
