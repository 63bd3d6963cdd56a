//! The task that owns one live session: takes commands, listens to its interpreters, plays what they say, stores what was said.

use std::sync::Arc;
use std::time::Duration;

use kallglot_audio::{SAMPLES_PER_MS, g711};
use kallglot_core::Timestamp;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::EventType;
use kallglot_core::id::SegmentId;
use kallglot_core::language::LanguageTag;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{EndReason, Mode, Session, SessionState, Speaker, Turn, UtteranceLag};
use kallglot_core::stream_statistics::StreamStatistics;
use kallglot_core::vocabulary::Vocabulary;
use kallglot_engine::{DirectionSpec, EngineError, Event, EventSender};
use kallglot_storage::{EndedSession, NewTurn, StorageError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::live::command::{Command, Full};
use crate::live::hub::LiveDependencies;
use crate::live::message::{AudioFrame, AudioOut, CloseCode, Outgoing, SegmentText, SocketId};
use crate::live::observers::Observers;
use crate::live::outbox::Outbox;
use crate::live::party::{EVENTS_MAX, EngineSlot, Party, PartyEvent};
use crate::live::writes::{Write, Writes, Written};
use crate::recordings::recorder::Recorder;
use crate::sessions::event;

/// Sockets that one session may have (contract section 11).
pub(super) const SOCKETS_MAX: usize = 8;
/// Without a socket for this long, a session leaves memory; it comes back when somebody connects.
const PARK_AFTER: Duration = Duration::from_secs(30);
/// Longest that what is being said may take to become text when a session closes.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Longest that making an interpreter may take.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// A socket that sends a party's audio keeps out older ones until it was silent for this long.
const SOURCE_KEPT: Duration = Duration::from_secs(2);
/// How often the time of the last activity is stored.
const ACTIVITY_EVERY: Duration = Duration::from_secs(60);
/// Longest frame of passed-on audio.
const PASSED_SAMPLES_MAX: usize = 200 * SAMPLES_PER_MS;

struct Socket {
    id: SocketId,
    speaker: Option<Speaker>,
    outbox: Arc<Outbox>,
    told_of_other_source: bool,
}

/// Why the task is about to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    End(EndReason),
    Parked,
    Shutdown,
}

struct Closing {
    why: Why,
    deadline: Instant,
    replies: Vec<oneshot::Sender<Session>>,
}

enum Step {
    Command(Command),
    Party(Speaker, PartyEvent),
    Written(Result<Written, StorageError>),
    Timer,
    Stop,
}

pub(super) struct LiveSession {
    deps: Arc<LiveDependencies>,
    session: Session,
    engine: Option<String>,
    vocabulary: Arc<Vocabulary>,
    commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
    sockets: Vec<Socket>,
    observers: Observers,
    /// Who sees partials without being a stream. One that does not read fast enough misses some.
    watchers: Vec<mpsc::Sender<Arc<SegmentText>>>,
    next_socket: SocketId,
    parties: [Party; 2],
    writes: Writes,
    /// The session's time 0: when its first audio arrived.
    zero: Option<Instant>,
    statistics: StreamStatistics,
    last_activity_at: Timestamp,
    activity_stored: Instant,
    empty_since: Option<Instant>,
    closing: Option<Closing>,
    decoded: Vec<i16>,
    ordered: Vec<i16>,
    /// From its first audio on, if it is recorded.
    recorder: Option<Recorder>,
    /// Whether its recording is paused.
    paused: bool,
}

