//! WAV files: reads any of the usual kinds into mono samples at 8 kHz, writes 16-bit PCM at 8 kHz.
//!
//! What must stay true: a file is hostile until proven otherwise: whatever the bytes are, reading returns samples or an error, holds
//! a small multiple of the file's size at most, and never trusts a length that the file states beyond the bytes that are there (a file
//! cut short, or streamed with unknown length, is read as far as it goes).

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::resample::{Resampler, UnsupportedRate};
use crate::{SAMPLE_RATE_HZ, g711};

/// Largest file that [`read_from`] takes: an hour of stereo at 48 kHz and 16 bits.
pub const FILE_BYTES_MAX: u64 = 700 * 1024 * 1024;
/// Most channels of a file.
pub const CHANNELS_MAX: u16 = 8;

/// Which channel of a file with several is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The mean of all.
    Mix,
    /// One of them, from 0: left is 0, right is 1.
    Only(u16),
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// No RIFF/WAVE file at all.
    #[error("not a WAV file")]
    NotWav,
    /// It ends before its sound begins, or its header contradicts itself.
    #[error("the WAV file is broken: {0}")]
    Broken(&'static str),
    /// A code that is not understood, by its format tag and bits per sample.
    #[error(
        "WAV format {tag:#06x} with {bits} bits is not supported (PCM of 8, 16, 24 or 32 bits, float, mu-law and A-law are)"
    )]
    Format {
        /// The format tag.
        tag: u16,
        /// Bits per sample.
        bits: u16,
    },
    /// More channels than [`CHANNELS_MAX`], or none.
    #[error("{0} channels are not supported (1 to {CHANNELS_MAX})")]
    Channels(u16),
    /// The channel that was asked for is not there.
    #[error("channel {wanted} was asked for (counted from 0), the file has {present}")]
    NoSuchChannel {
        /// The channel asked for.
        wanted: u16,
        /// How many there are.
        present: u16,
    },
    /// A sample rate that is out of range.
    #[error(transparent)]
    Rate(#[from] UnsupportedRate),
    /// More bytes than [`FILE_BYTES_MAX`].
    #[error("the file is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a file says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavFormat {
    /// How samples are coded.
    pub encoding: Encoding,
    /// Channels, 1 to [`CHANNELS_MAX`].
    pub channels: u16,
    /// Samples per second and channel.
    pub sample_rate_hz: u32,
}

/// How one sample is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Unsigned 8 bits around 128.
    Pcm8,
    /// Signed 16 bits.
    Pcm16,
    /// Signed 24 bits.
    Pcm24,
    /// Signed 32 bits.
    Pcm32,
    /// 32-bit float, full scale ±1.
    Float32,
    /// 64-bit float, full scale ±1.
    Float64,
    /// G.711 mu-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Encoding {
    fn of(tag: u16, bits: u16) -> Result<Self, WavError> {
        match (tag, bits) {
            (1, 8) => Ok(Self::Pcm8),
            (1, 16) => Ok(Self::Pcm16),
            (1, 24) => Ok(Self::Pcm24),
            (1, 32) => Ok(Self::Pcm32),
            (3, 32) => Ok(Self::Float32),
            (3, 64) => Ok(Self::Float64),
            (6, 8) => Ok(Self::Alaw),
            (7, 8) => Ok(Self::Mulaw),
            _ => Err(WavError::Format { tag, bits }),
        }
    }

    /// Bytes of one sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Pcm8 | Self::Mulaw | Self::Alaw => 1,
            Self::Pcm16 => 2,
            Self::Pcm24 => 3,
            Self::Pcm32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// The sample that `bytes` (as many as [`Encoding::bytes`] says) stand for.
    fn sample(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (Self::Pcm8, &[byte]) => (i16::from(byte) - 128) << 8,
            (Self::Mulaw, &[code]) => g711::mulaw_to_linear(code),
            (Self::Alaw, &[code]) => g711::alaw_to_linear(code),
            (Self::Pcm16, &[a, b]) | (Self::Pcm24, &[_, a, b]) | (Self::Pcm32, &[_, _, a, b]) => {
                i16::from_le_bytes([a, b])
            }
            (Self::Float32, &[a, b, c, d]) => from_unit(f64::from(f32::from_le_bytes([a, b, c, d]))),
            (Self::Float64, &[a, b, c, d, e, f, g, h]) => from_unit(f64::from_le_bytes([a, b, c, d, e, f, g, h])),
            _ => 0,
        }
    }
}

