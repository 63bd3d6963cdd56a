//! What is configured about a server, and the check of it.

use std::fmt;

use url::Url;

/// A key. It can be sent; it can't be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Bounds on what is asked of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest that connecting may take, in ms.
    pub connect_ms: u64,
    /// Longest wait for the beginning of an answer, and then between two parts of it, in ms.
    pub first_byte_ms: u64,
    /// Longest that one utterance may take in one part, all attempts and waits included, in ms.
    pub total_ms: u64,
    /// Attempts for one request, 1 to 10.
    pub attempts_max: u32,
    /// The wait before the second attempt, in ms; doubled for each further one. The wait really made is drawn between half of it
    /// and all of it.
    pub backoff_ms: u64,
    /// Greatest such wait, in ms.
    pub backoff_max_ms: u64,
    /// Requests at a time, all calls together, 1 to 10,000.
    pub requests_max: usize,
    /// Utterances of one direction of one call that may be on their way at a time, 1 to 64.
    pub utterances_max: usize,
    /// Longest utterance that is sent, in ms of audio, up to 10 minutes.
    pub utterance_max_ms: u64,
    /// Longest text that is translated or spoken, in characters, up to 20,000.
    pub text_chars_max: usize,
    /// Longest speech that is taken for one text, in ms of audio, up to 30 minutes.
    pub speech_max_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_ms: 2_000,
            first_byte_ms: 8_000,
            total_ms: 20_000,
            attempts_max: 3,
            backoff_ms: 250,
            backoff_max_ms: 4_000,
            requests_max: 64,
            utterances_max: 8,
            utterance_max_ms: 60_000,
            text_chars_max: 4_000,
            speech_max_ms: 180_000,
        }
    }
}

/// A server and what it is used for. A part whose model is none is not used.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAiConfig {
    /// Where its API begins, e.g. `https://api.openai.com/v1`.
    pub base_url: String,
    /// The key sent as bearer token; none for servers that want none.
    pub api_key: Option<Secret>,
    /// Model of `audio/transcriptions`, e.g. `whisper-1` or `gpt-4o-transcribe`.
    pub transcription_model: Option<String>,
    /// Whether to ask for the transcript in pieces; a server that does not do that is asked for the whole.
    pub transcription_stream: bool,
    /// Rate of the audio that is sent: 8,000 or 16,000 Hz. Calls have 8,000; a few servers accept only 16,000.
    pub transcription_rate_hz: u32,
    /// Model of `chat/completions`.
    pub translation_model: Option<String>,
    /// Model of `chat/completions` that writes about whole calls.
    pub summary_model: Option<String>,
    /// Model of `audio/speech`.
    pub speech_model: Option<String>,
    /// Voice, where a session asks for none or for one that the server does not know.
    pub voice: String,
    /// Rate of the server's raw PCM, in Hz: 24,000 in OpenAI's API. A rate that the answer's type states comes first.
    pub speech_rate_hz: u32,
    /// Primary languages (`en`) that the parts are used for; empty for any.
    pub languages: Vec<String>,
    /// Bounds.
    pub limits: Limits,
}

