//! Alerts: rules on what is measured of an organization's environment, and what became of them.
//!
//! What must stay true: a rule has at most one alert that is not resolved; an alert begins when its rule's condition comes true and ends when
//! it is true no more, or when the rule is changed, switched off or deleted.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::event::time;
use crate::id::{AlertId, AlertRuleId, ApiKeyId};
use crate::session::{Tenant, named};
use crate::usage::Route;

/// Most rules of an environment of an organization.
pub const RULES_MAX: u32 = 50;
/// Longest window of a rule, in minutes.
pub const WINDOW_MINUTES_MAX: u32 = 24 * 60;
/// Most addresses that a rule sends mail to, beside the members.
pub const ADDRESSES_MAX: usize = 10;

named! {
    /// What a rule watches.
    Metric {
        /// How many requests there were in the window.
        Requests = "requests",
        /// How many were refused or failed, all or with one error code.
        Errors = "errors",
        /// Which share was refused or failed, in thousandths.
        ErrorRate = "error_rate",
        /// Within how many milliseconds 95 of 100 requests were answered.
        LatencyP95 = "latency_p95",
        /// The highest share of a request limit that was used up, in thousandths.
        RatePressure = "rate_limit_pressure",
        /// Most sessions at one time.
        ConcurrentSessions = "concurrent_sessions",
        /// How many credits were spent, less what was refunded. The organization's, whatever the environment.
        CreditsSpent = "credits_spent",
        /// How many credits are left. The organization's, whatever the environment.
        CreditsRemaining = "credits_remaining",
        /// How many webhook endpoints refuse or don't answer, or were switched off for that.
        WebhooksFailing = "webhooks_failing",
    }
}

/// What a number is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain count.
    Count,
    /// Thousandths of a whole; people read per cent.
    Permille,
    /// Milliseconds.
    Milliseconds,
}

impl Unit {
    /// A value as people read it.
    pub fn text(self, value: i64) -> String {
        match self {
            Self::Count => value.to_string(),
            Self::Permille if value % 10 == 0 => format!("{} %", value / 10),
            Self::Permille => format!("{}.{} %", value / 10, (value % 10).abs()),
            Self::Milliseconds => format!("{value} ms"),
        }
    }
}

impl Metric {
    /// What its values are.
    pub const fn unit(self) -> Unit {
        match self {
            Self::ErrorRate | Self::RatePressure => Unit::Permille,
            Self::LatencyP95 => Unit::Milliseconds,
            _ => Unit::Count,
        }
    }

    /// Whether it is made of requests, and so can be of one key or one route.
    pub const fn is_of_requests(self) -> bool {
        matches!(self, Self::Requests | Self::Errors | Self::ErrorRate | Self::LatencyP95 | Self::RatePressure)
    }

    /// Whether it is looked at over a window; the others are as they stand.
    pub const fn has_window(self) -> bool {
        !matches!(self, Self::CreditsRemaining | Self::WebhooksFailing)
    }

    /// As people read it, at the beginning of a sentence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Requests => "Requests",
            Self::Errors => "Requests with an error",
            Self::ErrorRate => "Share of requests with an error",
            Self::LatencyP95 => "Time within which 95 % of requests were answered",
            Self::RatePressure => "Highest share of the request limit in use",
            Self::ConcurrentSessions => "Sessions at the same time",
            Self::CreditsSpent => "Credits spent",
            Self::CreditsRemaining => "Credits left",
            Self::WebhooksFailing => "Webhook endpoints that fail",
        }
    }
}

named! {
    /// On which side of its threshold a value has to be.
    Comparison {
        /// More than the threshold.
        Above = "above",
        /// Less than the threshold.
        Below = "below",
    }
}

impl Comparison {
    /// Whether a value is on that side.
    pub const fn holds(self, value: i64, threshold: i64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::Below => value < threshold,
        }
    }
}

named! {
    /// Why an alert is over.
    Resolution {
        /// The value is on the other side of the threshold again.
        Recovered = "recovered",
        /// Its rule was changed, switched off or deleted.
        RuleChanged = "rule_changed",
    }
}

