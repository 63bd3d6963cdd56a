//! Several nodes on one PostgreSQL and one Redis: who is let in at one is known at all, and so is who is not any more.

use std::sync::Arc;

use kallglot_testkit::backing::Servers;
use kallglot_testkit::{FakeClock, ServerBuilder, TestServer};

use crate::forms::{Browser, PASSWORD, owner};

#[tokio::test]
async fn sessions_and_attempts_are_the_same_at_every_node() {
    let servers = Servers::start().await;
    let clock = Arc::new(FakeClock::default());
    let mut nodes: Vec<TestServer> = Vec::new();
    for seed in 1..=2 {
        let backing = servers.backing().await;
        nodes.push(ServerBuilder::default().start_on(backing, Arc::clone(&clock), seed).await);
    }
    let [here, there] = nodes.as_slice() else { panic!("two nodes") };
    let (mut browser, _) = owner(here).await;
    let mut elsewhere = browser.twin(there);
    assert_eq!(elsewhere.get("/portal/account").await.status, 200, "signed in at the other node too");

    // Ended there, it is ended here with the next request: no node remembers a session.
    let done = elsewhere.post("/portal/sign-out", &[]).await;
    done.leads_to("/portal/sign-in");
    assert_eq!(browser.get("/portal/account").await.status, 303);

    // However attempts are spread over nodes, an account has ten.
    let mut browsers = Vec::new();
    for number in 0..24 {
        let mut browser = Browser::of(&nodes[number % 2]);
        browser.get("/portal/sign-in").await;
        browsers.push(browser);
    }
    let trying = browsers.into_iter().map(|mut browser| async move {
        let fields = [("email", "owner@example.com"), ("password", "not the password")];
        browser.post("/portal/sign-in", &fields).await.status
    });
    let statuses = futures_util::future::join_all(trying).await;
    let many = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((many(422), many(429)), (10, 14), "{statuses:?}");
    Browser::of(there).sign_in("owner@example.com", PASSWORD).await.says(429, "too many attempts");
    for node in nodes {
        node.finish().await;
    }
}
