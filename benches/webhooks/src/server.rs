//! The server of the measurement: the embedded database and delivery as `kallglot serve` has them, and sessions that are made at a fixed rate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use futures_util::future::join_all;
use kallglot_app::analysis::Analyses;
use kallglot_app::live::hub::LiveDependencies;
use kallglot_app::live::{Hub, Spool};
use kallglot_app::mail::Mails;
use kallglot_app::node::ThisNode;
use kallglot_app::people::Factors;
use kallglot_app::recordings::Recordings;
use kallglot_app::seal::Seal;
use kallglot_app::webhooks::Webhooks;
use kallglot_app::{App, AppConfig, Parts};
use kallglot_cluster::memory::Memory;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash, Pepper, Peppers, StoredSecret};
use kallglot_core::audit::{Change, Who};
use kallglot_core::clock::Clock;
use kallglot_core::delivery::{Webhook, WebhookState};
use kallglot_core::edition::Edition;
use kallglot_core::egress::EgressPolicy;
use kallglot_core::event::{Event, EventType, session_detail};
use kallglot_core::id::{ApiKeyId, AuditId, EventId, NodeId, OrganizationId, RequestId, SessionId, WebhookId};
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::permission::PermissionSet;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::random::RandomSource;
use kallglot_core::session::{Environment, Mode, Session, SessionState, Tenant};
use kallglot_core::stream_token::StreamTokenSecret;
use kallglot_core::vocabulary::Vocabulary;
use kallglot_core::webhook::WebhookSecret;
use kallglot_engine::cascade::CascadeConfig;
use kallglot_engine::router::EngineRouter;
use kallglot_engine::scripted::{self, Script};
use kallglot_storage::{NewSession, Storage};
use kallglot_storage_sqlite::SqliteStorage;
use kallglot_webhooks::{ConnectConfig, SystemResolver, WorkerConfig};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Failure;

/// How often events are raised.
const TICK_MS: u64 = 10;

#[derive(Args)]
pub(crate) struct Serve {
    /// The data folder
    #[arg(long)]
    data: PathBuf,
    /// A file with the receivers' ports
    #[arg(long)]
    ports: PathBuf,
    /// Events in all
    #[arg(long)]
    events: u64,
    /// Events in a second
    #[arg(long)]
    rate: u64,
    /// Organizations that share the endpoints
    #[arg(long)]
    organizations: u64,
}

/// The system's clock.
pub(crate) struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "what is measured goes by the real clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let wait_ms = deadline.as_millisecond() - self.now().as_millisecond();
        tokio::time::sleep(Duration::from_millis(wait_ms.max(0).unsigned_abs())).await;
    }
}

struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        #[allow(clippy::disallowed_methods, reason = "as the server draws it")]
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

fn change() -> Change {
    let at = SystemClock.now();
    Change { id: AuditId::new(at, &SystemRandom), who: Who::Operator, address: None, request: None, at }
}

fn tenant(number: u64) -> Tenant {
    Tenant { organization: OrganizationId::from_bits(u128::from(number) + 1), environment: Environment::Test }
}

fn key_of(number: u64) -> ApiKeyId {
    ApiKeyId::from_bits(u128::from(number) + 1)
}

/// Organizations with a key each, and the endpoints, dealt out among them.
async fn make(app: &App, args: &Serve, ports: &[u16]) -> Result<(), Failure> {
    let now = SystemClock.now();
    for number in 0..args.organizations {
        let organization = Organization {
            id: tenant(number).organization,
            name: "Example".into(),
            plan: Plan::Enterprise,
            overrides: LimitOverrides::default(),
            active: true,
            edition: Edition::Two,
            engine: None,
            vocabulary: Vocabulary::default(),
            leak_policy: LeakPolicy::default(),
            low_credits_threshold: 0,
            recording: false,
            recordings_kept_days: 30,
            created_at: now,
        };
        app.storage.create_organization(&organization, 0, &change()).await?;
        let key = ApiKey {
            id: key_of(number),
            organization: organization.id,
            environment: Environment::Test,
            name: "bench".into(),
            permissions: PermissionSet::NONE,
            expires_at: None,
            allowed_networks: Vec::new(),
            requests_per_minute_max: None,
            edition: None,
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            last4: "0000".into(),
            old_secret_valid_until: None,
            old_secret_last_used_at: None,
            quarantined_at: None,
        };
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let secret = StoredSecret { hash: KeyHash::from_bytes(hash), pepper: 1, last4: "0000".into() };
        app.storage.create_key(&key, &secret, None, &change()).await?;
    }
    for (number, port) in ports.iter().enumerate() {
        let id = WebhookId::new(now, &SystemRandom);
        let webhook = Webhook {
            id,
            tenant: tenant(number as u64 % args.organizations),
            url: format!("http://127.0.0.1:{port}/hooks"),
            description: number.to_string(),
            event_types: vec![EventType::SessionCreated],
            state: WebhookState::Enabled,
            created_at: now,
            updated_at: now,
            old_secret_valid_until: None,
            failing_since: None,
            last_success_at: None,
            last_failure_at: None,
        };
        let sealed = app.webhooks.seal(id, &WebhookSecret::new(&SystemRandom), &SystemRandom);
        app.storage.create_webhook(&webhook, &sealed, None, &change()).await?;
    }
    Ok(())
}