impl LiveSession {
    pub(super) fn new(
        deps: Arc<LiveDependencies>,
        session: Session,
        engine: Option<String>,
        organization_vocabulary: Vocabulary,
        statistics: StreamStatistics,
        commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let wall = deps.clock.now();
        let paused = session.recording == RecordingMode::Paused;
        let zero = session.state.started_at().map(|started_at| {
            let elapsed_ms = (wall.as_millisecond() - started_at.as_millisecond()).max(0) as u64;
            now.checked_sub(Duration::from_millis(elapsed_ms)).unwrap_or(now)
        });
        Self {
            parties: [
                Party::new(Speaker::Customer, session.source_language.clone()),
                Party::new(Speaker::Agent, session.target_language.clone()),
            ],
            writes: Writes::new(Arc::clone(&deps.storage), deps.spool.clone(), &session),
            vocabulary: Arc::new(organization_vocabulary.with(session.vocabulary.clone())),
            deps,
            session,
            engine,
            commands,
            stop,
            sockets: Vec::new(),
            observers: Observers::default(),
            watchers: Vec::new(),
            next_socket: 0,
            zero,
            statistics,
            last_activity_at: wall,
            activity_stored: now,
            empty_since: Some(now),
            closing: None,
            decoded: Vec::new(),
            ordered: Vec::new(),
            recorder: None,
            paused,
        }
    }

