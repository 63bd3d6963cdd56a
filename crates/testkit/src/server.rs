//! The server under test.
#![allow(clippy::expect_used, reason = "a test that can't be set up must fail at once")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use kallglot_app::analysis::{Analyses, AnalysisConfig};
use kallglot_app::live::hub::LiveDependencies;
use kallglot_app::live::{Hub, Spool};
use kallglot_app::mail::{Mailer, Mails};
use kallglot_app::node::ThisNode;
use kallglot_app::people::{Factors, SingleSignOn};
use kallglot_app::recordings::Recordings;
use kallglot_app::seal::Seal;
use kallglot_app::webhooks::Webhooks;
use kallglot_app::{App, AppConfig, Parts, upkeep};
use kallglot_client::Client;
use kallglot_core::api_key::{ApiKey, Pepper, Peppers, Secret, ServerEnvironment};
use kallglot_core::audit::{Change, Who};
use kallglot_core::clock::Clock;
use kallglot_core::edition::Edition;
use kallglot_core::egress::EgressPolicy;
use kallglot_core::id::{ApiKeyId, AuditId, NodeId, OrganizationId};
use kallglot_core::organization::{LOW_CREDITS_THRESHOLD, LeakPolicy};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::recording::KEPT_DAYS;
use kallglot_core::session::Environment;
use kallglot_core::stream_token::StreamTokenSecret;
use kallglot_core::vocabulary::Vocabulary;
use kallglot_engine::cascade::CascadeConfig;
use kallglot_engine::router::EngineRouter;
use kallglot_engine::scripted::{self, Script};
use kallglot_engine::{Engine, Summarizer};
use kallglot_http::{EdgeConfig, HttpState, Metrics, ServeConfig, Shared, StreamConfig};
use kallglot_portal::PortalState;
use kallglot_storage::Storage;
use kallglot_webhooks::{ConnectConfig, ProxyAddress, Resolver, WorkerConfig};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backing::Backing;
use crate::fakes::{FakeClock, FakeRandom, NoNames};
use crate::soon;

/// Makes what signs people in with their accounts elsewhere: anew for each start.
type MakeSingleSignOn = Arc<dyn Fn() -> SingleSignOn + Send + Sync>;

/// How a server under test differs from the usual one.
pub struct ServerBuilder {
    script: Script,
    engines: Option<Vec<Arc<dyn Engine>>>,
    stream: StreamConfig,
    environment: ServerEnvironment,
    edge: EdgeConfig,
    egress: EgressPolicy,
    resolver: Arc<dyn Resolver>,
    proxy: Option<ProxyAddress>,
    roots: Vec<CertificateDer<'static>>,
    delivering: WorkerConfig,
    analysis: AnalysisConfig,
    summarizer: Option<Arc<dyn Summarizer>>,
    mailer: Option<Arc<dyn Mailer>>,
    single_sign_on: Option<MakeSingleSignOn>,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        Self {
            script: Script::default(),
            engines: None,
            stream: StreamConfig { write_max: Duration::from_secs(3), ..StreamConfig::default() },
            environment: ServerEnvironment::Any,
            edge: EdgeConfig::default(),
            // Receivers under test listen on this machine, and speak no TLS.
            egress: EgressPolicy {
                allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
                allow_http_in_test: true,
            },
            resolver: Arc::new(NoNames),
            proxy: None,
            roots: Vec::new(),
            delivering: WorkerConfig::default(),
            analysis: AnalysisConfig { again_after: Duration::from_millis(1), ..AnalysisConfig::default() },
            summarizer: None,
            mailer: None,
            single_sign_on: None,
        }
    }
}

impl ServerBuilder {
    /// What the scripted engine does.
    #[must_use]
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// These engines instead of the scripted one.
    #[must_use]
    pub fn engines(mut self, engines: Vec<Arc<dyn Engine>>) -> Self {
        self.engines = Some(engines);
        self
    }

    /// What takes mails away, such as a [`FakeMailer`](crate::FakeMailer); without it the server sends none.
    #[must_use]
    pub fn mailer(mut self, mailer: Arc<dyn Mailer>) -> Self {
        self.mailer = Some(mailer);
        self
    }

    /// The single sign-on provider, such as a [`FakeProvider`](crate::FakeProvider); without it there is none.
    #[must_use]
    pub fn single_sign_on(mut self, make: impl Fn() -> SingleSignOn + Send + Sync + 'static) -> Self {
        self.single_sign_on = Some(Arc::new(make));
        self
    }

    /// How streams are kept.
    #[must_use]
    pub fn stream(mut self, stream: StreamConfig) -> Self {
        self.stream = stream;
        self
    }

    /// Which keys are let in.
    #[must_use]
    pub fn environment(mut self, environment: ServerEnvironment) -> Self {
        self.environment = environment;
        self
    }

    /// What is in front of it.
    #[must_use]
    pub fn edge(mut self, edge: EdgeConfig) -> Self {
        self.edge = edge;
        self
    }

