//! What fuzzers feed with arbitrary bytes: each function panics exactly when a promise of its module is broken.

use crate::reorder::{ReorderBuffer, ReorderConfig};
use crate::resample::{RATE_HZ, Resampler};
use crate::segment::{SegmentConfig, SegmentEvent, Segmenter};
use crate::stretch::Stretcher;
use crate::wav::{self, Channel};

/// Reads the bytes as a WAV file.
pub fn wav(bytes: &[u8]) {
    for channel in [Channel::Mix, Channel::Only(1)] {
        if let Ok(samples) = wav::read(bytes, channel) {
            // One byte is at most one sample, at the lowest rate eight after conversion.
            let longest = bytes.len() * (crate::SAMPLE_RATE_HZ / RATE_HZ.start()) as usize;
            assert!(samples.len() <= longest, "{} samples of {} bytes", samples.len(), bytes.len());
        }
    }
}

/// Reads the bytes as a WAV file without converting its rate, which is most of [`wav`]'s work and says nothing about parsing.
pub fn wav_parse(bytes: &[u8]) {
    let Ok((format, data)) = wav::parse(bytes) else { return };
    let width = format.encoding.bytes() * usize::from(format.channels);
    assert!((1..=wav::CHANNELS_MAX).contains(&format.channels) && data.len() <= bytes.len());
    for channel in [Channel::Mix, Channel::Only(0), Channel::Only(1)] {
        match wav::mono(format, data, channel) {
            Ok(samples) => assert_eq!(samples.len(), data.len() / width),
            Err(_) => assert!(channel == Channel::Only(1) && format.channels == 1),
        }
    }
}

/// Takes every three bytes for a frame: two of sequence number (the greatest values stand for the greatest numbers there are), one of
/// length and whether to release.
pub fn reorder(bytes: &[u8]) {
    let config = ReorderConfig::default();
    let gap_max_samples = config.gap_max_ms as usize * crate::SAMPLES_PER_MS;
    let mut buffer = ReorderBuffer::new(config);
    let (mut input_samples, mut output) = (0, Vec::new());
    for &[high, low, length] in bytes.as_chunks::<3>().0 {
        let number = u64::from(u16::from_be_bytes([high, low]));
        let sequence = if high == 0xff { u64::MAX - 0xffff + number } else { number };
        let samples = vec![1; usize::from(length & 0x7f) * 16];
        input_samples += samples.len();
        buffer.push(sequence, &samples, &mut output);
        if length & 0x80 != 0 {
            buffer.release(&mut output);
        }
    }
    assert!(output.len() <= input_samples + buffer.stats().gaps as usize * gap_max_samples);
}

/// Takes the bytes for samples and cuts them into utterances.
pub fn segment(bytes: &[u8]) {
    let samples = samples(bytes);
    let mut segmenter = Segmenter::new(&SegmentConfig { threshold: 0.1, ..SegmentConfig::default() });
    let (mut open, mut given, mut position_ms) = (false, 0, 0);
    let mut on = |event: SegmentEvent<'_>| match event {
        SegmentEvent::Start { start_ms, audio_ms } => {
            assert!(!std::mem::replace(&mut open, true) && position_ms <= audio_ms && audio_ms <= start_ms);
        }
        SegmentEvent::Audio(samples) => {
            assert!(open);
            given += samples.len();
        }
        SegmentEvent::End { speech_end_ms, endpoint_ms } => {
            assert!(std::mem::replace(&mut open, false) && speech_end_ms <= endpoint_ms);
            position_ms = endpoint_ms;
        }
    };
    for chunk in samples.chunks(777) {
        segmenter.push(chunk, &mut on);
    }
    segmenter.flush(&mut on);
    assert!(!open && given <= samples.len());
}

/// Takes the first bytes for two rates and a speed, the others for samples.
pub fn rates(bytes: &[u8]) {
    let Some((&[a, b, c, d, speed], rest)) = bytes.split_first_chunk::<5>() else { return };
    let samples = samples(rest);
    let (from_hz, to_hz) = (u32::from(u16::from_be_bytes([a, b])), u32::from(u16::from_be_bytes([c, d])));
    let mut output = Vec::new();
    if let Ok(mut resampler) = Resampler::new(from_hz, to_hz) {
        samples.chunks(333).for_each(|chunk| resampler.process(chunk, &mut output));
        resampler.flush(&mut output);
        assert_eq!(output.len() as u64, (samples.len() as u64 * u64::from(to_hz)).div_ceil(u64::from(from_hz)));
    }
    let mut stretcher = Stretcher::new();
    stretcher.set_speed(1.0 + f32::from(speed) / 400.0);
    output.clear();
    samples.chunks(333).for_each(|chunk| stretcher.process(chunk, &mut output));
    stretcher.flush(&mut output);
    assert!(output.len() <= samples.len() + 64);
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            super::wav(&bytes);
            super::wav_parse(&bytes);
            super::wav_parse(&[&crate::wav::mono_file(&[1, 2], 8_000)[..22], &bytes].concat());
            super::reorder(&bytes);
            super::segment(&bytes);
            super::rates(&bytes);
        }
    }
}
