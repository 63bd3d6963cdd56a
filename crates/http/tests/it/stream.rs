//! The stream, sentence by sentence (contract section 11).

use jiff::SignedDuration;
use kallglot_core::session::{Environment, Mode, Speaker, Tenant};
use kallglot_testkit::client::{
    AudioFrame, ConnectError, NewSession, RawMessage, ServerMessage, Session, Stream, TokenPlacement,
};
use kallglot_testkit::{Call, Script, ServerBuilder, TestServer, next_matching, soon, voice_mulaw};
use serde_json::json;

async fn connect(session: &Session, placement: TokenPlacement) -> Result<Stream, (u16, String)> {
    let stream = session.stream.as_ref().unwrap();
    connect_with(&stream.url, stream.token.as_ref().unwrap().reveal(), placement).await
}

async fn connect_with(url: &str, token: &str, placement: TokenPlacement) -> Result<Stream, (u16, String)> {
    match Stream::connect(url, token, placement, None).await {
        Ok(stream) => Ok(stream),
        Err(ConnectError::Refused(error)) => Err((error.status, error.code.clone())),
        Err(other) => panic!("{other}"),
    }
}

fn refused(code: &str) -> Result<(), (u16, String)> {
    Err((401, code.to_owned()))
}

#[tokio::test]
async fn a_token_may_come_in_three_ways() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let session = api.create_session(&NewSession::new(Mode::AssistiveTranslation, "en", "es")).await.unwrap();
    for placement in TokenPlacement::ALL {
        let mut stream = connect(&session, placement).await.unwrap();
        let ready = soon("ready", stream.next()).await.unwrap();
        let ServerMessage::Ready { session_id, mode, source_language, target_language } = ready else {
            panic!("the first message is session.ready: {ready:?}");
        };
        assert_eq!((session_id, mode.as_str()), (session.id.clone(), "assistive_translation"));
        assert_eq!((source_language.as_deref(), target_language.as_deref()), (Some("en"), Some("es")));
    }
    server.finish().await;
}

#[tokio::test]
async fn a_bad_token_is_refused_before_the_upgrade() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let api = server.client_with(&secret);
    let new = NewSession::new(Mode::BidirectionalTranslation, "en", "es");
    let (session, other) = (api.create_session(&new).await.unwrap(), api.create_session(&new).await.unwrap());
    let stream = session.stream.as_ref().unwrap();
    let token = stream.token.as_ref().unwrap().reveal();
    let others = other.stream.as_ref().unwrap().token.as_ref().unwrap().reveal();
    let test_token = token.replace("kst_live_", "kst_test_");
    for placement in TokenPlacement::ALL {
        for wrong in ["kst_live_nonsense", others, &test_token, &secret] {
            let answer = connect_with(&stream.url, wrong, placement).await.map(drop);
            assert_eq!(answer, refused("stream_token_invalid"), "{placement:?}");
        }
    }
    let nowhere = Stream::connect(&stream.url, token, TokenPlacement::Query, None).await;
    assert!(nowhere.is_ok());
    let unknown = format!("{}&x=1", stream.url.replace("/connect", "/connect?speaker=nobody"));
    let answer = connect_with(&unknown, token, TokenPlacement::Bearer).await.map(drop);
    assert_eq!(answer, Err((400, "invalid_request".into())));
    drop(nowhere);
    server.finish().await;
}

#[tokio::test]
async fn a_token_is_valid_for_five_minutes_and_checked_only_when_connecting() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    server.clock.advance(SignedDuration::from_secs(5 * 60 - 1));
    assert!(connect(&call.session, TokenPlacement::Query).await.is_ok());
    server.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(connect(&call.session, TokenPlacement::Query).await.map(drop), refused("stream_token_expired"));
    // The stream that is open outlives its token, and a fresh one comes with the session.
    call.say(Speaker::Customer, 600).await;
    call.next_final().await;
    let fresh = api.get_session(&call.session.id).await.unwrap();
    assert!(connect(&fresh, TokenPlacement::Query).await.is_ok());
    server.finish().await;
}

