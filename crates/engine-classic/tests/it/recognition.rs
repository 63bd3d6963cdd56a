//! Recognition through worker processes.

use std::time::Duration;

use kallglot_core::vocabulary::Expectation;
use kallglot_engine::{EngineError, Quality, RecognitionEvent, RecognitionSpec, Recognizer, RecognizerFactory};
use kallglot_engine_classic::{RecognitionConfig, Sphinx, WorkerCommand};
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;

use crate::{processes, signal, soon, tag, until, worker};

const PASSWORD: &str = "Please enter your password followed by the pound key.";

/// A recorded human voice from the Debian packages asterisk-core-sounds-…-wav.
fn prompt(path: &str) -> Vec<i16> {
    let file = format!("/usr/share/asterisk/sounds/{path}.wav");
    let bytes =
        std::fs::read(&file).unwrap_or_else(|_| panic!("{file}: install asterisk-core-sounds-en-wav and -es-wav"));
    kallglot_audio::wav::read(&bytes, kallglot_audio::wav::Channel::Only(0)).unwrap()
}

fn english_phrases() -> RecognitionSpec {
    let phrases =
        [PASSWORD, "Agent logged in.", "All circuits are busy now.", "Call forwarding."].map(str::to_owned).to_vec();
    RecognitionSpec {
        language: Some(tag("en")),
        expectation: Expectation { phrases, words: Vec::new(), phrases_only: true },
    }
}

fn general(language: &str) -> RecognitionSpec {
    RecognitionSpec { language: Some(tag(language)), expectation: Expectation::default() }
}

/// One worker at a time, so that a test knows which one it stops.
fn config() -> RecognitionConfig {
    RecognitionConfig { recognizers_max: 4, spares_max: 0, warm: Vec::new(), ..RecognitionConfig::default() }
}

struct Direction {
    recognizer: Box<dyn Recognizer>,
    events: mpsc::Receiver<RecognitionEvent>,
    next: u32,
}

impl Direction {
    async fn open(sphinx: &Sphinx, spec: RecognitionSpec) -> Self {
        let (sender, events) = mpsc::channel(64);
        let recognizer = soon(sphinx.open(spec, sender)).await.unwrap();
        Self { recognizer, events, next: 0 }
    }

    fn begin(&mut self) {
        self.recognizer.begin(self.next);
        self.next += 1;
    }

    fn push(&mut self, samples: &[i16]) {
        for frame in samples.chunks(160) {
            self.recognizer.push(frame);
        }
    }

    /// The event that ends the utterance begun last, with the partials before it.
    async fn outcome(&mut self) -> (Vec<String>, Result<String, EngineError>) {
        let mut partials = Vec::new();
        loop {
            match soon(self.events.recv()).await.expect("the recognizer went away") {
                RecognitionEvent::Partial { utterance, text } => {
                    assert_eq!(utterance + 1, self.next);
                    partials.push(text);
                }
                RecognitionEvent::Final { utterance, text, confidence, .. } => {
                    assert_eq!(utterance + 1, self.next);
                    assert!((0.0..=1.0).contains(&confidence));
                    return (partials, Ok(text));
                }
                RecognitionEvent::Failed { utterance, error } => {
                    assert_eq!(utterance + 1, self.next);
                    return (partials, Err(error));
                }
            }
        }
    }

    async fn hear(&mut self, samples: &[i16]) -> Result<String, EngineError> {
        self.begin();
        self.push(samples);
        self.recognizer.end();
        self.outcome().await.1
    }
}

async fn only_worker(marker: &str) -> Pid {
    let marker = format!("{marker}\0recognize");
    // A worker that was asked for the languages may still be ending.
    until("one worker", || processes(&marker).len() == 1).await;
    processes(&marker)[0]
}

#[tokio::test]
async fn a_phrase_is_recognized_as_it_was_given() {
    let sphinx = Sphinx::new(worker("phrase"), config());
    let mut direction = Direction::open(&sphinx, english_phrases()).await;
    assert_eq!(direction.hear(&prompt("en/agent-pass")).await, Ok(PASSWORD.into()));
    assert_eq!(direction.hear(&prompt("en/agent-loginok")).await, Ok("Agent logged in.".into()));
}

