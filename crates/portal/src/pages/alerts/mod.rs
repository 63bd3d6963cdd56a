//! Alerts: what fired and what is over, and the rules of which they come.

mod form;

use axum::extract::{Path, State};
use axum::response::Redirect;
use kallglot_core::Timestamp;
use kallglot_core::alert::{Alert, AlertRule, Resolution};
use kallglot_core::id::AlertRuleId;
use kallglot_core::person::Act;
use kallglot_storage::PageRequest;
use maud::{Markup, html};

use crate::PortalState;
use crate::components::{Tone, act, badge, empty, table, time};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::list::{cursor, pages};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Alerts on a page.
const PAGE_ITEMS: u32 = 25;

pub(crate) fn routes() -> Vec<Route> {
    let manage = Access::Member(Act::ManageAlerts);
    vec![
        Route::get("/{organization}/{environment}/alerts", Access::Member(Act::View), list),
        Route::post("/{organization}/{environment}/alerts/seen", Access::Member(Act::View), seen),
        Route::get("/{organization}/{environment}/alerts/new", manage, form::new),
        Route::post("/{organization}/{environment}/alerts/new", manage, form::create),
        Route::get("/{organization}/{environment}/alerts/{rule}", Access::Member(Act::View), show),
        Route::get("/{organization}/{environment}/alerts/{rule}/edit", manage, form::edit),
        Route::post("/{organization}/{environment}/alerts/{rule}/edit", manage, form::update),
        Route::get("/{organization}/{environment}/alerts/{rule}/delete", manage, form::ask_to_delete),
        Route::post("/{organization}/{environment}/alerts/{rule}/delete", manage, form::delete),
    ]
}

/// The rule that the path names.
async fn find(state: &PortalState, member: &Member, id: &str) -> Result<AlertRule, Refusal> {
    let id: AlertRuleId = id.parse().map_err(|_| Refusal::not_found())?;
    state.app.storage.alert_rule(member.tenant, id).await?.ok_or_else(Refusal::not_found)
}

fn state_badge(rule: &AlertRule) -> Markup {
    match (rule.enabled, rule.firing) {
        (false, _) => badge(Tone::Plain, "Off"),
        (true, None) => badge(Tone::Good, "Quiet"),
        (true, Some(_)) => badge(Tone::Bad, "Firing"),
    }
}

/// Who hears of it beside this page.
fn channels(state: &PortalState, rule: &AlertRule) -> String {
    let mut told = vec!["this page".to_owned()];
    if rule.mail_members {
        told.push("mail to members".into());
    }
    if !rule.mail_to.is_empty() {
        told.push(format!("mail to {}", rule.mail_to.join(", ")));
    }
    if rule.webhook {
        told.push("webhooks".into());
    }
    let mails = rule.mail_members || !rule.mail_to.is_empty();
    let note = if mails && !state.app.mails.is_configured() { " (this server sends no mail)" } else { "" };
    format!("{}{note}", told.join(", "))
}

fn history(member: &Member, alerts: &[Alert], seen: Option<Timestamp>) -> Markup {
    let rows = html! {
        @for alert in alerts {
            tr {
                th scope="row" {
                    a href=(member.url(&format!("/alerts/{}", alert.rule))) { (alert.rule_name) }
                    @if seen.is_none_or(|seen| alert.fired_at > seen) { " " (badge(Tone::Busy, "New")) }
                }
                td { (alert.condition) }
                td.number { (alert.metric.unit().text(alert.value)) }
                td { (time(alert.fired_at)) }
                td {
                    @match (alert.resolved_at, alert.resolution) {
                        (Some(at), Some(Resolution::RuleChanged)) => { (time(at)) " " small { "the rule was changed" } }
                        (Some(at), _) => (time(at)),
                        (None, _) => (badge(Tone::Bad, "Firing")),
                    }
                }
            }
        }
    };
    table("Alerts, newest first", &["Rule", "Condition", "Value", "Since (UTC)", "Over (UTC)"], rows)
}

