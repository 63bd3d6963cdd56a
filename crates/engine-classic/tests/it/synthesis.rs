//! Synthesis through a worker process.

use std::time::Duration;

use kallglot_audio::level;
use kallglot_engine::{EngineError, SpeechChunks, Synthesizer};
use kallglot_engine_classic::{Espeak, SynthesisConfig, WorkerCommand};
use rustix::process::{Pid, Signal};

use crate::{processes, signal, soon, tag, until, worker};

const SENTENCE: &str = "Your call is important to us, please stay on the line.";

async fn collect(mut chunks: SpeechChunks) -> Result<Vec<i16>, EngineError> {
    let mut samples = Vec::new();
    while let Some(chunk) = soon(chunks.recv()).await {
        samples.extend(chunk?);
    }
    Ok(samples)
}

async fn speak(espeak: &Espeak, text: &str, language: &str, voice: Option<&str>) -> Result<Vec<i16>, EngineError> {
    collect(espeak.synthesize(text, &tag(language), voice).await?).await
}

async fn only_worker(marker: &str) -> Pid {
    let marker = format!("{marker}\0synthesize");
    until("one worker", || processes(&marker).len() == 1).await;
    processes(&marker)[0]
}

/// Root mean square of the 20 ms parts within 25 dB of the loudest.
fn voiced_dbfs(samples: &[i16]) -> f32 {
    let loudest = samples.chunks(160).map(level::rms_dbfs).fold(f32::MIN, f32::max);
    let voiced: Vec<i16> =
        samples.chunks(160).filter(|part| level::rms_dbfs(part) > loudest - 25.0).flatten().copied().collect();
    level::rms_dbfs(&voiced)
}

#[tokio::test]
async fn every_language_is_about_as_loud_and_never_clipped() {
    let espeak = Espeak::new(worker("levels"), SynthesisConfig::default());
    for (language, text) in [
        ("en", SENTENCE),
        ("en-GB", SENTENCE),
        ("es", "Su llamada es importante para nosotros, por favor no cuelgue."),
        ("es-MX", "Su llamada es importante para nosotros, por favor no cuelgue."),
        ("pt-BR", "A sua chamada é importante para nós, por favor não desligue."),
        ("ca", "La seva trucada és important per a nosaltres."),
        ("fr", "Votre appel est important pour nous, restez en ligne."),
        ("de", "Ihr Anruf ist uns wichtig, bitte bleiben Sie am Apparat."),
    ] {
        let samples = speak(&espeak, text, language, None).await.unwrap();
        let (level, peak) = (voiced_dbfs(&samples), level::peak_dbfs(&samples));
        assert!((-24.0..=-16.0).contains(&level), "{language}: {level} dBFS");
        assert!(peak < -0.1, "{language}: {peak} dBFS");
        let seconds = samples.len() as f32 / 8_000.0;
        assert!((2.0..=6.0).contains(&seconds), "{language}: {seconds} s");
    }
}

#[tokio::test]
async fn voices_can_be_chosen_and_unknown_ones_do_not_matter() {
    let espeak = Espeak::new(worker("voices"), SynthesisConfig::default());
    let usual = speak(&espeak, SENTENCE, "en", None).await.unwrap();
    let pitch =
        |samples: &[i16]| samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count() * 8_000 / samples.len();
    let whisper = speak(&espeak, SENTENCE, "en", Some("en-us+whisper")).await.unwrap();
    assert!(
        pitch(&whisper) > pitch(&usual) * 3 / 2,
        "{} and {} zero crossings a second",
        pitch(&whisper),
        pitch(&usual)
    );
    for voice in ["../../../etc/passwd", "en-us+nobody", "alloy", "", "'; rm -rf /"] {
        let spoken = speak(&espeak, SENTENCE, "en", Some(voice)).await.unwrap();
        assert!(spoken.len().abs_diff(usual.len()) < 800, "{voice}: {} and {}", spoken.len(), usual.len());
    }
    let refused = speak(&espeak, SENTENCE, "xx", None).await;
    assert!(matches!(refused, Err(EngineError::Unsupported(_))), "{refused:?}");
    assert!(espeak.languages().contains(&Some("es".into())) && !espeak.languages().contains(&Some("xx".into())));
}

