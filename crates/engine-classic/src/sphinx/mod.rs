//! Speech recognition by Debian's pocketsphinx, in this process: audio of one speaker in, words out.
//!
//! What must stay true: a [`Decoder`] is synchronous and belongs to one worker process (the C library may end the process on a broken
//! model, so it must not be the server's); its libraries are found at run time, and what is missing is an error that names the Debian
//! package; English is recognised freely, other languages only from phrases, since Debian has an acoustic model of English alone.
//!
//! The way of the audio: 8 kHz samples → 16 kHz → mel energies → cepstra, rebuilt as if the telephone had not cut them off
//! at 4 kHz → the library's search. `benches/speech/README.md` says what each step is worth.

mod arpabet;
mod decoder;
mod espeak;
mod ffi;
pub mod front;
mod language_model;
mod lexicon;
pub mod mean;
pub mod widen;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;

use std::path::Path;

/// Debian's package of the English models.
const MODEL_PACKAGE: &str = "pocketsphinx-en-us";
/// The acoustic model's folder.
const ACOUSTIC_MODEL: &str = "/usr/share/pocketsphinx/model/en-us/en-us";
/// How English words sound.
const DICTIONARY: &str = "/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict";
/// How English sentences go.
const LANGUAGE_MODEL: &str = "/usr/share/pocketsphinx/model/en-us/en-us.lm.bin";

/// What a decoder is made for.
#[derive(Debug, Clone, Default)]
pub struct DecoderConfig {
    /// Primary language: `en`, or with phrases `es`, `fr`, `it`.
    pub language: String,
    /// Phrases to expect, in their own spelling.
    pub phrases: Vec<String>,
    /// Single words to expect, such as names.
    pub words: Vec<String>,
    /// Whether only `phrases` will be said. Languages other than English know nothing but `phrases` and `words` in any case.
    pub phrases_only: bool,
    /// What is done about 8 kHz audio.
    pub fixes: Fixes,
}

/// What is done about audio that ends at 4 kHz, when the model wants 6.8 kHz. `None` is what measures best for the kind of vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fixes {
    /// Start from the cepstral mean of telephone audio, rather than of the model's own wide-band audio. Only without `widen`, which has
    /// means of its own.
    pub mean: Option<bool>,
    /// Rebuild the missing upper band's effect on the cepstra with a small network.
    pub widen: Option<bool>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hypothesis {
    /// Lower-case words; empty when nothing was recognised.
    pub text: String,
    /// The listed phrase that `text` equals, as it was listed.
    pub phrase: Option<String>,
    /// How likely a word of it is right, 0 to 1.
    pub confidence: f32,
}

/// Why a decoder can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SphinxError {
    /// A library isn't installed.
    #[error("{file} is not installed: apt-get install {package}")]
    LibraryMissing {
        /// The library's file name.
        file: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// A library of another version.
    #[error("{file} lacks the function {symbol}: it is not Debian 12's")]
    LibraryTooDifferent {
        /// The library's file name.
        file: &'static str,
        /// What it lacks.
        symbol: &'static str,
    },
    /// A model or voice isn't installed.
    #[error("{path} is not there: apt-get install {package}")]
    DataMissing {
        /// What is missing.
        path: String,
        /// Debian's package.
        package: &'static str,
    },
    /// A language that no vocabulary makes possible.
    #[error("speech in `{0}` can't be recognised here")]
    Language(String),
    /// A language that is only recognised from phrases, or `phrases_only`, without any phrase or word that can be spoken.
    #[error("this language needs a list of phrases")]
    NothingToRecognise,
    /// Temporary files could not be written.
    #[error("a temporary file could not be written: {0}")]
    Temporary(#[from] std::io::Error),
    /// The C library refused something.
    #[error("pocketsphinx: {0}")]
    Decoder(&'static str),
}

/// Languages that are recognised from phrases only.
const PHRASE_LANGUAGES: [&str; 3] = ["es", "fr", "it"];

/// The languages that this machine can recognise now, each with whether speech is free (true) or must come from phrases (false).
pub fn available() -> Vec<(String, bool)> {
    let models = [ACOUSTIC_MODEL, DICTIONARY].iter().all(|path| Path::new(path).exists());
    if !models || ffi::Libraries::load().is_err() {
        return Vec::new();
    }
    let mut languages = Vec::new();
    if Path::new(LANGUAGE_MODEL).exists() {
        languages.push(("en".to_owned(), true));
    }
    for language in PHRASE_LANGUAGES {
        if lexicon::can_speak(language) {
            languages.push((language.to_owned(), false));
        }
    }
    languages
}
