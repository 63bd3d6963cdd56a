//! Events: watching a session by server-sent events, lists of what happened, and listening to test events (contract section 13).

use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::clock::Clock as _;
use kallglot_core::id::SegmentId;
use kallglot_core::permission::Permission;
use kallglot_core::session::{Environment, Mode, Speaker, Tenant};
use kallglot_http::StreamConfig;
use kallglot_storage::NewTurn;
use kallglot_testkit::client::{Body, Client, EventMessage, EventStream, NewSession};
use kallglot_testkit::{Call, Script, ServerBuilder, TestServer, soon};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const NEW: fn() -> NewSession = || NewSession::new(Mode::BidirectionalTranslation, "en", "es");

fn script() -> Script {
    let heard = [("en", vec!["Good morning.".to_owned(), "How are you?".to_owned()])];
    Script {
        utterances: heard.into_iter().map(|(language, texts)| (language.to_owned(), texts)).collect(),
        ..Script::default()
    }
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn next(stream: &mut EventStream) -> EventMessage {
    loop {
        let message = soon("an event", stream.next()).await.unwrap().expect("the stream goes on");
        // The first one may only say where to go on from.
        if !message.data.is_empty() {
            return message;
        }
    }
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn rest(stream: &mut EventStream) -> Vec<EventMessage> {
    let mut all = Vec::new();
    while let Some(message) = soon("the end", stream.next()).await.unwrap() {
        all.push(message);
    }
    all
}

fn types(messages: &[EventMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.event.as_str()).collect()
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn watch(api: &Client, session: &str, query: &str, last: Option<&str>) -> EventStream {
    api.event_stream(&format!("/v1/sessions/{session}/events{query}"), last).await.unwrap().expect("events")
}

#[tokio::test]
async fn a_call_is_watched_from_its_beginning_to_its_end() {
    let server = ServerBuilder::default().script(script()).start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let id = call.session.id.clone();
    let mut stream = watch(&api, &id, "", None).await;
    let first = next(&mut stream).await;
    assert_eq!((first.id.as_deref(), first.event.as_str()), (Some("1"), "session.created"));
    assert_eq!(first.read().unwrap().data["session"]["id"], id.as_str());

    call.say(Speaker::Customer, 600).await;
    assert_eq!(next(&mut stream).await.event, "session.started");
    let said = next(&mut stream).await;
    let event = said.read().unwrap();
    assert_eq!((said.id.as_deref(), said.event.as_str()), (Some("3"), "transcript.segment"));
    assert_eq!((&event.data["sequence"], &event.data["segment"]["text"]), (&json!(3), &json!("Good morning.")));

    api.end_session(&id, None).await.unwrap();
    let end = rest(&mut stream).await;
    assert_eq!(types(&end), ["session.ended", "transcript.ready"]);
    assert!(api.session_events(&id, Some("5")).await.unwrap().is_none(), "nothing more is to come: 204");
    let again = rest(&mut watch(&api, &id, "", Some("2")).await).await;
    assert_eq!(again[0], said, "the same event, byte for byte");
    assert_eq!(again.len(), 3);
    server.finish().await;
}

#[tokio::test]
async fn partials_are_seen_where_the_session_lives_and_never_again() {
    let server = ServerBuilder::default().script(script()).start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let mut stream = watch(&api, &call.session.id, "?partials=true", Some("1")).await;
    // The stream is on its way when the comment or the event before it has come: the session's start.
    call.play(Speaker::Customer, &[0xff; 160]).await;
    assert_eq!(next(&mut stream).await.event, "session.started");
    call.say(Speaker::Customer, 900).await;
    let mut partials = 0;
    let said = loop {
        let message = next(&mut stream).await;
        if message.event != "transcript.partial" {
            break message;
        }
        let partial = message.read().unwrap();
        assert_eq!(message.id, None);
        assert!(
            "Good morning.".starts_with(partial.data["segment"]["text"].as_str().unwrap().trim_end()),
            "{partial:?}"
        );
        partials += 1;
    };
    assert!(partials > 0 && said.event == "transcript.segment", "{partials} {said:?}");
    api.end_session(&call.session.id, None).await.unwrap();
    let again = rest(&mut watch(&api, &call.session.id, "?partials=true", None).await).await;
    assert!(!types(&again).contains(&"transcript.partial"), "{again:?}");
    server.finish().await;
}

#[tokio::test]
async fn who_was_away_goes_on_where_it_was_also_after_a_restart() {
    let server = ServerBuilder::default().script(script()).start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let api = server.client_with(&secret);
    let session = api.create_session(&NEW()).await.unwrap();
    let mut stream = watch(&api, &session.id, "", None).await;
    let last = next(&mut stream).await.id.unwrap();
    // The server that stops ends the stream; the other one knows what comes next.
    let server = soon("the restart", server.restart()).await;
    assert_eq!(rest(&mut stream).await, []);
    let api = server.client_with(&secret);
    let mut stream = watch(&api, &session.id, "", Some(&last)).await;
    api.end_session(&session.id, None).await.unwrap();
    assert_eq!(types(&rest(&mut stream).await), ["session.ended"]);
    server.finish().await;
}

#[tokio::test]
async fn what_is_asked_for_is_checked() {
    let server = TestServer::start().await;
    let owner = server.organization().await;
    let api = server.client(&owner, Environment::Live).await;
    let session = api.create_session(&NEW()).await.unwrap();
    let path = format!("/v1/sessions/{}/events", session.id);
    let refused = async |path: &str, last: Option<&str>| {
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let answer = api.request("GET", path, &headers, Body::Empty).await.unwrap();
        (answer.status, answer.json()["error"]["param"].as_str().unwrap_or_default().to_owned())
    };
    for (query, param) in
        [("after=x", "after"), ("after=2", "after"), ("wait=1", "wait"), ("partials=", "partials"), ("from=1", "from")]
    {
        assert_eq!(refused(&format!("{path}?{query}"), None).await, (422, param.to_owned()), "{query}");
    }
    assert_eq!(refused(&path, Some("evt_1")).await, (422, "Last-Event-ID".to_owned()));
    let strangers = server.test_client().await;
    assert_eq!(strangers.get(&format!("{path}?wait=false")).await.unwrap().status, 404);
    let answer = api.get(&format!("{path}?wait=false")).await.unwrap();
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!((answer.header("cache-control"), answer.header("x-accel-buffering")), (Some("no-store"), Some("no")));
    assert!(answer.text().starts_with("retry: 2000\n\nid: 1\nevent: session.created\ndata: {"), "{}", answer.text());
    assert_eq!(api.get(&format!("{path}?wait=false&after=1")).await.unwrap().status, 204);
    server.finish().await;
}

#[tokio::test]
async fn what_has_been_forgotten_is_told_as_missing() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let api = server.client_with(&secret);
    let session = api.create_session(&NEW()).await.unwrap();
    server.clock.advance(jiff::SignedDuration::from_hours(24 * 31));
    api.end_session(&session.id, None).await.unwrap();
    server.app.storage.forget(server.clock.now(), 100).await.unwrap();
    let all = rest(&mut watch(&api, &session.id, "", None).await).await;
    assert_eq!(types(&all), ["stream.gap", "session.ended"]);
    let gap: Value = serde_json::from_str(&all[0].data).unwrap();
    assert_eq!((&gap["data"]["from_sequence"], &gap["data"]["to_sequence"]), (&json!(1), &json!(1)));
    assert_eq!(all[0].id.as_deref(), Some("1"), "who goes on behind it is not told again");
    server.finish().await;
}

#[tokio::test]
async fn a_quiet_stream_has_comments_and_ends_when_its_key_is_revoked() {
    let stream = StreamConfig { heartbeat_every: Duration::from_millis(20), ..StreamConfig::default() };
    let server = ServerBuilder::default().stream(stream).start().await;
    let organization = server.organization().await;
    let (watcher, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let api = server.client_that_may(&organization, Permission::ALL).await;
    let session = api.create_session(&NEW()).await.unwrap();
    let mut connection = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /v1/sessions/{}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n",
        session.id
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while text.matches("\n:\n\n").count() < 2 {
        let read = soon("comments", connection.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]).replace("\r\n", "\n").replace("\n3\n", "\n"));
    }
    let answer = api.post(&format!("/v1/api_keys/{watcher}/revoke"), json!({})).await.unwrap();
    assert_eq!(answer.status, 200);
    while soon("the end", connection.read(&mut buffer)).await.unwrap() > 0 {}
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_goes_on_where_it_was() {
    let stream = StreamConfig { write_max: Duration::from_millis(200), ..StreamConfig::default() };
    let server = ServerBuilder::default().stream(stream).start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let api = server.client_with(&secret);
    let session = api.create_session(&NEW()).await.unwrap().id;
    let tenant = Tenant { organization: organization.id, environment: Environment::Live };
    // More than all buffers on the way hold.
    for number in 0..TURNS {
        let turn = long_turn(number);
        server.app.storage.append_turn(tenant, session.parse().unwrap(), &turn).await.unwrap().unwrap();
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut connection = socket.connect(server.address).await.unwrap();
    let request =
        format!("GET /v1/sessions/{session}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    soon("it is cut off", async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let metrics = api.get("/metrics").await.unwrap().text();
            if metrics.contains("kallglot_event_streams_cut 1") && metrics.contains("kallglot_event_streams 0") {
                break;
            }
        }
    })
    .await;
    // It has lost nothing: what it did not read is there.
    let all = rest(&mut watch(&api, &session, "?wait=false", Some("1")).await).await;
    assert_eq!(all.len(), TURNS as usize);
    server.finish().await;
}

const TURNS: u128 = 200;

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
fn long_turn(number: u128) -> NewTurn {
    NewTurn {
        id: SegmentId::from_bits(number),
        speaker: Speaker::Agent,
        language: "en".parse().unwrap(),
        text: "x".repeat(100_000),
        translation: None,
        timestamp: Timestamp::UNIX_EPOCH,
        start_ms: 0,
        end_ms: 1,
        confidence: 1.0,
    }
}

#[tokio::test]
async fn an_organization_has_a_bound_of_open_streams() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let session = api.create_session(&NEW()).await.unwrap().id;
    let mut open = Vec::new();
    for _ in 0..kallglot_app::feed::STREAMS_MAX {
        open.push(watch(&api, &session, "", None).await);
    }
    let answer = api.get(&format!("/v1/sessions/{session}/events")).await.unwrap();
    assert_eq!((answer.status, answer.error_code().as_deref()), (429, Some("rate_limit_exceeded")));
    assert!(answer.header("retry-after").is_some());
    open.pop();
    soon("the place is free", async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while server.app.feed.len() >= kallglot_app::feed::STREAMS_MAX as usize {
            look.tick().await;
        }
    })
    .await;
    drop(watch(&api, &session, "", None).await);
    drop(open);
    server.finish().await;
}