/// The cast keeps what is too loud at the greatest sample and makes silence of what is no number.
fn from_unit(value: f64) -> i16 {
    (value * 32_768.0).round() as i16
}

/// Reads a WAV file into mono samples at [`SAMPLE_RATE_HZ`].
///
/// # Errors
/// It is no WAV file, or one of a kind that is not supported.
pub fn read(bytes: &[u8], channel: Channel) -> Result<Vec<i16>, WavError> {
    let (format, data) = parse(bytes)?;
    let samples = mono(format, data, channel)?;
    if format.sample_rate_hz == SAMPLE_RATE_HZ {
        return Ok(samples);
    }
    let mut resampler = Resampler::new(format.sample_rate_hz, SAMPLE_RATE_HZ)?;
    let mut converted = Vec::new();
    resampler.process(&samples, &mut converted);
    resampler.flush(&mut converted);
    Ok(converted)
}

/// As [`read`], from a reader.
///
/// # Errors
/// As [`read`]; also when reading fails or there are more than [`FILE_BYTES_MAX`] bytes.
pub fn read_from(reader: impl Read, channel: Channel) -> Result<Vec<i16>, WavError> {
    let mut bytes = Vec::new();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(WavError::TooLarge);
    }
    read(&bytes, channel)
}

/// The format of a WAV file and the bytes of its sound.
///
/// # Errors
/// As [`read`], except for rate and channel.
pub fn parse(bytes: &[u8]) -> Result<(WavFormat, &[u8]), WavError> {
    let Some((riff, mut rest)) = bytes.split_at_checked(12) else { return Err(WavError::NotWav) };
    if !matches!(&riff[..4], b"RIFF" | b"RF64") || &riff[8..] != b"WAVE" {
        return Err(WavError::NotWav);
    }
    let mut format = None;
    while let Some((header, body)) = rest.split_at_checked(8) {
        let stated = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let present = stated.min(body.len());
        match &header[..4] {
            b"fmt " => format = Some(parse_format(&body[..present])?),
            b"data" => {
                let format = format.ok_or(WavError::Broken("its sound comes before its format"))?;
                // 0 is what programs write that never came back to fill in the length.
                return Ok((format, if stated == 0 { body } else { &body[..present] }));
            }
            _ => {}
        }
        // Chunks begin at even places.
        rest = body.get(stated.saturating_add(stated & 1)..).unwrap_or(&[]);
    }
    Err(WavError::Broken("it has no sound"))
}

fn parse_format(body: &[u8]) -> Result<WavFormat, WavError> {
    let field = |at: usize| match body.get(at..at + 2) {
        Some(&[a, b]) => Ok(u16::from_le_bytes([a, b])),
        _ => Err(WavError::Broken("its format is cut short")),
    };
    let (mut tag, channels, bits) = (field(0)?, field(2)?, field(14)?);
    let sample_rate_hz = u32::from(field(4)?) | u32::from(field(6)?) << 16;
    if tag == 0xfffe {
        // WAVE_FORMAT_EXTENSIBLE: the tag proper is the beginning of a GUID.
        tag = field(24)?;
    }
    let encoding = Encoding::of(tag, bits)?;
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(WavError::Channels(channels));
    }
    if usize::from(field(12)?) != encoding.bytes() * usize::from(channels) {
        return Err(WavError::Broken("its block size fits neither channels nor bits"));
    }
    Ok(WavFormat { encoding, channels, sample_rate_hz })
}

