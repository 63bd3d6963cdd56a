//! What has happened in a call, as its client sees it. Pure: messages and times in, state out.
//!
//! Times are in ms of the call's audio: 0 is where the first frame's audio begins, and at `now_ms` a party has said everything before
//! it. So `now_ms - end_ms` is what somebody who listens would call the lag.

use std::collections::{BTreeMap, HashMap};

use kallglot_client::{AudioOutput, ServerMessage, TranscriptMessage, TranslatedText};
use kallglot_core::session::{Mode, Speaker};

use super::ear::Ear;
use super::mouth::Mouth;

/// Most turns that are kept of a call; later ones are only counted.
const TURNS_MAX: usize = 10_000;
/// How far a final's end may lie before the end of voice as heard here and still be its final.
const END_TOLERANCE_MS: u64 = 700;
/// Within which time the same error on the other socket is the same error.
const COPY_MS: u64 = 1_000;
/// How long the words of a voice that ended are waited for.
const PATIENCE_MS: u64 = 8_000;

/// One final utterance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) id: String,
    pub(crate) speaker: Speaker,
    pub(crate) language: String,
    pub(crate) text: String,
    pub(crate) translation: Option<TranslatedText>,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) confidence: f32,
    /// When it had been said, as heard here.
    pub(crate) said_ms: u64,
    /// When the final came.
    pub(crate) arrived_ms: u64,
    /// End of speech to the final text.
    pub(crate) final_lag_ms: u64,
    /// End of speech to the first translated audio.
    pub(crate) audio_lag_ms: Option<u64>,
    /// Whether its translation is to be spoken.
    pub(crate) spoken: bool,
}

/// What a message meant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happened {
    /// Nothing that is worth telling (or a copy of what the other socket brought).
    Nothing,
    /// Text of an utterance has grown.
    Partial(TranscriptMessage),
    /// `turns[.0]` is there.
    Turn(usize),
    /// The first translated audio of `turns[.0]` is there.
    Audible(usize),
    /// The server reports something.
    Error { code: String, message: String, fatal: bool },
    /// The session is over.
    Ended { reason: String },
}

/// The call so far.
#[derive(Debug)]
pub(crate) struct Tally {
    mode: Mode,
    pub(crate) turns: Vec<Turn>,
    by_id: HashMap<String, usize>,
    /// Turns beyond [`TURNS_MAX`].
    pub(crate) more_turns: u64,
    /// The utterance that each party is in the middle of.
    pub(crate) open: [Option<TranscriptMessage>; 2],
    pub(crate) ears: [Ear; 2],
    /// Audio that the server dropped because it was not read fast enough here.
    pub(crate) unheard_ms: u64,
    /// Errors by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The last error that ends the call.
    pub(crate) fatal: Option<String>,
    /// The last error's message.
    pub(crate) complaint: Option<String>,
    /// The last error, by which socket and when it came: both sockets bring what is said to all.
    last_error: Option<(Speaker, u64, String)>,
    pub(crate) ended: Option<String>,
    pub(crate) reconnections: u64,
    /// Until where each party's words are accounted for.
    final_until_ms: [u64; 2],
    /// When something last came about each party's words.
    last_news_ms: [u64; 2],
}