#[tokio::test]
async fn what_happened_is_listed_with_its_session_and_type() {
    let server = TestServer::start().await;
    let owner = server.organization().await;
    let api = server.client(&owner, Environment::Live).await;
    let sessions = [api.create_session(&NEW()).await.unwrap().id, api.create_session(&NEW()).await.unwrap().id];
    api.end_session(&sessions[0], None).await.unwrap();

    let page = api.events("").await.unwrap();
    let types: Vec<_> = page.data.iter().map(|event| event.event_type.as_str()).collect();
    assert!(types.contains(&"api_key.created") && types.contains(&"session.ended") && !page.has_more, "{types:?}");
    let of = async |query: &str| {
        let page = api.events(query).await.unwrap();
        page.data.into_iter().map(|event| event.event_type).collect::<Vec<_>>()
    };
    assert_eq!(of("?type=session.ended").await, ["session.ended"]);
    let mut of_session = of(&format!("?session_id={}", sessions[0])).await;
    of_session.sort();
    assert_eq!(of_session, ["session.created", "session.ended"]);
    assert_eq!(of(&format!("?session_id={}&type=session.created", sessions[1])).await, ["session.created"]);
    let first = api.events("?limit=1").await.unwrap();
    assert!(first.has_more);
    let next = api.events(&format!("?limit=100&starting_after={}", first.data[0].id)).await.unwrap();
    assert_eq!(next.data, page.data[1..]);

    assert_eq!(api.event(&page.data[0].id).await.unwrap(), page.data[0]);
    assert_eq!(api.get("/v1/events/evt_0000000000000000000001").await.unwrap().status, 404);
    let test = server.client(&owner, Environment::Test).await;
    let answer = test.get(&format!("/v1/events/{}", page.data[0].id)).await.unwrap();
    assert_eq!(answer.error_code().as_deref(), Some("api_key_wrong_environment"));
    assert!(test.events("?type=session.created").await.unwrap().data.is_empty());
    let answer = api.get("/v1/events?type=session.finished").await.unwrap();
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("`session.ended`"), "it says what there is: {}", answer.text());
    server.finish().await;
}

