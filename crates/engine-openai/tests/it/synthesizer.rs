//! Speech.

use std::sync::Arc;

use kallglot_audio::wav;
use kallglot_engine::{EngineError, SpeechChunks, Synthesizer};
use serde_json::json;
use tokio::sync::Notify;

use crate::fake_server::{FakeServer, Reply};
use crate::{config, open, soon, tag};

async fn synthesize(server: &FakeServer, voice: Option<&str>) -> Result<SpeechChunks, EngineError> {
    let synthesizer = open(config(&server.base_url)).synthesizer().unwrap();
    soon(synthesizer.synthesize("Buenos días", &tag("es"), voice)).await
}

async fn all(mut chunks: SpeechChunks) -> Result<Vec<i16>, EngineError> {
    let mut samples = Vec::new();
    while let Some(chunk) = soon(chunks.recv()).await {
        samples.extend(chunk?);
    }
    Ok(samples)
}

fn tone(rate_hz: u32, seconds: f32) -> Vec<i16> {
    let step = 440.0 * std::f32::consts::TAU / rate_hz as f32;
    (0..(rate_hz as f32 * seconds) as usize).map(|n| (10_000.0 * (n as f32 * step).sin()) as i16).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// Whether this is the tone at 8 kHz, from the middle of it.
fn is_tone(samples: &[i16], seconds: f32) -> bool {
    let expected = tone(8_000, seconds);
    let middle = expected.len() / 4..expected.len() * 3 / 4;
    samples.len() == expected.len()
        && middle.into_iter().all(|n| (i32::from(samples[n]) - i32::from(expected[n])).abs() < 200)
}

#[tokio::test]
async fn pcm_is_converted_and_given_on_as_it_comes() {
    let may_end = Arc::new(Notify::new());
    let permission = Arc::clone(&may_end);
    let server = FakeServer::start(move |_, _| {
        let speech = bytes(&tone(24_000, 1.0));
        // An odd cut: half a sample in each piece.
        let (begin, end) = speech.split_at(12_001);
        let pieces = vec![(None, begin.to_vec()), (Some(Arc::clone(&permission)), end.to_vec())];
        Reply::Pieces { content_type: "audio/pcm", pieces }
    })
    .await;
    let mut chunks = synthesize(&server, None).await.unwrap();
    let mut samples = soon(chunks.recv()).await.unwrap().unwrap();
    assert!(!samples.is_empty(), "the first chunk is there before the answer is over");
    may_end.notify_one();
    samples.extend(all(chunks).await.unwrap());
    assert!(is_tone(&samples, 1.0));

    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(request.path, "/v1/audio/speech");
    let expected = json!({"model": "speaks", "input": "Buenos días", "voice": "usual", "response_format": "pcm"});
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn a_rate_that_the_answer_states_counts() {
    let server = FakeServer::start(|_, _| Reply::body("audio/pcm;rate=16000", bytes(&tone(16_000, 0.5)))).await;
    assert!(is_tone(&all(synthesize(&server, None).await.unwrap()).await.unwrap(), 0.5));
}

#[tokio::test]
async fn a_server_without_pcm_is_asked_for_wav_from_then_on() {
    let server = FakeServer::start(|request, _| match request.json()["response_format"].as_str() {
        Some("wav") => Reply::body("audio/wav", wav::mono_file(&tone(22_050, 0.5), 22_050)),
        _ => Reply::status(400),
    })
    .await;
    let synthesizer = open(config(&server.base_url)).synthesizer().unwrap();
    for requests in [2, 3] {
        let chunks = soon(synthesizer.synthesize("Hola", &tag("es"), None)).await.unwrap();
        assert!(is_tone(&all(chunks).await.unwrap(), 0.5));
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn a_wav_file_is_understood_also_where_pcm_was_asked_for() {
    let server =
        FakeServer::start(|_, _| Reply::body("application/octet-stream", wav::mono_file(&tone(8_000, 0.5), 8_000)))
            .await;
    assert!(is_tone(&all(synthesize(&server, None).await.unwrap()).await.unwrap(), 0.5));
}

#[tokio::test]
async fn an_unknown_voice_is_replaced_by_the_usual_one() {
    let server = FakeServer::start(|request, _| match request.json()["voice"].as_str() {
        Some("usual") => Reply::body("audio/pcm", bytes(&tone(24_000, 0.5))),
        _ => Reply::status(422),
    })
    .await;
    assert!(is_tone(&all(synthesize(&server, Some("nobody")).await.unwrap()).await.unwrap(), 0.5));
    let voices: Vec<_> = server.requests().iter().map(|request| request.json()["voice"].clone()).collect();
    assert_eq!(voices, ["nobody", "usual"]);
}

#[tokio::test]
async fn what_is_no_speech_is_never_played() {
    let others: [fn() -> Reply; 8] = [
        || Reply::body("audio/mpeg", b"\xff\xfb\x90\x00".repeat(100)),
        || Reply::body("application/octet-stream", b"ID3\x04".repeat(100)),
        || Reply::body("audio/pcm", "<html>It works!</html>"),
        || Reply::body("application/json", "{\"error\":{}}"),
        || Reply::body("audio/pcm", "{\"error\":{}}"),
        || Reply::body("audio/wav", "RIFF, but no more"),
        || Reply::body("audio/pcm", ""),
        || Reply::body("audio/pcm;rate=7", "1234"),
    ];
    for (index, reply) in others.into_iter().enumerate() {
        let server = FakeServer::start(move |_, _| reply()).await;
        let result = match synthesize(&server, None).await {
            Ok(chunks) => all(chunks).await,
            Err(error) => Err(error),
        };
        assert!(matches!(result, Err(EngineError::Failed(_))), "{index}: {result:?}");
    }
}

#[tokio::test]
async fn speech_that_is_cut_fails_after_what_came() {
    let server =
        FakeServer::start(|_, _| Reply::Cut { content_type: "audio/pcm", body: bytes(&tone(24_000, 0.5)) }).await;
    let mut chunks = synthesize(&server, None).await.unwrap();
    assert!(soon(chunks.recv()).await.unwrap().is_ok());
    assert!(matches!(all(chunks).await, Err(EngineError::Failed(_))));
}

#[tokio::test]
async fn endless_speech_is_left() {
    for (content_type, begin) in [("audio/pcm", b"\0\0\0\0"), ("audio/wav", b"RIFF")] {
        let piece = [begin.as_slice(), &[0; 65_000]].concat();
        let mut server = FakeServer::start(move |_, _| Reply::Endless { content_type, piece: piece.clone() }).await;
        let mut config = config(&server.base_url);
        config.limits.speech_max_ms = 10_000;
        let synthesizer = open(config).synthesizer().unwrap();
        let chunks = soon(synthesizer.synthesize("Hola", &tag("es"), None)).await.unwrap();
        let error = all(chunks).await.unwrap_err();
        assert_eq!(error.to_string(), "the speech service speaks for far too long");
        soon(server.hung_up.recv()).await.expect("the connection was closed");
    }
}

#[tokio::test]
async fn a_listener_who_leaves_ends_the_request() {
    let mut server = FakeServer::start(|_, _| {
        let pieces = vec![(None, bytes(&tone(24_000, 0.5))), (Some(Arc::new(Notify::new())), Vec::new())];
        Reply::Pieces { content_type: "audio/pcm", pieces }
    })
    .await;
    let mut chunks = synthesize(&server, None).await.unwrap();
    assert!(soon(chunks.recv()).await.unwrap().is_ok());
    drop(chunks);
    soon(server.hung_up.recv()).await.expect("the connection was closed");
}

#[tokio::test]
async fn no_words_make_no_sound() {
    let server = FakeServer::start(|_, _| Reply::status(500)).await;
    let synthesizer = open(config(&server.base_url)).synthesizer().unwrap();
    let chunks = soon(synthesizer.synthesize("  ", &tag("es"), None)).await.unwrap();
    assert_eq!(all(chunks).await, Ok(Vec::new()));
    assert!(server.requests().is_empty());
}
