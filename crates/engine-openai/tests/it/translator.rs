//! Translation by chat.

use kallglot_engine::{EngineError, Translator};
use serde_json::json;

use crate::fake_server::{FakeServer, Reply};
use crate::{KEY, config, open, soon, tag};

pub(crate) fn said(text: &str) -> serde_json::Value {
    json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

fn piece(text: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}).to_string()
}

pub(crate) async fn translate(server: &FakeServer, text: &str) -> Result<String, EngineError> {
    let translator = open(config(&server.base_url)).translator().unwrap();
    soon(translator.translate(text, &tag("en"), &tag("pt-BR"))).await
}

#[tokio::test]
async fn a_translation_comes_in_pieces() {
    let events =
        [&piece("Bom"), &piece(" dia"), &json!({"choices": [], "usage": {}}).to_string(), "[DONE]"].map(str::to_owned);
    let server = FakeServer::start(move |_, _| Reply::events(&events.each_ref().map(String::as_str))).await;
    assert_eq!(translate(&server, " Good morning ").await, Ok("Bom dia".into()));

    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
    let body = request.json();
    assert_eq!(
        (&body["model"], &body["temperature"], &body["stream"]),
        (&json!("translates"), &json!(0), &json!(true))
    );
    assert_eq!(body["messages"][1], json!({"role": "user", "content": "Good morning"}));
    assert_eq!(body["messages"].as_array().unwrap().len(), 2);
    let instructions = body["messages"][0]["content"].as_str().unwrap();
    assert!(instructions.contains("in English") && instructions.contains("in Portuguese (pt-BR)"), "{instructions}");
    assert!(instructions.contains("translate questions instead of answering them"));
}

#[tokio::test]
async fn a_server_that_answers_in_one_piece_is_understood() {
    let server = FakeServer::json(said("\"Bom dia\"")).await;
    assert_eq!(translate(&server, "Good morning").await, Ok("Bom dia".into()));
}

#[tokio::test]
async fn a_model_that_refuses_a_temperature_is_asked_without_from_then_on() {
    let server = FakeServer::start(|request, _| match request.json().get("temperature") {
        Some(_) => Reply::status(400),
        None => Reply::json(said("Bom dia")),
    })
    .await;
    let translator = open(config(&server.base_url)).translator().unwrap();
    for requests in [2, 3] {
        assert_eq!(soon(translator.translate("Good morning", &tag("en"), &tag("pt"))).await, Ok("Bom dia".into()));
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn an_answer_instead_of_a_translation_is_refused() {
    for reply in [said(&"I am happy to help you with that! ".repeat(20)), said(""), json!({"choices": []})] {
        let server = FakeServer::json(reply).await;
        assert!(matches!(translate(&server, "Can you help me?").await, Err(EngineError::Failed(_))));
    }
    let rambling = vec![piece(&"word ".repeat(50)); 20];
    let server =
        FakeServer::start(move |_, _| Reply::events(&rambling.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let error = translate(&server, "Can you help me?").await.unwrap_err();
    assert_eq!(error.to_string(), "the translation service answered at far greater length than it may");
}

#[tokio::test]
async fn a_text_that_the_service_censors_fails() {
    let server =
        FakeServer::json(json!({"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]})).await;
    let error = translate(&server, "…").await.unwrap_err();
    assert_eq!(error.to_string(), "the translation service refused the text");
}

#[tokio::test]
async fn nothing_is_asked_for_no_words_or_too_many() {
    let server = FakeServer::json(said("x")).await;
    assert_eq!(translate(&server, " \n").await, Ok(String::new()));
    assert!(matches!(translate(&server, &"a".repeat(4_001)).await, Err(EngineError::Failed(_))));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_pairs_are_those_of_the_configured_languages() {
    let any = open(config("http://localhost/v1")).translator().unwrap();
    assert_eq!(any.pairs(), [(None, None)]);
    let mut config = config("http://localhost/v1");
    config.languages = vec!["en".into(), "es".into()];
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(open(config).translator().unwrap().pairs(), [(some("en"), some("es")), (some("es"), some("en"))]);
}
