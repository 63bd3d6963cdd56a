//! What errors look like (contract section 9), and that every answer can be told by its id.

use kallglot_testkit::TestServer;
use kallglot_testkit::client::Body;
use serde_json::json;

#[tokio::test]
async fn an_error_says_what_and_names_the_request() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let answer = api.get("/v1/sessions/sess_0000000000000000000000").await.unwrap();
    let body = answer.json();
    assert_eq!(answer.header("x-request-id"), body["error"]["request_id"].as_str());
    assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
    insta::assert_json_snapshot!(body, { ".error.request_id" => "req_…" }, @r#"
    {
      "error": {
        "code": "session_not_found",
        "message": "There is no such session.",
        "param": null,
        "request_id": "req_…",
        "type": "not_found_error"
      }
    }
    "#);
    server.finish().await;
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    for path in ["/v1/sessions", "/v1/languages", "/healthz", "/readyz", "/nowhere"] {
        assert!(api.get(path).await.unwrap().header("x-request-id").is_some(), "{path}");
    }
    server.finish().await;
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let json_type = ("content-type", "application/json");
    let text = |text: &str| Body::Raw(text.as_bytes().to_vec());
    let large = format!("{{\"mode\":\"{}\"}}", "x".repeat(256 * 1024));
    for (method, path, headers, body, expected) in [
        ("DELETE", "/v1/sessions", vec![], Body::Empty, (405, "method_not_allowed")),
        ("GET", "/v1/nothing", vec![], Body::Empty, (404, "not_found")),
        ("POST", "/v1/sessions", vec![("content-type", "text/plain")], text("{}"), (415, "unsupported_media_type")),
        ("POST", "/v1/sessions", vec![json_type], text("{\"mode\":"), (400, "invalid_request")),
        ("POST", "/v1/sessions", vec![json_type], text(&large), (413, "payload_too_large")),
        ("POST", "/v1/sessions", vec![json_type], text("[]"), (422, "validation_failed")),
        ("GET", "/v1/sessions?limit=101", vec![], Body::Empty, (422, "validation_failed")),
        ("GET", "/v1/sessions?limt=1", vec![], Body::Empty, (422, "validation_failed")),
        ("GET", "/v1/sessions/%00", vec![], Body::Empty, (404, "session_not_found")),
    ] {
        let answer = api.request(method, path, &headers, body).await.unwrap();
        let code = answer.error_code().unwrap_or_default();
        assert_eq!((answer.status, code.as_str()), expected, "{method} {path}");
    }
    server.finish().await;
}

#[tokio::test]
async fn the_first_wrong_field_is_named() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let with = |changes: serde_json::Value| {
        let mut body = json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let long: String = "k".repeat(41);
    let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("k{n}"), json!("v"))).collect();
    for (changes, param) in [
        (json!({ "mode": null }), "mode"),
        (json!({ "mode": "translation" }), "mode"),
        (json!({ "mode": "ai_agent" }), "mode"),
        (json!({ "mode": 7 }), "mode"),
        (json!({ "source_langauge": "en" }), "source_langauge"),
        (json!({ "source_language": "english" }), "source_language"),
        (json!({ "target_language": "en-GB" }), "target_language"),
        (json!({ "routing": "x" }), "routing"),
        (json!({ "routing": { "phone_number": "0123" } }), "routing.phone_number"),
        (json!({ "routing": { "phone_number": "+14155550123" } }), "routing.phone_number"),
        (json!({ "routing": { "connection_id": "pcon_1" } }), "routing.connection_id"),
        (json!({ "routing": { "connection_id": "pcon_1", "phone_number": "+14155550123" } }), "routing"),
        (json!({ "routing": { "type": "sip", "sip": { "headers": { "From": "x" } } } }), "routing.sip.headers"),
        (json!({ "routing": { "direction": "up" } }), "routing.direction"),
        (json!({ "audio": { "encoding": "opus" } }), "audio.encoding"),
        (json!({ "audio": { "sample_rate_hz": 16000 } }), "audio.sample_rate_hz"),
        (json!({ "recording": { "enabled": "yes" } }), "recording.enabled"),
        (json!({ "recording": { "enable": true } }), "recording.enable"),
        (json!({ "metadata": { "n": 1 } }), "metadata.n"),
        (json!({ "metadata": { long.clone(): "v" } }), &format!("metadata.{long}")),
        (json!({ "metadata": many }), "metadata"),
        (json!({ "vocabulary": { "es": { "phrases": [""] } } }), "vocabulary.es"),
        (json!({ "vocabulary": { "es": { "phrases_only": true } } }), "vocabulary.es"),
        (json!({ "vocabulary": { "x": {} } }), "vocabulary.x"),
    ] {
        let answer = api.post("/v1/sessions", with(changes.clone())).await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, body["error"]["param"].as_str()), (422, Some(param)), "{changes}: {body}");
    }
    let answer = api.post("/v1/sessions", with(json!({ "provider": { "type": "twilio" } }))).await.unwrap();
    assert_eq!((answer.status, answer.error_code().as_deref()), (400, Some("provider_field_not_allowed")));
    assert!(answer.text().contains("routing"), "the message points to routing");
    server.finish().await;
}

#[tokio::test]
async fn what_edition_1_asks_of_a_provider_is_not_ignored() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let both = json!({ "mode": "bidirectional_translation", "source_language": "en", "target_language": "es" });
    for (provider, status) in [
        (json!({ "type": "sip" }), 422),
        (json!({ "type": "sip", "sip": { "from_uri": "sip:support@example.com" } }), 422),
        (json!({ "type": "twilio" }), 422),
        (json!({ "type": "twilio", "phone_number": "+14155550123" }), 422),
        (json!(null), 201),
    ] {
        let mut body = both.clone();
        body["provider"] = provider;
        let answer =
            api.request("POST", "/v1/sessions", &[("kallglot-edition", "1")], Body::Json(body.clone())).await.unwrap();
        assert_eq!(answer.status, status, "no carrier is connected: {body}: {}", answer.text());
    }
    server.finish().await;
}

#[tokio::test]
async fn a_parameter_that_a_request_does_not_have_is_refused_and_so_is_one_given_twice() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    for (path, param) in [
        ("/v1/whoami?verbose=1", "verbose"),
        ("/v1/languages?limit=1", "limit"),
        ("/v1/sessions?limit=1&limit=2", "limit"),
        ("/v1/sessions?lim%69t=1&limit=1", "limit"),
    ] {
        let answer = api.get(path).await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, body["error"]["param"].as_str()), (422, Some(param)), "{path}: {body}");
    }
    for path in ["/v1/whoami?", "/v1/sessions?&"] {
        assert_eq!(api.get(path).await.unwrap().status, 200, "{path}");
    }
    server.finish().await;
}
