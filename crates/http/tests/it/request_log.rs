//! The request log: every request, and why it was refused.

use jiff::SignedDuration;
use kallglot_app::request_log::RequestFilter;
use kallglot_app::usage::Period;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::{Environment, Tenant};
use kallglot_core::usage::Usage;
use kallglot_testkit::TestServer;
use kallglot_testkit::client::{Answer, Client};
use serde_json::{Value, json};

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

async fn explained(client: &Client, answer: &Answer) -> Value {
    let found = client.get(&format!("/v1/requests/{}", id(answer))).await.unwrap();
    assert_eq!(found.status, 200, "{}", found.text());
    found.json()
}

#[tokio::test]
async fn a_refusal_is_explained_by_its_id() {
    let server = TestServer::start().await;
    let organization = server.organization_with(0, |_| {}).await;
    let client = server.client(&organization, Environment::Live).await;
    let reader = server.client_that_may(&organization, &[Permission::SessionsRead]).await;
    let session = json!({ "mode": "bidirectional_translation" });

    let answer = client.post("/v1/sessions", session.clone()).await.unwrap();
    let why = explained(&client, &answer).await;
    assert_eq!(
        (&why["status"], &why["code"], &why["outcome"]),
        (&json!(402), &json!("insufficient_api_credits"), &json!("refused"))
    );
    assert_eq!((&why["explanation"]["step"], &why["explanation"]["check"]), (&json!(10), &json!("credits")));
    assert_eq!((&why["method"], &why["route"]), (&json!("POST"), &json!("/v1/sessions")));
    assert_eq!(why["limits"]["rate_limit"]["remaining"], 600);

    let answer = reader.post("/v1/sessions", session).await.unwrap();
    let why = explained(&reader, &answer).await;
    assert_eq!((&why["missing_permission"], &why["explanation"]["step"]), (&json!("sessions:write"), &json!(6)));

    let answer = client.post("/v1/sessions", json!({ "mode": "nonsense" })).await.unwrap();
    let why = explained(&client, &answer).await;
    assert_eq!((&why["param"], &why["explanation"]["step"]), (&json!("mode"), &json!(8)));

    let answer = client.get("/v1/languages").await.unwrap();
    let fine = explained(&client, &answer).await;
    assert_eq!((&fine["outcome"], &fine["explanation"]), (&json!("allowed"), &Value::Null));
    server.finish().await;
}

#[tokio::test]
async fn requests_are_found_in_memory_and_in_the_database_and_by_nobody_else() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, secret) =
        server.key_with(&organization, Environment::Live, |key| key.permissions = PermissionSet::all()).await;
    let client = server.client_with(&secret);
    let first = client.get("/v1/languages").await.unwrap();
    server.clock.advance(SignedDuration::from_secs(2));
    server.app.store_what_waits().await.unwrap();
    let second = client.get("/v1/sessions").await.unwrap();
    for answer in [&first, &second] {
        assert_eq!(explained(&client, answer).await["id"], id(answer).as_str());
    }
    for other in [server.test_client().await, server.client(&organization, Environment::Test).await] {
        let found = other.get(&format!("/v1/requests/{}", id(&first))).await.unwrap();
        assert_eq!((found.status, found.error_code().as_deref()), (404, Some("not_found")));
    }
    let server = server.restart().await;
    let client = server.client_with(&secret);
    assert_eq!(explained(&client, &second).await["route"], "/v1/sessions", "what waited was stored before the end");
    server.finish().await;
}

