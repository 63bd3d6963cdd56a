//! A server's processes, its folder, and the watchdog that ends both with the test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

use crate::Looks;

/// Reads the server's process id whenever it changes. At the end of its input, which is the end of the test, the server is asked to
/// stop and then killed with its children, and the folder is removed. A process that has ended and is only not yet buried has no `exe`.
const WATCHDOG: &str = r#"
while read -r line; do pid=$line; done
family() { echo "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); }
if [ -n "$pid" ] && [ -e "/proc/$pid/exe" ]; then
  kill -CONT $(family)
  kill -"$2" "$pid"
  tries=0
  while [ -e "/proc/$pid/exe" ] && [ "$tries" -lt 40 ]; do sleep 0.05; tries=$((tries + 1)); done
  [ -e "/proc/$pid/exe" ] && kill -STOP "$pid" && kill -KILL $(family)
fi
rm -rf "$1"
"#;

/// Waits until the watchdog knows of it: from its first moment on, the server is watched.
const WATCHED: &str = r#"read -r _ && exec "$@" </dev/null"#;

/// As whom a server runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The first of these that the system knows.
    pub(crate) fn of(names: &[&str]) -> Option<Self> {
        let all = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &&str| {
            let line = all.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut numbers = line.split(':').skip(2);
            Some(Self { uid: numbers.next()?.parse().ok()?, gid: numbers.next()?.parse().ok()? })
        };
        names.iter().find_map(find)
    }

    /// Gives a folder to this user.
    pub(crate) fn own(self, folder: &Path) {
        std::os::unix::fs::chown(folder, Some(self.uid), Some(self.gid)).expect("root may give a folder away");
    }
}

/// A program, run as this user, in this folder, and without what the tester's environment says about servers.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, user: Option<User>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir(folder).stdin(Stdio::null());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// A server and its folder.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    command: Vec<OsString>,
    user: Option<User>,
    /// Kept, so that it is removed at the end; by the watchdog, after the server.
    folder: PathBuf,
    watchdog: ChildStdin,
    child: Option<Child>,
}

impl Server {
    /// A folder for a server that is started later. `stops_at` is the signal at which it stops without delay and leaves nothing behind
    /// in the system.
    pub(crate) fn new(name: &'static str, user: Option<User>, stops_at: &str) -> Self {
        let prefix = format!("kallglot-throwaway-{name}-");
        let folder = TempDir::with_prefix(prefix).expect("a temporary folder").keep();
        if let Some(user) = user {
            user.own(&folder);
        }
        let mut watchdog = command("sh", None, Path::new("/"));
        watchdog.args(["-c", WATCHDOG, "watchdog"]).arg(&folder).arg(stops_at);
        // In a group of its own, so that what is sent to the test's group does not end it.
        watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut watchdog = watchdog.spawn().expect("sh is there");
        let watchdog = watchdog.stdin.take().expect("its input is a pipe");
        Self { name, command: Vec::new(), user, folder, watchdog, child: None }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the server's own words go.
    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The last of what the server has said.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(3000)..]).into_owned()
    }

    /// Starts it with this command.
    pub(crate) async fn start(&mut self, words: Vec<OsString>) {
        self.command = words;
        self.start_again().await;
    }

    /// Starts it as it was started before.
    ///
    /// # Panics
    /// When it runs.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("a log");
        let mut watched = command("sh", self.user, &self.folder);
        watched.args(["-c", WATCHED, self.name]).args(&self.command).stdin(Stdio::piped());
        watched.stdout(log.try_clone().expect("a log")).stderr(log).process_group(0);
        let mut child = watched.spawn().expect("sh is there");
        let pid = child.id().expect("it waits");
        self.watch(&format!("{pid}\n")).await;
        let mut go = child.stdin.take().expect("its input is a pipe");
        go.write_all(b"go\n").await.expect("it waits");
        self.child = Some(child);
    }

    async fn watch(&mut self, line: &str) {
        self.watchdog.write_all(line.as_bytes()).await.expect("the watchdog is there");
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("it can be waited for")
    }

    /// Forgets one that has ended.
    pub(crate) async fn bury(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = tokio::time::timeout(crate::PATIENCE, child.wait()).await;
            ended.unwrap_or_else(|_| panic!("{} does not end", self.name)).expect("it can be waited for");
            self.watch("\n").await;
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.as_ref()?.id()?.cast_signed())
    }

    /// Sends it a signal and waits until it has ended. Nothing, if it does not run.
    pub(crate) async fn stop(&mut self, signal: Signal) {
        if let Some(pid) = self.pid() {
            self.resume();
            // One that has ended meanwhile is buried all the same.
            let _ = kill_process(pid, signal);
        }
        self.bury().await;
    }

    /// Kills it and its children at one moment, as a power cut would but for what the system has not yet written. Nothing, if it does
    /// not run.
    pub(crate) async fn kill(&mut self) {
        let Some(pid) = self.pid() else { return self.bury().await };
        // Stopped first, so that it neither starts another child nor notices that one has died.
        let _ = kill_process(pid, Signal::STOP);
        let children = children(pid);
        for pid in children.iter().chain([&pid]) {
            let _ = kill_process(*pid, Signal::KILL);
        }
        self.bury().await;
        let mut looks = Looks::at("its children are dead");
        while !children.iter().all(|pid| is_dead(*pid)) {
            looks.next().await;
        }
    }

    /// Stops it and its children where they are.
    pub(crate) fn pause(&self) {
        let Some(pid) = self.pid() else { return };
        let _ = kill_process(pid, Signal::STOP);
        for child in children(pid) {
            let _ = kill_process(child, Signal::STOP);
        }
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        let Some(pid) = self.pid() else { return };
        for child in children(pid).into_iter().chain([pid]) {
            let _ = kill_process(child, Signal::CONT);
        }
    }
}

/// The children of a process. PostgreSQL's are each in a group of their own.
fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let all = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Whether it has ended, buried or not.
fn is_dead(pid: Pid) -> bool {
    std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).is_err()
}
