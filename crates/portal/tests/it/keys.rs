//! API keys at the portal: their whole life by forms.

use jiff::SignedDuration;
use kallglot_app::keys::portal::NAME as PORTAL_KEY;
use kallglot_client::{Client, NewSession};
use kallglot_core::audit::{AuditAction, Who};
use kallglot_core::id::ApiKeyId;
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Mode, Tenant};
use kallglot_storage::{AuditFilter, PageRequest};
use kallglot_testkit::{Sight, Team, TestServer, Visitor};

/// A server, an organization, and a developer of it who has just confirmed who they are.
async fn begin() -> (TestServer, Team, Visitor) {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let developer = server.member(&team, Role::Developer).await;
    server.confirm(&developer).await;
    (server, team, developer)
}

/// The number that makes a form's effect happen once.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn open(visitor: &mut Visitor, path: &str) -> String {
    let page = visitor.get(path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.html);
    page.attribute("name=\"once\" value").unwrap().to_owned()
}

/// The secret that a page shows.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
fn secret_of(page: &Sight) -> String {
    assert_eq!(page.status, 200, "{}", page.html);
    let secret = page.text_of("secret").unwrap();
    assert!(secret.starts_with("sk_test_"), "{secret}");
    secret.to_owned()
}

/// Makes a key with the form: its id and secret.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn make(server: &TestServer, team: &Team, visitor: &mut Visitor, name: &str) -> (ApiKeyId, String) {
    let new = team.at("test", "/keys/new");
    let once = open(visitor, &new).await;
    let fields =
        [("once", once.as_str()), ("name", name), ("permissions", "sessions:read"), ("permissions", "sessions:write")];
    let secret = secret_of(&visitor.post(&new, &fields).await);
    let keys = keys(server, team).await;
    (keys.into_iter().find(|(_, of)| of == name).unwrap().0, secret)
}

/// The ids and names of the organization's test keys, newest first.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn keys(server: &TestServer, team: &Team) -> Vec<(ApiKeyId, String)> {
    let tenant = Tenant { organization: team.id, environment: Environment::Test };
    let page = server.app.storage.keys(tenant, &PageRequest::newest(100)).await.unwrap();
    page.items.into_iter().map(|key| (key.id, key.name)).collect()
}

/// The status of the simplest request with a key.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn whoami(client: &Client) -> u16 {
    client.request("GET", "/v1/whoami", &[], kallglot_client::Body::Empty).await.unwrap().status
}

#[tokio::test]
async fn a_key_is_made_used_rotated_and_revoked_while_a_client_uses_it() {
    let (server, team, mut developer) = begin().await;
    let (id, secret) = make(&server, &team, &mut developer, "backend").await;
    let client = server.client_with(&secret);
    assert_eq!(whoami(&client).await, 200);
    client.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();

    server.clock.advance(SignedDuration::from_secs(1));
    let rotate = team.at("test", &format!("/keys/{id}/rotate"));
    let once = open(&mut developer, &rotate).await;
    let answer = developer.post(&rotate, &[("once", &once), ("grace_s", "3600")]).await;
    let new_secret = secret_of(&answer);
    assert_ne!(new_secret, secret);
    let changed = server.client_with(&new_secret);
    let detail = team.at("test", &format!("/keys/{id}"));
    assert!(developer.get(&detail).await.has("Changed over"), "nobody has used the old secret since");
    assert_eq!((whoami(&client).await, whoami(&changed).await), (200, 200), "both work meanwhile");
    let page = developer.get(&detail).await;
    assert!(page.has("Still used") && page.has("<code>127.0.0.1</code>"), "{}", page.html);

    server.clock.advance(SignedDuration::from_secs(1));
    let revoke = team.at("test", &format!("/keys/{id}/revoke"));
    let page = developer.get(&revoke).await;
    assert!(page.has("What this breaks") && page.has("sess_"), "its open session is named: {}", page.html);
    let page = developer.post_and_follow(&revoke, &[("close_streams", "yes")]).await;
    assert!(page.has("Revoked. Requests with it are refused from now on."), "{}", page.html);
    assert_eq!((whoami(&client).await, whoami(&changed).await), (401, 401));

    let filter = AuditFilter { object: Some(id.to_string()), ..AuditFilter::default() };
    let log = server.app.storage.audit_log(team.id, &filter, &PageRequest::newest(10)).await.unwrap();
    let who = Who::Person(developer.person.unwrap());
    let told: Vec<_> = log.items.iter().map(|entry| (entry.action, entry.change.who)).collect();
    let expected = [AuditAction::KeyRevoked, AuditAction::KeyRotated, AuditAction::KeyCreated];
    assert_eq!(told, expected.map(|action| (action, who)));
    server.finish().await;
}

