//! Who watches a session without taking part (docs/API-DESIGN.md, "Observing a session").

use jiff::SignedDuration;
use kallglot_app::state::OBSERVER_TOKEN_S;
use kallglot_core::session::{EndReason, Environment, Mode, Speaker};
use kallglot_core::stream_token::{self, Purpose};
use kallglot_testkit::client::{AudioFrame, ConnectError, NewSession, ServerMessage, Session, Stream, TokenPlacement};
use kallglot_testkit::{Call, TestServer, next_matching, soon, voice_mulaw};
use serde_json::Value;

/// An observer's token for a session.
fn token(server: &TestServer, session: &Session) -> String {
    server.app.observer_token(session.id.parse().unwrap(), Environment::Live).token
}

/// Watches a session by way of this server.
pub(crate) async fn observe(server: &TestServer, session: &Session, token: &str) -> Result<Stream, (u16, String)> {
    let url = format!("ws://{}/v1/sessions/{}/connect?observe=true", server.address, session.id);
    match Stream::connect(&url, token, TokenPlacement::Subprotocol, None).await {
        Ok(stream) => Ok(stream),
        Err(ConnectError::Refused(error)) => Err((error.status, error.code.clone())),
        Err(other) => panic!("{other}"),
    }
}

/// The next message of this type, which the client's library does not know.
pub(crate) async fn next(stream: &mut Stream, wanted: &str) -> Value {
    let is_it = |message: &ServerMessage| matches!(message, ServerMessage::Other(other) if other["type"] == wanted);
    match next_matching(stream, wanted, is_it).await {
        ServerMessage::Other(message) => message,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn an_observer_reads_what_is_said_sees_how_loud_it_is_and_hears_nothing() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let mut observer = observe(&server, &call.session, &token(&server, &call.session)).await.unwrap();
    let ready = soon("ready", observer.next()).await.unwrap();
    assert!(
        matches!(ready, ServerMessage::Ready { ref session_id, .. } if *session_id == call.session.id),
        "{ready:?}"
    );
    assert_eq!(next(&mut observer, "session.recording").await["state"], "off");
    let quiet = next(&mut observer, "session.levels").await;
    assert_eq!(quiet["elapsed_ms"], Value::Null);
    assert_eq!((&quiet["customer"]["level_dbfs"], &quiet["customer"]["voice"]), (&(-96.0).into(), &false.into()));

    let watching = tokio::spawn(async move {
        let (mut partials, mut finals, mut lags, mut spoke, mut heard) = (0, Vec::new(), Vec::new(), false, false);
        while !(lags.len() == 1 && spoke && heard) {
            match observer.next().await.unwrap() {
                ServerMessage::Partial(_) => partials += 1,
                ServerMessage::Final(text) => finals.push(text),
                ServerMessage::Other(message) if message["type"] == "session.levels" => {
                    assert_eq!(message["agent"]["voice"], false, "only the customer speaks");
                    spoke |= message["customer"]["voice"] == true
                        && message["customer"]["level_dbfs"].as_f64().unwrap() > -40.0;
                    heard |= message["agent"]["heard_dbfs"].as_f64().unwrap() > -60.0;
                }
                ServerMessage::Other(message) if message["type"] == "session.lag" => lags.push(message),
                other => panic!("an observer is not told this: {other:?}"),
            }
        }
        (observer, partials, finals, lags)
    });
    call.say(Speaker::Customer, 900).await;
    let text = call.next_final().await;
    let (mut observer, partials, finals, lags) = soon("what there is to see", watching).await.unwrap();
    assert!(partials > 0);
    assert_eq!(finals, std::slice::from_ref(&text), "the same that the parties read");
    assert_eq!((&lags[0]["id"], &lags[0]["speaker"]), (&text.id.clone().into(), &"customer".into()));
    assert!(lags[0]["final_ms"].is_u64() && lags[0]["first_audio_ms"].is_u64(), "{}", lags[0]);

    api.end_session(&call.session.id, Some(EndReason::AgentHangup)).await.unwrap();
    let ended = next_matching(&mut observer, "the end", |m| matches!(m, ServerMessage::Ended { .. })).await;
    assert!(matches!(ended, ServerMessage::Ended { ref reason, .. } if reason == "agent_hangup"), "{ended:?}");
    assert_eq!(soon("the close", observer.wait_closed()).await.code, Some(1000));
    server.finish().await;
}

#[tokio::test]
async fn an_observer_sees_a_recording_pause() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let new = NewSession::new(Mode::BidirectionalTranslation, "en", "es");
    let session = api.create_session(&new.recorded(true)).await.unwrap();
    let _party = Call::join(&session, None).await;
    let mut observer = observe(&server, &session, &token(&server, &session)).await.unwrap();
    assert_eq!(next(&mut observer, "session.recording").await["state"], "on");
    for (pause, state) in [(true, "paused"), (false, "on")] {
        api.pause_recording(&session.id, pause).await.unwrap();
        assert_eq!(next(&mut observer, "session.recording").await["state"], state);
    }
    server.finish().await;
}

