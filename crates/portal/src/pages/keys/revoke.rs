//! Revoking a key, with what that breaks; and ending a quarantine.

use axum::extract::{Path, State};
use axum::response::Redirect;
use kallglot_app::keys::{Authority, standing};
use kallglot_app::usage::Period;
use kallglot_core::api_key::ApiKey;
use kallglot_core::person::Act;
use kallglot_storage::KeyUpdate;
use maud::html;

use super::{find, organization, url_of};
use crate::PortalState;
use crate::components::{count, form, properties, time, time_or};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;

/// Open sessions that are named.
const NAMED_MAX: usize = 10;

/// `GET …/keys/{key}/revoke`.
pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Result<Page, Refusal> {
    let key = find(&state, &member, &id).await?;
    let open = state.app.open_sessions_of_key(member.tenant, key.id).await?;
    let how_many = match open.len() {
        many if many >= standing::SESSIONS_MAX as usize => format!("{many} or more"),
        many => many.to_string(),
    };
    let hour = requests(&state, &member, &key, Period::Hour).await?;
    let day = requests(&state, &member, &key, Period::Day).await?;
    let fields = html! {
        label.choice {
            input type="checkbox" name="close_streams" value="yes";
            span { b { "Close its streams too" } small { "Calls that are under way with this key are cut off. Without it they go on to their end: a stream has a token of its own." } }
        }
        div.buttons {
            button.danger type="submit" { "Revoke the key" }
            a.button href=(url_of(&member, key.id, "")) { "Cancel" }
        }
    };
    let body = html! {
        p { "A revoked key never works again. Requests with it get " code { "401 api_key_revoked" } ", everywhere within a second. To replace its secret without a pause, rotate it instead." }
        section.panel aria-labelledby="breaks" {
            h2 #breaks { "What this breaks" }
            (properties(&[
                ("Last used", time_or(key.last_used_at, "Never: nothing uses it")),
                ("Requests in the last hour", html! { (count(hour)) }),
                ("Requests in the last 24 hours", html! { (count(day)) }),
                ("Calls that are not over", html! { (how_many) }),
            ]))
            @if !open.is_empty() {
                ul {
                    @for session in open.iter().take(NAMED_MAX) {
                        li { a href=(member.url(&format!("/sessions/{}", session.id))) { code { (session.id) } } ", made " (time(session.created_at)) }
                    }
                }
            }
            @if member.may(Act::View) {
                p { a href=(member.url(&format!("/requests?key={}", key.id))) { "Its requests in the request log" } }
            }
        }
        (form(&member.visitor, &url_of(&member, key.id, "/revoke"), fields))
    };
    Ok(page(&member, Area::Keys, &format!("Revoke {}", key.name), body))
}

/// How many requests a key had.
async fn requests(state: &PortalState, member: &Member, key: &ApiKey, period: Period) -> Result<u64, Refusal> {
    let steps = state.app.usage_totals(member.tenant, Some(key.id), period).await?;
    Ok(steps.iter().map(|(_, totals)| totals.requests).sum())
}

/// `POST …/keys/{key}/revoke`. Doing it twice does no harm.
pub(super) async fn revoke(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Redirect, Refusal> {
    let key = find(&state, &member, &id).await?;
    let organization = organization(&state, &member).await?;
    let by = Authority::Person(&organization, member.tenant.environment);
    state.app.revoke_key(by, &member.change(&state), key.id, form.is_checked("close_streams")).await?;
    Ok(Redirect::to(&url_of(&member, key.id, "?done=revoked")))
}

/// `POST …/keys/{key}/quarantine/lift`.
pub(super) async fn lift_quarantine(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Result<Redirect, Refusal> {
    let key = find(&state, &member, &id).await?;
    let organization = organization(&state, &member).await?;
    let by = Authority::Person(&organization, member.tenant.environment);
    let update = KeyUpdate { lift_quarantine: true, ..KeyUpdate::default() };
    state.app.update_key(by, &member.change(&state), key.id, &update).await?;
    Ok(Redirect::to(&url_of(&member, key.id, "?done=saved")))
}
