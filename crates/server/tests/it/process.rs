//! The program as a process: commands on a data folder, and servers on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use kallglot_testkit::client::Client;
use kallglot_testkit::soon;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// The scripted engine, and lines that a test can read.
const SETTINGS: &str = r#"
[log]
format = "json"
[[engine]]
name = "scripted"
recognizer = "scripted"
translator = "scripted"
synthesizer = "scripted"
"#;

/// A temporary folder with settings and data.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.toml"), SETTINGS).unwrap();
        Self { folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program with this folder's settings and data, and nothing of the tester's environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kallglot"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KALLGLOT_") {
                command.env_remove(name);
            }
        }
        command.env("KALLGLOT_CONFIG", self.folder.path().join("settings.toml"));
        command.env("KALLGLOT_DATA_DIR", self.data());
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, words: &[&str]) -> Done {
        Done::of(soon(&format!("{words:?}"), self.command(words).output()).await.unwrap())
    }

    /// Runs a command with `--json` that must succeed.
    pub(crate) async fn json(&self, words: &[&str]) -> Value {
        let done = self.run(&[words, &["--json"]].concat()).await;
        assert_eq!(done.code, Some(0), "{words:?}: {}", done.stderr);
        assert_eq!(done.stdout.lines().count(), 1, "one object on one line: {}", done.stdout);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// A new organization.
    pub(crate) async fn organization(&self) -> String {
        let made = self.json(&["org", "create", "--name", "Example", "--plan", "pro"]).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// A new live key of an organization: its id and its secret.
    pub(crate) async fn key(&self, organization: &str) -> (String, String) {
        let made = self.json(&["key", "create", "--org", organization, "--env", "live"]).await;
        (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
    }
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it has logged so far.
    pub(crate) log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) async fn start(folder: &Folder) -> Self {
        Self::launch(folder, "127.0.0.1:0", &[]).await
    }

    /// Starts one there.
    pub(crate) async fn start_at(folder: &Folder, listen: &str) -> Self {
        Self::launch(folder, listen, &[]).await
    }

    /// Starts one on a free port with these variables.
    pub(crate) async fn start_with(folder: &Folder, variables: &[(&str, &str)]) -> Self {
        Self::launch(folder, "127.0.0.1:0", variables).await
    }

    async fn launch(folder: &Folder, listen: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = folder.command(&["serve", "--listen", listen]);
        let mut child = command.envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let address = soon("the server listens", async {
            while let Some(line) = lines.next_line().await.unwrap() {
                log.lock().unwrap().push_str(&format!("{line}\n"));
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["message"] == "kallglot listens" {
                    return line["address"].as_str().unwrap().parse().unwrap();
                }
            }
            panic!("it stopped: {}", log.lock().unwrap());
        })
        .await;
        let shared = Arc::clone(&log);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                shared.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, address, log, reading }
    }

    pub(crate) fn client(&self, secret: &str) -> Client {
        Client::new(&format!("http://{}", self.address), Some(secret)).unwrap()
    }

    /// Kills it as a power cut would.
    pub(crate) async fn kill(mut self) {
        soon("it is dead", self.child.kill()).await.unwrap();
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits until it has stopped and all that it logged was read; its exit code.
    pub(crate) async fn wait(mut self) -> Option<i32> {
        let status = soon("it has stopped", self.child.wait()).await.unwrap();
        soon("its log ends", self.reading).await.unwrap();
        status.code()
    }
}
