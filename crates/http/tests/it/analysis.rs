//! Analyses (contract section 13): asked for, paid for, made in the background, tried again, never stuck; and the profiles that they judge by.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_app::analysis::AnalysisConfig;
use kallglot_core::analysis::Part;
use kallglot_core::clock::Clock as _;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::SegmentId;
use kallglot_core::session::{Environment, Speaker, Translation};
use kallglot_engine::{ActionItem, CallSummary, CallText, EngineError, Summarizer};
use kallglot_storage::NewTurn;
use kallglot_testkit::client::{Analysis, Body, Client};
use kallglot_testkit::{ServerBuilder, TestServer, soon};
use serde_json::{Value, json};

/// Somebody says something in a session, as a recognizer would have heard it.
pub(crate) async fn say(server: &TestServer, session: &str, speaker: Speaker, language: &str, text: &str) {
    say_with(server, session, speaker, (language, text), None).await;
}

async fn say_with(
    server: &TestServer,
    session: &str,
    speaker: Speaker,
    (language, text): (&str, &str),
    translation: Option<(&str, &str)>,
) {
    let id = session.parse().unwrap();
    let session = server.app.storage.session_for_token_holder(id).await.unwrap().unwrap();
    let count = server.app.storage.turn_count(session.tenant, id).await.unwrap().unwrap();
    let now = server.clock.now();
    let turn = NewTurn {
        id: SegmentId::new(now, server.app.random.as_ref()),
        speaker,
        language: language.parse().unwrap(),
        text: text.into(),
        translation: translation
            .map(|(language, text)| Translation { language: language.parse().unwrap(), text: text.into() }),
        timestamp: now,
        start_ms: u64::from(count) * 4_000,
        end_ms: u64::from(count) * 4_000 + 3_000,
        confidence: 0.9,
    };
    server.app.storage.append_turn(session.tenant, id, &turn).await.unwrap().unwrap();
}

/// An analysis once it is over.
pub(crate) async fn over(api: &Client, id: &str) -> Analysis {
    soon("the analysis is over", async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let analysis = api.analysis(id).await.unwrap();
            if analysis.is_over() {
                return analysis;
            }
        }
    })
    .await
}

async fn a_session(api: &Client) -> String {
    let new = json!({ "mode": "bidirectional_translation", "source_language": "es", "target_language": "en" });
    api.post("/v1/sessions", new).await.unwrap().json()["id"].as_str().unwrap().to_owned()
}

/// A session in which a guest complains and is helped.
async fn a_call(server: &TestServer, api: &Client) -> String {
    let id = a_session(api).await;
    let spanish = ("es", "La calefacción de la habitación 214 está rota y estoy muy enfadada.");
    let english = ("en", "The heating of room 214 is broken and I am very angry.");
    say(server, &id, Speaker::Agent, "en", "Good morning, this call is recorded.").await;
    say_with(server, &id, Speaker::Customer, spanish, Some(english)).await;
    say(server, &id, Speaker::Agent, "en", "I will send a technician to repair the heating.").await;
    id
}

async fn credits(api: &Client) -> u64 {
    api.get("/v1/whoami").await.unwrap().header("x-api-credits-remaining").unwrap().parse().unwrap()
}

async fn events(server: &TestServer, of: EventType) -> Vec<Event> {
    let all = server.app.storage.events(0, 1000).await.unwrap();
    all.into_iter().map(|(_, event)| event).filter(|event| event.event_type == of).collect()
}

#[tokio::test]
async fn an_analysis_is_asked_for_and_made() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let id = a_call(&server, &api).await;
    let before = credits(&api).await;
    let asked = api.post(&format!("/v1/sessions/{id}/analysis"), json!({})).await.unwrap();
    assert_eq!((asked.status, &asked.json()["status"]), (202, &json!("processing")));
    let analysis = over(&api, asked.json()["id"].as_str().unwrap()).await;
    assert_eq!((analysis.status.as_str(), analysis.session_id.as_str()), ("completed", id.as_str()));
    let summary = analysis.summary.unwrap();
    assert!(summary.contains("Customer: The heating of room 214 is broken"), "{summary}");
    let other = Value::Object(analysis.other);
    assert_eq!((&other["errors"], &other["transcript"]["complete"]), (&json!([]), &json!(false)));
    assert_eq!(other["sentiment"]["customer"]["label"], "negative");
    assert_eq!(other["compliance"]["status"], "not_applicable", "there is no profile");
    assert!(other["performance"]["score"].is_number() && other["keywords"][0]["text"].is_string());
    assert_eq!(other["progress"], json!({ "attempts": 1, "parts_done": 5, "parts_total": 5 }));
    assert_eq!(credits(&api).await, before - 1);

    let [event] = &events(&server, EventType::AnalysisComplete).await[..] else { panic!("one event") };
    assert_eq!(
        (event.object.as_str(), event.session.map(|id| id.to_string())),
        (analysis.id.as_str(), Some(id.clone()))
    );
    assert!(event.session_sequence.is_some());
    let list = api.get(&format!("/v1/sessions/{id}/analyses")).await.unwrap().json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][0]["id"]), (1, &json!(analysis.id)));
    server.finish().await;
}