#[tokio::test]
async fn a_secret_is_shown_once_and_nowhere_again() {
    let (server, team, mut developer) = begin().await;
    let new = team.at("test", "/keys/new");
    let once = open(&mut developer, &new).await;
    let fields = [("once", once.as_str()), ("name", "backend"), ("permissions", "sessions:read")];
    let page = developer.post(&new, &fields).await;
    let secret = secret_of(&page);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.has(&format!("Authorization: Bearer {secret}")), "with a ready-made command");

    // A reload of that page.
    let again = developer.post(&new, &fields).await;
    let id = keys(&server, &team).await[0].0;
    assert_eq!(
        (again.status, again.location()),
        (303, Some(team.at("test", &format!("/keys/{id}?done=once")).as_str()))
    );
    assert_eq!(keys(&server, &team).await.len(), 1, "a reload makes no second key");
    // The same form with something else in it.
    let other = [("once", once.as_str()), ("name", "other"), ("permissions", "sessions:read")];
    assert_eq!(developer.post(&new, &other).await.status, 409);
    assert_eq!(keys(&server, &team).await.len(), 1);

    for path in [
        "/keys",
        "",
        "/quickstart",
        "/audit",
        &format!("/keys/{id}"),
        &format!("/keys/{id}/edit"),
        &format!("/keys/{id}?done=once"),
    ] {
        assert!(!developer.get(&team.at("test", path)).await.has(&secret), "{path} has the secret");
    }
    server.finish().await;
}

#[tokio::test]
async fn a_form_that_is_sent_many_times_at_once_makes_one_key() {
    let (server, team, mut developer) = begin().await;
    let new = team.at("test", "/keys/new");
    let once = open(&mut developer, &new).await;
    let fields = [("once", once.as_str()), ("name", "backend"), ("permissions", "sessions:read")];
    let attempts = (0..8).map(async |_| {
        let mut tab = server.visitor();
        (tab.cookies, tab.token) = (developer.cookies.clone(), developer.token.clone());
        tab.post(&new, &fields).await
    });
    let answers = futures_util::future::join_all(attempts).await;
    let secrets = answers.iter().filter(|answer| answer.text_of("secret").is_some()).count();
    assert_eq!(secrets, 1, "the secret is shown to one of them");
    assert!(answers.iter().all(|answer| [200, 303, 409].contains(&answer.status)));
    assert_eq!(keys(&server, &team).await.len(), 1);

    let id = keys(&server, &team).await[0].0;
    let rotate = team.at("test", &format!("/keys/{id}/rotate"));
    let once = open(&mut developer, &rotate).await;
    let first = developer.post(&rotate, &[("once", &once), ("grace_s", "0")]).await;
    let client = server.client_with(&secret_of(&first));
    let second = developer.post(&rotate, &[("once", &once), ("grace_s", "0")]).await;
    assert_eq!(second.status, 303, "a reload does not rotate again");
    assert_eq!(whoami(&client).await, 200);
    server.finish().await;
}

#[tokio::test]
async fn a_form_that_is_wrong_comes_back_with_what_was_typed() {
    let (server, team, mut developer) = begin().await;
    let new = team.at("test", "/keys/new");
    let once = open(&mut developer, &new).await;
    let fields = [("once", once.as_str()), ("name", "<b>backend</b>"), ("networks", "everywhere")];
    let page = developer.post(&new, &fields).await;
    assert_eq!(page.status, 422);
    assert!(page.has("Choose at least one permission") && page.has("“everywhere” is no address"), "{}", page.html);
    assert!(page.has("&lt;b&gt;backend&lt;/b&gt;"), "what was typed is still there, as text");
    assert_eq!(page.attribute("name=\"once\" value"), Some(once.as_str()), "it is still the same form");
    assert_eq!(keys(&server, &team).await, []);
    server.finish().await;
}

