//! Everything that the edges share: one value, passed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::SignedDuration;
use kallglot_cluster::Cluster;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{Pepper, Peppers, ServerEnvironment};
use kallglot_core::audit::{Change, Who};
use kallglot_core::clock::Clock;
use kallglot_core::id::{AuditId, RequestId, SessionId};
use kallglot_core::random::{self, RandomSource};
use kallglot_core::session::Environment;
use kallglot_core::stream_token::{self, Purpose, StreamTokenSecret};
use kallglot_engine::router::EngineRouter;
use kallglot_storage::Storage;

use crate::analysis::Analyses;
use crate::credit_news::CreditNews;
use crate::feed::Feed;
use crate::gate::Suspects;
use crate::gate::cache::KeyCache;
use crate::live::{Hub, Spool};
use crate::mail::Mails;
use crate::node::ThisNode;
use crate::people::{Factors, Passwords};
use crate::recordings::Recordings;
use crate::request_log::RequestLog;
use crate::seal::Seal;
use crate::webhooks::Webhooks;

/// Settings that use cases need.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// Which keys are let in.
    pub environment: ServerEnvironment,
    /// Where clients reach this server, without a slash at the end: `https://api.example.com`.
    pub public_url: String,
    /// How long stream tokens are valid, in place of the edition's default. Seconds.
    pub stream_token_s: Option<u32>,
    /// Without activity for this long a session ends with `timeout`. Seconds.
    pub session_idle_s: u32,
    /// Most keys that are kept in memory.
    pub keys_cached_max: usize,
    /// How often a rule of alerts is looked at, at most.
    pub alerts_every: Duration,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            environment: ServerEnvironment::Any,
            public_url: "http://127.0.0.1:8080".into(),
            stream_token_s: None,
            session_idle_s: 30 * 60,
            keys_cached_max: 200_000,
            alerts_every: Duration::from_secs(15),
        }
    }
}

/// What the edges share.
pub struct App {
    /// Settings.
    pub config: AppConfig,
    /// The database.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn RandomSource>,
    /// What nodes share.
    pub cluster: Arc<dyn Cluster>,
    /// Seals what is stored for a while and may hold a secret.
    pub seal: Seal,
    /// The keys that were used lately.
    pub keys: KeyCache,
    /// Requests that are not in the database yet.
    pub request_log: RequestLog,
    /// With which stream tokens are signed.
    pub stream_token_secret: StreamTokenSecret,
    /// The speech engines.
    pub engines: EngineRouter,
    /// The live sessions.
    pub hub: Hub,
    /// What is said while the database is away.
    pub spool: Spool,
    /// What this node has to do with recordings.
    pub recordings: Arc<Recordings>,
    /// Which process this is.
    pub node: ThisNode,
    /// What webhooks need.
    pub webhooks: Webhooks,
    /// Who waits for events here.
    pub feed: Arc<Feed>,
    /// The analyses that this node makes.
    pub analyses: Analyses,
    /// Mails to people.
    pub mails: Mails,
    /// What people sign in with beside passwords.
    pub factors: Factors,
    pub(crate) passwords: Passwords,
    pub(crate) suspects: Suspects,
    pub(crate) credit_news: CreditNews,
    peppers: RwLock<Arc<Peppers>>,
    /// When this process got the newest of them.
    peppers_since_ms: AtomicI64,
    request_ids: RequestIds,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// See [`App::config`].
    pub config: AppConfig,
    /// See [`App::storage`].
    pub storage: Arc<dyn Storage>,
    /// See [`App::cluster`].
    pub cluster: Arc<dyn Cluster>,
    /// See [`App::clock`].
    pub clock: Arc<dyn Clock>,
    /// See [`App::random`].
    pub random: Arc<dyn RandomSource>,
    /// With which keys are hashed.
    pub peppers: Peppers,
    /// See [`App::stream_token_secret`].
    pub stream_token_secret: StreamTokenSecret,
    /// See [`App::seal`].
    pub seal: Seal,
    /// See [`App::engines`].
    pub engines: EngineRouter,
    /// See [`App::hub`].
    pub hub: Hub,
    /// See [`App::spool`].
    pub spool: Spool,
    /// See [`App::recordings`].
    pub recordings: Arc<Recordings>,
    /// See [`App::node`].
    pub node: ThisNode,
    /// See [`App::webhooks`].
    pub webhooks: Webhooks,
    /// See [`App::analyses`].
    pub analyses: Analyses,
    /// See [`App::mails`].
    pub mails: Mails,
    /// See [`App::factors`].
    pub factors: Factors,
}

/// How long a new pepper may take to reach all nodes: files of a Kubernetes Secret take up to two minutes.
const PEPPER_SPREADS_MS: i64 = 5 * 60 * 1000;

/// Makes ids of requests. They have to be different, not secret: a random start and a counter cost no system call.
struct RequestIds {
    start: u128,
    count: AtomicU64,
}

