//! A recording's audio, made of its tracks while somebody reads it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kallglot_core::recording::{Channel, Recording, Track};
use kallglot_core::session::Speaker;
use kallglot_objects::Objects;
use kallglot_recording::SAMPLE_RATE_HZ;
use kallglot_recording::render::{self, Format, Layout, Rendering, Selection, Tracks};
use kallglot_recording::source::Source;
use kallglot_recording::track::{TrackError, TrackReader};
use kallglot_storage::{StorageError, StoredTrack};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::App;

/// Bytes of audio that are made at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Why audio can't be read.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The object store, or what is in it.
    #[error("{0}")]
    Objects(String),
    /// A track is not as it was written.
    #[error("a track can't be read: {0}")]
    Broken(String),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An object as a source of bytes, for a thread that may wait.
struct ObjectSource {
    objects: Arc<dyn Objects>,
    name: String,
    bytes: u64,
    runtime: Handle,
}

impl Source for ObjectSource {
    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let read = self.runtime.block_on(self.objects.read(&self.name, offset..end)).map_err(io::Error::other)?;
        if read.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&read);
        Ok(())
    }
}

/// The audio of a recording in one form. Between two readings it holds no thread, and what it holds does not grow with its length.
pub struct Audio {
    rendering: Option<Rendering<ObjectSource>>,
    bytes: u64,
    tracks: usize,
    reading: Arc<Semaphore>,
}

impl Audio {
    /// The exact length. Bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of how many tracks it is made: those that were deleted since are not among them.
    pub fn tracks(&self) -> usize {
        self.tracks
    }

    /// The next bytes of `range`, at its start; empty at its end.
    ///
    /// # Errors
    /// The object store's, and those of the tracks.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Bytes, AudioError> {
        let stopping = || AudioError::Objects("the process is stopping".into());
        let length = usize::try_from(range.end.min(self.bytes).saturating_sub(range.start)).unwrap_or(PIECE_BYTES);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let _turn = self.reading.acquire().await.map_err(|_| stopping())?;
        let mut rendering = self.rendering.take().ok_or_else(stopping)?;
        let made = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; length.min(PIECE_BYTES)];
            let read = rendering.read_at(range.start, &mut buffer);
            (
                rendering,
                read.map(|length| {
                    buffer.truncate(length);
                    buffer
                }),
            )
        });
        let (rendering, read) = made.await.map_err(|_| stopping())?;
        self.rendering = Some(rendering);
        read.map(Bytes::from).map_err(|error| AudioError::Objects(error.to_string()))
    }
}

impl App {
    /// The audio of a recording that is ready. Tracks that were deleted since are silent; the caller has looked that it is not removed.
    ///
    /// # Errors
    /// See [`AudioError`].
    pub async fn audio(
        &self,
        recording: &Recording,
        selection: Selection,
        format: Format,
    ) -> Result<Audio, AudioError> {
        let none = || AudioError::Objects("this server has no place for recordings".into());
        let objects = self.recordings.objects.clone().ok_or_else(none)?;
        let stored = self.storage.recording_tracks(recording.tenant, recording.session).await?;
        let stored: Vec<StoredTrack> = stored.into_iter().filter(|it| selection.includes(rendered(it.track))).collect();
        let tracks_kept = stored.len();
        let duration_samples = recording.duration_ms.unwrap_or(0) * u64::from(SAMPLE_RATE_HZ) / 1000;
        let reading = Arc::clone(&self.recordings.reading);
        let turn = reading.clone().acquire_owned().await.map_err(|_| none())?;
        let runtime = Handle::current();
        let opened = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let open = |stored: StoredTrack| {
                let StoredTrack { object, bytes, .. } = stored;
                let source =
                    ObjectSource { objects: Arc::clone(&objects), name: object, bytes, runtime: runtime.clone() };
                TrackReader::open(source).map_err(|error| match error {
                    TrackError::Io(error) => AudioError::Objects(error.to_string()),
                    other => AudioError::Broken(other.to_string()),
                })
            };
            let tracks = stored.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
            Rendering::new(tracks, duration_samples, selection, format)
                .map_err(|error| AudioError::Objects(error.to_string()))
        });
        let rendering = opened.await.map_err(|_| none())??;
        Ok(Audio { bytes: rendering.size_bytes(), rendering: Some(rendering), tracks: tracks_kept, reading })
    }
}

fn rendered(track: Track) -> kallglot_recording::Track {
    use kallglot_recording::Track as Rendered;
    match track {
        Track::CustomerOriginal => Rendered::CustomerOriginal,
        Track::CustomerTranslated => Rendered::CustomerTranslated,
        Track::AgentOriginal => Rendered::AgentOriginal,
        Track::AgentTranslated => Rendered::AgentTranslated,
    }
}

/// What there is of a recording in the default form: of a party what it said, of both everything.
pub fn default_selection(channel: Channel) -> Selection {
    let tracks = if channel == Channel::Mixed { Tracks::Both } else { Tracks::Original };
    Selection { channel: voices(channel), tracks, layout: Layout::Mono }
}

/// What names the bytes of an answer. They follow from the recording, its tracks, the form, and the program that makes it.
pub fn etag(recording: &Recording, selection: Selection, format: Format, tracks: usize) -> String {
    let what = match selection.tracks {
        Tracks::Original => 'o',
        Tracks::Translated => 't',
        Tracks::Both => 'b',
    };
    let (channels, version) = (selection.layout.channels(), env!("CARGO_PKG_VERSION"));
    format!("\"{}.{what}{channels}{tracks}.{}.{version}\"", recording.id, format.extension())
}

/// Whose voices a recording of this channel has.
fn voices(channel: Channel) -> render::Channel {
    match channel {
        Channel::Mixed => render::Channel::Mixed,
        Channel::Customer => render::Channel::Party(Speaker::Customer),
        Channel::Agent => render::Channel::Party(Speaker::Agent),
    }
}
