//! Recognition of utterances.

use std::sync::Arc;

use kallglot_audio::wav::{self, Channel};
use kallglot_core::vocabulary::Expectation;
use kallglot_engine::{EngineError, Quality, RecognitionEvent, RecognitionSpec, Recognizer, RecognizerFactory};
use kallglot_engine_openai::{OpenAiConfig, OpenAiRecognizerFactory};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use crate::fake_server::{FakeServer, Reply};
use crate::{KEY, config, open, soon, tag};

fn factory(config: OpenAiConfig) -> OpenAiRecognizerFactory {
    open(config).recognizer().unwrap()
}

async fn recognizer(
    factory: &OpenAiRecognizerFactory,
    language: Option<&str>,
) -> (Box<dyn Recognizer>, mpsc::Receiver<RecognitionEvent>) {
    let expectation =
        Expectation { words: vec!["Kallglot".into()], phrases: vec!["good morning".into()], phrases_only: false };
    let (sender, events) = mpsc::channel(32);
    let spec = RecognitionSpec { language: language.map(tag), expectation };
    (factory.open(spec, sender).await.unwrap(), events)
}

fn say(recognizer: &mut Box<dyn Recognizer>, utterance: u32, samples: usize) {
    recognizer.begin(utterance);
    for chunk in vec![1_000; samples].chunks(160) {
        recognizer.push(chunk);
    }
    recognizer.end();
}

async fn next(events: &mut mpsc::Receiver<RecognitionEvent>) -> RecognitionEvent {
    soon(events.recv()).await.expect("an event")
}

