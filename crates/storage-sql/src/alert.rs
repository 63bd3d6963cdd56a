//! Alerts and their rules, in their tables.
//!
//! A claim is a node, a number and a time by the database's clock. Whoever looked at a rule changes it only while the claim is the last one, so
//! of two nodes that both think they have it one changes something; and a rule that is changed meanwhile has no claim any more.

use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::alert::{Alert, AlertRule, Comparison, Metric, RULES_MAX, Resolution};
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::event::Event;
use kallglot_core::id::{AlertId, AlertRuleId, NodeId, PersonId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_core::usage::Route;
use kallglot_storage::changes::{Changes, of_alert_rule};
use kallglot_storage::{AlertStep, ClaimedRule, Page, PageRequest};

use crate::audit::Subject;
use crate::log::raise_event;
use crate::node::span_us;
use crate::query::page;
use crate::row::{Columns, spaced, us};
use crate::sql::{Row, Sql, ToValue as _};
use crate::webhook::number;
use crate::{Result, audit, params};

const SELECT_RULE: &str = "SELECT id, organization_id, environment, name, metric, key_id, method, route, code, comparison, \
    threshold, window_minutes, mail_members, mail_to, webhook, enabled, created_at_us, updated_at_us, firing, claims FROM alert_rules";

const SELECT: &str = "SELECT id, organization_id, environment, rule_id, rule_name, metric, condition, value, fired_at_us, \
    resolved_at_us, resolution FROM alerts";

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2";

/// How long alerts are kept, in microseconds: thirteen months, as usage.
const KEPT_US: i64 = kallglot_core::usage::HOURS_KEPT_DAYS * 24 * 60 * 60 * 1_000_000;

fn read_rule(row: &dyn Row) -> Result<AlertRule> {
    let columns = Columns::of(row, "alert_rules", "id")?;
    let (method, route): (Option<String>, Option<String>) = (columns.get("method")?, columns.get("route")?);
    let mail_to: String = columns.get("mail_to")?;
    Ok(AlertRule {
        id: columns.parsed("id")?,
        tenant: Tenant {
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
        },
        name: columns.get("name")?,
        metric: columns.named("metric", Metric::parse)?,
        key: columns.parsed_if_any("key_id")?,
        route: method.zip(route).map(|(method, route)| Route { method: method.into(), route: route.into() }),
        code: columns.get("code")?,
        comparison: columns.named("comparison", Comparison::parse)?,
        threshold: columns.get("threshold")?,
        window_minutes: columns.get("window_minutes")?,
        mail_members: columns.get("mail_members")?,
        mail_to: mail_to.split_whitespace().map(str::to_owned).collect(),
        webhook: columns.get("webhook")?,
        enabled: columns.get("enabled")?,
        created_at: columns.time("created_at_us")?,
        updated_at: columns.time("updated_at_us")?,
        firing: columns.parsed_if_any("firing")?,
    })
}

fn read(row: &dyn Row) -> Result<Alert> {
    let columns = Columns::of(row, "alerts", "id")?;
    let resolution: Option<String> = columns.get("resolution")?;
    let resolution = resolution.map(|text| Resolution::parse(&text).ok_or_else(|| columns.corrupt("resolution")));
    Ok(Alert {
        id: columns.parsed("id")?,
        tenant: Tenant {
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
        },
        rule: columns.parsed("rule_id")?,
        rule_name: columns.get("rule_name")?,
        metric: columns.named("metric", Metric::parse)?,
        condition: columns.get("condition")?,
        value: columns.get("value")?,
        fired_at: columns.time("fired_at_us")?,
        resolved_at: columns.time_if_any("resolved_at_us")?,
        resolution: resolution.transpose()?,
    })
}

async fn audit_entry<S: Sql>(
    db: &S,
    change: &Change,
    action: AuditAction,
    rule: &AlertRule,
    changes: &Changes,
) -> Result<()> {
    let Tenant { organization, environment } = rule.tenant;
    let object = rule.id.to_string();
    let subject = Subject { organization, environment: Some(environment), object: &object };
    audit::append(db, change, action, &subject, changes).await
}

/// See [`kallglot_storage::AlertRepository::create_alert_rule`].
pub async fn create<S: Sql>(db: &S, rule: &AlertRule, change: &Change) -> Result<bool> {
    let (organization, environment) = (rule.tenant.organization.to_string(), rule.tenant.environment.as_str());
    // Whoever makes another one waits, so that none is one too many.
    db.lock("SELECT 1 FROM organizations WHERE id = ?1", params![organization]).await?;
    let count = format!("SELECT count(*) FROM alert_rules WHERE {OF_TENANT}");
    let count = db.first(&count, params![organization, environment], |row| number(row, 0)).await?;
    if count.unwrap_or(0) >= i64::from(RULES_MAX) {
        return Ok(false);
    }
    db.execute(
        "INSERT INTO alert_rules (id, organization_id, environment, name, metric, key_id, method, route, code, comparison, threshold, \
         window_minutes, mail_members, mail_to, webhook, enabled, created_at_us, updated_at_us) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        params![
            rule.id.to_string(),
            organization,
            environment,
            rule.name,
            rule.metric.as_str(),
            rule.key.map(|key| key.to_string()),
            rule.route.as_ref().map(|route| route.method.as_ref()),
            rule.route.as_ref().map(|route| route.route.as_ref()),
            rule.code,
            rule.comparison.as_str(),
            rule.threshold,
            rule.window_minutes,
            rule.mail_members,
            spaced(&rule.mail_to),
            rule.webhook,
            rule.enabled,
            us(rule.created_at),
            us(rule.updated_at),
        ],
    )
    .await?;
    audit_entry(db, change, AuditAction::AlertRuleCreated, rule, &of_alert_rule(None, rule)).await?;
    Ok(true)
}

