//! The client against a small fake server that speaks just enough of the API.

mod fake_server;

use std::time::Duration;

use fake_server::{FakeServer, KEY, SESSION, TOKEN};
use kallglot_client::{
    AudioFrame, Body, Client, ClientError, ConnectError, NewSession, ServerMessage, Stream, TokenPlacement,
    TranscriptFormat,
};
use kallglot_core::session::{EndReason, Mode, Speaker};

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("in time")
}

#[tokio::test]
async fn a_whole_call() {
    let server = FakeServer::start().await;
    let client = Client::new(&server.base_url, Some(KEY)).unwrap();
    let session = client.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    assert_eq!((session.id.as_str(), session.status.as_str()), (SESSION, "created"));
    let stream = session.stream.unwrap();
    let token = stream.token.unwrap();

    let mut call = within(Stream::connect(&stream.url, token.reveal(), TokenPlacement::Query, None)).await.unwrap();
    assert!(matches!(within(call.next()).await, Some(ServerMessage::Ready { .. })));
    call.send_audio(Speaker::Customer, &[0xff; 160]).await.unwrap();
    call.send_audio(Speaker::Customer, &[0xff; 160]).await.unwrap();
    call.send_audio(Speaker::Agent, &[0xff; 80]).await.unwrap();
    for (speaker, sequence, timestamp_ms, bytes) in
        [("customer", 1, 0, 160), ("customer", 2, 20, 160), ("agent", 1, 0, 80)]
    {
        let Some(ServerMessage::Other(heard)) = within(call.next()).await else { panic!("no echo") };
        assert_eq!(heard["speaker"], speaker);
        assert_eq!((heard["sequence"].as_u64(), heard["timestamp_ms"].as_u64()), (Some(sequence), Some(timestamp_ms)));
        assert_eq!(heard["bytes"], bytes);
    }
    call.ping().await.unwrap();
    assert_eq!(within(call.next()).await, Some(ServerMessage::Pong { session_id: SESSION.into() }));
    call.end().await.unwrap();
    let ended = ServerMessage::Ended { session_id: SESSION.into(), reason: "explicit_end".into() };
    assert_eq!(within(call.next()).await, Some(ended));
    assert_eq!(within(call.wait_closed()).await.code, Some(1000));

    assert_eq!(client.get_session(SESSION).await.unwrap().id, SESSION);
    assert_eq!(client.end_session(SESSION, Some(EndReason::Completed)).await.unwrap().status, "ended");
    assert_eq!(client.transcript(SESSION).await.unwrap().turns[0].text, "hello");
    assert_eq!(client.transcript_text(SESSION, TranscriptFormat::Text).await.unwrap(), "customer: hello\n");
    assert!(client.languages().await.unwrap()["data"].is_array());
}

#[tokio::test]
async fn a_token_can_be_presented_in_three_ways_and_for_one_party() {
    let server = FakeServer::start().await;
    for placement in TokenPlacement::ALL {
        let mut call =
            within(Stream::connect(&server.stream_url(), TOKEN, placement, Some(Speaker::Agent))).await.unwrap();
        let Some(ServerMessage::Ready { mode, .. }) = within(call.next()).await else { panic!("not ready") };
        assert_eq!(mode, format!("{placement:?} agent"));
    }
}

#[tokio::test]
async fn a_refusal_before_the_upgrade_is_the_servers_error() {
    let server = FakeServer::start().await;
    for placement in TokenPlacement::ALL {
        let refused = within(Stream::connect(&server.stream_url(), "kst_test_wrong", placement, None)).await;
        let Err(ConnectError::Refused(error)) = refused else { panic!("{refused:?}") };
        assert_eq!((error.status, error.code.as_str()), (401, "stream_token_invalid"));
    }
}

#[tokio::test]
async fn raw_frames_go_out_as_they_are() {
    let server = FakeServer::start().await;
    let mut call = within(Stream::connect(&server.stream_url(), TOKEN, TokenPlacement::Bearer, None)).await.unwrap();
    within(call.next()).await;
    call.send_frame(AudioFrame { sequence: 9, timestamp_ms: 5, speaker: Speaker::Agent, mulaw: &[] }).await.unwrap();
    let Some(ServerMessage::Other(heard)) = within(call.next()).await else { panic!("no echo") };
    assert_eq!((heard["sequence"].as_u64(), heard["bytes"].as_u64()), (Some(9), Some(0)));
    call.send_raw("{nonsense").await.unwrap();
    let Some(ServerMessage::Error { code, fatal, .. }) = within(call.next()).await else { panic!("no error") };
    assert_eq!((code.as_str(), fatal), ("invalid_request", false));
    call.send_raw(vec![1u8, 2, 3]).await.unwrap();
    let close = within(call.wait_closed()).await;
    assert_eq!((close.code, close.reason.as_str()), (Some(4400), "malformed"));
}

#[tokio::test]
async fn refusals_and_missing_servers_are_told_apart() {
    let server = FakeServer::start().await;
    let stranger = Client::new(&server.base_url, Some("sk_test_stranger")).unwrap();
    let error = stranger.get_session(SESSION).await.unwrap_err();
    assert!(!error.to_string().contains("stranger"), "{error}");
    let ClientError::Refused(error) = error else { panic!("{error:?}") };
    assert_eq!(
        (error.status, error.code.as_str(), error.request_id.as_deref()),
        (401, "api_key_invalid", Some("req_1"))
    );
    assert_eq!(error.to_string(), "No such key. (api_key_invalid, status 401, request req_1)");

    let client = stranger.with_key(Some(KEY));
    let ClientError::Refused(error) = client.get_session("sess_none").await.unwrap_err() else { panic!() };
    assert_eq!((error.status, error.code.as_str()), (404, ""), "a page that is not the API's");

    let closed = Client::new("http://127.0.0.1:1", None).unwrap();
    let error = closed.get("/v1/languages").await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { origin, .. } if origin == "http://127.0.0.1:1"), "{error}");
    let unreachable = within(Stream::connect("ws://127.0.0.1:1/x", TOKEN, TokenPlacement::Query, None)).await;
    assert!(matches!(unreachable, Err(ConnectError::Unreachable { .. })), "{unreachable:?}");
}

#[tokio::test]
async fn any_request_gives_status_headers_and_body() {
    let server = FakeServer::start().await;
    let client = Client::new(&server.base_url, None).unwrap();
    let headers = [("x-api-key", KEY), ("idempotency-key", "once")];
    let answer = client.request("POST", "/v1/echo?x=1", &headers, Body::Raw(b"{broken".to_vec())).await.unwrap();
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("x-idempotency-key"), Some("once"));
    assert_eq!(answer.json()["body"], "{broken");
    assert_eq!(answer.error_code(), None);
}

#[tokio::test]
async fn an_encrypted_stream_to_something_else_fails_without_harm() {
    let server = FakeServer::start().await;
    let url = server.stream_url().replace("ws://", "wss://");
    let refused = within(Stream::connect(&url, TOKEN, TokenPlacement::Bearer, None)).await;
    assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{refused:?}");
}
