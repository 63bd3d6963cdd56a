//! One run: a decoder configured one way, over the prompts of one language.

use std::fs;
use std::time::Duration;

use kallglot_engine_classic::sphinx::{Decoder, DecoderConfig};

use crate::prompts::Prompt;
use crate::score::{Errors, words};

/// Samples of a piece of audio: 20 ms at 8 kHz.
const PIECE: usize = 160;
/// Silence around each prompt, as a call has: 200 ms.
const MARGIN: usize = 1_600;

/// The time that this thread has been at work: what the clock would show on a machine with nothing else to do.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Of words and sentences.
    pub(crate) errors: Errors,
    /// Time to make the decoder.
    pub(crate) open: Duration,
    /// Seconds of audio.
    pub(crate) audio_s: f64,
    /// Seconds of work.
    pub(crate) work_s: f64,
    /// Time from the last audio to the final text, each prompt, sorted.
    pub(crate) end: Vec<Duration>,
    /// Prompts for which any text was given.
    pub(crate) answered: usize,
}

impl Outcome {
    /// The `percent`th percentile of the time to the final text, in milliseconds.
    pub(crate) fn end_ms(&self, percent: usize) -> f64 {
        let at = (self.end.len() * percent / 100).min(self.end.len().saturating_sub(1));
        self.end.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// Decodes all prompts with one decoder, as one speaker would be in a call.
pub(crate) fn run(
    language: &str,
    config: &DecoderConfig,
    prompts: &[Prompt],
    verbose: bool,
) -> Result<Outcome, String> {
    let started = cpu();
    let mut decoder = Decoder::open(config).map_err(|error| error.to_string())?;
    let mut outcome = Outcome { open: (cpu() - started), ..Outcome::default() };
    for (index, prompt) in prompts.iter().enumerate() {
        let mut audio = vec![0i16; MARGIN];
        audio.extend(prompt.telephone()?);
        audio.extend([0i16; MARGIN]);
        let started = cpu();
        decoder.begin();
        for piece in audio.chunks(PIECE) {
            decoder.push(piece);
        }
        let ended = cpu();
        let heard = decoder.end();
        outcome.end.push(cpu() - ended);
        outcome.work_s += (cpu() - started).as_secs_f64();
        outcome.audio_s += audio.len() as f64 / 8_000.0;
        let reference = words(language, &prompt.text);
        let wrong = outcome.errors.add(&reference, &words(language, &heard.text));
        outcome.answered += usize::from(!heard.text.is_empty());
        if verbose {
            eprintln!(
                "{} {:.2} {wrong}/{}\n  {}\n  {}",
                prompt.name,
                heard.confidence,
                reference.len(),
                prompt.text,
                heard.text
            );
        } else {
            eprint!("\r{} of {}: WER {:.1} %   ", index + 1, prompts.len(), outcome.errors.rate());
        }
    }
    eprintln!();
    outcome.end.sort();
    Ok(outcome)
}