/// See [`kallglot_storage::AlertRepository::alert_rule`].
pub async fn rule<S: Sql>(db: &S, tenant: Tenant, id: AlertRuleId) -> Result<Option<AlertRule>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let sql = format!("{SELECT_RULE} WHERE {OF_TENANT} AND id = ?3");
    db.first(&sql, params![organization, environment, id.to_string()], read_rule).await
}

/// See [`kallglot_storage::AlertRepository::alert_rules`].
pub async fn rules<S: Sql>(db: &S, tenant: Tenant) -> Result<Vec<AlertRule>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let sql = format!("{SELECT_RULE} WHERE {OF_TENANT} ORDER BY id LIMIT ?3");
    db.every(&sql, params![organization, environment, RULES_MAX], read_rule).await
}

/// The rule as it is, locked.
async fn locked<S: Sql>(db: &S, tenant: Tenant, id: AlertRuleId) -> Result<Option<AlertRule>> {
    db.lock("SELECT 1 FROM alert_rules WHERE id = ?1", params![id.to_string()]).await?;
    rule(db, tenant, id).await
}

/// Ends the alert of a rule, which is locked, and raises the event of that.
async fn end_alert<S: Sql>(db: &S, rule: &AlertRule, resolved: &Event, at: Timestamp) -> Result<()> {
    let Some(id) = rule.firing else { return Ok(()) };
    resolve(db, id, at, Resolution::RuleChanged).await?;
    if rule.webhook
        && let Some(alert) = db.first(&format!("{SELECT} WHERE id = ?1"), params![id.to_string()], read).await?
    {
        let event = Event { object: id.to_string(), detail: alert.detail(), ..resolved.clone() };
        raise_event(db, &event).await?;
    }
    Ok(())
}

async fn resolve<S: Sql>(db: &S, id: AlertId, at: Timestamp, resolution: Resolution) -> Result<()> {
    let sql = "UPDATE alerts SET resolved_at_us = ?2, resolution = ?3 WHERE id = ?1 AND resolved_at_us IS NULL";
    db.execute(sql, params![id.to_string(), us(at), resolution.as_str()]).await
}

