//! The database and the counters, as the settings say: SQLite and memory for a server that runs alone, PostgreSQL and Redis for several
//! nodes. The only place that names them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use kallglot_cluster::Cluster;
use kallglot_cluster::fallback::Fallback;
use kallglot_cluster::memory::Memory;
use kallglot_cluster_redis::{RedisCluster, RedisConfig};
use kallglot_core::api_key::Peppers;
use kallglot_core::id::NodeId;
use kallglot_objects::{Folder, Objects};
use kallglot_objects_s3::S3;
use kallglot_storage::{Storage, StorageError};
use kallglot_storage_postgres::PostgresStorage;
use kallglot_storage_sqlite::SqliteStorage;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::serve::StartError;

/// Opens the database: PostgreSQL if the settings name one, else the data folder's.
pub(crate) async fn storage(config: &Config, data_dir: &Path) -> Result<Arc<dyn Storage>, StartError> {
    if config.is_shared() {
        return Ok(Arc::new(postgres(config).await?));
    }
    Ok(Arc::new(sqlite(data_dir).await?))
}

/// Opens the database that the settings name.
pub(crate) async fn postgres(config: &Config) -> Result<PostgresStorage, StartError> {
    let config = kallglot_storage_postgres::Config {
        url: config.database_url.expose().to_owned(),
        connections_max: config.database_connections_max,
    };
    Ok(PostgresStorage::open(&config).await?)
}

/// Opens the data folder's database.
pub(crate) async fn sqlite(data_dir: &Path) -> Result<SqliteStorage, StartError> {
    let folder = data_dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || SqliteStorage::open(&folder)).await;
    let lost = |_| StorageError::Internal { cause: "opening the database failed".into() };
    Ok(opened.map_err(lost)??)
}

/// Where recordings are kept, as `recordings_url` says; none where a cluster's nodes have no place that all of them reach.
pub(crate) fn objects(config: &Config, data_dir: &Path, node: NodeId) -> Result<Option<Arc<dyn Objects>>, StartError> {
    let (url, settings) = (config.recordings.url.as_str(), &config.recordings);
    if let Some(place) = url.strip_prefix("s3://") {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let store = S3::new(&kallglot_objects_s3::Config {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            access_key_id: settings.access_key_id.clone(),
            secret_access_key: settings.secret_access_key.expose().into(),
            path_style: settings.path_style,
        })?;
        return Ok(Some(Arc::new(store)));
    }
    let path = match url.strip_prefix("file://") {
        Some(path) => PathBuf::from(path),
        None if url.is_empty() && config.is_shared() => return Ok(None),
        None => data_dir.join("recordings").join("objects"),
    };
    let folder = Folder::open(&path, &node.to_string()).map_err(|source| StartError::Folder { path, source })?;
    Ok(Some(Arc::new(folder)))
}

/// What nodes share that is not in the database. `nodes` says how many there are, for when each has to count its share.
pub(crate) async fn cluster(config: &Config, nodes: Arc<AtomicU32>) -> Result<Arc<dyn Cluster>, StartError> {
    if !config.is_shared() {
        return Ok(Arc::new(Memory::default()));
    }
    let redis = RedisCluster::connect(RedisConfig::new(config.redis_url.expose())).await?;
    Ok(Arc::new(Fallback::new(Arc::new(redis), nodes)))
}

/// Makes sure that this node's secrets are those of the others: with other ones, keys and stream tokens would work on some nodes only.
/// Each is named by what it is for; a database of one server alone has no marks.
pub(crate) async fn check_secrets(
    config: &Config,
    storage: &dyn Storage,
    secrets: &[(&str, [u8; 32])],
) -> Result<(), StartError> {
    if !config.is_shared() {
        return Ok(());
    }
    for (name, secret) in secrets {
        let digest = Sha256::new().chain_update("kallglot mark of ").chain_update(name).chain_update(secret).finalize();
        keep_mark(storage, name, &digest).await?;
    }
    Ok(())
}

/// Likewise for the peppers, of which nodes may have different numbers of older ones.
pub(crate) async fn check_peppers(config: &Config, storage: &dyn Storage, peppers: &Peppers) -> Result<(), StartError> {
    if !config.is_shared() {
        return Ok(());
    }
    for pepper in std::iter::once(peppers.newest()).chain(peppers.older()) {
        let name = format!("pepper-{}", pepper.number());
        keep_mark(storage, &name, &pepper.derive("kallglot mark")).await?;
    }
    Ok(())
}

async fn keep_mark(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), StartError> {
    let mark: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if storage.keep_mark(name, &mark).await? == mark {
        Ok(())
    } else {
        Err(StartError::OtherSecret { name: name.to_owned() })
    }
}
