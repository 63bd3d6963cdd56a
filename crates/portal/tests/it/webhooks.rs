//! Webhook endpoints at the portal.

use kallglot_core::person::Role;
use kallglot_testkit::{Behaviour, FakeReceiver, Team, TestServer, Visitor, soon};

/// A server, an organization, and a developer of it who has just confirmed who they are.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn begin() -> (TestServer, Team, Visitor) {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut developer = server.member(&team, Role::Developer).await;
    server.confirm(&developer).await;
    developer.get(&team.at("test", "/webhooks")).await;
    (server, team, developer)
}

/// Adds an endpoint: the path of its page, and its secret.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn add(team: &Team, developer: &mut Visitor, url: &str) -> (String, String) {
    let fields = [("url", url), ("description", "Our <b>test</b> receiver"), ("which", "all")];
    let page = developer.post(&team.at("test", "/webhooks/new"), &fields).await;
    assert_eq!(page.status, 200, "{}", page.html);
    let secret = page.text_of("secret").unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let (_, rest) = page.html.split_once(&team.at("test", "/webhooks/wh")).unwrap();
    let path = format!("{}{}", team.at("test", "/webhooks/wh"), rest.split('"').next().unwrap());
    (path, secret)
}

/// Opens a page until it has this.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn until(visitor: &mut Visitor, path: &str, html: &str) -> kallglot_testkit::Sight {
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
    soon(html, async {
        loop {
            let page = visitor.get(path).await;
            if page.has(html) {
                return page;
            }
            pause.tick().await;
        }
    })
    .await
}

