//! Looking whether rules fire.
//!
//! What must stay true: a rule is looked at by one node at a time, by a claim in the database that lapses; that an alert begins or ends is stored,
//! together with its event, only under that claim. So it fires once for each time that its condition comes true, whatever nodes do or die. The
//! page and webhooks lose nothing; a mail waits in memory and is lost when its node is killed.
//!
//! A window is whole minutes. For "more than" there are two: the minutes before the one under way, and those up to now; the condition is true when
//! it is in one of them. So a rule fires within seconds, and does not go back and forth when a minute begins. "Less than" waits until
//! a window is complete, as does what happened last on its way to the database ([`SETTLES_S`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::alert::{Alert, AlertRule, Comparison, Metric, Resolution};
use kallglot_core::delivery::WEBHOOKS_MAX;
use kallglot_core::event::EventType;
use kallglot_core::id::{AlertId, EventId};
use kallglot_core::usage::{Counts, Slice};
use kallglot_storage::{AlertStep, ClaimedRule, Cursor, PageRequest, SESSION_SPANS_MAX, Span, StorageError};
use tokio_util::sync::CancellationToken;

use super::event;
use crate::App;
use crate::usage::at_a_time;

/// How long requests may take to the database.
const SETTLES_S: i64 = 15;
/// How long a claim lasts when its node dies.
const CLAIM_LAPSES_AFTER: Duration = Duration::from_secs(60);
/// Rules that are claimed at once.
const CLAIMED_MAX: u32 = 20;
/// How often it is looked for rules that are due, at most.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);
/// A rule is looked at this many times in its window, but no more often than the settings say, and no less often than [`EVERY_MAX`].
const LOOKS_PER_WINDOW: u32 = 20;
const EVERY_MAX: Duration = Duration::from_secs(5 * 60);

/// Looks at rules until `stop`.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let pause = app.config.alerts_every.min(LOOK_EVERY_MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = app.look_at_alerts().await {
            tracing::warn!(%error, "it could not be looked whether alerts fire");
        }
    }
}

impl App {
    /// Looks at the rules that are due, as many as are claimed at once.
    ///
    /// # Errors
    /// Storage's; what was claimed is looked at again when the claim has lapsed.
    pub async fn look_at_alerts(&self) -> Result<(), StorageError> {
        for claimed in self.storage.claim_alert_rules(self.node.id, CLAIM_LAPSES_AFTER, CLAIMED_MAX).await? {
            self.look_at(&claimed).await?;
        }
        Ok(())
    }

    async fn look_at(&self, claimed: &ClaimedRule) -> Result<(), StorageError> {
        let rule = &claimed.rule;
        let now = self.clock.now();
        // The value that is furthest on the side of the condition.
        let value = self.values(rule, now).await?.into_iter().reduce(|left, right| match rule.comparison {
            Comparison::Above => left.max(right),
            Comparison::Below => left.min(right),
        });
        let holds = value.is_some_and(|value| rule.comparison.holds(value, rule.threshold));
        let window = Duration::from_secs(u64::from(rule.window_minutes) * 60);
        let every = self.config.alerts_every;
        let again_after = (window / LOOKS_PER_WINDOW).clamp(every, EVERY_MAX.max(every));
        let (step, alert) = match (rule.firing, value) {
            (None, Some(value)) if holds => {
                let alert = Alert {
                    id: AlertId::new(now, self.random.as_ref()),
                    tenant: rule.tenant,
                    rule: rule.id,
                    rule_name: rule.name.clone(),
                    metric: rule.metric,
                    condition: rule.condition(),
                    value,
                    fired_at: now,
                    resolved_at: None,
                    resolution: None,
                };
                (AlertStep::Fires(alert.clone()), Some(alert))
            }
            (Some(id), _) if !holds => {
                let began = self.storage.alerts(rule.tenant, Some(rule.id), &PageRequest::newest(1)).await?;
                let over = began.items.into_iter().find(|alert| alert.id == id).map(|alert| Alert {
                    resolved_at: Some(now),
                    resolution: Some(Resolution::Recovered),
                    ..alert
                });
                (AlertStep::Resolves(id, now, Resolution::Recovered), over)
            }
            _ => (AlertStep::Stays, None),
        };
        let told = alert.as_ref().filter(|_| rule.webhook).map(|alert| {
            let event_type = if alert.resolved_at.is_none() { EventType::AlertFired } else { EventType::AlertResolved };
            let id = EventId::new(now, self.random.as_ref());
            event(event_type, rule.tenant, id, alert.id.to_string(), alert.detail(), now)
        });
        if self.storage.settle_alert_rule(claimed, &step, told.as_ref(), again_after).await?
            && let Some(alert) = alert
        {
            tracing::info!(alert = %alert.id, rule = %rule.id, over = alert.resolved_at.is_some(), "an alert began or is over");
            self.mail_alert(rule, &alert).await;
        }
        Ok(())
    }

