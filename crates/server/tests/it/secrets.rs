//! No API key and no stream token gets into a log, a metric or the database in clear, however it came in and whatever the log's level.

use std::collections::BTreeSet;
use std::path::Path;

use kallglot_core::Timestamp;
use kallglot_core::api_key;
use kallglot_core::session::Environment;
use kallglot_core::stream_token::{self, Purpose, StreamTokenSecret};
use kallglot_testkit::client::{Answer, Body, Client, Stream, TokenPlacement};
use kallglot_testkit::{FakeRandom, soon};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Folder, Server};

/// As much of a secret as must not show: the middle of a key is from its random part.
const MIDDLE_CHARS: usize = 20;

/// Secrets that were sent or made.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Remembers a secret; answers with it.
    fn add(&mut self, secret: &str) -> String {
        assert!(secret.len() >= MIDDLE_CHARS, "{secret}");
        self.0.insert(secret.to_owned());
        secret.to_owned()
    }

    /// Remembers the secrets of an answer, wherever they are in it.
    fn add_all_of(&mut self, value: &Value) {
        match value {
            Value::String(text) if ["sk_", "kst_"].iter().any(|prefix| text.starts_with(prefix)) && text.len() > 30 => {
                self.add(text);
            }
            Value::Array(items) => items.iter().for_each(|item| self.add_all_of(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_all_of(field)),
            _ => {}
        }
    }

    /// Fails if one of them, or its middle, is in there.
    fn are_not_in(&self, what: &str, bytes: &[u8]) {
        for secret in &self.0 {
            let from = (secret.len() - MIDDLE_CHARS) / 2;
            for part in [secret.as_str(), &secret[from..from + MIDDLE_CHARS]] {
                let found = bytes.windows(part.len()).position(|window| window == part.as_bytes());
                if let Some(at) = found {
                    let around = &bytes[at.saturating_sub(300)..(at + 300).min(bytes.len())];
                    panic!("{secret} is in {what}: {}", String::from_utf8_lossy(around));
                }
            }
        }
    }

    /// Fails if one of them is in the database's files; answers with how many bytes were looked at.
    fn are_not_stored(&self, data: &Path) -> usize {
        let mut looked_at = 0;
        for name in ["kallglot.db", "kallglot.db-wal"] {
            // The second is gone once the database is closed.
            let bytes = std::fs::read(data.join(name)).unwrap_or_default();
            self.are_not_in(name, &bytes);
            looked_at += bytes.len();
        }
        looked_at
    }
}

/// A key that nobody has.
fn unknown(seed: u64) -> String {
    api_key::Secret::new(Environment::Live, &FakeRandom::new(seed)).expose().to_owned()
}

/// The text with its last character changed.
fn mistyped(secret: &str) -> String {
    let last = if secret.ends_with('A') { 'B' } else { 'A' };
    format!("{}{last}", &secret[..secret.len() - 1])
}

async fn send(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
    soon(path, client.request(method, path, headers, body)).await.unwrap()
}

/// Shows a key (or what is none) in every place where somebody could put one, right or wrong.
async fn show_everywhere(client: &Client, secret: &str, another: &str) {
    let bearer = format!("Bearer {secret}");
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("authorization", &format!("bearer   {secret} "))],
        vec![("authorization", &format!("Basic {secret}"))],
        vec![("authorization", secret)],
        vec![("x-api-key", secret)],
        vec![("authorization", &bearer), ("x-api-key", secret)],
        vec![("authorization", &bearer), ("x-api-key", another)],
        vec![("cookie", &format!("key={secret}")), ("x-forwarded-for", secret)],
        vec![("authorization", &bearer), ("kallglot-edition", secret)],
        vec![("authorization", &bearer), ("traceparent", secret), ("user-agent", secret), ("origin", secret)],
    ] {
        for (method, path) in
            [("GET", "/v1/whoami"), ("POST", "/v1/sessions"), ("DELETE", "/v1/sessions"), ("GET", "/v1/none")]
        {
            send(client, method, path, &headers, Body::Empty).await;
        }
    }
    for path in [
        format!("/v1/sessions/{secret}"),
        format!("/v1/sessions/{secret}/connect?token={secret}"),
        format!("/v1/sessions?starting_after={secret}"),
        format!("/v1/sessions?{secret}=1"),
        format!("/v1/requests?{secret}"),
        format!("/v1/requests/{secret}"),
        format!("/v1/api_keys/{secret}"),
        format!("/{secret}?api_key={secret}"),
        format!("/metrics?{secret}"),
    ] {
        send(client, "GET", &path, &[], Body::Empty).await;
    }
    let new = json!({ "mode": "assistive_translation", "source_language": "en", "target_language": "es" });
    for (name, value) in [
        (secret, json!(1)),
        ("mode", json!(secret)),
        ("source_language", json!(secret)),
        ("agent_id", json!(secret)),
        ("voice", json!({ secret: secret })),
        ("routing", json!({ secret: 1 })),
        ("vocabulary", json!({ secret: {} })),
        ("metadata", json!({ secret: 1 })),
        ("provider", json!(secret)),
    ] {
        let mut body = new.clone();
        body[name] = value;
        send(client, "POST", "/v1/sessions", &[], Body::Json(body)).await;
    }
    for body in
        [json!({ "permissions": [secret] }), json!({ "allowed_ips": [secret] }), json!({ "expires_at": secret })]
    {
        send(client, "POST", "/v1/api_keys", &[], Body::Json(body)).await;
    }
    for content_type in ["application/json", secret] {
        let broken = Body::Raw(format!("{{\"secret\": \"{secret}\" oh").into_bytes());
        send(client, "POST", "/v1/sessions", &[("content-type", content_type)], broken).await;
    }
}

