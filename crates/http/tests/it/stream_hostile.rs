//! Clients that send garbage, nothing, too much, too fast, or never read: each harms only itself (contract section 11).

use std::time::Duration;

use kallglot_core::session::{Environment, Mode, Speaker};
use kallglot_http::StreamConfig;
use kallglot_testkit::client::{NewSession, RawMessage, ServerMessage};
use kallglot_testkit::{Call, ServerBuilder, TestServer, next_matching, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn ten_malformed_messages_close_the_stream() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let garbage = [
        RawMessage::text("hello"),
        RawMessage::text("{}"),
        RawMessage::text(r#"{"type":"audio.output"}"#),
        RawMessage::text(r#"{"type":"audio.input"}"#),
        RawMessage::text(r#"{"type":"audio.input","sequence":-1,"audio":{"payload":""}}"#),
        RawMessage::text(r#"{"type":"audio.input","sequence":1,"speaker":"bob","audio":{"payload":""}}"#),
        RawMessage::text(r#"{"type":"audio.input","sequence":1,"speaker":"agent","audio":{"payload":"%%%"}}"#),
        RawMessage::text("[".repeat(5_000)),
        RawMessage::binary(vec![0u8; 100]),
        RawMessage::text("\u{0}"),
    ];
    for (index, message) in garbage.into_iter().enumerate() {
        call.stream.send_raw(message).await.unwrap();
        assert_eq!(call.next_error().await, ("malformed_message".into(), index == 9), "message {index}");
    }
    assert_eq!(soon("a close", call.stream.wait_closed()).await.code, Some(4400));
    assert_eq!(api.get_session(&call.session.id).await.unwrap().status, "active", "the session goes on");
    server.finish().await;
}

#[tokio::test]
async fn a_frame_over_64_kib_closes_with_1009() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    call.stream.send_raw(RawMessage::text("x".repeat(64 * 1024 + 1))).await.unwrap();
    assert_eq!(soon("a close", call.stream.wait_closed()).await.code, Some(1009));
    server.finish().await;
}

#[tokio::test]
async fn who_is_too_fast_is_told_then_closed() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    // A test key: 100 messages a second.
    let api = server.client(&organization, Environment::Test).await;
    let bystander = Call::start(&api).await;
    let call = Call::start(&api).await;
    let (mut sender, mut receiver) = call.stream.split();
    let flooding = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(10));
        // 400 a second for up to 15 s; it ends with the close.
        for _ in 0..1_500 {
            clock.tick().await;
            for _ in 0..4 {
                if sender.send_audio(Speaker::Customer, &[0xff; 80]).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut told = 0;
    let closed = soon("a close", async {
        while let Some(message) = receiver.next().await {
            if let ServerMessage::Error { code, .. } = message {
                assert_eq!(code, "stream_rate_exceeded");
                told += 1;
            }
        }
        receiver.closed().cloned()
    })
    .await;
    assert_eq!(closed.unwrap().code, Some(4429));
    assert!((5..=8).contains(&told), "about once a second: {told}");
    soon("the flood ends", flooding).await.unwrap();
    let mut bystander = bystander;
    bystander.say(Speaker::Agent, 600).await;
    bystander.next_final().await;
    server.finish().await;
}

#[tokio::test]
async fn who_never_reads_is_cut_off_and_harms_nobody() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let session = api.create_session(&NewSession::new(Mode::AssistiveTranslation, "en", "es")).await.unwrap();
    // A client of bare TCP that upgrades and then never reads again.
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    let token = session.stream.as_ref().unwrap().token.as_ref().unwrap().reveal();
    let request = format!(
        "GET /v1/sessions/{}/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n",
        session.id
    );
    deaf.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    deaf.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");

    let mut speaker = Call { stream: Call::join(&session, None).await, session };
    // 24 s of audio at 3 times the speed of speech, which fills the deaf one's buffers many times over.
    let (mut sender, mut receiver) = speaker.stream.split();
    let sending = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..400 {
            clock.tick().await;
            for _ in 0..3 {
                sender.send_audio(Speaker::Customer, &[0x55; 160]).await.unwrap();
            }
        }
    });
    let mut heard_ms = 0;
    soon("all audio comes back to who reads", async {
        while heard_ms < 400 * 60 {
            match receiver.next().await {
                Some(ServerMessage::Audio(audio)) => heard_ms += audio.audio.payload.len() / 8,
                Some(_) => {}
                None => panic!("{:?}", receiver.closed()),
            }
        }
    })
    .await;
    soon("the sender ends", sending).await.unwrap();
    speaker.session = api.get_session(&speaker.session.id).await.unwrap();
    assert_eq!(speaker.session.status, "active");
    drop(deaf);
    server.finish().await;
}

#[tokio::test]
async fn who_gives_no_sign_of_life_is_closed() {
    let stream = StreamConfig {
        ping_every: Duration::from_millis(100),
        idle_max: Duration::from_millis(400),
        write_max: Duration::from_secs(1),
        ..StreamConfig::default()
    };
    let server = ServerBuilder::default().stream(stream).start().await;
    let api = server.test_client().await;
    // A client that is read from answers pings and stays.
    let mut alive = Call::start(&api).await;
    // One that is not read from answers none.
    let session = alive.session.clone();
    let mut silent = Call::join(&session, None).await;
    let stays = tokio::spawn(async move {
        next_matching(&mut alive.stream, "the end", |m| matches!(m, ServerMessage::Ended { .. })).await;
    });
    // What this client does is nothing, for longer than the server waits for a sign of life.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(soon("a close", silent.wait_closed()).await.code, Some(4408));
    api.end_session(&session.id, None).await.unwrap();
    soon("the live one stayed", stays).await.unwrap();
    server.finish().await;
}

#[tokio::test]
async fn who_only_listens_stays() {
    let stream = StreamConfig {
        ping_every: Duration::from_millis(100),
        idle_max: Duration::from_millis(400),
        write_max: Duration::from_secs(1),
        ..StreamConfig::default()
    };
    let server = ServerBuilder::default().stream(stream).start().await;
    let api = server.test_client().await;
    let mut call = Call::start_with(&api, Mode::AssistiveTranslation, Some(Speaker::Customer)).await;
    let mut listener = Call::join(&call.session, Some(Speaker::Agent)).await;
    let session = call.session.id.clone();
    let listening = tokio::spawn(async move {
        next_matching(&mut listener, "the end", |message| matches!(message, ServerMessage::Ended { .. })).await
    });
    // Something to hear for longer than the idle limit, then nothing for a while.
    call.play(Speaker::Customer, &[0x55; 160 * 35]).await;
    call.say(Speaker::Customer, 500).await;
    call.next_final().await;
    api.end_session(&session, None).await.unwrap();
    soon("the listener hears of the end", listening).await.unwrap();
    server.finish().await;
}
