//! `kallglot serve`: wires everything together, runs until it is told to stop, and stops without loss.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use kallglot_app::live::hub::LiveDependencies;
use kallglot_app::live::{Hub, Spool};
use kallglot_app::mail::{Mailer, Mails};
use kallglot_app::node::ThisNode;
use kallglot_app::people::{Factors, SETUP_VALID, setup_link};
use kallglot_app::recordings::Recordings;
use kallglot_app::seal::Seal;
use kallglot_app::webhooks::Webhooks;
use kallglot_app::{App, AppConfig, Parts, upkeep};
use kallglot_core::api_key::Peppers;
use kallglot_core::audit::{Change, Who};
use kallglot_core::clock::Clock as _;
use kallglot_core::id::{AuditId, NodeId};
use kallglot_core::stream_token::StreamTokenSecret;
use kallglot_engine::EngineError;
use kallglot_http::{EdgeConfig, HttpState, Metrics, ServeConfig, Shared, StreamConfig};
use kallglot_portal::PortalState;
use kallglot_storage::{Storage, StorageError};
use kallglot_storage_sqlite::OpenError;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::platform::{SecretError, SystemClock, SystemRandom, peppers, secret};
use crate::smtp::SmtpMailer;
use crate::{backends, engines, telemetry};

/// How often the peppers' file is looked at. The contract allows 1 s (section 14).
const PEPPERS_EVERY: Duration = Duration::from_millis(250);

/// How long a server waits for the one before it to leave the data folder.
const PREDECESSOR_MAX: Duration = Duration::from_secs(30);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The data folder's database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] kallglot_storage_postgres::OpenError),
    /// Where recordings are kept.
    #[error(transparent)]
    Objects(#[from] kallglot_objects_s3::InvalidConfig),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] kallglot_cluster_redis::InvalidConfig),
    /// Another server works on the data folder.
    #[error("another server runs on {}: stop it, or name another folder with --data-dir", .0.display())]
    Taken(PathBuf),
    /// The data folder can't be used.
    #[error("can't use {}: {source}", path.display())]
    Folder {
        /// Which file or folder of it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This node has another secret than the others.
    #[error(
        "this node's secret `{name}` is not the one that the other nodes use: give every node the same files in `secrets_dir`"
    )]
    OtherSecret {
        /// Which.
        name: String,
    },
    /// Nobody could reach this node.
    #[error("other nodes can't reach this one at {0}: set `node_url` to an address that they can, or listen on one")]
    Unreachable(SocketAddr),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address.
    #[error("can't listen on {address}: {source}. Choose another with --listen.")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The mail server, or the single sign-on provider.
    #[error("{0}")]
    Settings(String),
    /// The speech engines.
    #[error("the speech engines can't be set up: {0}")]
    Engine(#[from] EngineError),
    /// The database, later.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The operating system.
    #[error("signals can't be caught: {0}")]
    Signals(io::Error),
    /// The sessions that were open.
    #[error(transparent)]
    App(#[from] kallglot_app::Error),
}

/// A running server.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The database, for those who make organizations and keys in this process.
    pub(crate) storage: Arc<dyn Storage>,
    app: Arc<App>,
    tasks: TaskTracker,
    stop: CancellationToken,
    shutdown_max: Duration,
    /// Held as long as the data folder is this server's.
    _lock: File,
}

impl Running {
    /// With which keys are hashed, likewise.
    pub(crate) fn peppers(&self) -> Arc<Peppers> {
        self.app.peppers()
    }

    /// `http://` and the address.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops: no new connections, streams are told (1001), what is being said becomes text, what was accepted is stored.
    pub(crate) async fn shutdown(self) -> Result<(), StorageError> {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.shutdown_max, self.tasks.wait()).await.is_err() {
            tracing::warn!("the shutdown took too long; what was left is cut off");
        }
        self.app.stop_recording().await;
        if let Err(error) = self.app.leave().await {
            tracing::warn!(%error, "the other nodes were not told that this one stops; they will notice");
        }
        if let Err(error) = self.app.store_what_waits().await {
            tracing::error!(%error, "the last requests could not be logged");
        }
        self.storage.close().await
    }
}

