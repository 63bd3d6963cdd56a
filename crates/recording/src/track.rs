//! A finished track: one file, written front to back and read by ranges, in which silence takes no room.
//!
//! The time line is cut into blocks of [`BLOCK_SAMPLES`]. The file has those that are not wholly silent, one after another, then one bit
//! for each block of the time line that says whether it is there, then a footer. Numbers are little-endian. A reader needs one range
//! at the end of the file, and then one for each stretch of sound.
//! What must stay true: what was pushed is read back exactly; neither side's memory grows with the sound (the bits take 54 KB for
//! the longest time line); damaged or hostile bytes give an error, never a panic and no more memory than that.
//!
//! ```text
//! header  8 magic "KGLTTRK\n" | 8 zero
//! blocks  1600 bytes each
//! bits    one byte for each 8 blocks, the lowest bit first
//! footer  16 session | 8 origin (ms) | 8 samples of the time line | 4 blocks that are there | 4 CRC-32 of the blocks | 4 CRC-32 of the bits
//!         4 samples per second | 1 track | 1 zero | 2 version | 4 CRC-32 of the footer up to here | 8 magic "KGLTEND\n"
//! ```

use std::io::{self, Write};

use kallglot_core::id::SessionId;

use crate::bytes::{field, u16_at, u32_at, u64_at};
use crate::source::Source;
use crate::{DURATION_SAMPLES_MAX, SAMPLE_RATE_HZ, SILENCE, Track, is_silent};

/// Samples, and bytes, of a block: 200 ms.
pub const BLOCK_SAMPLES: usize = 1_600;
/// How far a place may lie before the furthest end so far: 10 s. What comes later than that is lost, and counted.
pub const WINDOW_SAMPLES: u64 = ((WINDOW_BLOCKS - 1) * BLOCK_SAMPLES) as u64;

const WINDOW_BLOCKS: usize = 51;
const HEADER_BYTES: usize = 16;
const FOOTER_BYTES: usize = 64;
const HEADER_MAGIC: [u8; 8] = *b"KGLTTRK\n";
const FOOTER_MAGIC: [u8; 8] = *b"KGLTEND\n";
const VERSION: u16 = 1;

/// What a track is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackHeader {
    /// The session.
    pub session: SessionId,
    /// Which of its tracks.
    pub track: Track,
    /// Unix time in milliseconds of the time line's zero.
    pub origin_ms: i64,
}

/// What became of a track when it was finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackSummary {
    /// Length of the time line.
    pub duration_samples: u64,
    /// Size of the file.
    pub size_bytes: u64,
    /// Samples that came more than [`WINDOW_SAMPLES`] too late and are not in it.
    pub late_samples: u64,
}

/// Writes a track. Audio may come out of order within [`WINDOW_SAMPLES`]; of two at the same moment the later one is kept.
#[derive(Debug)]
pub struct TrackWriter<W> {
    to: W,
    header: TrackHeader,
    /// The last [`WINDOW_BLOCKS`] blocks; block `n` is at `n % WINDOW_BLOCKS`.
    window: Box<[[u8; BLOCK_SAMPLES]]>,
    /// The block after the newest one in `window`.
    end_block: u64,
    bits: Vec<u8>,
    present: u32,
    crc: crc32fast::Hasher,
    end_samples: u64,
    late_samples: u64,
}

impl<W: Write> TrackWriter<W> {
    /// Begins the file. It is written in pieces of one block, so `to` should be buffered.
    ///
    /// # Errors
    /// Writing failed.
    pub fn new(mut to: W, header: TrackHeader) -> io::Result<Self> {
        to.write_all(&HEADER_MAGIC)?;
        to.write_all(&[0; HEADER_BYTES - 8])?;
        Ok(Self {
            to,
            header,
            window: vec![[SILENCE; BLOCK_SAMPLES]; WINDOW_BLOCKS].into_boxed_slice(),
            end_block: WINDOW_BLOCKS as u64,
            bits: Vec::new(),
            present: 0,
            crc: crc32fast::Hasher::new(),
            end_samples: 0,
            late_samples: 0,
        })
    }