#[tokio::test]
async fn a_repetition_is_the_same_analysis_for_one_credit() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let id = a_call(&server, &api).await;
    let before = credits(&api).await;
    let path = format!("/v1/sessions/{id}/analysis");
    let ask =
        || api.request("POST", &path, &[("idempotency-key", "one")], Body::Json(json!({ "include": ["keywords"] })));
    let (first, again) = (ask().await.unwrap(), ask().await.unwrap());
    assert_eq!((first.status, again.status, first.text()), (202, 202, again.text()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(credits(&api).await, before - 1);
    let another = api.request("POST", &path, &[("idempotency-key", "one")], Body::Json(json!({}))).await.unwrap();
    assert_eq!(another.error_code().as_deref(), Some("idempotency_mismatch"));
    server.finish().await;
}

#[tokio::test]
async fn what_cant_be_analysed_is_refused_for_nothing() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let api = server.client(&organization, Environment::Live).await;
    let silent = a_session(&api).await;
    let before = credits(&api).await;
    let ask = async |id: &str, body: Value| {
        let answer = api.post(&format!("/v1/sessions/{id}/analysis"), body).await.unwrap();
        (answer.status, answer.error_code().unwrap_or_default(), answer.json()["error"]["param"].clone())
    };
    assert_eq!(ask(&silent, json!({})).await, (409, "transcript_not_available".into(), Value::Null));
    assert_eq!(ask("sess_0000000000000000000000", json!({})).await.1, "session_not_found");
    for (body, param) in [
        (json!({ "include": ["mood"] }), "include[0]"),
        (json!({ "include": [] }), "include"),
        (json!({ "include": "summary" }), "include"),
        (json!({ "profil": "x" }), "profil"),
        (json!({ "profile": "no such" }), "profile"),
        (json!({ "profile": "cpr_0000000000000000000000" }), "profile"),
    ] {
        assert_eq!(ask(&silent, body).await, (422, "validation_failed".into(), json!(param)));
    }
    assert_eq!(credits(&api).await, before);

    let poor = server.organization_with(1, |_| {}).await;
    let poor = server.client(&poor, Environment::Live).await;
    let id = a_call(&server, &poor).await;
    let answer = poor.post(&format!("/v1/sessions/{id}/analysis"), json!({})).await.unwrap();
    assert_eq!(answer.error_code().as_deref(), Some("insufficient_api_credits"));
    server.finish().await;
}

#[tokio::test]
async fn analyses_and_profiles_are_strangers_to_others() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let api = server.client(&organization, Environment::Live).await;
    let id = a_call(&server, &api).await;
    let analysis = over(&api, &api.analyse(&id, &[Part::Keywords], None).await.unwrap().id).await;
    let rules = json!([{ "id": "a", "kind": "must_say", "phrases": ["b"] }]);
    let profile = api.create_compliance_profile("Ours", rules.clone()).await.unwrap();
    let profile = format!("/v1/compliance_profiles/{}", profile["id"].as_str().unwrap());
    let paths = [
        ("GET", format!("/v1/analyses/{}", analysis.id)),
        ("GET", profile.clone()),
        ("PATCH", profile.clone()),
        ("DELETE", profile.clone()),
    ];
    let (stranger, test) = (server.test_client().await, server.client(&organization, Environment::Test).await);
    for (method, path) in &paths {
        let body = || if *method == "PATCH" { Body::Json(json!({ "name": "Mine" })) } else { Body::Empty };
        let answer = stranger.request(method, path, &[], body()).await.unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
        let answer = test.request(method, path, &[], body()).await.unwrap();
        assert_eq!(answer.error_code().as_deref(), Some("api_key_wrong_environment"), "{method} {path}");
    }
    let reader = server.client_that_may(&organization, &[kallglot_core::permission::Permission::AnalysisRead]).await;
    for (method, path) in &paths[2..] {
        assert_eq!(reader.request(method, path, &[], Body::Empty).await.unwrap().status, 403);
    }
    assert_eq!(reader.get(&profile).await.unwrap().status, 200);
    let list = stranger.get("/v1/compliance_profiles").await.unwrap().json();
    assert_eq!(list["data"], json!([]));
    server.finish().await;
}

