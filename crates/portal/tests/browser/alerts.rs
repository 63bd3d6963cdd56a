//! An alert that fires: made in the browser, raised by what a client does, seen in the portal and told to a webhook.

use jiff::SignedDuration;
use kallglot_browser::{Browser, Setup};
use kallglot_client::NewWebhook;
use kallglot_core::person::Role;
use kallglot_core::session::Environment;
use kallglot_testkit::{Behaviour, FakeReceiver, TestServer, soon};

use crate::example::{address, sign_in};

#[tokio::test]
async fn an_alert_fires_and_is_seen_in_the_portal_and_told_to_a_webhook() {
    let server = TestServer::start().await;
    let team = server.team("Harbour Clinic").await;
    let developer = server.member(&team, Role::Developer).await;
    let (_, secret) = server.key_with(&team.organization(), Environment::Test, |_| {}).await;
    let api = server.client_with(&secret);
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    api.create_webhook(&NewWebhook { url: receiver.url(), ..NewWebhook::default() }).await.unwrap();
    for _ in 0..4 {
        assert_eq!(api.post("/v1/sessions", serde_json::json!({ "mode": "telepathy" })).await.unwrap().status, 422);
    }
    server.app.store_what_waits().await.unwrap();
    server.clock.advance(SignedDuration::from_mins(2));
    let mut browser = Browser::start(Setup::default()).await;
    sign_in(&mut browser, &server, &developer).await;

    browser.open(&address(&server, &team.at("test", "/alerts/new"))).await;
    browser.fill("Name", "Many refusals").await;
    browser.choose("Watch", "Requests with an error (a number)").await;
    browser.choose("Fire when it is", "more than").await;
    browser.fill("Threshold", "2").await;
    browser.fill("Over the last minutes", "15").await;
    browser.press("Make the rule").await;
    browser.see("Many refusals").await;

    // The server looks at a new rule by itself too.
    server.app.look_at_alerts().await.unwrap();
    soon("it fires", async {
        browser.open(&address(&server, &team.at("test", "/alerts"))).await;
        while !browser.text().await.contains("Firing") {
            browser.reload().await;
        }
    })
    .await;

    let told = soon("the webhook is told", async {
        loop {
            let received = receiver.until(1).await;
            if let Some(told) = received.into_iter().find(|one| one.body.contains("alert.fired")) {
                return told;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(told.await.body.contains("Many refusals"));
    browser.close().await;
    server.finish().await;
}