#[tokio::test]
async fn what_is_changed_is_in_force_and_a_quarantine_is_lifted() {
    let (server, team, mut developer) = begin().await;
    let (id, secret) = make(&server, &team, &mut developer, "backend").await;
    let client = server.client_with(&secret);
    let edit = team.at("test", &format!("/keys/{id}/edit"));
    let page = developer.get(&edit).await;
    assert!(page.has("value=\"backend\""), "{}", page.html);
    let fields = [
        ("name", "frontend"),
        ("permissions", "sessions:read"),
        ("networks", "203.0.113.0/24"),
        ("requests_per_minute", "7"),
        ("edition", "1"),
    ];
    let page = developer.post_and_follow(&edit, &fields).await;
    for text in ["Saved.", "frontend", "203.0.113.0/24", ">7<"] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    assert_eq!(whoami(&client).await, 403, "this machine is not on its list");

    let leak = serde_json::json!({ "secret": secret });
    let settings = [
        ("name", "Example"),
        ("edition", "2"),
        ("leak_policy", "quarantine"),
        ("low_credits_threshold", "1"),
        ("recordings_kept_days", "30"),
    ];
    let mut admin = server.member(&team, Role::Admin).await;
    server.confirm(&admin).await;
    admin.get(&team.at("test", "/settings/edit")).await;
    assert_eq!(admin.post(&team.at("test", "/settings/edit"), &settings).await.status, 303);
    client.post("/v1/api_keys/leaks", leak).await.unwrap();
    let page = developer.get(&team.at("test", &format!("/keys/{id}"))).await;
    assert!(page.has("Lift the quarantine"), "{}", page.html);
    let overview = developer.get(&team.at("test", "")).await;
    assert!(overview.has("was reported as leaked"), "{}", overview.html);
    let lift = team.at("test", &format!("/keys/{id}/quarantine/lift"));
    assert!(!developer.post_and_follow(&lift, &[]).await.has("Lift the quarantine"));
    server.finish().await;
}

#[tokio::test]
async fn keys_are_seen_by_all_members_managed_by_developers_and_unknown_to_strangers() {
    let (server, team, mut developer) = begin().await;
    let (id, _) = make(&server, &team, &mut developer, "backend").await;
    let mut reader = server.member(&team, Role::ReadOnly).await;
    server.confirm(&reader).await;
    let detail = team.at("test", &format!("/keys/{id}"));
    let page = reader.get(&detail).await;
    assert!(page.status == 200 && page.has("backend") && !page.has("/revoke"), "{}", page.html);
    assert_eq!(reader.post(&format!("{detail}/revoke"), &[]).await.status, 403);
    assert_eq!(reader.get(&team.at("test", "/keys/new")).await.status, 403);

    let other = server.team("Another").await;
    let mut stranger = server.member(&other, Role::Owner).await;
    server.confirm(&stranger).await;
    stranger.get(&other.at("test", "")).await;
    for path in ["", "/edit", "/rotate", "/revoke"] {
        // Neither in its own organization's path nor under the stranger's.
        assert_eq!(stranger.get(&format!("{detail}{path}")).await.status, 404);
        assert_eq!(stranger.get(&other.at("test", &format!("/keys/{id}{path}"))).await.status, 404, "{path}");
    }
    assert_eq!(stranger.post(&other.at("test", &format!("/keys/{id}/revoke")), &[]).await.status, 404);
    assert_eq!(developer.get(&team.at("live", &format!("/keys/{id}"))).await.status, 404, "the other environment");
    assert!(developer.get(&detail).await.has("Active"));

    // Without a confirmation lately.
    let mut tired = server.member(&team, Role::Developer).await;
    let page = tired.get(&team.at("test", "/keys/new")).await;
    assert!(page.location().unwrap().starts_with("/portal/confirm?next="), "{page:?}");
    server.finish().await;
}

#[tokio::test]
async fn keys_that_expire_soon_are_pointed_at() {
    let (server, team, mut developer) = begin().await;
    server
        .key_with(&team.organization(), Environment::Test, |key| {
            key.name = "short-lived".into();
            key.expires_at = key.created_at.checked_add(SignedDuration::from_hours(48)).ok();
        })
        .await;
    let overview = developer.get(&team.at("test", "")).await;
    assert!(overview.has("Needs attention") && overview.has("short-lived"), "{}", overview.html);
    assert!(developer.get(&team.at("test", "/keys")).await.has("Soon"));
    server.finish().await;
}

#[tokio::test]
async fn the_portals_own_key_is_made_once_and_again_after_it_was_revoked() {
    let (server, team, mut developer) = begin().await;
    let tenant = Tenant { organization: team.id, environment: Environment::Test };
    let change = server.change();
    let asked = (0..8).map(async |number: u128| {
        let id = kallglot_core::id::AuditId::from_bits(change.id.to_bits() + number);
        server.app.portal_key(tenant, &kallglot_core::audit::Change { id, ..change }).await.unwrap().key.id
    });
    let ids = futures_util::future::join_all(asked).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "all have the same key");
    assert_eq!(keys(&server, &team).await, [(ids[0], PORTAL_KEY.to_owned())]);

    let page = developer.get(&team.at("test", &format!("/keys/{}", ids[0]))).await;
    assert!(page.has("The portal made this key for itself"), "{}", page.html);
    developer.post(&team.at("test", &format!("/keys/{}/revoke", ids[0])), &[]).await;
    let next = server.app.portal_key(tenant, &server.change()).await.unwrap();
    assert_ne!(next.key.id, ids[0], "a revoked key never works again");
    assert_eq!(server.app.portal_key(tenant, &server.change()).await.unwrap().key.id, next.key.id);
    server.finish().await;
}
