//! Who watches a live session without taking part: texts, levels, lags, the recording's state and the end, and no audio.
//!
//! What must stay true: a session that nobody observes does nothing for it, not even a timer; observers have a bound of their own, apart
//! from the sockets'; they keep no session alive, start none, and are told by the same outboxes that never block.

use std::sync::Arc;
use std::time::Duration;

use kallglot_audio::level::{SILENCE_DBFS, rms_dbfs};
use kallglot_audio::segment::{SegmentConfig, Segmenter};
use kallglot_audio::{SAMPLE_RATE_HZ, g711};
use kallglot_core::session::Speaker;
use tokio::time::Instant;

use crate::live::message::{Levels, Outgoing, PartyLevels, SocketId};
use crate::live::outbox::Outbox;

/// Observers that one session may have on top of its sockets; a further one is refused.
pub(super) const OBSERVERS_MAX: usize = 8;
/// How often observers are told levels.
const LEVELS_EVERY: Duration = Duration::from_millis(250);
/// Audio of one interval that is measured; what a burst brings beyond it is not.
const MEASURED_SAMPLES_MAX: usize = SAMPLE_RATE_HZ as usize;
/// Silence after which a voice counts as not active: less than what ends an utterance, more than a pause between words.
const VOICE_ENDS_MS: u32 = 200;

/// The observers of one session.
#[derive(Default)]
pub(super) struct Observers {
    outboxes: Vec<(SocketId, Arc<Outbox>)>,
    /// There only while somebody observes.
    meters: Option<Box<Meters>>,
}

struct Meters {
    parties: [Meter; 2],
    due: Instant,
    decoded: Vec<i16>,
}

/// What was said and heard at one party since the last interval.
struct Meter {
    voice: Segmenter,
    said: Vec<i16>,
    heard: Vec<i16>,
}

impl Meter {
    fn new() -> Self {
        let voice = Segmenter::new(&SegmentConfig { endpoint_ms: VOICE_ENDS_MS, ..SegmentConfig::default() });
        Self { voice, said: Vec::new(), heard: Vec::new() }
    }

    fn levels(&mut self) -> PartyLevels {
        if self.said.is_empty() {
            // Nothing comes: whatever voice there was, it has ended.
            self.voice.flush(&mut |_| {});
        }
        let levels = PartyLevels {
            level_dbfs: rms_dbfs(&self.said),
            voice: self.voice.is_speaking(),
            heard_dbfs: if self.heard.is_empty() { SILENCE_DBFS } else { rms_dbfs(&self.heard) },
        };
        self.said.clear();
        self.heard.clear();
        levels
    }
}

fn keep(kept: &mut Vec<i16>, samples: &[i16]) {
    let room = MEASURED_SAMPLES_MAX - kept.len();
    kept.extend(samples.iter().take(room));
}

impl Observers {
    /// Whether there is room for one more.
    pub(super) fn are_full(&self) -> bool {
        self.outboxes.len() >= OBSERVERS_MAX
    }

    /// One more watches from `now` on.
    pub(super) fn join(&mut self, id: SocketId, outbox: Arc<Outbox>, now: Instant) {
        self.outboxes.push((id, outbox));
        self.meters.get_or_insert_with(|| {
            let parties = [Meter::new(), Meter::new()];
            Box::new(Meters { parties, due: now + LEVELS_EVERY, decoded: Vec::new() })
        });
    }

    /// One is gone.
    pub(super) fn leave(&mut self, id: SocketId) {
        self.outboxes.retain(|(known, _)| *known != id);
        if self.outboxes.is_empty() {
            self.meters = None;
        }
    }

    /// Tells all of them.
    pub(super) fn tell(&self, message: &Outgoing) {
        for (_, outbox) in &self.outboxes {
            outbox.push(message.clone());
        }
    }

