//! Webhook endpoints and the deliveries of events to them: what can be stored and asked, by intent.
//!
//! Nodes share the work by endpoint: a node claims endpoints for which something is due, and delivers what is due to them. So a delivery
//! needs no claim of its own, an endpoint's connections have one bound whatever the number of nodes, and the backlog of one endpoint is never
//! in the way of another's. A claim holds while its node is there ([`NodeRepository`](crate::NodeRepository)); a delivery that was under way when its
//! node died is simply still pending.

use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::audit::Change;
use kallglot_core::delivery::{Attempt, Delivery, DeliveryStatus, Webhook};
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{DeliveryId, EventId, NodeId, WebhookId};
use kallglot_core::session::Tenant;

use crate::error::StorageError;
use crate::page::{Page, PageRequest};
use crate::repository::{NewAnswer, StoredAnswer};

type Result<T> = std::result::Result<T, StorageError>;

/// Most events that one call of [`WebhookRepository::fan_out`] passes on, and most deliveries, but for the last event's.
pub const FAN_OUT_MAX: u32 = 1000;
/// Most deliveries of one endpoint that one call of [`WebhookRepository::due_deliveries`] answers with.
pub const DUE_MAX: u32 = 256;

/// An endpoint's secrets, sealed for the endpoint's id: whoever has the database alone can't read them.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecrets {
    /// The current one.
    pub current: Vec<u8>,
    /// The one before it, and until when it signs too.
    pub old: Option<(Vec<u8>, Timestamp)>,
}

impl std::fmt::Debug for SealedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedSecrets").finish_non_exhaustive()
    }
}

/// What became of a new endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateWebhook {
    /// It is there.
    Created,
    /// There is an answer under the request's idempotency key; nothing was done.
    Known(StoredAnswer),
    /// The tenant has [`kallglot_core::delivery::WEBHOOKS_MAX`] already; nothing was done.
    TooMany,
}

/// What can be changed of an endpoint. None leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookUpdate {
    /// A new URL, which the caller has judged.
    pub url: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// Other events; empty for all.
    pub event_types: Option<Vec<EventType>>,
    /// Whether events are sent to it. Who enables it takes back why it was disabled; what was pending goes on.
    pub enabled: Option<bool>,
}

/// Which deliveries of an endpoint are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only those that stand so.
    pub status: Option<DeliveryStatus>,
    /// Only the one of this event.
    pub event: Option<EventId>,
}

/// A delivery with its attempts and its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLog {
    /// The delivery.
    pub delivery: Delivery,
    /// Its attempts, the first one first.
    pub attempts: Vec<Attempt>,
    /// What is delivered; none when the event is not stored any more.
    pub event: Option<Event>,
}

/// What became of a request for a test event or a redelivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queued {
    /// It will be sent.
    Queued(Delivery),
    /// Nothing is sent to an endpoint that is disabled.
    Disabled,
    /// The event is not stored any more.
    EventForgotten,
    /// There is no such endpoint or delivery.
    NotFound,
}

/// What one call of [`WebhookRepository::fan_out`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FannedOut {
    /// How many events it passed on, also to nobody.
    pub events: u32,
    /// How many deliveries came of them.
    pub deliveries: u32,
}

/// What there is to do, as one look tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookWork {
    /// Whether there are events that have not been fanned out.
    pub events: bool,
    /// Whether something is due to an endpoint that no node has claimed.
    pub unclaimed: bool,
    /// The endpoints that this node has claimed.
    pub claimed: Vec<ClaimedState>,
}

/// How an endpoint stands that a node has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedState {
    /// The endpoint.
    pub id: WebhookId,
    /// Grows with each change of the endpoint or its secrets.
    pub version: i64,
    /// When its next delivery is due; in the past for one that is, also if it is under way.
    pub due_at: Option<Timestamp>,
}

/// An endpoint as a node needs it to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedWebhook {
    /// The endpoint.
    pub webhook: Webhook,
    /// With what its deliveries are signed.
    pub secrets: SealedSecrets,
    /// See [`ClaimedState::version`].
    pub version: i64,
}

/// What a node wants to deliver to an endpoint next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The endpoint.
    pub webhook: WebhookId,
    /// The deliveries that the node has in hand already.
    pub held: Vec<DeliveryId>,
    /// How many more; at most [`DUE_MAX`].
    pub limit: u32,
}

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// To which endpoint.
    pub webhook: WebhookId,
    /// What is to be delivered: a place in [`DueDeliveries::events`].
    pub event_place: i64,
    /// How many attempts have failed since it was begun.
    pub tries: u32,
    /// When it was begun: made, or asked for again.
    pub begun_at: Timestamp,
    /// When it was due.
    pub due_at: Timestamp,
}

/// Deliveries that are due, and what they deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueDeliveries {
    /// The deliveries, for each endpoint those that have been due for longest first.
    pub deliveries: Vec<DueDelivery>,
    /// Their events by place; one that is not stored any more is missing.
    pub events: Vec<(i64, Event)>,
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint has accepted it.
    Succeeded,
    /// The attempt failed; the next one is due then.
    Retry(Timestamp),
    /// The attempt failed, and there won't be another one.
    GivenUp,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// What happened.
    pub attempt: Attempt,
    /// What follows.
    pub verdict: Verdict,
}

