//! Connections to endpoints: names resolved, every address judged, TLS, and what is kept open to be used again.
//!
//! What must stay true: the address that is connected to is one that was judged in this very attempt, or at most [`RESOLVED_FOR`] before;
//! a connection that was kept is used again only while its address is still among them. If one address of a name is refused, all are:
//! who answers with a public and a private one is up to something. Proxies that the environment names are not used.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use kallglot_core::delivery::AttemptError;
use kallglot_core::egress::{AddressRefused, EgressPolicy, EndpointHost, EndpointUrl};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// For how long what a name was resolved to is used: within it, attempts at one endpoint ask once.
pub const RESOLVED_FOR: Duration = Duration::from_secs(1);
/// How long one address may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(8);
/// How long a name may take to be resolved.
const RESOLVE_MAX: Duration = Duration::from_secs(10);
/// Addresses of one name that are looked at; who has more has them refused.
const ADDRESSES_MAX: usize = 32;
/// Addresses of one name that are tried one after another.
const TRIED_MAX: usize = 3;
/// How long a connection is kept open without being used.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Connections of one endpoint that are kept open without being used.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// Largest head of an answer: its status line and headers.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most headers of an answer.
const HEADERS_MAX: usize = 100;
/// Largest answer of a proxy to a request for a connection.
const PROXY_ANSWER_BYTES_MAX: usize = 4096;

/// Where names are resolved.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    /// It has none, or that could not be found out.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// As this machine resolves them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// An HTTP proxy that connects to addresses on demand (`CONNECT`, RFC 9110 section 9.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    host: String,
    port: u16,
}

impl ProxyAddress {
    /// Reads `http://host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.strip_prefix("http://")?.trim_end_matches('/').rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | ':' | '_');
        if host.is_empty() || !host.chars().all(allowed) {
            return None;
        }
        Some(Self { host: host.to_owned(), port: port.parse().ok().filter(|port| *port != 0)? })
    }
}

/// How connections are made.
pub struct ConnectConfig {
    /// Which addresses may be connected to.
    pub egress: EgressPolicy,
    /// Where names are resolved.
    pub resolver: Arc<dyn Resolver>,
    /// Through which proxy, if through one.
    pub proxy: Option<ProxyAddress>,
    /// Certificates of authorities that are trusted beside the machine's.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// Why there is no connection, or no answer on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// What kind of failure it is.
    pub kind: AttemptError,
    /// What happened, in a sentence for the endpoint's owner.
    pub detail: String,
}

impl SendError {
    pub(crate) fn new(kind: AttemptError, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl From<AddressRefused> for SendError {
    fn from(refused: AddressRefused) -> Self {
        Self::new(AttemptError::AddressRefused, refused.to_string())
    }
}

/// Makes connections.
pub struct Connector {
    config: ConnectConfig,
    tls: TlsConnector,
}

/// A connection that waits to be used again, or is being used.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    address: IpAddr,
    idle_since: Instant,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Whatever the endpoint still sends, nobody reads it.
        self.task.abort();
    }
}

/// What is known of an endpoint's addresses, and the connections to it that are not being used.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    idle: Vec<Connection>,
    judged: Option<(Instant, Vec<IpAddr>)>,
}

impl Pool {
    /// Keeps a connection for the next attempt, if there is room.
    pub(crate) fn put(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.idle.len() < IDLE_CONNECTIONS_MAX {
            state.idle.push(connection);
        }
    }

    fn take(&self, addresses: &[IpAddr]) -> Option<Connection> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest first; the rest grows old and goes.
        state
            .idle
            .retain(|it| it.sender.is_ready() && it.idle_since.elapsed() < IDLE_MAX && addresses.contains(&it.address));
        state.idle.pop()
    }

    /// Closes connections that have not been used for long.
    pub(crate) fn sweep(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.retain(|it| it.sender.is_ready() && it.idle_since.elapsed() < IDLE_MAX);
    }

    fn judged(&self) -> Option<Vec<IpAddr>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.judged.as_ref().filter(|(at, _)| at.elapsed() < RESOLVED_FOR).map(|(_, addresses)| addresses.clone())
    }

    fn keep(&self, addresses: &[IpAddr]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.judged = Some((Instant::now(), addresses.to_vec()));
    }
}

