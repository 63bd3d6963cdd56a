//! What each piece costs per frame of 20 ms: `cost SPEECH.wav`.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use kallglot_audio::reorder::{ReorderBuffer, ReorderConfig};
use kallglot_audio::resample::Resampler;
use kallglot_audio::segment::{SegmentConfig, Segmenter};
use kallglot_audio::stretch::Stretcher;
use kallglot_audio::{g711, wav};

const FRAMES: usize = 1_000;
const ROUNDS: usize = 40;

fn main() {
    let path = std::env::args().nth(1).expect("usage: cost SPEECH.wav");
    let speech = wav::read(&std::fs::read(path).expect("readable"), wav::Channel::Mix).expect("a WAV file");
    let mut state = 1u64;
    let noise: Vec<i16> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 54) as i16) - 512
    })
    .take(16_000)
    .collect();

    for (name, audio) in
        [("digital silence", vec![0; 16_000]), ("noise at -41 dBFS", noise), ("speech", speech.clone())]
    {
        let mut segmenter = Segmenter::new(&SegmentConfig::default());
        report(&format!("segmenter, {name}"), &audio, |frame| {
            segmenter.push(frame, &mut |event| {
                black_box(event);
            })
        });
    }
    let mut codes = Vec::new();
    report("mu-law encode", &speech, |frame| {
        codes.clear();
        g711::encode_mulaw_into(black_box(frame), &mut codes);
    });
    let mut samples = Vec::new();
    report("mu-law decode", &speech, |_| {
        samples.clear();
        g711::decode_mulaw_into(black_box(&codes), &mut samples);
    });
    let mut output = Vec::new();
    for (from_hz, to_hz) in [(8_000, 16_000), (24_000, 8_000), (22_050, 8_000), (48_000, 8_000)] {
        let begin = Instant::now();
        let mut resampler = Resampler::new(from_hz, to_hz).expect("rates in range");
        let made = begin.elapsed();
        let frame = vec![1_000; from_hz as usize / 50];
        report(&format!("resample {from_hz} to {to_hz} (made in {made:.0?})"), &speech, |_| {
            output.clear();
            resampler.process(black_box(&frame), &mut output);
        });
    }
    let mut stretcher = Stretcher::new();
    stretcher.set_speed(1.2);
    report("stretch at 1.2", &speech, |frame| {
        output.clear();
        stretcher.process(frame, &mut output);
    });
    let mut reorder = ReorderBuffer::new(ReorderConfig::default());
    let mut sequence = 0;
    report("reorder", &speech, |frame| {
        output.clear();
        reorder.push(sequence, frame, &mut output);
        sequence += 1;
    });
}

fn report(name: &str, audio: &[i16], mut work: impl FnMut(&[i16])) {
    let frames: Vec<&[i16]> = audio.chunks_exact(160).collect();
    // The best of many rounds: the others were disturbed by whatever else the machine does.
    let best = (0..ROUNDS).map(|round| {
        let begin = Instant::now();
        for index in 0..FRAMES {
            work(frames[(round * FRAMES + index) % frames.len()]);
        }
        begin.elapsed().as_nanos() as f64 / FRAMES as f64
    });
    println!("{name:50} {:>8.0} ns per 20 ms", best.fold(f64::INFINITY, f64::min));
}
