//! Requests that can be repeated (contract section 8).

use jiff::SignedDuration;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::Environment;
use kallglot_testkit::client::{Answer, Body, Client};
use kallglot_testkit::{TestServer, soon};
use serde_json::{Value, json};

fn new_session() -> Value {
    json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" })
}

fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error_code().unwrap_or_default())
}

async fn post(client: &Client, path: &str, key: &str, body: Value) -> Answer {
    client.request("POST", path, &[("idempotency-key", key)], Body::Json(body)).await.unwrap()
}

#[tokio::test]
async fn the_same_request_gets_the_first_answer_again() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let client = server.client(&organization, Environment::Live).await;
    let first = post(&client, "/v1/sessions", "order-17", new_session()).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let reordered = json!({ "target_language": "es", "source_language": "en", "mode": "bidirectional_translation" });
    let another_key = server.client(&organization, Environment::Live).await;
    for again in [
        post(&client, "/v1/sessions", "order-17", new_session()).await,
        post(&client, "/v1/sessions", "\"order-17\"", reordered).await,
        post(&another_key, "/v1/sessions", "order-17", new_session()).await,
    ] {
        assert_eq!((again.status, again.text()), (201, first.text()));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.header("idempotent-original-request-id"), first.header("x-request-id"));
        assert_eq!(again.header("x-api-credits-remaining"), Some("999"), "a replay costs nothing");
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(client.get("/v1/sessions").await.unwrap().json()["data"].as_array().unwrap().len(), 1);
    server.finish().await;
}

#[tokio::test]
async fn a_different_request_under_the_same_key_is_refused() {
    let server = TestServer::start().await;
    let client = server.test_client().await;
    let first = post(&client, "/v1/sessions", "k", new_session()).await.json();
    let mut other = new_session();
    other["target_language"] = json!("fr");
    let mismatch = (400, "idempotency_mismatch".to_owned());
    let refused = post(&client, "/v1/sessions", "k", other).await;
    assert_eq!(outcome(&refused), mismatch);
    assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    // Step 7 comes before validation.
    assert_eq!(outcome(&post(&client, "/v1/sessions", "k", json!({ "mode": "nonsense" })).await), mismatch);
    let end = format!("/v1/sessions/{}/end", first["id"].as_str().unwrap());
    assert_eq!(outcome(&post(&client, &end, "k", json!({})).await), mismatch);
    server.finish().await;
}

#[tokio::test]
async fn scopes_are_organization_and_environment() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let mut ids = std::collections::BTreeSet::new();
    for client in [
        server.client(&organization, Environment::Live).await,
        server.client(&organization, Environment::Test).await,
        server.test_client().await,
    ] {
        let answer = post(&client, "/v1/sessions", "k", new_session()).await;
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (201, None));
        ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
    server.finish().await;
}

#[tokio::test]
async fn after_a_day_a_key_is_new() {
    let server = TestServer::start().await;
    let client = server.test_client().await;
    let first = post(&client, "/v1/sessions", "k", new_session()).await;
    server.clock.advance(SignedDuration::from_hours(23));
    assert_eq!(post(&client, "/v1/sessions", "k", new_session()).await.text(), first.text());
    let state = client.get("/v1/idempotency_keys/k").await.unwrap().json();
    assert_eq!((&state["status"], &state["response_status"]), (&json!("completed"), &json!(201)));
    assert_eq!(state["request_id"].as_str(), first.header("x-request-id"));
    server.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(outcome(&client.get("/v1/idempotency_keys/k").await.unwrap()), (404, "not_found".into()));
    let other = json!({ "mode": "assistive_translation" });
    assert_eq!(outcome(&post(&client, "/v1/sessions", "k", other).await).0, 201);
    server.finish().await;
}

#[tokio::test]
async fn refusals_are_not_kept() {
    let server = TestServer::start().await;
    let organization = server.organization_with(0, |_| {}).await;
    let client = server.client(&organization, Environment::Live).await;
    assert_eq!(outcome(&post(&client, "/v1/sessions", "a", json!({})).await), (422, "validation_failed".into()));
    assert_eq!(
        outcome(&post(&client, "/v1/sessions", "a", new_session()).await),
        (402, "insufficient_api_credits".into())
    );
    assert_eq!(outcome(&client.get("/v1/idempotency_keys/a").await.unwrap()), (404, "not_found".into()));
    let one = std::num::NonZeroU32::MIN;
    let outside = server.another_process().await;
    outside.grant_credits(organization.id, one, &server.change()).await.unwrap();
    assert_eq!(outcome(&post(&client, "/v1/sessions", "a", new_session()).await).0, 201);
    outside.close().await.unwrap();
    server.finish().await;
}

#[tokio::test]
async fn ending_a_session_can_be_repeated() {
    let server = TestServer::start().await;
    let client = server.test_client().await;
    let id = client.post("/v1/sessions", new_session()).await.unwrap().json()["id"].as_str().unwrap().to_owned();
    let end = format!("/v1/sessions/{id}/end");
    let first = post(&client, &end, "end-1", json!({ "reason": "agent_hangup" })).await;
    let again = post(&client, &end, "end-1", json!({ "reason": "agent_hangup" })).await;
    assert_eq!((again.status, again.text()), (200, first.text()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    server.finish().await;
}

#[tokio::test]
async fn a_new_keys_secret_is_replayed_and_not_kept_in_clear() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let all = |key: &mut kallglot_core::api_key::ApiKey| key.permissions = PermissionSet::all();
    let (_, secret) = server.key_with(&organization, Environment::Live, all).await;
    let client = server.client_with(&secret);
    let first = post(&client, "/v1/api_keys", "k", json!({ "name": "backend" })).await;
    let again = post(&client, "/v1/api_keys", "k", json!({ "name": "backend" })).await;
    assert_eq!((first.status, again.text()), (201, first.text()));
    let made = first.json()["secret"].as_str().unwrap().to_owned();
    let tenant = kallglot_core::session::Tenant { organization: organization.id, environment: Environment::Live };
    let key = kallglot_core::idempotency::IdempotencyKey::parse("k").unwrap();
    let now = kallglot_core::clock::Clock::now(server.clock.as_ref());
    let stored = server.app.storage.answer(tenant, &key, now).await.unwrap().unwrap();
    assert!(!stored.sealed_body.windows(made.len()).any(|part| part == made.as_bytes()));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_at_once_one_works() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let client = server.client(&organization, Environment::Live).await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { post(&client, "/v1/sessions", "once", new_session()).await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    let mut fresh = 0;
    for task in tasks {
        let answer = soon("an answer", task).await.unwrap();
        match outcome(&answer) {
            (201, _) => {
                ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
                fresh += usize::from(answer.header("idempotent-replayed").is_none());
            }
            (409, code) => {
                assert_eq!(code, "idempotency_conflict");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((ids.len(), fresh), (1, 1));
    let balance = server.app.storage.credit_balance(organization.id).await.unwrap().unwrap();
    assert_eq!((balance.remaining, balance.used), (999, 1));
    server.finish().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let server = TestServer::start().await;
    let client = server.client_that_may(&server.organization().await, &[Permission::SessionsWrite]).await;
    for key in ["", "\"\"", "\"open", &"k".repeat(256)] {
        let answer = post(&client, "/v1/sessions", key, new_session()).await;
        assert_eq!(outcome(&answer), (400, "invalid_request".into()), "{key}");
    }
    server.finish().await;
}
