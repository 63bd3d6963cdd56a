//! A fake of the API: fixed answers, and a stream that echoes what it was sent.

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::extract::{Path, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "sk_test_right";
pub(crate) const TOKEN: &str = "kst_test_right";
pub(crate) const SESSION: &str = "sess_1";

/// Runs until it is dropped.
pub(crate) struct FakeServer {
    pub(crate) base_url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let stream_host = host.clone();
        let session = move || {
            json!({"id": SESSION, "object": "session", "status": "created", "mode": "bidirectional_translation", "later": 1,
                "stream": {"url": format!("ws://{stream_host}/v1/sessions/{SESSION}/connect"), "token": TOKEN}})
        };
        let created = session.clone();
        let router = Router::new()
            .route(
                "/v1/sessions",
                post(move |headers: HeaderMap, Json(body): Json<Value>| async move {
                    assert_eq!(
                        body,
                        json!({"mode": "bidirectional_translation", "source_language": "en", "target_language": "es"})
                    );
                    guarded(&headers, || (StatusCode::CREATED, Json(created())).into_response())
                }),
            )
            .route(
                "/v1/sessions/{id}",
                get(move |headers: HeaderMap, Path(id): Path<String>| async move {
                    guarded(&headers, || {
                        if id == SESSION {
                            Json(session()).into_response()
                        } else {
                            (StatusCode::NOT_FOUND, "no page").into_response()
                        }
                    })
                }),
            )
            .route(
                "/v1/sessions/{id}/end",
                post(|Json(body): Json<Value>| async move {
                    assert_eq!(body, json!({"reason": "completed"}));
                    Json(json!({"id": SESSION, "object": "session", "status": "ended", "duration_seconds": 1}))
                }),
            )
            .route("/v1/sessions/{id}/transcript", get(transcript))
            .route("/v1/languages", get(|| async { Json(json!({"object": "list", "data": []})) }))
            .route("/v1/echo", post(echo))
            .route("/v1/sessions/{id}/connect", get(connect));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { base_url: format!("http://{host}"), task }
    }

    pub(crate) fn stream_url(&self) -> String {
        format!("{}/v1/sessions/{SESSION}/connect", self.base_url.replace("http://", "ws://"))
    }
}

fn guarded(headers: &HeaderMap, work: impl FnOnce() -> Response) -> Response {
    if headers.get("authorization").is_some_and(|value| value == &format!("Bearer {KEY}")) {
        work()
    } else {
        refusal("api_key_invalid", "No such key.")
    }
}

fn refusal(code: &str, message: &str) -> Response {
    let error =
        json!({"type": "authentication_error", "code": code, "message": message, "param": null, "request_id": "req_1"});
    (StatusCode::UNAUTHORIZED, Json(json!({"error": error}))).into_response()
}

async fn transcript(uri: Uri) -> Response {
    if uri.query() == Some("format=text") {
        return "customer: hello\n".into_response();
    }
    let turn = json!({"sequence": 1, "id": "seg_1", "speaker": "customer", "language": "en", "text": "hello", "translation": null});
    Json(json!({"id": "trn_1", "session_id": SESSION, "status": "completed", "turns": [turn]})).into_response()
}

async fn echo(headers: HeaderMap, body: String) -> Response {
    let header = headers["idempotency-key"].clone();
    assert_eq!(headers["x-api-key"], KEY);
    (StatusCode::UNPROCESSABLE_ENTITY, [("x-idempotency-key", header)], Json(json!({"body": body}))).into_response()
}

async fn connect(uri: Uri, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let query = uri.query().unwrap_or_default();
    let placement = if headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}")) {
        "Bearer"
    } else if query.contains(&format!("token={TOKEN}")) {
        "Query"
    } else if headers.get("sec-websocket-protocol").is_some_and(|value| value == &format!("kallglot, {TOKEN}")) {
        "Subprotocol"
    } else {
        return refusal("stream_token_invalid", "The token is not of this session.");
    };
    let party = if query.contains("speaker=agent") { "agent" } else { "both" };
    let mode = format!("{placement} {party}");
    upgrade.protocols(["kallglot"]).on_upgrade(move |socket| stream(socket, mode))
}

async fn stream(mut socket: WebSocket, mode: String) {
    let ready = json!({"type": "session.ready", "session_id": SESSION, "mode": mode, "source_language": "en", "target_language": "es"});
    let _ = socket.send(text(ready)).await;
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(frame) = message else {
            let _ = socket.send(Message::Close(Some(CloseFrame { code: 4400, reason: "malformed".into() }))).await;
            return;
        };
        let Ok(frame) = serde_json::from_str::<Value>(&frame) else {
            let _ = socket
                .send(text(json!({"type": "session.error", "code": "invalid_request", "message": "No JSON."})))
                .await;
            continue;
        };
        match frame["type"].as_str() {
            Some("ping") => {
                let _ = socket.send(text(json!({"type": "pong", "session_id": SESSION}))).await;
            }
            Some("session.end") => {
                let ended = json!({"type": "session.ended", "session_id": SESSION, "reason": "explicit_end"});
                let _ = socket.send(text(ended)).await;
                let _ = socket.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await;
                return;
            }
            _ => {
                let base64 = frame["audio"]["payload"].as_str().unwrap_or_default();
                let bytes = base64.trim_end_matches('=').len() * 3 / 4;
                let mut echo = frame.clone();
                echo["type"] = json!("fake.echo");
                echo["bytes"] = json!(bytes);
                let _ = socket.send(text(echo)).await;
            }
        }
    }
}

fn text(value: Value) -> Message {
    Message::Text(value.to_string().into())
}
