//! Keys by API (contract sections 1, 2 and 4): making, narrowing, rotating, revoking, reporting; and nobody beyond himself.

use jiff::SignedDuration;
use kallglot_core::api_key::{ApiKey, Secret};
use kallglot_core::clock::Clock as _;
use kallglot_core::organization::LeakPolicy;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::Environment;
use kallglot_http::EdgeConfig;
use kallglot_testkit::client::{Answer, Body, Client};
use kallglot_testkit::{Organization, ServerBuilder, TestServer};
use serde_json::{Value, json};

fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error_code().unwrap_or_default())
}

fn ok(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()
}

/// A client whose key may do everything, changed by `change`.
async fn manager(
    server: &TestServer,
    organization: &Organization,
    change: impl FnOnce(&mut ApiKey),
) -> (String, Client) {
    let change = |key: &mut ApiKey| {
        key.permissions = PermissionSet::all();
        change(key);
    };
    let (id, secret) = server.key_with(organization, Environment::Live, change).await;
    (id.to_string(), server.client_with(&secret))
}

async fn patch(client: &Client, path: &str, body: Value) -> Answer {
    client.request("PATCH", path, &[], Body::Json(body)).await.unwrap()
}

#[tokio::test]
async fn a_key_is_made_listed_and_knows_itself() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, boss) = manager(&server, &organization, |_| {}).await;
    // Ids sort by time: the new key is later.
    server.clock.advance(SignedDuration::from_millis(1));
    let asked = json!({
        "name": "reports", "permissions": ["sessions:read"], "expires_in_seconds": 3600,
        "allowed_ips": ["127.0.0.1", "2001:db8::/32"], "requests_per_minute": 10, "edition": 1,
    });
    let made = ok(&boss.post("/v1/api_keys", asked).await.unwrap(), 201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("sk_live_") && secret.len() == 44);
    assert_eq!(made["allowed_ips"], json!(["127.0.0.1/32", "2001:db8::/32"]));
    let who = ok(&server.client_with(secret).get("/v1/whoami").await.unwrap(), 200);
    assert_eq!(who["api_key"]["id"], made["id"]);
    assert_eq!(who["api_key"]["permissions"], json!(["sessions:read"]));
    assert_eq!((&who["edition"], &who["address"]), (&json!(1), &json!("127.0.0.1")));
    assert_eq!(who["limits"]["requests_per_minute"], 600);
    assert_eq!(who["limits"]["own_requests_per_minute"], 10);
    assert_eq!(who["organization"]["plan"], "pro");
    let list = ok(&boss.get("/v1/api_keys").await.unwrap(), 200);
    assert_eq!(list["data"][0]["id"], made["id"]);
    assert!(list["data"][0].get("secret").is_none(), "a secret is shown once");
    let id = made["id"].as_str().unwrap();
    assert_eq!(ok(&boss.get(&format!("/v1/api_keys/{id}")).await.unwrap(), 200)["last4"], secret[40..]);
    server.clock.advance(SignedDuration::from_hours(1));
    let answer = server.client_with(secret).get("/v1/whoami").await.unwrap();
    assert_eq!(outcome(&answer), (401, "expired_api_key".into()));
    server.finish().await;
}

