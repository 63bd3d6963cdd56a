//! Recognition by `audio/transcriptions`: each utterance is sent as a WAV file when it is over.
//!
//! What must stay true: results come in the order of the utterances however the answers come; dropping the recognizer drops its
//! requests; what an utterance may hold and how many are on their way is bounded. What a server can't do (answer in pieces, tell the
//! language) is found out once and not asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use kallglot_audio::resample::Resampler;
use kallglot_audio::{SAMPLE_RATE_HZ, SAMPLES_PER_MS, wav};
use kallglot_core::language::LanguageTag;
use kallglot_core::vocabulary::Expectation;
use kallglot_engine::{
    EngineError, Quality, RecognitionEvent, RecognitionEventSender, RecognitionSpec, Recognizer, RecognizerFactory,
    UtteranceId,
};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::OpenAiConfig;
use crate::http::{Answer, Http, not_understood};

/// Most bytes of an answer: an hour of speech is less.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Most characters of the hint at what will be said; Whisper reads 224 tokens.
const PROMPT_CHARS_MAX: usize = 600;
/// Servers refuse less than 100 ms; silence is added up to this much.
const AUDIO_MIN_MS: usize = 300;
/// What is said where the server tells nothing about its confidence.
const CONFIDENCE_UNKNOWN: f32 = 0.8;
/// Whisper's own rule for silence that it put words into: a segment is none when both hold.
const NO_SPEECH_PROBABILITY: f32 = 0.6;
const NO_SPEECH_LOG_PROBABILITY: f32 = -1.0;

/// Makes recognizers that ask a server.
#[derive(Debug)]
pub struct OpenAiRecognizerFactory {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    http: Arc<Http>,
    model: String,
    rate_hz: u32,
    languages: Vec<Option<String>>,
    /// Whether it is worth to ask for an answer in pieces.
    streams: AtomicBool,
    /// Whether it is worth to ask for `verbose_json`, which alone tells language and confidence.
    verbose: AtomicBool,
}

impl OpenAiRecognizerFactory {
    pub(crate) fn new(config: &OpenAiConfig, http: &Arc<Http>) -> Option<Self> {
        let server = Server {
            http: Arc::clone(http),
            model: config.transcription_model.clone()?,
            rate_hz: config.transcription_rate_hz,
            languages: config.offered_languages(),
            streams: AtomicBool::new(config.transcription_stream),
            verbose: AtomicBool::new(true),
        };
        Some(Self { server: Arc::new(server) })
    }
}

#[async_trait]
impl RecognizerFactory for OpenAiRecognizerFactory {
    fn languages(&self) -> Vec<(Option<String>, Quality)> {
        self.server.languages.iter().map(|language| (language.clone(), Quality::Good)).collect()
    }

    fn detects_language(&self) -> bool {
        self.server.verbose.load(Ordering::Relaxed)
    }

    async fn open(
        &self,
        spec: RecognitionSpec,
        events: RecognitionEventSender,
    ) -> Result<Box<dyn Recognizer>, EngineError> {
        Ok(Box::new(OpenAiRecognizer {
            server: Arc::clone(&self.server),
            prompt: prompt(&spec.expectation),
            language: spec.language,
            events,
            runtime: Handle::current(),
            utterance: None,
            tasks: JoinSet::new(),
            previous: None,
        }))
    }
}

/// The hint at what will be said: words and phrases, as many as fit.
fn prompt(expectation: &Expectation) -> Option<String> {
    let mut prompt = String::new();
    let mut chars = 0;
    for text in expectation.words.iter().chain(&expectation.phrases) {
        let added = text.chars().count() + 2;
        if chars + added > PROMPT_CHARS_MAX {
            break;
        }
        if chars > 0 {
            prompt.push_str(", ");
        }
        prompt.push_str(text);
        chars += added;
    }
    (chars > 0).then_some(prompt)
}

struct OpenAiRecognizer {
    server: Arc<Server>,
    language: Option<LanguageTag>,
    prompt: Option<String>,
    events: RecognitionEventSender,
    runtime: Handle,
    utterance: Option<Utterance>,
    /// One task per utterance that is over; aborted when the recognizer is dropped.
    tasks: JoinSet<()>,
    /// Closes when the utterance before has said its last.
    previous: Option<oneshot::Receiver<()>>,
}

struct Utterance {
    id: UtteranceId,
    samples: Vec<i16>,
    too_long: bool,
}

impl Recognizer for OpenAiRecognizer {
    fn begin(&mut self, utterance: UtteranceId) {
        self.end();
        self.utterance = Some(Utterance { id: utterance, samples: Vec::new(), too_long: false });
    }

    fn push(&mut self, samples: &[i16]) {
        let samples_max = self.server.http.limits.utterance_max_ms as usize * SAMPLES_PER_MS;
        let Some(utterance) = &mut self.utterance else { return };
        if utterance.too_long || utterance.samples.len() + samples.len() > samples_max {
            utterance.too_long = true;
            utterance.samples = Vec::new();
        } else {
            utterance.samples.extend_from_slice(samples);
        }
    }