    /// Where on the time line the last audio ends, so far.
    pub const fn end_samples(&self) -> u64 {
        self.end_samples
    }

    /// Takes audio that begins at `place`. What lies beyond [`DURATION_SAMPLES_MAX`] is left out.
    ///
    /// # Errors
    /// Writing failed.
    pub fn push(&mut self, mut place: u64, mut mulaw: &[u8]) -> io::Result<()> {
        let room = usize::try_from(DURATION_SAMPLES_MAX.saturating_sub(place)).unwrap_or(usize::MAX);
        mulaw = &mulaw[..mulaw.len().min(room)];
        while !mulaw.is_empty() {
            let (block, offset) = (place / BLOCK_SAMPLES as u64, (place % BLOCK_SAMPLES as u64) as usize);
            let (now, rest) = mulaw.split_at(mulaw.len().min(BLOCK_SAMPLES - offset));
            if block >= self.end_block {
                self.move_window(block + 1)?;
            }
            if block + (WINDOW_BLOCKS as u64) < self.end_block {
                self.late_samples += now.len() as u64;
            } else {
                let slot = (block % WINDOW_BLOCKS as u64) as usize;
                self.window[slot][offset..offset + now.len()].copy_from_slice(now);
                self.end_samples = self.end_samples.max(place + now.len() as u64);
            }
            place += now.len() as u64;
            mulaw = rest;
        }
        Ok(())
    }

    /// Writes the blocks that leave the window when it ends before `end_block`.
    fn move_window(&mut self, end_block: u64) -> io::Result<()> {
        let first = self.end_block - WINDOW_BLOCKS as u64;
        // Beyond the window all is silent, however far it moves.
        for block in first..self.end_block.min(end_block - (WINDOW_BLOCKS as u64).min(end_block)) {
            let samples = &mut self.window[(block % WINDOW_BLOCKS as u64) as usize];
            if is_silent(samples) {
                continue;
            }
            self.to.write_all(samples)?;
            self.crc.update(samples);
            samples.fill(SILENCE);
            self.present += 1;
            let byte = (block / 8) as usize;
            self.bits.resize(byte + 1, 0);
            self.bits[byte] |= 1 << (block % 8);
        }
        self.end_block = end_block;
        Ok(())
    }

    /// Ends the file, with a time line that is at least `duration_samples` long: the call's length, so that all of its tracks have the
    /// same one. Flushes.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self, duration_samples: u64) -> io::Result<TrackSummary> {
        let duration_samples = duration_samples.min(DURATION_SAMPLES_MAX).max(self.end_samples);
        self.move_window(self.end_block + WINDOW_BLOCKS as u64)?;
        self.bits.resize(bit_bytes(duration_samples), 0);
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&self.header.session.to_bits().to_le_bytes());
        footer.extend_from_slice(&self.header.origin_ms.to_le_bytes());
        footer.extend_from_slice(&duration_samples.to_le_bytes());
        footer.extend_from_slice(&self.present.to_le_bytes());
        footer.extend_from_slice(&self.crc.finalize().to_le_bytes());
        footer.extend_from_slice(&crc32fast::hash(&self.bits).to_le_bytes());
        footer.extend_from_slice(&SAMPLE_RATE_HZ.to_le_bytes());
        footer.extend_from_slice(&[self.header.track.number(), 0]);
        footer.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32fast::hash(&footer);
        footer.extend_from_slice(&crc.to_le_bytes());
        footer.extend_from_slice(&FOOTER_MAGIC);
        self.to.write_all(&self.bits)?;
        self.to.write_all(&footer)?;
        self.to.flush()?;
        let size_bytes =
            (HEADER_BYTES + self.bits.len() + FOOTER_BYTES) as u64 + u64::from(self.present) * BLOCK_SAMPLES as u64;
        Ok(TrackSummary { duration_samples, size_bytes, late_samples: self.late_samples })
    }
}

