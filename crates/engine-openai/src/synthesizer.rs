//! Speech by `audio/speech`, given on as it comes.
//!
//! Raw PCM is asked for, because it can be played from its first byte; a server that has none is asked for a WAV file. What must stay
//! true: nothing but audio is ever played (a page, an error or an MP3 is a failure, not noise); a listener who leaves ends the
//! request; neither an endless answer nor one that never comes holds anything for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use kallglot_audio::resample::Resampler;
use kallglot_audio::wav::{self, Channel};
use kallglot_audio::{SAMPLE_RATE_HZ, SAMPLES_PER_MS};
use kallglot_core::language::LanguageTag;
use kallglot_engine::{EngineError, SpeechChunks, Synthesizer};
use serde_json::json;
use tokio::sync::mpsc;

use crate::config::OpenAiConfig;
use crate::http::{Answer, Failure, Http, not_understood};

/// Chunks that may wait for the listener.
const CHUNKS_MAX: usize = 16;
/// Most samples of a chunk: 100 ms.
const CHUNK_SAMPLES_MAX: usize = 100 * SAMPLES_PER_MS;

/// Types of answers that are, or may be, PCM or a WAV file.
const PCM_TYPES: [&str; 11] = [
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "audio/pcm",
    "audio/x-pcm",
    "audio/l16",
    "audio/raw",
    "audio/wav",
    "audio/x-wav",
    "audio/wave",
    "audio/vnd.wave",
];
/// How answers begin that are neither, whatever their type says: MP3, Ogg, FLAC, pages, errors.
const OTHER_BEGINNINGS: [&[u8]; 6] = [b"ID3", b"OggS", b"fLaC", b"<htm", b"<!DO", b"{\"er"];

/// Asks a server for speech.
#[derive(Debug)]
pub struct OpenAiSynthesizer {
    http: Arc<Http>,
    model: String,
    voice: String,
    rate_hz: u32,
    languages: Vec<Option<String>>,
    /// Whether the server has raw PCM.
    has_pcm: AtomicBool,
}

impl OpenAiSynthesizer {
    pub(crate) fn new(config: &OpenAiConfig, http: &Arc<Http>) -> Option<Self> {
        Some(Self {
            http: Arc::clone(http),
            model: config.speech_model.clone()?,
            voice: config.voice.clone(),
            rate_hz: config.speech_rate_hz,
            languages: config.offered_languages(),
            has_pcm: AtomicBool::new(true),
        })
    }

    /// Asks for PCM before WAV, and for the voice wanted before the usual one.
    async fn ask(&self, text: &str, voice: Option<&str>) -> Result<Answer, EngineError> {
        let deadline = self.http.deadline();
        let usual = self.voice.as_str();
        let wanted = voice.filter(|voice| *voice != usual);
        let has_pcm = self.has_pcm.load(Ordering::Relaxed);
        let formats: &[&str] = if has_pcm { &["pcm", "wav"] } else { &["wav"] };
        let mut last: Option<Failure> = None;
        for format in formats {
            for voice in wanted.into_iter().chain([usual]) {
                let body = json!({"model": self.model, "input": text, "voice": voice, "response_format": format});
                match self.http.post("audio/speech", deadline, |request| request.json(&body)).await {
                    Ok(answer) => {
                        if has_pcm && *format == "wav" {
                            self.has_pcm.store(false, Ordering::Relaxed);
                        }
                        return Ok(answer);
                    }
                    Err(failure) if failure.disliked => last = Some(failure),
                    Err(failure) => return Err(failure.error),
                }
            }
        }
        Err(last.map_or_else(not_understood, |failure| failure.error))
    }
}

#[async_trait]
impl Synthesizer for OpenAiSynthesizer {
    fn languages(&self) -> Vec<Option<String>> {
        self.languages.clone()
    }

    async fn synthesize(
        &self,
        text: &str,
        _language: &LanguageTag,
        voice: Option<&str>,
    ) -> Result<SpeechChunks, EngineError> {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let text = text.trim();
        if text.is_empty() {
            return Ok(chunks);
        }
        if text.chars().count() > self.http.limits.text_chars_max {
            return Err(EngineError::Failed("the text is too long to be spoken at once".into()));
        }
        let answer = self.ask(text, voice).await?;
        let rate_hz = pcm_rate_hz(&answer.content_type(), self.rate_hz)?;
        let samples_max = self.http.limits.speech_max_ms as usize * SAMPLES_PER_MS;
        tokio::spawn(async move {
            let speech = Speech { chunks: sender.clone(), samples_left: samples_max };
            let read = async {
                if let Err(error) = speech.read(answer, rate_hz).await {
                    let _ = sender.send(Err(error)).await;
                }
            };
            tokio::select! {
                () = read => {}
                () = sender.closed() => {}
            }
        });
        Ok(chunks)
    }
}