#[tokio::test]
async fn an_endpoint_is_added_and_its_secret_shown_once() {
    let (server, team, mut developer) = begin().await;
    let empty = developer.get(&team.at("test", "/webhooks")).await;
    assert!(empty.has("There are no endpoints yet."), "{}", empty.html);
    let form = developer.get(&team.at("test", "/webhooks/new")).await;
    assert!(form.has("session.created") && form.has("A session was created."), "events are explained");
    assert!(!form.has("value=\"webhook.test\""), "nobody asks for test events");

    let (path, secret) = add(&team, &mut developer, "http://127.0.0.1:9/events").await;
    let page = developer.get(&path).await;
    assert!(page.has("http://127.0.0.1:9/events") && page.has("All events"), "{}", page.html);
    assert!(page.has("Our &lt;b&gt;test&lt;/b&gt; receiver"), "what people type is text");
    for path in [path.as_str(), &team.at("test", "/webhooks"), &format!("{path}/edit"), &format!("{path}/rotate")] {
        let page = developer.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.has("whsec_") && !page.has(&secret), "{path} has a secret");
    }
    // The environment is part of what it is.
    assert!(!developer.get(&team.at("live", "/webhooks")).await.has("127.0.0.1:9"));
    assert_eq!(developer.get(&path.replace("/test/", "/live/")).await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn a_form_that_is_wrong_comes_back_with_what_was_typed_and_what_to_do() {
    let (server, team, mut developer) = begin().await;
    let new = team.at("test", "/webhooks/new");
    for (fields, message) in [
        (&[("url", ""), ("which", "all")][..], "Say where the events go"),
        (&[("url", "ftp://example.com"), ("which", "all")], "must start with https://"),
        (&[("url", "https://10.0.0.1/"), ("which", "all")], "must be reachable in the public internet"),
        (&[("url", "https://example.com/x"), ("which", "some")], "Choose one event at least"),
        (&[("url", "https://example.com/x"), ("which", "some"), ("event", "no.such")], "Choose one event at least"),
    ] {
        let page = developer.post(&new, fields).await;
        assert_eq!(page.status, 422, "{fields:?}");
        assert!(page.has(message), "{fields:?}: {}", page.html);
        assert!(page.has(&format!("value=\"{}\"", fields[0].1)), "what was typed stays");
        assert!(page.has("aria-invalid=\"true\"") || page.has("id=\"event-wrong\""), "the field is marked");
    }
    assert!(developer.get(&team.at("test", "/webhooks")).await.has("There are no endpoints yet."));
    server.finish().await;
}

#[tokio::test]
async fn an_endpoint_is_edited_switched_off_and_on_and_deleted() {
    let (server, team, mut developer) = begin().await;
    let (path, _) = add(&team, &mut developer, "http://127.0.0.1:9/events").await;
    let fields = [
        ("url", "http://127.0.0.1:9/other"),
        ("which", "some"),
        ("event", "session.created"),
        ("event", "session.ended"),
    ];
    let page = developer.post_and_follow(&format!("{path}/edit"), &fields).await;
    assert!(page.has("Saved.") && page.has("http://127.0.0.1:9/other"), "{}", page.html);
    assert!(page.has("session.ended") && !page.has("All events"), "{}", page.html);
    assert!(!page.has("test receiver"), "a description that was emptied is gone");

    let off = developer.post_and_follow(&format!("{path}/disable"), &[]).await;
    assert!(off.has("Switched off since") && off.has("somebody of the organization wanted it"), "{}", off.html);
    assert!(!off.has("Send a test event<"), "nothing is sent to it");
    let refused = developer.post(&format!("{path}/test"), &[("type", "webhook.test")]).await;
    assert_eq!(refused.status, 422);
    assert!(refused.has("Enable it first"), "{}", refused.html);
    let on = developer.post_and_follow(&format!("{path}/enable"), &[]).await;
    assert!(!on.has("Switched off since"), "{}", on.html);

    let ask = developer.get(&format!("{path}/delete")).await;
    assert!(ask.has("can&#39;t be taken back") || ask.has("can't be taken back"), "{}", ask.html);
    let list = developer.post_and_follow(&format!("{path}/delete"), &[]).await;
    assert!(list.has("Deleted.") && list.has("There are no endpoints yet."), "{}", list.html);
    assert_eq!(developer.get(&path).await.status, 404);

    // The audit log knows who.
    let filter = kallglot_storage::AuditFilter::default();
    let newest = kallglot_storage::PageRequest::newest(10);
    let log = server.app.storage.audit_log(team.id, &filter, &newest).await.unwrap();
    let person = developer.person.unwrap();
    let by = log.items.iter().filter(|entry| entry.change.who == kallglot_core::audit::Who::Person(person)).count();
    assert!(by >= 4, "added, edited, switched twice, deleted: {log:?}");
    server.finish().await;
}

#[tokio::test]
async fn a_secret_is_rotated_while_the_old_one_signs_too() {
    let (server, team, mut developer) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (path, old) = add(&team, &mut developer, &receiver.url()).await;
    assert!(developer.get(&format!("{path}/rotate")).await.has("How long the old secret signs too"));
    let bad = developer.post(&format!("{path}/rotate"), &[("overlap", "31536000")]).await;
    assert_eq!(bad.status, 400, "not longer than what is offered");
    let page = developer.post(&format!("{path}/rotate"), &[("overlap", "86400")]).await;
    let new = page.text_of("secret").unwrap().to_owned();
    assert!(new.starts_with("whsec_") && new != old, "{new}");
    assert!(developer.get(&path).await.has("Signs too until"));

    let delivery = developer.post_and_follow(&format!("{path}/test"), &[("type", "session.created")]).await;
    assert_eq!(delivery.status, 200);
    let received = receiver.until(1).await.remove(0);
    let header = received.headers.iter().find(|(name, _)| *name == "kallglot-signature").unwrap().1;
    for secret in [&old, &new] {
        let secret = kallglot_core::webhook::WebhookSecret::parse(secret).unwrap();
        let now = server.app.clock.now();
        kallglot_core::webhook::verify_kallglot(&secret, header, received.body.as_bytes(), now).unwrap();
    }
    server.finish().await;
}

#[tokio::test]
async fn a_delivery_shows_each_attempt_and_is_sent_again() {
    let (server, team, mut developer) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::status(500)).await;
    let (path, secret) = add(&team, &mut developer, &receiver.url()).await;
    let sent = developer.post(&format!("{path}/test"), &[("type", "transcript.segment")]).await;
    let delivery = sent.location().unwrap().to_owned();
    let page = until(&mut developer, &delivery, "Refused").await;
    assert!(page.has("with status 500") && page.has("Pending"), "{}", page.html);
    assert!(page.has("Something was said, and will not change any more."), "{}", page.html);
    assert!(page.has("días"), "the event itself is there");
    assert!(
        page.has("webhook-timestamp: ") && !page.has(&secret) && !page.has("v1,"),
        "how it was sent, but no signature"
    );

    receiver.behave(Behaviour::ok());
    let again = developer.post_and_follow(&format!("{delivery}/redeliver"), &[]).await;
    assert!(again.has("Sent."), "{}", again.html);
    let page = until(&mut developer, &delivery, "Attempt 2").await;
    assert!(page.has("Accepted"), "{}", page.html);
    assert_eq!(receiver.until(2).await.len(), 2);

    let list = developer.get(&path).await;
    assert!(list.has(&delivery) && list.has("transcript.segment"), "{}", list.html);
    assert!(developer.get(&format!("{path}?status=succeeded")).await.has(&delivery));
    assert!(developer.get(&format!("{path}?status=failed")).await.has("There is no such delivery."));
    assert_eq!(developer.get(&format!("{path}?status=odd")).await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn deliveries_are_paged() {
    let (server, team, mut developer) = begin().await;
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let (path, _) = add(&team, &mut developer, &receiver.url()).await;
    for _ in 0..30 {
        server.clock.advance(jiff::SignedDuration::from_millis(5));
        assert_eq!(developer.post(&format!("{path}/test"), &[("type", "webhook.test")]).await.status, 303);
    }
    let rows = |page: &kallglot_testkit::Sight| page.html.matches("/deliveries/").count();
    let first = developer.get(&path).await;
    assert_eq!(rows(&first), 25);
    let link = |page: &kallglot_testkit::Sight, rel: &str| {
        let tag = page.html.split("<a ").find(|tag| tag.contains(&format!("rel=\"{rel}\"")))?.to_owned();
        let (_, rest) = tag.split_once("href=\"")?;
        Some(rest.split('"').next()?.replace("&amp;", "&"))
    };
    assert_eq!(link(&first, "prev"), None);
    let second = developer.get(&link(&first, "next").unwrap()).await;
    assert_eq!((rows(&second), link(&second, "next")), (5, None));
    let back = developer.get(&link(&second, "prev").unwrap()).await;
    assert_eq!((rows(&back), link(&back, "prev")), (25, None));
    assert_eq!(developer.get(&format!("{path}?after=nonsense")).await.status, 404);
    receiver.until(30).await;
    server.finish().await;
}

#[tokio::test]
async fn who_only_reads_sees_endpoints_but_no_buttons() {
    let (server, team, mut developer) = begin().await;
    let (path, _) = add(&team, &mut developer, "http://127.0.0.1:9/events").await;
    let mut reader = server.member(&team, Role::ReadOnly).await;
    let page = reader.get(&path).await;
    assert_eq!(page.status, 200);
    for button in ["/rotate", "/delete", "/disable", "/test", "/edit"] {
        assert!(!page.has(&format!("{path}{button}\"")), "{button}");
    }
    assert!(!reader.get(&team.at("test", "/webhooks")).await.has("Add an endpoint"));
    server.finish().await;
}