#[tokio::test]
async fn a_token_dies_with_its_session() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let session = api.create_session(&NewSession::new(Mode::BidirectionalTranslation, "en", "es")).await.unwrap();
    api.end_session(&session.id, None).await.unwrap();
    assert_eq!(connect(&session, TokenPlacement::Bearer).await.map(drop), refused("stream_token_invalid"));
    server.finish().await;
}

#[tokio::test]
async fn each_party_hears_the_other_in_its_own_language() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    for (speaker, own, other) in [(Speaker::Customer, "en", "es"), (Speaker::Agent, "es", "en")] {
        call.say(speaker, 700).await;
        let partial = next_matching(&mut call.stream, "a partial", |m| matches!(m, ServerMessage::Partial(_))).await;
        let text = call.next_final().await;
        assert_eq!((text.speaker, text.language.as_str()), (speaker, own));
        let translation = text.translation.clone().unwrap();
        assert_eq!((translation.language.as_str(), translation.text), (other, format!("[{other}] {}", text.text)));
        assert!(text.start_ms < text.end_ms);
        let ServerMessage::Partial(partial) = partial else { unreachable!() };
        assert_eq!(partial.id, text.id, "a partial's id is its final's id");
        assert!(text.text.starts_with(&partial.text));
        let audio = next_matching(&mut call.stream, "speech", |m| matches!(m, ServerMessage::Audio(_))).await;
        let ServerMessage::Audio(audio) = audio else { unreachable!() };
        assert_eq!((audio.speaker, audio.target), (speaker, speaker.other()));
        assert_eq!(audio.translation_of.as_deref(), Some(text.id.as_str()));
        assert_eq!((audio.audio.encoding.as_str(), audio.audio.sample_rate_hz), ("mulaw", 8000));
    }
    server.finish().await;
}

#[tokio::test]
async fn in_assistive_mode_the_agent_hears_the_original_and_reads() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start_with(&api, Mode::AssistiveTranslation, Some(Speaker::Customer)).await;
    let mut agent = Call::join(&call.session, Some(Speaker::Agent)).await;
    let voice = voice_mulaw(600);
    call.say(Speaker::Customer, 600).await;
    let mut heard = Vec::new();
    let text = soon("the customer's text", async {
        loop {
            match agent.next().await.unwrap() {
                ServerMessage::Audio(audio) => {
                    assert_eq!((audio.target, audio.translation_of), (Speaker::Agent, None));
                    heard.extend(audio.audio.payload);
                }
                ServerMessage::Final(text) => return text,
                _ => {}
            }
        }
    })
    .await;
    let samples =
        |mulaw: &[u8]| mulaw.iter().map(|code| kallglot_audio::g711::mulaw_to_linear(*code)).collect::<Vec<_>>();
    assert!(samples(&heard[..voice.len()]) == samples(&voice), "the original, to the sample");
    assert!(text.translation.is_some());
    // The agent's words reach the customer translated, and the agent hears nothing of them.
    let mut call = Call { session: call.session, stream: agent };
    let mut customer = Call::join(&call.session, Some(Speaker::Customer)).await;
    call.say(Speaker::Agent, 600).await;
    let audio = next_matching(&mut customer, "speech", |m| matches!(m, ServerMessage::Audio(_))).await;
    let ServerMessage::Audio(audio) = audio else { unreachable!() };
    assert_eq!((audio.speaker, audio.target), (Speaker::Agent, Speaker::Customer));
    assert!(audio.translation_of.is_some());
    server.finish().await;
}