    /// Runs it to its end. Boxed: by value it would be in the task several times over, 3 KB each.
    pub(super) async fn run(mut self: Box<Self>) {
        let mut armed = Instant::now() + PARK_AFTER;
        let mut timer = Box::pin(tokio::time::sleep_until(armed));
        // One for the whole session: each new one takes a lock that all sessions share.
        let mut stopped = Box::pin(self.stop.clone().cancelled_owned());
        loop {
            let step = {
                let [customer, agent] = &mut self.parties;
                let listen = self.writes.has_room();
                tokio::select! {
                    Some(command) = self.commands.recv() => Step::Command(command),
                    event = customer.next(), if listen => Step::Party(Speaker::Customer, event),
                    event = agent.next(), if listen => Step::Party(Speaker::Agent, event),
                    written = self.writes.next() => Step::Written(written),
                    () = &mut timer => Step::Timer,
                    () = &mut stopped, if self.closing.as_ref().is_none_or(|c| c.why == Why::Parked) => Step::Stop,
                }
            };
            let now = Instant::now();
            match step {
                Step::Command(command) => self.command(command, now),
                Step::Party(speaker, PartyEvent::Opened(opened)) => self.opened(speaker, opened, now),
                Step::Party(speaker, PartyEvent::Engine(event)) => self.heard(speaker, event, now),
                Step::Written(Ok(Written::Turn(turn))) => self.stored(&turn, now),
                Step::Written(Ok(Written::Other)) => {}
                Step::Written(Err(error)) => self.not_stored(&error),
                Step::Timer => self.timer(now),
                Step::Stop => self.close(Why::Shutdown, None, now),
            }
            self.play(now);
            if self.closing.as_ref().is_some_and(|closing| self.drained() || now >= closing.deadline) {
                break;
            }
            // The timer is only ever moved forward here; when it fires early, that costs one turn of this loop.
            let next = self.next_timer(now);
            if next < armed || now >= armed {
                armed = next;
                timer.as_mut().reset(armed);
            }
        }
        self.finish().await;
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Join { speaker, outbox, reply } => self.join(speaker, outbox, reply, now),
            Command::Leave { socket, refused_messages } => self.leave(socket, refused_messages, now),
            Command::Audio { socket, frame } => self.audio(socket, &frame, now),
            Command::End { reason, reply } => self.close(Why::End(reason), reply, now),
            Command::EndIfIdle { before } => {
                if self.last_activity_at <= before {
                    self.close(Why::End(EndReason::Timeout), None, now);
                }
            }
            Command::Observe { outbox, reply } => self.observe(outbox, reply, now),
            Command::Unobserve { observer } => self.observers.leave(observer),
            Command::Watch { partials } => self.watchers.push(partials),
            Command::LetGo => self.close(Why::Shutdown, None, now),
            Command::Record { paused, reply } => {
                self.paused = paused;
                if let Some(recorder) = &mut self.recorder {
                    recorder.pause(paused, now);
                }
                self.observers.tell(&Outgoing::Recording(self.recording()));
                let _ = reply.send(());
            }
            Command::Revoke => {
                for socket in std::mem::take(&mut self.sockets) {
                    let code = ErrorCode::AccessRevoked;
                    socket.outbox.push(Outgoing::Error { code, message: code.row().message.into(), fatal: true });
                    socket.outbox.push(Outgoing::Close(CloseCode::Revoked));
                }
                self.parties.iter_mut().for_each(Party::leave);
                self.empty_since = Some(now);
            }
        }
    }

    fn join(
        &mut self,
        speaker: Option<Speaker>,
        outbox: Arc<Outbox>,
        reply: oneshot::Sender<Result<SocketId, Full>>,
        now: Instant,
    ) {
        match &self.closing {
            Some(Closing { why: Why::Parked, .. }) => self.closing = None,
            // The reply is dropped: whoever asks looks at the stored session again.
            Some(_) => return,
            None => {}
        }
        if self.sockets.len() >= SOCKETS_MAX {
            let _ = reply.send(Err(Full));
            return;
        }
        let id = self.welcome(&outbox);
        if reply.send(Ok(id)).is_err() {
            return;
        }
        self.sockets.push(Socket { id, speaker, outbox, told_of_other_source: false });
        self.empty_since = None;
        self.active(now);
        for speaker in [Speaker::Customer, Speaker::Agent] {
            if matches!(self.parties[speaker.index()].engine, EngineSlot::Idle) {
                self.open_engine(speaker, now);
            }
        }
    }

    /// Tells a new stream how the session stands. Answers with its number.
    fn welcome(&mut self, outbox: &Outbox) -> SocketId {
        outbox.push(Outgoing::Ready {
            session_id: self.session.id,
            mode: self.session.mode,
            source_language: self.session.source_language.clone(),
            target_language: self.session.target_language.clone(),
        });
        for speaker in [Speaker::Customer, Speaker::Agent] {
            if let EngineSlot::Broken { error, .. } = &self.parties[speaker.index()].engine {
                outbox.push(engine_error(speaker, error));
            }
        }
        let id = self.next_socket;
        self.next_socket += 1;
        id
    }

    fn observe(&mut self, outbox: Arc<Outbox>, reply: oneshot::Sender<Result<SocketId, Full>>, now: Instant) {
        // The reply is dropped: there is nothing left to watch.
        if self.closing.is_some() {
            return;
        }
        if self.observers.are_full() {
            let _ = reply.send(Err(Full));
            return;
        }
        let id = self.welcome(&outbox);
        outbox.push(Outgoing::Recording(self.recording()));
        if reply.send(Ok(id)).is_ok() {
            self.observers.join(id, outbox, now);
        }
    }

    /// Whether it is recorded now.
    fn recording(&self) -> RecordingMode {
        match self.session.recording {
            RecordingMode::Off => RecordingMode::Off,
            _ if self.paused => RecordingMode::Paused,
            _ => RecordingMode::On,
        }
    }

    fn leave(&mut self, socket: SocketId, refused_messages: u64, now: Instant) {
        let Some(index) = self.sockets.iter().position(|known| known.id == socket) else { return };
        let left = self.sockets.swap_remove(index);
        self.statistics.parties[left.speaker.unwrap_or(Speaker::Customer).index()].refused_messages += refused_messages;
        for speaker in [Speaker::Customer, Speaker::Agent] {
            if self.parties[speaker.index()].source == Some(socket) {
                self.release(speaker, now, true);
                self.count(speaker);
                self.parties[speaker.index()].leave();
            }
        }
        if self.sockets.is_empty() {
            self.empty_since = Some(now);
        }
    }

    fn audio(&mut self, socket: SocketId, frame: &AudioFrame, now: Instant) {
        if self.closing.is_some() || frame.mulaw.is_empty() {
            return;
        }
        if !self.takes_from(socket, frame.speaker, now) {
            return;
        }
        if self.zero.is_none() {
            let wall = self.deps.clock.now();
            self.zero = Some(now);
            if let Ok(started) = self.session.state.clone().start(wall) {
                self.session.state = started;
                let (tenant, id) = (self.session.tenant, self.session.id);
                let event = event(EventType::SessionStarted, tenant, id, wall, self.deps.random.as_ref());
                self.writes.push(Write::Started(Box::new(event)));
            }
        }
        self.record();
        self.active(now);
        self.decoded.clear();
        g711::decode_mulaw_into(&frame.mulaw, &mut self.decoded);
        let statistics = &mut self.statistics.parties[frame.speaker.index()];
        statistics.frames_in += 1;
        statistics.audio_in_ms += (frame.mulaw.len() / SAMPLES_PER_MS) as u64;
        let party = &mut self.parties[frame.speaker.index()];
        let ordered = &mut self.ordered;
        ordered.clear();
        party.reorder.push(frame.sequence, &self.decoded, ordered);
        self.hear(frame.speaker, now);
    }

    /// Begins to record it here, if it is to be recorded.
    fn record(&mut self) {
        let Some(zero) = self.zero.filter(|_| self.recorder.is_none()) else { return };
        let recordings = &self.deps.recordings;
        if self.session.recording == RecordingMode::Off || !recordings.are_possible() {
            return;
        }
        let recorder = recordings.record(&self.session, self.deps.node, self.deps.clock.now(), zero, self.paused);
        self.writes.push(Write::Part(recorder.log().0.to_owned(), self.deps.node, 0));
        self.recorder = Some(recorder);
    }

    /// Whether this socket is the one whose audio counts as the speaker's. The newest sender wins, so that a reconnection is
    /// heard before the old connection is known to be dead.
    fn takes_from(&mut self, socket: SocketId, speaker: Speaker, now: Instant) -> bool {
        let party = &mut self.parties[speaker.index()];
        match party.source {
            Some(source) if source == socket => return true,
            Some(source) if source > socket && party.heard_since(now - SOURCE_KEPT) => {
                let known = self.sockets.iter_mut().find(|known| known.id == socket);
                if let Some(known) = known.filter(|known| !known.told_of_other_source) {
                    known.told_of_other_source = true;
                    let message =
                        format!("A newer connection now sends the {speaker}'s audio; this one's is not used.");
                    let code = ErrorCode::SpeakerNotAllowed;
                    known.outbox.push(Outgoing::Error { code, message: message.into(), fatal: false });
                }
                return false;
            }
            Some(_) => {
                self.release(speaker, now, true);
                self.count(speaker);
            }
            None => {}
        }
        let party = &mut self.parties[speaker.index()];
        party.leave();
        party.source = Some(socket);
        true
    }

    /// Gives out audio that was held back for missing frames: what is due, or all of it.
    fn release(&mut self, speaker: Speaker, now: Instant, all: bool) {
        let ordered = &mut self.ordered;
        ordered.clear();
        let party = &mut self.parties[speaker.index()];
        if all {
            while party.reorder.waiting_for().is_some() {
                party.reorder.release(ordered);
            }
        } else if party.reorder_due().is_some_and(|due| due <= now) {
            party.reorder.release(ordered);
            party.held_since = None;
        } else {
            return;
        }
        self.hear(speaker, now);
    }

    /// Takes `self.ordered` as the next audio of a party.
    fn hear(&mut self, speaker: Speaker, now: Instant) {
        let ordered = std::mem::take(&mut self.ordered);
        let session_ms = self.elapsed_ms(now).unwrap_or(0);
        if !ordered.is_empty() {
            let place = self.parties[speaker.index()].hear(&ordered, now, session_ms);
            if let Some(recorder) = &mut self.recorder {
                recorder.said(speaker, place, &ordered);
            }
            self.observers.said(speaker, &ordered);
            if self.session.mode == Mode::AssistiveTranslation && speaker == Speaker::Customer {
                self.pass_on(speaker, &ordered);
            }
        }
        self.parties[speaker.index()].note_held(now);
        self.ordered = ordered;
    }

    /// The session's clock, in ms; none before its first audio.
    fn elapsed_ms(&self, now: Instant) -> Option<u64> {
        self.zero.map(|zero| now.saturating_duration_since(zero).as_millis() as u64)
    }

    /// Lets the other party hear the original voice.
    fn pass_on(&mut self, speaker: Speaker, samples: &[i16]) {
        let target = speaker.other();
        for samples in samples.chunks(PASSED_SAMPLES_MAX) {
            let mulaw = samples.iter().map(|&sample| g711::linear_to_mulaw(sample)).collect();
            let sequence = self.parties[target.index()].playout.next_sequence();
            self.send(AudioOut { sequence, speaker, target, translation_of: None, mulaw });
        }
    }

    fn play(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.heard(now);
        }
        for target in [Speaker::Customer, Speaker::Agent] {
            while let Some(frame) = self.parties[target.index()].playout.frame(now) {
                if let (true, Some(segment)) = (frame.first, frame.audio.translation_of) {
                    self.first_audio(target.other(), segment, now);
                }
                if let Some(recorder) = &mut self.recorder {
                    recorder.translated(target.other(), frame.heard_at, &frame.audio.mulaw, now);
                }
                self.observers.heard(target, &frame.audio.mulaw);
                self.send(frame.audio);
            }
        }
    }

    fn send(&mut self, audio: AudioOut) {
        let target = audio.target;
        self.statistics.parties[target.index()].audio_out_ms += (audio.mulaw.len() / SAMPLES_PER_MS) as u64;
        for socket in &self.sockets {
            if socket.speaker.is_none_or(|speaker| speaker == target) {
                socket.outbox.push(Outgoing::Audio(audio.clone()));
            }
        }
    }

    fn broadcast(&self, message: &Outgoing) {
        for socket in &self.sockets {
            socket.outbox.push(message.clone());
        }
        self.observers.tell(message);
    }

    fn open_engine(&mut self, speaker: Speaker, now: Instant) {
        let source = self.parties[speaker.index()].language.clone();
        let target = self.parties[speaker.other().index()].language.clone();
        let chosen = self.deps.engines.choose(self.engine.as_deref(), source.as_ref(), target.as_ref());
        let engine = match chosen {
            Ok(engine) => engine,
            Err(error) => return self.broke(speaker, error, now),
        };
        let spec = DirectionSpec {
            speaker,
            source,
            target,
            // In assistive mode the agent hears the original and reads the translation.
            speak: self.session.mode != Mode::AssistiveTranslation || speaker == Speaker::Agent,
            voice: self.session.voice.clone(),
            vocabulary: Arc::clone(&self.vocabulary),
        };
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let party = &mut self.parties[speaker.index()];
        party.events = Some(events);
        party.engine = EngineSlot::Opening(tokio::spawn(async move {
            let opening = engine.open(spec, EventSender::new(speaker, sender));
            tokio::time::timeout(OPEN_MAX, opening).await.unwrap_or_else(|_| {
                Err(EngineError::TimedOut(format!("The speech engine `{}` took too long to get ready.", engine.name())))
            })
        }));
    }

    fn opened(
        &mut self,
        speaker: Speaker,
        opened: Result<Box<dyn kallglot_engine::Interpreter>, EngineError>,
        now: Instant,
    ) {
        match opened {
            Ok(interpreter) => {
                self.parties[speaker.index()].start(interpreter);
                if self.closing.is_some() {
                    self.parties[speaker.index()].flush();
                }
            }
            Err(error) => self.broke(speaker, error, now),
        }
    }

    fn broke(&mut self, speaker: Speaker, error: EngineError, now: Instant) {
        tracing::warn!(session = %self.session.id, %speaker, %error, "a direction has no speech engine");
        self.broadcast(&engine_error(speaker, &error));
        self.parties[speaker.index()].broke(error, now);
    }

    fn heard(&mut self, speaker: Speaker, event: Event, now: Instant) {
        let (clock, random) = (Arc::clone(&self.deps.clock), Arc::clone(&self.deps.random));
        let fresh = move || SegmentId::new(clock.now(), random.as_ref());
        let party = &mut self.parties[speaker.index()];
        match event {
            Event::Partial { utterance, language, text, start_ms, end_ms, confidence } => {
                let waited_ms = party.arrived(start_ms).map(|at| millis(now.saturating_duration_since(at)));
                let known = party.utterance(utterance, fresh);
                if known.first_partial_ms.is_none() {
                    known.first_partial_ms = waited_ms;
                }
                let id = known.id;
                let (start_ms, end_ms) = (party.to_session_ms(start_ms), party.to_session_ms(end_ms));
                let text = SegmentText { id, speaker, language, text, translation: None, start_ms, end_ms, confidence };
                let text = Arc::new(text);
                self.watchers.retain(|watcher| {
                    !matches!(watcher.try_send(Arc::clone(&text)), Err(mpsc::error::TrySendError::Closed(_)))
                });
                self.broadcast(&Outgoing::Partial(text));
            }
            Event::Endpoint { utterance, end_ms } => {
                let arrived = party.arrived(end_ms).unwrap_or(now);
                party.utterance(utterance, fresh).speech_ended = Some(arrived);
            }
            Event::Final { utterance, language, text, translation, start_ms, end_ms, confidence } => {
                let id = party.utterance(utterance, fresh).id;
                let (start_ms, end_ms) = (party.to_session_ms(start_ms), party.to_session_ms(end_ms));
                self.learn(speaker, &language, now);
                let timestamp = self.deps.clock.now();
                let turn =
                    NewTurn { id, speaker, language, text, translation, timestamp, start_ms, end_ms, confidence };
                self.writes.push(Write::Turn(Box::new(turn)));
            }
            Event::Discarded { utterance } => {
                party.utterances.remove(&utterance);
            }
            Event::Speech { utterance, samples } => {
                let Some(known) = party.utterances.get_mut(&utterance) else { return };
                known.has_speech = true;
                let id = known.id;
                let listener = speaker.other();
                let dropped_ms = self.parties[listener.index()].playout.add(id, &samples);
                if dropped_ms > 0 {
                    self.statistics.parties[listener.index()].dropped_out_ms += dropped_ms;
                    let message = format!(
                        "{dropped_ms} ms of translated speech for the {listener} was dropped: it lagged too far behind. The text is complete."
                    );
                    self.broadcast(&Outgoing::Error {
                        code: ErrorCode::AudioDropped,
                        message: message.into(),
                        fatal: false,
                    });
                }
            }
            Event::SpeechDone { utterance } => {
                let Some(known) = party.utterances.get_mut(&utterance) else { return };
                known.speech_done = true;
                let id = known.id;
                self.parties[speaker.other().index()].playout.complete(id);
                self.measured(speaker, id);
            }
            Event::Failed { error, fatal } => {
                if fatal {
                    self.broke(speaker, error, now);
                } else {
                    tracing::warn!(session = %self.session.id, %speaker, %error, "the speech engine failed on an utterance");
                    self.broadcast(&engine_error(speaker, &error));
                }
            }
            Event::Flushed => party.flushing = false,
        }
    }

    /// A language that was to be detected is now known: the other direction can translate into it.
    fn learn(&mut self, speaker: Speaker, language: &LanguageTag, now: Instant) {
        let party = &mut self.parties[speaker.index()];
        if party.language.is_some() {
            return;
        }
        party.language = Some(language.clone());
        let other = speaker.other();
        self.parties[other.index()].events = None;
        self.open_engine(other, now);
    }

    fn stored(&mut self, turn: &Turn, now: Instant) {
        let speaker = turn.speaker;
        if let Some(known) = self.parties[speaker.index()].utterances.values_mut().find(|known| known.id == turn.id) {
            known.final_ms = known.speech_ended.map(|ended| millis(now.saturating_duration_since(ended)));
        }
        self.broadcast(&Outgoing::Final(Arc::new(SegmentText {
            id: turn.id,
            speaker,
            language: turn.language.clone(),
            text: turn.text.clone(),
            translation: turn.translation.clone(),
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            confidence: turn.confidence,
        })));
        self.measured(speaker, turn.id);
    }

    fn not_stored(&self, error: &StorageError) {
        tracing::error!(session = %self.session.id, %error, "a part of a session could not be stored");
        if !matches!(error, StorageError::Unavailable { .. }) {
            let code = ErrorCode::InternalError;
            self.broadcast(&Outgoing::Error { code, message: code.row().message.into(), fatal: false });
        }
    }

    fn first_audio(&mut self, speaker: Speaker, segment: SegmentId, now: Instant) {
        if let Some(known) = self.parties[speaker.index()].utterances.values_mut().find(|known| known.id == segment) {
            known.first_audio_ms = known.speech_ended.map(|ended| millis(now.saturating_duration_since(ended)));
        }
        self.measured(speaker, segment);
    }

    /// Stores how long an utterance took, once all of it is known.
    fn measured(&mut self, speaker: Speaker, segment: SegmentId) {
        let utterances = &mut self.parties[speaker.index()].utterances;
        let Some((&number, known)) = utterances.iter().find(|(_, known)| known.id == segment) else { return };
        let spoken = known.speech_done && (!known.has_speech || known.first_audio_ms.is_some());
        let (true, Some(final_ms)) = (spoken, known.final_ms) else { return };
        let (first_partial_ms, first_audio_ms) = (known.first_partial_ms, known.first_audio_ms);
        let lag = UtteranceLag { id: segment, speaker, first_partial_ms, final_ms, first_audio_ms };
        utterances.remove(&number);
        tracing::debug!(session = %self.session.id, ?lag, "an utterance was interpreted");
        self.observers.tell(&Outgoing::Lag(lag));
        self.writes.push(Write::Lag(lag));
    }

    fn timer(&mut self, now: Instant) {
        for speaker in [Speaker::Customer, Speaker::Agent] {
            self.release(speaker, now, false);
            let party = &mut self.parties[speaker.index()];
            if party.stalls_at().is_some_and(|at| at <= now) {
                party.flush();
            }
            if let EngineSlot::Broken { retry_at: Some(retry_at), .. } = &party.engine
                && *retry_at <= now
                && !self.sockets.is_empty()
            {
                self.open_engine(speaker, now);
            }
        }
        let elapsed_ms = self.elapsed_ms(now);
        self.observers.tell_levels(elapsed_ms, now);
        if self.empty_since.is_some_and(|since| since + PARK_AFTER <= now) {
            self.close(Why::Parked, None, now);
        }
    }

    fn next_timer(&self, now: Instant) -> Instant {
        let far = now + Duration::from_secs(60);
        let parties = self.parties.iter().flat_map(|party| {
            let retry = match &party.engine {
                EngineSlot::Broken { retry_at, .. } if !self.sockets.is_empty() => *retry_at,
                _ => None,
            };
            [party.playout.due(now), party.reorder_due(), party.stalls_at(), retry]
        });
        let parked = self.empty_since.map(|since| since + PARK_AFTER);
        let own = [self.closing.as_ref().map(|c| c.deadline), parked, self.observers.due()];
        parties.chain(own).flatten().min().unwrap_or(far).min(far)
    }

    fn active(&mut self, now: Instant) {
        self.last_activity_at = self.deps.clock.now();
        if now.saturating_duration_since(self.activity_stored) >= ACTIVITY_EVERY {
            self.activity_stored = now;
            self.writes.push(Write::Activity(self.last_activity_at));
            self.writes.push(Write::Statistics(self.statistics));
        }
    }

    fn close(&mut self, why: Why, reply: Option<oneshot::Sender<Session>>, now: Instant) {
        match &mut self.closing {
            // An end is stronger than being parked or shut down; being parked is the weakest.
            Some(closing) => {
                if closing.why == Why::Parked || (matches!(why, Why::End(_)) && closing.why == Why::Shutdown) {
                    closing.why = why;
                }
                closing.replies.extend(reply);
            }
            None => {
                for speaker in [Speaker::Customer, Speaker::Agent] {
                    self.release(speaker, now, true);
                    self.count(speaker);
                    self.parties[speaker.index()].flush();
                }
                self.writes.push(Write::Statistics(self.statistics));
                self.writes.push(Write::Activity(self.last_activity_at));
                if let Some((name, dropped_ms)) = self.recorder.as_ref().map(Recorder::log)
                    && dropped_ms > 0
                {
                    self.writes.push(Write::Part(name.to_owned(), self.deps.node, dropped_ms));
                }
                self.closing = Some(Closing { why, deadline: now + DRAIN_MAX, replies: reply.into_iter().collect() });
            }
        }
    }

    /// Whether all that was said is stored.
    fn drained(&self) -> bool {
        self.writes.is_empty()
            && self.parties.iter().all(|party| !party.flushing && !matches!(party.engine, EngineSlot::Opening(_)))
    }

    async fn finish(mut self: Box<Self>) {
        let Some(closing) = self.closing.take() else { return };
        // Its log is closed before the end is known, so that who makes the recording finds all of it.
        self.recorder = None;
        match closing.why {
            Why::End(reason) => {
                let ended = self.deps.end_live(&self.session, reason).await;
                match ended {
                    Ok(None) => tracing::error!(session = %self.session.id, "a session that was live is not stored"),
                    Ok(Some(EndedSession { session, .. })) => {
                        let reason = match session.state {
                            SessionState::Ended { reason, .. } => reason,
                            _ => reason,
                        };
                        self.broadcast(&Outgoing::Ended { reason });
                        self.broadcast(&Outgoing::Close(CloseCode::Ended));
                        for reply in closing.replies {
                            let _ = reply.send(session.clone());
                        }
                    }
                    // The replies are dropped, which their askers take for a failure; the session is still there to be ended again.
                    Err(error) => {
                        tracing::error!(session = %self.session.id, %error, "a session could not be ended");
                        self.broadcast(&Outgoing::Close(CloseCode::GoingAway));
                    }
                }
            }
            Why::Shutdown | Why::Parked => self.broadcast(&Outgoing::Close(CloseCode::GoingAway)),
        }
    }

    /// Adds what the reorder buffer counted to the statistics, when it is about to be replaced or read.
    fn count(&mut self, speaker: Speaker) {
        let party = &mut self.parties[speaker.index()];
        let (before, now) = (party.counted, party.reorder.stats());
        party.counted = now;
        let statistics = &mut self.statistics.parties[speaker.index()];
        statistics.duplicate_frames += now.duplicates - before.duplicates;
        statistics.late_frames += now.late - before.late;
        statistics.gaps += now.gaps - before.gaps;
        statistics.gap_ms += now.silence_ms - before.silence_ms;
    }
}

fn engine_error(speaker: Speaker, error: &EngineError) -> Outgoing {
    let code = match error {
        EngineError::Unsupported(_) | EngineError::Unavailable(_) | EngineError::Overloaded(_) => {
            ErrorCode::EngineUnavailable
        }
        EngineError::Failed(_) | EngineError::TimedOut(_) => ErrorCode::EngineFailed,
    };
    let message = format!("The {speaker}'s words can't be interpreted: {error}");
    Outgoing::Error { code, message: message.into(), fatal: false }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
