//! Alerts: their rules, who looks at which, and what became of them.

use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::alert::{Alert, AlertRule, Resolution};
use kallglot_core::audit::Change;
use kallglot_core::event::Event;
use kallglot_core::id::{AlertId, AlertRuleId, NodeId, PersonId};
use kallglot_core::session::Tenant;

use crate::error::StorageError;
use crate::page::{Page, PageRequest};

type Result<T> = std::result::Result<T, StorageError>;

/// A rule that a node looks at. It holds until the rule is changed or deleted, or another node has claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedRule {
    /// The rule, as it is.
    pub rule: AlertRule,
    /// Who looks at it.
    pub node: NodeId,
    /// How many claims there have been of it.
    pub claim: i64,
}

/// What follows from looking at a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertStep {
    /// Everything stays as it is.
    Stays,
    /// The condition came true: this alert begins.
    Fires(Alert),
    /// The condition is true no more: the rule's alert is over at this time.
    Resolves(AlertId, Timestamp, Resolution),
}

/// Alerts and their rules.
#[async_trait]
pub trait AlertRepository: Send + Sync {
    /// Stores a new rule, with an audit entry. False, and nothing is done, when the tenant has
    /// [`RULES_MAX`](kallglot_core::alert::RULES_MAX).
    async fn create_alert_rule(&self, rule: &AlertRule, change: &Change) -> Result<bool>;

    /// A rule of this tenant.
    async fn alert_rule(&self, tenant: Tenant, id: AlertRuleId) -> Result<Option<AlertRule>>;

    /// All rules of this tenant, oldest first.
    async fn alert_rules(&self, tenant: Tenant) -> Result<Vec<AlertRule>>;

    /// Gives the rule the properties of `rule`, with an audit entry of what is different after it, if anything is. Its alert is over then; and
    /// `resolved` is raised, of which object and detail are filled in here, if the rule told webhooks. Answers with the rule as it is now.
    async fn update_alert_rule(&self, rule: &AlertRule, resolved: &Event, change: &Change)
    -> Result<Option<AlertRule>>;

    /// Deletes a rule, with an audit entry; its alert is over as in [`Self::update_alert_rule`]. Alerts stay. False when there is no such rule.
    async fn delete_alert_rule(
        &self,
        tenant: Tenant,
        id: AlertRuleId,
        resolved: &Event,
        change: &Change,
    ) -> Result<bool>;

    /// A page of the tenant's alerts, newest first; of one rule, if one is given.
    async fn alerts(
        &self,
        tenant: Tenant,
        rule: Option<AlertRuleId>,
        page: &PageRequest<AlertId>,
    ) -> Result<Page<Alert>>;

    /// How many alerts of the tenant began after this person last saw the list, and when that was.
    async fn alerts_unseen(&self, tenant: Tenant, person: PersonId) -> Result<(u32, Option<Timestamp>)>;

    /// This person has seen the list at `at`; an earlier time than the stored one is passed over.
    async fn alerts_seen(&self, tenant: Tenant, person: PersonId, at: Timestamp) -> Result<()>;

    /// Claims up to `limit` rules of all tenants that are due, the longest due first. A claim lapses after `lapses_after`, by the
    /// database's clock.
    async fn claim_alert_rules(&self, node: NodeId, lapses_after: Duration, limit: u32) -> Result<Vec<ClaimedRule>>;

    /// Does what follows from looking at a claimed rule, raises `event`, gives the claim back, and lets the rule be due after `again_after`: all
    /// or nothing. False, and nothing is done, when the claim does not hold any more.
    async fn settle_alert_rule(
        &self,
        claimed: &ClaimedRule,
        step: &AlertStep,
        event: Option<&Event>,
        again_after: Duration,
    ) -> Result<bool>;
}