#[tokio::test]
async fn nobody_makes_or_changes_a_key_that_is_more_than_himself() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let soon = server.clock.now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let (own, small) = manager(&server, &organization, |key| {
        key.permissions = PermissionSet::of(&[Permission::ApiKeysManage, Permission::SessionsRead]);
        key.expires_at = Some(soon);
        key.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
        key.requests_per_minute_max = Some(50);
    })
    .await;
    let (boss_id, _) = manager(&server, &organization, |_| {}).await;
    let refused = (403, "insufficient_permissions".to_owned());
    let create = async |body| small.post("/v1/api_keys", body).await.unwrap();
    let answer = create(json!({ "permissions": ["sessions:read", "sessions:write"] })).await;
    assert_eq!(outcome(&answer), refused);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer error=\"insufficient_scope\", scope=\"sessions:write\"")
    );
    for (body, param) in [
        (json!({ "expires_in_seconds": 3601 }), "expires_at"),
        (json!({ "allowed_ips": [] }), "allowed_ips"),
        (json!({ "allowed_ips": ["10.0.0.0/8"] }), "allowed_ips"),
        (json!({ "requests_per_minute": 51 }), "requests_per_minute"),
    ] {
        let answer = create(body).await;
        assert_eq!(outcome(&answer), (422, "validation_failed".into()));
        assert_eq!(answer.json()["error"]["param"], param);
    }
    let child = ok(&create(json!({})).await, 201);
    assert_eq!(child["permissions"], json!(["sessions:read"]), "the standard set, as far as its maker has it");
    assert_eq!(child["allowed_ips"], json!(["127.0.0.0/8"]));
    assert_eq!(child["requests_per_minute"], 50);
    assert!(!child["expires_at"].is_null());
    for (method, path, body) in [
        ("PATCH", format!("/v1/api_keys/{boss_id}"), json!({ "name": "mine" })),
        ("POST", format!("/v1/api_keys/{boss_id}/rotate"), json!({})),
        ("PATCH", format!("/v1/api_keys/{own}"), json!({ "permissions": ["sessions:write"] })),
    ] {
        let answer = small.request(method, &path, &[], Body::Json(body)).await.unwrap();
        assert_eq!(outcome(&answer), refused, "{method} {path}");
    }
    let widened = patch(&small, &format!("/v1/api_keys/{own}"), json!({ "expires_at": null })).await;
    assert_eq!(outcome(&widened), (422, "validation_failed".into()));
    server.finish().await;
}

#[tokio::test]
async fn a_change_takes_effect_at_once() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, boss) = manager(&server, &organization, |_| {}).await;
    let made = ok(&boss.post("/v1/api_keys", json!({ "name": "worker" })).await.unwrap(), 201);
    let path = format!("/v1/api_keys/{}", made["id"].as_str().unwrap());
    let worker = server.client_with(made["secret"].as_str().unwrap());
    let list = async |client: &Client| outcome(&client.get("/v1/sessions").await.unwrap());
    assert_eq!(list(&worker).await.0, 200);
    ok(&patch(&boss, &path, json!({ "permissions": ["analysis:read"] })).await, 200);
    assert_eq!(list(&worker).await, (403, "insufficient_permissions".into()));
    ok(&patch(&boss, &path, json!({ "permissions": ["sessions:read"], "allowed_ips": ["198.51.100.7"] })).await, 200);
    assert_eq!(list(&worker).await, (403, "ip_not_allowed".into()));
    ok(&patch(&boss, &path, json!({ "allowed_ips": null })).await, 200);
    assert_eq!(list(&worker).await.0, 200);

    let rotated = ok(&boss.post(&format!("{path}/rotate"), json!({ "grace_seconds": 60 })).await.unwrap(), 200);
    assert_eq!(rotated["status"], "rotating");
    let renewed = server.client_with(rotated["secret"].as_str().unwrap());
    assert_eq!((list(&worker).await.0, list(&renewed).await.0), (200, 200));
    server.app.store_what_waits().await.unwrap();
    let shown = ok(&boss.get(&path).await.unwrap(), 200);
    assert!(!shown["rotation"]["old_secret_last_used_at"].is_null(), "who still uses the old one can be seen");
    server.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(list(&worker).await, (401, "api_key_expired".into()));
    assert_eq!(list(&renewed).await.0, 200);

    let revoked = ok(&boss.post(&format!("{path}/revoke"), json!({})).await.unwrap(), 200);
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(revoked["effective_at"], revoked["revoked_at"]);
    assert_eq!(list(&renewed).await, (401, "api_key_revoked".into()));
    let again = boss.post(&format!("{path}/rotate"), json!({})).await.unwrap();
    assert_eq!(outcome(&again), (422, "validation_failed".into()));
    server.finish().await;
}

