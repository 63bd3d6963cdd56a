//! What a server under test stands on: a data folder of its own, or a PostgreSQL and a Redis that several nodes share.
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test that can't be set up must fail at once")]

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use kallglot_cluster::Cluster;
use kallglot_cluster::fallback::Fallback;
use kallglot_cluster::memory::Memory;
use kallglot_cluster_redis::{RedisCluster, RedisConfig};
use kallglot_core::id::NodeId;
use kallglot_objects::{Folder, Objects};
use kallglot_storage::Storage;
use kallglot_storage_postgres::{Config, PostgresStorage};
use kallglot_storage_sqlite::SqliteStorage;
use kallglot_throwaway::{Postgres, Proxy, Redis};
use tempfile::TempDir;

/// Names the shape in which tests run that don't choose one: `alone` (as without it) or `shared`.
pub const SHAPE: &str = "KALLGLOT_TEST_SHAPE";

/// What one server stands on.
#[derive(Clone)]
pub struct Backing {
    /// Its own folder.
    pub(crate) folder: Arc<TempDir>,
    /// What it shares with others; none for one that runs alone.
    pub(crate) shared: Option<Shared>,
}

/// A PostgreSQL and a Redis as one node reaches them.
#[derive(Clone)]
pub struct Shared {
    database_url: String,
    redis_url: String,
    /// Where all nodes find objects.
    objects: Arc<TempDir>,
    /// Keeps them running.
    _servers: Arc<Servers>,
}

/// A PostgreSQL, brought up to date, and a Redis of a test's own.
pub struct Servers {
    /// The database.
    pub postgres: tokio::sync::Mutex<Postgres>,
    /// The counters.
    pub redis: tokio::sync::Mutex<Redis>,
    /// Where all nodes find objects.
    objects: Arc<TempDir>,
}

impl Servers {
    /// Starts both.
    pub async fn start() -> Arc<Self> {
        let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
        kallglot_storage_postgres::migrate(&postgres.url()).await.expect("migrations");
        Arc::new(Self { postgres: postgres.into(), redis: redis.into(), objects: folder() })
    }

    /// What a node stands on that reaches both directly.
    pub async fn backing(self: &Arc<Self>) -> Backing {
        let (database_url, redis_url) = (self.postgres.lock().await.url(), self.redis.lock().await.url());
        self.backing_at(database_url, redis_url)
    }

    /// What a node stands on that reaches both through proxies of its own.
    pub async fn backing_through(self: &Arc<Self>) -> (Backing, Cables) {
        let (postgres, redis) = (self.postgres.lock().await, self.redis.lock().await);
        let cables =
            Cables { postgres: Proxy::start(postgres.address()).await, redis: Proxy::start(redis.address()).await };
        let database_url = postgres.url_at(cables.postgres.address(), "postgres");
        let redis_url = redis.url_at(cables.redis.address());
        drop((postgres, redis));
        (self.backing_at(database_url, redis_url), cables)
    }

    fn backing_at(self: &Arc<Self>, database_url: String, redis_url: String) -> Backing {
        let objects = Arc::clone(&self.objects);
        let shared = Shared { database_url, redis_url, objects, _servers: Arc::clone(self) };
        Backing { folder: folder(), shared: Some(shared) }
    }
}

/// What connects one node with the database and the counters, to be cut.
pub struct Cables {
    /// To PostgreSQL.
    pub postgres: Proxy,
    /// To Redis.
    pub redis: Proxy,
}

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary folder"))
}

impl Backing {
    /// A data folder.
    pub fn alone() -> Self {
        Self { folder: folder(), shared: None }
    }

    /// What the environment says, for tests that hold in both shapes.
    pub async fn of_environment() -> Self {
        match std::env::var(SHAPE).as_deref() {
            Ok("shared") => Servers::start().await.backing().await,
            _ => Self::alone(),
        }
    }

    /// Opens the database.
    pub(crate) async fn storage(&self) -> Arc<dyn Storage> {
        match &self.shared {
            None => Arc::new(SqliteStorage::open(self.folder.path()).expect("a database")),
            Some(shared) => {
                let config = Config { url: shared.database_url.clone(), connections_max: 8 };
                Arc::new(PostgresStorage::open(&config).await.expect("a database"))
            }
        }
    }

    /// Opens the object store: a folder, of all nodes or of its own.
    pub(crate) fn objects(&self, node: NodeId) -> Arc<dyn Objects> {
        let root = match &self.shared {
            None => self.folder.path().join("recordings/objects"),
            Some(shared) => shared.objects.path().to_owned(),
        };
        Arc::new(Folder::open(&root, &node.to_string()).expect("a folder of objects"))
    }

    /// Opens the counters, which go by the test's clock.
    pub(crate) async fn cluster(&self, nodes: Arc<AtomicU32>) -> Arc<dyn Cluster> {
        match &self.shared {
            None => Arc::new(Memory::default()),
            Some(shared) => {
                let config = RedisConfig { callers_clock: true, ..RedisConfig::new(&shared.redis_url) };
                let redis = RedisCluster::connect(config).await.expect("a Redis");
                Arc::new(Fallback::new(Arc::new(redis), nodes))
            }
        }
    }
}
