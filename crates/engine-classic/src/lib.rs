//! The embedded engine "classic": pocketsphinx hears, Apertium translates, espeak-ng speaks. Everything is on the machine, from
//! Debian's packages.
//!
//! All three run in other processes: pocketsphinx and espeak-ng in workers, which are this same program started with other arguments
//! ([`worker_main`]); Apertium as pipelines of its own programs. What must stay true: a crash, a hang or a flood in any of them
//! costs the utterance it was at, and nothing else; GPL code is never loaded by the server; dropping a part ends its processes.

mod apertium;
mod doctor;
mod espeak_data;
mod frame;
mod process;
mod protocol;
mod recognition;
mod respawn;
pub mod sphinx;
mod synthesis;
mod text;
mod worker;

use std::sync::Arc;

pub use apertium::{Apertium, ApertiumConfig};
pub use doctor::{Check, check};
pub use process::WorkerCommand;
pub use recognition::{RecognitionConfig, Sphinx};
pub use synthesis::{Espeak, SynthesisConfig};
pub use worker::{UnknownWorkerKind, WorkerKind, worker_main};

/// How the engine is set up.
#[derive(Debug, Clone)]
pub struct ClassicConfig {
    /// How to start a worker.
    pub worker: WorkerCommand,
    /// Recognition.
    pub recognition: RecognitionConfig,
    /// Translation.
    pub translation: ApertiumConfig,
    /// Synthesis.
    pub synthesis: SynthesisConfig,
}

impl ClassicConfig {
    /// Defaults, with workers started by `worker`.
    pub fn new(worker: WorkerCommand) -> Self {
        Self {
            worker,
            recognition: RecognitionConfig::default(),
            translation: ApertiumConfig::default(),
            synthesis: SynthesisConfig::default(),
        }
    }
}

/// The parts of the engine, for a cascade.
#[derive(Debug, Clone)]
pub struct Classic {
    /// Hears.
    pub recognizer: Arc<Sphinx>,
    /// Translates.
    pub translator: Arc<Apertium>,
    /// Speaks.
    pub synthesizer: Arc<Espeak>,
}

impl Classic {
    /// Starts the engine. Returns at once: processes are started and models loaded in the background, and what is missing shows in
    /// what the parts offer and in [`check`]. Must be called within a tokio runtime.
    pub fn start(config: ClassicConfig) -> Self {
        Self {
            recognizer: Arc::new(Sphinx::new(config.worker.clone(), config.recognition)),
            translator: Arc::new(Apertium::new(config.translation)),
            synthesizer: Arc::new(Espeak::new(config.worker, config.synthesis)),
        }
    }
}
