//! `kallglot call`: both parties of a call, on a telephone line's schedule.
//!
//! It is an ordinary client of the API: one socket for each party, a frame every 20 ms from each, whether there is something to say or
//! not. What must stay true: frames keep their schedule (deadlines are absolute, so delays do not add up); however the call ends, the
//! session is ended and the files are written.

mod ear;
#[cfg(test)]
mod fake_server;
mod input;
mod link;
mod microphone;
mod mouth;
mod report;
mod script;
mod show;
mod tally;
#[cfg(test)]
mod tests;
mod view;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kallglot_audio::wav::WavWriter;
use kallglot_client::{Client, ClientError, ConnectError, NewSession, Session};
use kallglot_core::session::{EndReason, Speaker};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

pub(crate) use input::{CallArgs, Plan, read_wav};
pub(crate) use report::Report;
pub(crate) use script::{Cue, When};
pub(crate) use show::Show;

use link::{Frame, Link, LinkEvent};
use microphone::Microphone;
use mouth::{FRAME_MS, Mouth};
use script::Script;
use tally::Tally;

/// Messages of both sockets that may wait.
const EVENTS_MAX: usize = 256;
/// Frames between two redraws.
const REDRAW_FRAMES: u64 = 5;
/// How long all must be quiet before the call is over: longer than an endpoint.
const OVER_PAUSE_MS: u64 = 1_500;
/// How long the last messages are waited for after the session was ended.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why a call could not be made or did not end well; its text is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// What was asked for can't be done.
    #[error("{0}")]
    Usage(String),
    /// It went wrong.
    #[error("{0}")]
    Failed(String),
}

impl CallError {
    /// The exit code (contract section 14).
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        })
    }
}