    /// What the rule's condition is to be true of, in one of these; empty when nothing can be said, as of the latency of no requests.
    async fn values(&self, rule: &AlertRule, now: Timestamp) -> Result<Vec<i64>, StorageError> {
        let organization = rule.tenant.organization;
        let minutes = SignedDuration::from_mins(i64::from(rule.window_minutes));
        let back = |at: Timestamp, by: SignedDuration| at.checked_sub(by).unwrap_or(at);
        let sliding = Span { from: back(now, minutes), to: now };
        match rule.metric {
            Metric::CreditsRemaining => {
                let balance = self.storage.credit_balance(organization).await?;
                Ok(balance.map(|balance| balance.remaining).into_iter().collect())
            }
            Metric::CreditsSpent => {
                let flows = self.storage.credit_flows(organization, sliding, u32::MAX).await?;
                Ok(vec![flows.iter().map(|flow| flow.spent).sum()])
            }
            Metric::ConcurrentSessions => {
                let sessions = self.storage.session_spans(rule.tenant, sliding, SESSION_SPANS_MAX).await?;
                let steps = at_a_time(&sessions, &[sliding.from], sliding.to);
                Ok(steps.iter().map(|step| i64::from(step.max)).collect())
            }
            Metric::WebhooksFailing => {
                let (mut request, mut failing) = (PageRequest::newest(WEBHOOKS_MAX), 0);
                loop {
                    let page = self.storage.webhooks(rule.tenant, &request).await?;
                    failing += page.items.iter().filter(|webhook| fails(webhook)).count() as i64;
                    match page.items.last() {
                        Some(last) if page.has_more => request.cursor = Some(Cursor::StartingAfter(last.id)),
                        _ => return Ok(vec![failing]),
                    }
                }
            }
            Metric::Requests | Metric::Errors | Metric::ErrorRate | Metric::LatencyP95 | Metric::RatePressure => {
                let settled = Slice::Minute.of(back(now, SignedDuration::from_secs(SETTLES_S)));
                let complete = Span { from: back(settled, minutes), to: settled };
                // From the beginning of the first of so many minutes, of which the last is under way.
                let minute = SignedDuration::from_mins(1);
                let running = Slice::Minute.of(now);
                let running = Span { from: back(running, minutes - minute), to: running + minute };
                let mut values = Vec::new();
                values.extend(request_value(rule, &self.counts(rule, complete).await?));
                if rule.comparison == Comparison::Above {
                    values.extend(request_value(rule, &self.counts(rule, running).await?));
                }
                Ok(values)
            }
        }
    }

    async fn counts(&self, rule: &AlertRule, span: Span) -> Result<Counts, StorageError> {
        let mut counts = Counts::default();
        for (_, usage) in self.storage.usage(rule.tenant, rule.key, Slice::Minute, span).await? {
            match &rule.route {
                Some(route) => usage.routes.get(route).into_iter().for_each(|here| counts.merge(here)),
                None => counts.merge(&usage.all()),
            }
        }
        Ok(counts)
    }

    /// Tells who is to get a mail that an alert began or is over.
    async fn mail_alert(&self, rule: &AlertRule, alert: &Alert) {
        if !self.mails.is_configured() {
            return;
        }
        let mut to = rule.mail_to.clone();
        if rule.mail_members {
            match self.storage.members(rule.tenant.organization).await {
                Ok(members) => to.extend(members.into_iter().map(|member| member.person.email)),
                Err(error) => tracing::warn!(%error, "an alert's mail goes only to the addresses in its rule"),
            }
        }
        to.sort_unstable();
        to.dedup();
        let state = if alert.resolved_at.is_some() { "Over" } else { "Alert" };
        let subject = format!("{state}: {}", alert.rule_name);
        let text = self.alert_text(rule, alert);
        for to in to {
            if let Err(error) = self.send_mail(&to, &subject, &text) {
                tracing::warn!(%error, alert = %alert.id, "an alert's mail is not sent");
            }
        }
    }

    fn alert_text(&self, rule: &AlertRule, alert: &Alert) -> String {
        let unit = alert.metric.unit();
        let Alert { rule_name, condition, fired_at, .. } = alert;
        let over = alert.resolved_at.map(|at| format!("It is over since {at:.0}.\n")).unwrap_or_default();
        format!(
            "{rule_name}\n\n{condition}.\nIt came true at {fired_at:.0} with {}.\n{over}\nAll alerts: {}/portal/{}/{}/alerts\n",
            unit.text(alert.value),
            self.config.public_url,
            rule.tenant.organization,
            rule.tenant.environment,
        )
    }
}

fn fails(webhook: &kallglot_core::delivery::Webhook) -> bool {
    use kallglot_core::delivery::{DisabledReason, WebhookState};
    match webhook.state {
        WebhookState::Enabled => webhook.failing_since.is_some(),
        WebhookState::Disabled { reason, .. } => reason != DisabledReason::ByOwner,
    }
}

/// What a rule on requests looks at; none when there were none and so nothing can be said.
fn request_value(rule: &AlertRule, counts: &Counts) -> Option<i64> {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let totals = counts.totals();
    match rule.metric {
        Metric::Requests => Some(whole(totals.requests)),
        Metric::Errors => Some(whole(rule.code.as_deref().map_or(totals.errors, |code| counts.with_code(code)))),
        Metric::ErrorRate => {
            let share = u128::from(totals.errors) * 1000;
            share.checked_div(u128::from(totals.requests)).map(|share| i64::try_from(share).unwrap_or(i64::MAX))
        }
        Metric::LatencyP95 => counts.latencies.quantile_us(950).map(|us| i64::from(us.div_ceil(1000))),
        Metric::RatePressure => Some(i64::from(totals.pressure_permille)),
        Metric::ConcurrentSessions | Metric::CreditsSpent | Metric::CreditsRemaining | Metric::WebhooksFailing => None,
    }
}
