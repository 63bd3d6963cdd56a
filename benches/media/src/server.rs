//! The processes under test: the real server with the scripted engine, and the floor.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kallglot_client::{Client, NewSession};
use kallglot_core::session::{Mode, Speaker};

use crate::load::Door;

/// Every part is the scripted engine's; little is logged.
const SETTINGS: &str = r#"
[log]
filter = "error"
[[engine]]
name = "scripted"
recognizer = "scripted"
translator = "scripted"
synthesizer = "scripted"
"#;
/// How long a server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Limits that are never reached.
const LIMITS: [&str; 8] = [
    "--requests-per-minute",
    "10000000",
    "--concurrent-sessions",
    "1000000",
    "--stream-messages-per-second",
    "100000",
    "--stream-audio-bytes-per-second",
    "10000000",
];

/// A server process; stopped when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The key of its only organization; none on the floor.
    key: Option<String>,
    folder: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let patience = Instant::now() + STOP_MAX;
        while Instant::now() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs on one core, or on any.
fn on_core(program: &Path, core: Option<usize>) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Server {
    /// Starts `kallglot serve` in a temporary folder.
    pub(crate) fn kallglot(program: &Path, core: Option<usize>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings: PathBuf = folder.path().join("settings.toml");
        std::fs::write(&settings, SETTINGS)?;
        let data = folder.path().join("data");
        let run = |words: &[&str]| -> io::Result<serde_json::Value> {
            let output = Command::new(program).args(["--json", "--data-dir"]).arg(&data).args(words).output()?;
            if !output.status.success() {
                return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        let made =
            run(&[&["org", "create", "--name", "Bench", "--plan", "enterprise", "--credits", "1000000"][..], &LIMITS]
                .concat())?;
        let organization = made["id"].as_str().ok_or_else(|| io::Error::other(format!("no id: {made}")))?;
        let made = run(&["key", "create", "--org", organization, "--env", "live"])?;
        let key = made["secret"].as_str().ok_or_else(|| io::Error::other("no secret"))?.to_owned();
        let address = free_address()?;
        let mut command = on_core(program, core);
        command.arg("--config").arg(&settings).arg("--data-dir").arg(&data);
        command.args(["serve", "--listen", &address.to_string()]);
        Self::start(command, address, Some(key), Some(folder))
    }

    /// Starts the floor: this program again.
    pub(crate) fn echo(core: Option<usize>) -> io::Result<Self> {
        let address = free_address()?;
        let mut command = on_core(&std::env::current_exe()?, core);
        command.args(["echo", "--listen", &address.to_string()]);
        Self::start(command, address, None, None)
    }

    fn start(
        mut command: Command,
        address: SocketAddr,
        key: Option<String>,
        folder: Option<tempfile::TempDir>,
    ) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let mut server = Self { child, address, key, folder };
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                Ok(_) => return Ok(server),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < patience => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Err(error) => return Err(error),
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("the server stopped at once: {status}")));
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long the logs of recorded sessions are.
    pub(crate) fn recorded_bytes(&self) -> u64 {
        let Some(folder) = &self.folder else { return 0 };
        let (mut folders, mut bytes) = (vec![folder.path().join("data/recordings")], 0);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(file) if file.is_dir() => folders.push(entry.path()),
                    Ok(file) => bytes += file.len(),
                    Err(_) => {}
                }
            }
        }
        bytes
    }

    /// Makes `count` sessions; each has one socket for both parties, or one for each.
    pub(crate) fn doors(&self, count: usize, sockets: usize, recorded: bool) -> io::Result<Vec<Door>> {
        let parties = [Speaker::Customer, Speaker::Agent];
        let paths = |path: &str| match sockets {
            1 => vec![(path.to_owned(), None)],
            _ => parties.map(|speaker| (format!("{path}?speaker={speaker}"), Some(speaker))).to_vec(),
        };
        let Some(key) = &self.key else {
            let sockets = match sockets {
                1 => vec![("/".to_owned(), None)],
                _ => parties.map(|speaker| ("/".to_owned(), Some(speaker))).to_vec(),
            };
            return Ok(vec![Door { sockets, token: None }; count]);
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(&format!("http://{}", self.address), Some(key)).map_err(io::Error::other)?;
        runtime.block_on(async {
            let mut doors = Vec::new();
            for _ in 0..count {
                let wanted = NewSession::new(Mode::AssistiveTranslation, "en", "es").recorded(recorded);
                let session = client.create_session(&wanted).await.map_err(io::Error::other)?;
                let stream = session.stream.ok_or_else(|| io::Error::other("no stream"))?;
                let path = stream.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
                let token = stream.token.map(|token| token.reveal().to_owned());
                doors.push(Door { sockets: paths(&path), token });
            }
            Ok(doors)
        })
    }
}

/// An address that is free now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
