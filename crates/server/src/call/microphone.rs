//! The microphone, through a capture program that is on the machine: no audio library is needed to build or run the rest.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Chunks of audio that may wait: about half a second.
const QUEUE_CHUNKS_MAX: usize = 25;
/// Bytes of a chunk: 20 ms.
const CHUNK_BYTES: usize = 320;

/// Programs that can record, the best first: each writes mono PCM of 16 bits at 8 kHz to its standard output.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("parec", &["--raw", "--rate=8000", "--channels=1", "--format=s16le", "--latency-msec=20"]),
    ("pw-record", &["--raw", "--rate=8000", "--channels=1", "--format=s16", "-"]),
    ("arecord", &["-q", "-t", "raw", "-f", "S16_LE", "-r", "8000", "-c", "1", "--period-time=20000"]),
    (
        "ffmpeg",
        &[
            "-loglevel",
            "error",
            "-nostdin",
            "-f",
            "alsa",
            "-i",
            "default",
            "-ac",
            "1",
            "-ar",
            "8000",
            "-f",
            "s16le",
            "-",
        ],
    ),
];

/// A program that records.
#[derive(Debug)]
pub(crate) struct Microphone {
    program: &'static str,
    child: Child,
}

/// The first of the programs that is in one of the folders of `path`.
fn find(path: &OsStr) -> Option<(&'static str, &'static [&'static str])> {
    PROGRAMS.into_iter().find(|(program, _)| std::env::split_paths(path).any(|folder| folder.join(program).is_file()))
}

/// Checks that there is one.
///
/// # Errors
/// There is none; says what to do.
pub(crate) fn check(path: &OsStr) -> Result<(), String> {
    find(path).map(drop).ok_or_else(|| {
        format!(
            "no program that can record was found (one of {}). Install one, for example with `apt-get install alsa-utils`, or give a \
             recording with --file",
            PROGRAMS.map(|(program, _)| program).join(", ")
        )
    })
}

impl Microphone {
    /// Starts recording. The channel closes when the program ends.
    ///
    /// # Errors
    /// None of the programs is there, or it does not start; says what to do.
    pub(crate) fn open(path: &OsStr) -> Result<(Self, mpsc::Receiver<Vec<i16>>), String> {
        check(path)?;
        let Some((program, arguments)) = find(path) else { return Err("the program that can record is gone".into()) };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("`{program}` does not start: {error}"))?;
        let (sender, receiver) = mpsc::channel(QUEUE_CHUNKS_MAX);
        if let Some(mut output) = child.stdout.take() {
            tokio::spawn(async move {
                let mut bytes = [0; CHUNK_BYTES];
                let mut filled = 0;
                while let Ok(count @ 1..) = output.read(&mut bytes[filled..]).await {
                    filled += count;
                    let samples =
                        bytes[..filled].as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect();
                    bytes[0] = bytes[filled - 1];
                    filled %= 2;
                    if sender.send(samples).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok((Self { program, child }, receiver))
    }

    /// The program's name.
    pub(crate) fn program(&self) -> &'static str {
        self.program
    }

    /// Stops recording.
    pub(crate) fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.start_kill();
    }

    /// Why it ended by itself, in the program's words.
    pub(crate) async fn failure(&mut self) -> Option<String> {
        let status = self.child.wait().await.ok()?;
        if status.success() {
            return None;
        }
        let mut words = String::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(2_000).read_to_string(&mut words).await;
        }
        Some(format!("`{}` stopped recording: {}", self.program, words.lines().next().unwrap_or("without saying why")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_program_it_says_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let error = Microphone::open(folder.path().as_os_str()).err();
        assert!(error.is_some_and(|error| error.contains("apt-get install alsa-utils")));
    }

    #[test]
    fn the_best_program_of_those_that_are_there_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["ffmpeg", "arecord"] {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        assert_eq!(find(folder.path().as_os_str()).map(|(program, _)| program), Some("arecord"));
    }
}
