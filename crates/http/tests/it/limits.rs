//! Limits hold exactly under concurrency (contract sections 3, 5, 6 and 7): requests, concurrent sessions, credits.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use kallglot_core::event::EventType;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::session::Environment;
use kallglot_testkit::client::{Answer, Body, Client};
use kallglot_testkit::{Organization, TestServer, soon};
use serde_json::json;

pub(crate) fn new_session() -> serde_json::Value {
    json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" })
}

pub(crate) fn outcome(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.error_code().unwrap_or_default())
}

fn number(answer: &Answer, name: &str) -> i64 {
    let value = answer.header(name).unwrap_or_else(|| panic!("{name} is missing"));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

/// Runs `each` once per client, all at once; how often each outcome came.
pub(crate) async fn at_once<F>(clients: usize, each: impl Fn(usize) -> F) -> BTreeMap<String, usize>
where
    F: Future<Output = Vec<String>> + Send + 'static,
{
    let tasks: Vec<_> = (0..clients).map(|index| tokio::spawn(each(index))).collect();
    let mut outcomes = BTreeMap::new();
    for task in tasks {
        for outcome in soon("an answer", task).await.unwrap() {
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    outcomes
}

pub(crate) async fn with_limits(server: &TestServer, credits: u32, requests: u32, sessions: u32) -> Organization {
    let overrides = LimitOverrides {
        requests_per_minute_max: Some(requests),
        concurrent_sessions_max: Some(sessions),
        ..LimitOverrides::default()
    };
    let change = |organization: &mut kallglot_core::organization::Organization| {
        organization.plan = Plan::Enterprise;
        organization.overrides = overrides;
    };
    server.organization_with(credits, change).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_lets_exactly_its_limit_through_to_64_clients() {
    let server = TestServer::start().await;
    for (limit, rounds) in [(60, 3), (600, 2), (10_000, 1)] {
        let organization = with_limits(&server, 0, limit, 5).await;
        let keys = [
            server.client(&organization, Environment::Live).await,
            server.client(&organization, Environment::Live).await,
        ];
        for _ in 0..rounds {
            let tries = (limit as usize / 64) + 8;
            let outcomes = at_once(64, |index| {
                // Two keys share their organization's bucket.
                let client = keys[index % 2].clone();
                async move {
                    let mut outcomes = Vec::new();
                    for _ in 0..tries {
                        outcomes.push(outcome(&client.get("/v1/whoami").await.unwrap()));
                    }
                    outcomes
                }
            })
            .await;
            assert_eq!(outcomes["200 "], limit as usize, "{outcomes:?}");
            assert_eq!(outcomes["429 rate_limit_exceeded"], 64 * tries - limit as usize);
            server.clock.advance(SignedDuration::from_secs(60));
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_creations_share_fifty_slots() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 1000, 1000, 50).await;
    let client = server.client(&organization, Environment::Live).await;
    let outcomes = at_once(200, |_| {
        let client = client.clone();
        async move { vec![outcome(&client.post("/v1/sessions", new_session()).await.unwrap())] }
    })
    .await;
    assert_eq!(outcomes, BTreeMap::from([("201 ".into(), 50), ("429 concurrent_session_limit_exceeded".into(), 150)]));
    let answer = client.get("/v1/whoami").await.unwrap();
    assert_eq!(number(&answer, "x-api-credits-remaining"), 950, "only the successful ones cost");
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 1000 - 50 - 1, "the refused ones gave their rate unit back");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_creations_share_37_credits() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 37, 1000, 500).await;
    let client = server.client(&organization, Environment::Live).await;
    let outcomes = at_once(200, |_| {
        let client = client.clone();
        async move { vec![outcome(&client.post("/v1/sessions", new_session()).await.unwrap())] }
    })
    .await;
    assert_eq!(outcomes, BTreeMap::from([("201 ".into(), 37), ("402 insufficient_api_credits".into(), 163)]));
    let storage = &server.app.storage;
    assert_eq!(storage.credit_balance(organization.id).await.unwrap().unwrap().remaining, 0);
    let ledger = storage.ledger(organization.id, 0, 1000).await.unwrap();
    assert_eq!(ledger.iter().map(|entry| entry.amount).sum::<i64>(), 0);
    let spends: std::collections::BTreeSet<_> = ledger.iter().filter_map(|entry| entry.request).collect();
    assert_eq!(spends.len(), 37, "each spend names its request");

    let answer = client.get("/v1/whoami").await.unwrap();
    assert_eq!(number(&answer, "x-api-credits-remaining"), 0);
    assert_eq!(number(&answer, "x-api-credits-used"), 37);
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 1000 - 37 - 1, "a 402 gives the rate unit back");
    let now_ms = kallglot_core::clock::Clock::now(server.clock.as_ref()).as_millisecond();
    let tenant = kallglot_core::session::Tenant { organization: organization.id, environment: Environment::Live };
    assert_eq!(server.app.cluster.leases_in_use(tenant, now_ms).get().await, Ok(Some(37)), "a 402 gives the slot back");
    let low = storage.events(0, 1000).await.unwrap();
    let low: Vec<_> = low.iter().filter(|(_, event)| event.event_type == EventType::CreditsLow).collect();
    assert_eq!(low.len(), 1, "credits.low is raised once per crossing");
    assert_eq!((low[0].1.detail["remaining"].as_u64(), low[0].1.detail["threshold"].as_u64()), (Some(10), Some(10)));
    server.finish().await;
}

#[tokio::test]
async fn every_authenticated_answer_has_the_headers() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 2, 5, 1).await;
    let client = server.client(&organization, Environment::Live).await;
    let left = |answer: &Answer| {
        (
            answer.status,
            number(answer, "x-ratelimit-limit"),
            number(answer, "x-ratelimit-remaining"),
            number(answer, "x-api-credits-remaining"),
            number(answer, "x-api-credits-used"),
        )
    };
    let created = client.post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(left(&created), (201, 5, 4, 1, 1), "after a spend that succeeds");
    assert_eq!(created.header("ratelimit-policy"), Some("\"organization\";q=5;w=60"));
    assert_eq!(created.header("ratelimit"), Some("\"organization\";r=4;t=60"));
    let resets_at = number(&created, "x-ratelimit-reset");
    let now = kallglot_core::clock::Clock::now(server.clock.as_ref()).as_second();
    assert!((now + 59..=now + 61).contains(&resets_at));

    let full = client.post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(left(&full), (429, 5, 4, 1, 1));
    assert_eq!(outcome(&full), "429 concurrent_session_limit_exceeded");
    assert!(number(&full, "retry-after") >= 1 && full.json()["error"]["retry_after"].as_i64() >= Some(1));
    assert_eq!(left(&client.get("/v1/sessions/sess_none").await.unwrap()), (404, 5, 3, 1, 1));
    assert_eq!(left(&client.post("/v1/sessions", json!({"mode": "x"})).await.unwrap()), (422, 5, 2, 1, 1));
    let deleted = client.request("DELETE", "/v1/sessions", &[], Body::Empty).await.unwrap();
    assert_eq!((deleted.status, deleted.header("allow")), (405, Some("POST,GET,HEAD")));
    client.get("/v1/languages").await.unwrap();
    client.get("/v1/languages").await.unwrap();
    let limited = client.get("/v1/languages").await.unwrap();
    assert_eq!(left(&limited), (429, 5, 0, 1, 1));
    assert_eq!(number(&limited, "retry-after"), 60);
    server.clock.advance(SignedDuration::from_secs(59));
    assert_eq!(number(&client.get("/v1/languages").await.unwrap(), "retry-after"), 1);
    server.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(left(&client.get("/v1/languages").await.unwrap()), (200, 5, 4, 1, 1), "a new window");
    server.finish().await;
}

