//! Transcripts (contract section 13): while the call runs, after it, after a restart.

use kallglot_core::session::Speaker;
use kallglot_testkit::client::TranscriptFormat;
use kallglot_testkit::{Call, Script, ServerBuilder, TestServer, soon};

fn script() -> Script {
    let heard = [("en", vec!["Good morning.".to_owned()]), ("es", vec!["Buenos días.".to_owned()])];
    Script {
        utterances: heard.into_iter().map(|(language, texts)| (language.to_owned(), texts)).collect(),
        ..Script::default()
    }
}

#[tokio::test]
async fn a_transcript_grows_with_the_call_and_is_complete_after_it() {
    let server = ServerBuilder::default().script(script()).start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    call.say(Speaker::Customer, 600).await;
    let first = call.next_final().await;

    let transcript = api.transcript(&call.session.id).await.unwrap();
    assert_eq!((transcript.status.as_str(), transcript.turns.len()), ("in_progress", 1));
    let turn = &transcript.turns[0];
    assert_eq!((turn.sequence, turn.id.as_str(), turn.text.as_str()), (1, first.id.as_str(), "Good morning."));
    assert_eq!(turn.translation.as_ref().unwrap().text, "[es] Good morning.");

    call.say(Speaker::Agent, 600).await;
    call.next_final().await;
    api.end_session(&call.session.id, None).await.unwrap();
    let transcript = api.transcript(&call.session.id).await.unwrap();
    assert_eq!((transcript.status.as_str(), transcript.turns.len()), ("completed", 2));
    assert_eq!(transcript.metadata.languages_detected, ["en", "es"]);
    assert_eq!(transcript.turns[1].speaker, "agent");
    assert!(transcript.turns[1].start_ms > transcript.turns[0].end_ms, "{:?}", transcript.turns);

    let srt = api.transcript_text(&call.session.id, TranscriptFormat::Srt).await.unwrap();
    assert!(srt.contains("Customer: Good morning.\n[es] Good morning."), "{srt}");
    let without =
        api.get(&format!("/v1/sessions/{}/transcript?include_translations=false", call.session.id)).await.unwrap();
    assert!(without.json()["turns"][0]["translation"].is_null());
    server.finish().await;
}

#[tokio::test]
async fn what_is_being_said_at_the_end_is_in_the_transcript() {
    let server = ServerBuilder::default().script(script()).start().await;
    let api = server.test_client().await;
    let mut call = Call::start(&api).await;
    call.play(Speaker::Customer, &kallglot_testkit::voice_mulaw(800)).await;
    call.stream.ping().await.unwrap();
    api.end_session(&call.session.id, None).await.unwrap();
    assert_eq!(api.transcript(&call.session.id).await.unwrap().turns.len(), 1);
    server.finish().await;
}

#[tokio::test]
async fn a_call_goes_on_after_a_restart_with_its_transcript() {
    let server = ServerBuilder::default().script(script()).start().await;
    let organization = server.organization().await;
    let (_, secret) = server.key_with(&organization, kallglot_core::session::Environment::Live, |_| {}).await;
    let mut call = Call::start(&server.client_with(&secret)).await;
    call.say(Speaker::Customer, 600).await;
    call.next_final().await;

    let waiting = tokio::spawn(async move { (call.stream.wait_closed().await, call.session) });
    let server = server.restart().await;
    let (closed, session) = soon("the stream is closed", waiting).await.unwrap();
    assert_eq!(closed.code, Some(1001), "{closed:?}");

    // A fresh token, and the call goes on.
    let api = server.client_with(&secret);
    let session = api.get_session(&session.id).await.unwrap();
    assert_eq!(session.status, "active");
    let mut call = Call { stream: Call::join(&session, None).await, session };
    call.say(Speaker::Agent, 600).await;
    let second = call.next_final().await;
    let transcript = api.transcript(&call.session.id).await.unwrap();
    let turns: Vec<_> = transcript.turns.iter().map(|turn| (turn.sequence, turn.speaker.as_str())).collect();
    assert_eq!(turns, [(1, "customer"), (2, "agent")]);
    assert_eq!(transcript.turns[1].id, second.id);
    server.finish().await;
}

#[tokio::test]
async fn an_unknown_format_is_named() {
    let server = TestServer::start().await;
    let api = server.test_client().await;
    let call = Call::start(&api).await;
    let answer = api.get(&format!("/v1/sessions/{}/transcript?format=pdf", call.session.id)).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (422, Some("format")));
    server.finish().await;
}
