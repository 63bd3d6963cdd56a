//! Translation through real pipelines.

use std::path::Path;
use std::time::Duration;

use kallglot_engine::{EngineError, Translator};
use kallglot_engine_classic::{Apertium, ApertiumConfig};
use proptest::prelude::*;
use rustix::process::Signal;

use crate::{processes, signal, soon, tag, until};

/// The installed pairs by another path, so that a test tells its own processes apart by their arguments.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr/share/apertium", folder.path().join("data")).unwrap();
        std::fs::create_dir(folder.path().join("modes")).unwrap();
        for pair in ["eng-spa", "spa-eng", "spa-cat", "cat-spa", "eng-cat", "cat-eng"] {
            let file = Path::new("/usr/share/apertium/modes").join(format!("{pair}.mode"));
            let text = std::fs::read_to_string(&file)
                .unwrap_or_else(|_| panic!("install apertium-eng-spa, -spa-cat and -eng-cat"));
            let data = folder.path().join("data");
            let text = text.replace("/usr/share/apertium", data.to_str().unwrap());
            std::fs::write(folder.path().join("modes").join(format!("{pair}.mode")), text).unwrap();
        }
        Self { folder }
    }

    fn without(self, pair: &str) -> Self {
        std::fs::remove_file(self.folder.path().join(format!("modes/{pair}.mode"))).unwrap();
        self
    }

    fn config(&self) -> ApertiumConfig {
        ApertiumConfig { modes_dir: self.folder.path().join("modes"), ..ApertiumConfig::default() }
    }

    fn processes(&self) -> Vec<rustix::process::Pid> {
        processes(self.folder.path().to_str().unwrap())
    }
}

async fn translate(apertium: &Apertium, text: &str, from: &str, to: &str) -> Result<String, EngineError> {
    soon(apertium.translate(text, &tag(from), &tag(to))).await
}

#[tokio::test]
async fn sentences_are_translated() {
    let installed = Installed::new();
    let apertium = Apertium::new(installed.config());
    for (from, to, text, expected) in [
        ("en", "es", "The door is open.", "La puerta es abierta."),
        ("en", "es", "the door is open", "La puerta es abierta."),
        ("en", "es", "hello", "Hola."),
        ("en", "es", "how can i help you", "¿En qué puedo ayudarle?"),
        ("en", "es", "Good morning. The house is big. Thank you!", "Buenos días. La casa es grande. Gracias."),
        ("en-US", "es-MX", "please open the door", "Por favor, abrir la puerta."),
        ("en", "es", "your call is important to us", "Su llamada es importante a nosotros."),
        ("es", "en", "La casa es grande.", "The house is big."),
        ("es", "ca", "La casa es grande.", "La casa és gran."),
        ("en", "es", "five five oh one", "Cinco cinco cero uno."),
        ("en", "es", "", ""),
        ("en", "es", " \n\t ", ""),
        ("en", "en", "Leave it alone", "Leave it alone"),
    ] {
        assert_eq!(translate(&apertium, text, from, to).await.as_deref(), Ok(expected), "{text}");
    }
}

#[tokio::test]
async fn a_pair_that_is_not_installed_goes_through_another_language_or_is_refused() {
    let installed = Installed::new().without("eng-cat");
    let apertium = Apertium::new(installed.config());
    assert!(apertium.pairs().contains(&(Some("en".into()), Some("ca".into()))));
    assert_eq!(translate(&apertium, "The house is big.", "en", "ca").await.as_deref(), Ok("La casa és gran."));
    assert!(!apertium.pairs().contains(&(Some("en".into()), Some("de".into()))));
    let refused = translate(&apertium, "The house is big.", "en", "de").await;
    assert!(matches!(refused, Err(EngineError::Unsupported(_))), "{refused:?}");
}

#[tokio::test]
async fn pairs_that_are_installed_later_are_found() {
    let installed = Installed::new();
    let file = installed.folder.path().join("modes/spa-eng.mode");
    let text = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let apertium =
        Apertium::new(ApertiumConfig { modes_dir: installed.folder.path().join("modes"), ..ApertiumConfig::default() });
    let pair = (Some("es".to_owned()), Some("en".to_owned()));
    // Through Catalan, until the direct pair is there.
    assert!(apertium.pairs().contains(&pair));
    std::fs::remove_file(installed.folder.path().join("modes/cat-eng.mode")).unwrap();
    assert!(!apertium.pairs().contains(&pair));
    std::fs::write(&file, text).unwrap();
    assert!(apertium.pairs().contains(&pair));
    assert_eq!(translate(&apertium, "La casa es grande.", "es", "en").await.as_deref(), Ok("The house is big."));
}

#[tokio::test]
async fn hostile_texts_stay_in_step_with_their_answers() {
    let installed = Installed::new();
    let apertium = Apertium::new(installed.config());
    for text in [
        "\0",
        "^house<n><sg>$",
        "^house/casa$ [[t:b:abc]]x[[/]]",
        "\\",
        "\\\\^",
        "a]b[c{d}e@f*g#h~i+j_k",
        "[]",
        ".[]",
        "text.[]\0second",
        "$1 $2 `id` $(id); rm -rf /",
        "<b>bold</b> & \u{feff}\u{202e}\u{0}",
        "😀 ñ ü ß 漢字 \u{301}\u{301}",
        "[<sent>]",
        "%s%n \r\n\r\n . . .",
        "^",
        "[",
    ] {
        let answer = translate(&apertium, text, "en", "es").await;
        assert!(answer.is_ok(), "{text:?}: {answer:?}");
        assert_eq!(
            translate(&apertium, "The house is big.", "en", "es").await.as_deref(),
            Ok("La casa es grande."),
            "after {text:?}"
        );
    }
}