#[tokio::test]
async fn a_socket_of_one_party_sends_and_hears_only_that_party() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut customer = Call::start_with(&api, Mode::BidirectionalTranslation, Some(Speaker::Customer)).await;
    let agent = Call::join(&customer.session, Some(Speaker::Agent)).await;
    customer.stream.send_audio(Speaker::Agent, &[0xff; 160]).await.unwrap();
    assert_eq!(customer.next_error().await, ("speaker_not_allowed".into(), false));
    customer.say(Speaker::Customer, 700).await;
    let mut agent = Call { session: customer.session.clone(), stream: agent };
    agent.next_final().await;
    let audio = next_matching(&mut agent.stream, "speech", |m| matches!(m, ServerMessage::Audio(_))).await;
    assert!(matches!(audio, ServerMessage::Audio(audio) if audio.target == Speaker::Agent));
    // What the customer's own socket got until the end of the speech: text, no audio.
    customer.next_final().await;
    customer.stream.ping().await.unwrap();
    let next = next_matching(&mut customer.stream, "pong", |m| {
        assert!(!matches!(m, ServerMessage::Audio(_)), "nobody hears his own words");
        matches!(m, ServerMessage::Pong { .. })
    })
    .await;
    assert!(matches!(next, ServerMessage::Pong { session_id } if session_id == customer.session.id));
    server.finish().await;
}

#[tokio::test]
async fn eight_sockets_may_join_and_a_ninth_may_not() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let call = Call::start(&api).await;
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(Call::join(&call.session, None).await);
    }
    let mut ninth = connect(&call.session, TokenPlacement::Bearer).await.unwrap();
    let told = soon("an error", ninth.next()).await;
    assert!(
        matches!(&told, Some(ServerMessage::Error { code, fatal: true, .. }) if code == "too_many_streams"),
        "{told:?}"
    );
    assert_eq!(soon("a close", ninth.wait_closed()).await.code, Some(4429));
    others.pop();
    // A place is free once the server has seen the other go.
    soon("a place", async {
        loop {
            let mut stream = connect(&call.session, TokenPlacement::Bearer).await.unwrap();
            if matches!(stream.next().await, Some(ServerMessage::Ready { .. })) {
                return;
            }
        }
    })
    .await;
    server.finish().await;
}

#[tokio::test]
async fn frames_are_put_in_order_duplicates_dropped_and_gaps_filled() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start_with(&api, Mode::AssistiveTranslation, None).await;
    let frame = |n: u8| vec![n; 160];
    let send = async |stream: &mut Stream, sequence: u64| {
        let mulaw = frame(sequence as u8);
        let frame = AudioFrame { sequence, timestamp_ms: sequence * 20, speaker: Speaker::Customer, mulaw: &mulaw };
        stream.send_frame(frame).await.unwrap();
    };
    // 12 comes late, 14 twice, 17 never.
    for sequence in [11, 13, 12, 14, 14, 15, 16, 18, 19] {
        send(&mut call.stream, sequence).await;
    }
    let mut heard = Vec::new();
    soon("nine frames", async {
        while heard.len() < 9 * 160 {
            if let Some(ServerMessage::Audio(audio)) = call.stream.next().await {
                heard.extend(audio.audio.payload);
            }
        }
    })
    .await;
    let expected = [11, 12, 13, 14, 15, 16, 0xff, 18, 19].map(frame).concat();
    assert_eq!(heard, expected, "the missing frame is silence");
    api.end_session(&call.session.id, None).await.unwrap();
    let quality = api.quality(&call.session.id).await.unwrap();
    let counted = &quality["streams"]["customer"];
    assert_eq!((&counted["frames_in"], &counted["duplicate_frames"]), (&json!(9), &json!(1)));
    assert_eq!((&counted["gaps"], &counted["gap_ms"]), (&json!(1), &json!(20)));
    server.finish().await;
}

