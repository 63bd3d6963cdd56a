//! The speech engines that the settings ask for: the only place that names the concrete ones.

use std::sync::Arc;

use kallglot_audio::segment::SegmentConfig;
use kallglot_engine::cascade::{Cascade, CascadeConfig};
use kallglot_engine::part::{RecognizerFactory, Synthesizer, Translator};
use kallglot_engine::router::EngineRouter;
use kallglot_engine::scripted::{self, Script};
use kallglot_engine::{Engine, EngineError};
use kallglot_engine_classic::{Classic, ClassicConfig, WorkerCommand};

use crate::config::{Config, Part};

/// Makes the engines. Returns at once: models load in the background.
pub(crate) fn start(config: &Config) -> Result<EngineRouter, EngineError> {
    let cascade = CascadeConfig {
        segment: SegmentConfig {
            endpoint_ms: config.endpointing.silence_ms,
            utterance_max_ms: config.endpointing.utterance_max_ms,
            ..SegmentConfig::default()
        },
        ..CascadeConfig::default()
    };
    let uses = |part: Part| config.engine.iter().any(|e| [e.recognizer, e.translator, e.synthesizer].contains(&part));
    let classic = if uses(Part::Classic) { Some(classic(config)?) } else { None };
    let openai = if uses(Part::OpenAi) { Some(openai(config)?) } else { None };
    let scripted = uses(Part::Scripted).then(|| Arc::new(scripted::Scripted::new(Script::default())));
    let missing = || EngineError::Unavailable("a part of an engine is not set up".into());
    let mut engines: Vec<Arc<dyn Engine>> = Vec::new();
    for engine in &config.engine {
        let recognizer: Arc<dyn RecognizerFactory> = match engine.recognizer {
            Part::Classic => classic.as_ref().ok_or_else(missing)?.recognizer.clone(),
            Part::OpenAi => openai.as_ref().and_then(|parts| parts.recognizer.clone()).ok_or_else(missing)?,
            Part::Scripted => scripted.clone().ok_or_else(missing)?,
        };
        let translator: Arc<dyn Translator> = match engine.translator {
            Part::Classic => classic.as_ref().ok_or_else(missing)?.translator.clone(),
            Part::OpenAi => openai.as_ref().and_then(|parts| parts.translator.clone()).ok_or_else(missing)?,
            Part::Scripted => scripted.clone().ok_or_else(missing)?,
        };
        let synthesizer: Arc<dyn Synthesizer> = match engine.synthesizer {
            Part::Classic => classic.as_ref().ok_or_else(missing)?.synthesizer.clone(),
            Part::OpenAi => openai.as_ref().and_then(|parts| parts.synthesizer.clone()).ok_or_else(missing)?,
            Part::Scripted => scripted.clone().ok_or_else(missing)?,
        };
        engines.push(Arc::new(Cascade::new(&engine.name, recognizer, translator, synthesizer, cascade.clone())));
    }
    Ok(EngineRouter::new(engines))
}

fn classic(config: &Config) -> Result<Classic, EngineError> {
    let program = std::env::current_exe()
        .map_err(|error| EngineError::Unavailable(format!("this program's own file can't be found: {error}")))?;
    let mut classic = ClassicConfig::new(WorkerCommand { program, args: vec!["engine-worker".into()] });
    if config.classic.recognizers_max > 0 {
        classic.recognition.recognizers_max = config.classic.recognizers_max;
    }
    Ok(Classic::start(classic))
}

/// The parts that an OpenAI-compatible server does.
struct OpenAi {
    recognizer: Option<Arc<dyn RecognizerFactory>>,
    translator: Option<Arc<dyn Translator>>,
    synthesizer: Option<Arc<dyn Synthesizer>>,
}

fn openai(_config: &Config) -> Result<OpenAi, EngineError> {
    Err(EngineError::Unavailable("not wired yet".into()))
}
