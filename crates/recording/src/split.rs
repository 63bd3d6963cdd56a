//! From a session's logs to its tracks, once the call is over.
//!
//! What must stay true: logs of several nodes' lives become one time line, whichever order they are given in; one pass, and memory for
//! one buffer per log and one window per track, however long the call was.

use std::io::{self, Read, Write};

use kallglot_core::id::SessionId;

use crate::Track;
use crate::log::{LogError, LogReader};
use crate::track::{TrackHeader, TrackSummary, TrackWriter};

/// Most logs that a session's tracks are made of; each takes a buffer of 32 KB.
pub const PARTS_MAX: usize = 1_024;

/// Why tracks could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// There is no log that has anything, or more than [`PARTS_MAX`].
    #[error("tracks are made of 1 to {PARTS_MAX} logs, not of {0}")]
    Parts(usize),
    /// Logs of different sessions.
    #[error("a log is of session {found}, not of {wanted}")]
    OtherSession {
        /// The first log's.
        wanted: SessionId,
        /// Another one's.
        found: SessionId,
    },
    /// None of the logs can be read; this is said of one of them.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What became of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitSummary {
    /// Length of the time line.
    pub duration_samples: u64,
    /// Of each track, by [`Track::number`].
    pub tracks: [TrackSummary; 4],
    /// Logs that could not be read at all, as their headers are damaged or newer.
    pub unread_logs: usize,
    /// Bytes of the logs that belong to no sound record, torn ends not counted.
    pub skipped_bytes: u64,
}

/// Makes the four tracks of `logs` and writes them to `outputs`, by [`Track::number`]; each is as long as the longest, and at least
/// `duration_samples`. Logs that end within their header are left out, and so are those that can't be read, as
/// long as there is one that can. The outputs should be buffered; they are flushed.
///
/// Where two records of a track overlap, what is kept is: within a log, the later one; of two logs, the one that begins later, and of those
/// that begin together the greater part's.
///
/// # Errors
/// See [`SplitError`]. What was written by then is of no use.
pub fn split<R: Read, W: Write>(
    logs: impl IntoIterator<Item = R>,
    outputs: [W; 4],
    duration_samples: u64,
) -> Result<SplitSummary, SplitError> {
    let (mut parts, mut unread) = (Vec::new(), Vec::new());
    for log in logs {
        match LogReader::open(log) {
            Ok(part) => parts.push(part),
            Err(LogError::Empty) => {}
            Err(LogError::Io(error)) => return Err(error.into()),
            Err(error) => unread.push(error),
        }
        if parts.len() + unread.len() > PARTS_MAX {
            return Err(SplitError::Parts(parts.len() + unread.len()));
        }
    }
    parts.sort_by_key(|part| part.header().part);
    let unread_logs = unread.len();
    let Some(first) = parts.first().map(LogReader::header) else {
        return Err(unread.pop().map_or(SplitError::Parts(0), SplitError::Log));
    };
    if let Some(other) = parts.iter().find(|part| part.header().session != first.session) {
        return Err(SplitError::OtherSession { wanted: first.session, found: other.header().session });
    }

    let mut writers = Vec::with_capacity(4);
    for (track, output) in Track::ALL.into_iter().zip(outputs) {
        writers
            .push(TrackWriter::new(output, TrackHeader { session: first.session, track, origin_ms: first.origin_ms })?);
    }
    for part in &mut parts {
        part.advance()?;
    }
    // Always the log whose next record is earliest: of equally early ones the lowest part, so that the greater one's audio comes later.
    loop {
        let next =
            parts.iter_mut().filter_map(|part| Some((part.current()?.place, part))).min_by_key(|(place, _)| *place);
        let Some((_, part)) = next else { break };
        if let Some(record) = part.current() {
            writers[usize::from(record.track.number())].push(record.place, record.mulaw)?;
        }
        part.advance()?;
    }

    let duration_samples = writers.iter().map(TrackWriter::end_samples).fold(duration_samples, u64::max);
    let skipped_bytes = parts.iter().map(LogReader::skipped_bytes).sum();
    let mut tracks = [TrackSummary::default(); 4];
    for (summary, writer) in tracks.iter_mut().zip(writers) {
        *summary = writer.finish(duration_samples)?;
    }
    Ok(SplitSummary { duration_samples: tracks[0].duration_samples, tracks, unread_logs, skipped_bytes })
}

#[cfg(test)]
mod tests;
