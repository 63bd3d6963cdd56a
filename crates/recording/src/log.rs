//! The log that a live session appends to while the call runs: one file per node's life, all four tracks interleaved.
//!
//! A header of [`HEADER_BYTES`] says whose log it is; then follow records, each with a mark, its track, its place on the time line and
//! a CRC-32 over all of it. Numbers are little-endian. Nothing is ever changed in place, so a crash can only tear the end.
//! What must stay true: whatever bytes follow or precede it, a record that was written whole is read back exactly, once, and in
//! order; silence costs nothing; neither side allocates per record.
//!
//! ```text
//! header  8 magic "KGLTREC\n" | 2 version | 2 zero | 4 samples per second | 16 session | 8 part | 8 origin (ms) | 4 CRC-32 of these
//! record  2 mark | 1 track | 1 zero | 2 samples | 6 place | 4 CRC-32 of all but itself | mu-law, one byte a sample
//! ```

use std::io::{self, Read};

use kallglot_core::id::SessionId;

use crate::bytes::{field, u16_at, u32_at, u64_at};
use crate::{DURATION_SAMPLES_MAX, SAMPLE_RATE_HZ, Track, is_silent};

/// Bytes of the header at the log's start.
pub const HEADER_BYTES: usize = 52;
/// Bytes of a record beside its audio.
pub const RECORD_HEADER_BYTES: usize = 16;
/// Most samples in one record: 1 s. More is cut into several.
pub const RECORD_SAMPLES_MAX: usize = SAMPLE_RATE_HZ as usize;

const MAGIC: [u8; 8] = *b"KGLTREC\n";
const VERSION: u16 = 1;
/// Two bytes that neither text nor speech has often beside each other.
const MARK: [u8; 2] = [0x4b, 0xa7];
/// The reader's buffer; the longest record fits in it several times.
const BUFFER_BYTES: usize = 32 * 1_024;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHeader {
    /// The session.
    pub session: SessionId,
    /// Which of the session's logs: a number that grows from one node's life to the next, such as the time it was started.
    pub part: u64,
    /// Unix time in milliseconds of the time line's zero.
    pub origin_ms: i64,
}

impl LogHeader {
    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&SAMPLE_RATE_HZ.to_le_bytes());
        out.extend_from_slice(&self.session.to_bits().to_le_bytes());
        out.extend_from_slice(&self.part.to_le_bytes());
        out.extend_from_slice(&self.origin_ms.to_le_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, LogError> {
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..48]) != u32_at(bytes, 48) {
            return Err(LogError::NoLog);
        }
        let version = u16_at(bytes, 8);
        if version != VERSION || u32_at(bytes, 12) != SAMPLE_RATE_HZ {
            return Err(LogError::Version(version));
        }
        Ok(Self {
            session: SessionId::from_bits(u128::from_le_bytes(field(bytes, 16))),
            part: u64_at(bytes, 32),
            origin_ms: i64::from_le_bytes(field(bytes, 40)),
        })
    }
}

/// Appends `mulaw`, which begins `place` samples after the time line's zero, to `out`: nothing where it is digital silence, several
/// records where it is longer than [`RECORD_SAMPLES_MAX`]. What lies beyond [`DURATION_SAMPLES_MAX`] is left out.
///
/// Within a track, places should grow; going back is allowed by [`crate::track::WINDOW_SAMPLES`], what is older is lost then.
/// Where two records have audio for the same moment, the later one's is kept.
pub fn append(out: &mut Vec<u8>, track: Track, place: u64, mulaw: &[u8]) {
    let room = usize::try_from(DURATION_SAMPLES_MAX.saturating_sub(place)).unwrap_or(usize::MAX);
    let mulaw = &mulaw[..mulaw.len().min(room)];
    for (n, piece) in mulaw.chunks(RECORD_SAMPLES_MAX).enumerate() {
        if is_silent(piece) {
            continue;
        }
        let start = out.len();
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&[track.number(), 0]);
        out.extend_from_slice(&(piece.len() as u16).to_le_bytes());
        out.extend_from_slice(&(place + (n * RECORD_SAMPLES_MAX) as u64).to_le_bytes()[..6]);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out[start..]);
        crc.update(piece);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        out.extend_from_slice(piece);
    }
}

/// Why a file can't be read as a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It ends within its header: it was being created when the node died, and holds nothing.
    #[error("the log ends within its header")]
    Empty,
    /// It is something else, or its header is damaged.
    #[error("this is no recording's log, or its header is damaged")]
    NoLog,
    /// It was written by a program that is newer than this one.
    #[error("the recording's log has version {0}, this program reads version {VERSION}")]
    Version(u16),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One record, as it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its track.
    pub track: Track,
    /// Where on the time line it begins, in samples.
    pub place: u64,
    /// The audio, 1 to [`RECORD_SAMPLES_MAX`] samples.
    pub mulaw: &'a [u8],
}