    /// Where webhooks may be sent; to this machine unless said otherwise.
    #[must_use]
    pub fn egress(mut self, egress: EgressPolicy) -> Self {
        self.egress = egress;
        self
    }

    /// Where the names of webhooks' receivers are resolved; nowhere unless said otherwise.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Through which proxy webhooks are sent.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyAddress) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// A certificate authority that is trusted when webhooks are sent.
    #[must_use]
    pub fn root(mut self, root: CertificateDer<'static>) -> Self {
        self.roots.push(root);
        self
    }

    /// How much is delivered to webhooks at once.
    #[must_use]
    pub fn delivering(mut self, delivering: WorkerConfig) -> Self {
        self.delivering = delivering;
        self
    }

    /// How it makes analyses.
    #[must_use]
    pub fn analysis(mut self, analysis: AnalysisConfig) -> Self {
        self.analysis = analysis;
        self
    }

    /// Who writes summaries for it.
    #[must_use]
    pub fn summarizer(mut self, summarizer: Arc<dyn Summarizer>) -> Self {
        self.summarizer = Some(summarizer);
        self
    }

    /// Starts it.
    pub async fn start(self) -> TestServer {
        self.start_on(Backing::of_environment().await, Arc::new(FakeClock::default()), 1).await
    }

    /// Starts it on something, with a clock that it may share. Nodes that share a database have different `seed`s.
    pub async fn start_on(self, backing: Backing, clock: Arc<FakeClock>, seed: u64) -> TestServer {
        TestServer::launch(self, backing, clock, seed).await
    }
}

/// A running server.
pub struct TestServer {
    /// What it shares between its edges; for tests of what can't be seen from outside.
    pub app: Arc<App>,
    /// Its clock.
    pub clock: Arc<FakeClock>,
    /// Where it listens.
    pub address: SocketAddr,
    builder: ServerBuilder,
    backing: Backing,
    tasks: TaskTracker,
    stop: CancellationToken,
    starts: u64,
}

/// An organization with its keys.
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
}

impl TestServer {
    /// A server with the scripted engine.
    pub async fn start() -> Self {
        ServerBuilder::default().start().await
    }