#[tokio::test]
async fn free_speech_comes_with_partials_and_is_written_readably() {
    let sphinx = Sphinx::new(worker("free"), config());
    let mut direction = Direction::open(&sphinx, general("en-US")).await;
    direction.begin();
    direction.push(&prompt("en/agent-pass"));
    direction.recognizer.end();
    let (partials, text) = direction.outcome().await;
    let text = text.unwrap();
    assert!(!partials.is_empty() && partials.windows(2).all(|pair| pair[0] != pair[1]), "{partials:?}, {text}");
    assert!(text.starts_with(char::is_uppercase) && text.ends_with(['.', '?']), "{text}");
}

#[tokio::test]
async fn silence_has_no_words() {
    let sphinx = Sphinx::new(worker("silence"), config());
    let mut direction = Direction::open(&sphinx, english_phrases()).await;
    assert_eq!(direction.hear(&[]).await, Ok(String::new()));
    assert_eq!(direction.hear(&[0; 100]).await, Ok(String::new()));
}

#[tokio::test]
async fn spanish_is_understood_with_a_phrase_list_only() {
    let sphinx = Sphinx::new(worker("spanish"), config());
    until("the survey", || sphinx.languages().contains(&(Some("es".into()), Quality::PhrasesOnly))).await;
    assert!(sphinx.languages().contains(&(Some("en".into()), Quality::Basic)));
    let (sender, _events) = mpsc::channel(8);
    let refused = sphinx.open(general("es"), sender).await;
    assert!(matches!(refused.err(), Some(EngineError::Unsupported(_))));
    let phrases = [
        "Número de conferencia inválido. Por favor, intente de nuevo.",
        "Por favor, ingrese su contraseña.",
        "Agente conectado.",
    ];
    let expectation =
        Expectation { phrases: phrases.map(str::to_owned).to_vec(), words: Vec::new(), phrases_only: true };
    let mut direction = Direction::open(&sphinx, RecognitionSpec { language: Some(tag("es")), expectation }).await;
    let heard = direction.hear(&prompt("es/conf-invalid")).await.unwrap();
    assert_eq!(heard, phrases[0]);
}

#[tokio::test]
async fn other_languages_and_detection_are_refused() {
    let sphinx = Sphinx::new(worker("others"), config());
    for language in [Some(tag("de")), None] {
        let (sender, _events) = mpsc::channel(8);
        let spec = RecognitionSpec { language, expectation: Expectation::default() };
        assert!(matches!(sphinx.open(spec, sender).await.err(), Some(EngineError::Unsupported(_))));
    }
}

#[tokio::test]
async fn a_killed_worker_costs_its_utterance_and_nobody_else_notices() {
    let sphinx = Sphinx::new(worker("killed"), config());
    let mut victim = Direction::open(&sphinx, english_phrases()).await;
    let pid = only_worker("killed").await;
    let mut other = Direction::open(&sphinx, english_phrases()).await;

    let audio = prompt("en/agent-pass");
    let (first, rest) = audio.split_at(audio.len() / 2);
    for direction in [&mut victim, &mut other] {
        direction.begin();
        direction.push(first);
    }
    // Words have come, so the worker has the utterance.
    let partial = soon(victim.events.recv()).await;
    assert!(matches!(partial, Some(RecognitionEvent::Partial { .. })), "{partial:?}");
    signal(pid, Signal::KILL);
    let failure = victim.outcome().await.1;
    assert!(matches!(failure, Err(EngineError::Failed(_))), "{failure:?}");
    for direction in [&mut victim, &mut other] {
        direction.push(rest);
        direction.recognizer.end();
    }
    assert_eq!(other.outcome().await.1, Ok(PASSWORD.into()));
    assert_eq!(victim.hear(&audio).await, Ok(PASSWORD.into()));
}

