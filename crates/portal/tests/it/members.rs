//! Members and invitations: who may invite, change and remove whom, and what strangers see.

use std::sync::Arc;

use crate::forms::{Browser, PASSWORD, member, owner};
use kallglot_core::id::OrganizationId;
use kallglot_core::person::Role;
use kallglot_testkit::{FakeMailer, ServerBuilder, TestServer};

/// The id of the person of this address.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn id_of(server: &TestServer, name: &str) -> String {
    let found = server.app.storage.person_of_email(&format!("{name}@example.com")).await.unwrap();
    found.unwrap().0.id.to_string()
}

#[tokio::test]
async fn an_invitation_by_mail_makes_a_member() {
    let mailer = Arc::new(FakeMailer::default());
    let server = ServerBuilder::default().mailer(Arc::clone(&mailer) as _).start().await;
    let (mut owner, organization) = owner(&server).await;
    let members = format!("/portal/{organization}/test/members");
    let fields = [("email", "Anna@Example.com"), ("role", "developer")];
    owner.submit(&format!("{members}/invite"), &fields).await.leads_to(&format!("{members}?done=invited"));
    owner.get(&members).await.says(200, "anna@example.com").says(200, "Take back");
    let mail = mailer.mail_to("anna@example.com").await;
    assert!(mail.subject().contains("Olga Owner") && mail.subject().contains("Acme"), "{}", mail.subject());
    let link = mail.text().lines().find(|line| line.contains("/portal/link#")).unwrap();

    let mut anna = Browser::of(&server);
    anna.open_link(link).await.says(200, "Join Acme").says(200, "Developer");
    anna.post("/portal/link/open", &[("name", "Anna"), ("password", "short")]).await.says(422, "at least 12");
    let joined = anna.post("/portal/link/open", &[("name", "Anna"), ("password", PASSWORD)]).await;
    joined.leads_to(&format!("/portal/{organization}/test"));
    let seen = anna.get(&members).await;
    seen.says(200, "Olga Owner").says(200, "Anna");
    assert!(!seen.html.contains("Invite somebody"), "developers invite nobody");
    Browser::of(&server).open_link(link).await.says(422, "used already");
    server.finish().await;
}

#[tokio::test]
async fn who_has_an_account_signs_in_to_accept() {
    let server = TestServer::start().await;
    let (mut owner, first) = owner(&server).await;
    member(&server, &mut owner, first, Role::Developer, "anna").await;
    let made = owner.submit("/portal/organizations/new", &[("name", "Second")]).await;
    let second: OrganizationId = made.location().unwrap().split('/').nth(2).unwrap().parse().unwrap();
    let path = format!("/portal/{second}/test/members/invite");
    owner.confirm().await;
    let shown = owner.submit(&path, &[("email", "anna@example.com"), ("role", "admin")]).await;
    let code = shown.code();

    // Signed in as somebody else, it is not theirs to accept.
    owner.open_link(&format!("#{code}")).await.says(200, "Sign out and open the link again");
    owner.post("/portal/link/open", &[]).await.says(422, "another address");

    let mut anna = Browser::of(&server);
    anna.open_link(&format!("#{code}")).await.says(200, "Sign in, then accept");
    anna.post("/portal/link/open", &[("name", "X"), ("password", PASSWORD)]).await.says(422, "already");
    let to = "/portal/link/open";
    anna.get("/portal/sign-in?next=%2Fportal%2Flink%2Fopen").await;
    let fields = [("email", "anna@example.com"), ("password", PASSWORD), ("next", to)];
    anna.post("/portal/sign-in", &fields).await.leads_to(to);
    anna.get(to).await.says(200, "Accept");
    anna.post(to, &[]).await.leads_to(&format!("/portal/{second}/test"));
    anna.get("/portal").await.leads_to("/portal/choose");
    anna.get("/portal/choose").await.says(200, "Acme").says(200, "Second");
    server.finish().await;
}

