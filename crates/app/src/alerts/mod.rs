//! Alerts: rules as people at the portal make them, and looking whether they fire ([`watch`]).

pub mod watch;

use kallglot_core::alert::{ADDRESSES_MAX, AlertRule, Comparison, Metric, RULES_MAX, WINDOW_MINUTES_MAX};
use kallglot_core::audit::Change;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{AlertRuleId, ApiKeyId, EventId};
use kallglot_core::organization::{NAME_CHARS_MAX, valid_name};
use kallglot_core::session::Tenant;
use kallglot_core::usage::Route;
use serde_json::Map;

use crate::{App, Error};

/// Largest threshold: far from where numbers end.
const THRESHOLD_MAX: i64 = 1_000_000_000_000;

/// What a rule is asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRule {
    /// What its owner calls it.
    pub name: String,
    /// What it watches.
    pub metric: Metric,
    /// Of which key alone.
    pub key: Option<ApiKeyId>,
    /// Of which route alone.
    pub route: Option<Route>,
    /// Of which error code alone.
    pub code: Option<String>,
    /// On which side of the threshold it fires.
    pub comparison: Comparison,
    /// In the metric's unit.
    pub threshold: i64,
    /// Over how many minutes.
    pub window_minutes: u32,
    /// Whether members get a mail.
    pub mail_members: bool,
    /// Who else gets a mail.
    pub mail_to: Vec<String>,
    /// Whether events are raised.
    pub webhook: bool,
    /// Whether it is looked at.
    pub enabled: bool,
}

fn not_found() -> Error {
    Error::with(ErrorCode::NotFound, "There is no such alert rule.")
}

impl App {
    /// A rule that makes sense, as it is asked for; parts of it that its metric does not have are left out.
    async fn valid_rule(&self, tenant: Tenant, asked: AskedRule) -> Result<AskedRule, Error> {
        let wrong = |field: &str, message: String| Err(Error::invalid(field, message));
        let name = asked.name.trim().to_owned();
        if !valid_name(&name) {
            return wrong("name", format!("A rule needs a name of at most {NAME_CHARS_MAX} characters."));
        }
        if !(1..=WINDOW_MINUTES_MAX).contains(&asked.window_minutes) {
            return wrong("window_minutes", format!("The window is 1 to {WINDOW_MINUTES_MAX} minutes."));
        }
        if !(0..=THRESHOLD_MAX).contains(&asked.threshold) {
            return wrong("threshold", format!("The threshold is a number from 0 to {THRESHOLD_MAX}."));
        }
        if asked.mail_to.len() > ADDRESSES_MAX {
            return wrong("mail_to", format!("A rule can send mail to at most {ADDRESSES_MAX} addresses."));
        }
        if let Some(address) = asked.mail_to.iter().find(|address| !crate::mail::is_address(address)) {
            return wrong("mail_to", format!("“{address}” is no mail address."));
        }
        let of_requests = asked.metric.is_of_requests();
        let key = asked.key.filter(|_| of_requests);
        if let Some(key) = key
            && self.storage.key(tenant, key).await?.is_none()
        {
            return wrong("key", "There is no such key here.".into());
        }
        let code = asked.code.filter(|_| asked.metric == Metric::Errors);
        if let Some(code) = &code
            && ErrorCode::parse(code).is_none()
        {
            return wrong("code", format!("There is no error code `{code}`."));
        }
        Ok(AskedRule { name, key, route: asked.route.filter(|_| of_requests), code, ..asked })
    }

    /// Makes a rule. At most [`RULES_MAX`] in an environment.
    ///
    /// # Errors
    /// 422 for what is wrong with it; storage's.
    pub async fn create_alert_rule(
        &self,
        tenant: Tenant,
        change: &Change,
        asked: AskedRule,
    ) -> Result<AlertRule, Error> {
        let asked = self.valid_rule(tenant, asked).await?;
        let id = AlertRuleId::new(change.at, self.random.as_ref());
        let rule = rule_of(id, tenant, asked, change);
        if !self.storage.create_alert_rule(&rule, change).await? {
            let message = format!("There are {RULES_MAX} rules in this environment already. Delete one first.");
            return Err(Error::with(ErrorCode::ValidationFailed, message));
        }
        Ok(rule)
    }

    /// Changes a rule to what is asked; its alert is over then.
    ///
    /// # Errors
    /// 404; 422 for what is wrong with it; storage's.
    pub async fn update_alert_rule(
        &self,
        tenant: Tenant,
        change: &Change,
        id: AlertRuleId,
        asked: AskedRule,
    ) -> Result<AlertRule, Error> {
        let asked = self.valid_rule(tenant, asked).await?;
        let rule = rule_of(id, tenant, asked, change);
        let updated = self.storage.update_alert_rule(&rule, &resolved_by(tenant, change), change).await?;
        updated.ok_or_else(not_found)
    }

    /// Deletes a rule; its alerts stay, the one that is not over is over then.
    ///
    /// # Errors
    /// 404; storage's.
    pub async fn delete_alert_rule(&self, tenant: Tenant, change: &Change, id: AlertRuleId) -> Result<(), Error> {
        match self.storage.delete_alert_rule(tenant, id, &resolved_by(tenant, change), change).await? {
            true => Ok(()),
            false => Err(not_found()),
        }
    }
}

fn rule_of(id: AlertRuleId, tenant: Tenant, asked: AskedRule, change: &Change) -> AlertRule {
    AlertRule {
        id,
        tenant,
        name: asked.name,
        metric: asked.metric,
        key: asked.key,
        route: asked.route,
        code: asked.code,
        comparison: asked.comparison,
        threshold: asked.threshold,
        window_minutes: asked.window_minutes,
        mail_members: asked.mail_members,
        mail_to: asked.mail_to,
        webhook: asked.webhook,
        enabled: asked.enabled,
        created_at: change.at,
        updated_at: change.at,
        firing: None,
    }
}

/// The event which tells that a change of its rule has ended an alert; storage fills in which.
fn resolved_by(tenant: Tenant, change: &Change) -> Event {
    event(EventType::AlertResolved, tenant, change.event_id(), String::new(), Map::new(), change.at)
}

fn event(
    event_type: EventType,
    tenant: Tenant,
    id: EventId,
    object: String,
    detail: Map<String, serde_json::Value>,
    at: kallglot_core::Timestamp,
) -> Event {
    Event {
        id,
        organization: tenant.organization,
        environment: tenant.environment,
        event_type,
        object,
        session: None,
        session_sequence: None,
        detail,
        at,
    }
}
