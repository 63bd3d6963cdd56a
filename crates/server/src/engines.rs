//! The speech engines that the settings ask for: the only place that names the concrete ones.

use std::sync::Arc;
use std::time::Duration;

use kallglot_app::analysis::{Analyses, AnalysisConfig};
use kallglot_audio::segment::SegmentConfig;
use kallglot_engine::cascade::{Cascade, CascadeConfig};
use kallglot_engine::part::{RecognizerFactory, Synthesizer, Translator};
use kallglot_engine::router::EngineRouter;
use kallglot_engine::scripted::{self, Script};
use kallglot_engine::{Engine, EngineError};
use kallglot_engine_classic::{Classic, ClassicConfig, WorkerCommand};

use kallglot_engine_openai::{Limits, OpenAiConfig, Secret};

use crate::config::{Config, Part};
use crate::platform::SystemRandom;

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
    let classic = if uses(Part::Classic) { Some(classic(config)) } else { None };
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

fn classic(config: &Config) -> Classic {
    // This program as it was started, also when its file has been replaced since.
    let program = "/proc/self/exe".into();
    let mut classic = ClassicConfig::new(WorkerCommand { program, args: vec!["engine-worker".into()] });
    if config.classic.recognizers_max > 0 {
        classic.recognition.recognizers_max = config.classic.recognizers_max;
    }
    Classic::start(classic)
}

/// How analyses are made, and who writes summaries for them, if somebody is to.
pub(crate) fn analyses(config: &Config) -> Result<Analyses, EngineError> {
    let settings = &config.analysis;
    let asked_max = Duration::from_secs(settings.timeout_s.into());
    // The endpoint may be asked twice, and reading takes seconds at most.
    let attempt_max = asked_max * 2 + Duration::from_secs(60);
    let made = AnalysisConfig {
        at_once_max: settings.at_once_max,
        attempt_max,
        claim_lapses_after: attempt_max + Duration::from_secs(60),
        ..AnalysisConfig::default()
    };
    if settings.base_url.is_empty() {
        return Ok(Analyses::new(made, None));
    }
    let total_ms = u64::from(settings.timeout_s) * 1000;
    let server = OpenAiConfig {
        api_key: Some(settings.api_key.clone()).filter(|key| !key.is_empty()).map(Secret::new),
        summary_model: Some(settings.model.clone()),
        limits: Limits {
            first_byte_ms: total_ms,
            total_ms,
            requests_max: settings.at_once_max.max(1),
            ..Limits::default()
        },
        ..OpenAiConfig::new(&settings.base_url)
    };
    let server = kallglot_engine_openai::OpenAi::new(server, Arc::new(SystemRandom))
        .map_err(|wrong| EngineError::Unavailable(format!("`analysis.{}` must be {}", wrong.key, wrong.allowed)))?;
    Ok(Analyses::new(made, server.summarizer().map(|summarizer| Arc::new(summarizer) as _)))
}

/// The parts that an OpenAI-compatible server does.
struct OpenAi {
    recognizer: Option<Arc<dyn RecognizerFactory>>,
    translator: Option<Arc<dyn Translator>>,
    synthesizer: Option<Arc<dyn Synthesizer>>,
}

fn openai(config: &Config) -> Result<OpenAi, EngineError> {
    let settings = &config.openai;
    let model = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    let openai = OpenAiConfig {
        api_key: Some(settings.api_key.clone()).filter(|key| !key.is_empty()).map(Secret::new),
        transcription_model: model(&settings.transcription_model),
        translation_model: model(&settings.translation_model),
        speech_model: model(&settings.speech_model),
        voice: settings.voice.clone(),
        ..OpenAiConfig::new(&settings.base_url)
    };
    let server = kallglot_engine_openai::OpenAi::new(openai, Arc::new(SystemRandom))
        .map_err(|wrong| EngineError::Unavailable(format!("`openai.{}` must be {}", wrong.key, wrong.allowed)))?;
    Ok(OpenAi {
        recognizer: server.recognizer().map(|part| Arc::new(part) as _),
        translator: server.translator().map(|part| Arc::new(part) as _),
        synthesizer: server.synthesizer().map(|part| Arc::new(part) as _),
    })
}
