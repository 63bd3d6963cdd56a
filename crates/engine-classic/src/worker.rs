//! The other end: what runs in a worker process. The C libraries are loaded here and nowhere else, so that a crash in them costs
//! one worker, and GPL code stays out of the server.
//!
//! What must stay true: a worker ends when its standard input is closed, even while it is in the middle of something; nothing but
//! frames gets onto the standard output, whatever a library prints.

mod recognize;
mod speech;
mod synthesize;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;
use std::str::FromStr;

use rustix::event::{PollFd, PollFlags};
use serde::Serialize;

use crate::frame::{self, Frame, FrameDecoder};

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerKind {
    /// Recognizes one direction of a call with pocketsphinx.
    Recognize,
    /// Speaks texts with espeak-ng.
    Synthesize,
}

impl WorkerKind {
    /// The last argument of a worker's command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recognize => "recognize",
            Self::Synthesize => "synthesize",
        }
    }
}

/// The text names no kind of worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker is `recognize` or `synthesize`")]
pub struct UnknownWorkerKind;

impl FromStr for WorkerKind {
    type Err = UnknownWorkerKind;

    fn from_str(text: &str) -> Result<Self, UnknownWorkerKind> {
        [Self::Recognize, Self::Synthesize].into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownWorkerKind)
    }
}

/// Runs a worker until its standard input closes. Takes over the standard streams of the process; to be called by `main` with
/// nothing else running.
pub fn worker_main(kind: WorkerKind) -> ExitCode {
    let outcome = Pipe::open().and_then(|pipe| match kind {
        WorkerKind::Recognize => recognize::run(pipe),
        WorkerKind::Synthesize => synthesize::run(pipe),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The server has gone away or speaks another protocol; it sees the exit itself.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The connection to the server.
struct Pipe {
    input: BufReader<io::Stdin>,
    decoder: FrameDecoder,
    output: File,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let output = rustix::io::dup(io::stdout())?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        prefer_to_be_killed();
        std::thread::Builder::new().name("end with the server".into()).spawn(end_with_the_server)?;
        Ok(Self { input: BufReader::new(io::stdin()), decoder: FrameDecoder::default(), output: File::from(output) })
    }

    /// The next frame; none when the server has closed the connection.
    fn receive(&mut self) -> io::Result<Option<Frame>> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            match self.input.read(&mut bytes)? {
                0 => return Ok(None),
                count => self.decoder.push(&bytes[..count]),
            }
        }
    }

    fn send<M: Serialize>(&mut self, message: &M) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::put_control(&mut bytes, message);
        self.output.write_all(&bytes)
    }

    fn send_audio(&mut self, samples: &[i16]) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::put_audio(&mut bytes, samples);
        self.output.write_all(&bytes)
    }
}

/// Ends the process as soon as the server's end of the standard input is closed, also while a library is busy or hangs.
fn end_with_the_server() {
    let stdin = io::stdin();
    loop {
        // No flags: only the hang-up is reported, not data.
        let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) if watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) => {
                std::process::exit(0)
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// When memory runs out, a worker is what should go, not the server.
fn prefer_to_be_killed() {
    // Fails only where /proc is missing; then nothing is lost but the preference.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}