/// The 80 bits of an id below its time.
const BELOW_TIME: u128 = (1 << 80) - 1;

impl RequestIds {
    fn new(random: &dyn RandomSource) -> Self {
        Self { start: u128::from_be_bytes(random::bytes(random)), count: AtomicU64::new(0) }
    }

    fn next(&self, now: Timestamp) -> RequestId {
        let count = u128::from(self.count.fetch_add(1, Ordering::Relaxed));
        let ms = now.as_millisecond().max(0) as u128;
        RequestId::from_bits(ms << 80 | (self.start.wrapping_add(count) & BELOW_TIME))
    }
}

/// How long an observer may watch before it has to ask for another token, and so to be somebody who may. Seconds.
pub const OBSERVER_TOKEN_S: u32 = 5 * 60;

/// A fresh stream or observer token.
#[derive(Debug, Clone)]
pub struct StreamToken {
    /// The token.
    pub token: String,
    /// Until when it lets its holder connect.
    pub expires_at: Timestamp,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            config,
            storage,
            cluster,
            clock,
            random,
            peppers,
            stream_token_secret,
            seal,
            engines,
            hub,
            spool,
            recordings,
            node,
            webhooks,
            analyses,
            mails,
            factors,
        } = parts;
        Self {
            keys: KeyCache::new(config.keys_cached_max),
            request_ids: RequestIds::new(random.as_ref()),
            peppers: RwLock::new(Arc::new(peppers)),
            peppers_since_ms: AtomicI64::new(clock.now().as_millisecond()),
            config,
            storage,
            cluster,
            clock,
            random,
            seal,
            request_log: RequestLog::default(),
            stream_token_secret,
            engines,
            hub,
            spool,
            recordings,
            node,
            webhooks,
            feed: Arc::default(),
            analyses,
            mails,
            factors,
            passwords: Passwords::default(),
            suspects: Suspects::default(),
            credit_news: CreditNews::default(),
        }
    }

    /// A new request's id.
    pub fn request_id(&self, now: Timestamp) -> RequestId {
        self.request_ids.next(now)
    }

    /// With which keys are hashed.
    pub fn peppers(&self) -> Arc<Peppers> {
        Arc::clone(&self.peppers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one of `peppers` with which secrets are stored: the newest. But one that a node of several got a short while ago only reads,
    /// since others may not have it yet, and for them a secret that is stored with it would be nobody's.
    pub(crate) fn pepper_to_store_with<'a>(&self, peppers: &'a Peppers) -> &'a Pepper {
        let known_ms = self.clock.now().as_millisecond() - self.peppers_since_ms.load(Ordering::Relaxed);
        match peppers.older().first() {
            Some(before) if self.node.shared.is_some() && known_ms < PEPPER_SPREADS_MS => before,
            _ => peppers.newest(),
        }
    }

    /// Hashes keys with these from now on: the pepper was rotated.
    pub fn set_peppers(&self, peppers: Peppers) {
        self.peppers_since_ms.store(self.clock.now().as_millisecond(), Ordering::Relaxed);
        *self.peppers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(peppers);
        self.keys.forget_all();
    }

    /// A change that a request is about to make.
    pub fn change(&self, who: Who, address: IpAddr, request: RequestId) -> Change {
        let at = self.clock.now();
        Change { id: AuditId::new(at, self.random.as_ref()), who, address: Some(address), request: Some(request), at }
    }

    /// Signs a stream token for a session that is valid for `lifetime_s` seconds, or as long as the settings say.
    pub fn stream_token(&self, session: SessionId, environment: Environment, lifetime_s: u32) -> StreamToken {
        self.token(Purpose::TakePart, session, environment, self.config.stream_token_s.unwrap_or(lifetime_s))
    }

    /// Signs an observer token for a session: valid for [`OBSERVER_TOKEN_S`], which is also how long a connection made with it lasts.
    pub fn observer_token(&self, session: SessionId, environment: Environment) -> StreamToken {
        self.token(Purpose::Observe, session, environment, OBSERVER_TOKEN_S)
    }

    fn token(&self, purpose: Purpose, session: SessionId, environment: Environment, lifetime_s: u32) -> StreamToken {
        let now = self.clock.now();
        let expires_at = now.checked_add(SignedDuration::from_secs(i64::from(lifetime_s))).unwrap_or(Timestamp::MAX);
        // Tokens count whole seconds; what is told is what is signed.
        let expires_at = Timestamp::from_second(expires_at.as_second()).unwrap_or(expires_at);
        StreamToken {
            token: stream_token::issue(&self.stream_token_secret, purpose, session, environment, expires_at),
            expires_at,
        }
    }

    /// The address of a session's stream.
    pub fn stream_url(&self, session: SessionId) -> String {
        // http → ws, https → wss
        let base = self.config.public_url.strip_prefix("http").map(|rest| format!("ws{rest}"));
        format!("{}/v1/sessions/{session}/connect", base.as_deref().unwrap_or(&self.config.public_url))
    }
}