#[tokio::test]
async fn each_role_may_do_what_it_may() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    let members = format!("/portal/{organization}/live/members");
    let mut admin = member(&server, &mut owner, organization, Role::Admin, "admin").await;
    let mut developer = member(&server, &mut owner, organization, Role::Developer, "dev").await;
    let mut reader = member(&server, &mut owner, organization, Role::ReadOnly, "reader").await;
    let invite = format!("{members}/invite");
    let fields = |role| [("email", "new@example.com"), ("role", role)];

    for visitor in [&mut developer, &mut reader] {
        assert_eq!(visitor.get(&members).await.status, 200);
        assert_eq!(visitor.get(&invite).await.status, 403);
        assert_eq!(visitor.post(&invite, &fields("developer")).await.status, 403);
    }
    admin.get(&invite).await;
    assert_eq!(admin.post(&invite, &fields("owner")).await.status, 403, "only owners make owners");
    assert_eq!(admin.post(&invite, &fields("nonsense")).await.status, 422);
    admin.post(&invite, &fields("admin")).await.says(200, "Pass the link on");

    let (own, dev) = (id_of(&server, "owner").await, id_of(&server, "dev").await);
    let touched = admin.post(&format!("{members}/{own}"), &[("role", "read_only")]).await;
    assert_eq!(touched.status, 403, "only owners touch owners");
    assert_eq!(admin.post(&format!("{members}/{own}/remove"), &[]).await.status, 403);
    assert_eq!(admin.post(&format!("{members}/{dev}"), &[("role", "owner")]).await.status, 403);
    let done = admin.post(&format!("{members}/{dev}"), &[("role", "read_only")]).await;
    done.leads_to(&format!("{members}?done=saved"));
    owner.get(&members).await;
    owner.post(&format!("{members}/{own}"), &[("role", "admin")]).await.says(422, "at least one owner");
    owner.post(&format!("{members}/leave"), &[]).await.says(422, "at least one owner");
    server.finish().await;
}

#[tokio::test]
async fn who_is_removed_sees_nothing_any_more_at_once() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    let members = format!("/portal/{organization}/test/members");
    let mut anna = member(&server, &mut owner, organization, Role::Admin, "anna").await;
    assert_eq!(anna.get(&members).await.status, 200);
    owner.get(&members).await;
    let removed = owner.post(&format!("{members}/{}/remove", id_of(&server, "anna").await), &[]).await;
    removed.leads_to(&format!("{members}?done=removed"));
    assert_eq!(anna.get(&members).await.status, 404, "as if it were not there");
    anna.get("/portal/choose").await.says(200, "You belong to no organization");
    assert_eq!(anna.get("/portal/organizations").await.status, 404, "nor is she an operator");
    server.finish().await;
}

#[tokio::test]
async fn an_invitation_can_be_taken_back_by_its_own_organization() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    let members = format!("/portal/{organization}/test/members");
    let fields = [("email", "anna@example.com"), ("role", "developer")];
    let shown = owner.submit(&format!("{members}/invite"), &fields).await;
    let code = shown.code();
    let page = owner.get(&members).await;
    let to = page.html.split_once("/members/invitations/").unwrap().1.split('"').next().unwrap().to_owned();

    let made = owner.submit("/portal/organizations/new", &[("name", "Second")]).await;
    let second = made.location().unwrap().to_owned();
    let elsewhere = owner.post(&format!("{second}/members/invitations/{to}"), &[]).await;
    assert_eq!(elsewhere.status, 404);
    let done = owner.post(&format!("{members}/invitations/{to}"), &[]).await;
    done.leads_to(&format!("{members}?done=removed"));
    Browser::of(&server).open_link(&format!("#{code}")).await.says(422, "taken back");
    server.finish().await;
}

#[tokio::test]
async fn a_stranger_is_told_that_there_is_nothing() {
    let server = TestServer::start().await;
    let (mut owner, organization) = owner(&server).await;
    let mut anna = member(&server, &mut owner, organization, Role::Owner, "anna").await;
    let made = owner.submit("/portal/organizations/new", &[("name", "Second")]).await;
    let second = made.location().unwrap().to_owned();
    assert_eq!(anna.get(&format!("{second}/members")).await.status, 404);
    let nowhere = OrganizationId::from_bits(12345);
    assert_eq!(anna.get(&format!("/portal/{nowhere}/test/members")).await.status, 404);
    assert_eq!(anna.post("/portal/organizations/new", &[("name", "Mine")]).await.status, 404);
    server.finish().await;
}
