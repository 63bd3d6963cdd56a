//! A recorded call through the real speech engine: its recording says the same words again, at the times that the transcript names.

use std::path::Path;

use kallglot_audio::wav::{self, Channel};
use kallglot_audio::{SAMPLES_PER_MS, level};
use kallglot_testkit::soon;
use serde_json::Value;

use crate::process::{Done, Folder, Server};

/// Voices of a person, from Debian's asterisk-core-sounds-en-wav, which the tests' script installs.
const PROMPTS: [&str; 3] = ["tt-somethingwrong", "feature-not-avail-line", "queue-thankyou"];
const SOUNDS: &str = "/usr/share/asterisk/sounds/en";
/// What is quieter than this is no speech.
const AUDIBLE_DBFS: f32 = -45.0;

/// A person who says the prompts, with a pause after each.
fn voice(path: &Path) {
    let mut samples = vec![0; 1_000 * SAMPLES_PER_MS];
    for prompt in PROMPTS {
        let file = std::fs::File::open(format!("{SOUNDS}/{prompt}.wav")).expect("asterisk-core-sounds-en-wav");
        samples.extend(wav::read_from(file, Channel::Mix).unwrap());
        samples.resize(samples.len() + 1_500 * SAMPLES_PER_MS, 0);
    }
    std::fs::write(path, wav::mono_file(&samples, 8_000)).unwrap();
}

/// Calls with this file and records; the session's id and what the customer said, each text with its place in ms.
async fn call(folder: &Folder, server: &Server, secret: &str, file: &Path) -> (String, Vec<(String, u64, u64)>) {
    let (url, file) = (format!("http://{}", server.address), file.to_str().unwrap());
    let words = ["--json", "call", "--server", &url, "--key", secret, "--file", file, "--record"];
    let mut command = folder.command(&words);
    let done = tokio::time::timeout(std::time::Duration::from_secs(50), command.output()).await;
    let done = Done::of(done.expect("the call ends").unwrap());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let events: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let session = events.last().unwrap()["session_id"].as_str().unwrap().to_owned();
    let transcript = server.client(secret).transcript(&session).await.unwrap();
    let said = transcript.turns.into_iter().map(|turn| (turn.text, turn.start_ms, turn.end_ms));
    (session, said.collect())
}

#[tokio::test]
async fn the_recording_of_a_real_call_says_the_words_of_its_transcript_at_their_times() {
    let folder = Folder::new();
    // The engine that is used unless told otherwise, in place of the tests' scripted one.
    std::fs::write(folder.path().join("settings.toml"), "[log]\nformat = \"json\"\n").unwrap();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start(&folder).await;
    let client = server.client(&secret);
    soon("the engine is ready", async {
        loop {
            let languages = client.languages().await.unwrap();
            if languages["data"].as_array().unwrap().iter().any(|it| it["source_language"] == "en") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;

    let spoken = folder.path().join("spoken.wav");
    voice(&spoken);
    let (session, said) = call(&folder, &server, &secret, &spoken).await;
    assert_eq!(said.len(), PROMPTS.len(), "{said:?}");

    let recording = soon("the recording is ready", async {
        loop {
            let all = client.recordings_of(&session).await.unwrap();
            if let Some(ready) = all.iter().find(|it| it.channel == "customer" && it.status == "ready") {
                break ready.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let recorded = folder.path().join("recorded.wav");
    std::fs::write(&recorded, client.recording_audio(&recording.id, "format=wav").await.unwrap()).unwrap();

    // There is a voice where the transcript says so, and none elsewhere.
    let mut samples = wav::read_from(std::fs::File::open(&recorded).unwrap(), Channel::Mix).unwrap();
    for (text, start_ms, end_ms) in &said {
        let place = |ms: u64| (ms as usize * SAMPLES_PER_MS).min(samples.len());
        // Endpointing keeps a little of the silence around an utterance.
        let (before, after) = (place(start_ms.saturating_sub(300)), place(end_ms + 300));
        let voice = &samples[place(*start_ms)..place(*end_ms)];
        assert!(level::peak_dbfs(voice) > AUDIBLE_DBFS, "nothing is heard of «{text}»");
        samples[before..after].fill(0);
    }
    assert!(level::peak_dbfs(&samples) < AUDIBLE_DBFS, "something was said that is not in the transcript");

    let (_, again) = call(&folder, &server, &secret, &recorded).await;
    let texts = |said: &[(String, u64, u64)]| said.iter().map(|(text, ..)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&again), texts(&said), "the recording is understood as the voice was");
}
