//! API keys: an organization's keys of one environment, and all that can be done with them.
//!
//! What must stay true: a secret is shown once, in the answer to the form that made it; whoever makes, changes, rotates or revokes a key has confirmed
//! lately who they are; a form that makes a secret makes one, however often it is sent.

mod create;
mod detail;
mod edit;
mod form;
mod permission;
mod revoke;
mod rotate;
pub(crate) mod secret;

use std::collections::HashMap;

use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use kallglot_app::usage::Period;
use kallglot_core::api_key::{ApiKey, KeyStatus, prefix};
use kallglot_core::id::ApiKeyId;
use kallglot_core::organization::Organization;
use kallglot_core::person::Act;
use kallglot_core::usage::Totals;
use kallglot_storage::PageRequest;
use maud::{Markup, html};

use crate::PortalState;
use crate::components::{Tone, badge, count, empty, table, time_or};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::list::{cursor, pages};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Items on a page of the list.
const PAGE_ITEMS: u32 = 25;
/// Keys that expire within this time are pointed at.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Keys whose usage is asked for, the busiest first.
const USAGE_KEYS_MAX: u32 = 1000;

const SEE: Access = Access::Member(Act::View);
const MANAGE: Access = Access::Member(Act::ManageKeys);

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/keys", SEE, list),
        Route::get("/{organization}/{environment}/keys/new", MANAGE, create::show).fresh(),
        Route::post("/{organization}/{environment}/keys/new", MANAGE, create::create).fresh(),
        Route::get("/{organization}/{environment}/keys/{key}", SEE, detail::show),
        Route::get("/{organization}/{environment}/keys/{key}/edit", MANAGE, edit::show).fresh(),
        Route::post("/{organization}/{environment}/keys/{key}/edit", MANAGE, edit::save).fresh(),
        Route::get("/{organization}/{environment}/keys/{key}/rotate", MANAGE, rotate::show).fresh(),
        Route::post("/{organization}/{environment}/keys/{key}/rotate", MANAGE, rotate::rotate).fresh(),
        Route::get("/{organization}/{environment}/keys/{key}/revoke", MANAGE, revoke::show).fresh(),
        Route::post("/{organization}/{environment}/keys/{key}/revoke", MANAGE, revoke::revoke).fresh(),
        Route::post("/{organization}/{environment}/keys/{key}/quarantine/lift", MANAGE, revoke::lift_quarantine)
            .fresh(),
    ]
}

/// A key of the member's organization and environment.
async fn find(state: &PortalState, member: &Member, id: &str) -> Result<ApiKey, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found())?;
    state.app.storage.key(member.tenant, id).await?.ok_or_else(Refusal::not_found)
}

/// The member's organization as it is now.
pub(crate) async fn organization(state: &PortalState, member: &Member) -> Result<Organization, Refusal> {
    state.app.storage.organization(member.tenant.organization).await?.ok_or_else(Refusal::not_found)
}

/// The address of a key's page.
pub(crate) fn url_of(member: &Member, id: ApiKeyId, path: &str) -> String {
    member.url(&format!("/keys/{id}{path}"))
}

/// How a key stands.
pub(crate) fn status_badge(key: &ApiKey, now: Timestamp) -> Markup {
    match key.status(now) {
        KeyStatus::Revoked => badge(Tone::Bad, "Revoked"),
        KeyStatus::Expired => badge(Tone::Bad, "Expired"),
        _ if key.quarantined_at.is_some() => badge(Tone::Busy, "Quarantined"),
        KeyStatus::Rotating => badge(Tone::Busy, "Rotating"),
        KeyStatus::Active => badge(Tone::Good, "Active"),
    }
}

/// What can be shown of a key's secret.
pub(crate) fn shown(key: &ApiKey) -> Markup {
    html! { code { (prefix(key.environment)) "…" (key.last4) } }
}

/// Whether the key lets requests in, and will soon not any more.
pub(crate) fn expires_soon(key: &ApiKey, now: Timestamp) -> bool {
    let lets_in = matches!(key.status(now), KeyStatus::Active | KeyStatus::Rotating);
    let soon = now.checked_add(EXPIRES_SOON).unwrap_or(Timestamp::MAX);
    lets_in && key.expires_at.is_some_and(|at| at <= soon)
}

async fn list(State(state): State<PortalState>, member: Member, form: Form) -> Result<Page, Refusal> {
    let now = state.app.clock.now();
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&form)? };
    let found = state.app.storage.keys(member.tenant, &request).await?;
    let day: HashMap<ApiKeyId, Totals> =
        state.app.usage_by_key(member.tenant, Period::Day, USAGE_KEYS_MAX).await?.into_iter().collect();
    let manages = member.may(Act::ManageKeys);
    let new = member.url("/keys/new");
    let rows = html! {
        @for key in &found.items {
            tr {
                th scope="row" { a href=(url_of(&member, key.id, "")) { (key.name) } }
                td { (shown(key)) }
                td { (status_badge(key, now)) }
                td.number { (key.permissions.iter().count()) }
                td { (time_or(key.last_used_at, "Never")) }
                td.number { (count(day.get(&key.id).map_or(0, |totals| totals.requests))) }
                td {
                    (time_or(key.expires_at, "Never"))
                    @if expires_soon(key, now) { " " (badge(Tone::Busy, "Soon")) }
                }
            }
        }
    };
    let body = html! {
        p { "A key lets your servers use the API. It belongs to one environment and may do what you choose." }
        @if found.items.is_empty() && request.cursor.is_none() {
            (empty("There are no keys here yet.", manages.then_some((new.as_str(), "Create a key"))))
        } @else {
            @if manages { div.row { a.button.primary href=(new) { "Create a key" } } }
            (table("API keys", &["Name", "Secret", "State", "Permissions", "Last used", "Requests, 24 h", "Expires"], rows))
            (pages(&found, &request, &member.url("/keys?"), |key| key.id))
        }
    };
    Ok(page(&member, Area::Keys, "API keys", body))
}