    /// Measures what a party said.
    pub(super) fn said(&mut self, speaker: Speaker, samples: &[i16]) {
        let Some(meters) = &mut self.meters else { return };
        let meter = &mut meters.parties[speaker.index()];
        meter.voice.push(samples, &mut |_| {});
        keep(&mut meter.said, samples);
    }

    /// Measures translated speech that a party is given to hear.
    pub(super) fn heard(&mut self, target: Speaker, mulaw: &[u8]) {
        let Some(meters) = &mut self.meters else { return };
        meters.decoded.clear();
        g711::decode_mulaw_into(mulaw, &mut meters.decoded);
        keep(&mut meters.parties[target.index()].heard, &meters.decoded);
    }

    /// When levels are to be told next; none while nobody observes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.meters.as_ref().map(|meters| meters.due)
    }

    /// Tells the levels, if it is time. `elapsed_ms` is the session's clock, once it runs.
    pub(super) fn tell_levels(&mut self, elapsed_ms: Option<u64>, now: Instant) {
        let Some(meters) = self.meters.as_mut().filter(|meters| meters.due <= now) else { return };
        meters.due = now + LEVELS_EVERY;
        let parties = meters.parties.each_mut().map(Meter::levels);
        self.tell(&Outgoing::Levels(Levels { elapsed_ms, parties }));
    }
}

#[cfg(test)]
mod tests {
    use kallglot_audio::fake_voice::voice;

    use super::*;

    fn levels(batch: &[Outgoing]) -> Levels {
        let found: Vec<Levels> = batch
            .iter()
            .filter_map(|it| if let Outgoing::Levels(levels) = it { Some(*levels) } else { None })
            .collect();
        assert_eq!(found.len(), 1, "the newest replaces what was not read: {batch:?}");
        found[0]
    }

    #[tokio::test]
    async fn levels_tell_who_speaks_and_who_hears_a_translation() {
        let (mut observers, outbox, start) = (Observers::default(), Arc::new(Outbox::default()), Instant::now());
        assert_eq!(observers.due(), None);
        observers.said(Speaker::Customer, &voice(100));
        observers.join(1, Arc::clone(&outbox), start);
        let mut batch = Vec::new();

        observers.said(Speaker::Customer, &voice(250));
        observers.heard(Speaker::Agent, &[0x90; 160]);
        observers.tell_levels(Some(250), observers.due().unwrap());
        outbox.take(&mut batch).await;
        let first = levels(&batch);
        let [customer, agent] = first.parties;
        assert_eq!(first.elapsed_ms, Some(250));
        assert!(customer.voice && customer.level_dbfs > -40.0, "{customer:?}");
        assert_eq!(customer.heard_dbfs, SILENCE_DBFS);
        assert!(!agent.voice && agent.level_dbfs == SILENCE_DBFS && agent.heard_dbfs > -40.0, "{agent:?}");

        // The one that was not read is replaced, and silence is told as such.
        batch.clear();
        for elapsed_ms in [500, 750] {
            observers.tell_levels(Some(elapsed_ms), observers.due().unwrap());
        }
        outbox.take(&mut batch).await;
        let last = levels(&batch);
        assert_eq!(last.elapsed_ms, Some(750));
        assert!(
            last.parties.iter().all(|it| !it.voice && it.level_dbfs == SILENCE_DBFS && it.heard_dbfs == SILENCE_DBFS)
        );

        observers.leave(1);
        assert_eq!(observers.due(), None, "nobody observes, so nothing is measured");
    }

    #[tokio::test]
    async fn a_burst_takes_no_more_room_than_a_second() {
        let mut observers = Observers::default();
        observers.join(1, Arc::default(), Instant::now());
        for _ in 0..10 {
            observers.said(Speaker::Agent, &[100; 6_000]);
        }
        let meters = observers.meters.as_ref().unwrap();
        assert_eq!(meters.parties[1].said.len(), MEASURED_SAMPLES_MAX);
    }
}