    fn end(&mut self) {
        let Some(utterance) = self.utterance.take() else { return };
        while self.tasks.try_join_next().is_some() {}
        let under_way = self.tasks.len();
        let (done, next) = oneshot::channel();
        let turn = Turn { previous: self.previous.replace(next) };
        let overloaded = if utterance.too_long {
            Some("an utterance was longer than the speech service is given; pause between sentences")
        } else if under_way >= self.server.http.limits.utterances_max {
            Some("the speech service is too slow: utterances pile up")
        } else {
            None
        };
        let work = Work {
            server: Arc::clone(&self.server),
            deadline: self.server.http.deadline(),
            utterance: utterance.id,
            language: self.language.clone(),
            prompt: self.prompt.clone(),
            events: self.events.clone(),
            turn,
        };
        self.tasks.spawn_on(
            async move {
                work.run(utterance.samples, overloaded).await;
                drop(done);
            },
            &self.runtime,
        );
    }
}

/// Whether the utterance before has said its last.
struct Turn {
    previous: Option<oneshot::Receiver<()>>,
}

impl Turn {
    fn has_come(&mut self) -> bool {
        let waits = |previous: &mut oneshot::Receiver<()>| {
            matches!(previous.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        };
        if !self.previous.as_mut().is_some_and(waits) {
            self.previous = None;
        }
        self.previous.is_none()
    }

    async fn come(&mut self) {
        if let Some(previous) = self.previous.take() {
            let _ = previous.await;
        }
    }
}

/// One utterance on its way.
struct Work {
    server: Arc<Server>,
    deadline: Instant,
    utterance: UtteranceId,
    language: Option<LanguageTag>,
    prompt: Option<String>,
    events: RecognitionEventSender,
    turn: Turn,
}

/// How an answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Stream,
    Verbose,
    Plain,
}

#[derive(Debug)]
struct Heard {
    text: String,
    language: Option<LanguageTag>,
    confidence: f32,
}

impl Work {
    async fn run(mut self, samples: Vec<i16>, overloaded: Option<&'static str>) {
        let utterance = self.utterance;
        let result = match overloaded {
            Some(text) => Err(EngineError::Overloaded(text.into())),
            None if samples.is_empty() => Ok(Heard { text: String::new(), language: None, confidence: 1.0 }),
            None => self.transcribe(samples).await,
        };
        self.turn.come().await;
        let event = match result {
            Ok(heard) => RecognitionEvent::Final {
                utterance,
                text: heard.text,
                language: heard.language,
                confidence: heard.confidence,
            },
            Err(error) => RecognitionEvent::Failed { utterance, error },
        };
        // An error means that the call is gone.
        let _ = self.events.send(event).await;
    }

    async fn transcribe(&mut self, samples: Vec<i16>) -> Result<Heard, EngineError> {
        let file = bytes::Bytes::from(self.file(samples)?);
        let (streams, verbose) =
            (self.server.streams.load(Ordering::Relaxed), self.server.verbose.load(Ordering::Relaxed));
        let mut modes = Vec::with_capacity(3);
        // Only `verbose_json` tells the language.
        if verbose && self.language.is_none() {
            modes.push(Mode::Verbose);
        }
        if streams {
            modes.push(Mode::Stream);
        }
        if verbose && self.language.is_some() {
            modes.push(Mode::Verbose);
        }
        modes.push(Mode::Plain);
        let mut disliked = Vec::new();
        for mode in modes {
            let server = Arc::clone(&self.server);
            let form = |request: reqwest::RequestBuilder| request.multipart(self.form(&file, mode));
            let answer = match server.http.post("audio/transcriptions", self.deadline, form).await {
                Ok(answer) => answer,
                Err(failure) if failure.disliked && mode != Mode::Plain => {
                    disliked.push(mode);
                    continue;
                }
                Err(failure) => return Err(failure.error),
            };
            for mode in disliked {
                // It was the mode that the server did not like, not the audio.
                let ability = if mode == Mode::Stream { &self.server.streams } else { &self.server.verbose };
                ability.store(false, Ordering::Relaxed);
            }
            return if answer.is_events() { self.read_events(answer).await } else { read_json(answer).await };
        }
        Err(not_understood())
    }

    fn file(&self, mut samples: Vec<i16>) -> Result<Vec<u8>, EngineError> {
        samples.resize(samples.len().max(AUDIO_MIN_MS * SAMPLES_PER_MS), 0);
        let rate_hz = self.server.rate_hz;
        let mut resampler =
            Resampler::new(SAMPLE_RATE_HZ, rate_hz).map_err(|error| EngineError::Failed(error.to_string()))?;
        let mut converted = Vec::with_capacity(samples.len() * rate_hz as usize / SAMPLE_RATE_HZ as usize);
        resampler.process(&samples, &mut converted);
        resampler.flush(&mut converted);
        Ok(wav::mono_file(&converted, rate_hz))
    }

