//! Whole calls against a fake server, in real time.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kallglot_audio::wav::{self, Channel};
use serde_json::Value;

use super::fake_server::{FakeServer, KEY};
use super::show::{Form, Show};
use super::*;

/// Output that can be read while it is written.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
    }

    fn events(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("one object on each line")).collect()
    }
}

fn say(speaker: Speaker, when: When) -> Cue {
    Cue { speaker, when, samples: vec![8_000; 5_600] }
}

fn plan(server: &FakeServer, cues: Vec<Cue>) -> Plan {
    Plan {
        server: server.base_url.clone(),
        key: KEY.to_owned().into(),
        mode: kallglot_core::session::Mode::BidirectionalTranslation,
        from: "en".parse().expect("a tag"),
        to: "es".parse().expect("a tag"),
        voice: None,
        vocabulary: Default::default(),
        cues,
        microphone: false,
        made_by: "a test",
        record: false,
        out: None,
    }
}

async fn call(plan: Plan, form: Form) -> (Result<Report, CallError>, Output) {
    let output = Output::default();
    let mut show = Show::new(form, false, Box::new(output.clone()));
    let made = tokio::time::timeout(Duration::from_secs(60), make(plan, &mut show)).await.expect("in time");
    if let Ok(report) = &made {
        show.report(report, true);
    }
    drop(show);
    (made, output)
}

#[tokio::test]
async fn two_parties_take_turns_and_machines_read_all_of_it() {
    let server = FakeServer::start(None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let heard = folder.path().join("heard.wav");
    let cues = vec![say(Speaker::Customer, When::At(0)), say(Speaker::Agent, When::Answered { pause_ms: 100 })];
    let (report, output) = call(Plan { out: Some(heard.clone()), ..plan(&server, cues) }, Form::Json).await;
    let report = report.expect("a call");

    assert_eq!((report.turns, report.words, report.failure), ([1, 1], 3, None));
    assert_eq!((report.final_lag.count, report.audio_lag.count), (2, 2));
    let seen = server.seen();
    assert_eq!(
        (seen.created[0]["source_language"].as_str(), seen.end_reasons.as_slice()),
        (Some("en"), &["completed".into()][..])
    );
    for speaker in ["customer", "agent"] {
        let sequences = &seen.sequences[speaker];
        assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "every frame, once, in order");
        assert_eq!(seen.loud_frames[speaker], 35);
    }
    let events = output.events();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let one = ["partial", "final", "audible"];
    assert_eq!(names, [&["session"], &one[..], &one[..], &["ended", "summary"]].concat());
    assert_eq!(events[2]["translation"]["text"], "hola mundo");
    assert_eq!(events.last().expect("a summary")["files"][0], heard.to_str().expect("text"));
    for (channel, ear) in [(0, "the agent's"), (1, "the customer's")] {
        let file = std::fs::File::open(&heard).expect("the file");
        let samples = wav::read_from(file, Channel::Only(channel)).expect("a WAV file");
        assert_eq!(samples.iter().filter(|&&sample| sample != 0).count(), 162, "{ear} ear");
    }
}

#[tokio::test]
async fn people_read_one_line_for_each_turn() {
    let server = FakeServer::start(None).await;
    let (report, output) = call(plan(&server, vec![say(Speaker::Customer, When::At(0))]), Form::Plain).await;
    report.expect("a call");
    let text = output.text();
    let turn = text.lines().find(|line| line.starts_with("customer")).expect("a turn");
    assert!(turn.starts_with("customer  en  «hello world»  → es «hola mundo»   lag "), "{turn}");
    assert!(text.contains("turns: 1 (1 of the customer, 0 of the agent), 2 words"), "{text}");
    assert!(!text.contains('\x1b'), "a file is not painted");
}

#[tokio::test]
async fn a_terminal_sees_the_words_grow_and_gets_its_cursor_back() {
    let server = FakeServer::start(None).await;
    let (report, output) = call(plan(&server, vec![say(Speaker::Customer, When::At(0))]), Form::Live).await;
    report.expect("a call");
    let text = output.text();
    let (growing, whole) =
        (text.find(" hello\n").expect("the partial"), text.find("«hello world»").expect("the final"));
    assert!(growing < whole);
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again");
}

#[tokio::test]
async fn a_call_goes_on_when_its_connections_are_cut() {
    let server = FakeServer::start(Some(5)).await;
    let (report, _) = call(plan(&server, vec![say(Speaker::Customer, When::At(1_500))]), Form::Json).await;
    let report = report.expect("a call");
    assert_eq!((report.reconnections, report.turns, report.failure), (2, [1, 0], None));
    let seen = server.seen();
    assert_eq!(seen.connections, 4);
    assert!(seen.sequences["customer"].is_sorted_by(|a, b| a < b), "numbers go on where they were");
}

#[tokio::test]
async fn what_prevents_a_call_is_one_sentence_that_says_what_to_do() {
    let server = FakeServer::start(None).await;
    let stranger = Plan { key: "sk_test_wrong".to_owned().into(), ..plan(&server, vec![]) };
    let (refused, output) = call(stranger, Form::Plain).await;
    let Err(CallError::Failed(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.starts_with("No such key") && reason.contains("kallglot key create"), "{reason}");
    assert!(!reason.contains("sk_test_wrong"));
    assert_eq!(output.text(), "");

    let nobody = Plan { server: "http://127.0.0.1:1".into(), ..plan(&server, vec![]) };
    let (refused, _) = call(nobody, Form::Plain).await;
    let Err(CallError::Failed(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("kallglot serve"), "{reason}");

    let nowhere = Plan { server: "localhost".into(), ..plan(&server, vec![]) };
    assert!(matches!(call(nowhere, Form::Plain).await.0, Err(CallError::Usage(_))));
}
