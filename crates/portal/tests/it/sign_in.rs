//! Signing in and out: who gets in, how often one may try, and what nobody is told.

use std::collections::BTreeSet;

use crate::forms::{Answer, Browser, PASSWORD, owner};
use jiff::SignedDuration;
use kallglot_testkit::TestServer;

const SESSION: &str = "kallglot_session";

/// What a page says apart from what is different each time.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
fn without_tokens(answer: &Answer) -> String {
    let mut text = answer.html.clone();
    while let Some((before, rest)) = text.split_once("name=\"csrf\" value=\"") {
        let rest = rest.split_once('"').unwrap().1;
        text = format!("{before}{rest}");
    }
    text
}

#[tokio::test]
async fn nobody_is_asked_for_a_password_before_there_is_an_account() {
    let server = TestServer::start().await;
    let mut visitor = Browser::of(&server);
    visitor.get("/portal").await.leads_to("/portal/sign-in?next=%2Fportal%2F");
    visitor.get("/portal/sign-in").await.says(200, "kallglot portal link");
    server.finish().await;
}

#[tokio::test]
async fn the_first_account_is_made_by_its_link_once() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    owner.get("/portal").await.leads_to(&format!("/portal/{organization}/test"));
    owner.get("/portal/organizations").await.says(200, "Acme");
    let change = server.change();
    let app = &server.app;
    let again = kallglot_app::people::setup_link(app.storage.as_ref(), "", app.random.as_ref(), &change).await;
    assert_eq!(again, Ok(None));
    server.finish().await;
}

#[tokio::test]
async fn of_many_who_open_the_first_link_at_once_one_makes_the_account() {
    let server = TestServer::start().await;
    let app = &server.app;
    let link = kallglot_app::people::setup_link(app.storage.as_ref(), "", app.random.as_ref(), &server.change()).await;
    let link = link.unwrap().unwrap();
    let mut visitors = Vec::new();
    for number in 0..8 {
        let mut visitor = Browser::of(&server);
        visitor.open_link(&link).await.says(200, "first account");
        visitors.push((number, visitor));
    }
    let making = visitors.into_iter().map(|(number, mut visitor)| async move {
        let email = format!("person{number}@example.com");
        let fields = [("name", "P"), ("email", email.as_str()), ("password", PASSWORD), ("organization", "Acme")];
        visitor.post("/portal/link/open", &fields).await.status
    });
    let mut statuses = futures_util::future::join_all(making).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 422, 422, 422, 422, 422, 422, 422]);
    server.finish().await;
}

#[tokio::test]
async fn a_person_signs_in_and_out_and_goes_on_where_they_wanted_to() {
    let server = TestServer::start().await;
    let (_, organization) = owner(&server).await;
    let mut visitor = Browser::of(&server);
    let keys = format!("/portal/{organization}/live/members");
    let asked = visitor.get(&keys).await;
    let page = asked.location().unwrap().to_owned();
    let shown = visitor.get(&page).await;
    assert_eq!(shown.attribute("name=\"next\" value"), Some(keys.as_str()));
    let fields = [("email", " Owner@Example.com "), ("password", PASSWORD), ("next", &keys)];
    visitor.post("/portal/sign-in", &fields).await.leads_to(&keys);
    visitor.get(&keys).await.says(200, "Olga Owner");

    let secret = visitor.visitor.cookies[SESSION].clone();
    visitor.post("/portal/sign-out", &[]).await.leads_to("/portal/sign-in");
    assert!(!visitor.visitor.cookies.contains_key(SESSION));
    visitor.visitor.cookies.insert(SESSION.into(), secret);
    assert_eq!(visitor.get(&keys).await.status, 303, "the session has ended, not only its cookie");
    server.finish().await;
}

#[tokio::test]
async fn each_sign_in_sets_a_new_cookie_and_none_that_was_brought_is_signed_in() {
    let server = TestServer::start().await;
    owner(&server).await;
    let mut visitor = Browser::of(&server);
    let planted = "A".repeat(43);
    visitor.visitor.cookies.insert(SESSION.into(), planted.clone());
    visitor.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");
    let first = visitor.visitor.cookies[SESSION].clone();
    assert_ne!(first, planted);

    let mut again = visitor.twin(&server);
    again.get("/portal/account").await;
    again.post("/portal/sign-in", &[("email", "owner@example.com"), ("password", PASSWORD)]).await.leads_to("/portal");
    assert_ne!(again.visitor.cookies[SESSION], first);
    assert_eq!(visitor.get("/portal/account").await.status, 303, "the session that the browser had has ended");
    assert_eq!(again.get("/portal/account").await.status, 200);
    let cookie = again.get("/portal/sign-in").await;
    assert_eq!(cookie.location(), Some("/portal"));
    server.finish().await;
}