#[tokio::test]
async fn a_keys_own_limit_is_a_second_bucket() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 0, 10, 1).await;
    let wide = server.client(&organization, Environment::Live).await;
    let (_, secret) =
        server.key_with(&organization, Environment::Live, |key| key.requests_per_minute_max = Some(2)).await;
    let narrow = server.client_with(&secret);
    let first = narrow.get("/v1/languages").await.unwrap();
    assert_eq!((number(&first, "x-ratelimit-limit"), number(&first, "x-ratelimit-remaining")), (2, 1));
    assert_eq!(first.header("ratelimit-policy"), Some("\"organization\";q=10;w=60, \"key\";q=2;w=60"));
    narrow.get("/v1/languages").await.unwrap();
    for _ in 0..5 {
        assert_eq!(outcome(&narrow.get("/v1/languages").await.unwrap()), "429 rate_limit_exceeded");
    }
    let wide = wide.get("/v1/languages").await.unwrap();
    assert_eq!(
        number(&wide, "x-ratelimit-remaining"),
        7,
        "what the key's limit refused took nothing of the organization's"
    );
    server.finish().await;
}

#[tokio::test]
async fn test_keys_cost_nothing_and_have_limits_of_their_own() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 0, 600, 50).await;
    let test = server.client(&organization, Environment::Test).await;
    for _ in 0..5 {
        assert_eq!(outcome(&test.post("/v1/sessions", new_session()).await.unwrap()), "201 ");
    }
    let full = test.post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(outcome(&full), "429 concurrent_session_limit_exceeded");
    assert_eq!(number(&full, "x-ratelimit-limit"), 60);
    let live = server.client(&organization, Environment::Live).await;
    let broke = live.post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(
        (outcome(&broke).as_str(), number(&broke, "x-ratelimit-remaining")),
        ("402 insufficient_api_credits", 600)
    );
    server.finish().await;
}