/// Locks the data folder, which is made if it is not there, as long as the answer lives. None: a server runs on it.
pub(crate) fn lock_folder(data_dir: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(data_dir)?;
    let lock = OpenOptions::new().create(true).append(true).open(data_dir.join("serve.lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

/// Makes the data folder this server's: two on one would each count for themselves and write into the same spool.
async fn take_folder(data_dir: &Path) -> Result<File, StartError> {
    let deadline = tokio::time::Instant::now() + PREDECESSOR_MAX;
    let mut told = false;
    loop {
        let locked = lock_folder(data_dir);
        if let Some(lock) = locked.map_err(|source| StartError::Folder { path: data_dir.to_owned(), source })? {
            return Ok(lock);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(StartError::Taken(data_dir.to_owned()));
        }
        if !told {
            tracing::info!(data_dir = %data_dir.display(), "waiting for another server to leave the data folder");
        }
        told = true;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Which process this is.
fn this_node(config: &Config, address: SocketAddr, id: NodeId, nodes: Arc<AtomicU32>) -> Result<ThisNode, StartError> {
    if !config.is_shared() {
        return Ok(ThisNode::alone(id));
    }
    let url = match config.node_url.trim_end_matches('/') {
        "" if address.ip().is_unspecified() => return Err(StartError::Unreachable(address)),
        "" => format!("http://{address}"),
        url => url.to_owned(),
    };
    Ok(ThisNode::shared(id, url, env!("CARGO_PKG_VERSION").into(), nodes))
}

/// Starts a server on `config.listen` with its data in `data_dir`.
pub(crate) async fn start(config: &Config, data_dir: &Path) -> Result<Running, StartError> {
    let lock = take_folder(data_dir).await?;
    let storage = backends::storage(config, data_dir).await?;
    let secrets_dir = config.secrets_dir(data_dir);
    // Before they are read: a rotation in between is noticed.
    let peppers_modified = peppers_modified(&secrets_dir);
    let peppers = peppers(&secrets_dir)?;
    let (answers, stream_token) = (secret(&secrets_dir, "answers")?, secret(&secrets_dir, "stream-token")?);
    let webhooks = secret(&secrets_dir, "webhooks")?;
    let secrets = [("answers", answers), ("stream-token", stream_token), ("webhooks", webhooks)];
    backends::check_secrets(config, storage.as_ref(), &secrets).await?;
    backends::check_peppers(config, storage.as_ref(), &peppers).await?;
    let seal = Seal::new(answers);
    let stream_token_secret = StreamTokenSecret::new(stream_token);
    let engines = engines::start(config)?;
    let mailer = SmtpMailer::new(&config.mail).map_err(StartError::Settings)?;
    let single_sign_on = config.portal.oidc.single_sign_on().map_err(StartError::Settings)?;
    let mailer = mailer.map(|mailer| Arc::new(mailer) as Arc<dyn Mailer>);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let public_url = config.public_url(address);

    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let nodes = Arc::new(AtomicU32::new(1));
    let cluster = backends::cluster(config, Arc::clone(&nodes)).await?;
    let node = this_node(config, address, NodeId::new(clock.now(), random.as_ref()), nodes)?;
    let folder = data_dir.join("spool");
    let spool = Spool::open(&folder).map_err(|source| StartError::Folder { path: folder, source })?;
    let objects = backends::objects(config, data_dir, node.id)?;
    let folder = data_dir.join("recordings");
    let recordings =
        Recordings::open(&folder, objects).map_err(|source| StartError::Folder { path: folder, source })?;
    let recordings = Arc::new(recordings);
    let live = LiveDependencies {
        storage: Arc::clone(&storage),
        cluster: Arc::clone(&cluster),
        clock: clock.clone(),
        random: random.clone(),
        engines: engines.clone(),
        spool: spool.clone(),
        recordings: Arc::clone(&recordings),
        node: node.id,
    };
    let app = Arc::new(App::new(Parts {
        config: AppConfig {
            environment: config.environment(),
            public_url,
            stream_token_s: Some(config.session.stream_token_s).filter(|seconds| *seconds > 0),
            session_idle_s: config.session.idle_s,
            keys_cached_max: config.keys_cached_max,
            ..AppConfig::default()
        },
        storage: Arc::clone(&storage),
        cluster,
        clock,
        random,
        peppers,
        stream_token_secret,
        seal,
        engines,
        hub: Hub::new(live, tasks.clone(), stop.clone()),
        spool,
        recordings,
        node,
        webhooks: Webhooks::new(webhooks, config.webhooks.egress()),
        analyses: engines::analyses(config)?,
        mails: Mails::new(mailer),
        factors: Factors::new(webhooks, single_sign_on),
    }));
    // Counters that are shared outlive this process; those that have forgotten are told when they say so.
    if !config.is_shared() {
        app.restore_slots().await?;
    }
    upkeep::start(&app, &tasks, &stop);
    let connect = kallglot_webhooks::ConnectConfig {
        egress: config.webhooks.egress(),
        resolver: Arc::new(kallglot_webhooks::SystemResolver),
        proxy: kallglot_webhooks::ProxyAddress::parse(&config.webhooks.proxy),
        extra_roots: Vec::new(),
    };
    let delivering = kallglot_webhooks::WorkerConfig {
        in_flight_max: config.webhooks.in_flight_max,
        ..kallglot_webhooks::WorkerConfig::default()
    };
    kallglot_webhooks::start(&app, connect, delivering, &tasks, &stop);
    tasks.spawn(watch_peppers(Arc::clone(&app), secrets_dir, peppers_modified, stop.clone()));
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let state = HttpState::new(Shared {
        app: Arc::clone(&app),
        tasks: tasks.clone(),
        stop: stop.clone(),
        stream: StreamConfig {
            ping_every: seconds(config.stream.ping_every_s),
            idle_max: seconds(config.stream.idle_s),
            write_max: seconds(config.stream.write_max_s),
            ..StreamConfig::default()
        },
        edge: EdgeConfig {
            trusted_proxies: config.trusted_proxies.clone(),
            hosts: config.hosts(),
            metrics_from: config.metrics_from.clone(),
        },
        metrics: Metrics::default(),
        join_trace: Some(telemetry::join_trace),
        portal: Some(kallglot_portal::router(PortalState::new(kallglot_portal::Shared {
            app: Arc::clone(&app),
            stop: stop.clone(),
        }))),
    });
    let serving = ServeConfig { connections_max: config.connections_max, ..ServeConfig::default() };
    tasks.spawn(kallglot_http::serve(listener, state, serving));
    Ok(Running { address, storage, app, tasks, stop, shutdown_max: seconds(config.shutdown_max_s), _lock: lock })
}

/// When the peppers' file was last changed.
fn peppers_modified(secrets_dir: &Path) -> Option<SystemTime> {
    std::fs::metadata(secrets_dir.join("pepper")).and_then(|file| file.modified()).ok()
}

/// Takes over the peppers when their file changes: the command line has rotated them.
async fn watch_peppers(app: Arc<App>, secrets_dir: PathBuf, mut seen: Option<SystemTime>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PEPPERS_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let now = peppers_modified(&secrets_dir);
        if now == seen {
            continue;
        }
        match peppers(&secrets_dir) {
            Ok(peppers) => {
                tracing::info!(newest = peppers.newest().number(), "the pepper was rotated");
                app.set_peppers(peppers);
                seen = now;
            }
            Err(error) => tracing::error!(%error, "the peppers changed but can't be read; the old ones stay in use"),
        }
    }
}

/// Runs a server until SIGTERM or SIGINT.
pub(crate) async fn run(config: &Config, data_dir: &Path) -> Result<(), StartError> {
    // Heard from the very beginning: a server that was told to stop while it started stops in order, too.
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let running = start(config, data_dir).await?;
    tracing::info!(address = %running.address, data_dir = %data_dir.display(), "kallglot listens");
    if let Err(error) = tell_first_link(&running.app).await {
        tracing::warn!(%error, "whether anybody has an account at the portal could not be looked up; `kallglot portal link` makes a link");
    }
    signals.next().await;
    if config.drain_s > 0 {
        tracing::info!(
            seconds = config.drain_s,
            "draining: no longer ready, clients should go elsewhere; a second signal stops at once"
        );
        running.app.node.drain();
        let drained = tokio::time::sleep(Duration::from_secs(config.drain_s.into()));
        tokio::select! {
            () = drained => {}
            () = signals.next() => {}
        }
    }
    tracing::info!("stopping: streams are told, what is being said becomes text");
    running.shutdown().await?;
    tracing::info!("stopped");
    Ok(())
}

/// As long as nobody has an account at the portal, each start prints a link to the first one. To the console and not to the log: it is a secret.
async fn tell_first_link(app: &App) -> Result<(), StartError> {
    use std::io::Write as _;

    let at = app.clock.now();
    let id = AuditId::new(at, app.random.as_ref());
    let change = Change { id, who: Who::Server, address: None, request: None, at };
    let link = setup_link(app.storage.as_ref(), &app.portal_url(), app.random.as_ref(), &change).await?;
    if let Some(link) = link {
        let hours = SETUP_VALID.as_hours();
        let text = format!(
            "\nNobody has an account at the Developer Portal yet. This link makes the first one. It works once, for {hours} hours:\n\n  {link}\n\n"
        );
        // Nobody reads it: nothing to be done about that.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    Ok(())
}

/// SIGTERM and SIGINT, from when this is made on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one of either.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