async fn list(State(state): State<PortalState>, member: Member, query: Form) -> Result<Page, Refusal> {
    let storage = &state.app.storage;
    let person = member.known.person.id;
    let rules = storage.alert_rules(member.tenant).await?;
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&query)? };
    let found = storage.alerts(member.tenant, None, &request).await?;
    let (unseen, seen) = storage.alerts_unseen(member.tenant, person).await?;
    let may = member.may(Act::ManageAlerts);
    let rows = html! {
        @for rule in &rules {
            tr {
                th scope="row" { a href=(member.url(&format!("/alerts/{}", rule.id))) { (rule.name) } }
                td { (state_badge(rule)) }
                td { (rule.condition()) }
                td { (channels(&state, rule)) }
            }
        }
    };
    let firing = rules.iter().filter(|rule| rule.firing.is_some()).count();
    let body = html! {
        p { "Rules watch this environment and tell you when something crosses a line, and again when it is over. "
            "A rule is looked at several times in its window: every 15 seconds at most, every 5 minutes at least." }
        @if firing > 0 {
            p.note.bad { (firing) @if firing == 1 { " rule is firing." } @else { " rules are firing." } }
        }
        div.row {
            h2 { "Rules" }
            @if may { a.button.primary href=(member.url("/alerts/new")) { "New rule" } }
        }
        @if rules.is_empty() {
            @let action = member.url("/alerts/new");
            (empty("There are no rules yet. A good first one: the share of requests with an error is more than 5 % in 5 minutes.",
                may.then_some((action.as_str(), "Make a rule"))))
        } @else {
            (table("Rules", &["Name", "State", "Fires when", "Tells"], rows))
        }
        div.row {
            h2 id="alerts" { "Alerts" @if unseen > 0 { " " (badge(Tone::Busy, &format!("{unseen} new"))) } }
            @if unseen > 0 { (act(&member.visitor, &member.url("/alerts/seen"), "Mark all as seen", "small")) }
        }
        @if found.items.is_empty() {
            (empty("No rule has fired yet. Alerts are kept for 13 months.", None))
        } @else {
            (history(&member, &found.items, seen))
            (pages(&found, &request, &member.url("/alerts?"), |alert| alert.id))
        }
    };
    Ok(page(&member, Area::Alerts, "Alerts", body))
}

async fn seen(State(state): State<PortalState>, member: Member) -> Result<Redirect, Refusal> {
    let now = state.app.clock.now();
    state.app.storage.alerts_seen(member.tenant, member.known.person.id, now).await?;
    Ok(Redirect::to(&member.url("/alerts")))
}

async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, rule)): Path<(String, String, String)>,
    query: Form,
) -> Result<Page, Refusal> {
    let rule = find(&state, &member, &rule).await?;
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&query)? };
    let found = state.app.storage.alerts(member.tenant, Some(rule.id), &request).await?;
    let at = |path: &str| member.url(&format!("/alerts/{}{path}", rule.id));
    let rows = [
        ("State", state_badge(&rule)),
        ("Fires when", html! { (rule.condition()) }),
        ("Tells", html! { (channels(&state, &rule)) }),
        ("Made", time(rule.created_at)),
        ("Changed", time(rule.updated_at)),
    ];
    let body = html! {
        p { a href=(member.url("/alerts")) { "All alerts and rules" } }
        div.panel { (crate::components::properties(&rows)) }
        @if member.may(Act::ManageAlerts) {
            div.row {
                a.button href=(at("/edit")) { "Change" }
                a.button.danger href=(at("/delete")) { "Delete" }
            }
        }
        h2 { "Alerts of this rule" }
        @if found.items.is_empty() {
            (empty("It has not fired yet.", None))
        } @else {
            (history(&member, &found.items, Some(Timestamp::MAX)))
            (pages(&found, &request, &at("?"), |alert| alert.id))
        }
    };
    Ok(page(&member, Area::Alerts, &rule.name, body))
}
