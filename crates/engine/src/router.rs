//! Which engine interprets which direction: the first one, in the configured order, that offers it.

use std::sync::Arc;

use kallglot_core::language::LanguageTag;

use crate::interpreter::{Engine, EngineError, Offer};

/// The engines of a server in order of preference.
#[derive(Clone, Default)]
pub struct EngineRouter {
    engines: Vec<Arc<dyn Engine>>,
}

/// One direction that an engine offers, as listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The engine's name.
    pub engine: String,
    /// What it offers.
    pub offer: Offer,
}

impl EngineRouter {
    /// These engines, the most wanted first.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self { engines }
    }

    /// The names of all engines, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.engines.iter().map(|engine| engine.name())
    }

    /// Every direction of every engine, in order of preference.
    pub fn list(&self) -> Vec<Listed> {
        self.engines
            .iter()
            .flat_map(|engine| {
                engine.offers().into_iter().map(|offer| Listed { engine: engine.name().to_owned(), offer })
            })
            .collect()
    }

    /// The engine for speech in `source` (none: to be detected) that is translated into `target` (none: only transcribed).
    /// `wanted` names the organization's engine, which is tried alone.
    ///
    /// # Errors
    /// No engine offers it; says which directions there are instead.
    pub fn choose(
        &self,
        wanted: Option<&str>,
        source: Option<&LanguageTag>,
        target: Option<&LanguageTag>,
    ) -> Result<Arc<dyn Engine>, EngineError> {
        let fits = |offer: &Offer| {
            let heard = match (source, &offer.source) {
                (Some(language), Some(offered)) => language.primary() == offered,
                (_, None) => true,
                (None, Some(_)) => true,
            };
            let translated = match (target, &offer.target) {
                (Some(language), Some(offered)) => language.primary() == offered,
                (_, None) | (None, _) => true,
            };
            heard && translated
        };
        self.engines
            .iter()
            .filter(|engine| wanted.is_none_or(|wanted| engine.name() == wanted))
            .filter(|engine| source.is_some() || engine.detects_language())
            .find(|engine| engine.offers().iter().any(fits))
            .cloned()
            .ok_or_else(|| {
                let name = |language: Option<&LanguageTag>, none: &str| language.map_or(none.to_owned(), |l| l.to_string());
                EngineError::Unsupported(format!(
                    "No engine on this server understands {} and translates it into {}. GET /v1/languages lists what it can do.",
                    name(source, "speech in an unnamed language"),
                    name(target, "nothing (transcription)")
                ))
            })
    }
}