/// See [`kallglot_storage::AlertRepository::update_alert_rule`].
pub async fn update<S: Sql>(db: &S, new: &AlertRule, resolved: &Event, change: &Change) -> Result<Option<AlertRule>> {
    let Some(before) = locked(db, new.tenant, new.id).await? else { return Ok(None) };
    let after = AlertRule { created_at: before.created_at, firing: None, ..new.clone() };
    let changes = of_alert_rule(Some(&before), &after);
    if changes.is_empty() {
        return Ok(Some(before));
    }
    db.execute(
        "UPDATE alert_rules SET name = ?2, metric = ?3, key_id = ?4, method = ?5, route = ?6, code = ?7, comparison = ?8, threshold = ?9, \
         window_minutes = ?10, mail_members = ?11, mail_to = ?12, webhook = ?13, enabled = ?14, updated_at_us = ?15, firing = NULL, \
         claimed_by = NULL, claimed_at_us = NULL, due_at_us = 0 WHERE id = ?1",
        params![
            after.id.to_string(),
            after.name,
            after.metric.as_str(),
            after.key.map(|key| key.to_string()),
            after.route.as_ref().map(|route| route.method.as_ref()),
            after.route.as_ref().map(|route| route.route.as_ref()),
            after.code,
            after.comparison.as_str(),
            after.threshold,
            after.window_minutes,
            after.mail_members,
            spaced(&after.mail_to),
            after.webhook,
            after.enabled,
            us(after.updated_at),
        ],
    )
    .await?;
    audit_entry(db, change, AuditAction::AlertRuleUpdated, &after, &changes).await?;
    end_alert(db, &before, resolved, change.at).await?;
    Ok(Some(after))
}

/// See [`kallglot_storage::AlertRepository::delete_alert_rule`].
pub async fn delete<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: AlertRuleId,
    resolved: &Event,
    change: &Change,
) -> Result<bool> {
    let Some(rule) = locked(db, tenant, id).await? else { return Ok(false) };
    db.execute("DELETE FROM alert_rules WHERE id = ?1", params![id.to_string()]).await?;
    let gone = Changes::from([("name".to_owned(), (rule.name.clone(), String::new()))]);
    audit_entry(db, change, AuditAction::AlertRuleDeleted, &rule, &gone).await?;
    end_alert(db, &rule, resolved, change.at).await?;
    Ok(true)
}

/// See [`kallglot_storage::AlertRepository::alerts`].
pub async fn alerts<S: Sql>(
    db: &S,
    tenant: Tenant,
    rule: Option<AlertRuleId>,
    request: &PageRequest<AlertId>,
) -> Result<Page<Alert>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let rule = rule.map(|id| id.to_string());
    let mut params = vec![organization.to_value(), environment.to_value()];
    let mut filter = OF_TENANT.to_owned();
    if let Some(rule) = &rule {
        params.push(rule.to_value());
        filter.push_str(" AND rule_id = ?3");
    }
    page(db, SELECT, &filter, &params, request, read).await
}

/// See [`kallglot_storage::AlertRepository::alerts_unseen`].
pub async fn unseen<S: Sql>(db: &S, tenant: Tenant, person: PersonId) -> Result<(u32, Option<Timestamp>)> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let seen = "SELECT person_id, seen_at_us FROM alert_views WHERE organization_id = ?1 AND environment = ?2 AND person_id = ?3";
    let seen = db
        .first(seen, params![organization, environment, person.to_string()], |row| {
            Columns::of(row, "alert_views", "person_id")?.time("seen_at_us")
        })
        .await?;
    let sql = format!("SELECT count(*) FROM alerts WHERE {OF_TENANT} AND fired_at_us > ?3");
    let after = seen.map_or(i64::MIN, us);
    let count = db.first(&sql, params![organization, environment, after], |row| number(row, 0)).await?;
    Ok((u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX), seen))
}

/// See [`kallglot_storage::AlertRepository::alerts_seen`].
pub async fn seen<S: Sql>(db: &S, tenant: Tenant, person: PersonId, at: Timestamp) -> Result<()> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.execute(
        "INSERT INTO alert_views (person_id, organization_id, environment, seen_at_us) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (person_id, organization_id, environment) DO UPDATE SET seen_at_us = excluded.seen_at_us \
         WHERE alert_views.seen_at_us < excluded.seen_at_us",
        params![person.to_string(), organization, environment, us(at)],
    )
    .await
}