#[tokio::test]
async fn another_format_is_an_error_and_the_stream_goes_on() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let audio = |audio: serde_json::Value| {
        json!({ "type": "audio.input", "sequence": 1, "timestamp_ms": 0, "speaker": "customer", "audio": audio })
            .to_string()
    };
    for wrong in [
        json!({ "encoding": "pcm_s16le", "sample_rate_hz": 8000, "payload": "/////w==" }),
        json!({ "encoding": "mulaw", "sample_rate_hz": 16000, "payload": "/////w==" }),
        json!({ "encoding": "mulaw", "sample_rate_hz": 8000, "channels": 2, "payload": "/////w==" }),
        // 3 ms
        json!({ "encoding": "mulaw", "sample_rate_hz": 8000, "payload": "////////////////////////////////" }),
    ] {
        call.stream.send_raw(RawMessage::text(audio(wrong))).await.unwrap();
        assert_eq!(call.next_error().await, ("invalid_audio_format".into(), false));
    }
    call.say(Speaker::Customer, 600).await;
    call.next_final().await;
    server.finish().await;
}

#[tokio::test]
async fn ping_is_answered_and_end_ends() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let mut watching = Call::join(&call.session, Some(Speaker::Agent)).await;
    call.stream.ping().await.unwrap();
    next_matching(&mut call.stream, "pong", |m| matches!(m, ServerMessage::Pong { .. })).await;
    call.stream.end().await.unwrap();
    for stream in [&mut call.stream, &mut watching] {
        let ended = next_matching(stream, "session.ended", |m| matches!(m, ServerMessage::Ended { .. })).await;
        assert!(matches!(ended, ServerMessage::Ended { reason, .. } if reason == "explicit_end"));
        let closed = soon("a close", stream.wait_closed()).await;
        assert_eq!(closed.code, Some(1000));
    }
    let session = api.get_session(&call.session.id).await.unwrap();
    assert_eq!((session.status.as_str(), session.end_reason.as_deref()), ("ended", Some("explicit_end")));
    server.finish().await;
}

#[tokio::test]
async fn both_parties_may_speak_at_once() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    let audio = [voice_mulaw(700), vec![0xff; 800 * 8]].concat();
    let mut clock = tokio::time::interval(std::time::Duration::from_millis(20));
    for frame in audio.chunks(160) {
        clock.tick().await;
        call.stream.send_audio(Speaker::Customer, frame).await.unwrap();
        call.stream.send_audio(Speaker::Agent, frame).await.unwrap();
    }
    let mut speakers = [call.next_final().await.speaker, call.next_final().await.speaker];
    speakers.sort();
    assert_eq!(speakers, [Speaker::Customer, Speaker::Agent]);
    let (mut customer_hears, mut agent_hears) = (false, false);
    soon("speech for both", async {
        while !(customer_hears && agent_hears) {
            if let Some(ServerMessage::Audio(audio)) = call.stream.next().await {
                customer_hears |= audio.target == Speaker::Customer;
                agent_hears |= audio.target == Speaker::Agent;
            }
        }
    })
    .await;
    server.finish().await;
}

#[tokio::test]
async fn a_new_connection_takes_over_and_the_transcript_goes_on() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut old = Call::start(&api).await;
    old.say(Speaker::Customer, 600).await;
    let first = old.next_final().await;
    // The client lost its connection but the server does not know it yet.
    let mut new = Call { session: old.session.clone(), stream: Call::join(&old.session, None).await };
    new.say(Speaker::Customer, 600).await;
    let second = new.next_final().await;
    assert!(second.start_ms > first.end_ms);
    old.stream.send_audio(Speaker::Customer, &[0xff; 160]).await.unwrap();
    assert_eq!(old.next_error().await, ("speaker_not_allowed".into(), false));
    let turns = api.transcript(&new.session.id).await.unwrap().turns;
    assert_eq!(turns.iter().map(|turn| turn.id.clone()).collect::<Vec<_>>(), [first.id, second.id]);
    server.finish().await;
}