    async fn launch(builder: ServerBuilder, backing: Backing, clock: Arc<FakeClock>, starts: u64) -> Self {
        let storage = backing.storage().await;
        let random = Arc::new(FakeRandom::new(starts));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let engines = match &builder.engines {
            Some(engines) => EngineRouter::new(engines.clone()),
            None => {
                let engine = scripted::engine(builder.script.clone(), CascadeConfig::default());
                EngineRouter::new(vec![Arc::new(engine)])
            }
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let nodes = Arc::new(AtomicU32::new(1));
        let cluster = backing.cluster(Arc::clone(&nodes)).await;
        let spool = Spool::open(&backing.folder.path().join("spool")).expect("a spool");
        let id = NodeId::new(clock.now(), random.as_ref());
        let folder = backing.folder.path().join("recordings");
        let objects = backing.objects(id);
        let recordings = Arc::new(Recordings::open(&folder, Some(objects)).expect("a folder of recordings"));
        let node = match &backing.shared {
            None => ThisNode::alone(id),
            Some(_) => ThisNode::shared(id, format!("http://{address}"), "test".into(), nodes),
        };
        let live = LiveDependencies {
            storage: Arc::clone(&storage),
            cluster: Arc::clone(&cluster),
            clock: clock.clone(),
            random: random.clone(),
            engines: engines.clone(),
            spool: spool.clone(),
            recordings: Arc::clone(&recordings),
            node: node.id,
        };
        let app = Arc::new(App::new(Parts {
            config: AppConfig {
                environment: builder.environment,
                public_url: format!("http://{address}"),
                alerts_every: Duration::from_millis(50),
                ..AppConfig::default()
            },
            storage,
            cluster,
            clock: clock.clone(),
            random,
            peppers: Peppers::new(Pepper::new(1, [7; 32]), Vec::new()),
            stream_token_secret: StreamTokenSecret::new([8; 32]),
            seal: Seal::new([9; 32]),
            engines,
            hub: Hub::new(live, tasks.clone(), stop.clone()),
            spool,
            recordings,
            node,
            webhooks: Webhooks::new([10; 32], builder.egress.clone()),
            analyses: Analyses::new(builder.analysis.clone(), builder.summarizer.clone()),
            mails: Mails::new(builder.mailer.clone()),
            factors: Factors::new([10; 32], builder.single_sign_on.as_ref().map(|make| make())),
        }));
        if backing.shared.is_none() {
            app.restore_slots().await.expect("the slots of open sessions");
        }
        upkeep::start(&app, &tasks, &stop);
        let connect = ConnectConfig {
            egress: builder.egress.clone(),
            resolver: Arc::clone(&builder.resolver),
            proxy: builder.proxy.clone(),
            extra_roots: builder.roots.clone(),
        };
        kallglot_webhooks::start(&app, connect, builder.delivering, &tasks, &stop);
        let state = HttpState::new(Shared {
            app: Arc::clone(&app),
            tasks: tasks.clone(),
            stop: stop.clone(),
            stream: builder.stream.clone(),
            edge: builder.edge.clone(),
            metrics: Metrics::default(),
            join_trace: None,
            portal: Some(kallglot_portal::router(PortalState::new(kallglot_portal::Shared {
                app: Arc::clone(&app),
                stop: stop.clone(),
            }))),
        });
        tasks.spawn(kallglot_http::serve(listener, state, ServeConfig::default()));
        Self { app, clock, address, builder, backing, tasks, stop, starts }
    }

    /// `http://` and its address.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A change that the operator is about to make.
    pub fn change(&self) -> Change {
        let at = self.clock.now();
        let id = AuditId::new(at, self.app.random.as_ref());
        Change { id, who: Who::Operator, address: None, request: None, at }
    }

    /// A new organization on the plan Pro with 1000 credits.
    pub async fn organization(&self) -> Organization {
        self.organization_with(1000, |_| {}).await
    }

    /// An organization on the plan Pro that is not stored yet.
    pub(crate) fn new_organization(&self, name: &str) -> kallglot_core::organization::Organization {
        let now = self.clock.now();
        kallglot_core::organization::Organization {
            id: OrganizationId::new(now, self.app.random.as_ref()),
            name: name.into(),
            plan: Plan::Pro,
            overrides: LimitOverrides::default(),
            active: true,
            edition: Edition::Two,
            engine: None,
            vocabulary: Vocabulary::default(),
            leak_policy: LeakPolicy::default(),
            low_credits_threshold: LOW_CREDITS_THRESHOLD,
            recording: false,
            recordings_kept_days: KEPT_DAYS,
            created_at: now,
        }
    }

    /// A new organization as described, on the plan Pro unless changed.
    pub async fn organization_with(
        &self,
        credits: u32,
        change: impl FnOnce(&mut kallglot_core::organization::Organization),
    ) -> Organization {
        let mut organization = self.new_organization("Example");
        let id = organization.id;
        change(&mut organization);
        self.app.storage.create_organization(&organization, credits, &self.change()).await.expect("an organization");
        Organization { id }
    }

    /// A new key as described; its id and secret.
    pub async fn key_with(
        &self,
        organization: &Organization,
        environment: Environment,
        change: impl FnOnce(&mut ApiKey),
    ) -> (ApiKeyId, String) {
        let now = self.clock.now();
        let secret = Secret::new(environment, self.app.random.as_ref());
        let mut key = ApiKey {
            id: ApiKeyId::new(now, self.app.random.as_ref()),
            organization: organization.id,
            environment,
            name: "test".into(),
            permissions: Edition::Two.rules().standard_permissions,
            expires_at: None,
            allowed_networks: Vec::new(),
            requests_per_minute_max: None,
            edition: None,
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            last4: secret.last4().to_owned(),
            old_secret_valid_until: None,
            old_secret_last_used_at: None,
            quarantined_at: None,
        };
        change(&mut key);
        let stored = secret.stored(self.app.peppers().newest());
        self.app.storage.create_key(&key, &stored, None, &self.change()).await.expect("a key");
        (key.id, secret.expose().to_owned())
    }

    /// A client with a new key of the standard permissions.
    pub async fn client(&self, organization: &Organization, environment: Environment) -> Client {
        let (_, secret) = self.key_with(organization, environment, |_| {}).await;
        self.client_with(&secret)
    }

    /// A client with a new key of exactly these permissions.
    pub async fn client_that_may(&self, organization: &Organization, permissions: &[Permission]) -> Client {
        let permissions = PermissionSet::of(permissions);
        let (_, secret) = self.key_with(organization, Environment::Live, |key| key.permissions = permissions).await;
        self.client_with(&secret)
    }

    /// A client with this secret.
    pub fn client_with(&self, secret: &str) -> Client {
        Client::new(&self.base_url(), Some(secret)).expect("a client")
    }

    /// A client with a live key of a new organization: the usual caller.
    pub async fn test_client(&self) -> Client {
        self.client(&self.organization().await, Environment::Live).await
    }

    /// The database as another process (the command line) sees it.
    pub async fn another_process(&self) -> Arc<dyn Storage> {
        self.backing.storage().await
    }

    /// Stops it as SIGTERM does.
    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        soon("the server stops", self.tasks.wait()).await;
        self.app.stop_recording().await;
        self.app.leave().await.expect("the others are told");
        self.app.store_what_waits().await.expect("what waits is stored");
        self.app.storage.close().await.expect("the database closes");
    }

    /// Stops it and starts it again on the same data, on another port.
    pub async fn restart(self) -> Self {
        self.stop().await;
        let Self { builder, backing, clock, starts, .. } = self;
        Self::launch(builder, backing, clock, starts + 1).await
    }

    /// Stops it, and makes sure that nothing is left running.
    ///
    /// # Panics
    /// When a task does not stop or a session is still live.
    pub async fn finish(self) {
        self.stop().await;
        assert_eq!(self.app.hub.live_count(), 0, "no session is live after the end");
        assert_eq!(self.tasks.len(), 0, "no task is left");
    }
}
