//! `kallglot call` and `kallglot demo` as processes: a call between two recordings, and one that is interrupted.

use std::path::Path;
use std::process::Stdio;

use kallglot_audio::wav::{self, Channel};
use kallglot_testkit::{soon, voice_mulaw};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{Folder, Server};

/// A recording of a voice and the silence after it.
fn record(path: &Path, voices_ms: &[usize]) {
    let mut samples = Vec::new();
    for &voice_ms in voices_ms {
        kallglot_audio::g711::decode_mulaw_into(&voice_mulaw(voice_ms), &mut samples);
        samples.resize(samples.len() + 8_000, 0);
    }
    std::fs::write(path, wav::mono_file(&samples, 8_000)).expect("a file");
}

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn two_recordings_are_understood_translated_and_heard() {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start(&folder).await;
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    record(Path::new(&path("customer.wav")), &[900]);
    record(Path::new(&path("agent.wav")), &[900]);
    let url = format!("http://{}", server.address);
    let (customer, agent, heard) = (path("customer.wav"), path("agent.wav"), path("heard.wav"));
    let words = ["call", "--server", &url, "--key", &secret, "--file", &customer, "--agent-file", &agent];
    let done = folder.run(&[&words[..], &["--take-turns", "--json", "--out", &heard]].concat()).await;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));

    let events = events(&done.stdout);
    let finals: Vec<&Value> = events.iter().filter(|event| event["event"] == "final").collect();
    let told: Vec<_> =
        finals.iter().map(|turn| [turn["speaker"].as_str(), turn["translation"]["text"].as_str()]).collect();
    assert_eq!(told, [[Some("customer"), Some("[es] utterance 1")], [Some("agent"), Some("[en] utterance 1")]]);
    let summary = events.last().unwrap();
    assert_eq!((&summary["turns"]["customer"], &summary["turns"]["agent"]), (&Value::from(1), &Value::from(1)));
    for (channel, ear) in [(0, "the agent's"), (1, "the customer's")] {
        let file = std::fs::File::open(&heard).unwrap();
        let samples = wav::read_from(file, Channel::Only(channel)).unwrap();
        assert!(kallglot_audio::level::peak_dbfs(&samples) > -40.0, "{ear} ear");
    }
    let session = server.client(&secret).get_session(summary["session_id"].as_str().unwrap()).await.unwrap();
    assert_eq!((session.status.as_str(), session.end_reason.as_deref()), ("ended", Some("completed")));
}

#[tokio::test]
async fn an_interrupted_call_ends_its_session_and_still_sums_up() {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start(&folder).await;
    let recording = folder.path().join("long.wav");
    record(&recording, &[900; 60]);
    let (url, recording) = (format!("http://{}", server.address), recording.to_str().unwrap());
    let words = ["--json", "call", "--server", &url, "--key", &secret, "--file", recording];
    let mut child = folder.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || -> Option<Value> {
        let line = soon("a line", lines.next_line()).await.unwrap();
        line.map(|line| serde_json::from_str(&line).unwrap())
    };
    while next().await.expect("a final comes first")["event"] != "final" {}
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), Signal::INT).unwrap();
    let mut last = Value::Null;
    while let Some(event) = next().await {
        last = event;
    }
    assert_eq!(last["event"], "summary");
    assert_eq!(soon("it ends", child.wait()).await.unwrap().code(), Some(0));
    let session = server.client(&secret).get_session(last["session_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(session.status, "ended");
}

#[tokio::test]
async fn calls_that_cant_be_made_say_why_and_exit_with_2_others_with_1() {
    let folder = Folder::new();
    let recording = folder.path().join("a.wav");
    record(&recording, &[100]);
    let recording = recording.to_str().unwrap();
    for (words, code, told) in [
        (&["call", "--file", recording][..], 2, "KALLGLOT_API_KEY"),
        (&["call", "--key", "k", "--file", "nowhere.wav"], 2, "nowhere.wav: No such file"),
        (&["call", "--key", "k", "--server", "http://127.0.0.1:1", "--file", recording], 1, "kallglot serve"),
        (&["demo", "--sounds", "/nowhere"], 1, "apt-get install asterisk-core-sounds-en-wav"),
    ] {
        let done = folder.run(words).await;
        assert_eq!(done.code, Some(code), "{words:?}: {}", done.stderr);
        assert!(done.stderr.starts_with("error: ") && done.stderr.contains(told), "{words:?}: {}", done.stderr);
        assert_eq!((done.stderr.lines().count(), done.stdout.as_str()), (1, ""), "{words:?}");
    }
}