#[tokio::test]
async fn whether_there_is_an_account_nobody_is_told() {
    let server = TestServer::start().await;
    owner(&server).await;
    let mut answers = BTreeSet::new();
    for (email, password) in [
        ("owner@example.com", "not the password"),
        ("nobody@example.com", "not the password"),
        ("nobody@example.com", PASSWORD),
    ] {
        let answer = Browser::of(&server).sign_in(email, password).await;
        answer.says(422, "The e-mail address or the password is wrong.");
        answers.insert(without_tokens(&answer).replace(email, ""));
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    Browser::of(&server).sign_in("no address", PASSWORD).await.says(422, "is wrong.");
    server.finish().await;
}

/// What `count` attempts at once with a wrong password are answered with: how many were looked at, how many must wait.
async fn attempts(server: &TestServer, email: &str, count: usize) -> (usize, usize) {
    let mut visitors = Vec::new();
    for _ in 0..count {
        let mut visitor = Browser::of(server);
        visitor.get("/portal/sign-in").await;
        visitors.push(visitor);
    }
    let trying = visitors.into_iter().map(|mut visitor| async move {
        let fields = [("email", email), ("password", "not the password")];
        visitor.post("/portal/sign-in", &fields).await.status
    });
    let statuses = futures_util::future::join_all(trying).await;
    let many = |status| statuses.iter().filter(|one| **one == status).count();
    (many(422), many(429))
}

#[tokio::test]
async fn ten_wrong_passwords_lock_an_account_however_many_come_at_once() {
    let server = TestServer::start().await;
    owner(&server).await;
    // The client's own limit is not reached.
    assert_eq!(attempts(&server, "owner@example.com", 24).await, (10, 14));

    let mut visitor = Browser::of(&server);
    let right = visitor.sign_in("owner@example.com", PASSWORD).await;
    right.says(429, "Try again in 60 seconds");
    assert_eq!(right.header("retry-after"), Some("60"));
    server.clock.advance(SignedDuration::from_secs(60));
    visitor.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");
    server.finish().await;
}

#[tokio::test]
async fn an_account_that_there_is_not_is_locked_like_one_that_there_is() {
    let server = TestServer::start().await;
    owner(&server).await;
    assert_eq!(attempts(&server, "nobody@example.com", 24).await, (10, 14));
    let waits = Browser::of(&server).sign_in("nobody@example.com", PASSWORD).await;
    waits.says(429, "Try again in 60 seconds");
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_tries_many_accounts_waits_but_nobody_else() {
    let server = TestServer::start().await;
    owner(&server).await;
    let mut visitor = Browser::of(&server);
    for number in 0..30 {
        let email = format!("person{number}@example.com");
        visitor.sign_in(&email, "not the password").await.says(422, "is wrong");
    }
    visitor.sign_in("owner@example.com", PASSWORD).await.says(429, "too many attempts");
    server.clock.advance(SignedDuration::from_mins(1));
    visitor.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");
    server.finish().await;
}

#[tokio::test]
async fn a_form_of_another_visit_is_refused() {
    let server = TestServer::start().await;
    owner(&server).await;
    let mut visitor = Browser::of(&server);
    visitor.get("/portal/sign-in").await;
    visitor.visitor.token = Some("0".repeat(32));
    let fields = [("email", "owner@example.com"), ("password", PASSWORD)];
    assert_eq!(visitor.post("/portal/sign-in", &fields).await.status, 403);
    server.finish().await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_the_latest_after_thirty_days() {
    let server = TestServer::start().await;
    let (mut owner, _) = owner(&server).await;
    for _ in 0..4 {
        server.clock.advance(SignedDuration::from_hours(6 * 24));
        assert_eq!(owner.get("/portal/account").await.status, 200);
    }
    let mut unused = Browser::of(&server);
    unused.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");
    server.clock.advance(SignedDuration::from_hours(6 * 24));
    assert_eq!(owner.get("/portal/account").await.status, 303, "30 days are over");
    server.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(unused.get("/portal/account").await.status, 303, "it was not used for seven days");
    server.finish().await;
}
