//! The driver's process, the browser's folder, and the watchdog that ends both with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::PATIENCE;

/// How often the driver is started before it is given up.
const TRIES_MAX: u32 = 3;

/// At the end of its input, which is the end of the test, every process that names the browser's folder is killed, and the folder is
/// removed. The folder's name is random, so no other process names it. Again until none is left: a dying browser may start another.
const WATCHDOG: &str = r#"
cat >/dev/null
tries=0
while [ "$tries" -lt 40 ]; do
  found=
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    if [ "$pid" != "$$" ] && grep -qsF -e "$1" "$process/cmdline"; then
      kill -KILL "$pid" 2>/dev/null && found=yes
    fi
  done
  rm -rf "$1"
  [ -z "$found" ] && [ ! -e "$1" ] && break
  tries=$((tries + 1))
  sleep 0.05
done
"#;

/// A running driver.
#[derive(Debug)]
pub(crate) struct Driver {
    folder: PathBuf,
    address: SocketAddr,
    _child: Child,
    watchdog: Child,
    /// The test's end of the pipe.
    held: Option<ChildStdin>,
}

impl Driver {
    /// Starts the driver on a free port.
    ///
    /// # Panics
    /// When it is missing or does not start.
    pub(crate) async fn start() -> Self {
        let folder = TempDir::with_prefix("kallglot-browser-").expect("a temporary folder").keep();
        let mut watchdog = Command::new("sh");
        // In a group of its own, so that what is sent to the test's group does not end it.
        watchdog.args(["-c", WATCHDOG, "watchdog"]).arg(&folder).stdin(Stdio::piped()).process_group(0);
        let mut watchdog = watchdog.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh is there");
        let held = watchdog.stdin.take();

        let mut tries = 1;
        let (child, port) = loop {
            match launch(&folder).await {
                Some(started) => break started,
                // It takes a free port of one family of addresses and needs the same of the other, which may be taken.
                None if tries < TRIES_MAX => tries += 1,
                None => panic!("the browser's driver does not start: {}", last_words(&folder)),
            }
        };
        Self { folder, address: SocketAddr::from(([127, 0, 0, 1], port)), _child: child, watchdog, held }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn last_words(&self) -> String {
        last_words(&self.folder)
    }

    /// Ends it and waits until nothing of it is left.
    pub(crate) async fn stop(mut self) {
        self.held = None;
        let ended = tokio::time::timeout(PATIENCE, self.watchdog.wait()).await;
        ended.expect("the watchdog ends in time").expect("it can be waited for");
    }
}

/// Starts the driver on a port that it chooses; none when it ends instead.
async fn launch(folder: &Path) -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver");
    driver.args(["--port=0", &format!("--log-path={}", folder.join("log").display())]);
    // What a desktop has would otherwise be used: its profile, its proxy, its display.
    driver.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("HOME", folder).env("TMPDIR", folder);
    driver.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    driver.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = driver.spawn().expect(
        "the browser's driver is missing: install the Debian packages chromium and chromium-driver (scripts/test does)",
    );
    let mut lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
    let started = async {
        while let Some(line) = lines.next_line().await.expect("its output can be read") {
            if let Some((_, port)) = line.trim_end_matches('.').rsplit_once("successfully on port ") {
                return Some(port.parse::<u16>().expect("a port"));
            }
        }
        None
    };
    let port = tokio::time::timeout(PATIENCE, started).await.expect("the driver starts in time")?;
    Some((child, port))
}

/// The last of what the driver has written down.
fn last_words(folder: &Path) -> String {
    let log = std::fs::read(folder.join("log")).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(3000)..]).into_owned()
}
