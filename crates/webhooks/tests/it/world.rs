//! What the tests here share: an organization with endpoints.

use std::time::Duration;

use jiff::SignedDuration;
use kallglot_core::audit::Change;
use kallglot_core::clock::Clock as _;
use kallglot_core::delivery::{Delivery, DeliveryStatus, Webhook, WebhookState};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{AuditId, EventId, WebhookId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_core::webhook::WebhookSecret;
use kallglot_storage::{CreateWebhook, DeliveryFilter, DeliveryLog, PageRequest, Queued};
use kallglot_testkit::{Organization, ServerBuilder, TestServer, soon};
use kallglot_webhooks::WorkerConfig;

/// A server that loses patience soon.
pub(crate) fn hasty() -> ServerBuilder {
    let hurry = WorkerConfig { attempt_max: Duration::from_millis(700), ..WorkerConfig::default() };
    ServerBuilder::default().delivering(hurry)
}

/// An organization's test side.
pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) tenant: Tenant,
    pub(crate) organization: Organization,
}

impl World {
    pub(crate) async fn on(server: TestServer) -> Self {
        let organization = server.organization().await;
        let tenant = Tenant { organization: organization.id, environment: Environment::Test };
        Self { server, tenant, organization }
    }

    pub(crate) fn change(&self) -> Change {
        let at = self.server.clock.now();
        Change { id: AuditId::new(at, self.server.app.random.as_ref()), at, ..self.server.change() }
    }

    /// An endpoint with this URL, which is not looked at, and its secret.
    pub(crate) async fn endpoint(&self, url: &str) -> (WebhookId, WebhookSecret) {
        let app = &self.server.app;
        let now = self.server.clock.now();
        let id = WebhookId::new(now, app.random.as_ref());
        let secret = WebhookSecret::new(app.random.as_ref());
        let webhook = Webhook {
            id,
            tenant: self.tenant,
            url: url.into(),
            description: String::new(),
            event_types: Vec::new(),
            state: WebhookState::Enabled,
            created_at: now,
            updated_at: now,
            old_secret_valid_until: None,
            failing_since: None,
            last_success_at: None,
            last_failure_at: None,
        };
        let sealed = app.webhooks.seal(id, &secret, app.random.as_ref());
        let created = app.storage.create_webhook(&webhook, &sealed, None, &self.change()).await.unwrap();
        assert_eq!(created, CreateWebhook::Created);
        (id, secret)
    }

    /// Sends a test event to an endpoint; answers with its delivery.
    pub(crate) async fn test(&self, webhook: WebhookId) -> Delivery {
        let app = &self.server.app;
        let now = self.server.clock.now();
        let event = Event {
            id: EventId::new(now, app.random.as_ref()),
            organization: self.tenant.organization,
            environment: self.tenant.environment,
            event_type: EventType::WebhookTest,
            object: webhook.to_string(),
            session: None,
            session_sequence: None,
            detail: serde_json::Map::new(),
            at: now,
        };
        match app.storage.test_webhook(self.tenant, webhook, &event).await.unwrap() {
            Queued::Queued(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a session, which raises an event.
    pub(crate) async fn session(&self) -> String {
        let client = self.server.client(&self.organization, Environment::Test).await;
        let body =
            serde_json::json!({"mode": "bidirectional_translation", "source_language": "en", "target_language": "es"});
        let answer = client.post("/v1/sessions", body).await.unwrap();
        assert_eq!(answer.status, 201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn log(&self, delivery: &Delivery) -> DeliveryLog {
        self.server.app.storage.delivery(self.tenant, delivery.webhook, delivery.id).await.unwrap().unwrap()
    }

    pub(crate) async fn webhook(&self, id: WebhookId) -> Webhook {
        self.server.app.storage.webhook(self.tenant, id).await.unwrap().unwrap()
    }

    pub(crate) async fn deliveries(&self, id: WebhookId) -> Vec<Delivery> {
        let page = PageRequest::newest(100);
        let filter = DeliveryFilter::default();
        self.server.app.storage.deliveries(self.tenant, id, filter, &page).await.unwrap().unwrap().items
    }

    /// Waits until so many attempts of a delivery are in its log.
    pub(crate) async fn attempts(&self, delivery: &Delivery, count: usize) -> DeliveryLog {
        let there = async {
            loop {
                let log = self.log(delivery).await;
                if log.attempts.len() >= count {
                    return log;
                }
                tokio::task::yield_now().await;
            }
        };
        soon(&format!("{count} attempts are made"), there).await
    }

    /// Waits until every delivery to an endpoint has succeeded, and there are `count`.
    pub(crate) async fn all_succeed(&self, id: WebhookId, count: usize) {
        let done = async {
            loop {
                let all = self.deliveries(id).await;
                if all.len() >= count && all.iter().all(|it| it.status == DeliveryStatus::Succeeded) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("all deliveries succeed", done).await;
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.server.clock.advance(SignedDuration::from_secs(seconds));
    }
}