/// Runs the command: 0 when the call went well, 1 when it failed, 2 when it can't be made.
pub(crate) async fn run(args: CallArgs, json: bool) -> ExitCode {
    let mut show = Show::on_stdout(json, args.color());
    let result = match args.plan() {
        Ok(plan) => make(plan, &mut show).await,
        Err(error) => Err(error),
    };
    if let Ok(report) = &result {
        show.report(report, true);
    }
    match result {
        Ok(Report { failure: None, .. }) => ExitCode::SUCCESS,
        Ok(Report { failure: Some(reason), .. }) => {
            tell_error(&mut show, &format!("the call failed: {reason}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            tell_error(&mut show, &error.to_string());
            error.exit_code()
        }
    }
}

/// Tells what went wrong: on standard error, for machines on standard output too.
#[allow(clippy::print_stderr, reason = "where a command's errors belong")]
pub(crate) fn tell_error(show: &mut Show, text: &str) {
    show.json(&serde_json::json!({"event": "error", "fatal": true, "message": text}));
    eprintln!("error: {}", view::clean(text));
}

/// Makes the call, shows it as it goes on, writes its files.
///
/// # Errors
/// The session can't be had, or a file can't be written. A call that breaks off later gives a report that says so.
pub(crate) async fn make(plan: Plan, show: &mut Show) -> Result<Report, CallError> {
    let client =
        Client::new(&plan.server, Some(plan.key.reveal())).map_err(|error| CallError::Usage(error.to_string()))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    if plan.microphone {
        microphone::check(&path).map_err(CallError::Usage)?;
    }
    let mut session = NewSession::new(plan.mode, plan.from.as_str(), plan.to.as_str());
    session.voice = plan.voice.clone();
    session.vocabulary = plan.vocabulary.clone();
    session.metadata.insert("made_by".into(), plan.made_by.into());
    let session = client.create_session(&session.recorded(plan.record)).await.map_err(explain)?;
    show.started(&session);
    let result = tokio::select! {
        result = Call::connect(&client, &session, plan, show) => result,
        Ok(()) = tokio::signal::ctrl_c() => Err(CallError::Failed("interrupted before the call began".into())),
    };
    let call = match result {
        Ok(mut call) => {
            call.talk(show).await;
            call
        }
        Err(error) => {
            // The session is of no use any more; what matters is why.
            let _ = client.end_session(&session.id, Some(EndReason::Error)).await;
            return Err(error);
        }
    };
    call.hang_up(&client, &session, show).await
}

/// What to do about an error that a person who calls can do something about.
fn explain(error: ClientError) -> CallError {
    let hint = match &error {
        ClientError::Unreachable { .. } => {
            ". Is the server running? `kallglot serve` starts one; --server names another"
        }
        ClientError::Refused(refusal) => match (refusal.status, refusal.code.as_str()) {
            (401, _) => ". Give a key of this server with --key or KALLGLOT_API_KEY; `kallglot key create` makes one",
            (402, _) => ". `kallglot org grant-credits` gives an organization credits; test keys need none",
            _ => "",
        },
        _ => "",
    };
    CallError::Failed(format!("{}{hint}", error.to_string().trim_end_matches('.')))
}

/// A call that is going on.
struct Call {
    mouths: [Mouth; 2],
    links: [Link; 2],
    tally: Tally,
    script: Script,
    events: mpsc::Receiver<(Speaker, LinkEvent)>,
    microphone: Option<(Microphone, mpsc::Receiver<Vec<i16>>)>,
    out: Option<std::path::PathBuf>,
    /// When the audio of the first frame began: one frame before it was sent.
    began: Instant,
    frames: u64,
    closed: [bool; 2],
}

impl Call {
    async fn connect(client: &Client, session: &Session, plan: Plan, show: &mut Show) -> Result<Self, CallError> {
        let stream = session.stream.as_ref().filter(|stream| stream.token.is_some()).ok_or_else(|| {
            CallError::Failed("the server gave no stream token: the key needs the permission sessions:write".into())
        })?;
        let microphone = if plan.microphone {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let (microphone, samples) = Microphone::open(&path).map_err(CallError::Usage)?;
            show.line(&format!("recording with `{}`; Ctrl-C hangs up", microphone.program()));
            Some((microphone, samples))
        } else {
            None
        };
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let explain = |error: ConnectError| CallError::Failed(format!("the session is there, but {error}"));
        let customer =
            Link::open(client, &session.id, stream, Speaker::Customer, sender.clone()).await.map_err(explain)?;
        let agent = Link::open(client, &session.id, stream, Speaker::Agent, sender).await.map_err(explain)?;
        let mut mouths = [Mouth::new(), Mouth::new()];
        mouths[Speaker::Customer.index()].live = microphone.is_some();
        Ok(Self {
            mouths,
            links: [customer, agent],
            tally: Tally::new(plan.mode),
            script: Script::new(plan.cues),
            events,
            microphone,
            out: plan.out,
            began: Instant::now(),
            frames: 0,
            closed: [false; 2],
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Goes on until all has been said and heard, the session ends, or Ctrl-C.
    async fn talk(&mut self, show: &mut Show) {
        let first = Instant::now();
        self.began = first - Duration::from_millis(FRAME_MS);
        let mut schedule = tokio::time::interval_at(first, Duration::from_millis(FRAME_MS));
        schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut interrupted = false;
        let mut interrupt = Box::pin(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                biased;
                Ok(()) = &mut interrupt => {
                    interrupt.set(tokio::signal::ctrl_c());
                    // With a microphone the last words are still to be translated; a second Ctrl-C does not wait for that.
                    if interrupted || self.microphone.is_none() {
                        return;
                    }
                    interrupted = true;
                    show.hint("hanging up once the last words have been translated; Ctrl-C again hangs up now");
                    self.stop_microphone();
                }
                _ = schedule.tick() => {
                    if self.frame(show) {
                        return;
                    }
                }
                Some((listener, event)) = self.events.recv() => {
                    self.on_event(listener, event, show);
                    if self.closed.iter().all(|&closed| closed) || self.tally.ended.is_some() {
                        return;
                    }
                }
                chunk = recorded(&mut self.microphone) => match chunk {
                    Some(samples) => self.mouths[Speaker::Customer.index()].say_live(&samples),
                    None => self.microphone_ended(show).await,
                },
            }
        }
    }

    /// Sends the next frame of each party. True when the call is over.
    fn frame(&mut self, show: &mut Show) -> bool {
        let now_ms = (self.frames + 1) * FRAME_MS;
        while let Some(cue) = self.script.due(now_ms) {
            self.mouths[cue.speaker.index()].say(&cue.samples);
        }
        for speaker in [Speaker::Customer, Speaker::Agent] {
            let samples = self.mouths[speaker.index()].next_frame();
            let mulaw = samples.map(kallglot_audio::g711::linear_to_mulaw);
            self.links[speaker.index()].send(Frame { number: self.frames, mulaw });
        }
        self.frames += 1;
        self.script.observe(now_ms, self.tally.is_settled(now_ms, &self.mouths));
        if self.frames.is_multiple_of(REDRAW_FRAMES) {
            show.tick(now_ms, &self.tally, &self.mouths);
        }
        self.script.is_over(now_ms, OVER_PAUSE_MS)
    }

    fn on_event(&mut self, listener: Speaker, event: LinkEvent, show: &mut Show) {
        let now_ms = self.now_ms();
        match event {
            LinkEvent::Message(message) => {
                let happened = self.tally.on_message(now_ms, listener, message, &self.mouths);
                show.happened(&happened, now_ms, &self.tally);
            }
            LinkEvent::Reconnected => {
                self.tally.reconnections += 1;
                show.warn("reconnected", &format!("the {listener}'s connection was cut and is there again"));
            }
            LinkEvent::Closed(close) => {
                self.closed[listener.index()] = true;
                if self.tally.ended.is_none() && close.code != Some(1000) && self.tally.fatal.is_none() {
                    self.tally.fatal = Some(format!("the {listener}'s connection was {close}"));
                }
            }
        }
    }

    fn stop_microphone(&mut self) {
        if let Some((mut microphone, _)) = self.microphone.take() {
            microphone.stop();
        }
        self.mouths[Speaker::Customer.index()].live = false;
    }

    async fn microphone_ended(&mut self, show: &mut Show) {
        if let Some((mut microphone, _)) = self.microphone.take()
            && let Some(reason) = microphone.failure().await
        {
            show.warn("microphone", &reason);
            self.tally.fatal.get_or_insert(reason);
        }
        self.mouths[Speaker::Customer.index()].live = false;
    }

    /// Ends the session, takes in what still comes and writes the files.
    async fn hang_up(mut self, client: &Client, session: &Session, show: &mut Show) -> Result<Report, CallError> {
        let duration_ms = self.now_ms();
        if self.tally.ended.is_none() {
            let reason = if self.tally.fatal.is_some() { EndReason::Error } else { EndReason::Completed };
            match client.end_session(&session.id, Some(reason)).await {
                Ok(_) => {
                    let farewell = async {
                        while let Some((listener, event)) = self.events.recv().await {
                            self.on_event(listener, event, show);
                        }
                    };
                    // What does not come in this time is not waited for.
                    let _ = tokio::time::timeout(FAREWELL, farewell).await;
                }
                Err(error) => {
                    let reason = format!("the session could not be ended: {error}");
                    self.tally.fatal.get_or_insert(reason);
                }
            }
        }
        let now_ms = self.now_ms();
        show.finish(now_ms, &self.tally);
        let unsent_ms: u64 = self.links.iter().map(|link| link.dropped_frames * FRAME_MS).sum();
        let unheard_ms: u64 = self.mouths.iter().map(Mouth::dropped_ms).sum();
        let mut report = Report::of(&session.id, &self.tally, duration_ms, unsent_ms + unheard_ms);
        let spoken = self.mouths.iter().any(|mouth| mouth.voice_end_ms().is_some());
        if let (Some(complaint), true, 0) = (&self.tally.complaint, spoken, report.words) {
            report.failure.get_or_insert(format!("nothing was understood: {complaint}"));
        }
        let server = client.base_url().as_str().trim_end_matches('/');
        report.transcript_url = format!("{server}/v1/sessions/{}/transcript", session.id);
        let written = self.out.as_deref().map(|path| write_heard(path, &self.tally));
        if let (Some(path), Some(Ok(()))) = (&self.out, &written) {
            report.files.push(path.clone());
        }
        if let (Some(path), Some(Err(error))) = (&self.out, written) {
            report.failure.get_or_insert(format!("{} can't be written: {error}", path.display()));
        }
        Ok(report)
    }
}

/// The next audio of the microphone; waits for ever when there is none.
async fn recorded(microphone: &mut Option<(Microphone, mpsc::Receiver<Vec<i16>>)>) -> Option<Vec<i16>> {
    match microphone {
        Some((_, samples)) => samples.recv().await,
        None => std::future::pending().await,
    }
}

/// Writes what both parties heard: left the agent's ear, right the customer's, as in the API's recordings.
fn write_heard(path: &Path, tally: &Tally) -> std::io::Result<()> {
    let file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut writer = WavWriter::stereo(file)?;
    let ear = |speaker: Speaker| tally.ears[speaker.index()].samples();
    writer.write_stereo(ear(Speaker::Agent), ear(Speaker::Customer))?;
    writer.finish().map(drop)
}
