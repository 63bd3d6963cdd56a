//! The synthesis worker: speaks texts one after the other, for all calls. It makes speech a thousand times faster than it is heard.

use std::collections::HashMap;
use std::io;

use kallglot_audio::resample::Resampler;
use kallglot_engine::SAMPLE_RATE_HZ;

use super::Pipe;
use super::speech::Speech;
use crate::frame::Garbled;
use crate::protocol::{FromSynthesizer, ToSynthesizer};

/// Level of speech that callers should hear, as the root mean square of its voiced parts relative to full scale: about that of
/// recorded telephone prompts.
const LEVEL_DBFS: f32 = -20.0;
/// What a voice says for its level to be measured: digits are words in every language, and have every kind of sound.
const SAMPLE_TEXT: &str = "1 2 3 4 5 6 7 8 9 10";
/// Above this part of full scale peaks are rounded off instead of clipped.
const KNEE: f32 = 0.7;
/// Voices whose level is remembered.
const LEVELS_MAX: usize = 256;
/// Length of the parts that are counted as voiced or not: 20 ms.
const PART_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;

pub(super) fn run(mut pipe: Pipe) -> io::Result<()> {
    let mut speech = match Speech::open() {
        Ok(speech) => speech,
        Err(reason) => return pipe.send(&FromSynthesizer::Refused { reason }),
    };
    let resampler = Resampler::new(speech.rate_hz, SAMPLE_RATE_HZ).map_err(io::Error::other)?;
    let mut gains: HashMap<String, f32> = HashMap::new();
    pipe.send(&FromSynthesizer::Ready)?;
    while let Some(frame) = pipe.receive()? {
        let ToSynthesizer::Speak { text, voice } =
            frame.message().map_err(|garbled: Garbled| io::Error::other(garbled))?;
        let gain = match gains.get(&voice) {
            Some(gain) => *gain,
            None => {
                let gain = measure(&mut speech, resampler.clone(), &voice);
                if gains.len() >= LEVELS_MAX {
                    gains.clear();
                }
                gains.insert(voice.clone(), gain);
                gain
            }
        };
        let mut broken = None;
        let mut resampler = resampler.clone();
        let mut chunk = Vec::new();
        let spoken = speech.speak(&text, &voice, &mut |samples| {
            resampler.process(samples, &mut chunk);
            let sent = send(&mut pipe, &mut chunk, gain);
            let go_on = sent.is_ok();
            broken = sent.err();
            go_on
        });
        if let Some(error) = broken {
            return Err(error);
        }
        resampler.flush(&mut chunk);
        send(&mut pipe, &mut chunk, gain)?;
        match spoken {
            Ok(()) => pipe.send(&FromSynthesizer::Done)?,
            Err(reason) => pipe.send(&FromSynthesizer::Failed { reason })?,
        }
    }
    Ok(())
}

fn send(pipe: &mut Pipe, chunk: &mut Vec<i16>, gain: f32) -> io::Result<()> {
    if chunk.is_empty() {
        return Ok(());
    }
    for sample in &mut *chunk {
        *sample = amplify(*sample, gain);
    }
    pipe.send_audio(chunk)?;
    chunk.clear();
    Ok(())
}

/// The sample, louder; never clipped: beyond the knee it approaches full scale without reaching it.
fn amplify(sample: i16, gain: f32) -> i16 {
    let loud = f32::from(sample) / 32_768.0 * gain;
    let over = loud.abs() - KNEE;
    let rounded = if over > 0.0 { (KNEE + (1.0 - KNEE) * (over / (1.0 - KNEE)).tanh()).copysign(loud) } else { loud };
    (rounded * 32_767.0) as i16
}

/// What brings a voice to [`LEVEL_DBFS`]. 1 when it can't be measured.
fn measure(speech: &mut Speech, mut resampler: Resampler, voice: &str) -> f32 {
    let mut samples = Vec::new();
    // A voice that can't speak says so at its first text.
    let spoken = speech.speak(SAMPLE_TEXT, voice, &mut |made| {
        resampler.process(made, &mut samples);
        true
    });
    resampler.flush(&mut samples);
    match (spoken, voiced_level(&samples)) {
        (Ok(()), Some(level)) => (10f32.powf(LEVEL_DBFS / 20.0) / level).clamp(0.1, 10.0),
        _ => 1.0,
    }
}

/// Root mean square of the parts that are within 25 dB of the loudest, relative to full scale.
fn voiced_level(samples: &[i16]) -> Option<f32> {
    let energies: Vec<f32> = samples
        .chunks(PART_SAMPLES)
        .map(|part| part.iter().map(|sample| (f32::from(*sample) / 32_768.0).powi(2)).sum::<f32>() / part.len() as f32)
        .collect();
    let loudest = energies.iter().copied().fold(0.0, f32::max);
    let voiced: Vec<f32> = energies.into_iter().filter(|energy| *energy > loudest / 316.0).collect();
    let mean = voiced.iter().sum::<f32>() / voiced.len() as f32;
    (loudest > 0.0).then(|| mean.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loud_peaks_are_rounded_off_and_quiet_ones_are_not_touched() {
        assert_eq!(amplify(1_000, 2.0), 1_999);
        assert_eq!(amplify(-1_000, 2.0), -1_999);
        let mut last = 0;
        for sample in (0..=32_767i16).step_by(97) {
            let louder = amplify(sample, 3.0);
            assert!(louder >= last);
            last = louder;
        }
        assert_eq!((amplify(i16::MAX, 10.0), amplify(i16::MIN, 10.0)), (i16::MAX, -i16::MAX));
    }

    #[test]
    fn silence_does_not_count_for_the_level() {
        let tone: Vec<i16> = (0..8_000).map(|n| if n % 2 == 0 { 3_277 } else { -3_277 }).collect();
        let with_silence: Vec<i16> = tone.iter().copied().chain(std::iter::repeat_n(0, 16_000)).collect();
        assert!((voiced_level(&with_silence).unwrap() - 0.1).abs() < 0.001);
        assert_eq!(voiced_level(&[0; 800]), None);
        assert_eq!(voiced_level(&[]), None);
    }
}
