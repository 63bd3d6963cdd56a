//! The home of an organization's environment: where to begin when nothing is there yet, else how things stand and what needs attention.

use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use kallglot_app::keys::portal;
use kallglot_app::usage::Period;
use kallglot_core::alert::AlertRule;
use kallglot_core::api_key::{ApiKey, KeyStatus};
use kallglot_core::delivery::{DisabledReason, Webhook, WebhookState};
use kallglot_core::organization::Organization;
use kallglot_core::person::Act;
use kallglot_core::session::Environment;
use kallglot_core::usage::Totals;
use kallglot_storage::PageRequest;
use maud::{Markup, html};

use super::keys::{expires_soon, organization, status_badge, url_of};
use super::quickstart;
use crate::PortalState;
use crate::components::{Tone, badge, count, figure, table, time, time_or};
use crate::guard::Member;
use crate::layout::{Area, Page, page_with};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Most keys and endpoints that are looked through for what needs attention: the newest.
const LOOKED_MAX: u32 = 100;
/// Sessions that are listed.
const SESSIONS_SHOWN: u32 = 5;
/// A key that has not been used for this long is pointed at.
const IDLE_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::get("/{organization}/{environment}", Access::Member(Act::View), show)]
}

async fn show(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    let app = &state.app;
    let tenant = member.tenant;
    let now = app.clock.now();
    let organization = organization(&state, &member).await?;
    let quickstart = match tenant.environment {
        Environment::Test => Some(app.quickstart(tenant).await?).filter(|found| !found.is_complete()),
        Environment::Live => None,
    };
    let keys = app.storage.keys(tenant, &PageRequest::newest(LOOKED_MAX)).await?.items;
    let webhooks = app.storage.webhooks(tenant, &PageRequest::newest(LOOKED_MAX)).await?.items;
    let rules = app.storage.alert_rules(tenant).await?;
    let sessions = app.storage.sessions(tenant, &PageRequest::newest(SESSIONS_SHOWN)).await?.items;
    let balance = app.storage.credit_balance(tenant.organization).await?.unwrap_or_default();
    let in_use = app.slots_in_use(tenant).await?;
    let limits = organization.limits(tenant.environment);
    let mut day = Totals::default();
    for (_, totals) in app.usage_totals(tenant, None, Period::Day).await? {
        day.merge(&totals);
    }
    let looked_at = Looked { organization: &organization, keys: &keys, webhooks: &webhooks, rules: &rules };
    let attention = attention(&member, &looked_at, balance.remaining, now);
    let body = html! {
        @if let Some(found) = &quickstart {
            section.panel aria-labelledby="quickstart" {
                h2 #quickstart { "Your first call: " (found.done()) " of 3 steps done" }
                (quickstart::steps(&state, &member, found))
                p { a href=(member.url("/quickstart")) { "The programs for curl, JavaScript and Python" } }
            }
        }
        @if !attention.is_empty() {
            section aria-labelledby="attention" {
                h2 #attention { "Needs attention" }
                @for one in &attention { (one) }
            }
        }
        div.grid {
            @if tenant.environment == Environment::Live {
                (figure("Credits left", &signed(balance.remaining), html! {
                    (signed(balance.used_at(now))) " used this month · " a href=(member.url("/credits")) { "ledger" }
                }))
            }
            (figure("Calls now", &format!("{} of {}", in_use, limits.concurrent_sessions_max), html! { a href=(member.url("/sessions")) { "sessions" } }))
            (figure("Requests, 24 hours", &count(day.requests), html! { a href=(member.url("/usage")) { "usage" } }))
            (figure("Refused or failed, 24 hours", &count(day.errors), html! {
                (count(day.failures)) " by the server's fault · " a href=(member.url("/requests")) { "request log" }
            }))
        }
        h2 { "Latest sessions" }
        @if sessions.is_empty() {
            p.quiet { "No session was made here yet." }
        } @else {
            (table("Latest sessions", &["Session", "State", "Made"], html! {
                @for session in &sessions {
                    tr {
                        th scope="row" { a href=(member.url(&format!("/sessions/{}", session.id))) { code { (session.id) } } }
                        td { (session.state.status().as_str()) }
                        td { (time(session.created_at)) }
                    }
                }
            }))
        }
    };
    Ok(page_with(&member, Area::Overview, "Overview", &[quickstart::SCRIPT], body))
}