/// See [`kallglot_storage::AlertRepository::claim_alert_rules`].
pub async fn claim<S: Sql>(db: &S, node: NodeId, lapses_after: Duration, limit: u32) -> Result<Vec<ClaimedRule>> {
    let now_us = S::DIALECT.now_us;
    let due =
        format!("enabled = 1 AND due_at_us <= {now_us} AND (claimed_by IS NULL OR {now_us} - claimed_at_us >= ?2)");
    let lapses_after = span_us(lapses_after);
    let candidates = format!("SELECT id FROM alert_rules WHERE {due} ORDER BY due_at_us, id LIMIT ?1");
    let id = |row: &dyn Row| Columns::of(row, "alert_rules", "id")?.get::<String>("id");
    let mut claimed = Vec::new();
    for id in db.every(&candidates, params![limit, lapses_after], id).await? {
        // Looks again, at the row as it is now: of two that try, one has it.
        let take = format!(
            "UPDATE alert_rules SET claimed_by = ?3, claimed_at_us = {now_us}, claims = claims + 1 WHERE id = ?1 AND {due}"
        );
        if db.change(&take, params![id, lapses_after, node.to_string()]).await? == 0 {
            continue;
        }
        let read = |row: &dyn Row| {
            let claim = Columns::of(row, "alert_rules", "id")?.get("claims")?;
            Ok(ClaimedRule { rule: read_rule(row)?, node, claim })
        };
        claimed.extend(db.first(&format!("{SELECT_RULE} WHERE id = ?1"), params![id], read).await?);
    }
    Ok(claimed)
}

/// See [`kallglot_storage::AlertRepository::settle_alert_rule`].
pub async fn settle<S: Sql>(
    db: &S,
    claimed: &ClaimedRule,
    step: &AlertStep,
    event: Option<&Event>,
    again_after: Duration,
) -> Result<bool> {
    let firing = match step {
        AlertStep::Stays => claimed.rule.firing,
        AlertStep::Fires(alert) => Some(alert.id),
        AlertStep::Resolves(..) => None,
    };
    let sql = format!(
        "UPDATE alert_rules SET firing = ?4, claimed_by = NULL, claimed_at_us = NULL, due_at_us = {} + ?5 \
         WHERE id = ?1 AND claimed_by = ?2 AND claims = ?3",
        S::DIALECT.now_us
    );
    let (id, node, firing) =
        (claimed.rule.id.to_string(), claimed.node.to_string(), firing.map(|alert| alert.to_string()));
    if db.change(&sql, params![id, node, claimed.claim, firing, span_us(again_after)]).await? == 0 {
        return Ok(false);
    }
    match step {
        AlertStep::Stays => {}
        AlertStep::Fires(alert) => {
            db.execute(
                "INSERT INTO alerts (id, organization_id, environment, rule_id, rule_name, metric, condition, value, fired_at_us) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    alert.id.to_string(),
                    alert.tenant.organization.to_string(),
                    alert.tenant.environment.as_str(),
                    alert.rule.to_string(),
                    alert.rule_name,
                    alert.metric.as_str(),
                    alert.condition,
                    alert.value,
                    us(alert.fired_at),
                ],
            )
            .await?;
        }
        AlertStep::Resolves(alert, at, resolution) => resolve(db, *alert, *at, *resolution).await?,
    }
    if let Some(event) = event {
        raise_event(db, event).await?;
    }
    Ok(true)
}

/// Deletes alerts that have had their time at `now`, at most `limit`.
pub(crate) async fn forget<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<u64> {
    let sql = "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE fired_at_us < ?1 AND resolved_at_us IS NOT NULL \
        ORDER BY fired_at_us LIMIT ?2)";
    db.change(sql, params![us(now).saturating_sub(KEPT_US), limit]).await
}
