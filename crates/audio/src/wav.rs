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
    #[error("WAV format {tag:#06x} with {bits} bits is not supported (PCM of 8, 16, 24 or 32 bits, float, mu-law and A-law are)")]
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
            (Self::Pcm16, &[a, b]) | (Self::Pcm24, &[_, a, b]) | (Self::Pcm32, &[_, _, a, b]) => i16::from_le_bytes([a, b]),
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

fn mono(format: WavFormat, data: &[u8], channel: Channel) -> Result<Vec<i16>, WavError> {
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