fn session(number: u64) -> NewSession {
    let now = SystemClock.now();
    let id = SessionId::new(now, &SystemRandom);
    let session = Session {
        id,
        tenant: tenant(number),
        created_by: key_of(number),
        mode: Mode::BidirectionalTranslation,
        source_language: "en".parse().ok(),
        target_language: "es".parse().ok(),
        voice: None,
        vocabulary: Vocabulary::default(),
        recording: Default::default(),
        metadata: [("order".to_owned(), "4711".to_owned())].into(),
        created_at: now,
        last_activity_at: now,
        joinable_until: now,
        state: SessionState::Created,
    };
    let event = Event {
        id: EventId::new(now, &SystemRandom),
        organization: session.tenant.organization,
        environment: session.tenant.environment,
        event_type: EventType::SessionCreated,
        object: id.to_string(),
        session: Some(id),
        session_sequence: None,
        detail: session_detail(&session),
        at: now,
    };
    let low = Event { event_type: EventType::CreditsLow, session: None, ..event.clone() };
    let request = RequestId::new(now, &SystemRandom);
    NewSession { session, request, credits: 0, event, low_credits_event: low, idempotency: None }
}

/// How many sessions there are: how many events were raised before.
fn raised(args: &Serve) -> Result<u64, Failure> {
    let database = rusqlite::Connection::open(args.data.join("kallglot.db"))?;
    Ok(database.query_row("SELECT count(*) FROM sessions", (), |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// Makes sessions at the wanted rate; says when half of them, and all, are there.
async fn raise(app: &App, args: &Serve) -> Result<(), Failure> {
    let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut number, mut due) = (raised(args)?, 0.0);
    let first = number;
    while number < args.events {
        tick.tick().await;
        due += (args.rate * TICK_MS) as f64 / 1000.0;
        let until = (first + due as u64).min(args.events);
        let sessions: Vec<_> = (number..until).map(|it| session(it % args.organizations)).collect();
        for created in join_all(sessions.iter().map(|session| app.storage.create_session(session))).await {
            created?;
        }
        if number < args.events / 2 && until >= args.events / 2 {
            println!("half");
        }
        number = until;
    }
    println!("raised {}", number - first);
    Ok(())
}

/// Serves until a line comes.
pub(crate) async fn run(args: Serve) -> Result<(), Failure> {
    let storage: Arc<dyn Storage> = Arc::new(SqliteStorage::open(&args.data)?);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let cluster = Arc::new(Memory::default());
    let engine = scripted::engine(Script::default(), CascadeConfig::default());
    let engines = EngineRouter::new(vec![Arc::new(engine)]);
    let node = ThisNode::alone(NodeId::new(clock.now(), random.as_ref()));
    let spool = Spool::open(&args.data.join("spool"))?;
    let recordings = Arc::new(Recordings::open(&args.data.join("recordings"), None)?);
    let live = LiveDependencies {
        storage: Arc::clone(&storage),
        cluster: cluster.clone(),
        clock: clock.clone(),
        random: random.clone(),
        engines: engines.clone(),
        spool: spool.clone(),
        recordings: Arc::clone(&recordings),
        node: node.id,
    };
    let egress = EgressPolicy { allow_networks: vec!["127.0.0.0/8".parse()?], allow_http_in_test: true };
    let app = Arc::new(App::new(Parts {
        config: AppConfig::default(),
        storage,
        cluster,
        clock,
        random,
        peppers: Peppers::new(Pepper::new(1, [7; 32]), Vec::new()),
        stream_token_secret: StreamTokenSecret::new([8; 32]),
        seal: Seal::new([9; 32]),
        engines,
        hub: Hub::new(live, tasks.clone(), stop.clone()),
        spool,
        recordings,
        node,
        webhooks: Webhooks::new([10; 32], egress.clone()),
        analyses: Analyses::default(),
        mails: Mails::new(None),
        factors: Factors::new([10; 32], None),
    }));
    let ports: Vec<u16> = std::fs::read_to_string(&args.ports)?.lines().map(str::parse).collect::<Result<_, _>>()?;
    if app.storage.organization(tenant(0).organization).await?.is_none() {
        make(&app, &args, &ports).await?;
    }
    let connect = ConnectConfig { egress, resolver: Arc::new(SystemResolver), proxy: None, extra_roots: Vec::new() };
    kallglot_webhooks::start(&app, connect, WorkerConfig::default(), &tasks, &stop);
    raise(&app, &args).await?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    app.storage.close().await?;
    Ok(())
}