    fn form(&self, file: &bytes::Bytes, mode: Mode) -> Form {
        let length = file.len() as u64;
        let mut part = Part::stream_with_length(file.clone(), length).file_name("utterance.wav");
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, reqwest::header::HeaderValue::from_static("audio/wav"));
        part = part.headers(headers);
        let mut form = Form::new().text("model", self.server.model.clone()).text("temperature", "0");
        form = match mode {
            Mode::Stream => form.text("response_format", "json").text("stream", "true"),
            Mode::Verbose => form.text("response_format", "verbose_json"),
            Mode::Plain => form.text("response_format", "json"),
        };
        if let Some(language) = &self.language {
            form = form.text("language", language.primary().to_owned());
        }
        if let Some(prompt) = &self.prompt {
            form = form.text("prompt", prompt.clone());
        }
        // The file comes last: servers that read the form as it comes know by then what to do with it.
        form.part("file", part)
    }

    async fn read_events(&mut self, answer: Answer) -> Result<Heard, EngineError> {
        let (mut text, mut done) = (String::new(), false);
        let (utterance, events, turn) = (self.utterance, &self.events, &mut self.turn);
        answer
            .events(ANSWER_BYTES_MAX, |data| {
                if data == "[DONE]" {
                    return Ok(true);
                }
                match serde_json::from_str(data).map_err(|_| not_understood())? {
                    Piece::Delta { delta } => {
                        text.push_str(&delta);
                        if turn.has_come() {
                            // A partial that finds no room is not missed: the next one has its text too.
                            let _ =
                                events.try_send(RecognitionEvent::Partial { utterance, text: text.trim().to_owned() });
                        }
                        Ok(false)
                    }
                    Piece::Done { text: whole } => {
                        text = whole;
                        done = true;
                        Ok(true)
                    }
                    Piece::Error {} => {
                        Err(EngineError::Failed("the speech service failed in the middle of its answer".into()))
                    }
                    Piece::Other => Ok(false),
                }
            })
            .await?;
        if !done {
            return Err(EngineError::Failed("the speech service's answer ended in the middle".into()));
        }
        Ok(Heard { text: text.trim().to_owned(), language: None, confidence: CONFIDENCE_UNKNOWN })
    }
}

async fn read_json(answer: Answer) -> Result<Heard, EngineError> {
    let transcript: Transcript = answer.json(ANSWER_BYTES_MAX).await?;
    let language = transcript.language.as_deref().and_then(language_tag);
    let segments = transcript.segments.unwrap_or_default();
    let silent = |segment: &Segment| {
        segment.no_speech_prob.is_some_and(|p| p > NO_SPEECH_PROBABILITY)
            && segment.avg_logprob.is_some_and(|p| p < NO_SPEECH_LOG_PROBABILITY)
    };
    if !segments.is_empty() && segments.iter().all(silent) {
        return Ok(Heard { text: String::new(), language, confidence: CONFIDENCE_UNKNOWN });
    }
    let told: Vec<f32> = segments.iter().filter_map(|segment| segment.avg_logprob).filter(|p| p.is_finite()).collect();
    let confidence = match told.len() {
        0 => CONFIDENCE_UNKNOWN,
        count => (told.iter().sum::<f32>() / count as f32).exp().clamp(0.0, 1.0),
    };
    Ok(Heard { text: transcript.text.trim().to_owned(), language, confidence })
}

#[derive(Deserialize)]
struct Transcript {
    text: String,
    language: Option<String>,
    segments: Option<Vec<Segment>>,
}

#[derive(Deserialize)]
struct Segment {
    avg_logprob: Option<f32>,
    no_speech_prob: Option<f32>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Piece {
    #[serde(rename = "transcript.text.delta")]
    Delta { delta: String },
    #[serde(rename = "transcript.text.done")]
    Done { text: String },
    #[serde(rename = "error")]
    Error {},
    #[serde(other)]
    Other,
}

/// The language that a server names by code or, as OpenAI does, by its English name.
fn language_tag(name: &str) -> Option<LanguageTag> {
    let name = name.trim().to_ascii_lowercase();
    let code = crate::translator::LANGUAGES
        .iter()
        .find(|(_, english)| english.eq_ignore_ascii_case(&name))
        .map(|(code, _)| *code);
    code.unwrap_or(&name).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_understood_by_name_and_by_code() {
        for (name, expected) in
            [("english", Some("en")), ("Spanish", Some("es")), ("pt", Some("pt")), ("nonsense words", None), ("", None)]
        {
            assert_eq!(language_tag(name).as_ref().map(LanguageTag::as_str), expected, "{name}");
        }
    }

    #[test]
    fn the_prompt_is_bounded_and_words_come_first() {
        let expectation = Expectation {
            phrases: vec!["good morning".into(); 100],
            words: vec!["Kallglot".into(), "Zaragoza".into()],
            phrases_only: false,
        };
        let prompt = prompt(&expectation).unwrap();
        assert!(prompt.starts_with("Kallglot, Zaragoza, good morning, "));
        assert!(prompt.chars().count() <= PROMPT_CHARS_MAX);
        assert_eq!(super::prompt(&Expectation::default()), None);
    }
}
