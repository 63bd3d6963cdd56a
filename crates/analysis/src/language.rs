//! The languages that can be analysed, and what the analysis itself says in each of them.
//!
//! A language is here when there are stop words, a lexicon of sentiment and a stemmer for it. Everything else is told as unsupported.

use kallglot_core::language::LanguageTag;
use kallglot_core::session::Speaker;
use snowball_stemmers_rs::Algorithm;

/// A language that can be analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// English.
    En,
    /// Spanish.
    Es,
    /// German.
    De,
    /// French.
    Fr,
}

impl Language {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::En, Self::Es, Self::De, Self::Fr];

    /// The language of this tag, whatever its region; none when it can't be analysed.
    pub fn of(tag: &LanguageTag) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.as_str() == tag.primary())
    }

    /// The primary language's subtag.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Es => "es",
            Self::De => "de",
            Self::Fr => "fr",
        }
    }

    pub(crate) const fn stemmer(self) -> Algorithm {
        match self {
            Self::En => Algorithm::English,
            Self::Es => Algorithm::Spanish,
            Self::De => Algorithm::German,
            Self::Fr => Algorithm::French,
        }
    }

    /// Whether an apostrophe ends a word here: `l'addition` is two words, `don't` is one.
    pub(crate) const fn elides(self) -> bool {
        matches!(self, Self::Fr)
    }

    /// What a party is called in a text of this language.
    pub const fn party(self, speaker: Speaker) -> &'static str {
        match (self, speaker) {
            (Self::En, Speaker::Customer) => "Customer",
            (Self::Es, Speaker::Customer) => "Cliente",
            (Self::De, Speaker::Customer) => "Kunde",
            (Self::Fr, Speaker::Customer) => "Client",
            (Self::En | Self::Fr | Self::De, Speaker::Agent) => "Agent",
            (Self::Es, Speaker::Agent) => "Agente",
        }
    }
}
