//! Who is let in (contract sections 1 to 4), in the order of section 3.

use jiff::SignedDuration;
use kallglot_core::api_key::ServerEnvironment;
use kallglot_core::clock::Clock as _;
use kallglot_core::edition::Edition;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::Environment;
use kallglot_storage::OrganizationUpdate;
use kallglot_testkit::client::{Answer, Body, Client};
use kallglot_testkit::{ServerBuilder, TestServer};
use serde_json::json;

/// Every route that needs a key, with the permission that it needs.
const ROUTES: &[(&str, &str, Option<Permission>)] = &[
    ("POST", "/v1/sessions", Some(Permission::SessionsWrite)),
    ("GET", "/v1/sessions", Some(Permission::SessionsRead)),
    ("GET", "/v1/sessions/{id}", Some(Permission::SessionsRead)),
    ("POST", "/v1/sessions/{id}/end", Some(Permission::SessionsWrite)),
    ("GET", "/v1/sessions/{id}/transcript", Some(Permission::SessionsRead)),
    ("GET", "/v1/sessions/{id}/quality", Some(Permission::SessionsRead)),
    ("POST", "/v1/sessions/{id}/analysis", Some(Permission::AnalysisWrite)),
    ("GET", "/v1/sessions/{id}/analyses", Some(Permission::AnalysisRead)),
    ("GET", "/v1/languages", None),
];

fn error(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error_code().unwrap_or_default())
}

async fn send(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let body = if method == "POST" { Body::Json(new_session()) } else { Body::Empty };
    client.request(method, path, headers, body).await.unwrap()
}

fn new_session() -> serde_json::Value {
    json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" })
}

async fn a_session(client: &Client) -> String {
    let answer = client.post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_route_wants_a_key_and_the_right_permission() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let id = a_session(&server.client(&organization, Environment::Live).await).await;
    for (method, path, permission) in ROUTES {
        let path = path.replace("{id}", &id);
        let nobody = Client::new(&server.base_url(), None).unwrap();
        let answer = send(&nobody, method, &path, &[]).await;
        assert_eq!(error(&answer), (401, "api_key_invalid".into()), "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));

        let Some(permission) = permission else { continue };
        let all_others: Vec<_> = Permission::ALL.iter().copied().filter(|other| other != permission).collect();
        let poor = server.client_that_may(&organization, &all_others).await;
        let answer = send(&poor, method, &path, &[]).await;
        assert_eq!(error(&answer), (403, "insufficient_permissions".into()), "{method} {path}");
        let expected = format!("Bearer error=\"insufficient_scope\", scope=\"{permission}\"");
        assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()));
    }
    server.finish().await;
}

#[tokio::test]
async fn another_organizations_objects_do_not_exist() {
    let server = TestServer::start().await;
    let id = a_session(&server.test_client().await).await;
    let stranger = server.test_client().await;
    for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| path.contains("{id}")) {
        let answer = stranger.request(method, &path.replace("{id}", &id), &[], Body::Empty).await.unwrap();
        assert_eq!(error(&answer), (404, "session_not_found".into()), "{method} {path}");
    }
    let list = stranger.get("/v1/sessions").await.unwrap().json();
    assert_eq!(list["data"], json!([]));
    server.finish().await;
}

#[tokio::test]
async fn the_other_environments_objects_are_told_apart() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let live = server.client(&organization, Environment::Live).await;
    let test = server.client(&organization, Environment::Test).await;
    let id = a_session(&live).await;
    let answer = test.get(&format!("/v1/sessions/{id}")).await.unwrap();
    assert_eq!(error(&answer), (401, "api_key_wrong_environment".into()));
    assert_eq!(test.get("/v1/sessions").await.unwrap().json()["data"], json!([]));
    server.finish().await;
}

