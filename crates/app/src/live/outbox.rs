//! What one stream has still to be sent: bounded, audio dropped before text, and the reader told how much.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::live::message::{CloseCode, Outgoing};

/// Audio frames that may wait for one stream: 5 s of 20 ms frames.
pub const AUDIO_FRAMES_MAX: usize = 250;
/// Other messages that may wait for one stream. A reader that lets this many wait is taken for dead.
pub const TEXTS_MAX: usize = 256;
/// Messages for which there is room all the time; what a slow reader's queue took beyond it is given back once it has read.
const MESSAGES_KEPT: usize = 32;
/// Samples per millisecond of outgoing audio.
const SAMPLES_PER_MS: usize = 8;

/// The queue of one stream. The session pushes and never waits; the stream's writer takes.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    audio_frames: usize,
    dropped_samples: usize,
    closing: bool,
}

impl Outbox {
    /// Adds a message. Levels take the place of older ones. When audio is full the oldest frame goes; when text is full the oldest partial goes, and when there is none the
    /// stream is closed as dead. After a close nothing more is taken.
    pub fn push(&self, message: Outgoing) {
        let mut guard = self.lock();
        let queue = &mut *guard;
        if queue.closing {
            return;
        }
        match &message {
            Outgoing::Audio(_) => {
                if queue.audio_frames >= AUDIO_FRAMES_MAX {
                    queue.drop_oldest_audio();
                }
                queue.audio_frames += 1;
            }
            Outgoing::Close(_) => queue.closing = true,
            other => {
                if matches!(other, Outgoing::Levels(_))
                    && let Some(unread) = queue.messages.iter_mut().find(|it| matches!(it, Outgoing::Levels(_)))
                {
                    *unread = message;
                    return;
                }
                if queue.messages.len() - queue.audio_frames >= TEXTS_MAX && !queue.drop_oldest_partial() {
                    queue.messages.clear();
                    queue.audio_frames = 0;
                    queue.closing = true;
                    queue.messages.push_back(Outgoing::Close(CloseCode::Idle));
                    drop(guard);
                    self.filled.notify_one();
                    return;
                }
            }
        }
        let was_empty = queue.messages.is_empty();
        queue.messages.push_back(message);
        drop(guard);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits until there is something and moves all of it to the end of `batch`. If audio had to be dropped, that comes first.
    /// Only the stream's writer calls this.
    pub async fn take(&self, batch: &mut Vec<Outgoing>) {
        batch.shrink_to(MESSAGES_KEPT);
        loop {
            {
                let mut queue = self.lock();
                if !queue.messages.is_empty() {
                    if queue.dropped_samples > 0 {
                        let dropped_ms = (queue.dropped_samples / SAMPLES_PER_MS) as u64;
                        queue.dropped_samples = 0;
                        batch.push(Outgoing::AudioDropped { dropped_ms });
                    }
                    queue.audio_frames = 0;
                    batch.extend(queue.messages.drain(..));
                    queue.messages.shrink_to(MESSAGES_KEPT);
                    return;
                }
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // The queue is consistent after every step, so a panic elsewhere does not spoil it.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Queue {
    fn drop_oldest_audio(&mut self) {
        let oldest = self.messages.iter().position(|message| matches!(message, Outgoing::Audio(_)));
        if let Some(Outgoing::Audio(audio)) = oldest.and_then(|index| self.messages.remove(index)) {
            self.audio_frames -= 1;
            self.dropped_samples += audio.mulaw.len();
        }
    }

    fn drop_oldest_partial(&mut self) -> bool {
        let oldest = self.messages.iter().position(|message| matches!(message, Outgoing::Partial(_)));
        oldest.and_then(|index| self.messages.remove(index)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kallglot_core::session::{EndReason, Speaker};

    use super::*;
    use crate::live::message::AudioOut;

    fn audio(sequence: u64) -> Outgoing {
        let mulaw = Arc::from([0xffu8; 160].as_slice());
        Outgoing::Audio(AudioOut {
            sequence,
            speaker: Speaker::Customer,
            target: Speaker::Agent,
            translation_of: None,
            mulaw,
        })
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest_audio_keeps_the_text_and_tells() {
        let outbox = Outbox::default();
        outbox.push(Outgoing::Pong);
        for sequence in 0..AUDIO_FRAMES_MAX as u64 + 10 {
            outbox.push(audio(sequence));
        }
        let mut batch = Vec::new();
        outbox.take(&mut batch).await;
        assert!(matches!(batch[0], Outgoing::AudioDropped { dropped_ms: 200 }), "{:?}", batch[0]);
        assert!(matches!(batch[1], Outgoing::Pong));
        assert!(matches!(&batch[2], Outgoing::Audio(audio) if audio.sequence == 10));
        assert_eq!(batch.len(), 2 + AUDIO_FRAMES_MAX);
    }

    #[tokio::test]
    async fn a_reader_that_lets_text_pile_up_is_closed_as_dead() {
        let outbox = Outbox::default();
        for _ in 0..=TEXTS_MAX {
            outbox.push(Outgoing::Pong);
        }
        let mut batch = Vec::new();
        outbox.take(&mut batch).await;
        assert!(matches!(batch.as_slice(), [Outgoing::Close(CloseCode::Idle)]), "{batch:?}");
    }

    #[tokio::test]
    async fn nothing_follows_a_close() {
        let outbox = Outbox::default();
        outbox.push(Outgoing::Ended { reason: EndReason::Completed });
        outbox.push(Outgoing::Close(CloseCode::Ended));
        outbox.push(audio(1));
        let mut batch = Vec::new();
        outbox.take(&mut batch).await;
        assert!(matches!(batch.as_slice(), [Outgoing::Ended { .. }, Outgoing::Close(CloseCode::Ended)]), "{batch:?}");
    }
}