#[tokio::test]
async fn a_slot_comes_back_when_a_session_ends_or_nobody_joins() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 100, 600, 1).await;
    let client = server.client(&organization, Environment::Live).await;
    let create = async || client.post("/v1/sessions", new_session()).await.unwrap();
    let first = create().await;
    assert_eq!(outcome(&create().await), "429 concurrent_session_limit_exceeded");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    client.post(&format!("/v1/sessions/{id}/end"), json!({})).await.unwrap();
    assert_eq!(outcome(&create().await), "201 ");
    server.clock.advance(SignedDuration::from_secs(299));
    assert_eq!(outcome(&create().await), "429 concurrent_session_limit_exceeded");
    server.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(outcome(&create().await), "201 ", "its stream token has expired");
    server.finish().await;
}

#[tokio::test]
async fn slots_are_counted_again_after_a_restart() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 100, 600, 1).await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    assert_eq!(outcome(&server.client_with(&secret).post("/v1/sessions", new_session()).await.unwrap()), "201 ");
    let server = server.restart().await;
    let refused = server.client_with(&secret).post("/v1/sessions", new_session()).await.unwrap();
    assert_eq!(outcome(&refused), "429 concurrent_session_limit_exceeded");
    server.clock.advance(SignedDuration::from_secs(300));
    assert_eq!(outcome(&server.client_with(&secret).post("/v1/sessions", new_session()).await.unwrap()), "201 ");
    server.finish().await;
}

#[tokio::test]
async fn a_connected_session_keeps_its_slot_and_a_lapsed_one_must_get_it_again() {
    let server = TestServer::start().await;
    let organization = with_limits(&server, 100, 600, 1).await;
    let client = server.client(&organization, Environment::Live).await;
    let create = async || client.post("/v1/sessions", new_session()).await.unwrap();
    let lapsed = create().await.json();
    server.clock.advance(SignedDuration::from_secs(300));
    let joined = create().await;
    assert_eq!(joined.status, 201);
    // The lapsed session's fresh token is valid, but there is no slot for it.
    let fresh = client.get(&format!("/v1/sessions/{}", lapsed["id"].as_str().unwrap())).await.unwrap().json();
    let url = fresh["stream"]["url"].as_str().unwrap().replace("ws://", "http://");
    let token = fresh["stream"]["token"].as_str().unwrap();
    let path = format!("{}?token={token}", url.strip_prefix(&server.base_url()).unwrap());
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let nobody = Client::new(&server.base_url(), None).unwrap();
    let refused = nobody.request("GET", &path, &upgrade, Body::Empty).await.unwrap();
    assert_eq!(outcome(&refused), "429 concurrent_session_limit_exceeded");
    server.finish().await;
}
