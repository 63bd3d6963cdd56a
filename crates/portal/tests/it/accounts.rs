//! The own account: name, password, the browsers that are signed in; new passwords by link.

use std::sync::Arc;

use crate::forms::{Browser, PASSWORD, member, owner};
use jiff::SignedDuration;
use kallglot_core::audit::AuditAction;
use kallglot_storage::{AuditFilter, PageRequest};
use kallglot_testkit::{FakeMailer, ServerBuilder, TestServer};

const NEW: &str = "seventeen amber kettles";

/// A link to a new password of the owner.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn reset_link(server: &TestServer) -> String {
    let (storage, random) = (server.app.storage.as_ref(), server.app.random.as_ref());
    let email = "owner@example.com";
    let link = kallglot_app::people::password_reset_link(storage, email, "", random, &server.change()).await;
    link.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_sensitive_asks_for_the_password_once_more() {
    let server = TestServer::start().await;
    let (mut owner, _) = owner(&server).await;
    owner.get("/portal/account/password").await.says(200, "New password");
    server.clock.advance(SignedDuration::from_mins(11));
    let to = "/portal/confirm?next=%2Fportal%2Faccount%2Fpassword";
    owner.get("/portal/account/password").await.leads_to(to);
    let refused = owner.post("/portal/account/password", &[("password", NEW)]).await;
    assert!(refused.location().is_some_and(|to| to.starts_with("/portal/confirm")), "{refused:?}");

    owner.get(to).await.says(200, "Is it you?");
    owner.post("/portal/confirm", &[("password", "wrong"), ("next", "/portal/account")]).await.says(422, "is wrong");
    let fields = [("password", PASSWORD), ("next", "/portal/account/password")];
    owner.post("/portal/confirm", &fields).await.leads_to("/portal/account/password");
    owner.get("/portal/account/password").await.says(200, "New password");
    let elsewhere = [("password", PASSWORD), ("next", "//evil.example")];
    owner.post("/portal/confirm", &elsewhere).await.leads_to("/portal");
    server.finish().await;
}

#[tokio::test]
async fn guesses_at_a_confirmation_lock_the_account_too() {
    let server = TestServer::start().await;
    let (mut owner, _) = owner(&server).await;
    for _ in 0..10 {
        owner.submit("/portal/confirm", &[("password", "wrong")]).await.says(422, "is wrong");
    }
    owner.confirm().await.says(429, "too many attempts");
    Browser::of(&server).sign_in("owner@example.com", PASSWORD).await.says(429, "too many attempts");
    server.finish().await;
}

#[tokio::test]
async fn a_new_password_signs_out_everybody_else() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    let mut other = Browser::of(&server);
    other.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");

    owner.submit("/portal/account/password", &[("password", "short")]).await.says(422, "at least 12 characters");
    owner.post("/portal/account/password", &[("password", "owner@example.com")]).await.says(422, "easy to guess");
    owner.post("/portal/account/password", &[("password", NEW)]).await.leads_to("/portal/account?done=saved");
    owner.get("/portal/account").await.says(200, "Olga Owner");
    assert_eq!(other.get("/portal/account").await.status, 303);
    Browser::of(&server).sign_in("owner@example.com", PASSWORD).await.says(422, "is wrong");
    Browser::of(&server).sign_in("owner@example.com", NEW).await.leads_to("/portal");

    let log = server.app.storage.audit_log(organization, &AuditFilter::default(), &PageRequest::newest(10)).await;
    let actions: Vec<_> = log.unwrap().items.iter().map(|entry| entry.action).collect();
    assert!(actions.contains(&AuditAction::PasswordChanged), "{actions:?}");
    assert!(actions.contains(&AuditAction::PersonSignedIn), "{actions:?}");
    server.finish().await;
}

#[tokio::test]
async fn a_person_sees_where_they_are_signed_in_and_ends_it() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    let mut other = Browser::of(&server);
    other.user_agent = "Mozilla/5.0 (iPhone) Safari/604.1";
    server.clock.advance(SignedDuration::from_secs(1));
    other.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");

    let account = owner.get("/portal/account").await;
    account.says(200, "Safari on iPhone").says(200, "Firefox on Linux");
    let sessions: Vec<_> = account
        .html
        .match_indices("name=\"session\" value=\"")
        .map(|(at, mark)| account.html[at + mark.len()..].split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(sessions.len(), 2);
    // The newest is first: the other browser's.
    let done = owner.post("/portal/account/sessions/end", &[("session", &sessions[0])]).await;
    done.leads_to("/portal/account?done=ended");
    assert_eq!(other.get("/portal/account").await.status, 303);
    let gone = owner.post("/portal/account/sessions/end", &[("session", &sessions[0])]).await;
    assert_eq!(gone.status, 404);

    let mut member = member(&server, &mut owner, organization, kallglot_core::person::Role::Admin, "anna").await;
    let theirs = member.post("/portal/account/sessions/end", &[("session", &sessions[1])]).await;
    assert_eq!(theirs.status, 404, "another person's session is nobody's");
    assert_eq!(owner.get("/portal/account").await.status, 200);

    other.sign_in("owner@example.com", PASSWORD).await.leads_to("/portal");
    owner.post("/portal/account/sessions/end-others", &[]).await.leads_to("/portal/account?done=ended");
    assert_eq!(other.get("/portal/account").await.status, 303);
    assert_eq!(owner.get("/portal/account").await.status, 200);
    server.finish().await;
}

