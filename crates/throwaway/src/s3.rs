//! An S3 server of a test's own, in its process: it keeps objects in a folder and checks signatures as Amazon's does.

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running server with one empty bucket.
pub struct S3 {
    address: SocketAddr,
    folder: TempDir,
    _stop: DropGuard,
}

impl S3 {
    /// The bucket that it has.
    pub const BUCKET: &str = "calls";
    /// With which it is asked.
    pub const ACCESS_KEY_ID: &str = "throwaway";
    /// Likewise.
    pub const SECRET_ACCESS_KEY: &str = "only for tests";

    /// Starts one.
    ///
    /// # Panics
    /// When it can't be.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(Self::BUCKET)).expect("a bucket");
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a file system"));
        service.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY_ID, Self::SECRET_ACCESS_KEY));
        let service = service.build();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = tokio::select! {
                    Ok(accepted) = listener.accept() => accepted,
                    () = stopped.cancelled() => return,
                };
                let (service, stopped) = (service.clone(), stopped.clone());
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    tokio::select! {
                        _ = server.serve_connection(TokioIo::new(socket), service) => {}
                        () = stopped.cancelled() => {}
                    }
                });
            }
        });
        Self { address, folder, _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many objects it has: files, without those that it keeps for itself.
    pub fn objects(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let of = |entry: std::fs::DirEntry| if entry.path().is_dir() { count(&entry.path()) } else { 1 };
            entries.map(of).sum()
        }
        count(&self.folder.path().join(Self::BUCKET))
    }
}