async fn next_final(events: &mut mpsc::Receiver<RecognitionEvent>) -> (u32, String) {
    match next(events).await {
        RecognitionEvent::Final { utterance, text, .. } => (utterance, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_utterance_is_sent_as_a_wav_file_and_comes_back_as_text() {
    let transcript = json!({"text": " Good morning. ", "language": "english", "segments": [{"avg_logprob": -0.105, "no_speech_prob": 0.01}]});
    let server = FakeServer::json(transcript).await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en-GB")).await;
    say(&mut recognizer, 7, 8_000);
    let RecognitionEvent::Final { utterance, text, language, confidence } = next(&mut events).await else {
        panic!("a final")
    };
    assert_eq!((utterance, text.as_str(), language), (7, "Good morning.", Some(tag("en"))));
    assert!((confidence - 0.9).abs() < 0.01);

    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(request.path, "/v1/audio/transcriptions");
    assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
    for (name, value) in [
        ("model", "hears"),
        ("language", "en"),
        ("temperature", "0"),
        ("response_format", "verbose_json"),
        ("prompt", "Kallglot, good morning"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value));
    }
    let file = request.form().remove("file").unwrap();
    assert_eq!(wav::parse(&file).unwrap().0.sample_rate_hz, 16_000);
    assert_eq!(wav::read(&file, Channel::Mix).unwrap().len(), 8_000);
}

#[tokio::test]
async fn a_server_that_streams_gives_partials() {
    let server = FakeServer::start(|_, _| {
        Reply::events(&[
            r#"{"type":"transcript.text.delta","delta":"Good"}"#,
            r#"{"type":"transcript.text.delta","delta":" morning"}"#,
            r#"{"type":"something.new","value":1}"#,
            r#"{"type":"transcript.text.done","text":"Good morning."}"#,
            "[DONE]",
        ])
    })
    .await;
    let config = OpenAiConfig { transcription_stream: true, ..config(&server.base_url) };
    let (mut recognizer, mut events) = recognizer(&factory(config), Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    for expected in ["Good", "Good morning"] {
        let RecognitionEvent::Partial { utterance: 0, text } = next(&mut events).await else { panic!("a partial") };
        assert_eq!(text, expected);
    }
    assert_eq!(next_final(&mut events).await, (0, "Good morning.".into()));
    assert_eq!(server.requests()[0].field("stream").as_deref(), Some("true"));
}

#[tokio::test]
async fn what_a_server_cannot_do_is_asked_for_once() {
    let server =
        FakeServer::start(|request, _| match (request.field("stream"), request.field("response_format").as_deref()) {
            (Some(_), _) => Reply::status(400),
            (None, Some("verbose_json")) => Reply::status(422),
            _ => Reply::json(json!({"text": "Hello."})),
        })
        .await;
    let factory = factory(OpenAiConfig { transcription_stream: true, ..config(&server.base_url) });
    assert!(factory.detects_language());
    let (mut recognizer, mut events) = recognizer(&factory, Some("en")).await;
    for (utterance, requests) in [(0, 3), (1, 4)] {
        say(&mut recognizer, utterance, 8_000);
        assert_eq!(next_final(&mut events).await, (utterance, "Hello.".into()));
        assert_eq!(server.requests().len(), requests);
    }
    assert!(!factory.detects_language(), "only verbose_json tells it");
}

#[tokio::test]
async fn a_refused_utterance_says_nothing_about_what_the_server_can_do() {
    let server =
        FakeServer::start(|_, n| if n < 2 { Reply::status(400) } else { Reply::json(json!({"text": "Hello."})) }).await;
    let factory = factory(config(&server.base_url));
    let (mut recognizer, mut events) = recognizer(&factory, Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    assert!(matches!(
        next(&mut events).await,
        RecognitionEvent::Failed { utterance: 0, error: EngineError::Failed(_) }
    ));
    say(&mut recognizer, 1, 8_000);
    assert_eq!(next_final(&mut events).await, (1, "Hello.".into()));
    assert_eq!(server.requests()[2].field("response_format").as_deref(), Some("verbose_json"));
}

#[tokio::test]
async fn the_language_is_detected_when_none_is_given() {
    let server = FakeServer::json(json!({"text": "Buenos días.", "language": "spanish"})).await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), None).await;
    say(&mut recognizer, 0, 8_000);
    let RecognitionEvent::Final { language, .. } = next(&mut events).await else { panic!("a final") };
    assert_eq!(language, Some(tag("es")));
    assert_eq!(server.requests()[0].field("language"), None);
}

#[tokio::test]
async fn words_put_into_silence_are_taken_out() {
    let server = FakeServer::json(
        json!({"text": "Thanks for watching!", "segments": [{"avg_logprob": -1.4, "no_speech_prob": 0.9}]}),
    )
    .await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    assert_eq!(next_final(&mut events).await, (0, String::new()));
}

#[tokio::test]
async fn results_come_in_order_however_the_answers_come() {
    let (first_may, second_came) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (permission, came) = (Arc::clone(&first_may), Arc::clone(&second_came));
    let server = FakeServer::start(move |request, _| {
        // The longer file is the first utterance.
        if request.body.len() > 20_000 {
            return Reply::After(Arc::clone(&permission), Box::new(Reply::json(json!({"text": "first"}))));
        }
        came.notify_one();
        Reply::events(&[
            r#"{"type":"transcript.text.delta","delta":"sec"}"#,
            r#"{"type":"transcript.text.done","text":"second"}"#,
        ])
    })
    .await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    say(&mut recognizer, 1, 4_000);
    soon(second_came.notified()).await;
    assert!(events.try_recv().is_err(), "the second one waits");
    first_may.notify_one();
    assert_eq!(next_final(&mut events).await, (0, "first".into()));
    loop {
        match next(&mut events).await {
            RecognitionEvent::Partial { utterance: 1, .. } => {}
            RecognitionEvent::Final { utterance: 1, text, .. } if text == "second" => break,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_failed_utterance_does_not_harm_the_next() {
    let server =
        FakeServer::start(|_, n| if n == 0 { Reply::status(401) } else { Reply::json(json!({"text": "Hello."})) })
            .await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    assert!(matches!(
        next(&mut events).await,
        RecognitionEvent::Failed { utterance: 0, error: EngineError::Unavailable(_) }
    ));
    say(&mut recognizer, 1, 8_000);
    assert_eq!(next_final(&mut events).await, (1, "Hello.".into()));
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_a_failure() {
    for events_sent in [
        vec![r#"{"type":"transcript.text.delta","delta":"Good"}"#],
        vec![r#"{"type":"error","error":{"message":"no"}}"#],
        vec!["what?"],
    ] {
        let server = FakeServer::start(move |_, _| Reply::events(&events_sent)).await;
        let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en")).await;
        say(&mut recognizer, 0, 8_000);
        loop {
            match next(&mut events).await {
                RecognitionEvent::Partial { .. } => {}
                RecognitionEvent::Failed { utterance: 0, error: EngineError::Failed(_) } => break,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn dropping_the_recognizer_drops_its_requests() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let was_asked = Arc::clone(&asked);
    let mut server = FakeServer::start(move |_, _| {
        was_asked.notify_one();
        Reply::Pieces { content_type: "application/json", pieces: vec![(Some(Arc::clone(&answer)), b"{}".to_vec())] }
    })
    .await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    soon(asked.notified()).await;
    drop(recognizer);
    soon(server.hung_up.recv()).await.expect("the connection was closed");
    assert!(soon(events.recv()).await.is_none());
}

#[tokio::test]
async fn what_is_too_long_or_too_much_fails_in_its_turn() {
    let answer = Arc::new(Notify::new());
    let permission = Arc::clone(&answer);
    let server = FakeServer::start(move |_, _| {
        Reply::After(Arc::clone(&permission), Box::new(Reply::json(json!({"text": "Hello."}))))
    })
    .await;
    let mut config = config(&server.base_url);
    (config.limits.utterances_max, config.limits.utterance_max_ms) = (2, 2_000);
    let (mut recognizer, mut events) = recognizer(&factory(config), Some("en")).await;
    say(&mut recognizer, 0, 8_000);
    say(&mut recognizer, 1, 16_001);
    say(&mut recognizer, 2, 8_000);
    answer.notify_one();
    assert_eq!(next_final(&mut events).await, (0, "Hello.".into()));
    for expected in [1, 2] {
        let RecognitionEvent::Failed { utterance, error: EngineError::Overloaded(_) } = next(&mut events).await else {
            panic!("failed")
        };
        assert_eq!(utterance, expected);
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_utterance_without_audio_has_no_words_and_costs_no_request() {
    let server = FakeServer::json(json!({"text": "you"})).await;
    let (mut recognizer, mut events) = recognizer(&factory(config(&server.base_url)), Some("en")).await;
    recognizer.end();
    recognizer.push(&[1; 160]);
    say(&mut recognizer, 0, 0);
    assert_eq!(next_final(&mut events).await, (0, String::new()));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_part_without_a_model_is_not_there() {
    let nothing = open(OpenAiConfig::new("http://localhost/v1"));
    assert!(nothing.recognizer().is_none() && nothing.translator().is_none() && nothing.synthesizer().is_none());
    assert_eq!(factory(config("http://localhost/v1")).languages(), [(None, Quality::Good)]);
}
