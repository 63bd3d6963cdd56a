//! The object store that speaks S3's protocol: Amazon's own, or any server that understands it.
//!
//! What must stay true: memory does not grow with an object (parts of [`PART_BYTES`]); every request has an end; no error shows a secret;
//! a bucket is never made or listed, so a key that may read, write and delete objects under the prefix suffices.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kallglot_objects::{ObjectError, Objects, is_name};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt as _, PutPayload, RetryConfig, WriteMultipart};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// Objects up to this length go in one request, longer ones in parts of it: 34 minutes of a track. S3 takes no smaller parts than 5 MiB.
pub const PART_BYTES: usize = 16 * 1024 * 1024;
/// Parts that are under way at once.
const PARTS_AT_ONCE_MAX: usize = 2;
/// Longest that one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often, and for how long, a request is tried again before the store is said to be away. What waits for it tries again by itself.
const RETRIES_MAX: usize = 3;
const RETRYING_MAX: Duration = Duration::from_secs(20);

/// Where the store is.
#[derive(Clone)]
pub struct Config {
    /// The bucket.
    pub bucket: String,
    /// What comes before every object's name; may be empty.
    pub prefix: String,
    /// The server's address; empty for Amazon's of the region.
    pub endpoint: String,
    /// The region.
    pub region: String,
    /// The key's id.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Whether the bucket is in the path, not in the host name.
    pub path_style: bool,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("the object store can't be used as it is set up: {0}")]
pub struct InvalidConfig(String);

/// A bucket, or what lies under a prefix in one.
#[derive(Debug)]
pub struct S3 {
    store: AmazonS3,
    prefix: String,
}

impl S3 {
    /// The store of this configuration. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// No such store can be.
    pub fn new(config: &Config) -> Result<Self, InvalidConfig> {
        let prefix = config.prefix.trim_matches('/').to_owned();
        if !prefix.is_empty() && !is_name(&prefix) {
            return Err(InvalidConfig("its prefix must be made of letters, digits, `.`, `_`, `-` and `/`".into()));
        }
        // The second call and all later ones find it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientOptions::new()
            .with_timeout(REQUEST_MAX)
            .with_connect_timeout(CONNECT_MAX)
            .with_allow_http(config.endpoint.starts_with("http://"));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRYING_MAX,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(&config.secret_access_key)
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(client)
            .with_retry(retry);
        if !config.endpoint.is_empty() {
            builder = builder.with_endpoint(config.endpoint.trim_end_matches('/'));
        }
        let store = builder.build().map_err(|error| InvalidConfig(error.to_string()))?;
        Ok(Self { store, prefix })
    }

    fn key(&self, name: &str) -> Result<Key, ObjectError> {
        if !is_name(name) {
            return Err(ObjectError::Refused { cause: "that is no object's name".into() });
        }
        Ok(if self.prefix.is_empty() { Key::from(name) } else { Key::from(format!("{}/{name}", self.prefix)) })
    }

    async fn put_parts(&self, key: &Key, mut file: File) -> Result<(), ObjectError> {
        let upload = self.store.put_multipart(key).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = match file.read(&mut buffer).await {
                Ok(read) => read,
                Err(error) => {
                    // What was sent is of no use; where this fails too, the bucket's own rules delete it.
                    let _ = upload.abort().await;
                    return Err(unavailable(&error));
                }
            };
            if read == 0 {
                upload.finish().await.map_err(failed)?;
                return Ok(());
            }
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE_MAX).await {
                let _ = upload.abort().await;
                return Err(failed(error));
            }
            upload.write(&buffer[..read]);
        }
    }
}

fn unavailable(error: &dyn std::error::Error) -> ObjectError {
    ObjectError::Unavailable { cause: error.to_string() }
}

/// What a failure means. That a key is not let in is for the operator to change, and until then nothing is lost.
fn failed(error: object_store::Error) -> ObjectError {
    match error {
        object_store::Error::NotFound { .. } => ObjectError::NotFound,
        object_store::Error::InvalidPath { .. } => ObjectError::Refused { cause: error.to_string() },
        other => unavailable(&other),
    }
}

#[async_trait]
impl Objects for S3 {
    async fn put(&self, name: &str, file: &Path) -> Result<u64, ObjectError> {
        let key = self.key(name)?;
        let mut file = File::open(file).await.map_err(|error| unavailable(&error))?;
        let bytes = file.metadata().await.map_err(|error| unavailable(&error))?.len();
        if bytes > PART_BYTES as u64 {
            self.put_parts(&key, file).await?;
            return Ok(bytes);
        }
        let mut content = Vec::with_capacity(bytes as usize);
        file.read_to_end(&mut content).await.map_err(|error| unavailable(&error))?;
        let bytes = content.len() as u64;
        self.store.put(&key, PutPayload::from(content)).await.map_err(failed)?;
        Ok(bytes)
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let key = self.key(name)?;
        let wanted = range.end.saturating_sub(range.start);
        let outside = || ObjectError::Refused { cause: "the object is shorter".into() };
        match self.store.get_range(&key, range.clone()).await {
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
            Ok(_) => Err(outside()),
            // What a server says of a range that is not there differs.
            Err(error) => match self.size(name).await {
                Ok(bytes) if bytes < range.end => Err(outside()),
                Ok(_) => Err(failed(error)),
                Err(other) => Err(other),
            },
        }
    }

    async fn size(&self, name: &str) -> Result<u64, ObjectError> {
        Ok(self.store.head(&self.key(name)?).await.map_err(failed)?.size)
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        match self.store.delete(&self.key(name)?).await.map_err(failed) {
            Err(ObjectError::NotFound) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]
mod tests {
    use super::*;

    #[test]
    fn names_go_under_the_prefix_and_nowhere_else() {
        let config = Config {
            bucket: "calls".into(),
            prefix: "/kallglot/live/".into(),
            endpoint: "http://127.0.0.1:1".into(),
            region: "eu-north-1".into(),
            access_key_id: "a".into(),
            secret_access_key: "b".into(),
            path_style: true,
        };
        let store = S3::new(&config).unwrap();
        assert_eq!(store.key("recordings/1").unwrap().as_ref(), "kallglot/live/recordings/1");
        assert!(store.key("../1").is_err());
        assert!(S3::new(&Config { prefix: "a b".into(), ..config }).is_err());
    }
}
