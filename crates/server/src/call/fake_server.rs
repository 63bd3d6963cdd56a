//! A fake of the API for the tests of `kallglot call`: whoever speaks is understood after a second, always in the same words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub(crate) const KEY: &str = "sk_test_right";
const SESSION: &str = "sess_1";

/// What the server does and what it was sent.
#[derive(Clone)]
pub(crate) struct FakeServer {
    pub(crate) base_url: String,
    state: Arc<Shared>,
}

struct Shared {
    host: String,
    /// Frames after which each socket is cut, once.
    cut_after_frames: Option<u64>,
    seen: Mutex<Seen>,
    to_all: broadcast::Sender<Value>,
}

/// What was sent.
#[derive(Default, Clone)]
pub(crate) struct Seen {
    pub(crate) created: Vec<Value>,
    /// Sequence numbers by speaker.
    pub(crate) sequences: BTreeMap<String, Vec<u64>>,
    /// Loud frames by speaker.
    pub(crate) loud_frames: BTreeMap<String, u64>,
    pub(crate) connections: u64,
    pub(crate) end_reasons: Vec<Value>,
}

impl FakeServer {
    pub(crate) async fn start(cut_after_frames: Option<u64>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let base_url = format!("http://{host}");
        let state =
            Arc::new(Shared { host, cut_after_frames, seen: Mutex::default(), to_all: broadcast::channel(1_000).0 });
        let router = Router::new()
            .route("/v1/sessions", post(create))
            .route("/v1/sessions/{id}", get(|State(shared): State<Arc<Shared>>| async move { Json(session(&shared)) }))
            .route("/v1/sessions/{id}/end", post(end))
            .route("/v1/sessions/{id}/connect", get(connect))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, state }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state.seen.lock().expect("not poisoned").clone()
    }
}

fn session(shared: &Shared) -> Value {
    json!({"id": SESSION, "status": "created", "mode": "bidirectional_translation", "source_language": "en", "target_language": "es",
        "stream": {"url": format!("ws://{}/v1/sessions/{SESSION}/connect", shared.host), "token": "kst_test_1"}})
}

async fn create(State(shared): State<Arc<Shared>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if headers.get("authorization").is_none_or(|value| value != &format!("Bearer {KEY}")) {
        let error =
            json!({"error": {"type": "authentication_error", "code": "api_key_invalid", "message": "No such key."}});
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    shared.seen.lock().expect("not poisoned").created.push(body);
    (StatusCode::CREATED, Json(session(&shared))).into_response()
}

async fn end(State(shared): State<Arc<Shared>>, Path(id): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    shared.seen.lock().expect("not poisoned").end_reasons.push(body["reason"].clone());
    // Nobody may be connected any more.
    let _ = shared.to_all.send(json!({"type": "session.ended", "session_id": id, "reason": "completed"}));
    Json(json!({"id": id, "status": "ended", "duration_seconds": 1}))
}

async fn connect(State(shared): State<Arc<Shared>>, uri: Uri, upgrade: WebSocketUpgrade) -> Response {
    let speaker = if uri.query().unwrap_or_default().contains("speaker=agent") { "agent" } else { "customer" };
    upgrade.on_upgrade(move |socket| serve(socket, shared, speaker))
}

async fn serve(mut socket: WebSocket, shared: Arc<Shared>, speaker: &'static str) {
    let mut from_all = shared.to_all.subscribe();
    let first_time = {
        let mut seen = shared.seen.lock().expect("not poisoned");
        seen.connections += 1;
        seen.connections <= 2
    };
    let mut frames = 0;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Some(Ok(Message::Text(text))) = message else { return };
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                on_frame(&shared, speaker, &frame);
                frames += 1;
                if first_time && shared.cut_after_frames == Some(frames) {
                    let close = CloseFrame { code: 1001, reason: "going away".into() };
                    let _ = socket.send(Message::Close(Some(close))).await;
                    return;
                }
            }
            Ok(message) = from_all.recv() => {
                let heard = message["type"] != "audio.output" || message["target"] == speaker;
                if heard && socket.send(Message::Text(message.to_string().into())).await.is_err() {
                    return;
                }
                if message["type"] == "session.ended" {
                    let close = CloseFrame { code: 1000, reason: "".into() };
                    let _ = socket.send(Message::Close(Some(close))).await;
                    return;
                }
            }
        }
    }
}

/// The 10th loud frame brings a partial; the 30th a final and its speech.
fn on_frame(shared: &Shared, speaker: &str, frame: &Value) {
    assert_eq!((frame["type"].as_str(), frame["speaker"].as_str()), (Some("audio.input"), Some(speaker)));
    let mut seen = shared.seen.lock().expect("not poisoned");
    seen.sequences.entry(speaker.into()).or_default().push(frame["sequence"].as_u64().expect("a number"));
    // Mu-law silence is 0xff, `////` in Base64.
    if frame["audio"]["payload"].as_str().is_some_and(|payload| payload.starts_with("////")) {
        return;
    }
    let loud = seen.loud_frames.entry(speaker.into()).or_default();
    *loud += 1;
    let (text, translation, from, to, target) = match speaker {
        "customer" => ("hello world", "hola mundo", "en", "es", "agent"),
        _ => ("hola", "hello", "es", "en", "customer"),
    };
    let id = format!("seg_{speaker}");
    let segment =
        json!({"session_id": SESSION, "id": id, "speaker": speaker, "language": from, "start_ms": 0, "end_ms": 600});
    let with = |more: Value| {
        let mut message = segment.clone();
        message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        message
    };
    let messages = match *loud {
        10 => vec![with(json!({"type": "transcript.partial", "text": text.split(' ').next()}))],
        30 => {
            let translated = json!({"language": to, "text": translation});
            let whole =
                with(json!({"type": "transcript.final", "text": text, "confidence": 0.9, "translation": translated}));
            let payload = "gICA".repeat(160 / 3 + 1);
            let audio = json!({"encoding": "mulaw", "sample_rate_hz": 8000, "payload": payload});
            let output = json!({"type": "audio.output", "session_id": SESSION, "sequence": 1, "speaker": speaker, "target": target,
                "translation_of": id, "audio": audio});
            vec![whole, output]
        }
        _ => vec![],
    };
    for message in messages {
        let _ = shared.to_all.send(message);
    }
}