/// Texts that are likely to hit the stream format, each between two words that nothing translates.
fn marked_texts() -> impl Strategy<Value = Vec<String>> {
    let bit = prop_oneof![
        Just("^".to_owned()),
        Just("$".to_owned()),
        Just("\\".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("/".to_owned()),
        Just("<n>".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("\0".to_owned()),
        Just(".[]\0".to_owned()),
        Just("^a/b<n>$".to_owned()),
        Just(" ".to_owned()),
        Just("house".to_owned()),
        Just("I would like".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(proptest::collection::vec(bit, 0..12).prop_map(|bits| bits.concat()), 1..12)
}

#[test]
fn as_many_answers_come_out_as_texts_go_in_each_for_its_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let installed = Installed::new();
    let apertium = runtime.block_on(async { Apertium::new(installed.config()) });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    runner
        .run(&marked_texts(), |texts| {
            let texts: Vec<String> =
                texts.iter().enumerate().map(|(index, text)| format!("Zqx{index}bgn {text} zqx{index}nd")).collect();
            let answers = runtime.block_on(async {
                let all = texts.iter().map(|text| translate(&apertium, text, "en", "es"));
                futures_util::future::join_all(all).await
            });
            for (index, answer) in answers.into_iter().enumerate() {
                let answer =
                    answer.map_err(|error| TestCaseError::fail(format!("{:?}: {error}", texts[index])))?.to_lowercase();
                for mark in [format!("zqx{index}bgn"), format!("zqx{index}nd")] {
                    prop_assert!(answer.contains(&mark), "{:?} became {answer:?}", texts[index]);
                }
                prop_assert_eq!(answer.matches("zqx").count(), 2);
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn long_texts_are_translated_in_pieces_and_endless_ones_refused() {
    let installed = Installed::new();
    let apertium = Apertium::new(installed.config());
    let long = "the house is big and the door is open ".repeat(200);
    let translated = translate(&apertium, &long, "en", "es").await.unwrap();
    assert_eq!(translated.to_lowercase().matches("casa").count(), 200);
    let refused = translate(&apertium, &"house ".repeat(2_000), "en", "es").await;
    assert!(matches!(refused, Err(EngineError::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_pipeline_that_hangs_or_dies_costs_one_text() {
    let installed = Installed::new();
    let apertium = Apertium::new(ApertiumConfig { timeout: Duration::from_secs(4), ..installed.config() });
    let ask = || translate(&apertium, "The house is big.", "en", "es");
    assert!(ask().await.is_ok());
    let stages = installed.processes();
    assert!(stages.len() >= 5, "{stages:?}");

    signal(stages[stages.len() / 2], Signal::STOP);
    let failure = ask().await;
    assert!(matches!(failure, Err(EngineError::TimedOut(_))), "{failure:?}");
    assert_eq!(ask().await.as_deref(), Ok("La casa es grande."));
    until("the hung pipeline to be gone", || stages.iter().all(|stage| !installed.processes().contains(stage))).await;

    // One that is dead already is replaced before it is asked; only death in the middle costs a text.
    signal(installed.processes()[2], Signal::KILL);
    let answer = ask().await;
    assert!(matches!(answer.as_deref(), Ok("La casa es grande.") | Err(EngineError::Failed(_))), "{answer:?}");
    assert_eq!(ask().await.as_deref(), Ok("La casa es grande."));
}

#[tokio::test]
async fn more_texts_than_may_wait_are_refused() {
    let installed = Installed::new();
    let apertium =
        Apertium::new(ApertiumConfig { queue_texts_max: 2, timeout: Duration::from_secs(4), ..installed.config() });
    assert!(translate(&apertium, "The house is big.", "en", "es").await.is_ok());
    for stage in installed.processes() {
        signal(stage, Signal::STOP);
    }
    let answers =
        futures_util::future::join_all((0..8).map(|_| translate(&apertium, "The house is big.", "en", "es"))).await;
    assert!(answers.iter().any(|answer| matches!(answer, Err(EngineError::Overloaded(_)))), "{answers:?}");
    assert!(answers.iter().any(|answer| matches!(answer, Err(EngineError::TimedOut(_)))), "{answers:?}");
    assert_eq!(translate(&apertium, "The house is big.", "en", "es").await.as_deref(), Ok("La casa es grande."));
}

#[tokio::test]
async fn a_pair_that_nobody_uses_is_ended_and_started_again() {
    let installed = Installed::new();
    let apertium = Apertium::new(ApertiumConfig { idle: Duration::from_millis(100), ..installed.config() });
    apertium.warm(&tag("en"), &tag("es")).await;
    until("no process", || installed.processes().is_empty()).await;
    assert_eq!(translate(&apertium, "The house is big.", "en", "es").await.as_deref(), Ok("La casa es grande."));
}

#[tokio::test]
async fn dropping_the_translator_leaves_no_process() {
    let installed = Installed::new();
    let apertium = Apertium::new(installed.config());
    apertium.warm(&tag("en"), &tag("es")).await;
    assert!(!installed.processes().is_empty());
    drop(apertium);
    until("no process", || installed.processes().is_empty()).await;
}