#[tokio::test]
async fn a_worker_that_dies_between_utterances_costs_nothing() {
    let sphinx = Sphinx::new(worker("between"), config());
    let mut direction = Direction::open(&sphinx, english_phrases()).await;
    let pid = only_worker("between").await;
    signal(pid, Signal::KILL);
    until("another worker", || processes("between\0recognize").iter().any(|other| *other != pid)).await;
    assert_eq!(direction.hear(&prompt("en/agent-pass")).await, Ok(PASSWORD.into()));
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced() {
    let sphinx = Sphinx::new(worker("hung"), RecognitionConfig { stall: Duration::from_secs(4), ..config() });
    let mut direction = Direction::open(&sphinx, english_phrases()).await;
    let pid = only_worker("hung").await;
    signal(pid, Signal::STOP);
    let failure = direction.hear(&prompt("en/agent-pass")).await;
    assert!(matches!(failure, Err(EngineError::TimedOut(_))), "{failure:?}");
    assert_eq!(direction.hear(&prompt("en/agent-pass")).await, Ok(PASSWORD.into()));
    assert!(!processes("hung\0recognize").contains(&pid));
}

#[tokio::test]
async fn a_worker_that_keeps_dying_is_left_alone_for_a_while() {
    let sphinx = Sphinx::new(worker("dying"), config());
    let mut direction = Direction::open(&sphinx, english_phrases()).await;
    let failure = loop {
        for pid in processes("dying\0recognize") {
            signal(pid, Signal::KILL);
        }
        // Whether this utterance is lost or saved by the next worker depends on who notices first.
        match direction.hear(&[0; 1_600]).await {
            Err(unavailable @ EngineError::Unavailable(_)) => break unavailable,
            Ok(_) | Err(EngineError::Failed(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(failure.to_string().contains("keeps failing"), "{failure}");
    let recovery = async {
        while direction.hear(&prompt("en/agent-pass")).await != Ok(PASSWORD.into()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(recovery).await;
}

#[tokio::test]
async fn speech_that_comes_faster_than_it_is_recognized_is_refused() {
    let sphinx = Sphinx::new(worker("fast"), RecognitionConfig { queue_ms_max: 1_000, ..config() });
    let mut direction = Direction::open(&sphinx, english_phrases()).await;
    let pid = only_worker("fast").await;
    signal(pid, Signal::STOP);
    direction.begin();
    // The worker is given two seconds at most; one second waits.
    direction.push(&vec![0; 8_000 * 10]);
    direction.recognizer.end();
    signal(pid, Signal::CONT);
    let failure = direction.outcome().await.1;
    assert!(matches!(failure, Err(EngineError::Overloaded(_))), "{failure:?}");
    assert_eq!(direction.hear(&prompt("en/agent-loginok")[..8_000]).await.map(|_| ()), Ok(()));
}

#[tokio::test]
async fn there_are_never_more_recognizers_than_allowed() {
    let sphinx = Sphinx::new(worker("bound"), RecognitionConfig { recognizers_max: 1, ..config() });
    let first = Direction::open(&sphinx, english_phrases()).await;
    let (sender, _events) = mpsc::channel(8);
    let refused = sphinx.open(english_phrases(), sender.clone()).await;
    assert!(matches!(refused.err(), Some(EngineError::Overloaded(_))));
    drop(first);
    until("the room", || processes("bound\0recognize").is_empty()).await;
    assert!(sphinx.open(english_phrases(), sender).await.is_ok());
}

#[tokio::test]
async fn spares_are_ready_before_they_are_needed_and_replaced_when_taken() {
    let sphinx =
        Sphinx::new(worker("spares"), RecognitionConfig { spares_max: 1, warm: vec!["en".into()], ..config() });
    until("the spare", || processes("spares\0recognize").len() == 1).await;
    let spare = only_worker("spares").await;
    let _direction = Direction::open(&sphinx, general("en")).await;
    until("another spare", || processes("spares\0recognize").iter().any(|other| *other != spare)).await;
}

#[tokio::test]
async fn dropping_the_engine_or_a_recognizer_leaves_no_process() {
    let sphinx =
        Sphinx::new(worker("dropped"), RecognitionConfig { spares_max: 2, warm: vec!["en".into()], ..config() });
    let one = Direction::open(&sphinx, general("en")).await;
    let mut two = Direction::open(&sphinx, english_phrases()).await;
    until("workers and a spare", || processes("dropped\0recognize").len() >= 3).await;
    drop(one);
    two.begin();
    two.push(&prompt("en/agent-pass"));
    drop(sphinx);
    until("no process", || processes("dropped\0recognize").is_empty()).await;
    two.push(&[0; 160]);
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_unavailable() {
    for program in ["/bin/true", "/bin/echo", "/nowhere/at/all"] {
        let sphinx = Sphinx::new(WorkerCommand { program: program.into(), args: Vec::new() }, config());
        let (sender, _events) = mpsc::channel(8);
        let refused = soon(sphinx.open(english_phrases(), sender)).await;
        assert!(matches!(refused.err(), Some(EngineError::Unavailable(_))), "{program}");
    }
}

#[tokio::test]
async fn a_worker_ends_when_the_server_is_gone() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_classic-worker"));
    for kind in ["recognize", "synthesize"] {
        let mut child =
            command.arg(kind).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdin.take());
        soon(child.wait()).await.unwrap();
    }
}
