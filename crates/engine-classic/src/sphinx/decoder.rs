//! One decoder: configuration to options of the library, audio to frames, its words to a hypothesis.
//!
//! What must stay true: `begin`, `push`…, `end` in any order never panic; what belongs to the speaker (the running mean) lasts as long as the
//! decoder; temporary files are gone when `open` returns.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use super::ffi::{Libraries, RawDecoder, Word};
use super::front::{Front, LogMel, Upsampler};
use super::language_model::{grammar, trigrams};
use super::lexicon::{Closed, Open, words_of};
use super::widen::{Network, Widener};
use super::{
    ACOUSTIC_MODEL, DICTIONARY, DecoderConfig, Hypothesis, LANGUAGE_MODEL, MODEL_PACKAGE, PHRASE_LANGUAGES, SphinxError,
};

/// The network's weights, made by `benches/speech`.
const WEIGHTS: &[u8] = include_bytes!("../../data/widen.bin");
/// Cepstral mean of telephone speech, for when the network isn't used: of the French, Italian and Russian recordings.
const TELEPHONE_MEAN: &str = include_str!("../../data/telephone-mean.txt");

/// Share of the probability that listed phrases and words get beside general English.
const PHRASES_SHARE: f32 = 0.5;

/// Mean distance of a frame from the best sound, in the library's units, at which a listed phrase is as likely wrong as right. Of English
/// prompts that were listed nearly all lie below 30, those that were not between 34 and 67 (unless they differ from a listed one
/// in a word); Spanish ones, listed, below 45.
const DOUBTFUL_ENGLISH: f64 = 40.0;
const DOUBTFUL_FOREIGN: f64 = 50.0;
/// By how much more an answer is doubted that stops within a phrase.
const UNFINISHED: f64 = 8.0;
const DOUBT_WIDTH: f64 = 4.0;

/// Recognises one speaker, utterance by utterance.
pub struct Decoder {
    raw: RawDecoder,
    vocabulary: Vocabulary,
    english: bool,
    /// Phrases as listed, by their plain words.
    phrases: HashMap<String, String>,
    upsampler: Upsampler,
    /// None when the library's own front end is used.
    front: Option<(Front, Widener)>,
    /// Whether an utterance is under way.
    speaking: bool,
    // Reused from piece to piece.
    wide: Vec<i16>,
    energies: Vec<LogMel>,
}

enum Vocabulary {
    Closed(Closed),
    Open,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Decoder").field("speaking", &self.speaking).finish_non_exhaustive()
    }
}

impl Decoder {
    /// Makes a decoder. Takes some tenths of a second and about 110 MB with the general English model, half of that with phrases only.
    ///
    /// # Errors
    /// Names what isn't installed, or what about the configuration can't be.
    pub fn open(config: &DecoderConfig) -> Result<Decoder, SphinxError> {
        let english = config.language == "en";
        if !english && !PHRASE_LANGUAGES.contains(&config.language.as_str()) {
            return Err(SphinxError::Language(config.language.clone()));
        }
        let libraries = Libraries::load()?;
        let folder = tempfile::Builder::new().prefix("kallglot-sphinx-").tempdir()?;
        let widen = config.fixes.widen.unwrap_or(true);
        let mut options = vec![("-hmm", model(folder.path(), widen, config.fixes.mean.unwrap_or(true))?)];
        let (raw, vocabulary) = if english && !config.phrases_only {
            open_vocabulary(libraries, config, folder.path(), &mut options)?
        } else {
            closed_vocabulary(libraries, config, folder.path(), &mut options)?
        };
        let front = match widen {
            true => Some((Front::new(), Widener::new(Network::from_bytes(WEIGHTS)?))),
            false => None,
        };
        let phrases = config.phrases.iter().map(|phrase| (words_of(phrase).join(" "), phrase.clone())).collect();
        Ok(Decoder {
            raw,
            vocabulary,
            english,
            phrases,
            upsampler: Upsampler::new(),
            front,
            speaking: false,
            wide: Vec::new(),
            energies: Vec::new(),
        })
    }