pub(crate) fn mono(format: WavFormat, data: &[u8], channel: Channel) -> Result<Vec<i16>, WavError> {
    let (width, channels) = (format.encoding.bytes(), usize::from(format.channels));
    let blocks = data.chunks_exact(width * channels);
    match channel {
        Channel::Only(wanted) if wanted >= format.channels => {
            Err(WavError::NoSuchChannel { wanted, present: format.channels })
        }
        Channel::Only(wanted) => {
            let at = usize::from(wanted) * width;
            Ok(blocks.map(|block| format.encoding.sample(&block[at..at + width])).collect())
        }
        Channel::Mix => Ok(blocks
            .map(|block| {
                let sum: i32 = block.chunks_exact(width).map(|bytes| i32::from(format.encoding.sample(bytes))).sum();
                (sum / i32::from(format.channels)) as i16
            })
            .collect()),
    }
}

/// Writes a WAV file of 16-bit PCM at [`SAMPLE_RATE_HZ`] as audio comes. The header is right from the start for players that read to
/// the end, and exact after [`WavWriter::finish`].
#[derive(Debug)]
pub struct WavWriter<W> {
    output: W,
    channels: u16,
    data_bytes: u64,
    buffer: Vec<u8>,
}

const HEADER_BYTES: u64 = 44;

/// The 44 bytes in front of the sound; sizes beyond 4 GB are written as the greatest, which players take for "to the end".
fn header(channels: u16, rate_hz: u32, data_bytes: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    let block_bytes = channels * 2;
    header[..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&u32::try_from(data_bytes + HEADER_BYTES - 8).unwrap_or(u32::MAX).to_le_bytes());
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16u32.to_le_bytes());
    header[20..22].copy_from_slice(&1u16.to_le_bytes());
    header[22..24].copy_from_slice(&channels.to_le_bytes());
    header[24..28].copy_from_slice(&rate_hz.to_le_bytes());
    header[28..32].copy_from_slice(&(rate_hz * u32::from(block_bytes)).to_le_bytes());
    header[32..34].copy_from_slice(&block_bytes.to_le_bytes());
    header[34..36].copy_from_slice(&16u16.to_le_bytes());
    header[36..40].copy_from_slice(b"data");
    header[40..44].copy_from_slice(&u32::try_from(data_bytes).unwrap_or(u32::MAX).to_le_bytes());
    header
}

