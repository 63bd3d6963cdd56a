//! What is under test: nodes that are started, killed and started again, and, if there are several, their PostgreSQL, their Redis, and the
//! proxies between all of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use kallglot_storage::Storage;
use kallglot_storage_postgres::PostgresStorage;
use kallglot_storage_sqlite::SqliteStorage;
use kallglot_testkit::client::Client;
use kallglot_throwaway::{Postgres, Proxy, Redis, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::plan::{Damage, Fault, Link, Planned};
use super::report::Report;
use crate::process::Folder;

/// How long a session that nobody joins keeps its slot.
const TOKEN_S: &str = "20";
/// Longest that a node may take to start once everything that it needs is there, and to stop.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Longest that a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// All that comes through a slow connection comes so late.
const SLOW: Duration = Duration::from_millis(120);
/// The cluster's database.
const DATABASE: &str = "kallglot";

/// What a node has in common with others.
struct Shared {
    postgres: Mutex<Postgres>,
    redis: Mutex<Redis>,
    database_url: String,
    redis_url: String,
}

/// The proxies around one node.
struct Links {
    postgres: Proxy,
    redis: Proxy,
    peers: Proxy,
}

/// What is wrong around a node now: how many faults there are of each kind.
#[derive(Default)]
struct Troubles {
    postgres: AtomicUsize,
    redis: AtomicUsize,
    peers: AtomicUsize,
}

/// What is wrong around a node, as it was at some moment or during some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) postgres: bool,
    pub(super) redis: bool,
    pub(super) peers: bool,
}

impl std::ops::BitOrAssign for Trouble {
    fn bitor_assign(&mut self, other: Self) {
        self.postgres |= other.postgres;
        self.redis |= other.redis;
        self.peers |= other.peers;
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.postgres, self.redis) {
            (false, false) => "while nothing failed",
            (true, false) => "while PostgreSQL was away",
            (false, true) => "while Redis was away",
            (true, true) => "while PostgreSQL and Redis were away",
        })
    }
}

/// One node.
struct Node {
    folder: Folder,
    address: SocketAddr,
    links: Option<Links>,
    troubles: Troubles,
    process: Mutex<Option<Child>>,
    /// Held by what is done to its process: a restart may take longer than was planned.
    fault: Mutex<()>,
    /// Even while it is to answer; one more whenever it is about to be interrupted, and when it is there again.
    life: AtomicU64,
    /// For this life: no connection of an earlier one is used.
    client: RwLock<Client>,
}

/// Whether a node is to answer: no answer is excused if this is not so, or has changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing(u64);

