//! The repository of alerts, made of this crate's functions.

/// Implements [`AlertRepository`](kallglot_storage::AlertRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! alert_repository {
    ($storage:ty) => {
        const _: () = {
            use std::time::Duration;

            use $crate::alert;
            use $crate::names::core::Timestamp;
            use $crate::names::core::alert::{Alert, AlertRule};
            use $crate::names::core::audit::Change;
            use $crate::names::core::event::Event;
            use $crate::names::core::id::{AlertId, AlertRuleId, NodeId, PersonId};
            use $crate::names::core::session::Tenant;
            use $crate::names::storage::{AlertRepository, AlertStep, ClaimedRule, Page, PageRequest, StorageError};

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl AlertRepository for $storage {
                async fn create_alert_rule(&self, rule: &AlertRule, change: &Change) -> Result<bool> {
                    self.write((rule.clone(), *change), |db, (rule, change)| Box::pin(alert::create(db, rule, change)))
                        .await
                }

                async fn alert_rule(&self, tenant: Tenant, id: AlertRuleId) -> Result<Option<AlertRule>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(alert::rule(db, *tenant, *id))).await
                }

                async fn alert_rules(&self, tenant: Tenant) -> Result<Vec<AlertRule>> {
                    self.read(tenant, |db, tenant| Box::pin(alert::rules(db, *tenant))).await
                }

                async fn update_alert_rule(
                    &self,
                    rule: &AlertRule,
                    resolved: &Event,
                    change: &Change,
                ) -> Result<Option<AlertRule>> {
                    self.write((rule.clone(), resolved.clone(), *change), |db, (rule, resolved, change)| {
                        Box::pin(alert::update(db, rule, resolved, change))
                    })
                    .await
                }

                async fn delete_alert_rule(
                    &self,
                    tenant: Tenant,
                    id: AlertRuleId,
                    resolved: &Event,
                    change: &Change,
                ) -> Result<bool> {
                    self.write((tenant, id, resolved.clone(), *change), |db, (tenant, id, resolved, change)| {
                        Box::pin(alert::delete(db, *tenant, *id, resolved, change))
                    })
                    .await
                }

                async fn alerts(
                    &self,
                    tenant: Tenant,
                    rule: Option<AlertRuleId>,
                    page: &PageRequest<AlertId>,
                ) -> Result<Page<Alert>> {
                    self.read((tenant, rule, *page), |db, (tenant, rule, page)| {
                        Box::pin(alert::alerts(db, *tenant, *rule, page))
                    })
                    .await
                }

                async fn alerts_unseen(&self, tenant: Tenant, person: PersonId) -> Result<(u32, Option<Timestamp>)> {
                    self.read((tenant, person), |db, (tenant, person)| Box::pin(alert::unseen(db, *tenant, *person)))
                        .await
                }

                async fn alerts_seen(&self, tenant: Tenant, person: PersonId, at: Timestamp) -> Result<()> {
                    self.write((tenant, person, at), |db, (tenant, person, at)| {
                        Box::pin(alert::seen(db, *tenant, *person, *at))
                    })
                    .await
                }

                async fn claim_alert_rules(
                    &self,
                    node: NodeId,
                    lapses_after: Duration,
                    limit: u32,
                ) -> Result<Vec<ClaimedRule>> {
                    self.write((node, lapses_after, limit), |db, (node, lapses_after, limit)| {
                        Box::pin(alert::claim(db, *node, *lapses_after, *limit))
                    })
                    .await
                }

                async fn settle_alert_rule(
                    &self,
                    claimed: &ClaimedRule,
                    step: &AlertStep,
                    event: Option<&Event>,
                    again_after: Duration,
                ) -> Result<bool> {
                    self.write(
                        (claimed.clone(), step.clone(), event.cloned(), again_after),
                        |db, (claimed, step, event, again_after)| {
                            Box::pin(alert::settle(db, claimed, step, event.as_ref(), *again_after))
                        },
                    )
                    .await
                }
            }
        };
    };
}
