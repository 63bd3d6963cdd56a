//! What one direction of a call has said and its worker has not taken yet.
//!
//! What must stay true: never more than the bound in samples; every utterance that begins is accounted for exactly once, in order,
//! by [`Next::Ended`] or [`Next::Lost`]; nothing here waits.

use std::collections::VecDeque;

use kallglot_engine::UtteranceId;

/// Utterances that may wait. More of them are lost together with the last one.
const UTTERANCES_MAX: usize = 256;

/// What the front of the queue has to offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing yet.
    Empty,
    /// Its next audio.
    Audio(Vec<i16>),
    /// All of it has been taken and it is over; the queue has forgotten it.
    Ended,
    /// The bound was reached while it waited; to be reported with [`Queue::give_up`].
    Lost,
}

#[derive(Debug)]
struct Utterance {
    first: UtteranceId,
    /// The same as `first`, unless utterances were lost together.
    last: UtteranceId,
    audio: VecDeque<i16>,
    ended: bool,
    lost: bool,
    /// Reported as failed while it was still going on: the rest of it is of no interest.
    given_up: bool,
}

/// The queue of one direction.
#[derive(Debug)]
pub(super) struct Queue {
    utterances: VecDeque<Utterance>,
    samples: usize,
    samples_max: usize,
}

impl Queue {
    pub(super) fn new(samples_max: usize) -> Self {
        Self { utterances: VecDeque::new(), samples: 0, samples_max }
    }

    /// An utterance begins; one that is still open ends.
    pub(super) fn begin(&mut self, id: UtteranceId) {
        self.end();
        let count = self.utterances.len();
        match self.utterances.back_mut() {
            Some(back) if count >= UTTERANCES_MAX => {
                self.samples -= back.audio.len();
                back.audio = VecDeque::new();
                back.last = id;
                back.lost = true;
                back.ended = false;
            }
            _ => self.utterances.push_back(Utterance {
                first: id,
                last: id,
                audio: VecDeque::new(),
                ended: false,
                lost: false,
                given_up: false,
            }),
        }
    }

    /// Audio of the open utterance. Loses the utterance when there is no room; audio outside of an utterance is none.
    pub(super) fn push(&mut self, samples: &[i16]) {
        let Some(back) = self.utterances.back_mut().filter(|back| !back.ended && !back.lost && !back.given_up) else {
            return;
        };
        if self.samples + samples.len() > self.samples_max {
            self.samples -= back.audio.len();
            back.audio = VecDeque::new();
            back.lost = true;
            return;
        }
        back.audio.extend(samples);
        self.samples += samples.len();
    }

    /// The open utterance is over.
    pub(super) fn end(&mut self) {
        let Some(back) = self.utterances.back_mut() else { return };
        back.ended = true;
        if back.given_up {
            self.utterances.pop_back();
        }
    }

    /// The utterance to work on.
    pub(super) fn front(&self) -> Option<UtteranceId> {
        self.utterances.front().filter(|front| !front.given_up).map(|front| front.first)
    }

    /// Takes up to `samples_max` samples of the front utterance.
    pub(super) fn next(&mut self, samples_max: usize) -> Next {
        let Some(front) = self.utterances.front_mut() else { return Next::Empty };
        if front.given_up {
            return Next::Empty;
        }
        if front.lost {
            return Next::Lost;
        }
        if !front.audio.is_empty() {
            let taken: Vec<i16> = front.audio.drain(..front.audio.len().min(samples_max)).collect();
            self.samples -= taken.len();
            return Next::Audio(taken);
        }
        if front.ended {
            self.utterances.pop_front();
            return Next::Ended;
        }
        Next::Empty
    }

    /// [`give_up`](Self::give_up), unless `utterance` is no longer in the queue because all of it was taken.
    pub(super) fn give_up_if(&mut self, utterance: UtteranceId) -> Option<std::ops::RangeInclusive<UtteranceId>> {
        if self.front() == Some(utterance) { self.give_up() } else { None }
    }

