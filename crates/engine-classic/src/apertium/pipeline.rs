//! One pair's running programs, each reading from the one before it, and the task that feeds them one text at a time.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kallglot_engine::EngineError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::modes::Mode;
use super::{ApertiumConfig, stream};
use crate::process::{log_complaints, prepare};
use crate::respawn::Respawn;

/// Largest answer that is read; a translation is about as long as its text, which is far shorter.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// What loading a pair's dictionaries may take longer than a text: a cold disk, a busy machine.
const LOADING: Duration = Duration::from_secs(8);

struct Request {
    text: String,
    answer: oneshot::Sender<Result<String, EngineError>>,
}

/// Where texts for one pair are handed in.
#[derive(Debug, Clone)]
pub(super) struct PipelineHandle {
    mode: Arc<Mode>,
    requests: mpsc::Sender<Request>,
    patience: Duration,
}

impl PipelineHandle {
    /// Starts the task; its programs are started by the first text.
    pub(super) fn start(mode: Arc<Mode>, config: &ApertiumConfig, alive: CancellationToken) -> Self {
        let (requests, queue) = mpsc::channel(config.queue_texts_max);
        let task = PipelineTask {
            mode: Arc::clone(&mode),
            queue,
            timeout: config.timeout,
            idle: config.idle,
            running: None,
            respawn: Respawn::default(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = alive.cancelled() => {}
                () = task.run() => {}
            }
        });
        // Waiting in the queue is bounded too: by a slow text before this one, and by loading.
        Self { mode, requests, patience: config.timeout * 2 + LOADING }
    }

    /// Translates one text.
    pub(super) async fn translate(&self, text: &str) -> Result<String, EngineError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { text: text.to_owned(), answer };
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                EngineError::Overloaded(format!("too many texts wait for the translation {}", self.mode.name))
            }
            mpsc::error::TrySendError::Closed(_) => {
                EngineError::Unavailable("the translator has been shut down".into())
            }
        })?;
        match tokio::time::timeout(self.patience, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(EngineError::Unavailable("the translator has been shut down".into())),
            Err(_) => Err(EngineError::TimedOut("the translation took too long".into())),
        }
    }
}

struct PipelineTask {
    mode: Arc<Mode>,
    queue: mpsc::Receiver<Request>,
    timeout: Duration,
    idle: Duration,
    running: Option<Running>,
    respawn: Respawn,
}

impl PipelineTask {
    async fn run(mut self) {
        loop {
            let request = match tokio::time::timeout(self.idle, self.queue.recv()).await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(_) => {
                    self.running = None;
                    match self.queue.recv().await {
                        Some(request) => request,
                        None => return,
                    }
                }
            };
            // Whoever asked may have given up while the text waited.
            if request.answer.is_closed() {
                continue;
            }
            let answer = self.translate(&request.text).await;
            // Given up meanwhile: nothing to tell.
            let _ = request.answer.send(answer);
        }
    }

    async fn translate(&mut self, text: &str) -> Result<String, EngineError> {
        if self.running.as_mut().is_some_and(|running| !running.runs()) {
            self.running = None;
        }
        let (running, limit) = match &mut self.running {
            Some(running) => (running, self.timeout),
            None => {
                if !self.respawn.may_start(Instant::now()) {
                    return Err(EngineError::Unavailable(format!("the translation {} keeps failing", self.mode.name)));
                }
                match Running::spawn(&self.mode) {
                    Ok(running) => (self.running.insert(running), self.timeout + LOADING),
                    Err(error) => {
                        tracing::error!(%error, mode = self.mode.name, "a translation pipeline can't be started");
                        self.respawn.died(Instant::now());
                        return Err(EngineError::Unavailable(format!(
                            "the translation {} can't be started",
                            self.mode.name
                        )));
                    }
                }
            }
        };
        let failure = match tokio::time::timeout(limit, running.translate(text)).await {
            Ok(Ok(translation)) => return Ok(translation),
            Ok(Err(error)) => {
                tracing::warn!(%error, mode = self.mode.name, "a translation pipeline broke");
                EngineError::Failed("the translator broke on this text".into())
            }
            Err(_) => {
                tracing::warn!(mode = self.mode.name, "a translation pipeline hangs");
                EngineError::TimedOut("the translation took too long".into())
            }
        };
        // What it might still say would be taken for the answer to the next text.
        self.running = None;
        self.respawn.died(Instant::now());
        Err(failure)
    }
}

/// The programs; killed when dropped.
struct Running {
    children: Vec<Child>,
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// Of the last text, from 1.
    number: u64,
}

impl Running {
    fn spawn(mode: &Mode) -> io::Result<Self> {
        let mut children = Vec::with_capacity(mode.stages.len());
        let mut input: Stdio = Stdio::piped();
        for (index, stage) in mode.stages.iter().enumerate() {
            let mut command = Command::new(&stage[0]);
            command.args(&stage[1..]);
            prepare(&mut command);
            let next = if index + 1 < mode.stages.len() {
                let (reader, writer) = io::pipe()?;
                command.stdout(writer);
                Stdio::from(reader)
            } else {
                command.stdout(Stdio::piped());
                Stdio::null()
            };
            command.stdin(std::mem::replace(&mut input, next)).stderr(Stdio::piped());
            let mut child = command.spawn()?;
            if let Some(stderr) = child.stderr.take() {
                tokio::spawn(log_complaints(stderr, "apertium"));
            }
            children.push(child);
        }
        let stdin = children.first_mut().and_then(|child| child.stdin.take());
        let stdout = children.last_mut().and_then(|child| child.stdout.take());
        match (stdin, stdout) {
            (Some(stdin), Some(stdout)) => Ok(Self { children, stdin, stdout, number: 0 }),
            _ => Err(io::Error::other("no pipes")),
        }
    }

    fn runs(&mut self) -> bool {
        self.children.iter_mut().all(|child| matches!(child.try_wait(), Ok(None)))
    }

    async fn translate(&mut self, text: &str) -> io::Result<String> {
        self.number += 1;
        let framed = stream::frame(text, self.number);
        // At the same time: a pipeline that waits for its answer to be read may not read the rest of the text.
        let write = async {
            self.stdin.write_all(&framed).await?;
            self.stdin.flush().await
        };
        let read = async {
            let mut answer = Vec::new();
            let mut bytes = [0; 4096];
            loop {
                match self.stdout.read(&mut bytes).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => answer.extend_from_slice(&bytes[..count]),
                }
                if let Some(end) = answer.iter().position(|byte| *byte == 0) {
                    if end + 1 != answer.len() {
                        return Err(io::Error::other("more than one answer"));
                    }
                    answer.truncate(end);
                    return Ok(answer);
                }
                if answer.len() > ANSWER_BYTES_MAX {
                    return Err(io::Error::other("an endless answer"));
                }
            }
        };
        let ((), answer) = tokio::try_join!(write, read)?;
        let answer = String::from_utf8(answer).map_err(io::Error::other)?;
        stream::unframe(&answer, self.number).ok_or_else(|| io::Error::other("no answer to this text"))
    }
}