/// Attempts at one endpoint that are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookReport {
    /// The endpoint.
    pub webhook: WebhookId,
    /// The attempts in the order of their ends.
    pub attempts: Vec<AttemptReport>,
    /// Whether the endpoint has said that it is gone.
    pub gone: bool,
    /// By what it is disabled, should that follow.
    pub change: Change,
}

/// How much there is to deliver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryBacklog {
    /// Deliveries that are due.
    pub due: u64,
    /// Since when the one is due that has been for longest.
    pub oldest_due_at: Option<Timestamp>,
    /// Deliveries that are pending, due or not.
    pub pending: u64,
    /// Endpoints of all organizations that events are sent to.
    pub enabled_webhooks: u64,
}

/// Webhook endpoints and deliveries.
#[async_trait]
pub trait WebhookRepository: Send + Sync {
    /// Stores a new endpoint with its secret, an audit entry, and the idempotency record if there is one. It gets the events that are
    /// raised from now on. `Conflict` when its id is taken or the organization does not exist.
    async fn create_webhook(
        &self,
        webhook: &Webhook,
        sealed_secret: &[u8],
        idempotency: Option<&NewAnswer>,
        change: &Change,
    ) -> Result<CreateWebhook>;

    /// An endpoint of this tenant.
    async fn webhook(&self, tenant: Tenant, id: WebhookId) -> Result<Option<Webhook>>;

    /// A page of the tenant's endpoints, newest first.
    async fn webhooks(&self, tenant: Tenant, page: &PageRequest<WebhookId>) -> Result<Page<Webhook>>;

    /// Changes what `update` names, with an audit entry of what is different after it (none when nothing is). Answers with the
    /// endpoint as it is now. One that is enabled again gets the events from now on.
    async fn update_webhook(
        &self,
        tenant: Tenant,
        id: WebhookId,
        update: &WebhookUpdate,
        change: &Change,
    ) -> Result<Option<Webhook>>;

    /// Gives it a new secret, with an audit entry. The one before it signs too until `old_valid_until`; one that was older signs no more.
    async fn rotate_webhook_secret(
        &self,
        tenant: Tenant,
        id: WebhookId,
        sealed_secret: &[u8],
        old_valid_until: Timestamp,
        change: &Change,
    ) -> Result<Option<Webhook>>;

    /// Deletes it, with an audit entry; its deliveries are no one's from now on, and forgotten in their time. False when there is none.
    async fn delete_webhook(&self, tenant: Tenant, id: WebhookId, change: &Change) -> Result<bool>;

    /// Raises `event` for this endpoint alone, whatever types it wants, and queues its delivery.
    async fn test_webhook(&self, tenant: Tenant, id: WebhookId, event: &Event) -> Result<Queued>;

    /// A page of an endpoint's deliveries, newest event first. None when there is no such endpoint.
    async fn deliveries(
        &self,
        tenant: Tenant,
        webhook: WebhookId,
        filter: DeliveryFilter,
        page: &PageRequest<DeliveryId>,
    ) -> Result<Option<Page<Delivery>>>;

    /// A delivery to an endpoint of this tenant, with its attempts.
    async fn delivery(&self, tenant: Tenant, webhook: WebhookId, id: DeliveryId) -> Result<Option<DeliveryLog>>;

    /// Begins a delivery anew, also one that has succeeded: it is due at `at`, and if that fails, tried again as long as a new one.
    async fn redeliver(&self, tenant: Tenant, webhook: WebhookId, id: DeliveryId, at: Timestamp) -> Result<Queued>;

    /// Makes deliveries of events that have none yet, for each of the tenant's enabled endpoints that want them, due at `now`: of some
    /// events, in their order. Several nodes may do this at once; each event is fanned out once.
    async fn fan_out(&self, now: Timestamp) -> Result<FannedOut>;

    /// What there is to do for this node at `now`.
    async fn webhook_work(&self, node: NodeId, now: Timestamp) -> Result<WebhookWork>;

    /// Claims up to `limit` endpoints for this node to which something is due at `now` and that no node has claimed: those first that
    /// have waited longest.
    async fn claim_webhooks(&self, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<ClaimedWebhook>>;

    /// One endpoint that this node has claimed, as it is now; none when it has lost it.
    async fn claimed_webhook(&self, node: NodeId, id: WebhookId) -> Result<Option<ClaimedWebhook>>;

    /// Gives back what this node has claimed of these.
    async fn release_webhooks(&self, node: NodeId, webhooks: &[WebhookId]) -> Result<()>;

    /// Gives back what nodes have claimed that are away, but for `node` itself; answers with how many endpoints that were.
    async fn release_webhooks_of_others(&self, node: NodeId, away_after: Duration) -> Result<u64>;

    /// Of each endpoint that this node has claimed, the deliveries that are due at `now` and that it does not hold yet.
    async fn due_deliveries(&self, node: NodeId, now: Timestamp, wants: &[Want]) -> Result<DueDeliveries>;

    /// Keeps what came of attempts, and how their endpoints stand after them. An endpoint that is gone, or has failed for
    /// [`kallglot_core::delivery::FAILING_MAX`], is disabled, with an audit entry and the event `webhook.disabled`. What has been kept
    /// already is kept once, so a caller that does not know whether it succeeded asks again. Answers with the endpoints that were disabled.
    async fn keep_attempts(&self, reports: &[WebhookReport]) -> Result<Vec<WebhookId>>;

    /// How much there is to deliver at `now`, of all tenants.
    async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog>;
}