impl Connector {
    /// Trusts the machine's certificate authorities, and `config.extra_roots`.
    pub fn new(config: ConnectConfig) -> Self {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "certificate authorities of this machine can't be read");
        }
        roots.add_parsable_certificates(native.certs);
        roots.add_parsable_certificates(config.extra_roots.iter().cloned());
        if roots.is_empty() {
            tracing::warn!("this machine has no certificate authorities: no https webhook can be delivered");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        #[allow(clippy::expect_used, reason = "ring offers the versions that this program was built with")]
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config, tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// The addresses of an endpoint, every one of them judged.
    async fn addresses(&self, url: &EndpointUrl, pool: &Pool) -> Result<Vec<IpAddr>, SendError> {
        let name = match &url.host {
            EndpointHost::Address(address) => return Ok(vec![self.config.egress.judge(*address)?]),
            EndpointHost::Name(name) => name,
        };
        if let Some(known) = pool.judged() {
            return Ok(known);
        }
        let failed =
            |why: String| SendError::new(AttemptError::NameNotResolved, format!("{name} was not found: {why}"));
        let found = match timeout(RESOLVE_MAX, self.config.resolver.resolve(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("the name servers did not answer".into())),
        };
        if found.is_empty() {
            return Err(failed("it has no address".into()));
        }
        if found.len() > ADDRESSES_MAX {
            return Err(failed(format!("it has more than {ADDRESSES_MAX} addresses")));
        }
        let judged: Result<Vec<_>, _> = found.into_iter().map(|address| self.config.egress.judge(address)).collect();
        let judged = judged
            .map_err(|refused| SendError::new(AttemptError::AddressRefused, format!("{name} leads to {refused}")))?;
        pool.keep(&judged);
        Ok(judged)
    }

    /// A connection to the endpoint; says whether it has been used before.
    pub(crate) async fn connection(
        &self,
        url: &EndpointUrl,
        pool: &Pool,
        fresh: bool,
    ) -> Result<(Connection, bool), SendError> {
        let addresses = self.addresses(url, pool).await?;
        if !fresh && let Some(connection) = pool.take(&addresses) {
            return Ok((connection, true));
        }
        let mut last = SendError::new(AttemptError::ConnectFailed, "there was no address to connect to");
        for address in addresses.iter().take(TRIED_MAX) {
            match self.connect(url, *address).await {
                Ok(connection) => return Ok((connection, false)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(&self, url: &EndpointUrl, address: IpAddr) -> Result<Connection, SendError> {
        let to = SocketAddr::new(address, url.port);
        let stream = match timeout(CONNECT_MAX, self.tcp(to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let detail = format!("no connection to {to}: {error}");
                return Err(SendError::new(AttemptError::ConnectFailed, detail));
            }
            Err(_) => {
                let detail = format!("no connection to {to} within {} s", CONNECT_MAX.as_secs());
                return Err(SendError::new(AttemptError::ConnectFailed, detail));
            }
        };
        if !url.tls {
            return handshake(stream, address).await;
        }
        let name = match &url.host {
            EndpointHost::Name(name) => ServerName::try_from(name.clone())
                .map_err(|_| SendError::new(AttemptError::TlsFailed, "a certificate can't hold this name"))?,
            EndpointHost::Address(address) => ServerName::from(*address),
        };
        match timeout(CONNECT_MAX, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => handshake(stream, address).await,
            Ok(Err(error)) => Err(SendError::new(AttemptError::TlsFailed, format!("TLS with {to}: {error}"))),
            Err(_) => {
                let detail = format!("TLS with {to} took more than {} s", CONNECT_MAX.as_secs());
                Err(SendError::new(AttemptError::TlsFailed, detail))
            }
        }
    }

    async fn tcp(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let Some(proxy) = &self.config.proxy else {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            return Ok(stream);
        };
        // By the address that was judged, not by the name: the proxy may resolve it otherwise.
        let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        // Byte by byte, since what comes after the answer is the endpoint's already.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= PROXY_ANSWER_BYTES_MAX {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            answer.push(stream.read_u8().await?);
        }
        let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if status.first() != Some(&b'2') {
            let status = String::from_utf8_lossy(&status[..status.len().min(8)]).into_owned();
            return Err(io::Error::other(format!("the proxy answered {status}")));
        }
        Ok(stream)
    }
}

async fn handshake<S>(stream: S, address: IpAddr) -> Result<Connection, SendError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendError::new(AttemptError::ConnectFailed, error.to_string()))?;
    let task = tokio::spawn(async move {
        // How it ends is told to whoever waits for an answer on it.
        let _ = connection.await;
    });
    Ok(Connection { sender, address, idle_since: Instant::now(), task })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_a_host_and_a_port() {
        let proxy = |host: &str, port| Some(ProxyAddress { host: host.into(), port });
        assert_eq!(ProxyAddress::parse("http://proxy.internal:3128"), proxy("proxy.internal", 3128));
        assert_eq!(ProxyAddress::parse("http://[2001:db8::1]:3128/"), proxy("2001:db8::1", 3128));
        for wrong in
            ["", "proxy:1", "https://proxy:1", "http://proxy", "http://proxy:0", "http://a b:1", "http://u@p:1"]
        {
            assert_eq!(ProxyAddress::parse(wrong), None, "{wrong}");
        }
    }
}