#[tokio::test]
async fn the_log_is_listed_newest_first_and_filtered() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, secret) =
        server.key_with(&organization, Environment::Live, |key| key.permissions = PermissionSet::all()).await;
    let client = server.client_with(&secret);
    let mut ids = Vec::new();
    for step in 0..30 {
        let path = if step % 3 == 0 { "/v1/sessions/sess_unknown" } else { "/v1/languages" };
        ids.push(id(&client.get(path).await.unwrap()));
        server.clock.advance(SignedDuration::from_millis(500));
        if step == 10 || step == 20 {
            server.app.store_what_waits().await.unwrap();
        }
    }
    let list = async |query: &str| {
        let answer = client.get(&format!("/v1/requests?{query}")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let found: Vec<String> =
            body["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (found, body["has_more"].as_bool().unwrap())
    };
    let (refused, more) = list("status=4xx&limit=100").await;
    let expected: Vec<_> = ids.iter().step_by(3).rev().cloned().collect();
    assert_eq!((refused, more), (expected, false));
    let (page, more) = list(&format!("limit=5&starting_after={}", ids[29])).await;
    let expected: Vec<_> = ids[24..29].iter().rev().cloned().collect();
    assert_eq!((page, more), (expected, true));
    assert_eq!(list("code=session_not_found&limit=2").await.0, [ids[27].clone(), ids[24].clone()]);
    assert_eq!(list("status=500").await.0, Vec::<String>::new());
    for wrong in ["status=x", "code=nonsense", "api_key=1", "before=1", "limit=0"] {
        assert_eq!(client.get(&format!("/v1/requests?{wrong}")).await.unwrap().status, 422, "{wrong}");
    }
    server.finish().await;
}

/// What an organization's requests come to, counted out of the log itself.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
pub(crate) async fn counted(server: &TestServer, tenant: Tenant) -> Usage {
    let app = &server.app;
    let (records, more) = app
        .request_log
        .list(app.storage.as_ref(), tenant, &RequestFilter::default(), 100_000, app.clock.now())
        .await
        .unwrap();
    assert!(!more);
    let mut counted = Usage::default();
    records.iter().for_each(|record| counted.add(record));
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_counts_exactly_the_requests_of_the_log() {
    let server = TestServer::start().await;
    let organization = server.organization_with(1_000, |made| made.overrides.requests_per_minute_max = Some(60)).await;
    let mut keys = Vec::new();
    for environment in [Environment::Live, Environment::Live, Environment::Test] {
        keys.push(server.key_with(&organization, environment, |_| {}).await);
    }
    let busy = keys.iter().enumerate().map(|(number, (_, secret))| {
        let client = server.client_with(secret);
        async move {
            for turn in 0..25 {
                let path =
                    ["/v1/whoami", "/v1/sessions", "/v1/sessions/sess_0000000000000000000001"][(number + turn) % 3];
                client.get(path).await.unwrap();
            }
        }
    });
    let storing = async {
        for _ in 0..20 {
            server.app.store_what_waits().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(futures_util::future::join_all(busy), storing);
    server.app.store_what_waits().await.unwrap();

    let live = Tenant { organization: organization.id, environment: Environment::Live };
    let test = Tenant { environment: Environment::Test, ..live };
    for (tenant, requests) in [(live, 50), (test, 25)] {
        let expected = counted(&server, tenant).await;
        assert_eq!(expected.all().requests, requests);
        for period in Period::ALL {
            let report = server.app.usage(tenant, None, None, period).await.unwrap();
            assert_eq!(report.all, expected, "{}", period.as_str());
            let steps: u64 = report.steps.iter().map(|(_, counts)| counts.requests).sum();
            assert_eq!(steps, requests);
        }
    }
    let by_key = server.app.usage_by_key(live, Period::Day, 10).await.unwrap();
    assert_eq!(by_key.iter().map(|(_, totals)| totals.requests).collect::<Vec<_>>(), [25, 25]);
    for (key, _) in &keys[..2] {
        let report = server.app.usage(live, Some(*key), None, Period::Hour).await.unwrap();
        assert_eq!(report.all.all().requests, 25);
        assert_eq!(server.app.usage(test, Some(*key), None, Period::Hour).await.unwrap().all.all().requests, 0);
    }
    server.finish().await;
}