    /// Starts an utterance. One that is under way is given up.
    pub fn begin(&mut self) {
        if self.speaking {
            self.raw.finish();
        }
        self.upsampler = Upsampler::new();
        if let Some((front, widener)) = &mut self.front {
            front.reset();
            widener.begin();
        }
        self.speaking = self.raw.start().is_ok();
    }

    /// The utterance's next audio: mono, 8,000 samples a second, pieces of any length (20 ms is good). Ignored outside an utterance.
    pub fn push(&mut self, pcm_8khz: &[i16]) {
        if !self.speaking {
            return;
        }
        self.wide.clear();
        self.upsampler.push(pcm_8khz, &mut self.wide);
        let Some((front, widener)) = &mut self.front else {
            self.raw.process_audio(&self.wide);
            return;
        };
        self.energies.clear();
        front.push(&self.wide, &mut self.energies);
        let mut frames: Vec<_> = self.energies.iter().filter_map(|energies| widener.push(energies)).collect();
        self.raw.process_cepstra(&mut frames);
    }

    /// The best text so far; it may still change. None before anything is recognised.
    pub fn partial(&mut self) -> Option<String> {
        if !self.speaking {
            return None;
        }
        let text = self.raw.text()?;
        Some(self.spell(&text)).filter(|text| !text.is_empty())
    }

    /// Ends the utterance and says what it was; nothing when none is under way.
    pub fn end(&mut self) -> Hypothesis {
        if !self.speaking {
            return Hypothesis::default();
        }
        self.speaking = false;
        if let Some((_, widener)) = &mut self.front {
            self.raw.process_cepstra(&mut widener.finish());
        }
        // A grammar has no answer when the speaker stopped within a phrase; what there was by then is better than nothing.
        let unfinished = match self.vocabulary {
            Vocabulary::Closed(_) => (self.raw.text(), self.raw.words()),
            Vocabulary::Open => (None, Vec::new()),
        };
        self.raw.finish();
        let (tokens, words, doubt) = match self.raw.text() {
            Some(tokens) => (tokens, self.raw.words(), 0.0),
            None => (unfinished.0.unwrap_or_default(), unfinished.1, UNFINISHED),
        };
        let text = self.spell(&tokens);
        let confidence = self.confidence(&words, doubt);
        if text.is_empty() || confidence < self.confidence_min() {
            return Hypothesis::default();
        }
        Hypothesis { phrase: self.phrases.get(&text).cloned(), confidence, text }
    }

    /// How likely a word is right, from how well its sounds fit, or how sure the search was of it.
    fn confidence(&self, words: &[Word], doubt: f64) -> f32 {
        let spoken: Vec<_> = words.iter().filter(|word| !word.text.starts_with(['<', '[', '+'])).collect();
        let frames: i32 = spoken.iter().map(|word| word.frames.1 - word.frames.0 + 1).sum();
        if frames <= 0 {
            return 0.0;
        }
        match &self.vocabulary {
            Vocabulary::Closed(_) => {
                // The library's score of a frame is how far it is from the best sound of all; this is its mean over the words.
                let distance = -spoken.iter().map(|word| f64::from(word.acoustic)).sum::<f64>() / f64::from(frames);
                let doubtful = if self.english { DOUBTFUL_ENGLISH } else { DOUBTFUL_FOREIGN };
                (1.0 / (1.0 + ((distance + doubt - doubtful) / DOUBT_WIDTH).exp())) as f32
            }
            Vocabulary::Open => spoken.iter().map(|word| word.posterior as f32).sum::<f32>() / spoken.len() as f32,
        }
    }

    /// Below this, noise or other words than the listed ones were heard. General English takes whatever it hears.
    fn confidence_min(&self) -> f32 {
        match self.vocabulary {
            Vocabulary::Closed(_) => 0.5,
            Vocabulary::Open => 0.0,
        }
    }

    fn spell(&self, tokens: &str) -> String {
        let words: Vec<&str> = match &self.vocabulary {
            Vocabulary::Open => tokens.split_whitespace().map(|word| word.split('(').next().unwrap_or(word)).collect(),
            Vocabulary::Closed(closed) => {
                tokens.split_whitespace().filter_map(|token| closed.spelling(token)).collect()
            }
        };
        words.join(" ")
    }
}