/// What is watched, and who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    /// Its id.
    pub id: AlertRuleId,
    /// Whose.
    pub tenant: Tenant,
    /// What its owner calls it.
    pub name: String,
    /// What it watches.
    pub metric: Metric,
    /// Of which key alone.
    pub key: Option<ApiKeyId>,
    /// Of which route alone.
    pub route: Option<Route>,
    /// Of which error code alone; for [`Metric::Errors`].
    pub code: Option<String>,
    /// On which side of the threshold it fires.
    pub comparison: Comparison,
    /// In the metric's unit.
    pub threshold: i64,
    /// Over how many minutes, 1 to [`WINDOW_MINUTES_MAX`].
    pub window_minutes: u32,
    /// Whether the organization's members get a mail.
    pub mail_members: bool,
    /// Who else gets a mail; at most [`ADDRESSES_MAX`].
    pub mail_to: Vec<String>,
    /// Whether the events `alert.fired` and `alert.resolved` are raised.
    pub webhook: bool,
    /// Whether it is looked at.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its alert that is not resolved.
    pub firing: Option<AlertId>,
}

impl AlertRule {
    /// When it fires, in a sentence.
    pub fn condition(&self) -> String {
        let mut text = self.metric.title().to_owned();
        if let Some(code) = &self.code {
            text.push_str(&format!(" `{code}`"));
        }
        if let Some(route) = &self.route {
            text.push_str(&format!(" of {route}"));
        }
        if let Some(key) = self.key {
            text.push_str(&format!(" with key {key}"));
        }
        let side = match self.comparison {
            Comparison::Above => "more than",
            Comparison::Below => "less than",
        };
        text.push_str(&format!(": {side} {}", self.metric.unit().text(self.threshold)));
        match (self.metric.has_window(), self.window_minutes) {
            (false, _) => {}
            (true, 1) => text.push_str(" in a minute"),
            (true, minutes) if minutes % 60 == 0 => text.push_str(&format!(" in {} h", minutes / 60)),
            (true, minutes) => text.push_str(&format!(" in {minutes} minutes")),
        }
        text
    }
}

/// A time during which a rule's condition was true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whose.
    pub tenant: Tenant,
    /// Of which rule, which may be gone.
    pub rule: AlertRuleId,
    /// What the rule was called.
    pub rule_name: String,
    /// What the rule watched.
    pub metric: Metric,
    /// The rule's condition in a sentence.
    pub condition: String,
    /// The value that made it true, in the metric's unit.
    pub value: i64,
    /// When it was seen to be true.
    pub fired_at: Timestamp,
    /// When it was over, if it is.
    pub resolved_at: Option<Timestamp>,
    /// Why it was over, if it is.
    pub resolution: Option<Resolution>,
}

impl Alert {
    /// What events tell of it.
    pub fn detail(&self) -> Map<String, Value> {
        let detail = [
            ("rule_id", json!(self.rule.to_string())),
            ("name", json!(self.rule_name)),
            ("metric", json!(self.metric.as_str())),
            ("condition", json!(self.condition)),
            ("value", json!(self.value)),
            ("fired_at", json!(time(self.fired_at))),
            ("resolved_at", json!(self.resolved_at.map(time))),
            ("resolution", json!(self.resolution.map(Resolution::as_str))),
        ];
        detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OrganizationId;
    use crate::session::Environment;

    #[test]
    fn a_condition_is_a_sentence() {
        let mut rule = AlertRule {
            id: AlertRuleId::from_bits(1),
            tenant: Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live },
            name: "Errors".into(),
            metric: Metric::ErrorRate,
            key: None,
            route: Some(Route { method: "POST".into(), route: "/v1/sessions".into() }),
            code: None,
            comparison: Comparison::Above,
            threshold: 55,
            window_minutes: 5,
            mail_members: true,
            mail_to: vec![],
            webhook: true,
            enabled: true,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            firing: None,
        };
        let text = "Share of requests with an error of POST /v1/sessions: more than 5.5 % in 5 minutes";
        assert_eq!(rule.condition(), text);
        rule = AlertRule { metric: Metric::CreditsRemaining, comparison: Comparison::Below, route: None, ..rule };
        assert_eq!(rule.condition(), "Credits left: less than 55");
    }
}
