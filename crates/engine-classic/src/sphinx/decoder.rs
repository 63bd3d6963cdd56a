//! One decoder: configuration to options of the library, audio to frames, its words to a hypothesis.
//!
//! What must stay true: `begin`, `push`…, `end` in any order never panic; what belongs to the speaker (the running mean) lasts as long as the
//! decoder; temporary files are gone when `open` returns.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::ffi::{Libraries, RawDecoder};
use super::front::{Cosines, Front, LogMel, Upsampler};
use super::language_model::{grammar, trigrams};
use super::lexicon::{Closed, Open, words_of};
use super::{ACOUSTIC_MODEL, DICTIONARY, DecoderConfig, Hypothesis, LANGUAGE_MODEL, MODEL_PACKAGE, PHRASE_LANGUAGES, SphinxError};

/// Recognises one speaker, utterance by utterance.
pub struct Decoder {
    raw: RawDecoder,
    vocabulary: Vocabulary,
    phrases: Vec<(String, String)>,
    upsampler: Upsampler,
    wide: Vec<i16>,
    open: bool,
    lifted: Option<Lifted>,
}

struct Lifted {
    front: Front,
    cosines: Cosines,
    energies: Vec<LogMel>,
}

enum Vocabulary {
    Closed(Closed),
    Open,
}

impl Decoder {
    /// Makes a decoder. Takes some tenths of a second and about 100 MB with the general English model, less with phrases only.
    ///
    /// # Errors
    /// Names what isn't installed; or what about the configuration can't be.
    pub fn open(config: &DecoderConfig) -> Result<Decoder, SphinxError> {
        let english = config.language == "en";
        if !english && !PHRASE_LANGUAGES.contains(&config.language.as_str()) {
            return Err(SphinxError::Language(config.language.clone()));
        }
        if !Path::new(ACOUSTIC_MODEL).exists() {
            return Err(SphinxError::DataMissing { path: ACOUSTIC_MODEL.into(), package: MODEL_PACKAGE });
        }
        let libraries = Libraries::load()?;
        let folder = tempfile::Builder::new().prefix("kallglot-sphinx-").tempdir()?;
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let model = folder.path().join("model");
        fs::create_dir(&model)?;
        for name in ["mdef", "means", "noisedict", "sendump", "transition_matrices", "variances"] {
            symlink(Path::new(ACOUSTIC_MODEL).join(name), model.join(name))?;
        }
        let parameters = fs::read_to_string(Path::new(ACOUSTIC_MODEL).join("feat.params"))?;
        fs::write(model.join("feat.params"), parameters)?;
        let mut options = vec![("-hmm", file("model"))];
        let closed = !english || config.phrases_only;
        let (raw, vocabulary) = if closed {
            let closed = Closed::new(&config.language, &config.phrases, &config.words)?;
            fs::write(file("words.dict"), &closed.dictionary)?;
            options.push(("-dict", file("words.dict")));
            let mut raw = RawDecoder::new(libraries, &options)?;
            raw.set_grammar(&grammar(&closed.phrases))?;
            (raw, Vocabulary::Closed(closed))
        } else {
            if !Path::new(LANGUAGE_MODEL).exists() {
                return Err(SphinxError::DataMissing { path: LANGUAGE_MODEL.into(), package: MODEL_PACKAGE });
            }
            let open = Open::new(&config.phrases, &config.words)?;
            if open.dictionary.is_empty() {
                options.push(("-dict", DICTIONARY.into()));
            } else {
                fs::write(file("words.dict"), &open.dictionary)?;
                options.push(("-dict", file("words.dict")));
            }
            if config.phrases.is_empty() && config.words.is_empty() {
                options.push(("-lm", LANGUAGE_MODEL.into()));
                (RawDecoder::new(libraries, &options)?, Vocabulary::Open)
            } else {
                fs::write(file("phrases.lm"), trigrams(&open.phrases, &open.words))?;
                let mut raw = RawDecoder::new(libraries, &options)?;
                raw.set_language_models(&[(LANGUAGE_MODEL, 0.5), (&file("phrases.lm"), 0.5)])?;
                (raw, Vocabulary::Open)
            }
        };
        let phrases = config.phrases.iter().map(|phrase| (words_of(phrase).join(" "), phrase.clone())).collect();
        Ok(Decoder { raw, vocabulary, phrases, upsampler: Upsampler::new(), wide: Vec::new(), open: false, lifted: None })
    }

    /// Starts an utterance.
    pub fn begin(&mut self) {
        if self.open {
            self.raw.finish();
        }
        self.upsampler = Upsampler::new();
        self.open = self.raw.start().is_ok();
    }

    /// The utterance's next audio: mono, 8,000 samples a second, pieces of any length (20 ms is good).
    pub fn push(&mut self, pcm_8khz: &[i16]) {
        if !self.open {
            return;
        }
        self.wide.clear();
        self.upsampler.push(pcm_8khz, &mut self.wide);
        match &mut self.lifted {
            None => self.raw.process_audio(&self.wide),
            Some(lifted) => {
                lifted.energies.clear();
                lifted.front.push(&self.wide, &mut lifted.energies);
                let mut frames: Vec<_> = lifted.energies.iter().map(|energies| lifted.cosines.cepstrum(energies)).collect();
                self.raw.process_cepstra(&mut frames);
            }
        }
    }

    /// The best text so far; it may still change. None before anything is recognised.
    pub fn partial(&mut self) -> Option<String> {
        if !self.open {
            return None;
        }
        let text = self.raw.text()?;
        Some(self.spell(&text)).filter(|text| !text.is_empty())
    }

    /// Ends the utterance and says what it was.
    pub fn end(&mut self) -> Hypothesis {
        if !self.open {
            return Hypothesis::default();
        }
        self.open = false;
        self.raw.finish();
        let Some(text) = self.raw.text() else { return Hypothesis::default() };
        let text = self.spell(&text);
        let words = self.raw.words();
        let spoken: Vec<_> = words.iter().filter(|word| !word.text.starts_with(['<', '[', '+'])).collect();
        let confidence = if spoken.is_empty() {
            0.0
        } else {
            spoken.iter().map(|word| word.posterior as f32).sum::<f32>() / spoken.len() as f32
        };
        let phrase = self.phrases.iter().find(|(words, _)| *words == text).map(|(_, phrase)| phrase.clone());
        Hypothesis { text, phrase, confidence }
    }

    fn spell(&self, tokens: &str) -> String {
        let words: Vec<&str> = match &self.vocabulary {
            Vocabulary::Open => tokens.split_whitespace().map(|word| word.split('(').next().unwrap_or(word)).collect(),
            Vocabulary::Closed(closed) => tokens.split_whitespace().filter_map(|token| closed.spelling(token)).collect(),
        };
        words.join(" ")
    }
}
