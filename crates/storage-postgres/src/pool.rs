//! Connections: how they are made, how many there are, and who waits for one how long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kallglot_storage::StorageError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failure::full;
use crate::job::Connection;
use crate::tls::{self, Mode};

/// Longest that a caller waits for a connection to be free.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Longest that making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Without an answer from the other machine for so long, a connection is over.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// What every connection is told first: how long a statement, a wait for a lock and a silence of ours in a transaction may take, each
/// shorter than [`crate::JOB_MAX`]; and that what is committed is on disk, also where the server is set up otherwise.
const SET_UP: &str = "SET statement_timeout = '8s'; SET lock_timeout = '3s'; \
    SET idle_in_transaction_session_timeout = '8s'; SET client_min_messages = 'warning'; SET jit = off; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Where the database is, from its URL.
#[derive(Clone)]
pub(crate) struct Target {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl Target {
    /// Reads the URL. `name` is what the server calls this program.
    pub(crate) fn parse(url: &str, name: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root_file, mut others) = (Mode::Prefer, None, Vec::new());
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let decoded = url::form_urlencoded::parse(part.as_bytes()).next();
            let (key, value) = decoded.unwrap_or_default();
            match &*key {
                "sslmode" => {
                    mode = Mode::parse(&value).ok_or_else(|| {
                        format!("sslmode is one of disable, prefer, require, verify-ca, verify-full, not `{value}`")
                    })?;
                }
                "sslrootcert" => root_file = Some(value.into_owned()),
                _ => others.push(part),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        // The client's own error does not hold the URL, which may hold a password.
        let mut config: tokio_postgres::Config = rest.parse().map_err(|error| full(&error))?;
        config
            .application_name(name)
            .ssl_mode(mode.ssl_mode())
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(3);
        Ok(Self { config, tls: tls::connector(mode, root_file.as_deref())? })
    }

    /// A new connection, without any settings.
    pub(crate) async fn connect(&self) -> Result<tokio_postgres::Client, String> {
        let connecting = tokio::time::timeout(CONNECT_MAX, self.config.connect(self.tls.clone()));
        match connecting.await {
            Ok(Ok((client, connection))) => {
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(error = full(&error), "a connection to the database has ended");
                    }
                });
                Ok(client)
            }
            Ok(Err(error)) => Err(full(&error)),
            Err(_) => Err(format!("no connection within {} s", CONNECT_MAX.as_secs())),
        }
    }

    async fn set_up(&self) -> Result<Connection, String> {
        let client = self.connect().await?;
        let told = tokio::time::timeout(CONNECT_MAX, client.batch_execute(SET_UP)).await;
        match told {
            Ok(Ok(())) => Ok(Connection::new(client)),
            Ok(Err(error)) => Err(full(&error)),
            Err(_) => Err(format!("no answer within {} s", CONNECT_MAX.as_secs())),
        }
    }
}

/// The connections.
pub(crate) struct Pool {
    target: Target,
    connections_max: u32,
    places: Arc<Semaphore>,
    /// Those that nobody uses, the last used one last.
    idle: Mutex<Vec<Arc<Connection>>>,
}

/// The right to use one connection.
pub(crate) struct Place(#[allow(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

fn unavailable(cause: impl Into<String>) -> StorageError {
    StorageError::Unavailable { cause: cause.into() }
}

impl Pool {
    pub(crate) fn new(target: Target, connections_max: u32) -> Self {
        let connections_max = connections_max.max(1);
        let places = Arc::new(Semaphore::new(connections_max as usize));
        Self { target, connections_max, places, idle: Mutex::default() }
    }

    /// Waits for one's turn, at most [`WAIT_MAX`].
    pub(crate) async fn place(&self) -> Result<Place, StorageError> {
        match tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            Ok(Err(_)) => Err(unavailable("the database is closed")),
            Err(_) => Err(unavailable(format!("no free connection within {} s", WAIT_MAX.as_secs()))),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for who has a place; a new one where that is wanted or none is idle.
    pub(crate) async fn connection(&self, _: &Place, new: bool) -> Result<Arc<Connection>, StorageError> {
        if new {
            // What made the last one useless has most likely made all others useless.
            self.idle().clear();
        }
        while let Some(connection) = { self.idle().pop() } {
            if !connection.client.is_closed() {
                return Ok(connection);
            }
        }
        self.target.set_up().await.map(Arc::new).map_err(unavailable)
    }

    /// Gives back a connection that can be used again.
    pub(crate) fn give_back(&self, connection: Arc<Connection>) {
        if !connection.client.is_closed() && !self.places.is_closed() {
            self.idle().push(connection);
        }
    }

    /// Waits for who has a place, at most `longest`, then closes everything.
    pub(crate) async fn close(&self, longest: Duration) {
        if self.places.is_closed() {
            return;
        }
        let all = tokio::time::timeout(longest, self.places.acquire_many(self.connections_max)).await;
        if all.is_err() {
            tracing::warn!("the database is closed while it is being asked");
        }
        self.places.close();
        self.idle().clear();
    }
}