/// Requests that are no HTTP, or only nearly.
async fn show_in_broken_requests(server: &Server, secret: &str) {
    for request in [
        format!("GET /v1/whoami HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\nbad header\r\n\r\n"),
        format!("GET /v1/whoami HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\x01\r\n\r\n"),
        format!("GET /v1/whoami HTTP/1.1\r\nhost: {secret}\r\n{secret}: 1\r\n{secret} : 1\r\n\r\n"),
        format!("GET http://{secret}@host/{secret} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        format!("{secret} /{secret} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        format!("GET /{secret} HTTP/9\r\n\r\n"),
        format!(
            "POST /v1/sessions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\ncontent-length: {secret}\r\n\r\n"
        ),
        format!(
            "POST /v1/sessions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\ntransfer-encoding: chunked\r\n\r\n{secret}\r\n"
        ),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{secret}{secret}"),
        format!("{secret}\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // It may be cut off in the middle; what counts is that the server is done with it.
        let _ = soon("the connection ends", stream.read_to_end(&mut Vec::new())).await;
    }
}

/// Connects with a token in every place; says how often that worked.
async fn connect_everywhere(url: &str, token: &str) -> usize {
    let mut streams = Vec::new();
    for placement in TokenPlacement::ALL {
        if let Ok(mut stream) = Stream::connect(url, token, placement, None).await {
            stream
                .send_raw(kallglot_testkit::client::RawMessage::text(format!("{{\"type\":\"{token}\"}}")))
                .await
                .unwrap();
            soon("a message", stream.next()).await;
            streams.push(stream);
        }
    }
    streams.len()
}

#[tokio::test]
async fn no_secret_is_logged_at_trace_level_counted_or_stored_in_clear() {
    let folder = Folder::new();
    let mut secrets = Secrets::default();
    let limits = ["--requests-per-minute", "1000000000"];
    let organization =
        folder.json(&[&["org", "create", "--name", "A", "--leak-policy", "revoke"], &limits[..]].concat()).await;
    let organization = organization["id"].as_str().unwrap();
    let server = Server::start_with(&folder, &[("KALLGLOT_LOG__FILTER", "trace")]).await;
    for file in std::fs::read_dir(folder.data().join("secrets")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        text.split_whitespace().filter(|word| word.len() == 64).for_each(|word| drop(secrets.add(word)));
    }
    assert_eq!(secrets.0.len(), 4, "what keys are hashed, tokens signed, answers and webhooks' secrets sealed with");

    // Keys in every state.
    let create = async |env: &str| {
        let all = ["sessions:read", "sessions:write", "api_keys:manage"].map(|name| ["--permission", name]).concat();
        folder.json(&[&["key", "create", "--org", organization, "--env", env], &all[..]].concat()).await
    };
    let (manager, test, revoked, rotated) =
        (create("live").await, create("test").await, create("live").await, create("live").await);
    let again = folder.json(&["key", "rotate", rotated["id"].as_str().unwrap()]).await;
    folder.json(&["key", "revoke", revoked["id"].as_str().unwrap()]).await;
    let mut keys = Vec::new();
    for made in [&manager, &test, &revoked, &rotated, &again] {
        keys.push(secrets.add(made["secret"].as_str().unwrap()));
    }
    keys.push(secrets.add(&unknown(1)));
    keys.push(secrets.add(&mistyped(&keys[0])));
    keys.push(secrets.add(&keys[0][..40]));
    keys.push(secrets.add(&format!("{} ", keys[1]).repeat(3)));
    let client = server.client(&keys[0]);

    // Keys made, rotated, revoked and reported by API, with repetitions.
    let mut made = Vec::new();
    for key in ["one", "one", "two"] {
        let body = Body::Json(json!({ "name": key }));
        let answer = send(&client, "POST", "/v1/api_keys", &[("idempotency-key", key)], body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        made.push(answer.json());
    }
    let id = made[0]["id"].as_str().unwrap().to_owned();
    let rotate = format!("/v1/api_keys/{id}/rotate");
    made.push(send(&client, "POST", &rotate, &[], Body::Json(json!({ "grace_seconds": 60 }))).await.json());
    made.iter().for_each(|made| secrets.add_all_of(made));
    for made in &made {
        let key = made["secret"].as_str().unwrap();
        send(&client.with_key(Some(key)), "GET", "/v1/whoami", &[], Body::Empty).await;
    }
    send(&client, "POST", &format!("/v1/api_keys/{id}/revoke"), &[], Body::Json(json!({ "close_streams": true })))
        .await;
    let leaked = made[2]["secret"].as_str().unwrap().to_owned();
    let nobodys = secrets.add(&unknown(2));
    for (secret, status) in [(&leaked, 200), (&nobodys, 404), (&mistyped(&leaked), 404)] {
        let source = format!("https://paste.example/?found={secret}");
        let report = json!({ "secret": secret, "source": source });
        let answer = send(&client.with_key(None), "POST", "/v1/api_keys/leaks", &[], Body::Json(report)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }

    // Stream tokens, good and bad.
    let file = folder.data().join("secrets/stream-token");
    let hexadecimal = std::fs::read_to_string(file).unwrap();
    let byte = |at: usize| u8::from_str_radix(&hexadecimal[2 * at..2 * at + 2], 16).unwrap();
    let signs = StreamTokenSecret::new(std::array::from_fn(byte));
    let body = json!({ "mode": "assistive_translation", "source_language": "en", "target_language": "es" });
    let created = send(&client, "POST", "/v1/sessions", &[("idempotency-key", "s")], Body::Json(body)).await.json();
    secrets.add_all_of(&created);
    let session = created["id"].as_str().unwrap();
    let got = send(&client, "GET", &format!("/v1/sessions/{session}"), &[], Body::Empty).await.json();
    secrets.add_all_of(&got);
    let url = format!("ws://{}/v1/sessions/{session}/connect", server.address);
    let past = Timestamp::from_second(1_000_000_000).unwrap();
    let expired =
        secrets.add(&stream_token::issue(&signs, Purpose::TakePart, session.parse().unwrap(), Environment::Live, past));
    let good = created["stream"]["token"].as_str().unwrap().to_owned();
    let bad = secrets.add(&mistyped(&good));
    for (token, places) in [(&good, 3), (&bad, 0), (&expired, 0), (&keys[0], 0)] {
        assert_eq!(connect_everywhere(&url, token).await, places);
    }

    // All of them in all the wrong places. At the end: this many failed attempts are throttled.
    keys.extend([good, bad, expired]);
    for (index, key) in keys.iter().enumerate() {
        show_everywhere(&client, key, &keys[(index + 1) % keys.len()]).await;
        show_in_broken_requests(&server, key).await;
    }

    let metrics = send(&client.with_key(None), "GET", "/metrics", &[], Body::Empty).await;
    assert!(metrics.status == 200 && metrics.text().contains("kallglot_"), "{}", metrics.text());
    secrets.are_not_in("the metrics", &metrics.body);
    assert!(secrets.are_not_stored(&folder.data()) > 10_000, "the database was looked at");
    let log = std::sync::Arc::clone(&server.log);
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    // With what was written at the end: the request log.
    secrets.are_not_stored(&folder.data());
    let log = log.lock().unwrap();
    let lines = |level: &str, target: &str| {
        let of =
            |line: &&str| line.contains(&format!("\"{level}\"")) && line.contains(&format!("\"target\":\"{target}"));
        log.lines().filter(of).count()
    };
    assert!(lines("TRACE", "tokio_tungstenite") > 0, "everything is logged, that of libraries too");
    assert!(
        lines("DEBUG", "kallglot::request") > 500 && lines("DEBUG", "kallglot_http::serve") > 50,
        "every request is logged"
    );
    assert!(
        lines("WARN", "kallglot_http::leaks") == 1 && log.contains("paste.example"),
        "the report of a leak is logged"
    );
    assert!(secrets.0.len() >= 18, "{}", secrets.0.len());
    secrets.are_not_in("the log", log.as_bytes());
}
