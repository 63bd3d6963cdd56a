//! The connections that calls go over: a few, each shared by all, with a bound on what is under way.
//!
//! What must stay true: no call waits longer than the timeout. A connection that failed, or was silent for longer than that, is given
//! up at once, for everybody; a task of its own opens another in the background, with a growing pause between attempts, and until a
//! write has gone through there, calls fail without waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use kallglot_cluster::Unavailable;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::RedisConfig;
use crate::keys::{Key, Named};
use crate::scripts::{Names, Script};

/// Longest that opening a connection may take, names and TLS included.
pub(crate) const OPEN_MAX: Duration = Duration::from_secs(1);
/// Pauses between attempts to open a connection.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A task that ends with its owner.
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that works, as far as is known.
#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    names: Arc<Names>,
    /// Which of the link's connections this is: an old one's failure says nothing of the new one.
    number: u64,
}

struct Link {
    /// The connection, or why there is none.
    open: Mutex<Result<Open, Arc<str>>>,
    failed: Notify,
}

impl Default for Link {
    fn default() -> Self {
        Self { open: Mutex::new(Err("it was not tried yet".into())), failed: Notify::new() }
    }
}

impl Link {
    fn open(&self) -> Result<Open, Arc<str>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a connection now.
    fn set(&self, attempt: Result<Open, RedisError>) -> bool {
        let attempt = attempt.map_err(|error| error.to_string().into());
        let up = attempt.is_ok();
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = attempt;
        up
    }

    fn give_up(&self, number: u64, why: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_ok_and(|open| open.number == number) {
            *open = Err(why.into());
            self.failed.notify_one();
        }
    }
}

pub(crate) fn unavailable(error: &RedisError) -> Unavailable {
    Unavailable { cause: error.to_string() }
}

/// Whether another call over the same connection could do better: a script that is wrong does not say that Redis is away.
fn spares_connection(error: &RedisError) -> bool {
    use ServerErrorKind as Server;
    matches!(
        error.kind(),
        ErrorKind::Server(Server::ResponseError | Server::NoScript | Server::NoPerm | Server::CrossSlot)
    )
}

/// The connections.
pub(crate) struct Links {
    links: Box<[Arc<Link>]>,
    next: AtomicUsize,
    in_flight: Semaphore,
    _keepers: Vec<Task>,
}

/// The right to make one call.
pub(crate) struct Turn<'a> {
    open: Open,
    link: &'a Link,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Links {
    /// Tries each connection once and goes on in the background. Must be called in a Tokio runtime.
    pub(crate) async fn open(client: &Client, config: &Arc<RedisConfig>) -> Self {
        let links: Box<[_]> = (0..config.connections).map(|_| Arc::<Link>::default()).collect();
        let first = join_all(links.iter().map(|link| open(client, config, link, 0))).await;
        let keepers = links.iter().zip(first).map(|(link, first)| {
            let keeper = keep(client.clone(), Arc::clone(config), Arc::clone(link), link.set(first));
            Task(tokio::spawn(keeper))
        });
        let keepers = keepers.collect();
        Self { links, next: AtomicUsize::new(0), in_flight: Semaphore::new(config.in_flight_max), _keepers: keepers }
    }

    /// The next connection that works. Never waits.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, Unavailable> {
        let permit = self
            .in_flight
            .try_acquire()
            .map_err(|_| Unavailable { cause: "too many calls to Redis are under way".into() })?;
        self.working(Some(permit))
    }

    /// Like [`Links::turn`], also when too many calls are under way: to see whether Redis is there, not whether there is much to do.
    pub(crate) fn extra_turn(&self) -> Result<Turn<'_>, Unavailable> {
        self.working(None)
    }

    fn working<'a>(&'a self, permit: Option<SemaphorePermit<'a>>) -> Result<Turn<'a>, Unavailable> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut why = None;
        for index in 0..self.links.len() {
            let link = &self.links[first.wrapping_add(index) % self.links.len()];
            match link.open() {
                Ok(open) => return Ok(Turn { open, link, _permit: permit }),
                Err(cause) => why = Some(cause),
            }
        }
        Err(Unavailable { cause: format!("no connection to Redis: {}", why.as_deref().unwrap_or_default()) })
    }
}

impl Turn<'_> {
    /// A call of a script, to be filled with its keys and arguments.
    pub(crate) fn script(&self, script: Script, keys: usize, arguments: usize, bytes: usize) -> Cmd {
        let name = self.open.names.of(script);
        let mut command = Cmd::with_capacity(3 + keys + arguments, 7 + name.len() + 2 + bytes);
        command.arg("EVALSHA").arg(name).arg(keys);
        command
    }

    /// Makes the call. A server that was restarted, or whose scripts were flushed, is sent the script itself.
    pub(crate) async fn ask(mut self, script: Script, command: Cmd) -> Result<Value, Unavailable> {
        match self.send(&command).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut whole = redis::cmd("EVAL");
                whole.arg(script.text());
                for argument in command.args_iter().skip(2) {
                    if let redis::Arg::Simple(argument) = argument {
                        whole.arg(argument);
                    }
                }
                self.send(&whole).await
            }
            answer => answer,
        }
        .map_err(|error| unavailable(&error))
    }

    /// Whether there is an answer at all.
    pub(crate) async fn ping(mut self) -> Result<(), Unavailable> {
        self.send(&redis::cmd("PING")).await.map(drop).map_err(|error| unavailable(&error))
    }

    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = self.open.connection.send_packed_command(command).await.and_then(Value::extract_error);
        if let Err(error) = &answer
            && !spares_connection(error)
        {
            self.link.give_up(self.open.number, &error.to_string());
        }
        answer
    }
}

async fn open(client: &Client, config: &RedisConfig, link: &Arc<Link>, number: u64) -> Result<Open, RedisError> {
    let pushed = {
        let link = Arc::downgrade(link);
        move |info: PushInfo| {
            if info.kind == PushKind::Disconnection
                && let Some(link) = link.upgrade()
            {
                link.give_up(number, "it was cut");
            }
            Ok::<_, RedisError>(())
        }
    };
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(OPEN_MAX))
        .set_response_timeout(Some(config.timeout))
        .set_pipeline_buffer_size(config.in_flight_max)
        .set_push_sender(pushed);
    let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
    let mut load = redis::pipe();
    for script in Script::ALL {
        load.cmd("SCRIPT").arg("LOAD").arg(script.text());
    }
    let hashes: Vec<String> = load.query_async(&mut connection).await?;
    let names = Names::new(hashes).ok_or((ErrorKind::UnexpectedReturnType, "a script was not loaded"))?;
    // A server that is no longer the first of its replicas answers, but must not be asked: it shows by a write.
    let mut probe = redis::cmd("SET");
    probe.arg(Named(&config.namespace, Key::Probe)).arg(1).arg("PX").arg(1000);
    probe.query_async::<()>(&mut connection).await?;
    Ok(Open { connection, names: Arc::new(names), number })
}

/// Opens a link's connections, one after the other. `up`: it has one.
async fn keep(client: Client, config: Arc<RedisConfig>, link: Arc<Link>, mut up: bool) {
    let mut pause = PAUSE_MIN;
    for number in 1.. {
        if up {
            let since = Instant::now();
            link.failed.notified().await;
            if since.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        up = link.set(open(&client, &config, &link, number).await);
    }
}
