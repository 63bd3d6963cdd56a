//! The sound of a recording, made of its tracks when somebody asks for it: WAV, MP3 or Ogg, and any byte range of them.
//!
//! What must stay true: the length is known before anything is made; the bytes of a range are the same whether it is made alone or with
//! all before it, so nothing that was made has to be kept; what is on the time line at one moment is heard at that moment in
//! every format, to within a millisecond; nothing clips; memory does not grow with the length.

use std::io;

use kallglot_core::session::Speaker;

use crate::source::Source;
use crate::track::TrackReader;
use crate::{DURATION_SAMPLES_MAX, Track};

mod mix;
mod mp3;
mod ogg;
mod wav;

use mix::Mixer;

/// Whose voices are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Both parties'.
    Mixed,
    /// One party's.
    Party(Speaker),
}

/// Which of a party's tracks are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracks {
    /// What was said.
    Original,
    /// Its translation, when it was heard.
    Translated,
    /// Both, one over the other.
    Both,
}

/// How the parties are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In one channel.
    Mono,
    /// The agent's tracks left, the customer's right.
    Stereo,
}

impl Layout {
    /// How many channels there are.
    pub const fn channels(self) -> u16 {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

/// What is heard, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Whose voices.
    pub channel: Channel,
    /// Which of their tracks.
    pub tracks: Tracks,
    /// How they are laid out.
    pub layout: Layout,
}

impl Selection {
    /// Whether this track is heard.
    pub fn includes(self, track: Track) -> bool {
        let voice = match self.channel {
            Channel::Mixed => true,
            Channel::Party(party) => party == track.speaker(),
        };
        voice
            && match self.tracks {
                Tracks::Original => !track.is_translated(),
                Tracks::Translated => track.is_translated(),
                Tracks::Both => true,
            }
    }
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PCM of 16 bits at 8 kHz: exactly what the tracks hold.
    Wav,
    /// MP3 at 16 kHz and 40 kbit/s per channel.
    Mp3,
    /// Ogg with Opus at 32 kbit/s per channel.
    Ogg,
}

impl Format {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Ogg => "audio/ogg",
        }
    }

    /// What names of such files end with, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Ogg => "ogg",
        }
    }

    /// Samples per second of the sound in the file.
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Wav | Self::Ogg => crate::SAMPLE_RATE_HZ,
            Self::Mp3 => mp3::RATE_HZ,
        }
    }

    /// The exact length of a file of a time line of `duration_samples`, at most [`DURATION_SAMPLES_MAX`].
    pub fn size_bytes(self, layout: Layout, duration_samples: u64) -> u64 {
        let duration_samples = duration_samples.min(DURATION_SAMPLES_MAX);
        match self {
            Self::Wav => wav::size_bytes(layout, duration_samples),
            Self::Mp3 => mp3::size_bytes(layout, duration_samples),
            Self::Ogg => ogg::size_bytes(layout, duration_samples),
        }
    }
}

/// A file that is made while it is read.
#[derive(Debug)]
pub struct Rendering<S> {
    mixer: Mixer<S>,
    encoder: Encoder,
    size_bytes: u64,
    /// The bytes that were made last, from `chunk_offset` of the file on.
    chunk: Vec<u8>,
    chunk_offset: u64,
}

#[derive(Debug)]
enum Encoder {
    Wav,
    Mp3(Box<mp3::Encoder>),
    Ogg(Box<ogg::Encoder>),
}

impl<S: Source> Rendering<S> {
    /// The file of a time line of `duration_samples` (at most [`DURATION_SAMPLES_MAX`]). Of `tracks` those are used that `selection` has;
    /// one that is missing, such as a deleted one, is silent.
    ///
    /// # Errors
    /// The encoder can't be made, which nothing that is given here decides.
    pub fn new(
        tracks: impl IntoIterator<Item = TrackReader<S>>,
        duration_samples: u64,
        selection: Selection,
        format: Format,
    ) -> io::Result<Self> {
        let duration_samples = duration_samples.min(DURATION_SAMPLES_MAX);
        let encoder = match format {
            Format::Wav => Encoder::Wav,
            Format::Mp3 => Encoder::Mp3(Box::new(mp3::Encoder::new(selection.layout)?)),
            Format::Ogg => Encoder::Ogg(Box::new(ogg::Encoder::new(selection.layout)?)),
        };
        Ok(Self {
            mixer: Mixer::new(tracks, duration_samples, selection),
            encoder,
            size_bytes: format.size_bytes(selection.layout, duration_samples),
            chunk: Vec::new(),
            chunk_offset: 0,
        })
    }

    /// The exact length of the file.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills `buffer` with the file's bytes from `offset` on, and returns how many there are: all of it, or less at the file's end.
    /// Cheapest where `offset` goes on from the last reading; else costs a little to begin anew, however far into the file it is.
    ///
    /// # Errors
    /// A track can't be read.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset.saturating_add(filled as u64);
            if at >= self.size_bytes {
                break;
            }
            if !(self.chunk_offset..self.chunk_offset + self.chunk.len() as u64).contains(&at) {
                // After a failure there must be no chunk that is half made.
                self.chunk.clear();
                self.chunk_offset = match &mut self.encoder {
                    Encoder::Wav => wav::make(&mut self.mixer, at, &mut self.chunk)?,
                    Encoder::Mp3(encoder) => encoder.make(&mut self.mixer, at, &mut self.chunk)?,
                    Encoder::Ogg(encoder) => encoder.make(&mut self.mixer, at, &mut self.chunk)?,
                };
            }
            let made = &self.chunk[(at - self.chunk_offset) as usize..];
            let length = made.len().min(buffer.len() - filled);
            buffer[filled..filled + length].copy_from_slice(&made[..length]);
            filled += length;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests;