impl Standing {
    pub(super) fn is_up(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// All of it.
pub(super) struct Cluster {
    nodes: Vec<Node>,
    shared: Option<Shared>,
    /// Of all nodes.
    secrets: TempDir,
    report: Arc<Report>,
}

fn client(address: SocketAddr) -> Client {
    Client::new(&format!("http://{address}"), None).unwrap()
}

impl Cluster {
    /// Nodes that are not started yet: one that runs alone, or several with PostgreSQL and Redis.
    pub(super) async fn new(nodes: usize, shared: bool, report: &Arc<Report>) -> Self {
        let shared = if shared {
            let (postgres, redis) = tokio::join!(Postgres::durable(), Redis::start());
            let (database_url, redis_url) = (postgres.create_database(DATABASE).await, redis.url());
            Some(Shared { postgres: Mutex::new(postgres), redis: Mutex::new(redis), database_url, redis_url })
        } else {
            None
        };
        let mut all = Vec::new();
        for _ in 0..nodes {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let links = match &shared {
                Some(shared) => {
                    let (postgres, redis) =
                        (shared.postgres.lock().await.address(), shared.redis.lock().await.address());
                    let (postgres, redis, peers) =
                        tokio::join!(Proxy::start(postgres), Proxy::start(redis), Proxy::start(address));
                    Some(Links { postgres, redis, peers })
                }
                None => None,
            };
            all.push(Node {
                folder: Folder::new(),
                address,
                links,
                troubles: Troubles::default(),
                process: Mutex::new(None),
                fault: Mutex::default(),
                life: AtomicU64::new(1),
                client: RwLock::new(client(address)),
            });
        }
        Self { nodes: all, shared, secrets: tempfile::tempdir().unwrap(), report: Arc::clone(report) }
    }

    /// The file with the certificates that webhooks' receivers may have.
    pub(super) fn trusted(&self) -> PathBuf {
        self.secrets.path().join("trusted.pem")
    }

    /// The file of a secret that all nodes have.
    pub(super) fn secret(&self, name: &str) -> PathBuf {
        match self.shared {
            Some(_) => self.secrets.path().join(name),
            None => self.nodes[0].folder.data().join("secrets").join(name),
        }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A client of a node as it is now, without a key.
    pub(super) fn client(&self, node: usize) -> Client {
        self.nodes[node].client.read().unwrap().clone()
    }

    /// Where a node's clients reach it.
    pub(super) fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address
    }

    pub(super) fn standing(&self, node: usize) -> Standing {
        Standing(self.nodes[node].life.load(Ordering::SeqCst))
    }

    /// What is wrong around a node at this moment.
    pub(super) fn trouble(&self, node: usize) -> Trouble {
        let is = |count: &AtomicUsize| count.load(Ordering::SeqCst) > 0;
        let troubles = &self.nodes[node].troubles;
        Trouble { postgres: is(&troubles.postgres), redis: is(&troubles.redis), peers: is(&troubles.peers) }
    }

    /// A command of the program on a node's data, which reaches the database without proxies.
    pub(super) fn command(&self, node: usize, words: &[&str]) -> Command {
        let mut command = self.nodes[node].folder.command(words);
        if let Some(Shared { database_url, redis_url, .. }) = &self.shared {
            command.env("KALLGLOT_DATABASE_URL", database_url).env("KALLGLOT_REDIS_URL", redis_url);
            command.env("KALLGLOT_SECRETS_DIR", self.secrets.path());
        }
        command
    }

    /// What a command with `--json` gave, or why it gave nothing.
    pub(super) async fn try_json(&self, words: &[&str]) -> Result<Value, String> {
        let output = timeout(COMMAND_MAX, self.command(0, &[words, &["--json"]].concat()).output()).await;
        let output = output.map_err(|_| format!("{words:?} took too long"))?.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(format!("{words:?}: {} {}", output.status, text(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{words:?}: {error}: {}", text(&output.stdout)))
    }

    /// What a command gave that must succeed.
    pub(super) async fn json(&self, words: &[&str]) -> Value {
        self.try_json(words).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the database's tables, and starts all nodes.
    pub(super) async fn start(&self) {
        if self.shared.is_some() {
            let made = self.command(0, &["migrate"]).output().await.unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        futures_util::future::join_all((0..self.len()).map(|node| self.start_node(node))).await;
    }

    /// What the database has that no API shows.
    pub(super) async fn storage(&self) -> Arc<dyn Storage> {
        let Some(Shared { database_url, .. }) = &self.shared else {
            return Arc::new(SqliteStorage::open(&self.nodes[0].folder.data()).unwrap());
        };
        let config = kallglot_storage_postgres::Config { url: database_url.clone(), connections_max: 2 };
        Arc::new(PostgresStorage::open(&config).await.unwrap())
    }

    fn log(&self, node: usize) -> PathBuf {
        self.nodes[node].folder.path().join("log")
    }

    fn spawn(&self, node: usize) -> Child {
        let Node { address, links, .. } = &self.nodes[node];
        let mut command = self.command(node, &["serve", "--listen", &address.to_string()]);
        command.env("KALLGLOT_SESSION__STREAM_TOKEN_S", TOKEN_S);
        command.env("KALLGLOT_WEBHOOKS__ALLOW_NETWORKS", "127.0.0.0/8").env("SSL_CERT_FILE", self.trusted());
        if let Some(Links { postgres, redis, peers }) = links {
            command.env(
                "KALLGLOT_DATABASE_URL",
                format!("postgres://postgres:unguarded@{}/{DATABASE}", postgres.address()),
            );
            command.env("KALLGLOT_REDIS_URL", format!("redis://{}/", redis.address()));
            command.env("KALLGLOT_NODE_URL", format!("http://{}", peers.address()));
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log(node)).unwrap();
        command.stderr(log).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Starts a node and waits until it listens. It may end by itself while it can't have what it needs: it is started again, as whoever
    /// looks after services does.
    async fn start_node(&self, number: usize) {
        let node = &self.nodes[number];
        let mut process = node.process.lock().await;
        assert!(process.is_none(), "node {number} runs");
        let (began, mut look) = (std::time::Instant::now(), interval(Duration::from_millis(20)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let fresh = client(node.address);
        let mut child = self.spawn(number);
        let starting = async {
            loop {
                look.tick().await;
                if child.try_wait().unwrap().is_some() {
                    self.report.count("starts", "ended before it listened");
                    sleep(Duration::from_millis(250)).await;
                    child = self.spawn(number);
                } else if fresh.get("/healthz").await.is_ok_and(|answer| answer.status == 200) {
                    return;
                }
            }
        };
        if timeout(START_MAX, starting).await.is_err() {
            self.report.violation(format!("node {number} does not start"));
        }
        self.report.took("from a node's start until it listens", began.elapsed());
        *process = Some(child);
        *node.client.write().unwrap() = fresh;
        node.life.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a node's process; from now on it need not answer.
    async fn interrupt(&self, node: usize) -> Option<Child> {
        let mut process = self.nodes[node].process.lock().await;
        let taken = process.take();
        if taken.is_some() {
            self.nodes[node].life.fetch_add(1, Ordering::SeqCst);
        }
        taken
    }

    async fn kill_node(&self, node: usize) {
        let Some(mut child) = self.interrupt(node).await else { return };
        child.kill().await.unwrap();
    }

    async fn stop_node(&self, number: usize) {
        let Some(mut child) = self.interrupt(number).await else { return };
        let mut trouble = self.trouble(number);
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let stopped = timeout(STOP_MAX, child.wait()).await;
        trouble |= self.trouble(number);
        match stopped {
            Ok(status) => {
                let code = status.unwrap().code();
                self.report.count(
                    "starts",
                    format!("stopped with {code:?}{}", if trouble.postgres { " without a database" } else { "" }),
                );
                self.report
                    .must(code == Some(0) || trouble.postgres, || format!("node {number} stopped with {code:?}"));
            }
            Err(_) => {
                self.report.violation(format!("node {number} does not stop"));
                child.kill().await.unwrap();
            }
        }
    }

    fn proxy(&self, link: Link) -> (&Proxy, &AtomicUsize) {
        let (Link::Postgres(node) | Link::Redis(node) | Link::Peers(node)) = link;
        let Node { links, troubles, .. } = &self.nodes[node];
        let links = links.as_ref().expect("only nodes that share something have links");
        match link {
            Link::Postgres(_) => (&links.postgres, &troubles.postgres),
            Link::Redis(_) => (&links.redis, &troubles.redis),
            Link::Peers(_) => (&links.peers, &troubles.peers),
        }
    }

    fn all_nodes_have_trouble(&self, more: bool, which: impl Fn(&Troubles) -> &AtomicUsize) {
        for node in &self.nodes {
            if more {
                which(&node.troubles).fetch_add(1, Ordering::SeqCst);
            } else {
                which(&node.troubles).fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Lets a fault happen, from its beginning to its end.
    pub(super) async fn suffer(&self, planned: Planned) {
        let Planned { lasts, fault, .. } = planned;
        println!("{} {fault:?} for {lasts:?}", self.report.now());
        self.report.count("faults", fault.name());
        let shared = || self.shared.as_ref().expect("only nodes that share something have these");
        match fault {
            Fault::NodeKilled(node) => {
                let _one_at_a_time = self.nodes[node].fault.lock().await;
                self.kill_node(node).await;
                sleep(lasts).await;
                self.start_node(node).await;
            }
            Fault::NodeStopped(node) => {
                let _one_at_a_time = self.nodes[node].fault.lock().await;
                self.stop_node(node).await;
                sleep(lasts).await;
                self.start_node(node).await;
            }
            Fault::PostgresKilled | Fault::PostgresStopped | Fault::PostgresPaused => {
                self.all_nodes_have_trouble(true, |troubles| &troubles.postgres);
                let mut postgres = shared().postgres.lock().await;
                match fault {
                    Fault::PostgresPaused => postgres.pause(),
                    Fault::PostgresKilled => postgres.kill().await,
                    _ => postgres.stop().await,
                }
                sleep(lasts).await;
                if fault == Fault::PostgresPaused {
                    postgres.resume();
                } else {
                    postgres.start_again().await;
                }
                self.all_nodes_have_trouble(false, |troubles| &troubles.postgres);
            }
            Fault::RedisKilled | Fault::RedisPaused => {
                self.all_nodes_have_trouble(true, |troubles| &troubles.redis);
                let mut redis = shared().redis.lock().await;
                if fault == Fault::RedisPaused {
                    redis.pause();
                    sleep(lasts).await;
                    redis.resume();
                } else {
                    redis.kill().await;
                    sleep(lasts).await;
                    redis.start_again().await;
                }
                self.all_nodes_have_trouble(false, |troubles| &troubles.redis);
            }
            Fault::RedisCutFromAll => {
                let links: Vec<Link> = (0..self.len()).map(Link::Redis).collect();
                self.damage(&links, Damage::Cut, lasts).await;
            }
            Fault::Network(link, damage) => self.damage(&[link], damage, lasts).await,
        }
    }

    async fn damage(&self, links: &[Link], damage: Damage, lasts: Duration) {
        for link in links {
            let (proxy, trouble) = self.proxy(*link);
            trouble.fetch_add(1, Ordering::SeqCst);
            match damage {
                Damage::Cut => proxy.cut().await,
                Damage::Stalled => proxy.stall(),
                Damage::Reset => proxy.cut_connections().await,
                Damage::Slow => proxy.delay(SLOW),
            }
        }
        if damage != Damage::Reset {
            sleep(lasts).await;
        }
        for link in links {
            let (proxy, trouble) = self.proxy(*link);
            if damage != Damage::Reset {
                proxy.mend().await;
            }
            trouble.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits until every node says that it is ready for work.
    pub(super) async fn all_ready(&self) {
        let mut look = interval(Duration::from_millis(50));
        let ready = async {
            for node in 0..self.len() {
                while self.client(node).get("/readyz").await.is_ok_and(|answer| answer.text() != "ready\n") {
                    look.tick().await;
                }
            }
        };
        if timeout(START_MAX, ready).await.is_err() {
            for node in 0..self.len() {
                let answer = self.client(node).get("/readyz").await;
                let said = answer.map(|answer| answer.text()).map_err(|error| error.to_string());
                self.report.must(said.as_deref() == Ok("ready\n"), || format!("node {node} is not ready: {said:?}"));
            }
        }
    }

    /// Stops all nodes in an orderly way.
    pub(super) async fn stop(&self) {
        futures_util::future::join_all((0..self.len()).map(|node| self.stop_node(node))).await;
    }

    /// What the nodes have logged: nothing has panicked, and how often there was which error.
    pub(super) fn read_logs(&self) {
        for node in 0..self.len() {
            for line in std::fs::read_to_string(self.log(node)).unwrap_or_default().lines() {
                let Ok(entry) = serde_json::from_str::<Value>(line) else {
                    self.report.must(!line.contains("panicked"), || format!("node {node}: {line}"));
                    continue;
                };
                if ["ERROR", "WARN"].contains(&entry["level"].as_str().unwrap_or_default()) {
                    self.report.count("log lines", format!("{} {}", entry["level"], entry["message"]));
                }
            }
        }
    }

    /// Copies the nodes' logs to where whoever looks for the cause of a violation finds them.
    pub(super) fn keep_logs(&self, seed: u64) {
        let folder = std::env::temp_dir().join(format!("kallglot-fault-run-{seed}"));
        std::fs::create_dir_all(&folder).unwrap();
        for node in 0..self.len() {
            let _ = std::fs::copy(self.log(node), folder.join(format!("node-{node}.log")));
        }
        println!("the nodes' logs are in {}", folder.display());
    }
}
