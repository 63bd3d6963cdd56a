//! WAV: a header of 44 bytes and PCM of 16 bits.

use std::io;

use super::Layout;
use super::mix::Mixer;
use crate::SAMPLE_RATE_HZ;
use crate::source::Source;

const HEADER_BYTES: u64 = 44;
/// Moments that are made at a time: 250 ms.
const CHUNK_FRAMES: usize = 2_000;

const fn frame_bytes(layout: Layout) -> u64 {
    layout.channels() as u64 * 2
}

/// The longest time line takes 2.8 GB in stereo: less than the 4 GB that the format can say.
pub(super) const fn size_bytes(layout: Layout, duration_samples: u64) -> u64 {
    HEADER_BYTES + duration_samples * frame_bytes(layout)
}

/// Makes the bytes around `at`, which is before the end, and returns where in the file they begin.
pub(super) fn make<S: Source>(mixer: &mut Mixer<S>, at: u64, out: &mut Vec<u8>) -> io::Result<u64> {
    let channels = mixer.channels();
    if at < HEADER_BYTES {
        header(channels as u16, mixer.duration_samples(), out);
        return Ok(0);
    }
    let first = (at - HEADER_BYTES) / (2 * channels as u64);
    let frames = CHUNK_FRAMES.min((mixer.duration_samples() - first) as usize);
    let mut samples = [0; CHUNK_FRAMES];
    out.resize(frames * channels * 2, 0);
    for channel in 0..channels {
        mixer.read(channel, first as i64, &mut samples[..frames]).inspect_err(|_| out.clear())?;
        for (frame, sample) in out.chunks_exact_mut(2 * channels).zip(samples) {
            frame[2 * channel..][..2].copy_from_slice(&sample.to_le_bytes());
        }
    }
    Ok(HEADER_BYTES + first * 2 * channels as u64)
}

fn header(channels: u16, duration_samples: u64, out: &mut Vec<u8>) {
    let frame_bytes = channels * 2;
    let data_bytes = duration_samples as u32 * u32::from(frame_bytes);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&channels.to_le_bytes());
    out.extend_from_slice(&SAMPLE_RATE_HZ.to_le_bytes());
    out.extend_from_slice(&(SAMPLE_RATE_HZ * u32::from(frame_bytes)).to_le_bytes());
    out.extend_from_slice(&frame_bytes.to_le_bytes());
    out.extend_from_slice(&16u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data_bytes.to_le_bytes());
}
