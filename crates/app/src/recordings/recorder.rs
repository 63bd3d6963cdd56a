//! What a live session says to its log: who said what when, and what was heard of it when.

use std::collections::VecDeque;

use kallglot_audio::{SAMPLES_PER_MS, g711};
use kallglot_core::session::Speaker;
use kallglot_recording::Track;
use tokio::time::Instant;

use crate::recordings::disk::LogHandle;

/// Frames that are sent and not heard yet: they are sent a little ahead. More never wait than can be sent ahead for both listeners.
const AHEAD_MAX: usize = 64;

/// The recorder of one live session.
pub(crate) struct Recorder {
    log: LogHandle,
    /// The time line's zero.
    zero: Instant,
    /// Nothing is taken while it is paused.
    paused: bool,
    ahead: VecDeque<Ahead>,
    mulaw: Vec<u8>,
}

struct Ahead {
    heard_at: Instant,
    track: Track,
    mulaw: std::sync::Arc<[u8]>,
}

impl Recorder {
    /// Writes into `log`.
    pub(crate) fn new(log: LogHandle, zero: Instant, paused: bool) -> Self {
        Self { log, zero, paused, ahead: VecDeque::new(), mulaw: Vec::new() }
    }

    /// The log's name, and how much was dropped so far in ms.
    pub(crate) fn log(&self) -> (&str, u64) {
        (self.log.name(), self.log.dropped_ms())
    }

    /// A party said this. `place` is in samples after the time line's zero.
    pub(crate) fn said(&mut self, speaker: Speaker, place: u64, samples: &[i16]) {
        if self.paused {
            return;
        }
        self.mulaw.clear();
        g711::encode_mulaw_into(samples, &mut self.mulaw);
        let track = match speaker {
            Speaker::Customer => Track::CustomerOriginal,
            Speaker::Agent => Track::AgentOriginal,
        };
        self.log.push(track, place, &self.mulaw);
    }

    /// `speaker`'s words, translated, are heard by the other party from `heard_at` on.
    pub(crate) fn translated(
        &mut self,
        speaker: Speaker,
        heard_at: Instant,
        mulaw: &std::sync::Arc<[u8]>,
        now: Instant,
    ) {
        if self.paused {
            return;
        }
        let track = match speaker {
            Speaker::Customer => Track::CustomerTranslated,
            Speaker::Agent => Track::AgentTranslated,
        };
        self.ahead.push_back(Ahead { heard_at, track, mulaw: std::sync::Arc::clone(mulaw) });
        self.heard(now);
        while self.ahead.len() > AHEAD_MAX {
            self.keep_next();
        }
    }

    /// What has been sent ahead and is heard by `now` is kept.
    pub(crate) fn heard(&mut self, now: Instant) {
        while self.ahead.front().is_some_and(|next| next.heard_at <= now) {
            self.keep_next();
        }
    }

    /// Stops keeping what is said from `now` on, or goes on with it. What was sent ahead and is heard later is not kept either.
    pub(crate) fn pause(&mut self, paused: bool, now: Instant) {
        self.heard(now);
        self.ahead.clear();
        self.paused = paused;
    }

    fn keep_next(&mut self) {
        let Some(next) = self.ahead.pop_front() else { return };
        let after = next.heard_at.saturating_duration_since(self.zero).as_micros() as u64;
        self.log.push(next.track, after * SAMPLES_PER_MS as u64 / 1000, &next.mulaw);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // What was sent was heard.
        while !self.ahead.is_empty() {
            self.keep_next();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]
mod tests {
    use std::time::Duration;

    use kallglot_core::id::SessionId;
    use kallglot_recording::log::{LogHeader, LogReader};

    use super::*;
    use crate::recordings::disk::Disk;

    const SESSION: SessionId = SessionId::from_bits(1);

    fn header() -> LogHeader {
        LogHeader { session: SESSION, part: 1, origin_ms: 0 }
    }

    fn records(folder: &std::path::Path) -> Vec<(Track, u64, usize)> {
        let mut reader = LogReader::open(std::fs::File::open(folder.join("a")).unwrap()).unwrap();
        let mut found = Vec::new();
        while let Some(record) = reader.read().unwrap() {
            found.push((record.track, record.place, record.mulaw.len()));
        }
        found
    }

    #[tokio::test]
    async fn what_is_heard_is_kept_when_it_is_heard_and_nothing_while_paused() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let mut recorder = Recorder::new(disk.log("a".into(), &header()), zero, false);
        let frame = std::sync::Arc::from([0x10u8; 160].as_slice());
        recorder.said(Speaker::Customer, 80, &[1000; 160]);
        recorder.translated(Speaker::Customer, at(140), &frame, at(100));
        recorder.translated(Speaker::Customer, at(160), &frame, at(120));
        recorder.pause(true, at(150));
        recorder.said(Speaker::Agent, 1_600, &[1000; 160]);
        recorder.translated(Speaker::Agent, at(260), &frame, at(220));
        recorder.pause(false, at(300));
        recorder.said(Speaker::Agent, 3_200, &[1000; 160]);
        recorder.translated(Speaker::Agent, at(400), &frame, at(360));
        drop(recorder);
        disk.closed(SESSION).await;
        let expected = [
            (Track::CustomerOriginal, 80, 160),
            (Track::CustomerTranslated, 140 * 8, 160),
            (Track::AgentOriginal, 3_200, 160),
            (Track::AgentTranslated, 400 * 8, 160),
        ];
        assert_eq!(records(folder.path()), expected);
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_costs_audio_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        // A folder stands where the log should be.
        std::fs::create_dir(folder.path().join("a")).unwrap();
        let mut recorder = Recorder::new(disk.log("a".into(), &header()), Instant::now(), false);
        let mut said = 0u64;
        while recorder.log().1 == 0 {
            recorder.said(Speaker::Customer, said, &[1000; 8_000]);
            said += 8_000;
            assert!(said < 1_000_000, "what waits has no bound");
        }
        assert!(said > 8 * 8_000, "8 s of a call fit");
        // The disk is better again: what waited is written.
        std::fs::remove_dir(folder.path().join("a")).unwrap();
        let dropped = recorder.log().1;
        drop(recorder);
        disk.closed(SESSION).await;
        let kept: usize = records(folder.path()).iter().map(|(_, _, samples)| samples).sum();
        assert_eq!(kept as u64 + dropped * 8, said, "it is counted to the millisecond what is lost");
    }
}
