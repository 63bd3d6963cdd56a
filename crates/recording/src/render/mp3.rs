//! MP3: MPEG-2 layer III (ISO/IEC 13818-3, 11172-3) at 16 kHz and a constant rate, which every player knows; 8 kHz (MPEG-2.5) some don't.
//!
//! What must stay true: no frame borrows bits from another one, so every frame's bytes depend on the sound around it alone and any
//! part of a file is made for itself; all frames have one size; the sound is fed as much ahead as decoders lag behind
//! (1,057 samples), so that it is heard in its place without any tag that a player could overlook. The price of the latter is that
//! the first 36 ms of a file fade in.

use std::io;

use kallglot_audio::resample::Resampler;

use self::bits::BitWriter;
use self::filter::{Filter, GRANULE, History};
use self::quantize::Granule;
use super::Layout;
use super::mix::Mixer;
use crate::SAMPLE_RATE_HZ;
use crate::source::Source;

mod bits;
mod filter;
mod quantize;
mod tables;

/// Samples per second in the file.
pub(super) const RATE_HZ: u32 = 2 * SAMPLE_RATE_HZ;
/// By how many samples a decoder's output lags behind what was fed: 481 in the two filter banks, a granule in the transform.
const DELAY: i64 = 1_057;
/// Frames that are made at a time: 1.15 s.
const CHUNK_FRAMES: u64 = 32;
/// Samples before those that are needed which the rate conversion is warmed up with: more than its filter is long.
const WARM: usize = 64;

/// Bits per second, and their index in the frame's header.
const fn bitrate(layout: Layout) -> (u32, u8) {
    match layout {
        Layout::Mono => (40_000, 5),
        Layout::Stereo => (80_000, 9),
    }
}

/// Always whole: no frame is padded.
const fn frame_bytes(layout: Layout) -> usize {
    (GRANULE as u32 / 8 * bitrate(layout).0 / RATE_HZ) as usize
}

/// A file has at least one frame: players take an empty one for broken.
const fn frames(duration_samples: u64) -> u64 {
    let frames = (2 * duration_samples).div_ceil(GRANULE as u64);
    if frames == 0 { 1 } else { frames }
}

pub(super) const fn size_bytes(layout: Layout, duration_samples: u64) -> u64 {
    frames(duration_samples) * frame_bytes(layout) as u64
}

/// Makes frames.
#[derive(Debug)]
pub(super) struct Encoder {
    layout: Layout,
    filter: Filter,
    resampler: Resampler,
    input: Vec<i16>,
    /// Each channel's samples, from where the first frame of the chunk needs them.
    samples: Vec<Vec<i16>>,
    history: Vec<History>,
    granules: Vec<Granule>,
}

impl Encoder {
    pub(super) fn new(layout: Layout) -> io::Result<Self> {
        let channels = usize::from(layout.channels());
        Ok(Self {
            layout,
            filter: Filter::new(),
            resampler: Resampler::new(SAMPLE_RATE_HZ, RATE_HZ).map_err(io::Error::other)?,
            input: Vec::new(),
            samples: vec![Vec::new(); channels],
            history: vec![History::default(); channels],
            granules: (0..channels).map(|_| Granule::new()).collect(),
        })
    }

    /// Makes the frames around `at`, which is before the end, and returns where in the file they begin.
    pub(super) fn make<S: Source>(&mut self, mixer: &mut Mixer<S>, at: u64, out: &mut Vec<u8>) -> io::Result<u64> {
        let frame_bytes = frame_bytes(self.layout);
        let first = at / frame_bytes as u64 / CHUNK_FRAMES * CHUNK_FRAMES;
        let count = CHUNK_FRAMES.min(frames(mixer.duration_samples()) - first) as usize;
        // The granule before the first one, which the transform overlaps with, needs these samples too.
        let start = (first as i64 - 1) * GRANULE as i64 + DELAY - filter::REACH as i64;
        for channel in 0..self.samples.len() {
            self.fetch(mixer, channel, start, filter::REACH + (count + 1) * GRANULE)?;
            let samples = &self.samples[channel][..filter::REACH + GRANULE];
            self.filter.analyse(samples, &mut self.history[channel], None);
        }
        out.clear();
        for frame in 0..count {
            for channel in 0..self.samples.len() {
                let samples = &self.samples[channel][(frame + 1) * GRANULE..][..filter::REACH + GRANULE];
                let lines = self.granules[channel].lines();
                self.filter.analyse(samples, &mut self.history[channel], Some(lines));
            }
            self.write_frame(out);
        }
        Ok(first * frame_bytes as u64)
    }

    /// Puts `length` samples of a channel, from `start` on in the file's own rate, into `samples`.
    fn fetch<S: Source>(&mut self, mixer: &mut Mixer<S>, channel: usize, start: i64, length: usize) -> io::Result<()> {
        // From an even sample on: there is one of the tracks' at the same moment.
        let odd = start.rem_euclid(2) as usize;
        let first = (start - odd as i64) / 2 - (WARM / 2) as i64;
        self.input.resize((odd + length + 2 * WARM) / 2 + 1, 0);
        mixer.read(channel, first, &mut self.input)?;
        let samples = &mut self.samples[channel];
        samples.clear();
        self.resampler.reset();
        self.resampler.process(&self.input, samples);
        samples.drain(..WARM + odd);
        debug_assert!(samples.len() >= length);
        Ok(())
    }

    fn write_frame(&mut self, out: &mut Vec<u8>) {
        let channels = self.granules.len();
        let side_bytes = if channels == 1 { 9 } else { 17 };
        let bytes = frame_bytes(self.layout);
        let mut left = (bytes - 4 - side_bytes) * 8;
        // Who speaks gets what the other one, who is silent or nearly so, leaves.
        let quiet_first = channels == 2 && self.granules[1].power() < self.granules[0].power();
        let order = if quiet_first { [1, 0] } else { [0, 1] };
        for (n, &channel) in order[..channels].iter().enumerate() {
            left -= self.granules[channel].quantize(left / (channels - n));
        }
        let mut bits = BitWriter::new(out);
        bits.put(0xfff3, 16);
        bits.put(u32::from(bitrate(self.layout).1) << 4 | 0b1000, 8);
        bits.put(if channels == 1 { 0b1100_0100 } else { 0b0000_0100 }, 8);
        // Nothing is borrowed; private bits.
        bits.put(0, 8 + channels as u32);
        for granule in &self.granules {
            granule.write_side(&mut bits);
        }
        for granule in &self.granules {
            granule.write_main(&mut bits);
        }
        bits.pad_to(bytes);
    }
}