#[tokio::test]
async fn a_name_is_changed_and_escaped() {
    let server = TestServer::start().await;
    let (mut owner, _) = owner(&server).await;
    owner.submit("/portal/account", &[]).await;
    owner.get("/portal/account").await;
    owner.post("/portal/account/name", &[("name", " ")]).await.says(422, "1 to 100 characters");
    owner.post("/portal/account/name", &[("name", "<b>Olga</b>")]).await.leads_to("/portal/account?done=saved");
    let page = owner.get("/portal/account?done=saved").await;
    page.says(200, "&lt;b&gt;Olga&lt;/b&gt;").says(200, "Saved.");
    assert!(!page.html.contains("<b>Olga"));
    server.finish().await;
}

#[tokio::test]
async fn a_link_sets_a_new_password_once() {
    let server = TestServer::start().await;
    let (mut owner, _) = owner(&server).await;
    let link = reset_link(&server).await;
    let mut visitors = Vec::new();
    for _ in 0..6 {
        let mut visitor = Browser::of(&server);
        visitor.open_link(&link).await.says(200, "owner@example.com");
        visitors.push(visitor);
    }
    let resetting = visitors.into_iter().map(|mut visitor| async move {
        let done = visitor.post("/portal/link/open", &[("password", NEW)]).await;
        (done.status, visitor)
    });
    let mut done = futures_util::future::join_all(resetting).await;
    done.sort_by_key(|(status, _)| *status);
    let statuses: Vec<_> = done.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [303, 422, 422, 422, 422, 422]);
    assert_eq!(owner.get("/portal/account").await.status, 303, "who was signed in is signed out");
    let (_, mut winner) = done.remove(0);
    assert_eq!(winner.get("/portal/account").await.status, 303, "the link alone signs nobody in");
    winner.sign_in("owner@example.com", NEW).await.leads_to("/portal");
    Browser::of(&server).open_link(&link).await.says(422, "used already");
    server.finish().await;
}

#[tokio::test]
async fn a_link_is_good_for_an_hour_and_stands_in_no_page_and_no_address() {
    let server = TestServer::start().await;
    owner(&server).await;
    let link = reset_link(&server).await;
    let code = link.split_once('#').unwrap().1;
    let mut visitor = Browser::of(&server);
    visitor.get("/portal/link").await;
    let taken = visitor.post("/portal/link", &[("code", code)]).await;
    taken.leads_to("/portal/link/open");
    let page = visitor.get("/portal/link/open").await;
    assert!(!page.html.contains(code));
    let cookie = taken.headers.iter().find(|(_, value)| value.contains(code)).unwrap();
    assert!(cookie.0 == "set-cookie" && cookie.1.contains("HttpOnly"), "{cookie:?}");
    server.clock.advance(SignedDuration::from_hours(1));
    visitor.post("/portal/link/open", &[("password", NEW)]).await.says(422, "too old");
    Browser::of(&server).open_link("#nonsense").await.says(422, "can't be used");
    server.finish().await;
}

#[tokio::test]
async fn a_link_to_a_new_password_is_mailed_to_who_has_an_account_and_nobody_can_tell() {
    let mailer = Arc::new(FakeMailer::default());
    let server = ServerBuilder::default().mailer(Arc::clone(&mailer) as _).start().await;
    owner(&server).await;
    let mut answers = Vec::new();
    for email in ["nobody@example.com", "owner@example.com"] {
        let answer = Browser::of(&server).submit("/portal/forgot", &[("email", email)]).await;
        answer.says(200, "If there is an account");
        answers.push(answer.html.replace(email, ""));
    }
    assert_eq!(answers[0], answers[1]);
    let mail = mailer.mail_to("owner@example.com").await;
    let link = mail.text().lines().find(|line| line.contains("/portal/link#")).unwrap();
    let mut visitor = Browser::of(&server);
    visitor.open_link(link).await.says(200, "owner@example.com");
    visitor.post("/portal/link/open", &[("password", NEW)]).await.leads_to("/portal/sign-in");
    assert!(mailer.mails().iter().all(|mail| mail.to() == "owner@example.com"));
    server.finish().await;
}
