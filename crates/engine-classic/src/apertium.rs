//! Translation by Apertium: one supervised pipeline of its programs per pair, shared by all calls.
//!
//! What must stay true: as many translations come out as texts go in, each for its own text, whatever the texts hold; a pipeline
//! that hangs or dies costs the text it was at, and the next text gets a new one.

mod modes;
mod pipeline;
mod stream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::language::LanguageTag;
use kallglot_engine::{EngineError, Translator};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::text::{self, phrasebook};
use modes::{Mode, Modes};
use pipeline::PipelineHandle;

/// Where Debian's packages put the pairs.
pub(crate) const MODES_DIR: &str = "/usr/share/apertium/modes";
/// Longest text that is translated. A minute of speech has about a thousand characters.
const TEXT_CHARS_MAX: usize = 10_000;
/// Longest text that goes through a pipeline at once.
const PIECE_BYTES_MAX: usize = 2_000;

/// How translation is set up.
#[derive(Debug, Clone)]
pub struct ApertiumConfig {
    /// The folder of `.mode` files; `/usr/share/apertium/modes` unless told otherwise.
    pub modes_dir: PathBuf,
    /// How long one text may take in its pipeline. Default 2 s.
    pub timeout: Duration,
    /// After how long without a text a pair's processes (about 100 MB) are ended. Default 10 minutes.
    pub idle: Duration,
    /// How many texts may wait for one pair. Default 64.
    pub queue_texts_max: usize,
}

impl Default for ApertiumConfig {
    fn default() -> Self {
        Self {
            modes_dir: MODES_DIR.into(),
            timeout: Duration::from_secs(2),
            idle: Duration::from_secs(600),
            queue_texts_max: 64,
        }
    }
}

/// The translator.
#[derive(Debug)]
pub struct Apertium {
    config: ApertiumConfig,
    modes: Mutex<Modes>,
    /// By the mode's name; at most one entry per installed mode.
    pipelines: Mutex<HashMap<String, PipelineHandle>>,
    alive: CancellationToken,
    _ends_pipelines: DropGuard,
}

impl Apertium {
    /// Reads which pairs are installed; starts nothing yet.
    pub fn new(config: ApertiumConfig) -> Self {
        let modes = Modes::read(&config.modes_dir);
        let alive = CancellationToken::new();
        let ends_pipelines = alive.clone().drop_guard();
        Self { config, modes: Mutex::new(modes), pipelines: Mutex::default(), alive, _ends_pipelines: ends_pipelines }
    }

    /// The modes to go through from one language to the other, one or two.
    fn route(&self, from: &LanguageTag, to: &LanguageTag) -> Result<Vec<Arc<Mode>>, EngineError> {
        let mut modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        modes.refresh();
        modes.route(from, to).ok_or_else(|| {
            EngineError::Unsupported(format!(
                "translation from {} to {} is not installed",
                from.primary(),
                to.primary()
            ))
        })
    }

    fn pipeline(&self, mode: &Arc<Mode>) -> PipelineHandle {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines
            .entry(mode.name.clone())
            .or_insert_with(|| PipelineHandle::start(Arc::clone(mode), &self.config, self.alive.clone()))
            .clone()
    }

    /// One sentence or a few, through every pipeline of the route.
    async fn through(&self, route: &[Arc<Mode>], sentences: &str) -> Result<String, EngineError> {
        let mut translated = sentences.to_owned();
        for mode in route {
            let translation = self.pipeline(mode).translate(&translated).await?;
            translated = text::polish::polish(&translated, &translation, &mode.from, &mode.to);
        }
        Ok(translated)
    }
}

#[async_trait]
impl Translator for Apertium {
    fn pairs(&self) -> Vec<(Option<String>, Option<String>)> {
        let mut modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        modes.refresh();
        modes.pairs().into_iter().map(|(from, to)| (Some(from), Some(to))).collect()
    }

    async fn translate(&self, text: &str, from: &LanguageTag, to: &LanguageTag) -> Result<String, EngineError> {
        if from.primary() == to.primary() {
            return Ok(text.trim().to_owned());
        }
        if text.chars().nth(TEXT_CHARS_MAX).is_some() {
            return Err(EngineError::Failed(format!(
                "a text of more than {TEXT_CHARS_MAX} characters is not translated"
            )));
        }
        let route = self.route(from, to)?;
        let mut translated: Vec<String> = Vec::new();
        let mut piece = String::new();
        let sentences = text::sentences(text).into_iter();
        for sentence in sentences.flat_map(|sentence| phrasebook::split(sentence, from.primary(), to.primary())) {
            let known = phrasebook::translate(sentence, from.primary(), to.primary());
            if (known.is_some() || piece.len() + sentence.len() > PIECE_BYTES_MAX) && !piece.is_empty() {
                translated.push(self.through(&route, &std::mem::take(&mut piece)).await?);
            }
            match known {
                None => {
                    for part in text::pieces(sentence, PIECE_BYTES_MAX) {
                        if piece.len() + part.len() > PIECE_BYTES_MAX {
                            translated.push(self.through(&route, &std::mem::take(&mut piece)).await?);
                        }
                        if !piece.is_empty() {
                            piece.push(' ');
                        }
                        piece.push_str(&text::restore::cased(part, from.primary()));
                    }
                }
                Some(phrasebook::Known::Whole(whole)) => translated.push(whole),
                Some(phrasebook::Known::Around { before, rest, after }) => {
                    let rest = self.through(&route, &text::restore::cased(&rest, from.primary())).await?;
                    translated.push(phrasebook::join(&before, &rest, &after));
                }
            }
        }
        if !piece.is_empty() {
            translated.push(self.through(&route, &piece).await?);
        }
        translated.retain(|part| !part.is_empty());
        Ok(translated.join(" "))
    }

    async fn warm(&self, from: &LanguageTag, to: &LanguageTag) {
        let Ok(route) = self.route(from, to) else { return };
        // The first sentence loads what the programs load late; what it means is of no interest.
        let _ = self.through(&route, "One.").await;
    }
}
