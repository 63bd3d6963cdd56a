//! Who says what when.

use std::collections::VecDeque;

use kallglot_core::session::Speaker;

/// When something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At this time of the call, in ms.
    At(u64),
    /// This long after all that was said before has been translated and heard, in ms.
    Answered {
        /// The pause.
        pause_ms: u64,
    },
}

/// Something that a party says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cue {
    pub(crate) speaker: Speaker,
    pub(crate) when: When,
    pub(crate) samples: Vec<i16>,
}

/// All that is said, in order.
#[derive(Debug, Default)]
pub(crate) struct Script {
    cues: VecDeque<Cue>,
    settled_since_ms: Option<u64>,
}

impl Script {
    /// The cues in their order; each waits for those before it.
    pub(crate) fn new(cues: Vec<Cue>) -> Self {
        Self { cues: cues.into(), settled_since_ms: None }
    }

    /// Says at `now_ms` whether the call is settled; must be told every time before [`Self::due`].
    pub(crate) fn observe(&mut self, now_ms: u64, settled: bool) {
        self.settled_since_ms = if settled { self.settled_since_ms.or(Some(now_ms)) } else { None };
    }

    /// The next cue when it is time for it.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<Cue> {
        let due = match self.cues.front()?.when {
            When::At(ms) => now_ms >= ms,
            When::Answered { pause_ms } => self.settled_for_ms(now_ms) >= Some(pause_ms),
        };
        if !due {
            return None;
        }
        self.settled_since_ms = None;
        self.cues.pop_front()
    }

    /// Whether everything has been said, answered and followed by a pause of `pause_ms`.
    pub(crate) fn is_over(&self, now_ms: u64, pause_ms: u64) -> bool {
        self.cues.is_empty() && self.settled_for_ms(now_ms) >= Some(pause_ms)
    }

    fn settled_for_ms(&self, now_ms: u64) -> Option<u64> {
        self.settled_since_ms.map(|since| now_ms - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cue(speaker: Speaker, when: When) -> Cue {
        Cue { speaker, when, samples: vec![1] }
    }

    #[test]
    fn an_answer_waits_until_what_was_said_has_been_heard() {
        let mut script = Script::new(vec![
            cue(Speaker::Customer, When::At(0)),
            cue(Speaker::Agent, When::Answered { pause_ms: 500 }),
            cue(Speaker::Customer, When::Answered { pause_ms: 0 }),
        ]);
        script.observe(20, true);
        assert_eq!(script.due(20).map(|cue| cue.speaker), Some(Speaker::Customer));
        assert_eq!(script.due(20), None, "being settled before it was said counts for nothing");
        script.observe(40, false);
        script.observe(3_000, true);
        assert_eq!(script.due(3_499), None);
        script.observe(3_500, true);
        assert_eq!(script.due(3_500).map(|cue| cue.speaker), Some(Speaker::Agent));
        script.observe(3_520, true);
        assert!(script.due(3_520).is_some());
        assert!(!script.is_over(3_520, 100));
        script.observe(3_540, true);
        assert!(!script.is_over(3_639, 100) && script.is_over(3_640, 100));
    }

    #[test]
    fn fixed_times_do_not_wait() {
        let mut script = Script::new(vec![cue(Speaker::Customer, When::At(0)), cue(Speaker::Agent, When::At(100))]);
        assert!(script.due(20).is_some());
        assert!(script.due(99).is_none());
        assert!(script.due(100).is_some());
    }
}
