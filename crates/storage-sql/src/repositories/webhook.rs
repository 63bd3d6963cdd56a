//! The repository of webhook endpoints and deliveries, made of this crate's functions.

/// Implements [`WebhookRepository`](kallglot_storage::WebhookRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! webhook_repository {
    ($storage:ty) => {
        const _: () = {
            use std::time::Duration;

            use $crate::names::core::Timestamp;
            use $crate::names::core::audit::Change;
            use $crate::names::core::delivery::{Delivery, Webhook};
            use $crate::names::core::event::Event;
            use $crate::names::core::id::{DeliveryId, NodeId, WebhookId};
            use $crate::names::core::session::Tenant;
            use $crate::names::storage::{
                ClaimedWebhook, CreateWebhook, DeliveryBacklog, DeliveryFilter, DeliveryLog, DueDeliveries, FannedOut,
                NewAnswer, Page, PageRequest, Queued, StorageError, Want, WebhookReport, WebhookRepository,
                WebhookUpdate, WebhookWork,
            };
            use $crate::{delivery, webhook};

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl WebhookRepository for $storage {
                async fn create_webhook(
                    &self,
                    webhook: &Webhook,
                    sealed_secret: &[u8],
                    idempotency: Option<&NewAnswer>,
                    change: &Change,
                ) -> Result<CreateWebhook> {
                    let arguments = (webhook.clone(), sealed_secret.to_vec(), idempotency.cloned(), *change);
                    self.write(arguments, |db, (webhook, secret, answer, change)| {
                        Box::pin(webhook::create(db, webhook, secret, answer.as_ref(), change))
                    })
                    .await
                }

                async fn webhook(&self, tenant: Tenant, id: WebhookId) -> Result<Option<Webhook>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(webhook::by_id(db, *tenant, *id))).await
                }

                async fn webhooks(&self, tenant: Tenant, page: &PageRequest<WebhookId>) -> Result<Page<Webhook>> {
                    self.read((tenant, *page), |db, (tenant, page)| Box::pin(webhook::of_tenant(db, *tenant, page)))
                        .await
                }

                async fn update_webhook(
                    &self,
                    tenant: Tenant,
                    id: WebhookId,
                    update: &WebhookUpdate,
                    change: &Change,
                ) -> Result<Option<Webhook>> {
                    let arguments = (tenant, id, update.clone(), *change);
                    self.write(arguments, |db, (tenant, id, update, change)| {
                        Box::pin(webhook::update(db, *tenant, *id, update, change))
                    })
                    .await
                }

                async fn rotate_webhook_secret(
                    &self,
                    tenant: Tenant,
                    id: WebhookId,
                    sealed_secret: &[u8],
                    old_valid_until: Timestamp,
                    change: &Change,
                ) -> Result<Option<Webhook>> {
                    let arguments = (tenant, id, sealed_secret.to_vec(), old_valid_until, *change);
                    self.write(arguments, |db, (tenant, id, secret, until, change)| {
                        Box::pin(webhook::rotate(db, *tenant, *id, secret, *until, change))
                    })
                    .await
                }

                async fn delete_webhook(&self, tenant: Tenant, id: WebhookId, change: &Change) -> Result<bool> {
                    let arguments = (tenant, id, *change);
                    self.write(arguments, |db, (tenant, id, change)| {
                        Box::pin(webhook::delete(db, *tenant, *id, change))
                    })
                    .await
                }

                async fn test_webhook(&self, tenant: Tenant, id: WebhookId, event: &Event) -> Result<Queued> {
                    let arguments = (tenant, id, event.clone());
                    self.write(arguments, |db, (tenant, id, event)| Box::pin(webhook::test(db, *tenant, *id, event)))
                        .await
                }

                async fn deliveries(
                    &self,
                    tenant: Tenant,
                    webhook: WebhookId,
                    filter: DeliveryFilter,
                    page: &PageRequest<DeliveryId>,
                ) -> Result<Option<Page<Delivery>>> {
                    let arguments = (tenant, webhook, filter, *page);
                    self.read(arguments, |db, (tenant, webhook, filter, page)| {
                        Box::pin(delivery::of_webhook(db, *tenant, *webhook, *filter, page))
                    })
                    .await
                }

                async fn delivery(
                    &self,
                    tenant: Tenant,
                    webhook: WebhookId,
                    id: DeliveryId,
                ) -> Result<Option<DeliveryLog>> {
                    let arguments = (tenant, webhook, id);
                    self.read(arguments, |db, (tenant, webhook, id)| {
                        Box::pin(delivery::log(db, *tenant, *webhook, *id))
                    })
                    .await
                }

                async fn redeliver(
                    &self,
                    tenant: Tenant,
                    webhook: WebhookId,
                    id: DeliveryId,
                    at: Timestamp,
                ) -> Result<Queued> {
                    let arguments = (tenant, webhook, id, at);
                    self.write(arguments, |db, (tenant, webhook, id, at)| {
                        Box::pin(delivery::redeliver(db, *tenant, *webhook, *id, *at))
                    })
                    .await
                }

                async fn fan_out(&self, now: Timestamp) -> Result<FannedOut> {
                    self.write(now, |db, now| Box::pin(delivery::fan_out(db, *now))).await
                }

                async fn webhook_work(&self, node: NodeId, now: Timestamp) -> Result<WebhookWork> {
                    self.read((node, now), |db, (node, now)| Box::pin(webhook::work(db, *node, *now))).await
                }

                async fn claim_webhooks(
                    &self,
                    node: NodeId,
                    now: Timestamp,
                    limit: u32,
                ) -> Result<Vec<ClaimedWebhook>> {
                    let arguments = (node, now, limit);
                    self.write(arguments, |db, (node, now, limit)| Box::pin(webhook::claim(db, *node, *now, *limit)))
                        .await
                }

                async fn claimed_webhook(&self, node: NodeId, id: WebhookId) -> Result<Option<ClaimedWebhook>> {
                    self.read((node, id), |db, (node, id)| Box::pin(webhook::claimed(db, *node, *id))).await
                }

                async fn release_webhooks(&self, node: NodeId, webhooks: &[WebhookId]) -> Result<()> {
                    let arguments = (node, webhooks.to_vec());
                    self.write(arguments, |db, (node, webhooks)| Box::pin(webhook::release(db, *node, webhooks))).await
                }

                async fn release_webhooks_of_others(&self, node: NodeId, away_after: Duration) -> Result<u64> {
                    let arguments = (node, away_after);
                    self.write(arguments, |db, (node, away_after)| {
                        Box::pin(webhook::release_of_others(db, *node, *away_after))
                    })
                    .await
                }

                async fn due_deliveries(&self, node: NodeId, now: Timestamp, wants: &[Want]) -> Result<DueDeliveries> {
                    let arguments = (node, now, wants.to_vec());
                    self.read(arguments, |db, (node, now, wants)| Box::pin(delivery::due(db, *node, *now, wants))).await
                }

                async fn keep_attempts(&self, reports: &[WebhookReport]) -> Result<Vec<WebhookId>> {
                    self.write(reports.to_vec(), |db, reports| Box::pin(delivery::keep_attempts(db, reports))).await
                }

                async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog> {
                    self.read(now, |db, now| Box::pin(delivery::backlog(db, *now))).await
                }
            }
        };
    };
}
