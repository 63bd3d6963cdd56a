//! Sessions over REST (contract section 10).

use jiff::SignedDuration;
use kallglot_core::permission::Permission;
use kallglot_core::session::{EndReason, Mode};
use kallglot_testkit::client::NewSession;
use kallglot_testkit::{Call, TestServer, soon};
use serde_json::json;

#[tokio::test]
async fn a_new_session_has_everything_a_client_needs() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    // As in the authentication page's example.
    let body = json!({ "mode": "bidirectional_translation", "source_language": "de", "target_language": "en" });
    let answer = api.post("/v1/sessions", body).await.unwrap();
    assert_eq!(answer.status, 201);
    let session = answer.json();
    let id = session["id"].as_str().unwrap();
    assert!(id.starts_with("sess_"));
    let url = session["stream"]["url"].as_str().unwrap();
    assert_eq!(url, format!("ws://{}/v1/sessions/{id}/connect", server.address));
    assert!(session["stream"]["token"].as_str().unwrap().starts_with("kst_live_"));
    insta::assert_json_snapshot!(session, {
        ".id" => "sess_…", ".stream.url" => "ws://…", ".stream.token" => "kst_live_…"
    }, @r#"
    {
      "created_at": "2027-01-15T08:00:00.000Z",
      "duration_seconds": null,
      "end_reason": null,
      "ended_at": null,
      "id": "sess_…",
      "metadata": {},
      "mode": "bidirectional_translation",
      "object": "session",
      "phone_number": null,
      "provider": null,
      "recording": {
        "enabled": false,
        "paused": false
      },
      "source_language": "de",
      "started_at": null,
      "status": "created",
      "stream": {
        "expires_at": "2027-01-15T08:05:00Z",
        "token": "kst_live_…",
        "url": "ws://…"
      },
      "target_language": "en"
    }
    "#);
    server.finish().await;
}

#[tokio::test]
async fn only_who_may_write_gets_a_stream_token() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let writer = server.client_that_may(&organization, &[Permission::SessionsRead, Permission::SessionsWrite]).await;
    let reader = server.client_that_may(&organization, &[Permission::SessionsRead]).await;
    let session = writer.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let path = format!("/v1/sessions/{}", session.id);
    assert!(writer.get(&path).await.unwrap().json()["stream"]["token"].is_string());
    assert_eq!(reader.get(&path).await.unwrap().json()["stream"]["token"], json!(null));
    assert!(!reader.get("/v1/sessions").await.unwrap().text().contains("kst_"));
    server.finish().await;
}

#[tokio::test]
async fn sessions_are_listed_newest_first_in_pages() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        server.clock.advance(SignedDuration::from_secs(1));
        ids.push(api.create_session(&NewSession::new(Mode::AssistiveTranslation, "en", "es")).await.unwrap().id);
    }
    ids.reverse();
    let page = async |query: &str| {
        let list = api.get(&format!("/v1/sessions?{query}")).await.unwrap().json();
        assert_eq!((list["object"].as_str(), list["url"].as_str()), (Some("list"), Some("/v1/sessions")));
        let found: Vec<String> =
            list["data"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        (found, list["has_more"].as_bool().unwrap())
    };
    assert_eq!(page("").await, (ids.clone(), false));
    assert_eq!(page("limit=2").await, (ids[..2].to_vec(), true));
    assert_eq!(page(&format!("limit=2&starting_after={}", ids[1])).await, (ids[2..4].to_vec(), true));
    assert_eq!(page(&format!("limit=2&starting_after={}", ids[3])).await, (ids[4..].to_vec(), false));
    assert_eq!(page(&format!("limit=2&ending_before={}", ids[3])).await, (ids[1..3].to_vec(), true));
    server.finish().await;
}

#[tokio::test]
async fn an_end_is_told_once_and_again() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let session = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let first = api.end_session(&session.id, Some(EndReason::CustomerHangup)).await.unwrap();
    server.clock.advance(SignedDuration::from_secs(100));
    let again = api.end_session(&session.id, None).await.unwrap();
    assert_eq!((first.status.as_str(), first.ended_at.is_some(), first.duration_seconds), ("ended", true, Some(0)));
    assert_eq!(again.ended_at, first.ended_at);
    let session = api.get_session(&session.id).await.unwrap();
    assert_eq!(session.end_reason.as_deref(), Some("customer_hangup"));
    assert!(session.stream.is_none(), "an ended session's stream is gone");
    let answer = api.post(&format!("/v1/sessions/{}/end", session.id), json!({ "reason": "bored" })).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (422, Some("reason")));
    server.finish().await;
}

#[tokio::test]
async fn a_session_in_which_nothing_happens_ends_by_itself() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let unused = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let mut call = Call::start(&api).await;
    server.clock.advance(SignedDuration::from_mins(29));
    call.play(kallglot_core::session::Speaker::Customer, &[0xff; 160]).await;
    call.stream.ping().await.unwrap();
    kallglot_testkit::next_matching(&mut call.stream, "pong", |m| {
        matches!(m, kallglot_testkit::client::ServerMessage::Pong { .. })
    })
    .await;
    server.clock.advance(SignedDuration::from_mins(2));
    // The one that nobody joined ends; the one with a recent frame of audio goes on.
    soon("the unused session ends", async {
        while api.get_session(&unused.id).await.unwrap().end_reason.as_deref() != Some("timeout") {
            server.clock.advance(SignedDuration::from_secs(10));
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(api.get_session(&call.session.id).await.unwrap().status, "active");
    server.clock.advance(SignedDuration::from_mins(30));
    let ended = soon("the silent call ends", call.stream.wait_closed()).await;
    assert_eq!(ended.code, Some(1000));
    let session = api.get_session(&call.session.id).await.unwrap();
    assert_eq!((session.status.as_str(), session.end_reason.as_deref()), ("ended", Some("timeout")));
    server.finish().await;
}

#[tokio::test]
async fn duration_counts_from_the_first_audio() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    server.clock.advance(SignedDuration::from_secs(60));
    call.play(kallglot_core::session::Speaker::Agent, &[0xff; 160]).await;
    call.stream.ping().await.unwrap();
    kallglot_testkit::next_matching(&mut call.stream, "pong", |m| {
        matches!(m, kallglot_testkit::client::ServerMessage::Pong { .. })
    })
    .await;
    server.clock.advance(SignedDuration::from_secs(42));
    let ended = api.end_session(&call.session.id, None).await.unwrap();
    assert_eq!(ended.duration_seconds, Some(42));
    server.finish().await;
}

#[tokio::test]
async fn languages_say_what_works_now() {
    let server = TestServer::start().await;
    let list = server.test_client().await.languages().await.unwrap();
    insta::assert_json_snapshot!(list, @r#"
    {
      "data": [
        {
          "engine": "scripted",
          "needs_phrases": false,
          "recognition": "good",
          "source_language": null,
          "speech": true,
          "target_language": null
        }
      ],
      "object": "list"
    }
    "#);
    server.finish().await;
}