#[tokio::test]
async fn a_call_is_judged_by_a_profile() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let id = a_call(&server, &api).await;
    let rules = json!([
        { "id": "recorded", "kind": "must_say", "by": "agent", "phrases": ["the call is recorded", "this call is recorded"], "within_first_seconds": 10 },
        { "id": "calm", "kind": "must_not_say", "by": "customer", "phrases": ["I am angry"], "severity": "high" },
    ]);
    let profile = api.create_compliance_profile("Hotel", rules.clone()).await.unwrap();
    let taken = api.post("/v1/compliance_profiles", json!({ "name": "Hotel", "rules": rules })).await.unwrap();
    assert_eq!((taken.status, &taken.json()["error"]["param"]), (422, &json!("name")));
    let wrong = json!({ "name": "Other", "rules": [{ "id": "a", "kind": "must_say", "phrases": [3] }] });
    let wrong = api.post("/v1/compliance_profiles", wrong).await.unwrap();
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (422, &json!("rules[0].phrases[0]")));

    let asked = api.analyse(&id, &[Part::Compliance], Some("Hotel")).await.unwrap();
    let judged = Value::Object(over(&api, &asked.id).await.other);
    assert_eq!(judged["profile"], json!({ "id": profile["id"], "name": "Hotel" }));
    let compliance = &judged["compliance"];
    assert_eq!((&compliance["status"], compliance["flags"].as_array().unwrap().len()), (&json!("failed"), 1));
    assert_eq!(
        (&compliance["flags"][0]["rule"], &compliance["flags"][0]["kind"]),
        (&json!("calm"), &json!("forbidden"))
    );
    let place = &compliance["flags"][0]["place"];
    assert_eq!((&place["sequence"], &place["translated"]), (&json!(2), &json!(true)));

    // An analysis keeps the rules that it was asked with.
    let path = format!("/v1/compliance_profiles/{}", profile["id"].as_str().unwrap());
    let changed = api.request("PATCH", &path, &[], Body::Json(json!({ "name": "Hotel 2" }))).await.unwrap();
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Hotel 2")));
    api.delete_compliance_profile(profile["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(api.get(&path).await.unwrap().status, 404);
    assert_eq!(Value::Object(api.analysis(&asked.id).await.unwrap().other)["profile"]["name"], "Hotel");
    server.finish().await;
}

#[tokio::test]
async fn what_cant_be_read_fails_with_a_reason_and_gives_the_credit_back() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let id = a_session(&api).await;
    say(&server, &id, Speaker::Customer, "fi", "Huone on kylmä.").await;
    let before = credits(&api).await;
    let asked = api.analyse(&id, &[Part::Summary, Part::Sentiment], None).await.unwrap();
    let failed = over(&api, &asked.id).await;
    assert_eq!(failed.status, "failed");
    let error = &Value::Object(failed.other)["error"];
    assert_eq!(error["code"], "nothing_made");
    assert!(error["message"].as_str().unwrap().contains("`fi`"), "{error}");
    let balance = server.app.storage.session_for_token_holder(id.parse().unwrap()).await.unwrap().unwrap().tenant;
    let balance = server.app.storage.credit_balance(balance.organization).await.unwrap().unwrap();
    assert_eq!(balance.remaining as u64, before);
    assert_eq!(events(&server, EventType::AnalysisFailed).await.len(), 1);
    // What can be made of it is made, and says what is missing.
    let asked = api.analyse(&id, &[Part::Summary, Part::Performance], None).await.unwrap();
    let made = over(&api, &asked.id).await;
    assert_eq!((made.status.as_str(), made.summary), ("completed", None));
    assert_eq!(Value::Object(made.other)["errors"][0]["code"], "unsupported_language");
    server.finish().await;
}

/// A fake language model: the first so many times it does not come back, then it answers like this.
struct FakeModel {
    hangs: usize,
    asked: AtomicUsize,
    answer: Result<CallSummary, EngineError>,
}

