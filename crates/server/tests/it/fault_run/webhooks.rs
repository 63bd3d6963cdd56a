//! Webhooks: whatever happened reaches the receiver of its organization, and is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kallglot_app::webhooks::Webhooks as Sealing;
use kallglot_core::clock::Clock as _;
use kallglot_core::delivery::{Delivery, DeliveryStatus, Webhook, WebhookState};
use kallglot_core::egress::EgressPolicy;
use kallglot_core::event::Event;
use kallglot_core::id::{AuditId, EventId, OrganizationId, WebhookId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_core::webhook::WebhookSecret;
use kallglot_storage::{CreateWebhook, Storage};
use kallglot_testkit::{Behaviour, FakeClock, FakeRandom, FakeReceiver};
use tokio::time::{Instant, interval};

use super::capability::{Capability, Stored};
use super::cluster::Cluster;
use super::organization::Organization;
use super::report::Report;
use crate::load::Chance;

/// Longest that the last deliveries may take when nothing fails any more: those that a dead node had in hand are taken over meanwhile.
const ARRIVE_MAX: Duration = Duration::from_secs(60);

/// See above. It has no clients of its own: whatever others do makes events.
pub(super) struct Webhooks {
    receiver: FakeReceiver,
    /// One endpoint for each organization; its path at the receiver is its number.
    endpoints: Vec<(Tenant, WebhookId)>,
    /// Events from before there were endpoints.
    before: BTreeSet<EventId>,
    cluster: Arc<Cluster>,
    report: Arc<Report>,
}

/// A receiver whose certificate the nodes trust. Before they are started.
pub(super) async fn receiver(cluster: &Cluster) -> FakeReceiver {
    let (receiver, certificate) = FakeReceiver::start_tls(Behaviour::ok()).await;
    std::fs::write(cluster.trusted(), certificate).unwrap();
    receiver
}

async fn events(storage: &dyn Storage) -> BTreeSet<EventId> {
    let (mut all, mut last) = (BTreeSet::new(), 0);
    loop {
        let more = storage.events(last, 1000).await.unwrap();
        let Some((newest, _)) = more.last() else { return all };
        last = *newest;
        all.extend(more.into_iter().map(|(_, event)| event.id));
    }
}

impl Webhooks {
    /// Makes an endpoint for each of these organizations.
    pub(super) async fn new(
        receiver: FakeReceiver,
        organizations: &[&Organization],
        cluster: &Arc<Cluster>,
        report: &Arc<Report>,
    ) -> Self {
        let storage = cluster.storage().await;
        let key = std::fs::read_to_string(cluster.secret("webhooks")).unwrap();
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&key.trim()[2 * index..2 * index + 2], 16).unwrap();
        }
        let (sealing, random) = (Sealing::new(bytes, EgressPolicy::default()), FakeRandom::new(7));
        let at = FakeClock::default().now();
        let mut endpoints = Vec::new();
        for (number, organization) in organizations.iter().enumerate() {
            let organization: OrganizationId = organization.id.parse().unwrap();
            let tenant = Tenant { organization, environment: Environment::Live };
            let id = WebhookId::new(at, &random);
            let webhook = Webhook {
                id,
                tenant,
                url: format!("https://{}/{number}", receiver.address),
                description: String::new(),
                event_types: Vec::new(),
                state: WebhookState::Enabled,
                created_at: at,
                updated_at: at,
                old_secret_valid_until: None,
                failing_since: None,
                last_success_at: None,
                last_failure_at: None,
            };
            let sealed = sealing.seal(id, &WebhookSecret::new(&random), &random);
            let who = kallglot_core::audit::Who::Operator;
            let change =
                kallglot_core::audit::Change { id: AuditId::new(at, &random), who, address: None, request: None, at };
            let created = storage.create_webhook(&webhook, &sealed, None, &change).await.unwrap();
            assert_eq!(created, CreateWebhook::Created);
            endpoints.push((tenant, id));
        }
        let before = events(storage.as_ref()).await;
        Self { receiver, endpoints, before, cluster: Arc::clone(cluster), report: Arc::clone(report) }
    }

    /// Which events have come to each endpoint, and how many times.
    fn received(&self) -> Vec<BTreeMap<String, u64>> {
        let mut all = vec![BTreeMap::new(); self.endpoints.len()];
        for received in self.receiver.received() {
            let number: usize = received.line.trim_start_matches("POST /").parse().unwrap();
            *all[number].entry(received.headers["webhook-id"].clone()).or_default() += 1;
        }
        all
    }

    fn missing<'a>(&self, events: &'a [Event]) -> Vec<(usize, &'a Event)> {
        let received = self.received();
        let wanted = events.iter().filter(|event| !self.before.contains(&event.id)).filter_map(|event| {
            let number = self.endpoints.iter().position(|(tenant, _)| *tenant == event.tenant())?;
            (!received[number].contains_key(&event.id.to_string())).then_some((number, event))
        });
        wanted.collect()
    }
}

#[async_trait]
impl Capability for Webhooks {
    fn name(&self) -> &'static str {
        "webhooks"
    }

    fn clients(&self) -> usize {
        0
    }

    async fn act(&self, _: &mut Chance) {}

    async fn settle(&self, _: &mut Chance) {}

    async fn check(&self, stored: &Stored, _: &mut Chance) {
        let until = Instant::now() + ARRIVE_MAX;
        let mut look = interval(Duration::from_millis(200));
        while !self.missing(&stored.events).is_empty() && Instant::now() < until {
            look.tick().await;
        }
        for (number, event) in self.missing(&stored.events) {
            self.report.violation(format!("{:?} did not come to endpoint {number}", event));
        }
        // What has come is in the log, as accepted, and what has not happened has not come.
        let storage = self.cluster.storage().await;
        let known: BTreeMap<String, &Event> = stored.events.iter().map(|event| (event.id.to_string(), event)).collect();
        let mut repeated = 0;
        for ((tenant, webhook), received) in self.endpoints.iter().zip(self.received()) {
            for (id, times) in received {
                repeated += times - 1;
                let Some(event) = known.get(&id).filter(|event| event.tenant() == *tenant) else {
                    // Raised after everything was read; it is another organization's only if it is known.
                    self.report.must(!known.contains_key(&id), || format!("{id} came to another organization"));
                    continue;
                };
                let delivery = Delivery::id_of(event.id, *webhook);
                let accepted = async {
                    loop {
                        let log = storage.delivery(*tenant, *webhook, delivery).await.unwrap();
                        let done = log.as_ref().is_some_and(|it| it.delivery.status == DeliveryStatus::Succeeded);
                        if done || Instant::now() >= until {
                            return log;
                        }
                        look.tick().await;
                    }
                };
                let log = accepted.await;
                let fine = log
                    .as_ref()
                    .is_some_and(|it| it.delivery.status == DeliveryStatus::Succeeded && !it.attempts.is_empty());
                self.report.must(fine, || format!("the delivery of {id} is not accounted for: {log:?}"));
                self.report.add("checked", "deliveries", 1);
            }
        }
        self.report.add("webhooks", "delivered more than once", repeated);
    }
}