#[tokio::test]
async fn any_text_can_be_spoken() {
    let espeak = Espeak::new(worker("texts"), SynthesisConfig::default());
    for silent in ["", " \n "] {
        assert_eq!(speak(&espeak, silent, "en", None).await, Ok(Vec::new()));
    }
    for text in [
        "\0",
        "<speak><break time='9999s'/></speak>",
        "[[f@nt]]",
        "😀漢字 ñ",
        "&lt;&#0;",
        "...",
        "%s%n",
        &"1234567890".repeat(40),
    ] {
        let spoken = speak(&espeak, text, "en", None).await;
        assert!(spoken.is_ok(), "{text:?}: {spoken:?}");
        assert!(spoken.unwrap().len() < 8_000 * 400);
    }
    let long = "This is a sentence that says nothing. ".repeat(100);
    let samples = speak(&espeak, &long, "en", None).await.unwrap();
    assert!(samples.len() > 8_000 * 100, "{} samples", samples.len());
    let refused = speak(&espeak, &"a ".repeat(3_000), "en", None).await;
    assert!(matches!(refused, Err(EngineError::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_listener_that_is_slow_or_has_gone_holds_up_nobody() {
    let espeak = Espeak::new(worker("slow"), SynthesisConfig::default());
    let long = "This is a sentence that says nothing. ".repeat(100);
    let slow = espeak.synthesize(&long, &tag("en"), None).await.unwrap();
    drop(espeak.synthesize(&long, &tag("en"), None).await.unwrap());
    for _ in 0..10 {
        assert!(speak(&espeak, SENTENCE, "en", None).await.unwrap().len() > 8_000);
    }
    assert!(collect(slow).await.unwrap().len() > 8_000 * 100);
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced() {
    let espeak = Espeak::new(worker("speech-killed"), SynthesisConfig::default());
    assert!(speak(&espeak, SENTENCE, "en", None).await.is_ok());
    let pid = only_worker("speech-killed").await;
    signal(pid, Signal::STOP);
    let mut chunks = espeak.synthesize(SENTENCE, &tag("en"), None).await.unwrap();
    signal(pid, Signal::KILL);
    // Whether the text had been handed over when the worker died is chance; what was lost is told.
    if let Some(Err(error)) = soon(chunks.recv()).await {
        assert!(matches!(error, EngineError::Failed(_)), "{error:?}");
    }
    assert!(speak(&espeak, SENTENCE, "en", None).await.is_ok_and(|samples| samples.len() > 16_000));
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced() {
    let espeak = Espeak::new(
        worker("speech-hung"),
        SynthesisConfig { timeout: Duration::from_secs(4), ..SynthesisConfig::default() },
    );
    assert!(speak(&espeak, SENTENCE, "en", None).await.is_ok());
    let pid = only_worker("speech-hung").await;
    signal(pid, Signal::STOP);
    let failure = speak(&espeak, SENTENCE, "en", None).await;
    assert!(matches!(failure, Err(EngineError::TimedOut(_))), "{failure:?}");
    assert!(speak(&espeak, SENTENCE, "en", None).await.is_ok_and(|samples| samples.len() > 16_000));
    assert!(!processes("speech-hung\0synthesize").contains(&pid));
}

#[tokio::test]
async fn more_texts_than_may_wait_are_refused() {
    let config = SynthesisConfig { queue_pieces_max: 2, timeout: Duration::from_secs(4) };
    let espeak = Espeak::new(worker("speech-full"), config);
    assert!(speak(&espeak, SENTENCE, "en", None).await.is_ok());
    signal(only_worker("speech-full").await, Signal::STOP);
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(espeak.synthesize(SENTENCE, &tag("en"), None).await);
    }
    assert!(answers.iter().any(|answer| matches!(answer, Err(EngineError::Overloaded(_)))));
    drop(answers);
    let recovery = async {
        while speak(&espeak, SENTENCE, "en", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(recovery).await;
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_unavailable() {
    for program in ["/bin/true", "/nowhere/at/all"] {
        let espeak =
            Espeak::new(WorkerCommand { program: program.into(), args: Vec::new() }, SynthesisConfig::default());
        let failure = speak(&espeak, SENTENCE, "en", None).await;
        assert!(matches!(failure, Err(EngineError::Unavailable(_))), "{program}: {failure:?}");
    }
}

#[tokio::test]
async fn dropping_the_synthesizer_leaves_no_process() {
    let espeak = Espeak::new(worker("speech-dropped"), SynthesisConfig::default());
    assert!(speak(&espeak, SENTENCE, "en", None).await.is_ok());
    only_worker("speech-dropped").await;
    drop(espeak);
    until("no process", || processes("speech-dropped\0synthesize").is_empty()).await;
}