impl Tally {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            turns: Vec::new(),
            by_id: HashMap::new(),
            more_turns: 0,
            open: [None, None],
            ears: [Ear::default(), Ear::default()],
            unheard_ms: 0,
            errors: BTreeMap::new(),
            fatal: None,
            complaint: None,
            last_error: None,
            ended: None,
            reconnections: 0,
            final_until_ms: [0; 2],
            last_news_ms: [0; 2],
        }
    }

    /// Takes in a message that came at `now_ms` on the socket of `listener`.
    pub(crate) fn on_message(
        &mut self,
        now_ms: u64,
        listener: Speaker,
        message: ServerMessage,
        mouths: &[Mouth; 2],
    ) -> Happened {
        match message {
            ServerMessage::Partial(segment) => self.on_partial(now_ms, segment),
            ServerMessage::Final(segment) => {
                let mouth = &mouths[segment.speaker.index()];
                self.on_final(now_ms, segment, mouth)
            }
            ServerMessage::Audio(output) => self.on_audio(now_ms, listener, &output),
            ServerMessage::Error { code, message, fatal, dropped_ms } => {
                let is_copy = |(socket, at_ms, text): &(Speaker, u64, String)| {
                    *socket != listener && now_ms < at_ms + COPY_MS && *text == message
                };
                if self.last_error.take_if(|last| is_copy(last)).is_some() {
                    return Happened::Nothing;
                }
                self.last_error = Some((listener, now_ms, message.clone()));
                self.complaint = Some(message.clone());
                self.unheard_ms += dropped_ms.unwrap_or(0);
                *self.errors.entry(code.clone()).or_default() += 1;
                if fatal {
                    self.fatal = Some(message.clone());
                }
                Happened::Error { code, message, fatal }
            }
            ServerMessage::Ended { reason, .. } => {
                if self.ended.is_some() {
                    return Happened::Nothing;
                }
                self.ended = Some(reason.clone());
                Happened::Ended { reason }
            }
            ServerMessage::Ready { .. }
            | ServerMessage::Pong { .. }
            | ServerMessage::Other(_)
            | ServerMessage::Garbage(_) => Happened::Nothing,
        }
    }

    fn on_partial(&mut self, now_ms: u64, segment: TranscriptMessage) -> Happened {
        let open = &mut self.open[segment.speaker.index()];
        if self.by_id.contains_key(&segment.id)
            || open.as_ref().is_some_and(|open| open.id == segment.id && open.text == segment.text)
        {
            return Happened::Nothing;
        }
        self.last_news_ms[segment.speaker.index()] = now_ms;
        *open = Some(segment.clone());
        Happened::Partial(segment)
    }

    fn on_final(&mut self, now_ms: u64, segment: TranscriptMessage, mouth: &Mouth) -> Happened {
        if self.by_id.contains_key(&segment.id) {
            return Happened::Nothing;
        }
        let party = segment.speaker.index();
        self.open[party].take_if(|open| open.id == segment.id);
        self.final_until_ms[party] = self.final_until_ms[party].max(segment.end_ms);
        self.last_news_ms[party] = now_ms;
        if self.turns.len() >= TURNS_MAX {
            self.more_turns += 1;
            return Happened::Nothing;
        }
        let spoken = segment.translation.as_ref().is_some_and(|translation| !translation.text.trim().is_empty())
            && match self.mode {
                Mode::BidirectionalTranslation => true,
                Mode::AssistiveTranslation => segment.speaker == Speaker::Agent,
                Mode::AiAgent | Mode::HelpChatVoice => false,
            };
        let index = self.turns.len();
        let said_ms = mouth.voice_end_near(segment.end_ms).unwrap_or(segment.end_ms);
        self.by_id.insert(segment.id.clone(), index);
        self.turns.push(Turn {
            id: segment.id,
            speaker: segment.speaker,
            language: segment.language,
            text: segment.text,
            translation: segment.translation,
            start_ms: segment.start_ms,
            end_ms: segment.end_ms,
            confidence: segment.confidence,
            arrived_ms: now_ms,
            said_ms,
            final_lag_ms: now_ms.saturating_sub(said_ms),
            audio_lag_ms: None,
            spoken,
        });
        Happened::Turn(index)
    }

    fn on_audio(&mut self, now_ms: u64, listener: Speaker, output: &AudioOutput) -> Happened {
        // Each socket is one party's ear; what is meant for the other party is not heard on it.
        if output.target != listener || output.audio.encoding != "mulaw" {
            return Happened::Nothing;
        }
        let mut samples = Vec::with_capacity(output.audio.payload.len());
        kallglot_audio::g711::decode_mulaw_into(&output.audio.payload, &mut samples);
        self.ears[listener.index()].hear(now_ms, output.speaker, &samples);
        let Some(&index) = output.translation_of.as_ref().and_then(|id| self.by_id.get(id)) else {
            return Happened::Nothing;
        };
        let turn = &mut self.turns[index];
        if turn.audio_lag_ms.is_some() {
            return Happened::Nothing;
        }
        turn.audio_lag_ms = Some(now_ms.saturating_sub(turn.said_ms));
        Happened::Audible(index)
    }

    /// Whether all that was said has been answered: its words are there and its translations have been heard. What does not come
    /// is waited for so long and no longer.
    pub(crate) fn is_settled(&self, now_ms: u64, mouths: &[Mouth; 2]) -> bool {
        Speaker::ALL.iter().all(|&speaker| self.is_answered(now_ms, speaker, &mouths[speaker.index()]))
            && self.ears.iter().all(|ear| !ear.is_hearing(now_ms))
    }

    fn is_answered(&self, now_ms: u64, speaker: Speaker, mouth: &Mouth) -> bool {
        if !mouth.is_done() || mouth.is_speaking() {
            return false;
        }
        let party = speaker.index();
        let voice_end_ms = mouth.voice_end_ms().unwrap_or(0);
        if now_ms > voice_end_ms.max(self.last_news_ms[party]) + PATIENCE_MS {
            return true;
        }
        let words_missing = self.final_until_ms[party] + END_TOLERANCE_MS < voice_end_ms || self.open[party].is_some();
        let audio_missing = |turn: &Turn| turn.speaker == speaker && turn.spoken && turn.audio_lag_ms.is_none();
        // Only the last few turns can be waiting for their audio.
        !words_missing && !self.turns.iter().rev().take(8).any(audio_missing)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kallglot_client::Audio;

    pub(crate) fn segment(
        id: &str,
        speaker: Speaker,
        text: &str,
        end_ms: u64,
        translation: Option<&str>,
    ) -> TranscriptMessage {
        let (language, other) = if speaker == Speaker::Customer { ("en", "es") } else { ("es", "en") };
        TranscriptMessage {
            session_id: "sess_1".into(),
            id: id.into(),
            speaker,
            language: language.into(),
            text: text.into(),
            start_ms: 0,
            end_ms,
            confidence: 0.9,
            translation: translation.map(|text| TranslatedText { language: other.into(), text: text.into() }),
        }
    }

    pub(crate) fn audio(id: &str, speaker: Speaker, bytes: usize) -> ServerMessage {
        ServerMessage::Audio(AudioOutput {
            session_id: "sess_1".into(),
            sequence: 1,
            speaker,
            target: speaker.other(),
            translation_of: Some(id.into()),
            audio: Audio { encoding: "mulaw".into(), sample_rate_hz: 8_000, payload: vec![0x80; bytes] },
        })
    }

    #[test]
    fn lags_are_counted_from_the_end_of_speech() {
        let mouths = [Mouth::new(), Mouth::new()];
        let mut tally = Tally::new(Mode::BidirectionalTranslation);
        let partial = segment("seg_1", Speaker::Customer, "hello", 500, None);
        let growing = ServerMessage::Partial(partial.clone());
        assert_eq!(tally.on_message(700, Speaker::Customer, growing.clone(), &mouths), Happened::Partial(partial));
        assert_eq!(
            tally.on_message(701, Speaker::Agent, growing, &mouths),
            Happened::Nothing,
            "the other socket's copy"
        );
        let whole = ServerMessage::Final(segment("seg_1", Speaker::Customer, "hello world", 1_000, Some("hola mundo")));
        assert_eq!(tally.on_message(1_300, Speaker::Agent, whole.clone(), &mouths), Happened::Turn(0));
        assert_eq!(tally.on_message(1_301, Speaker::Customer, whole, &mouths), Happened::Nothing);
        assert_eq!(tally.open, [None, None]);
        assert_eq!(
            tally.on_message(1_310, Speaker::Customer, audio("seg_1", Speaker::Customer, 160), &mouths),
            Happened::Nothing
        );
        assert_eq!(
            tally.on_message(1_320, Speaker::Agent, audio("seg_1", Speaker::Customer, 160), &mouths),
            Happened::Audible(0)
        );
        assert_eq!(
            tally.on_message(1_340, Speaker::Agent, audio("seg_1", Speaker::Customer, 160), &mouths),
            Happened::Nothing
        );
        assert_eq!((tally.turns[0].final_lag_ms, tally.turns[0].audio_lag_ms), (300, Some(320)));
        assert_eq!((tally.ears[0].heard_ms(), tally.ears[1].heard_ms()), (0, 40));
    }

    #[test]
    fn a_call_is_settled_once_translations_have_been_heard() {
        let mouths = [Mouth::new(), Mouth::new()];
        let mut tally = Tally::new(Mode::BidirectionalTranslation);
        assert!(tally.is_settled(20, &mouths));
        tally.on_message(
            100,
            Speaker::Customer,
            ServerMessage::Partial(segment("seg_1", Speaker::Customer, "hello", 90, None)),
            &mouths,
        );
        assert!(!tally.is_settled(2_000, &mouths), "words are to come");
        let whole = ServerMessage::Final(segment("seg_1", Speaker::Customer, "hello", 1_000, Some("hola")));
        tally.on_message(1_300, Speaker::Customer, whole, &mouths);
        assert!(!tally.is_settled(2_000, &mouths), "audio is to come");
        tally.on_message(2_000, Speaker::Agent, audio("seg_1", Speaker::Customer, 1_600), &mouths);
        assert!(!tally.is_settled(2_199, &mouths), "it is being heard");
        assert!(tally.is_settled(2_200, &mouths));
    }

    #[test]
    fn what_never_comes_is_waited_for_only_so_long() {
        let mouths = [Mouth::new(), Mouth::new()];
        let mut tally = Tally::new(Mode::BidirectionalTranslation);
        let whole = ServerMessage::Final(segment("seg_1", Speaker::Agent, "hola", 1_000, Some("hello")));
        tally.on_message(1_300, Speaker::Customer, whole, &mouths);
        assert!(!tally.is_settled(1_300 + PATIENCE_MS, &mouths));
        assert!(tally.is_settled(1_301 + PATIENCE_MS, &mouths));
    }

    #[test]
    fn an_agent_who_reads_the_translation_is_not_waited_for() {
        let mouths = [Mouth::new(), Mouth::new()];
        let mut tally = Tally::new(Mode::AssistiveTranslation);
        let whole = ServerMessage::Final(segment("seg_1", Speaker::Customer, "hello", 1_000, Some("hola")));
        tally.on_message(1_300, Speaker::Customer, whole, &mouths);
        assert!(tally.is_settled(1_320, &mouths));
    }

    #[test]
    fn errors_are_counted_and_a_fatal_one_is_kept() {
        let mouths = [Mouth::new(), Mouth::new()];
        let mut tally = Tally::new(Mode::BidirectionalTranslation);
        for (listener, fatal) in [(Speaker::Customer, false), (Speaker::Customer, true), (Speaker::Agent, true)] {
            let error = ServerMessage::Error {
                code: "engine_unavailable".into(),
                message: "No engine.".into(),
                fatal,
                dropped_ms: Some(20),
            };
            tally.on_message(5, listener, error, &mouths);
        }
        assert_eq!(tally.errors["engine_unavailable"], 2);
        assert_eq!(tally.unheard_ms, 40);
        assert_eq!(tally.fatal.as_deref(), Some("No engine."));
    }
}
