//! `kallglot serve`: wires everything together, runs until it is told to stop, and stops without loss.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kallglot_app::live::Hub;
use kallglot_app::live::hub::LiveDependencies;
use kallglot_app::seal::Seal;
use kallglot_app::{App, AppConfig, Parts, upkeep};
use kallglot_cluster::memory::Memory;
use kallglot_core::api_key::Peppers;
use kallglot_core::stream_token::StreamTokenSecret;
use kallglot_engine::EngineError;
use kallglot_http::{EdgeConfig, HttpState, Metrics, ServeConfig, Shared, StreamConfig};
use kallglot_storage::{Storage, StorageError};
use kallglot_storage_sqlite::{OpenError, SqliteStorage};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::platform::{SecretError, SystemClock, SystemRandom, peppers, secret};
use crate::{engines, telemetry};

/// How often the peppers' file is looked at. The contract allows 1 s (section 14).
const PEPPERS_EVERY: Duration = Duration::from_millis(250);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
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
    /// The speech engines.
    #[error("the speech engines can't be set up: {0}")]
    Engine(#[from] EngineError),
    /// The database, later.
    #[error(transparent)]
    Storage(#[from] StorageError),
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
        if let Err(error) = self.app.store_what_waits().await {
            tracing::error!(%error, "the last requests could not be logged");
        }
        self.storage.close().await
    }
}

/// Opens the data folder's database.
pub(crate) async fn open(data_dir: &Path) -> Result<Arc<dyn Storage>, StartError> {
    let folder: PathBuf = data_dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || SqliteStorage::open(&folder)).await;
    match opened {
        Ok(storage) => Ok(Arc::new(storage?)),
        Err(_) => Err(StartError::Storage(StorageError::Internal { cause: "opening the database failed".into() })),
    }
}

/// Starts a server on `config.listen` with its data in `data_dir`.
pub(crate) async fn start(config: &Config, data_dir: &Path) -> Result<Running, StartError> {
    let storage = open(data_dir).await?;
    // Before they are read: a rotation in between is noticed.
    let peppers_modified = peppers_modified(data_dir);
    let peppers = peppers(data_dir)?;
    let seal = Seal::new(secret(data_dir, "answers")?);
    let stream_token_secret = StreamTokenSecret::new(secret(data_dir, "stream-token")?);
    let engines = engines::start(config)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let public_url = if config.public_url.is_empty() {
        format!("http://{address}")
    } else {
        config.public_url.trim_end_matches('/').to_owned()
    };

    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let cluster = Arc::new(Memory::default());
    let live = LiveDependencies {
        storage: Arc::clone(&storage),
        cluster: cluster.clone(),
        clock: clock.clone(),
        random: random.clone(),
        engines: engines.clone(),
    };
    let app = Arc::new(App::new(Parts {
        config: AppConfig {
            environment: config.environment(),
            public_url,
            stream_token_s: Some(config.session.stream_token_s).filter(|seconds| *seconds > 0),
            session_idle_s: config.session.idle_s,
            keys_cached_max: config.keys_cached_max,
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
    }));
    app.restore_slots().await?;
    upkeep::start(&app, &tasks, &stop);
    tasks.spawn(watch_peppers(Arc::clone(&app), data_dir.to_owned(), peppers_modified, stop.clone()));
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let state = HttpState::new(Shared {
        app: Arc::clone(&app),
        tasks: tasks.clone(),
        stop: stop.clone(),
        stream: StreamConfig {
            ping_every: seconds(config.stream.ping_every_s),
            idle_max: seconds(config.stream.idle_s),
            write_max: seconds(config.stream.write_max_s),
        },
        edge: EdgeConfig {
            trusted_proxies: config.trusted_proxies.clone(),
            hosts: config.hosts(),
            metrics_from: config.metrics_from.clone(),
        },
        metrics: Metrics::default(),
        join_trace: Some(telemetry::join_trace),
    });
    let serving = ServeConfig { connections_max: config.connections_max, ..ServeConfig::default() };
    tasks.spawn(kallglot_http::serve(listener, state, serving));
    Ok(Running { address, storage, app, tasks, stop, shutdown_max: seconds(config.shutdown_max_s) })
}

/// When the peppers' file was last changed.
fn peppers_modified(data_dir: &Path) -> Option<SystemTime> {
    std::fs::metadata(data_dir.join("secrets").join("pepper")).and_then(|file| file.modified()).ok()
}

/// Takes over the peppers when their file changes: the command line has rotated them.
async fn watch_peppers(app: Arc<App>, data_dir: PathBuf, mut seen: Option<SystemTime>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PEPPERS_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let now = peppers_modified(&data_dir);
        if now == seen {
            continue;
        }
        match peppers(&data_dir) {
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
    let running = start(config, data_dir).await?;
    tracing::info!(address = %running.address, data_dir = %data_dir.display(), "kallglot listens");
    wait_for_signal().await;
    tracing::info!("stopping: streams are told, what is being said becomes text");
    running.shutdown().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM can't be caught");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
