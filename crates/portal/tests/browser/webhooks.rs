//! A webhook that failed is looked at and sent again.

use kallglot_browser::{Browser, Setup};
use kallglot_core::person::Role;
use kallglot_testkit::{Behaviour, FakeReceiver, TestServer};

use crate::example::{address, sign_in};

#[tokio::test]
async fn a_delivery_that_was_refused_is_sent_again_and_accepted() {
    let server = TestServer::start().await;
    let team = server.team("Harbour Clinic").await;
    let developer = server.member(&team, Role::Developer).await;
    server.confirm(&developer).await;
    let receiver = FakeReceiver::start(Behaviour::status(500)).await;
    let mut browser = Browser::start(Setup::default()).await;
    sign_in(&mut browser, &server, &developer).await;

    browser.open(&address(&server, &team.at("test", "/webhooks"))).await;
    browser.press("Add an endpoint").await;
    browser.fill("Address", &receiver.url()).await;
    browser.press("Add the endpoint").await;
    browser.see("whsec_").await;
    browser.press("To the endpoint").await;
    assert!(!browser.html().await.contains("whsec_"), "it is shown once");
    browser.choose("Event", "session.ended").await;
    browser.press("Send").await;
    // The page looks again by itself until the attempt is made.
    browser.see("Refused with status 500").await;

    receiver.behave(Behaviour::ok());
    browser.press("Send again").await;
    browser.see("Attempt 2").await;
    browser.see("Accepted with status").await;
    assert_eq!(receiver.until(2).await.len(), 2);
    assert!(receiver.received()[1].body.contains("session.ended"));
    browser.close().await;
    server.finish().await;
}