#[tokio::test]
async fn a_pause_in_sending_ends_an_utterance() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    // The client sends nothing at all while nobody speaks.
    call.play(Speaker::Customer, &voice_mulaw(700)).await;
    call.next_final().await;
    server.finish().await;
}

#[tokio::test]
async fn revoking_a_key_can_close_the_streams_of_its_sessions() {
    let server = TestServer::start().await;
    let organization = server.organization().await;
    let (key, secret) = server.key_with(&organization, Environment::Live, |_| {}).await;
    let mut call = Call::start(&server.client_with(&secret)).await;
    let mut other = Call::start(&server.client(&organization, Environment::Live).await).await;
    // As the command line does it: another process on the same database.
    let tenant = Tenant { organization: organization.id, environment: Environment::Live };
    let outside = server.another_process().await;
    outside.revoke_key(tenant, key, true, &server.change()).await.unwrap();
    let closed = soon("a close", call.stream.wait_closed()).await;
    assert_eq!(closed.code, Some(4401));
    other.stream.ping().await.unwrap();
    next_matching(&mut other.stream, "pong", |m| matches!(m, ServerMessage::Pong { .. })).await;
    outside.close().await.unwrap();
    server.finish().await;
}

#[tokio::test]
async fn an_engine_that_is_missing_or_fails_is_told_and_the_call_goes_on() {
    let script = Script::default();
    let faults = script.faults.clone();
    let server = ServerBuilder::default().script(script).start().await;
    let api = server.test_client().await;
    let on = std::sync::atomic::Ordering::SeqCst;

    faults.unavailable.store(true, on);
    let mut call = Call::start_with(&api, Mode::AssistiveTranslation, None).await;
    assert_eq!(call.next_error().await, ("engine_unavailable".into(), false));
    // The agent still hears the customer.
    call.stream.send_audio(Speaker::Customer, &[0x55; 160]).await.unwrap();
    next_matching(&mut call.stream, "the original", |m| matches!(m, ServerMessage::Audio(_))).await;
    // Once the engine is back, the call uses it without anybody's doing.
    faults.unavailable.store(false, on);
    call.play(Speaker::Customer, &vec![0xff; 4_000 * 8]).await;
    call.say(Speaker::Customer, 600).await;
    call.next_final().await;

    faults.translation_fails.store(true, on);
    call.say(Speaker::Customer, 600).await;
    assert_eq!(call.next_error().await, ("engine_failed".into(), false));
    assert!(call.next_final().await.translation.is_none(), "what was said is there without its translation");
    faults.translation_fails.store(false, on);

    faults.recognition_fails.store(true, on);
    call.say(Speaker::Customer, 600).await;
    assert_eq!(call.next_error().await, ("engine_failed".into(), false));
    faults.recognition_fails.store(false, on);
    call.say(Speaker::Customer, 600).await;
    assert!(call.next_final().await.translation.is_some());
    server.finish().await;
}

#[tokio::test]
async fn the_lag_of_every_utterance_is_kept() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    call.say(Speaker::Customer, 700).await;
    let text = call.next_final().await;
    next_matching(&mut call.stream, "speech", |m| matches!(m, ServerMessage::Audio(_))).await;
    let quality = soon("the lag", async {
        loop {
            let quality = api.quality(&call.session.id).await.unwrap();
            if quality["utterances"] != json!([]) {
                return quality;
            }
        }
    })
    .await;
    let utterance = &quality["utterances"][0];
    assert_eq!((utterance["id"].as_str(), utterance["speaker"].as_str()), (Some(text.id.as_str()), Some("customer")));
    let ms = |name: &str| utterance[name].as_u64().unwrap_or_else(|| panic!("{name}: {quality}"));
    assert!(ms("final_ms") >= 300, "endpointing is part of it: {quality}");
    assert!(ms("first_audio_ms") >= 300 && ms("first_partial_ms") > 0, "{quality}");
    server.finish().await;
}
