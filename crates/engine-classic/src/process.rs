//! The server's end of a worker process: starts it, talks to it, and kills it when dropped.
//!
//! What must stay true: [`WorkerProcess::step`] may be dropped at any await point without losing a byte in either direction; a
//! worker never outlives its `WorkerProcess`, and should the whole server be killed, the worker sees its standard input close and
//! ends itself; nothing of the server's environment but the few variables named here reaches a worker.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kallglot_engine::EngineError;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::frame::{self, Frame, FrameDecoder, Garbled};
use crate::worker::WorkerKind;

/// Environment variables that a child process keeps; the rest may hold secrets.
const ENVIRONMENT_KEPT: [&str; 6] =
    ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"];
/// Longest line of a child's complaints that is logged; the rest of it is dropped.
const COMPLAINT_BYTES_MAX: usize = 400;
/// Most lines logged per child.
const COMPLAINTS_MAX: u32 = 200;

/// How to start a worker: the server's own binary with the arguments of its hidden worker subcommand. The kind of worker
/// (`recognize` or `synthesize`) is appended as the last argument.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The program. For the server itself `/proc/self/exe`, which stays right when the file is replaced by an upgrade.
    pub program: PathBuf,
    /// Its arguments before the kind of worker, such as `engine-worker`.
    pub args: Vec<String>,
}

/// A worker that stopped working. It is killed when its `WorkerProcess` is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gone {
    #[error("the process ended")]
    Ended,
    #[error("the process sent {0}")]
    Garbled(#[from] Garbled),
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    decoder: FrameDecoder,
    unsent: Vec<u8>,
    sent: usize,
}

impl WorkerProcess {
    /// Starts one, with its temporary files in `scratch` if given: a worker that is killed leaves them to whoever owns that folder.
    /// Must be called within a tokio runtime.
    pub(crate) fn spawn(worker: &WorkerCommand, kind: WorkerKind, scratch: Option<&Path>) -> Result<Self, EngineError> {
        let mut command = Command::new(&worker.program);
        command.args(&worker.args).arg(kind.as_str());
        prepare(&mut command);
        if let Some(scratch) = scratch {
            // Whoever tidies the temporary folder may have taken it away since.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(scratch);
            command.env("TMPDIR", scratch);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            tracing::error!(%error, kind = kind.as_str(), "a speech worker can't be started");
            EngineError::Unavailable("the speech engine can't be started".into())
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(EngineError::Unavailable("the speech engine can't be started".into()));
        };
        tokio::spawn(log_complaints(stderr, kind.as_str()));
        Ok(Self { child, stdin, stdout, decoder: FrameDecoder::default(), unsent: Vec::new(), sent: 0 })
    }

    /// Puts a message in the outgoing buffer; [`step`](Self::step) sends it.
    pub(crate) fn put<M: Serialize>(&mut self, message: &M) {
        frame::put_control(&mut self.unsent, message);
    }

    /// Puts audio in the outgoing buffer.
    pub(crate) fn put_audio(&mut self, samples: &[i16]) {
        frame::put_audio(&mut self.unsent, samples);
    }

    /// Whether all that was put has been handed to the worker. Callers put more only then, which bounds the buffer.
    pub(crate) fn all_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Sends and receives until a frame has arrived, or everything put has been sent (`None`).
    pub(crate) async fn step(&mut self) -> Result<Option<Frame>, Gone> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            tokio::select! {
                read = self.stdout.read(&mut bytes) => match read {
                    Ok(0) | Err(_) => return Err(Gone::Ended),
                    Ok(count) => self.decoder.push(&bytes[..count]),
                },
                written = self.stdin.write(&self.unsent[self.sent..]), if !self.unsent.is_empty() => match written {
                    Ok(0) | Err(_) => return Err(Gone::Ended),
                    Ok(count) => {
                        self.sent += count;
                        if self.sent == self.unsent.len() {
                            self.unsent.clear();
                            self.sent = 0;
                            return Ok(None);
                        }
                    }
                },
            }
        }
    }

    /// Whether it still runs, as far as can be told without waiting.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// What every child process of the engine has in common.
pub(crate) fn prepare(command: &mut Command) {
    command.env_clear().kill_on_drop(true).current_dir("/");
    for name in ENVIRONMENT_KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("LC_ALL", "C.UTF-8");
}

/// Logs what a child writes to its standard error, bounded in both directions.
pub(crate) async fn log_complaints(stderr: ChildStderr, process: &'static str) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::with_capacity(COMPLAINT_BYTES_MAX);
    let mut logged = 0;
    loop {
        let (taken, ended) = match reader.fill_buf().await {
            Ok([]) | Err(_) => return,
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let piece = &bytes[..end.unwrap_or(bytes.len())];
                let room = COMPLAINT_BYTES_MAX.saturating_sub(line.len());
                line.extend_from_slice(&piece[..piece.len().min(room)]);
                (end.map_or(bytes.len(), |end| end + 1), end.is_some())
            }
        };
        reader.consume(taken);
        if ended {
            if !line.is_empty() && logged < COMPLAINTS_MAX {
                logged += 1;
                tracing::debug!(process, "{}", String::from_utf8_lossy(&line));
            }
            line.clear();
        }
    }
}