impl FakeModel {
    fn new(hangs: usize, answer: Result<CallSummary, EngineError>) -> Arc<Self> {
        Arc::new(Self { hangs, asked: AtomicUsize::new(0), answer })
    }

    async fn asked(&self, times: usize) {
        soon("the model is asked", async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while self.asked.load(Ordering::SeqCst) < times {
                look.tick().await;
            }
        })
        .await;
    }
}

#[async_trait]
impl Summarizer for FakeModel {
    async fn summarize(&self, _call: &CallText) -> Result<CallSummary, EngineError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.hangs {
            std::future::pending::<()>().await;
        }
        self.answer.clone()
    }
}

fn written() -> CallSummary {
    let items = vec![ActionItem { text: "Send a technician.".into(), owner: Some(Speaker::Agent) }];
    CallSummary { summary: "A guest has no heating.".into(), action_items: items }
}

#[tokio::test]
async fn a_language_model_writes_the_summary_where_there_is_one() {
    let server = ServerBuilder::default().summarizer(FakeModel::new(0, Ok(written()))).start().await;
    let api = server.test_client().await;
    let id = a_call(&server, &api).await;
    let made = over(&api, &api.analyse(&id, &[Part::Summary], None).await.unwrap().id).await;
    assert_eq!(made.summary.as_deref(), Some("A guest has no heating."));
    let other = Value::Object(made.other);
    assert_eq!(other["summary_method"], "abstractive");
    assert_eq!(other["action_items"], json!([{ "text": "Send a technician.", "owner": "agent" }]));
    assert!(other["highlights"][0]["text"].is_string(), "this server's own choice is there too");
    server.finish().await;
}

#[tokio::test]
async fn without_the_model_the_rest_is_made_and_what_failed_is_named() {
    let away = Err(EngineError::Unavailable("check `api_key`".into()));
    let server = ServerBuilder::default().summarizer(FakeModel::new(0, away)).start().await;
    let api = server.test_client().await;
    let id = a_call(&server, &api).await;
    let made = over(&api, &api.analyse(&id, &[Part::Summary, Part::Keywords], None).await.unwrap().id).await;
    assert!(made.summary.unwrap().contains("Customer: "));
    let other = Value::Object(made.other);
    assert_eq!(
        (&other["summary_method"], &other["errors"][0]["code"]),
        (&json!("extractive"), &json!("endpoint_failed"))
    );
    assert!(!other["errors"].to_string().contains("api_key"), "what the operator has to know is in the log");
    server.finish().await;
}

#[tokio::test]
async fn an_analysis_that_never_ends_is_given_up_after_three_attempts() {
    let config = AnalysisConfig {
        attempt_max: Duration::from_millis(50),
        look_every: Duration::from_millis(10),
        again_after: Duration::from_millis(1),
        ..AnalysisConfig::default()
    };
    let model = FakeModel::new(usize::MAX, Ok(written()));
    let server = ServerBuilder::default().analysis(config).summarizer(model.clone()).start().await;
    let api = server.test_client().await;
    let id = a_call(&server, &api).await;
    let failed = over(&api, &api.analyse(&id, &[Part::Summary], None).await.unwrap().id).await;
    assert_eq!(failed.status, "failed");
    let other = Value::Object(failed.other);
    assert_eq!((&other["error"]["code"], &other["progress"]["attempts"]), (&json!("timeout"), &json!(3)));
    assert_eq!(events(&server, EventType::AnalysisFailed).await.len(), 1);
    server.finish().await;
}

#[tokio::test]
async fn a_server_that_stops_leaves_its_analyses_to_the_next() {
    let model = FakeModel::new(1, Ok(written()));
    let server = ServerBuilder::default().summarizer(model.clone()).start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let api = server.client_with(&secret);
    let id = a_call(&server, &api).await;
    let asked = api.analyse(&id, &[Part::Keywords, Part::Summary], None).await.unwrap();
    model.asked(1).await;
    let under_way = Value::Object(api.analysis(&asked.id).await.unwrap().other);
    assert_eq!(under_way["progress"], json!({ "attempts": 1, "parts_done": 1, "parts_total": 2 }), "how far it is");
    let server = server.restart().await;
    let made = over(&server.client_with(&secret), &asked.id).await;
    assert_eq!((made.status.as_str(), made.summary.as_deref()), ("completed", Some("A guest has no heating.")));
    assert_eq!(Value::Object(made.other)["progress"]["attempts"], 1, "who stops has not tried");
    server.finish().await;
}
