//! The page of one key: what it may do and does, and how a rotation goes on.

use axum::extract::{Path, State};
use jiff::Timestamp;
use kallglot_app::keys::standing::OldSecretUse;
use kallglot_app::keys::{portal, unused_permissions};
use kallglot_app::usage::Period;
use kallglot_core::api_key::{ApiKey, KeyStatus};
use kallglot_core::person::Act;
use kallglot_core::usage::Totals;
use maud::{Markup, html};

use super::permission::meaning;
use super::{expires_soon, find, shown, status_badge, url_of};
use crate::PortalState;
use crate::chart::sparkline;
use crate::components::{Tone, act, badge, count, mono, nothing, properties, table, time, time_or};
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;

/// Addresses that still use the old secret and are named.
const ADDRESSES_MAX: usize = 10;

/// `GET …/keys/{key}`.
pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Result<Page, Refusal> {
    let app = &state.app;
    let now = app.clock.now();
    let key = find(&state, &member, &id).await?;
    let used = app.storage.permissions_used(member.tenant, &[key.id]).await?;
    let unused =
        unused_permissions(app.storage.as_ref(), std::slice::from_ref(&key), now).await?.pop().unwrap_or_default();
    let rotating = key.old_secret_valid_until.filter(|until| now < *until);
    let old_secret = match rotating {
        Some(_) => Some(app.old_secret_use(member.tenant, key.id).await?),
        None => None,
    };
    let day = app.usage_totals(member.tenant, Some(key.id), Period::Day).await?;
    let manages = member.may(Act::ManageKeys) && key.revoked_at.is_none();
    let permissions = html! {
        @for permission in key.permissions.iter() {
            @let at = used.iter().find(|(_, of, _)| *of == permission).map(|(_, _, at)| *at);
            tr {
                th scope="row" { code { (permission) } br; small { (meaning(permission)) } }
                td {
                    (time_or(at, "Never"))
                    @if unused.contains(permission) { " " (badge(Tone::Busy, "Unused for 30 days")) }
                }
            }
        }
    };
    let body = html! {
        (warnings(&member, &key, now))
        @if manages {
            div.row {
                a.button href=(url_of(&member, key.id, "/edit")) { "Change" }
                a.button href=(url_of(&member, key.id, "/rotate")) { "Rotate" }
                a.button.danger href=(url_of(&member, key.id, "/revoke")) { "Revoke" }
            }
        }
        @if let (Some(until), Some(old)) = (rotating, &old_secret) { (rotation(&key, until, old)) }
        section.panel aria-labelledby="what" {
            h2 #what { "The key" }
            (properties(&[
                ("State", status_badge(&key, now)),
                ("Id", mono(key.id)),
                ("Secret", shown(&key)),
                ("Created", time(key.created_at)),
                ("Last used", time_or(key.last_used_at, "Never")),
                ("Expires", time_or(key.expires_at, "Never")),
                ("Works from", networks(&key)),
                ("Requests per minute", match key.requests_per_minute_max {
                    Some(max) => html! { (count(max.into())) },
                    None => html! { "The organization's limit" },
                }),
                ("Edition", match key.edition {
                    Some(edition) => html! { (edition) },
                    None => html! { "The organization's" },
                }),
            ]))
        }
        (usage(&member, &key, &day))
        h2 { "What it may do" }
        @if !unused.is_empty() && manages {
            p { "What a key does not use can be taken from it without harm: " a href=(url_of(&member, key.id, "/edit")) { "change its permissions" } "." }
        }
        (table("Permissions", &["Permission", "Last used"], permissions))
    };
    Ok(page(&member, Area::Keys, &key.name, body))
}

/// What whoever opens the page should know first.
fn warnings(member: &Member, key: &ApiKey, now: Timestamp) -> Markup {
    html! {
        @if portal::is_portals(key) {
            p.note { "The portal made this key for itself, for what is tried out on its pages. Nobody has its secret. If you revoke it, the portal makes another when it needs one." }
        }
        @match key.status(now) {
            KeyStatus::Revoked => p.note.bad { "Revoked " (time_or(key.revoked_at, "")) ". It never works again." },
            KeyStatus::Expired => p.note.bad { "Expired " (time_or(key.expires_at, "")) ". Choose a later day to let it in again." },
            _ if expires_soon(key, now) => p.note.busy { "Expires " (time_or(key.expires_at, "")) " UTC. Make a new key in time, or choose a later day." },
            _ => (nothing()),
        }
        @if let (Some(at), None) = (key.quarantined_at, key.revoked_at) {
            div.note.bad {
                p { "Somebody reported its secret as leaked on " (time(at)) ". It may only read until the quarantine is lifted. Rotate it first: then the leaked secret is worth nothing." }
                @if member.may(Act::ManageKeys) {
                    (act(&member.visitor, &url_of(member, key.id, "/quarantine/lift"), "Lift the quarantine", ""))
                }
            }
        }
    }
}

/// What was done with it in the last day.
fn usage(member: &Member, key: &ApiKey, day: &[(Timestamp, Totals)]) -> Markup {
    let mut all = Totals::default();
    day.iter().for_each(|(_, totals)| all.merge(totals));
    let words = format!("Requests of the last 24 hours, hour by hour: {} in all", count(all.requests));
    let requests: Vec<u64> = day.iter().map(|(_, totals)| totals.requests).collect();
    html! {
        section.panel aria-labelledby="usage" {
            h2 #usage { "The last 24 hours" }
            (sparkline(&words, &requests))
            (properties(&[
                ("Requests", html! { (count(all.requests)) }),
                ("Refused or failed", html! { (count(all.errors)) }),
                ("Refused by a rate limit", html! { (count(all.rate_limited)) }),
            ]))
            p { a href=(member.url(&format!("/usage?key={}", key.id))) { "Its usage" } " · " a href=(member.url(&format!("/requests?key={}", key.id))) { "Its requests" } }
        }
    }
}

fn networks(key: &ApiKey) -> Markup {
    html! {
        @if key.allowed_networks.is_empty() { "Anywhere" }
        @for network in &key.allowed_networks { code { (network) } " " }
    }
}

/// Who still uses the secret that was replaced.
fn rotation(key: &ApiKey, until: Timestamp, old: &OldSecretUse) -> Markup {
    let rows = html! {
        @for seen in old.addresses.iter().take(ADDRESSES_MAX) {
            tr { th scope="row" { code { (seen.address) } } td.number { (count(seen.requests as u64)) } td { (time(seen.last_at)) } }
        }
    };
    let more = if old.has_more { " or more" } else { "" };
    html! {
        section.panel aria-labelledby="rotation" {
            h2 #rotation { "Rotation" }
            p { "The old secret works until " (time(until)) " UTC." }
            @if old.requests == 0 && key.old_secret_last_used_at.is_none() {
                p { (badge(Tone::Good, "Changed over")) " The old secret has not been used since the rotation." }
            } @else {
                p {
                    (badge(Tone::Busy, "Still used")) " The old secret was used for " (count(old.requests as u64)) (more) " requests since the rotation, last "
                    (time_or(key.old_secret_last_used_at, "just now")) ". Whoever sends these must change over:"
                }
                (table("Who uses the old secret", &["From", "Requests", "Last"], rows))
                @if old.addresses.len() > ADDRESSES_MAX { p.quiet { "And " (old.addresses.len() - ADDRESSES_MAX) " more addresses." } }
            }
        }
    }
}