#[tokio::test]
async fn who_may_observe_may_not_take_part_and_the_other_way_round() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let call = Call::start(&api).await;
    let other = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let stream = call.session.stream.as_ref().unwrap();
    let observers = token(&server, &call.session);

    let joined = Stream::connect(&stream.url, &observers, TokenPlacement::Subprotocol, None).await;
    assert!(
        matches!(joined, Err(ConnectError::Refused(ref error)) if error.code == "stream_token_invalid"),
        "{joined:?}"
    );
    let invalid = Err((401, "stream_token_invalid".to_owned()));
    let parts = stream.token.as_ref().unwrap().reveal();
    let disguised = parts.replace("kst_", "kso_");
    for wrong in [parts, &disguised, &token(&server, &other), "kso_live_nonsense"] {
        assert_eq!(observe(&server, &call.session, wrong).await.map(drop), invalid);
    }
    let of_test = server.app.observer_token(call.session.id.parse().unwrap(), Environment::Test).token;
    assert_eq!(observe(&server, &call.session, &of_test).await.map(drop), invalid);

    server.clock.advance(SignedDuration::from_secs(i64::from(OBSERVER_TOKEN_S)));
    let late = observe(&server, &call.session, &observers).await.map(drop);
    assert_eq!(late, Err((401, "stream_token_expired".into())));
    let fresh = token(&server, &call.session);
    assert!(observe(&server, &call.session, &fresh).await.is_ok());
    api.end_session(&call.session.id, None).await.unwrap();
    assert_eq!(observe(&server, &call.session, &fresh).await.map(drop), invalid, "it dies with the session");
    server.finish().await;
}

#[tokio::test]
async fn an_observer_lasts_as_long_as_its_token() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let call = Call::start(&api).await;
    let soon_over = server.app.clock.now() + SignedDuration::from_secs(1);
    let id = call.session.id.parse().unwrap();
    let secret = &server.app.stream_token_secret;
    let token = stream_token::issue(secret, Purpose::Observe, id, Environment::Live, soon_over);
    let mut observer = observe(&server, &call.session, &token).await.unwrap();
    assert_eq!(soon("its end", observer.wait_closed()).await.code, Some(1001));
    server.finish().await;
}

#[tokio::test]
async fn observers_are_counted_apart_from_streams_and_take_no_slot() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let session = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    let token = token(&server, &session);

    // Nobody takes part yet. Looking on starts nothing.
    let early = observe(&server, &session, &token).await.map(drop);
    assert_eq!(early, Err((503, "service_unavailable".into())));
    assert_eq!(api.get_session(&session.id).await.unwrap().status, "created");
    assert_eq!(server.app.hub.live_count(), 0);

    let mut parties = vec![Call::join(&session, None).await];
    let mut observers = Vec::new();
    for _ in 0..8 {
        let mut observer = observe(&server, &session, &token).await.unwrap();
        next_matching(&mut observer, "ready", |m| matches!(m, ServerMessage::Ready { .. })).await;
        observers.push(observer);
    }
    for _ in 1..8 {
        parties.push(Call::join(&session, None).await);
    }
    let mut ninth = observe(&server, &session, &token).await.unwrap();
    let told = next_matching(&mut ninth, "too many", |m| matches!(m, ServerMessage::Error { .. })).await;
    assert!(
        matches!(told, ServerMessage::Error { ref code, fatal: true, .. } if code == "too_many_streams"),
        "{told:?}"
    );
    assert_eq!(soon("the close", ninth.wait_closed()).await.code, Some(4429));

    // One that goes makes room for another.
    drop(observers.pop());
    soon("room", async {
        loop {
            let mut next = observe(&server, &session, &token).await.unwrap();
            if matches!(next.next().await, Some(ServerMessage::Ready { .. })) {
                break;
            }
        }
    })
    .await;
    server.finish().await;
}

#[tokio::test]
async fn an_observer_that_speaks_is_told_and_not_heard() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let mut observer = observe(&server, &call.session, &token(&server, &call.session)).await.unwrap();
    let voice = voice_mulaw(20);
    let frame = |sequence| AudioFrame { sequence, timestamp_ms: 0, speaker: Speaker::Customer, mulaw: &voice };
    observer.ping().await.unwrap();
    next_matching(&mut observer, "pong", |m| matches!(m, ServerMessage::Pong { .. })).await;
    observer.send_frame(frame(1)).await.unwrap();
    let wanted = |m: &ServerMessage| matches!(m, ServerMessage::Error { code, fatal: false, .. } if code == "speaker_not_allowed");
    next_matching(&mut observer, "an error", wanted).await;
    // It can't end the session either, and who goes on like that is sent away.
    for sequence in 2..=9 {
        observer.send_frame(frame(sequence)).await.unwrap();
    }
    observer.end().await.unwrap();
    assert_eq!(soon("its end", observer.wait_closed()).await.code, Some(4400));
    call.say(Speaker::Agent, 600).await;
    assert_eq!(call.next_final().await.speaker, Speaker::Agent);
    let quality = api.get(&format!("/v1/sessions/{}/quality", call.session.id)).await.unwrap();
    assert_eq!(quality.json()["streams"]["customer"]["frames_in"], 0);
    server.finish().await;
}