#[tokio::test]
async fn test_events_are_listened_to_and_live_ones_are_not() {
    let server = TestServer::start().await;
    let owner = server.organization().await;
    let (_, secret) = server.key_with(&owner, Environment::Test, |_| {}).await;
    let (test, live) = (server.client_with(&secret), server.client(&owner, Environment::Live).await);
    let answer = live.get("/v1/webhooks/listen").await.unwrap();
    assert_eq!((answer.status, answer.error_code().as_deref()), (401, Some("api_key_wrong_environment")));
    assert_eq!(test.get("/v1/webhooks/listen?types=session.created,x").await.unwrap().status, 422);

    let listen = async |query: &str, last: Option<&str>| {
        test.event_stream(&format!("/v1/webhooks/listen{query}"), last).await.unwrap().unwrap()
    };
    let mut all = listen("", None).await;
    let mut ends = listen("?types=session.ended", None).await;
    live.create_session(&NEW()).await.unwrap();
    let session = test.create_session(&NEW()).await.unwrap();
    test.end_session(&session.id, None).await.unwrap();
    let created = next(&mut all).await;
    assert_eq!(created.event, "session.created");
    assert_eq!(created.read().unwrap().data["session_id"], session.id.as_str());
    let ended = next(&mut all).await;
    assert_eq!(next(&mut ends).await, ended);
    drop((all, ends));
    let again = rest(&mut listen("?wait=false", created.id.as_deref()).await).await;
    assert_eq!(again, [ended]);
    let answer =
        test.request("GET", "/v1/webhooks/listen", &[("last-event-id", "evt_0000000000000000000001")], Body::Empty);
    assert_eq!(answer.await.unwrap().status, 422, "it would not know where to go on");
    server.finish().await;
}