/// What a record says of itself before its audio.
#[derive(Debug, Clone, Copy)]
struct RecordHeader {
    track: Track,
    place: u64,
    samples: usize,
    crc: u32,
}

impl RecordHeader {
    fn read(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let track = Track::of_number(bytes[2])?;
        let samples = usize::from(u16_at(bytes, 4));
        let mut place = [0; 8];
        place[..6].copy_from_slice(&bytes[6..12]);
        let place = u64::from_le_bytes(place);
        let fits = (1..=RECORD_SAMPLES_MAX).contains(&samples) && place + samples as u64 <= DURATION_SAMPLES_MAX;
        let header = Self { track, place, samples, crc: u32_at(bytes, 12) };
        (bytes[..2] == MARK && bytes[3] == 0 && fits).then_some(header)
    }
}

/// Reads a log from its start to its end, with a fixed buffer. What is no sound record is skipped and counted.
#[derive(Debug)]
pub struct LogReader<R> {
    source: R,
    header: LogHeader,
    buffer: Vec<u8>,
    /// The part of `buffer` that was read and not yet used.
    from: usize,
    to: usize,
    /// Where in the log `from` is.
    offset: u64,
    /// The record that `current` gives out, in `buffer`.
    current: Option<(RecordHeader, usize)>,
    sound_bytes: u64,
    skipped_bytes: u64,
}

impl<R: Read> LogReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no log that this program can read, or reading failed.
    pub fn open(mut source: R) -> Result<Self, LogError> {
        let mut header = [0; HEADER_BYTES];
        source.read_exact(&mut header).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => LogError::Empty,
            _ => error.into(),
        })?;
        Ok(Self {
            source,
            header: LogHeader::read(&header)?,
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            to: 0,
            offset: HEADER_BYTES as u64,
            current: None,
            sound_bytes: HEADER_BYTES as u64,
            skipped_bytes: 0,
        })
    }

    /// Whose log it is.
    pub const fn header(&self) -> LogHeader {
        self.header
    }

    /// Up to which byte of the log all is read and sound, so far: a torn end begins here once [`Self::read`] has given none.
    pub const fn sound_bytes(&self) -> u64 {
        self.sound_bytes
    }

    /// How many bytes before [`Self::sound_bytes`] belong to no sound record: damage, which a crash alone does not do.
    pub const fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Reads the next sound record; none at the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read(&mut self) -> io::Result<Option<Record<'_>>> {
        self.advance()?;
        Ok(self.current())
    }

    /// The record that [`Self::read`] gave last.
    pub fn current(&self) -> Option<Record<'_>> {
        let (header, start) = self.current?;
        let mulaw = &self.buffer[start..start + header.samples];
        Some(Record { track: header.track, place: header.place, mulaw })
    }

    /// Goes on to the next sound record; false at the end.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.current = None;
        loop {
            if !self.have(RECORD_HEADER_BYTES)? {
                return Ok(false);
            }
            let mut header = [0; RECORD_HEADER_BYTES];
            header.copy_from_slice(&self.buffer[self.from..self.from + RECORD_HEADER_BYTES]);
            if let Some(record) = RecordHeader::read(&header)
                && self.have(RECORD_HEADER_BYTES + record.samples)?
            {
                let audio = self.from + RECORD_HEADER_BYTES;
                let mut crc = crc32fast::Hasher::new();
                crc.update(&header[..12]);
                crc.update(&self.buffer[audio..audio + record.samples]);
                if crc.finalize() == record.crc {
                    self.skipped_bytes += self.offset - self.sound_bytes;
                    self.use_up(RECORD_HEADER_BYTES + record.samples);
                    self.sound_bytes = self.offset;
                    self.current = Some((record, audio));
                    return Ok(true);
                }
            }
            // Byte by byte to where a record may begin.
            let rest = &self.buffer[self.from + 1..self.to];
            let next = rest.iter().position(|&byte| byte == MARK[0]).unwrap_or(rest.len());
            self.use_up(1 + next);
        }
    }

    fn use_up(&mut self, bytes: usize) {
        self.from += bytes;
        self.offset += bytes as u64;
    }

    /// Whether `bytes` (at most a record) are there from `from` on, after reading what is needed.
    fn have(&mut self, bytes: usize) -> io::Result<bool> {
        if self.to - self.from >= bytes {
            return Ok(true);
        }
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        while self.to < bytes {
            match self.source.read(&mut self.buffer[self.to..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.to += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
