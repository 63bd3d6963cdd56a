//! A PostgreSQL of a test's own. A cluster takes seconds to make, so it is made once for each version and user, and copied.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};

use crate::process::{Server, User, command};
use crate::{Looks, binaries, free_port};

/// Attempts to start on some port.
const PORTS_MAX: usize = 5;

/// Changes with what templates are made with.
const TEMPLATE: &str = "1";

/// What every test's server has; what PostgreSQL has otherwise is for machines with one server. Files for shared memory are in the
/// server's folder, so that one that is killed leaves nothing elsewhere.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
max_wal_size = 256MB
min_wal_size = 5MB
log_line_prefix = '%m [%p] %a '
";

/// A PostgreSQL server that ends with its owner, with a folder and a port of its own.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
}

impl Postgres {
    /// Starts one. It forgets what the system has not written when the machine (not the server) crashes, and is faster for it.
    ///
    /// # Panics
    /// When it does not start, with what it has said; when PostgreSQL is not installed, with the package's name.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one that writes everything to the disk before it answers, for tests of crashes and for measurements.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn durable() -> Self {
        Self::start_with(&[("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")]).await
    }

    /// Starts one with these settings besides, such as `("max_connections", "500")`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let bin = binaries::postgres();
        // PostgreSQL refuses to run as root.
        let root = rustix::process::getuid().is_root();
        let user = root.then(|| User::of(&["postgres", "nobody"]).expect("root needs another user for PostgreSQL"));
        let template = template(&bin, user).await;
        let server = Server::new("postgres", user, "QUIT");
        let mut copying = command("cp", user, server.folder());
        let copied = copying.args(["-a", "--reflink=auto"]).arg(template).arg(data(&server)).output().await;
        let copied = copied.expect("cp is there");
        assert!(copied.status.success(), "no copy: {}", String::from_utf8_lossy(&copied.stderr));
        let mut postgres = Self { server, port: 0 };
        for _ in 0..PORTS_MAX {
            postgres.port = free_port();
            let mut words: Vec<OsString> =
                vec![bin.join("postgres").into(), "-D".into(), data(&postgres.server).into()];
            let faster = [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];
            let port = postgres.port.to_string();
            for (name, value) in faster.iter().chain(settings).chain(&[("port", port.as_str())]) {
                words.extend(["-c".into(), format!("{name}={value}").into()]);
            }
            postgres.server.start(words).await;
            if postgres.answers().await {
                return postgres;
            }
            // Another test may have taken the port meanwhile.
            let last_words = postgres.server.last_words();
            assert!(last_words.contains("could not bind"), "PostgreSQL does not start: {last_words}");
            postgres.server.bury().await;
        }
        panic!("no port for PostgreSQL in {PORTS_MAX} attempts");
    }

    /// Waits until this very server answers; false when it has ended.
    async fn answers(&mut self) -> bool {
        let (url, folder) = (self.url(), data(&self.server));
        let mut looks = Looks::at("PostgreSQL answers");
        loop {
            looks.next().await;
            if self.server.ended().is_some() {
                return false;
            }
            let Ok(client) = connect(&url).await else { continue };
            let Ok(row) = client.query_one("SHOW data_directory", &[]).await else { continue };
            // Another test's server may answer on a port that both have chosen; this one is about to end then.
            if Path::new(row.get::<_, &str>(0)) == folder {
                return true;
            }
        }
    }

    /// Its port on 127.0.0.1; the same when it is started again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The address of the database `postgres`, with its superuser's name. It has a password, which must not show up in a log and is
    /// not needed.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of another database.
    pub fn url_of(&self, database: &str) -> String {
        self.url_at(self.address(), database)
    }

    /// The address of a database for clients that reach the server by another way, such as a [`Proxy`](crate::Proxy).
    pub fn url_at(&self, address: SocketAddr, database: &str) -> String {
        format!("postgres://postgres:unguarded@{address}/{database}")
    }

    /// Makes an empty database and gives its address. `name` is an SQL name that needs no quotes.
    ///
    /// # Panics
    /// When there is one.
    pub async fn create_database(&self, name: &str) -> String {
        self.create_database_from("template1", name).await
    }

    /// Makes a database that is a copy of another to which nobody is connected, and gives its address.
    ///
    /// # Panics
    /// When there is one already, or `template` is in use.
    pub async fn create_database_from(&self, template: &str, name: &str) -> String {
        self.run(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        self.url_of(name)
    }

    /// Runs SQL statements in the database `postgres`.
    ///
    /// # Panics
    /// When one fails.
    pub async fn run(&self, sql: &str) {
        let client = connect(&self.url()).await.expect("PostgreSQL answers");
        if let Err(error) = client.batch_execute(sql).await {
            panic!("{sql}: {error:?}");
        }
    }

    /// Stops it in an orderly way, without waiting for its clients. Nothing, if it does not run.
    pub async fn stop(&mut self) {
        self.server.stop(Signal::INT).await;
    }

    /// Kills all its processes at one moment; it recovers from its log when it is started again. Nothing, if it does not run.
    pub async fn kill(&mut self) {
        self.server.kill().await;
    }

    /// Starts it again on its data and its port, and waits until it answers.
    ///
    /// # Panics
    /// When it runs, or does not start.
    pub async fn start_again(&mut self) {
        self.server.start_again().await;
        assert!(self.answers().await, "PostgreSQL does not start again: {}", self.server.last_words());
    }

    /// Stops its processes where they are: connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// The last of what it has logged.
    pub fn last_words(&self) -> String {
        self.server.last_words()
    }
}