impl OpenAiConfig {
    /// A configuration of the server at `base_url` without key or models.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            transcription_model: None,
            transcription_stream: false,
            transcription_rate_hz: 16_000,
            translation_model: None,
            summary_model: None,
            speech_model: None,
            voice: "alloy".into(),
            speech_rate_hz: 24_000,
            languages: Vec::new(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn checked(mut self) -> Result<Self, InvalidConfig> {
        let url =
            Url::parse(&self.base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let wrong = |key, allowed| Err(InvalidConfig { key, allowed });
        let Some(url) = url else { return wrong("base_url", "an http or https URL such as https://api.openai.com/v1") };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return wrong("base_url", "a URL without user name, password, query and fragment");
        }
        self.base_url = url.as_str().trim_end_matches('/').to_owned();
        if self
            .api_key
            .as_ref()
            .is_some_and(|key| key.reveal().is_empty() || !key.reveal().bytes().all(|b| b.is_ascii_graphic()))
        {
            return wrong("api_key", "printable ASCII characters without spaces, or no key at all");
        }
        for (key, model) in [
            ("transcription_model", &self.transcription_model),
            ("translation_model", &self.translation_model),
            ("summary_model", &self.summary_model),
            ("speech_model", &self.speech_model),
        ] {
            if model.as_ref().is_some_and(|model| model.trim().is_empty()) {
                return wrong(key, "a model's name, or none at all");
            }
        }
        if !matches!(self.transcription_rate_hz, 8_000 | 16_000) {
            return wrong("transcription_rate_hz", "8000 or 16000");
        }
        if !kallglot_audio::resample::RATE_HZ.contains(&self.speech_rate_hz) {
            return wrong("speech_rate_hz", "1000 to 384000");
        }
        let limits = &self.limits;
        for (key, value, least, greatest, allowed) in [
            ("connect_ms", limits.connect_ms, 1, 600_000, "1 to 600000"),
            ("first_byte_ms", limits.first_byte_ms, 1, 600_000, "1 to 600000"),
            ("total_ms", limits.total_ms, 1, 600_000, "1 to 600000"),
            ("attempts_max", u64::from(limits.attempts_max), 1, 10, "1 to 10"),
            ("backoff_ms", limits.backoff_ms, 0, 60_000, "0 to 60000"),
            ("backoff_max_ms", limits.backoff_max_ms, 0, 600_000, "0 to 600000"),
            ("requests_max", limits.requests_max as u64, 1, 10_000, "1 to 10000"),
            ("utterances_max", limits.utterances_max as u64, 1, 64, "1 to 64"),
            ("utterance_max_ms", limits.utterance_max_ms, 100, 600_000, "100 to 600000"),
            ("text_chars_max", limits.text_chars_max as u64, 1, 20_000, "1 to 20000"),
            ("speech_max_ms", limits.speech_max_ms, 100, 1_800_000, "100 to 1800000"),
        ] {
            if !(least..=greatest).contains(&value) {
                return wrong(key, allowed);
            }
        }
        Ok(self)
    }

    /// The languages as the parts' traits want them: none stands for any.
    pub(crate) fn offered_languages(&self) -> Vec<Option<String>> {
        if self.languages.is_empty() { vec![None] } else { self.languages.iter().cloned().map(Some).collect() }
    }
}

/// A value that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` of the OpenAI-compatible engine is wrong; allowed: {allowed}")]
pub struct InvalidConfig {
    /// Its name.
    pub key: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_end_in_a_slash() {
        let config = OpenAiConfig::new("http://localhost:9000/v1/").checked().unwrap();
        assert_eq!(config.base_url, "http://localhost:9000/v1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut OpenAiConfig);
        let changes: [(&str, Change); 9] = [
            ("base_url", |c| c.base_url = "localhost/v1".into()),
            ("base_url", |c| c.base_url = "ftp://localhost/v1".into()),
            ("base_url", |c| c.base_url = "http://me:secret@localhost/v1".into()),
            ("api_key", |c| c.api_key = Some(Secret::new("two words"))),
            ("translation_model", |c| c.translation_model = Some(" ".into())),
            ("transcription_rate_hz", |c| c.transcription_rate_hz = 44_100),
            ("speech_rate_hz", |c| c.speech_rate_hz = 0),
            ("attempts_max", |c| c.limits.attempts_max = 0),
            ("requests_max", |c| c.limits.requests_max = 0),
        ];
        for (key, change) in changes {
            let mut config = OpenAiConfig::new("http://localhost/v1");
            change(&mut config);
            let error = config.checked().unwrap_err();
            assert_eq!(error.key, key);
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let config =
            OpenAiConfig { api_key: Some(Secret::new("sk-hidden")), ..OpenAiConfig::new("http://localhost/v1") };
        assert!(!format!("{config:?}").contains("hidden"));
    }
}
