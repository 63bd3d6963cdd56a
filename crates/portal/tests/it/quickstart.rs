//! The quickstart: each step is done when the server has seen it.

use kallglot_client::Body;
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Speaker};
use kallglot_testkit::{Call, TestServer};
use serde_json::Value;

#[tokio::test]
async fn three_steps_lead_from_nothing_to_the_first_translated_words() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut developer = server.member(&team, Role::Developer).await;
    server.confirm(&developer).await;
    let page = developer.get(&team.at("test", "")).await;
    assert!(page.has("0 of 3 steps done"), "the overview begins with it: {}", page.html);
    let page = developer.get(&team.at("test", "/quickstart")).await;
    assert!(page.has("sk_test_…") && page.has("fetch(`${SERVER}/v1/sessions`"), "{}", page.html);
    let once = page.attribute("name=\"once\" value").unwrap().to_owned();
    let state = team.at("test", "/quickstart/state");
    assert_eq!(developer.get(&state).await.html, r#"{"key":false,"session":null,"words":null}"#);

    let make = team.at("test", "/quickstart/key");
    let page = developer.post(&make, &[("once", &once)]).await;
    let secret = page.text_of("secret").unwrap().to_owned();
    assert_eq!(page.header("cache-control"), Some("no-store"));
    for id in ["snippet-curl", "snippet-javascript", "snippet-python"] {
        let snippet = page.text_of(id).unwrap();
        assert!(snippet.contains(&secret) && snippet.contains(&server.base_url()), "{id}: {snippet}");
    }
    assert_eq!(developer.post(&make, &[("once", &once)]).await.status, 303, "a reload makes no second key");
    assert!(!developer.get(&team.at("test", "/quickstart")).await.has(&secret));
    assert_eq!(developer.get(&state).await.html, r#"{"key":true,"session":null,"words":null}"#);

    // What the programs do.
    let speech = server.client_with(&secret).request("GET", "/portal/speech.ulaw", &[], Body::Empty).await.unwrap();
    assert_eq!((speech.status, speech.body.len() % 800), (200, 0));
    let mut call = Call::start(&server.client_with(&secret)).await;
    let told: Value = serde_json::from_str(&developer.get(&state).await.html).unwrap();
    assert!(told["session"]["id"].as_str().unwrap().starts_with("sess_") && told["words"].is_null(), "{told}");
    call.play(Speaker::Customer, &[speech.body, vec![0xff; 8000]].concat()).await;
    let said = call.next_final().await;
    let told: Value = serde_json::from_str(&developer.get(&state).await.html).unwrap();
    assert_eq!(told["words"]["text"], said.text.as_str(), "a final is stored before it is told");
    assert_eq!(told["words"]["translation"], said.translation.unwrap().text.as_str());
    let page = developer.get(&team.at("test", "")).await;
    assert!(!page.has("steps done"), "what is done is out of the way");
    server.finish().await;
}

#[tokio::test]
async fn what_the_portal_does_by_itself_is_no_step() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let mut reader = server.member(&team, Role::ReadOnly).await;
    let tenant = kallglot_core::session::Tenant { organization: team.id, environment: Environment::Test };
    server.app.portal_key(tenant, &server.change()).await.unwrap();
    let state = reader.get(&team.at("test", "/quickstart/state")).await;
    assert_eq!(state.html, r#"{"key":false,"session":null,"words":null}"#);
    let page = reader.get(&team.at("test", "/quickstart")).await;
    assert!(!page.has("Make a test key"), "who only reads makes none: {}", page.html);
    assert!(reader.get(&team.at("live", "/quickstart")).await.has("To the test environment"));
    server.finish().await;
}