/// A whole mono WAV file of `samples` at `rate_hz`.
pub fn mono_file(samples: &[i16], rate_hz: u32) -> Vec<u8> {
    let mut file = header(1, rate_hz, samples.len() as u64 * 2).to_vec();
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

impl<W: Write + Seek> WavWriter<W> {
    /// Begins a file of one channel.
    ///
    /// # Errors
    /// Writing fails.
    pub fn mono(output: W) -> io::Result<Self> {
        Self::new(output, 1)
    }

    /// Begins a file of two channels.
    ///
    /// # Errors
    /// Writing fails.
    pub fn stereo(output: W) -> io::Result<Self> {
        Self::new(output, 2)
    }

    fn new(mut output: W, channels: u16) -> io::Result<Self> {
        output.write_all(&header(channels, SAMPLE_RATE_HZ, u64::from(u32::MAX)))?;
        Ok(Self { output, channels, data_bytes: 0, buffer: Vec::new() })
    }

    /// Appends samples to a mono file; in a stereo file both channels get them.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write(&mut self, samples: &[i16]) -> io::Result<()> {
        let copies = usize::from(self.channels);
        self.append(samples.iter().flat_map(|&sample| std::iter::repeat_n(sample, copies)))
    }

    /// Appends two tracks to a stereo file, the shorter one continued by silence; in a mono file they are mixed.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write_stereo(&mut self, left: &[i16], right: &[i16]) -> io::Result<()> {
        if self.channels == 1 {
            return self.append(crate::mix::mix(left, right).into_iter());
        }
        let at = |track: &[i16], index: usize| track.get(index).copied().unwrap_or(0);
        self.append((0..left.len().max(right.len())).flat_map(|index| [at(left, index), at(right, index)]))
    }

    fn append(&mut self, samples: impl Iterator<Item = i16>) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend(samples.flat_map(i16::to_le_bytes));
        self.output.write_all(&self.buffer)?;
        self.data_bytes += self.buffer.len() as u64;
        Ok(())
    }

    /// Writes the header with the length so far and goes on after it: a crash later loses nothing of what came before.
    ///
    /// # Errors
    /// Writing or seeking fails.
    pub fn checkpoint(&mut self) -> io::Result<()> {
        self.output.seek(SeekFrom::Start(0))?;
        self.output.write_all(&header(self.channels, SAMPLE_RATE_HZ, self.data_bytes))?;
        self.output.seek(SeekFrom::End(0))?;
        self.output.flush()
    }

    /// Writes the exact header and returns the output.
    ///
    /// # Errors
    /// Writing or seeking fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.checkpoint()?;
        Ok(self.output)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// A file of one format chunk and one data chunk.
    fn file(tag: u16, channels: u16, rate_hz: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut file = header(channels, rate_hz, data.len() as u64).to_vec();
        file[20..22].copy_from_slice(&tag.to_le_bytes());
        file[32..34].copy_from_slice(&(channels * (bits / 8)).to_le_bytes());
        file[34..36].copy_from_slice(&bits.to_le_bytes());
        file.extend(data);
        file
    }

    fn read_mono(bytes: &[u8]) -> Vec<i16> {
        read(bytes, Channel::Mix).unwrap()
    }

    #[test]
    fn every_usual_encoding_is_read() {
        let float = |values: [f32; 3]| values.map(f32::to_le_bytes).concat();
        for (tag, bits, data, expected) in [
            (1, 8, vec![128, 0, 255], [0, -32_768, 32_512]),
            (1, 16, [0i16, -5, 12_345].map(i16::to_le_bytes).concat(), [0, -5, 12_345]),
            (1, 24, vec![0, 0, 0, 9, 0, 128, 255, 255, 127], [0, -32_768, 32_767]),
            (1, 32, [0i32, -1 << 31, 5 << 16].map(i32::to_le_bytes).concat(), [0, -32_768, 5]),
            (3, 32, float([0.0, -1.0, 0.5]), [0, -32_768, 16_384]),
            (3, 32, float([f32::NAN, f32::INFINITY, -9.0]), [0, 32_767, -32_768]),
            (3, 64, [0.0f64, -0.5, 0.25].map(f64::to_le_bytes).concat(), [0, -16_384, 8_192]),
            (7, 8, vec![0xff, 0x00, 0x80], [0, -32_124, 32_124]),
            (6, 8, vec![0xd5, 0x2a, 0xaa], [8, -32_256, 32_256]),
        ] {
            assert_eq!(read_mono(&file(tag, 1, 8_000, bits, &data)), expected, "tag {tag}, {bits} bits");
        }
    }

    #[test]
    fn other_rates_are_converted() {
        for rate_hz in [16_000, 22_050, 44_100, 48_000] {
            let data = vec![0; rate_hz as usize * 2];
            assert_eq!(read_mono(&file(1, 1, rate_hz, 16, &data)).len(), 8_000);
        }
    }

    #[test]
    fn a_channel_of_stereo_can_be_chosen_or_both_mixed() {
        let bytes = file(1, 2, 8_000, 16, &[100i16, 300, -100, -300].map(i16::to_le_bytes).concat());
        assert_eq!(read(&bytes, Channel::Only(0)).unwrap(), [100, -100]);
        assert_eq!(read(&bytes, Channel::Only(1)).unwrap(), [300, -300]);
        assert_eq!(read_mono(&bytes), [200, -200]);
        let error = read(&bytes, Channel::Only(2)).unwrap_err();
        assert_eq!(error.to_string(), "channel 2 was asked for (counted from 0), the file has 2");
    }

    #[test]
    fn other_chunks_are_skipped_and_a_format_may_be_extensible() {
        let data = [1i16, 2].map(i16::to_le_bytes).concat();
        let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
        bytes.extend(b"LIST\x03\0\0\0abc\0fmt \x28\0\0\0");
        bytes.extend([
            0xfe, 0xff, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0, 22, 0, 16, 0, 4, 0, 0, 0, 1, 0,
        ]);
        bytes.extend([0; 14]);
        bytes.extend(b"data\x04\0\0\0");
        bytes.extend(&data);
        bytes.extend(b"LIST\x02\0\0\0zz");
        assert_eq!(read_mono(&bytes), [1, 2]);
    }

    #[test]
    fn a_file_that_was_cut_or_never_finished_is_read_as_far_as_it_goes() {
        let whole = mono_file(&[1, 2, 3, 4], 8_000);
        assert_eq!(read_mono(&whole[..whole.len() - 3]), [1, 2]);
        for stated in [0u32, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[40..44].copy_from_slice(&stated.to_le_bytes());
            assert_eq!(read_mono(&bytes), [1, 2, 3, 4]);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = file(1, 1, 8_000, 16, &[0; 4]);
        let message = |bytes: &[u8]| read(bytes, Channel::Mix).unwrap_err().to_string();
        assert_eq!(message(b""), "not a WAV file");
        assert_eq!(message(b"ID3\x04 this is an MP3 file"), "not a WAV file");
        assert_eq!(message(&good[..36]), "the WAV file is broken: it has no sound");
        assert_eq!(message(&good[..30]), "the WAV file is broken: its format is cut short");
        assert_eq!(message(&file(1, 0, 8_000, 16, &[])), "0 channels are not supported (1 to 8)");
        assert_eq!(message(&file(1, 9, 8_000, 16, &[])), "9 channels are not supported (1 to 8)");
        assert_eq!(message(&file(1, 1, 1, 16, &[])), "a sample rate of 1 Hz is not supported (1,000 to 384,000 Hz)");
        assert!(message(&file(0x55, 1, 8_000, 16, &[])).starts_with("WAV format 0x0055 with 16 bits is not supported"));
        let mut bytes = good.clone();
        bytes[32] = 3;
        assert_eq!(message(&bytes), "the WAV file is broken: its block size fits neither channels nor bits");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = WavWriter::mono(Cursor::new(Vec::new())).unwrap();
        writer.write(&[1, 2]).unwrap();
        writer.checkpoint().unwrap();
        writer.write(&[3]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(bytes, mono_file(&[1, 2, 3], 8_000));
        assert_eq!(read_from(bytes.as_slice(), Channel::Mix).unwrap(), [1, 2, 3]);

        let mut writer = WavWriter::stereo(Cursor::new(Vec::new())).unwrap();
        writer.write_stereo(&[1, 2, 3], &[9]).unwrap();
        writer.write(&[4]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(read(&bytes, Channel::Only(0)).unwrap(), [1, 2, 3, 4]);
        assert_eq!(read(&bytes, Channel::Only(1)).unwrap(), [9, 0, 0, 4]);
    }

    #[test]
    fn another_reader_understands_what_is_written() {
        let mut writer = WavWriter::stereo(Cursor::new(Vec::new())).unwrap();
        writer.write_stereo(&[1, -2], &[3, -4]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let mut reader = hound::WavReader::new(bytes.as_slice()).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate, reader.spec().bits_per_sample), (2, 8_000, 16));
        assert_eq!(reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), [1, 3, -2, -4]);
    }

    #[test]
    fn a_file_without_its_last_header_is_still_read_to_the_end() {
        let mut writer = WavWriter::mono(Cursor::new(Vec::new())).unwrap();
        writer.write(&[5, 6]).unwrap();
        assert_eq!(read_mono(writer.output.get_ref()), [5, 6]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_samples_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), channel in 0u16..4) {
            let _ = read(&bytes, Channel::Only(channel));
        }

        #[test]
        fn any_change_to_a_file_gives_samples_or_an_error(
            changes in proptest::collection::vec((0usize..100, any::<u8>()), 0..8),
            length in 0usize..100,
        ) {
            let mut bytes = file(1, 2, 16_000, 16, &[7; 56]);
            for (at, value) in changes {
                bytes[at] = value;
            }
            bytes.truncate(length);
            if let Ok(samples) = read(&bytes, Channel::Mix) {
                // One byte at 1,000 Hz becomes eight samples at most.
                prop_assert!(samples.len() <= bytes.len() * 8);
            }
        }
    }
}