/// A number that may be negative.
pub(super) fn signed(number: i64) -> String {
    let sign = if number < 0 { "−" } else { "" };
    format!("{sign}{}", count(number.unsigned_abs()))
}

/// What is looked through for what needs attention.
struct Looked<'a> {
    organization: &'a Organization,
    keys: &'a [ApiKey],
    webhooks: &'a [Webhook],
    rules: &'a [AlertRule],
}

/// What somebody should look at, the most urgent first.
fn attention(member: &Member, looked_at: &Looked<'_>, credits: i64, now: Timestamp) -> Vec<Markup> {
    let Looked { organization, keys, webhooks, rules } = *looked_at;
    let mut found = Vec::new();
    for rule in rules.iter().filter(|rule| rule.firing.is_some()) {
        found.push(html! { p.note.bad { b { "Alert: " (rule.name) } ". " (rule.condition()) ". " a href=(member.url("/alerts")) { "Alerts" } } });
    }
    if !organization.active {
        found.push(html! { p.note.bad { b { "This organization is not active." } " Every request with its keys is refused. Ask the server's operator." } });
    }
    if member.tenant.environment == Environment::Live && credits <= i64::from(organization.low_credits_threshold) {
        let tone = if credits <= 0 { "note bad" } else { "note busy" };
        found.push(html! {
            p class=(tone) { b { (signed(credits)) " credits are left." } " Without credits no session can be made. " a href=(member.url("/credits")) { "Credits and plan" } }
        });
    }
    for webhook in webhooks {
        let href = member.url(&format!("/webhooks/{}", webhook.id));
        match (webhook.state, webhook.failing_since) {
            (WebhookState::Disabled { reason, .. }, _) => {
                if reason != DisabledReason::ByOwner {
                    found.push(html! { p.note.bad { "The webhook " a href=(href) { (webhook.url) } " was switched off because it failed. Events for it are not delivered." } });
                }
            }
            (WebhookState::Enabled, Some(since)) => {
                found.push(html! { p.note.busy { "The webhook " a href=(href) { (webhook.url) } " has been failing since " (time(since)) " UTC." } });
            }
            (WebhookState::Enabled, None) => {}
        }
    }
    for key in keys {
        let lets_in = matches!(key.status(now), KeyStatus::Active | KeyStatus::Rotating);
        let link = html! { "The key " a href=(url_of(member, key.id, "")) { (key.name) } " " };
        if !lets_in || portal::is_portals(key) {
            continue;
        }
        if key.quarantined_at.is_some() {
            found.push(html! { p.note.bad { (link) "was reported as leaked and may only read. Rotate it, then lift its quarantine." } });
        }
        if expires_soon(key, now) {
            found.push(html! { p.note.busy { (link) "expires " (time_or(key.expires_at, "")) " UTC." } });
        }
        if key.status(now) == KeyStatus::Rotating {
            let used = key.old_secret_last_used_at;
            found.push(html! {
                p.note { (link) (status_badge(key, now)) " Its old secret works until " (time_or(key.old_secret_valid_until, "")) " UTC"
                    @match used { Some(at) => { " and was used last " (time(at)) "." }, None => { " and has not been used since." } }
                }
            });
        }
        if key.last_used_at.unwrap_or(key.created_at) < now.checked_sub(IDLE_AFTER).unwrap_or(Timestamp::MIN) {
            found.push(html! { p.note { (link) (badge(Tone::Plain, "Unused")) " has not been used for 90 days. What is not used can be revoked without harm." } });
        }
    }
    found
}