    /// Forgets the front utterance, and what is still to come of it. Returns the utterances that are to be reported as failed.
    pub(super) fn give_up(&mut self) -> Option<std::ops::RangeInclusive<UtteranceId>> {
        let front = self.utterances.front_mut().filter(|front| !front.given_up)?;
        self.samples -= front.audio.len();
        front.audio = VecDeque::new();
        let reported = front.first..=front.last;
        if front.ended {
            self.utterances.pop_front();
        } else {
            front.given_up = true;
        }
        Some(reported)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn audio_comes_out_as_it_went_in() {
        let mut queue = Queue::new(100);
        queue.begin(0);
        queue.push(&[1, 2, 3]);
        queue.push(&[4]);
        assert_eq!(queue.front(), Some(0));
        assert_eq!(queue.next(3), Next::Audio(vec![1, 2, 3]));
        queue.end();
        queue.begin(1);
        queue.push(&[5]);
        assert_eq!(queue.next(3), Next::Audio(vec![4]));
        assert_eq!(queue.next(3), Next::Ended);
        assert_eq!(queue.front(), Some(1));
        assert_eq!(queue.next(3), Next::Audio(vec![5]));
        assert_eq!(queue.next(3), Next::Empty);
    }

    #[test]
    fn an_utterance_that_finds_no_room_is_lost_and_the_next_one_is_not() {
        let mut queue = Queue::new(10);
        queue.begin(0);
        queue.push(&[0; 6]);
        queue.push(&[0; 6]);
        queue.push(&[0; 1]);
        assert_eq!(queue.next(99), Next::Lost);
        queue.end();
        queue.begin(1);
        queue.push(&[7; 10]);
        assert_eq!(queue.give_up(), Some(0..=0));
        assert_eq!(queue.next(99), Next::Audio(vec![7; 10]));
    }

    #[test]
    fn what_still_comes_of_an_utterance_that_was_given_up_is_ignored() {
        let mut queue = Queue::new(10);
        queue.begin(0);
        assert_eq!(queue.give_up(), Some(0..=0));
        assert_eq!((queue.front(), queue.give_up()), (None, None));
        queue.push(&[1]);
        assert_eq!(queue.next(9), Next::Empty);
        queue.end();
        queue.begin(1);
        assert_eq!(queue.front(), Some(1));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin,
        Push(usize),
        End,
        Next,
        GiveUp,
    }

    proptest! {
        #[test]
        fn every_utterance_is_accounted_for_once_and_in_order(steps in proptest::collection::vec(
            prop_oneof![
                4 => Just(Step::Begin),
                4 => (0usize..30).prop_map(Step::Push),
                2 => Just(Step::End),
                3 => Just(Step::Next),
                1 => Just(Step::GiveUp),
            ],
            0..2_000,
        )) {
            let mut queue = Queue::new(50);
            let mut begun = 0;
            let mut reported = Vec::new();
            for step in steps {
                match step {
                    Step::Begin => {
                        queue.begin(begun);
                        begun += 1;
                    }
                    Step::Push(count) => queue.push(&vec![1; count]),
                    Step::End => queue.end(),
                    Step::Next => {
                        let front = queue.front();
                        if queue.next(20) == Next::Ended {
                            reported.extend(front);
                        }
                    }
                    Step::GiveUp => reported.extend(queue.give_up().into_iter().flatten()),
                }
                prop_assert!(queue.samples <= 50 && queue.utterances.len() <= UTTERANCES_MAX);
                prop_assert_eq!(queue.samples, queue.utterances.iter().map(|utterance| utterance.audio.len()).sum::<usize>());
            }
            queue.end();
            while let Some(front) = queue.front() {
                match queue.next(20) {
                    Next::Ended => reported.push(front),
                    Next::Lost => reported.extend(queue.give_up().into_iter().flatten()),
                    Next::Audio(_) => {}
                    Next::Empty => prop_assert!(false, "an ended utterance has nothing to offer"),
                }
            }
            prop_assert_eq!(reported, (0..begun).collect::<Vec<_>>());
        }
    }
}
