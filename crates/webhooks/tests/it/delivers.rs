//! The usual: events reach who wants them, once, signed; what fails comes again.

use kallglot_core::clock::Clock as _;
use kallglot_core::delivery::{AttemptError, DeliveryStatus, DisabledReason, WebhookState};
use kallglot_core::webhook::{verify_kallglot, verify_standard};
use kallglot_storage::{Queued, WebhookUpdate};
use kallglot_testkit::{Behaviour, FakeReceiver, TestServer, soon};

use crate::world::{World, hasty};

#[tokio::test]
async fn an_event_is_delivered_with_both_signatures() {
    let world = World::on(TestServer::start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (id, secret) = world.endpoint(&receiver.url()).await;
    let session = world.session().await;

    let received = receiver.until(1).await;
    // The organization's key is made in the same environment, before the session.
    let one = received.iter().find(|it| it.body.contains("session.created"));
    let one = match one {
        Some(one) => one.clone(),
        None => receiver.until(2).await.pop().unwrap(),
    };
    assert_eq!(one.line, "POST /hooks");
    assert_eq!(one.headers["content-type"], "application/json");
    assert_eq!(one.headers["host"], receiver.address.to_string());
    let body: serde_json::Value = serde_json::from_str(&one.body).unwrap();
    assert_eq!(body["data"]["session_id"], session);
    assert_eq!(one.headers["webhook-id"], body["id"]);
    let now = world.server.clock.now();
    verify_kallglot(&secret, &one.headers["kallglot-signature"], one.body.as_bytes(), now).unwrap();
    let [id_header, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| one.headers[name].as_str());
    verify_standard(&secret, id_header, timestamp, signature, one.body.as_bytes(), now).unwrap();

    world.all_succeed(id, 2).await;
    let webhook = world.webhook(id).await;
    assert!(webhook.last_success_at.is_some() && webhook.failing_since.is_none());
    world.server.finish().await;
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_sign() {
    let world = World::on(TestServer::start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (id, old) = world.endpoint(&receiver.url()).await;
    world.test(id).await;
    receiver.until(1).await;

    let app = &world.server.app;
    let new = kallglot_core::webhook::WebhookSecret::new(app.random.as_ref());
    let sealed = app.webhooks.seal(id, &new, app.random.as_ref());
    let until = world.server.clock.now() + jiff::SignedDuration::from_secs(60);
    app.storage.rotate_webhook_secret(world.tenant, id, &sealed, until, &world.change()).await.unwrap();
    let proven = |secret: &_, received: &kallglot_testkit::Received| {
        let header = &received.headers["kallglot-signature"];
        verify_kallglot(secret, header, received.body.as_bytes(), world.server.clock.now()).is_ok()
    };
    world.test(id).await;
    let second = receiver.until(2).await.pop().unwrap();
    assert!(proven(&old, &second) && proven(&new, &second), "both");
    world.pass(61);
    world.test(id).await;
    let third = receiver.until(3).await.pop().unwrap();
    assert!(!proven(&old, &third) && proven(&new, &third), "the old one's time is over");
    world.server.finish().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_until_it_is_accepted() {
    let world = World::on(TestServer::start().await).await;
    let receiver = FakeReceiver::start(Behaviour::Answers(500, vec!["X-Why: broken".into()], "sorry".into())).await;
    let (id, _) = world.endpoint(&receiver.url()).await;
    let delivery = world.test(id).await;
    let log = world.attempts(&delivery, 1).await;
    let attempt = &log.attempts[0];
    assert_eq!((attempt.status, attempt.error), (Some(500), Some(AttemptError::Status)));
    assert!(attempt.answer_headers.contains("x-why: broken"), "{}", attempt.answer_headers);
    assert_eq!(attempt.answer_body, "sorry");
    assert_eq!(log.delivery.status, DeliveryStatus::Pending);
    let wait = log.delivery.next_attempt_at.unwrap().duration_since(world.server.clock.now());
    assert!((4..=6).contains(&wait.as_secs()), "{wait:?}");
    assert!(world.webhook(id).await.failing_since.is_some());

    receiver.behave(Behaviour::ok());
    world.pass(7);
    world.all_succeed(id, 1).await;
    assert_eq!(world.log(&delivery).await.attempts.len(), 2);
    let [first, second] = receiver.received().try_into().unwrap();
    assert_eq!(
        (first.body, &first.headers["webhook-id"]),
        (second.body, &second.headers["webhook-id"]),
        "the same event"
    );
    world.server.finish().await;
}

#[tokio::test]
async fn an_endpoint_can_ask_to_be_left_alone_for_a_while() {
    let world = World::on(TestServer::start().await).await;
    let busy = Behaviour::Answers(429, vec!["Retry-After: 120".into()], String::new());
    let receiver = FakeReceiver::start(busy).await;
    let (id, _) = world.endpoint(&receiver.url()).await;
    let delivery = world.test(id).await;
    let log = world.attempts(&delivery, 1).await;
    let wait = log.delivery.next_attempt_at.unwrap().duration_since(world.server.clock.now());
    assert!((119..=120).contains(&wait.as_secs()), "{wait:?}");
    world.server.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_the_others_are_told() {
    let world = World::on(TestServer::start().await).await;
    let gone = FakeReceiver::start(Behaviour::status(410)).await;
    let other = FakeReceiver::start(Behaviour::ok()).await;
    let (id, _) = world.endpoint(&gone.url()).await;
    world.endpoint(&other.url()).await;
    world.test(id).await;
    let told = other.until(1).await.pop().unwrap();
    let body: serde_json::Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(body["type"], "webhook.disabled");
    assert_eq!(body["data"]["webhook"]["id"], id.to_string());
    assert_eq!(body["data"]["webhook"]["reason"], "gone");
    let state = world.webhook(id).await.state;
    assert!(matches!(state, WebhookState::Disabled { reason: DisabledReason::Gone, .. }));
    world.server.finish().await;
}

#[tokio::test]
async fn a_delivery_is_made_again_when_asked() {
    let world = World::on(TestServer::start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (id, _) = world.endpoint(&receiver.url()).await;
    let delivery = world.test(id).await;
    world.attempts(&delivery, 1).await;
    let now = world.server.clock.now();
    let queued = world.server.app.storage.redeliver(world.tenant, id, delivery.id, now).await.unwrap();
    assert!(matches!(queued, Queued::Queued(_)));
    world.attempts(&delivery, 2).await;
    assert_eq!(receiver.received().len(), 2);
    world.server.finish().await;
}

#[tokio::test]
async fn what_was_pending_goes_on_when_an_endpoint_is_enabled_again() {
    let world = World::on(TestServer::start().await).await;
    let receiver = FakeReceiver::start(Behaviour::status(500)).await;
    let (id, _) = world.endpoint(&receiver.url()).await;
    let delivery = world.test(id).await;
    world.attempts(&delivery, 1).await;
    let storage = &world.server.app.storage;
    let enabled = |enabled| WebhookUpdate { enabled: Some(enabled), ..WebhookUpdate::default() };
    storage.update_webhook(world.tenant, id, &enabled(false), &world.change()).await.unwrap();
    world.session().await;
    world.pass(60);
    receiver.behave(Behaviour::ok());
    storage.update_webhook(world.tenant, id, &enabled(true), &world.change()).await.unwrap();
    world.all_succeed(id, 1).await;
    assert_eq!(world.deliveries(id).await.len(), 1, "what happened while it was disabled is not for it");
    world.server.finish().await;
}

#[tokio::test]
async fn a_changed_url_is_used_from_then_on() {
    let world = World::on(TestServer::start().await).await;
    let [old, new] = [FakeReceiver::start(Behaviour::status(500)).await, FakeReceiver::start(Behaviour::ok()).await];
    let (id, _) = world.endpoint(&old.url()).await;
    let delivery = world.test(id).await;
    world.attempts(&delivery, 1).await;
    let update = WebhookUpdate { url: Some(new.url()), ..WebhookUpdate::default() };
    world.server.app.storage.update_webhook(world.tenant, id, &update, &world.change()).await.unwrap();
    world.pass(7);
    new.until(1).await;
    let log = world.attempts(&delivery, 2).await;
    assert_eq!(log.attempts.iter().map(|it| it.url.clone()).collect::<Vec<_>>(), [old.url(), new.url()]);
    world.server.finish().await;
}

#[tokio::test]
async fn one_that_hangs_takes_nothing_from_the_others() {
    let world = World::on(hasty().start().await).await;
    let hanging = FakeReceiver::start(Behaviour::Hangs).await;
    let healthy = FakeReceiver::start(Behaviour::ok()).await;
    let (bad, _) = world.endpoint(&hanging.url()).await;
    let (good, _) = world.endpoint(&healthy.url()).await;
    for _ in 0..300 {
        world.test(bad).await;
    }
    for number in 1..=100 {
        world.test(good).await;
        if number % 20 == 0 {
            healthy.until(number).await;
        }
    }
    world.all_succeed(good, 100).await;
    let tried = hanging.received().len();
    assert!(tried < 100, "{tried} of 300 were tried at the one that hangs");
    world.server.finish().await;
}

#[tokio::test]
async fn connections_are_used_again_and_what_is_under_way_ends_with_the_server() {
    let world = World::on(TestServer::start().await).await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (id, _) = world.endpoint(&receiver.url()).await;
    for number in 1..=20 {
        world.test(id).await;
        receiver.until(number).await;
        world.all_succeed(id, number).await;
    }
    assert!(receiver.connections() <= 4, "{} connections for 20 requests", receiver.connections());

    receiver.behave(Behaviour::Slow(std::time::Duration::from_millis(300)));
    let last = world.test(id).await;
    receiver.until(21).await;
    let World { server, tenant, organization } = world;
    let server = server.restart().await;
    let world = World { server, tenant, organization };
    let log = world.log(&last).await;
    assert_eq!((log.delivery.status, log.attempts.len()), (DeliveryStatus::Succeeded, 1));
    soon("the server stops", world.server.finish()).await;
}