fn data(server: &Server) -> PathBuf {
    server.folder().join("data")
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with its client.
    tokio::spawn(connection);
    Ok(client)
}

/// The folder of a cluster that nobody runs, made if it is not there. Tests in other processes wait meanwhile.
async fn template(bin: &Path, user: Option<User>) -> PathBuf {
    let version = command(bin.join("postgres"), user, Path::new("/")).arg("--version").output().await;
    let version = String::from_utf8(version.expect("postgres runs").stdout).expect("a version");
    let number = version.split_whitespace().nth(2).unwrap_or_else(|| panic!("no version: {version}")).to_owned();
    let home = std::env::temp_dir().join(format!("kallglot-throwaway-{}", rustix::process::getuid().as_raw()));
    let found = home.join(format!("pg{number}-{TEMPLATE}"));
    let taking = tokio::task::spawn_blocking({
        let home = home.clone();
        move || take(&home)
    });
    let lock = taking.await.expect("it is taken");
    if !found.exists() {
        // Made aside: a test that is killed meanwhile leaves no half of one.
        let aside = tempfile::Builder::new().prefix("making-").tempdir_in(&home).expect("a folder");
        if let Some(user) = user {
            user.own(aside.path());
        }
        let made = aside.path().join("data");
        initialize(bin, user, &made, &number).await;
        std::fs::rename(&made, &found).expect("it is in the same folder");
    }
    drop(lock);
    found
}

/// Makes the folder where templates are, if it is not there, and takes it for this process alone.
fn take(home: &Path) -> File {
    match std::fs::create_dir(home) {
        // The server's user must come through.
        Ok(()) => std::fs::set_permissions(home, PermissionsExt::from_mode(0o755)).expect("it is ours"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{}: {error}", home.display()),
    }
    // Its name can be guessed, and temporary folders are everybody's.
    let owner = std::fs::symlink_metadata(home).expect("it is there").uid();
    assert_eq!(owner, rustix::process::getuid().as_raw(), "{} is somebody else's", home.display());
    let lock = File::create(home.join("lock")).expect("a file");
    lock.lock().expect("it can be locked");
    lock
}

async fn initialize(bin: &Path, user: Option<User>, data: &Path, version: &str) {
    let mut making = command(bin.join("initdb"), user, Path::new("/"));
    making.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "--wal-segsize=1"]);
    making.args(["--locale=C", "--no-instructions"]);
    // Not in the order of bytes, as in most installations: what relies on that order must say so. Older versions can't.
    let major: u32 = version.split(['.', 'r', 'b', 'd']).next().and_then(|text| text.parse().ok()).unwrap_or(0);
    if major >= 15 {
        making.args(["--locale-provider=icu", "--icu-locale=en-US"]);
    }
    let made = making.arg(data).output().await.expect("initdb runs");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let settings = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).expect("initdb has made it");
    std::fs::write(&settings, text + SETTINGS).expect("it is ours");
}
