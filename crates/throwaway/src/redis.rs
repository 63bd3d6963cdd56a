//! A Redis, or Valkey, of a test's own.

use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::Server;
use crate::{Looks, binaries, free_port};

/// Attempts to start on some port.
const PORTS_MAX: usize = 5;

/// A Redis server that ends with its owner, with a folder and a port of its own.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
}

impl Redis {
    /// Starts one that keeps nothing: started again it is empty.
    ///
    /// # Panics
    /// When it does not start, with what it has said; when Redis is not installed, with the package's name.
    pub async fn start() -> Self {
        Self::start_with(&["--appendonly", "no"]).await
    }

    /// Starts one that writes its log to the disk every second: started again it knows nearly all.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]).await
    }

    /// Starts one with these arguments besides, such as `["--maxmemory", "10mb"]`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(arguments: &[&str]) -> Self {
        let program = binaries::redis();
        let mut redis = Self { server: Server::new("redis", None, "TERM"), port: 0 };
        for _ in 0..PORTS_MAX {
            redis.port = free_port();
            let folder = redis.server.folder().to_str().expect("a plain path").to_owned();
            let port = redis.port.to_string();
            let all = ["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--save", ""];
            let words = all.iter().chain(arguments).map(Into::into);
            redis.server.start([program.clone().into()].into_iter().chain(words).collect()).await;
            if redis.answers().await {
                return redis;
            }
            // Another test may have taken the port meanwhile.
            let last_words = redis.server.last_words();
            assert!(last_words.contains("Address already in use"), "Redis does not start: {last_words}");
            redis.server.bury().await;
        }
        panic!("no port for Redis in {PORTS_MAX} attempts");
    }

    /// Waits until this very server answers; false when it has ended.
    async fn answers(&mut self) -> bool {
        let address = self.address();
        let folder = self.server.folder().to_str().expect("a plain path").to_owned();
        let mut looks = Looks::at("Redis answers");
        loop {
            looks.next().await;
            if self.server.ended().is_some() {
                return false;
            }
            // While it still loads, the answer to the first is an error.
            let Ok(answer) = ask(address, "PING\r\nCONFIG GET dir\r\n", &folder).await else { continue };
            if answer.starts_with("+PONG") && answer.contains(&folder) {
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

    /// Its address for clients.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// Its address for clients that reach it by another way, such as a [`Proxy`](crate::Proxy).
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("redis://{address}/")
    }

    /// Stops it in an orderly way. Nothing, if it does not run.
    pub async fn stop(&mut self) {
        self.server.stop(Signal::TERM).await;
    }

    /// Kills it. Nothing, if it does not run.
    pub async fn kill(&mut self) {
        self.server.kill().await;
    }

    /// Starts it again on its port, and waits until it answers.
    ///
    /// # Panics
    /// When it runs, or does not start.
    pub async fn start_again(&mut self) {
        self.server.start_again().await;
        assert!(self.answers().await, "Redis does not start again: {}", self.server.last_words());
    }

    /// Stops it where it is: connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// The last of what it has logged.
    pub fn last_words(&self) -> String {
        self.server.last_words()
    }
}

/// Sends commands and reads until the answer holds `last`, the server closes, or half a second has passed.
async fn ask(address: SocketAddr, commands: &str, last: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(commands.as_bytes()).await?;
    let mut answer = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains(last) && stream.read_buf(&mut answer).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // What has come by then is judged all the same.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), reading).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