type Options = Vec<(&'static str, String)>;

/// Text of a path in `folder`.
fn file(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

/// Makes a folder like the installed acoustic model's, but for the feature parameters, which no option overrides.
fn model(folder: &Path, widen: bool, telephone_mean: bool) -> Result<String, SphinxError> {
    let installed = Path::new(ACOUSTIC_MODEL);
    let parameters = fs::read_to_string(installed.join("feat.params"))
        .map_err(|_| SphinxError::DataMissing { path: ACOUSTIC_MODEL.into(), package: MODEL_PACKAGE })?;
    let model = folder.join("model");
    fs::create_dir(&model)?;
    for name in ["mdef", "means", "noisedict", "sendump", "transition_matrices", "variances"] {
        symlink(installed.join(name), model.join(name))?;
    }
    let mut changed = String::new();
    for line in parameters.lines() {
        match line.split_whitespace().next() {
            // The network's cepstra come without their mean.
            Some("-cmn") if widen => changed.push_str("-cmn none\n"),
            Some("-cmninit") if telephone_mean => changed.push_str(&format!("-cmninit {}\n", TELEPHONE_MEAN.trim())),
            _ => changed.push_str(&format!("{line}\n")),
        }
    }
    fs::write(model.join("feat.params"), changed)?;
    Ok(model.to_string_lossy().into_owned())
}

/// Only what is listed can be heard.
fn closed_vocabulary(
    libraries: Arc<Libraries>,
    config: &DecoderConfig,
    folder: &Path,
    options: &mut Options,
) -> Result<(RawDecoder, Vocabulary), SphinxError> {
    let closed = Closed::new(&config.language, &config.phrases, &config.words)?;
    fs::write(file(folder, "words.dict"), &closed.dictionary)?;
    options.push(("-dict", file(folder, "words.dict")));
    // A grammar is cheap to search, and only with wide beams does a long phrase in a foreign accent survive to its end.
    for (option, value) in [("-beam", "1e-80"), ("-pbeam", "1e-80"), ("-wbeam", "1e-60")] {
        options.push((option, value.into()));
    }
    let singles = closed.words.iter().map(|word| vec![word.clone()]);
    let phrases: Vec<_> = closed.phrases.iter().cloned().chain(singles).collect();
    fs::write(file(folder, "phrases.fsg"), grammar(&phrases, |token| closed.pronunciations(token)))?;
    options.push(("-fsg", file(folder, "phrases.fsg")));
    options.push(("-fsgusealtpron", "no".into()));
    let raw = RawDecoder::new(libraries, options)?;
    Ok((raw, Vocabulary::Closed(closed)))
}

/// General English, with what is listed made likelier.
fn open_vocabulary(
    libraries: Arc<Libraries>,
    config: &DecoderConfig,
    folder: &Path,
    options: &mut Options,
) -> Result<(RawDecoder, Vocabulary), SphinxError> {
    if !Path::new(LANGUAGE_MODEL).exists() {
        return Err(SphinxError::DataMissing { path: LANGUAGE_MODEL.into(), package: MODEL_PACKAGE });
    }
    let open = Open::new(&config.phrases, &config.words)?;
    if open.dictionary.is_empty() {
        options.push(("-dict", DICTIONARY.into()));
    } else {
        fs::write(file(folder, "words.dict"), &open.dictionary)?;
        options.push(("-dict", file(folder, "words.dict")));
    }
    // The second pass over the whole utterance costs most of the time after its end, and makes more errors than it mends.
    for (option, value) in [("-fwdflat", "no"), ("-lw", "8")] {
        options.push((option, value.into()));
    }
    let listed = open.words.len() + open.phrases.iter().map(Vec::len).sum::<usize>() > 0;
    if !listed {
        options.push(("-lm", LANGUAGE_MODEL.into()));
        return Ok((RawDecoder::new(libraries, options)?, Vocabulary::Open));
    }
    let phrases = file(folder, "phrases.lm");
    fs::write(&phrases, trigrams(&open.phrases, &open.words))?;
    let mut raw = RawDecoder::new(libraries, options)?;
    raw.set_language_models(&[(LANGUAGE_MODEL, 1.0 - PHRASES_SHARE), (&phrases, PHRASES_SHARE)])?;
    Ok((raw, Vocabulary::Open))
}