/// Bytes of the bits for a time line of this length, at most [`DURATION_SAMPLES_MAX`].
const fn bit_bytes(duration_samples: u64) -> usize {
    duration_samples.div_ceil(BLOCK_SAMPLES as u64).div_ceil(8) as usize
}

/// Why a file can't be read as a track.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// It is something else, unfinished, or damaged.
    #[error("this is no finished track, or it is damaged: {0}")]
    Broken(&'static str),
    /// It was written by a program that is newer than this one.
    #[error("the track has version {0}, this program reads version {VERSION}")]
    Version(u16),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a track by places on its time line.
#[derive(Debug)]
pub struct TrackReader<S> {
    source: S,
    header: TrackHeader,
    duration_samples: u64,
    audio_crc: u32,
    /// One bit for each block, in words, the lowest bit first.
    bits: Vec<u64>,
    /// How many blocks are there before each word's first.
    before: Vec<u32>,
    present: u32,
    /// Blocks that were read ahead: `ahead` of them from the `first_ahead`th that is there.
    buffer: Vec<u8>,
    first_ahead: u32,
    ahead: u32,
}

/// Blocks that are read at once when none of a stretch is there yet: 4 s, 32 KB. It doubles up to [`READ_BLOCKS_MAX`] while reading
/// goes on, so that a look at one place is cheap and a whole track takes few requests.
const READ_BLOCKS_MIN: u32 = 20;
/// The most: 32 s, 256 KB.
const READ_BLOCKS_MAX: u32 = 160;

impl<S: Source> TrackReader<S> {
    /// Reads the end of the file.
    ///
    /// # Errors
    /// It is no track that this program can read, or reading failed.
    pub fn open(source: S) -> Result<Self, TrackError> {
        let size = source.size_bytes();
        if size < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(TrackError::Broken("it is too short"));
        }
        // What the longest time line's bits take is read at once: one request, whatever the length is.
        let mut tail = vec![0; (size as usize - HEADER_BYTES).min(bit_bytes(DURATION_SAMPLES_MAX) + FOOTER_BYTES)];
        source.read_at(size - tail.len() as u64, &mut tail)?;
        let (rest, footer) = tail.split_at(tail.len() - FOOTER_BYTES);
        if footer[56..] != FOOTER_MAGIC || crc32fast::hash(&footer[..52]) != u32_at(footer, 52) {
            return Err(TrackError::Broken("its footer"));
        }
        let version = u16_at(footer, 50);
        if version != VERSION || u32_at(footer, 44) != SAMPLE_RATE_HZ {
            return Err(TrackError::Version(version));
        }
        let track = Track::of_number(footer[48]).ok_or(TrackError::Broken("its number"))?;
        let (duration_samples, present) = (u64_at(footer, 24), u32_at(footer, 32));
        if duration_samples > DURATION_SAMPLES_MAX {
            return Err(TrackError::Broken("its length"));
        }
        let bit_bytes = bit_bytes(duration_samples);
        let audio_bytes = u64::from(present) * BLOCK_SAMPLES as u64;
        if size != audio_bytes + (HEADER_BYTES + bit_bytes + FOOTER_BYTES) as u64 {
            return Err(TrackError::Broken("its size"));
        }
        let bytes = &rest[rest.len() - bit_bytes..];
        if crc32fast::hash(bytes) != u32_at(footer, 40) {
            return Err(TrackError::Broken("its bits"));
        }
        let bits: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        let mut counted = 0;
        let before = bits
            .iter()
            .map(|word| {
                counted += word.count_ones();
                counted - word.count_ones()
            })
            .collect();
        if counted != present {
            return Err(TrackError::Broken("its number of blocks"));
        }
        Ok(Self {
            source,
            header: TrackHeader {
                session: SessionId::from_bits(u128::from_le_bytes(field(footer, 0))),
                track,
                origin_ms: i64::from_le_bytes(field(footer, 16)),
            },
            duration_samples,
            audio_crc: u32_at(footer, 36),
            bits,
            before,
            present,
            buffer: Vec::new(),
            first_ahead: 0,
            ahead: 0,
        })
    }

    /// What it is of.
    pub const fn header(&self) -> TrackHeader {
        self.header
    }

    /// Length of its time line.
    pub const fn duration_samples(&self) -> u64 {
        self.duration_samples
    }

    /// How much of it is sound, in whole blocks.
    pub const fn sound_samples(&self) -> u64 {
        self.present as u64 * BLOCK_SAMPLES as u64
    }

    /// Fills `mulaw` with what is heard from `place` on: silence where nothing is, and beyond the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read(&mut self, mut place: u64, mut mulaw: &mut [u8]) -> io::Result<()> {
        while !mulaw.is_empty() {
            let (block, offset) = (place / BLOCK_SAMPLES as u64, (place % BLOCK_SAMPLES as u64) as usize);
            let length = mulaw.len().min(BLOCK_SAMPLES - offset);
            let (now, rest) = mulaw.split_at_mut(length);
            match self.block(block)? {
                Some(samples) => now.copy_from_slice(&samples[offset..offset + length]),
                None => now.fill(SILENCE),
            }
            place = place.saturating_add(length as u64);
            mulaw = rest;
        }
        Ok(())
    }

    /// The first place from `place` on that is not in a silent block; none if all is silent to the end.
    pub fn next_sound(&self, place: u64) -> Option<u64> {
        let block = place / BLOCK_SAMPLES as u64;
        let mut word = usize::try_from(block / 64).ok()?;
        let mut bits = self.bits.get(word)? & (u64::MAX << (block % 64));
        while bits == 0 {
            word += 1;
            bits = *self.bits.get(word)?;
        }
        let found = (word as u64 * 64 + u64::from(bits.trailing_zeros())) * BLOCK_SAMPLES as u64;
        Some(found.max(place))
    }

    /// Compares the sound with its checksum, which reads all of it.
    ///
    /// # Errors
    /// It is damaged, or reading failed.
    pub fn verify(&mut self) -> Result<(), TrackError> {
        let (mut crc, mut place) = (crc32fast::Hasher::new(), 0);
        while let Some(sound) = self.next_sound(place) {
            let block = sound / BLOCK_SAMPLES as u64;
            if let Some(samples) = self.block(block)? {
                crc.update(samples);
            }
            place = (block + 1) * BLOCK_SAMPLES as u64;
        }
        if crc.finalize() == self.audio_crc { Ok(()) } else { Err(TrackError::Broken("its sound")) }
    }

    fn block(&mut self, block: u64) -> io::Result<Option<&[u8]>> {
        let (word, bit) = ((block / 64) as usize, block % 64);
        let Some(bits) = self.bits.get(word).filter(|bits| *bits >> bit & 1 == 1) else { return Ok(None) };
        let rank = self.before[word] + (bits & ((1 << bit) - 1)).count_ones();
        if !(self.first_ahead..self.first_ahead + self.ahead).contains(&rank) {
            let goes_on = self.ahead > 0 && rank == self.first_ahead + self.ahead;
            let wanted = if goes_on { (self.ahead * 2).min(READ_BLOCKS_MAX) } else { READ_BLOCKS_MIN };
            let count = wanted.min(self.present - rank);
            // Until it has succeeded nothing is there.
            self.ahead = 0;
            self.buffer.resize(count as usize * BLOCK_SAMPLES, 0);
            self.source.read_at(HEADER_BYTES as u64 + u64::from(rank) * BLOCK_SAMPLES as u64, &mut self.buffer)?;
            (self.first_ahead, self.ahead) = (rank, count);
        }
        let start = (rank - self.first_ahead) as usize * BLOCK_SAMPLES;
        Ok(Some(&self.buffer[start..start + BLOCK_SAMPLES]))
    }
}

#[cfg(test)]
mod tests;
