//! How fast one stream may send: messages and audio bytes per second (contract section 6), refused exactly at the limit.

use std::time::Duration;

use tokio::time::Instant;

/// A window in which a stream's messages are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Refusals in this many windows in a row close the stream (contract section 11: kept up for 5 s).
const REFUSED_WINDOWS_MAX: u32 = 5;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Admit,
    /// Drop it; `tell` is true for the first one of a window.
    Refuse {
        /// Whether the sender is to be told.
        tell: bool,
    },
    /// Close the stream: it was too fast for 5 s.
    Close,
}

/// Counts what one stream sends.
#[derive(Debug)]
pub struct Limiter {
    messages_per_second_max: u32,
    audio_bytes_per_second_max: u32,
    window_start: Instant,
    messages: u32,
    audio_bytes: u32,
    refused: bool,
    refused_windows: u32,
}

impl Limiter {
    /// A limiter whose first window begins at `now`.
    pub fn new(messages_per_second_max: u32, audio_bytes_per_second_max: u32, now: Instant) -> Self {
        Self {
            messages_per_second_max,
            audio_bytes_per_second_max,
            window_start: now,
            messages: 0,
            audio_bytes: 0,
            refused: false,
            refused_windows: 0,
        }
    }

    /// Counts one message that arrived at `now`. What is refused uses up nothing.
    pub fn message(&mut self, now: Instant) -> Verdict {
        self.roll(now);
        if self.messages >= self.messages_per_second_max {
            return self.refuse();
        }
        self.messages += 1;
        Verdict::Admit
    }

    /// Counts the audio of a message that was admitted.
    pub fn audio(&mut self, bytes: usize, now: Instant) -> Verdict {
        self.roll(now);
        let total = u64::from(self.audio_bytes) + bytes as u64;
        match u32::try_from(total) {
            Ok(total) if total <= self.audio_bytes_per_second_max => {
                self.audio_bytes = total;
                Verdict::Admit
            }
            _ => self.refuse(),
        }
    }

    fn refuse(&mut self) -> Verdict {
        if self.refused_windows >= REFUSED_WINDOWS_MAX {
            return Verdict::Close;
        }
        let tell = !self.refused;
        self.refused = true;
        Verdict::Refuse { tell }
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed < WINDOW {
            return;
        }
        let next_to_it = elapsed < 2 * WINDOW;
        self.refused_windows = if self.refused && next_to_it { self.refused_windows + 1 } else { 0 };
        self.refused = false;
        (self.messages, self.audio_bytes) = (0, 0);
        self.window_start += WINDOW * u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_limit_passes_in_each_second() {
        let start = Instant::now();
        let mut limiter = Limiter::new(3, 1_000, start);
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            let admitted = (0..10).filter(|_| limiter.message(now) == Verdict::Admit).count();
            assert_eq!(admitted, 3);
        }
    }

    #[test]
    fn the_sender_is_told_once_a_second_and_closed_after_five() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1, 1_000, start);
        let mut told = 0;
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            for _ in 0..4 {
                match limiter.message(now) {
                    Verdict::Refuse { tell } => told += u32::from(tell),
                    Verdict::Admit => {}
                    Verdict::Close => panic!("closed in second {second}"),
                }
            }
        }
        assert_eq!(told, 5);
        let now = start + Duration::from_secs(5);
        assert_eq!([limiter.message(now), limiter.message(now)], [Verdict::Admit, Verdict::Close]);
    }

    #[test]
    fn a_second_within_the_limits_forgives() {
        let start = Instant::now();
        let mut limiter = Limiter::new(100, 100, start);
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            assert_eq!(limiter.audio(100, now), Verdict::Admit);
            if second % 5 != 4 {
                assert!(matches!(limiter.audio(1, now), Verdict::Refuse { .. }));
            }
        }
    }

    #[test]
    fn a_frame_larger_than_a_second_allows_is_refused() {
        let now = Instant::now();
        let mut limiter = Limiter::new(100, 100, now);
        assert_eq!(limiter.audio(usize::MAX, now), Verdict::Refuse { tell: true });
        assert_eq!(limiter.audio(100, now), Verdict::Admit);
    }
}
