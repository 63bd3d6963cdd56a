//! Where live sessions are found: at most one task per session, started by the first who joins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kallglot_cluster::Cluster;
use kallglot_core::Timestamp;
use kallglot_core::clock::Clock;
use kallglot_core::event::EventType;
use kallglot_core::id::{ApiKeyId, NodeId, SessionId};
use kallglot_core::plan::Limits;
use kallglot_core::random::RandomSource;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{EndReason, Session, Speaker, Tenant};
use kallglot_engine::router::EngineRouter;
use kallglot_storage::{EndedSession, GateChange, Home, Node, Storage, StorageError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::command::{COMMANDS_MAX, Command};
use crate::live::message::{AudioFrame, SegmentText, SocketId};
use crate::live::outbox::Outbox;
use crate::live::session::LiveSession;
use crate::live::spool::Spool;
use crate::live::writes::Write;
use crate::node::AWAY_AFTER;
use crate::recordings::Recordings;
use crate::sessions::event;

/// Times that joining is tried again when the session's task stops at that moment.
const JOIN_TRIES_MAX: usize = 5;

/// Partials that may wait for one who watches; further ones are dropped.
const PARTIALS_MAX: usize = 16;

/// How long the node that a session lives on may take to end it, before another one does: longer than what is being said takes to become
/// text.
const END_ELSEWHERE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const END_LOOK_EVERY: Duration = Duration::from_millis(100);

/// What every live session needs.
pub struct LiveDependencies {
    /// Where what was said is stored.
    pub storage: Arc<dyn Storage>,
    /// Where sessions hold their slots.
    pub cluster: Arc<dyn Cluster>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub random: Arc<dyn RandomSource>,
    /// Who interprets.
    pub engines: EngineRouter,
    /// Where what is said waits while the database is away.
    pub spool: Spool,
    /// Who is recorded.
    pub recordings: Arc<Recordings>,
    /// This process among those that share the database.
    pub node: NodeId,
}

/// All live sessions of this process.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Arc<LiveDependencies>,
    live: Mutex<HashMap<SessionId, Live>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Live {
    commands: mpsc::Sender<Command>,
    session: Session,
    /// What the organization may do; none until that is read.
    limits: Option<Limits>,
}

impl LiveDependencies {
    /// Stores that a session has ended, with its event, and gives its slot back.
    pub(super) async fn end(
        &self,
        tenant: Tenant,
        id: SessionId,
        reason: EndReason,
    ) -> Result<Option<EndedSession>, StorageError> {
        let now = self.clock.now();
        let event = event(EventType::SessionEnded, tenant, id, now, self.random.as_ref());
        let ended = self.storage.end_session(tenant, id, now, reason, &event).await?;
        self.give_slot_back(tenant, id).await;
        self.recordings.wake();
        Ok(ended)
    }

    /// Likewise for a session that is live here, which ends also while the database is away: that it has ended waits in the spool then.
    pub(super) async fn end_live(
        &self,
        session: &Session,
        reason: EndReason,
    ) -> Result<Option<EndedSession>, StorageError> {
        let (tenant, id, now) = (session.tenant, session.id, self.clock.now());
        let event = event(EventType::SessionEnded, tenant, id, now, self.random.as_ref());
        let stored = if self.spool.holds(id) {
            Err(StorageError::Unavailable { cause: "earlier writes of the session wait".into() })
        } else {
            self.storage.end_session(tenant, id, now, reason, &event).await
        };
        let ended = match stored {
            Err(StorageError::Unavailable { cause }) => {
                let write = Write::Ended(reason, Box::new(event));
                self.spool
                    .keep(tenant, id, &write)
                    .await
                    .map_err(|error| StorageError::Unavailable { cause: format!("{cause}; and the spool: {error}") })?;
                let state = session.state.clone().end(now, reason).unwrap_or_else(|_| session.state.clone());
                let session = Session { state, last_activity_at: now, ..session.clone() };
                Some(EndedSession { session, ended_now: true })
            }
            other => other?,
        };
        self.give_slot_back(tenant, id).await;
        self.recordings.wake();
        Ok(ended)
    }

    async fn give_slot_back(&self, tenant: Tenant, id: SessionId) {
        if let Err(error) = self.cluster.release_lease(tenant, id).get().await {
            tracing::warn!(session = %id, %error, "a session's slot could not be given back; it lapses by itself");
        }
    }
}

/// Why a stream can't join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no such session, or it has ended.
    #[error("the session has ended")]
    Ended,
    /// It has as many streams as it may have.
    #[error("the session has {} streams already", crate::live::session::SOCKETS_MAX)]
    Full,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopping,
    /// Nobody takes part in it now, so there is nothing to observe.
    #[error("the session is not live")]
    NotLive,
    /// It lives on another node.
    #[error("the session lives on {} at {}", .0.id, .0.url)]
    Elsewhere(Node),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A stream that watches. Dropping it leaves the session.
pub struct Observing {
    commands: mpsc::Sender<Command>,
    observer: SocketId,
    /// What is to be sent to the stream.
    pub outbox: Arc<Outbox>,
}

impl Drop for Observing {
    fn drop(&mut self) {
        leave(&self.commands, Command::Unobserve { observer: self.observer });
    }
}

/// A stream that has joined. Dropping it leaves the session.
pub struct Joined {
    commands: mpsc::Sender<Command>,
    socket: SocketId,
    /// What is to be sent to the stream.
    pub outbox: Arc<Outbox>,
    /// Messages that the edge refused because they came too fast; stored with the session.
    pub refused_messages: u64,
}

impl Joined {
    /// Gives the session audio; waits while the session is busy. False once the session is gone.
    pub async fn audio(&self, frame: AudioFrame) -> bool {
        self.commands.send(Command::Audio { socket: self.socket, frame }).await.is_ok()
    }

    /// Ends the session.
    pub async fn end(&self, reason: EndReason) {
        let _ = self.commands.send(Command::End { reason, reply: None }).await;
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let told = Command::Leave { socket: self.socket, refused_messages: self.refused_messages };
        leave(&self.commands, told);
    }
}

/// Tells a session that somebody is gone, from where nothing can wait.
fn leave(commands: &mpsc::Sender<Command>, told: Command) {
    if let Err(mpsc::error::TrySendError::Full(told)) = commands.try_send(told) {
        // The session is busy for a moment: let a task wait for it.
        let commands = commands.clone();
        tokio::spawn(async move { commands.send(told).await });
    }
}

impl Hub {
    /// A hub whose sessions stop when `stop` is cancelled; `tasks` tracks them.
    pub fn new(deps: LiveDependencies, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { inner: Arc::new(Inner { deps: Arc::new(deps), live: Mutex::default(), tasks, stop }) }
    }

    /// Joins a session's stream, starting its task if it is not live here and lives nowhere else.
    ///
    /// # Errors
    /// [`JoinError`]; `Ended` also when there is no such session.
    pub async fn join(&self, id: SessionId, speaker: Option<Speaker>) -> Result<Joined, JoinError> {
        let deps = &self.inner.deps;
        for _ in 0..JOIN_TRIES_MAX {
            if self.inner.stop.is_cancelled() {
                return Err(JoinError::Stopping);
            }
            let known = self.lock().get(&id).map(|live| live.commands.clone()).filter(|known| !known.is_closed());
            let commands = match known {
                Some(commands) => commands,
                None if deps.spool.holds(id) => {
                    let cause = "what was said in the session waits to be stored".into();
                    return Err(StorageError::Unavailable { cause }.into());
                }
                None => {
                    // Stored before the stream is ready: who is told of it finds the session active.
                    let settled = deps.storage.settle_session(id, deps.node, deps.clock.now(), AWAY_AFTER).await?;
                    match settled {
                        Some((_, Home::There(node))) => return Err(JoinError::Elsewhere(node)),
                        Some((session, Home::Here)) if session.state.ended_at().is_none() => self.live(session),
                        _ => return Err(JoinError::Ended),
                    }
                }
            };
            let outbox = Arc::new(Outbox::default());
            let (reply, answer) = oneshot::channel();
            if commands.send(Command::Join { speaker, outbox: Arc::clone(&outbox), reply }).await.is_err() {
                continue;
            }
            match answer.await {
                Ok(Ok(socket)) => return Ok(Joined { commands, socket, outbox, refused_messages: 0 }),
                Ok(Err(_full)) => return Err(JoinError::Full),
                // The session is closing. When it has, the stored one says what it has become.
                Err(_) => commands.closed().await,
            }
        }
        Err(JoinError::Stopping)
    }

    /// Watches a session, if it is live: starts nothing, keeps nothing alive, and takes no socket's place.
    ///
    /// # Errors
    /// [`JoinError`]; `NotLive` also while it closes, and when there is no such session.
    pub async fn observe(&self, id: SessionId) -> Result<Observing, JoinError> {
        let deps = &self.inner.deps;
        let known = self.lock().get(&id).map(|live| live.commands.clone()).filter(|known| !known.is_closed());
        let Some(commands) = known else {
            return Err(match deps.storage.session_home(id, AWAY_AFTER).await? {
                Some(node) if node.id != deps.node => JoinError::Elsewhere(node),
                _ => JoinError::NotLive,
            });
        };
        let outbox = Arc::new(Outbox::default());
        let (reply, answer) = oneshot::channel();
        let asked = Command::Observe { outbox: Arc::clone(&outbox), reply };
        commands.send(asked).await.map_err(|_| JoinError::NotLive)?;
        match answer.await {
            Ok(Ok(observer)) => Ok(Observing { commands, observer, outbox }),
            Ok(Err(_full)) => Err(JoinError::Full),
            Err(_) => Err(JoinError::NotLive),
        }
    }

    /// What is being said in a session that is live here, before it is final, as long as it is live. None when it is not live here. Who
    /// does not read fast enough misses some.
    pub async fn watch(&self, id: SessionId) -> Option<mpsc::Receiver<Arc<SegmentText>>> {
        let commands = self.lock().get(&id).map(|live| live.commands.clone())?;
        let (partials, receiver) = mpsc::channel(PARTIALS_MAX);
        commands.send(Command::Watch { partials }).await.ok()?;
        Some(receiver)
    }

    /// Ends a session, live here or elsewhere or nowhere, and returns it as stored. What is being said becomes text first.
    ///
    /// # Errors
    /// Storage's. `None` when there is no such session.
    pub async fn end(&self, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<Option<Session>, StorageError> {
        let deps = &self.inner.deps;
        let is_live = self.lock().get(&id).is_some_and(|live| live.session.tenant == tenant);
        if is_live && let Some(ended) = self.end_live(id, reason).await {
            return Ok(Some(ended));
        }
        let Some(session) = deps.storage.session(tenant, id).await? else { return Ok(None) };
        if session.state.ended_at().is_some() {
            return Ok(Some(session));
        }
        if let Some(node) = deps.storage.session_home(id, AWAY_AFTER).await?
            && node.id != deps.node
            && let Some(ended) = self.end_elsewhere(tenant, id, reason).await?
        {
            return Ok(Some(ended));
        }
        let ended = deps.end(tenant, id, reason).await?;
        // Somebody may have joined in between; then the live session must hear of it too.
        self.end_live(id, reason).await;
        Ok(ended.map(|ended| ended.session))
    }

    /// Asks the node that the session lives on to end it. None when it has not done so in time.
    async fn end_elsewhere(
        &self,
        tenant: Tenant,
        id: SessionId,
        reason: EndReason,
    ) -> Result<Option<Session>, StorageError> {
        let deps = &self.inner.deps;
        deps.storage.ask_to_end_session(tenant, id, reason).await?;
        let news = GateChange::EndSession(id, reason).to_string();
        if let Err(error) = deps.cluster.announce(&news).get().await {
            tracing::debug!(session = %id, %error, "the session's node was not told to end it; it will see");
        }
        let deadline = tokio::time::Instant::now() + END_ELSEWHERE_MAX;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(END_LOOK_EVERY).await;
            let session = deps.storage.session(tenant, id).await?;
            if session.as_ref().is_none_or(|session| session.state.ended_at().is_some()) {
                return Ok(session);
            }
        }
        tracing::warn!(session = %id, "the session's node did not end it in time; it is ended without it");
        Ok(None)
    }

    /// Ends a session if it is live here: another node was asked to.
    pub fn end_if_live(&self, id: SessionId, reason: EndReason) {
        if self.is_live(id) {
            let hub = self.clone();
            self.inner.tasks.spawn(async move { hub.end_live(id, reason).await });
        }
    }

    /// Pauses the recording of a session that is live here, or lets it go on. False when it is not live here.
    pub async fn record_if_live(&self, id: SessionId, mode: RecordingMode) -> bool {
        let commands = self.lock().get(&id).map(|live| live.commands.clone());
        let Some(commands) = commands else { return false };
        let (reply, done) = oneshot::channel();
        let sent = commands.send(Command::Record { paused: mode == RecordingMode::Paused, reply }).await;
        // Without an answer its task has ended, or was never begun, and what is stored counts for the next one.
        sent.is_ok() && done.await.is_ok()
    }

    /// Closes these sessions here without ending them: another node has taken them over, and their clients are to go there.
    pub async fn let_go(&self, sessions: &[SessionId]) {
        for id in sessions {
            let commands = self.lock().get(id).map(|live| live.commands.clone());
            if let Some(commands) = commands {
                tracing::warn!(session = %id, "another node has taken this session over");
                let _ = commands.send(Command::LetGo).await;
            }
        }
    }

    /// A session as it was when it became live here, and what its organization may do.
    pub fn joinable(&self, id: SessionId) -> Option<(Session, Limits)> {
        self.lock().get(&id).and_then(|live| Some((live.session.clone(), live.limits?)))
    }

    async fn end_live(&self, id: SessionId, reason: EndReason) -> Option<Session> {
        let commands = self.lock().get(&id).map(|live| live.commands.clone())?;
        let (reply, answer) = oneshot::channel();
        commands.send(Command::End { reason, reply: Some(reply) }).await.ok()?;
        answer.await.ok()
    }

    /// Whether a session is live here.
    pub fn is_live(&self, id: SessionId) -> bool {
        self.lock().contains_key(&id)
    }

    /// The sessions that are live here.
    pub fn live_sessions(&self) -> Vec<(Tenant, SessionId)> {
        self.lock().iter().map(|(id, live)| (live.session.tenant, *id)).collect()
    }

    /// How many sessions are live here.
    pub fn live_count(&self) -> usize {
        self.lock().len()
    }

    /// Ends with `timeout` every live session in which nothing has happened since `before`.
    pub async fn end_idle(&self, before: Timestamp) {
        let all: Vec<_> = self.lock().values().map(|live| live.commands.clone()).collect();
        for commands in all {
            let _ = commands.send(Command::EndIfIdle { before }).await;
        }
    }

    /// Closes the streams of all live sessions that this key made.
    pub async fn close_streams_of(&self, key: ApiKeyId) {
        let live = self
            .lock()
            .values()
            .filter(|live| live.session.created_by == key)
            .map(|l| l.commands.clone())
            .collect::<Vec<_>>();
        for commands in live {
            let _ = commands.send(Command::Revoke).await;
        }
    }

    fn live(&self, session: Session) -> mpsc::Sender<Command> {
        let id = session.id;
        let mut live = self.lock();
        if let Some(known) = live.get(&id).filter(|known| !known.commands.is_closed()) {
            return known.commands.clone();
        }
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        live.insert(id, Live { commands: commands.clone(), session: session.clone(), limits: None });
        drop(live);
        let (inner, stop) = (Arc::clone(&self.inner), self.inner.stop.clone());
        let own = commands.downgrade();
        self.inner.tasks.spawn(async move {
            run(&inner, session, receiver, stop).await;
            let mut live = inner.live.lock().unwrap_or_else(PoisonError::into_inner);
            // Another task may have taken this one's place already.
            let is_own = |known: &Live| own.upgrade().is_none_or(|own| own.same_channel(&known.commands));
            if live.get(&id).is_some_and(is_own) {
                live.remove(&id);
            }
        });
        commands
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Live>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads what the session needs and runs it. The session is read again here: it may have ended since.
async fn run(inner: &Inner, session: Session, commands: mpsc::Receiver<Command>, stop: CancellationToken) {
    let storage = &inner.deps.storage;
    let loaded = async {
        let current = storage.session(session.tenant, session.id).await?;
        let organization = storage.organization(session.tenant.organization).await?;
        let statistics = storage.stream_statistics(session.tenant, session.id).await?.unwrap_or_default();
        Ok::<_, StorageError>((current, organization, statistics))
    };
    match loaded.await {
        Ok((Some(current), Some(organization), statistics)) if current.state.ended_at().is_none() => {
            let limits = organization.limits(current.tenant.environment);
            if let Some(live) = inner.live.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&session.id) {
                live.limits = Some(limits);
            }
            let deps = Arc::clone(&inner.deps);
            let (engine, vocabulary) = (organization.engine, organization.vocabulary);
            let session = LiveSession::new(deps, current, engine, vocabulary, statistics, commands, stop);
            Box::new(session).run().await;
        }
        Ok(_) => {}
        Err(error) => tracing::error!(session = %session.id, %error, "a session could not be loaded"),
    }
}