#[tokio::test]
async fn wrong_fields_are_named_and_change_nothing() {
    let server = TestServer::start().await;
    let (_, boss) = manager(&server, &server.organization().await, |_| {}).await;
    for (body, param) in [
        (json!({ "name": "" }), "name"),
        (json!({ "permissions": [] }), "permissions"),
        (json!({ "permissions": ["sessions:raed"] }), "permissions[0]"),
        (json!({ "allowed_ips": ["300.1.1.1"] }), "allowed_ips[0]"),
        (json!({ "expires_at": "tomorrow" }), "expires_at"),
        (json!({ "expires_at": "2001-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "expires_at": "2099-01-01T00:00:00Z", "expires_in_seconds": 5 }), "expires_in_seconds"),
        (json!({ "requests_per_minute": 0 }), "requests_per_minute"),
        (json!({ "edition": 3 }), "edition"),
        (json!({ "environment": "test" }), "environment"),
    ] {
        let answer = boss.post("/v1/api_keys", body).await.unwrap();
        assert_eq!(outcome(&answer), (422, "validation_failed".into()), "{param}");
        assert_eq!(answer.json()["error"]["param"], param);
    }
    let unknown = boss.get("/v1/api_keys/key_0000000000000000000000").await.unwrap();
    assert_eq!(outcome(&unknown), (404, "not_found".into()));
    assert_eq!(boss.get("/v1/api_keys").await.unwrap().json()["data"].as_array().unwrap().len(), 1);
    server.finish().await;
}

#[tokio::test]
async fn permissions_that_nobody_uses_are_listed() {
    let server = TestServer::start().await;
    let (id, boss) = manager(&server, &server.organization().await, |key| {
        key.permissions =
            PermissionSet::of(&[Permission::ApiKeysManage, Permission::SessionsRead, Permission::AnalysisRead]);
    })
    .await;
    let unused =
        async || ok(&boss.get(&format!("/v1/api_keys/{id}")).await.unwrap(), 200)["unused_permissions"].clone();
    assert_eq!(unused().await, json!([]), "a new key has not had the time");
    server.clock.advance(SignedDuration::from_hours(24 * 31));
    boss.get("/v1/sessions").await.unwrap();
    unused().await;
    server.app.store_what_waits().await.unwrap();
    assert_eq!(unused().await, json!(["analysis:read"]));
    server.finish().await;
}

#[tokio::test]
async fn whoever_holds_a_leaked_key_can_have_it_stopped() {
    let server = TestServer::start().await;
    let nobody = Client::new(&server.base_url(), None).unwrap();
    for (policy, status, read, write) in [
        (LeakPolicy::Revoke, "revoked", (401, "api_key_revoked"), (401, "api_key_revoked")),
        (LeakPolicy::Quarantine, "quarantined", (200, ""), (403, "insufficient_permissions")),
        (LeakPolicy::Notify, "reported", (200, ""), (201, "")),
    ] {
        let organization = server.organization_with(10, |organization| organization.leak_policy = policy).await;
        let (id, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
        let client = server.client_with(&secret);
        assert_eq!(outcome(&client.get("/v1/sessions").await.unwrap()).0, 200);
        let body = json!({ "secret": secret, "source": "a public repository" });
        let report = nobody.post("/v1/api_keys/leaks", body).await.unwrap();
        assert_eq!(ok(&report, 200)["status"], status);
        assert!(!report.text().contains(&id.to_string()), "the reporter learns nothing of the key");
        assert_eq!(outcome(&client.get("/v1/sessions").await.unwrap()), (read.0, read.1.to_owned()), "{status}");
        let session = json!({ "mode": "bidirectional_translation" });
        assert_eq!(
            outcome(&client.post("/v1/sessions", session).await.unwrap()),
            (write.0, write.1.to_owned()),
            "{status}"
        );
        let (_, boss) = manager(&server, &organization, |_| {}).await;
        let audit = ok(&boss.get("/v1/audit_log").await.unwrap(), 200);
        let entry = audit["data"].as_array().unwrap().iter().find(|entry| entry["action"] == "api_key.leaked").unwrap();
        assert_eq!(entry["actor"]["type"], "leak_reporter");
        assert_eq!((&entry["address"], &entry["object_id"]), (&json!("127.0.0.1"), &json!(id.to_string())));
        if policy == LeakPolicy::Quarantine {
            ok(&patch(&boss, &format!("/v1/api_keys/{id}"), json!({ "quarantined": false })).await, 200);
            let session = json!({ "mode": "bidirectional_translation" });
            assert_eq!(client.post("/v1/sessions", session).await.unwrap().status, 201);
        }
    }
    let events = server.app.storage.events(0, 1000).await.unwrap();
    let leaks = events.iter().filter(|(_, event)| event.event_type == kallglot_core::event::EventType::KeyLeaked);
    assert_eq!(leaks.count(), 3);
    let unknown = json!({ "secret": "sk_live_000000000000000000000000000000000000" });
    assert_eq!(outcome(&nobody.post("/v1/api_keys/leaks", unknown).await.unwrap()), (404, "not_found".into()));
    server.finish().await;
}

#[tokio::test]
async fn keys_cannot_be_searched_for_but_valid_ones_still_work() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let valid = server.client(&organization, Environment::Live).await;
    let nobody = Client::new(&server.base_url(), None).unwrap();
    let malformed = "sk_live_000000000000000000000000000000000000";
    let unknown = Secret::new(Environment::Live, server.app.random.as_ref()).expose().to_owned();
    for attempt in 0..60 {
        let key = if attempt % 2 == 0 { malformed } else { &unknown };
        let answer = nobody.request("GET", "/v1/whoami", &[("x-api-key", key)], Body::Empty).await.unwrap();
        assert_eq!(outcome(&answer), (401, "api_key_invalid".into()), "{attempt}");
    }
    for key in [malformed, &unknown] {
        let answer = nobody.request("GET", "/v1/whoami", &[("x-api-key", key)], Body::Empty).await.unwrap();
        assert_eq!(outcome(&answer), (429, "too_many_failed_attempts".into()));
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    for key in [malformed, &unknown] {
        let report = nobody.post("/v1/api_keys/leaks", json!({ "secret": key })).await.unwrap();
        assert_eq!(outcome(&report), (429, "too_many_failed_attempts".into()), "nor by reporting leaks");
    }
    assert_eq!(nobody.get("/v1/whoami").await.unwrap().status, 401, "who shows no key does not search");
    let answer = valid.get("/v1/whoami").await.unwrap();
    assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, Some("599")));
    server.clock.advance(SignedDuration::from_secs(60));
    let answer = nobody.request("GET", "/v1/whoami", &[("x-api-key", malformed)], Body::Empty).await.unwrap();
    assert_eq!(answer.status, 401);
    server.finish().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_clients_address_counts() {
    let edge = EdgeConfig {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        hosts: [("sandbox.example.com".to_owned(), kallglot_core::api_key::ServerEnvironment::Test)].into(),
        ..EdgeConfig::default()
    };
    let server = ServerBuilder::default().edge(edge).start().await;
    let organization = server.organization().await;
    let allow = |key: &mut ApiKey| key.allowed_networks = vec!["203.0.113.0/24".parse().unwrap()];
    let (_, secret) = server.key_with(&organization, Environment::Live, allow).await;
    let client = server.client_with(&secret);
    let from = async |forwarded: &str| {
        let answer = client.request("GET", "/v1/whoami", &[("x-forwarded-for", forwarded)], Body::Empty).await.unwrap();
        outcome(&answer)
    };
    assert_eq!(from("203.0.113.9").await.0, 200);
    assert_eq!(from("203.0.113.9, 198.51.100.1").await, (403, "ip_not_allowed".into()));
    let sandbox = client
        .request(
            "GET",
            "/v1/whoami",
            &[("host", "sandbox.example.com"), ("x-forwarded-for", "203.0.113.9")],
            Body::Empty,
        )
        .await
        .unwrap();
    assert_eq!(outcome(&sandbox), (401, "api_key_wrong_environment".into()));
    server.finish().await;
}

#[tokio::test]
async fn changes_by_the_command_line_reach_a_key_in_use() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (id, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let client = server.client_with(&secret);
    assert_eq!(client.get("/v1/sessions").await.unwrap().status, 200);
    let outside = server.another_process().await;
    let tenant = kallglot_core::session::Tenant { organization: organization.id, environment: Environment::Live };
    outside.revoke_key(tenant, id, false, &server.change()).await.unwrap();
    kallglot_testkit::soon("the revocation takes effect", async {
        while client.get("/v1/sessions").await.unwrap().status == 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    outside.close().await.unwrap();
    server.finish().await;
}