#[tokio::test]
async fn a_key_is_taken_from_either_header_but_not_two_keys_at_once() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let (_, other) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let nobody = Client::new(&server.base_url(), None).unwrap();
    let bearer = format!("Bearer {secret}");
    let lower = format!("bearer {secret}");
    let basic = format!("Basic {secret}");
    let mistyped = format!("{}x", &secret[..secret.len() - 1]);
    for (headers, expected) in [
        (vec![("authorization", bearer.as_str())], (200, "")),
        (vec![("authorization", lower.as_str())], (200, "")),
        (vec![("x-api-key", secret.as_str())], (200, "")),
        (vec![("authorization", bearer.as_str()), ("x-api-key", secret.as_str())], (200, "")),
        (vec![("authorization", bearer.as_str()), ("x-api-key", other.as_str())], (400, "invalid_request")),
        (vec![("authorization", basic.as_str())], (401, "api_key_invalid")),
        (vec![("authorization", secret.as_str())], (401, "api_key_invalid")),
        (vec![("x-api-key", mistyped.as_str())], (401, "api_key_invalid")),
        (vec![("x-api-key", "sk_live_your_api_key")], (401, "api_key_invalid")),
        (vec![("x-api-key", "")], (401, "api_key_invalid")),
    ] {
        let answer = nobody.request("GET", "/v1/languages", &headers, Body::Empty).await.unwrap();
        assert_eq!(error(&answer), (expected.0, expected.1.to_owned()));
        assert!(!answer.text().contains(&secret[8..]), "an answer never repeats a key");
    }
    server.finish().await;
}

#[tokio::test]
async fn a_keys_state_is_checked_before_its_permissions() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let soon = server.clock.now().checked_add(SignedDuration::from_secs(60)).unwrap();
    let live = Environment::Live;
    let (_, expiring) = server.key_with(&organization, live, |key| key.expires_at = Some(soon)).await;
    let (revoked_id, revoked) = server.key_with(&organization, live, |_| {}).await;
    let elsewhere = "198.51.100.0/24".parse().unwrap();
    let (_, bound) = server
        .key_with(&organization, live, |key| {
            key.allowed_networks = vec![elsewhere];
            key.permissions = PermissionSet::NONE;
        })
        .await;
    let get = async |secret: &str| error(&server.client_with(secret).get("/v1/sessions").await.unwrap());

    assert_eq!(get(&expiring).await, (200, String::new()));
    server.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(get(&expiring).await, (401, "api_key_expired".into()));

    let tenant = kallglot_core::session::Tenant { organization: organization.id, environment: live };
    server.app.storage.revoke_key(tenant, revoked_id, false, &server.change()).await.unwrap();
    assert_eq!(get(&revoked).await, (401, "api_key_revoked".into()));
    assert_eq!(get(&bound).await, (403, "ip_not_allowed".into()));

    let inactive = OrganizationUpdate { active: Some(false), ..OrganizationUpdate::default() };
    server.app.storage.update_organization(organization.id, &inactive, &server.change()).await.unwrap();
    let (_, fresh) = server.key_with(&organization, live, |key| key.permissions = PermissionSet::NONE).await;
    assert_eq!(get(&fresh).await, (403, "organization_inactive".into()));
    server.finish().await;
}

#[tokio::test]
async fn a_live_server_refuses_test_keys() {
    let server = ServerBuilder::default().environment(ServerEnvironment::Live).start().await;
    let organization = server.organization().await;
    for (environment, expected) in
        [(Environment::Live, (200, "")), (Environment::Test, (401, "api_key_wrong_environment"))]
    {
        let answer = server.client(&organization, environment).await.get("/v1/sessions").await.unwrap();
        assert_eq!(error(&answer), (expected.0, expected.1.to_owned()));
    }
    server.finish().await;
}

#[tokio::test]
async fn an_edition_is_the_keys_or_the_requests() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, pinned) = server
        .key_with(&organization, Environment::Live, |key| {
            key.edition = Some(Edition::One);
            key.permissions = PermissionSet::NONE;
        })
        .await;
    let client = server.client_with(&pinned);
    let answer = client.get("/v1/sessions").await.unwrap();
    assert_eq!(error(&answer), (401, "insufficient_permissions".into()));
    assert_eq!(answer.header("kallglot-edition"), Some("1"));
    let answer = client.request("GET", "/v1/sessions", &[("kallglot-edition", "2")], Body::Empty).await.unwrap();
    assert_eq!(error(&answer), (403, "insufficient_permissions".into()));
    assert_eq!(answer.header("kallglot-edition"), Some("2"));
    let nobody = Client::new(&server.base_url(), None).unwrap();
    let answer = nobody.request("GET", "/v1/sessions", &[("kallglot-edition", "1")], Body::Empty).await.unwrap();
    assert_eq!(error(&answer), (401, "invalid_api_key".into()));
    server.finish().await;
}