/// The rate of the PCM that an answer of this type holds (unless it begins as a WAV file does).
fn pcm_rate_hz(content_type: &str, usual_rate_hz: u32) -> Result<u32, EngineError> {
    let mut parameters = content_type.split(';').map(str::trim);
    let media_type = parameters.next().unwrap_or_default();
    let stated = parameters.find_map(|parameter| parameter.strip_prefix("rate=")?.parse().ok());
    if PCM_TYPES.contains(&media_type) { Ok(stated.unwrap_or(usual_rate_hz)) } else { Err(no_audio()) }
}

/// An answer on its way to the listener.
struct Speech {
    chunks: mpsc::Sender<Result<Vec<i16>, EngineError>>,
    samples_left: usize,
}

impl Speech {
    async fn read(mut self, answer: Answer, rate_hz: u32) -> Result<(), EngineError> {
        let mut answer = answer.without_deadline();
        let mut bytes: Vec<u8> = Vec::new();
        // As many bytes as tell a WAV file (or the most usual other one) from PCM.
        while bytes.len() < 4 {
            let Some(part) = answer.part().await? else { break };
            bytes.extend_from_slice(&part);
        }
        if bytes.is_empty() {
            return Err(EngineError::Failed("the speech service answered no audio".into()));
        }
        if OTHER_BEGINNINGS.iter().any(|start| bytes.starts_with(start)) {
            return Err(no_audio());
        }
        if bytes.starts_with(b"RIFF") {
            return self.read_wav(answer, bytes).await;
        }
        let mut resampler =
            Resampler::new(rate_hz, SAMPLE_RATE_HZ).map_err(|error| EngineError::Failed(error.to_string()))?;
        let (mut samples, mut converted) = (Vec::new(), Vec::new());
        loop {
            let (pairs, rest) = bytes.as_chunks::<2>();
            samples.clear();
            samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
            bytes = rest.to_vec();
            resampler.process(&samples, &mut converted);
            self.give(&mut converted).await?;
            match answer.part().await? {
                Some(part) => bytes.extend_from_slice(&part),
                None => break,
            }
        }
        resampler.flush(&mut converted);
        self.give(&mut converted).await
    }

    async fn read_wav(&mut self, mut answer: Answer, mut bytes: Vec<u8>) -> Result<(), EngineError> {
        // Stereo at 48 kHz and 16 bits is the most that is plausible.
        let bytes_max = self.samples_left / SAMPLES_PER_MS * 192 + 4_096;
        while let Some(part) = answer.part().await? {
            bytes.extend_from_slice(&part);
            if bytes.len() > bytes_max {
                return Err(too_long());
            }
        }
        let mut samples = wav::read(&bytes, Channel::Mix)
            .map_err(|_| EngineError::Failed("the speech service answered a WAV file that can't be read".into()))?;
        self.give(&mut samples).await
    }

    /// Gives on what is there, and leaves `samples` empty.
    async fn give(&mut self, samples: &mut Vec<i16>) -> Result<(), EngineError> {
        for chunk in samples.chunks(CHUNK_SAMPLES_MAX) {
            if chunk.len() > self.samples_left {
                return Err(too_long());
            }
            self.samples_left -= chunk.len();
            if self.chunks.send(Ok(chunk.to_vec())).await.is_err() {
                break;
            }
        }
        samples.clear();
        Ok(())
    }
}

fn no_audio() -> EngineError {
    EngineError::Failed("the speech service answered something else than PCM or WAV; check the speech model".into())
}

fn too_long() -> EngineError {
    EngineError::Failed("the speech service speaks for far too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_told_from_other_answers() {
        assert_eq!(pcm_rate_hz("audio/pcm", 24_000), Ok(24_000));
        assert_eq!(pcm_rate_hz("audio/pcm;codec=s16le; rate=16000", 24_000), Ok(16_000));
        assert_eq!(pcm_rate_hz("", 22_050), Ok(22_050));
        for other in ["audio/mpeg", "text/html; charset=utf-8", "application/json"] {
            assert!(pcm_rate_hz(other, 24_000).is_err(), "{other}");
        }
    }
}
