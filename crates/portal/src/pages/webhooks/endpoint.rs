//! One endpoint: how it stands, its deliveries, and what can be done with it at once.

use axum::extract::{Path, State};
use axum::response::Redirect;
use kallglot_core::delivery::{DeliveryStatus, DisabledReason, Webhook, WebhookState};
use kallglot_core::event::EventType;
use kallglot_core::id::WebhookId;
use kallglot_core::person::Act;
use kallglot_storage::{DeliveryFilter, PageRequest, WebhookUpdate};
use maud::{Markup, html};

use super::deliveries::status_badge;
use super::{PAGE_ITEMS, cursor, find, id, old_secret_until, pages, state_badge, url_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, act, empty, form, mono, properties, table, time, time_or};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;

type Place = Path<(String, String, String)>;

pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
    query: Form,
) -> Result<Page, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    let status = match query.given("status") {
        None => None,
        Some(text) => Some(DeliveryStatus::parse(text).ok_or_else(Refusal::not_found)?),
    };
    let filter = DeliveryFilter { status, event: None };
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&query)? };
    let found = state.app.storage.deliveries(member.tenant, webhook.id, filter, &request).await?;
    let found = found.ok_or_else(Refusal::not_found)?;
    let here = url_of(&member, webhook.id, "");
    let rows = html! {
        @for delivery in &found.items {
            tr {
                th scope="row" { a href=(url_of(&member, webhook.id, &format!("/deliveries/{}", delivery.id))) { (delivery.event_type) } }
                td { (status_badge(delivery.status)) }
                td.number { (delivery.attempts) }
                td { (time(delivery.event_at)) }
                td { (time_or(delivery.next_attempt_at, "–")) }
            }
        }
    };
    let with_status = status.map_or_else(String::new, |status| format!("status={status}&"));
    let body = html! {
        (standing(&state, &member, &webhook))
        @if member.may(Act::ManageWebhooks) { (actions(&member, &webhook)) }
        h2 id="deliveries" { "Deliveries" }
        p { "Each event that was sent here, newest first. They are kept for 30 days." }
        nav.row aria-label="Deliveries by state" {
            (filter_link(&here, status, None, "All"))
            @for (one, name) in [
                (DeliveryStatus::Pending, "Pending"), (DeliveryStatus::Succeeded, "Accepted"), (DeliveryStatus::Failed, "Given up"),
            ] { (filter_link(&here, status, Some(one), name)) }
        }
        @if found.items.is_empty() {
            @let text = if status.is_some() || request.cursor.is_some() { "There is no such delivery." } else {
                "Nothing was sent here yet. Send a test event to see one."
            };
            (empty(text, None))
        } @else {
            (table("Deliveries", &["Event", "State", "Attempts", "Happened", "Next attempt"], rows))
            (pages(&found, &request, &format!("{here}?{with_status}"), |delivery| delivery.id))
        }
    };
    Ok(page(&member, Area::Webhooks, &webhook.url, body))
}

fn filter_link(here: &str, chosen: Option<DeliveryStatus>, status: Option<DeliveryStatus>, name: &str) -> Markup {
    let href = status.map_or_else(|| here.to_owned(), |status| format!("{here}?status={status}"));
    html! { a.button.small href={ (href) "#deliveries" } aria-current=[(chosen == status).then_some("true")] { (name) } }
}

/// What the endpoint is and how it stands.
fn standing(state: &PortalState, member: &Member, webhook: &Webhook) -> Markup {
    let events = html! {
        @if webhook.event_types.is_empty() { "All events, also of kinds that come later" }
        @else { @for (index, event) in webhook.event_types.iter().enumerate() { @if index > 0 { ", " } (mono(event)) } }
    };
    let mut rows = vec![("State", state_badge(webhook)), ("Id", mono(webhook.id)), ("Events", events)];
    if !webhook.description.is_empty() {
        rows.push(("Description", html! { (webhook.description) }));
    }
    rows.push(("Last accepted", time_or(webhook.last_success_at, "Never")));
    rows.push(("Last failed", time_or(webhook.last_failure_at, "Never")));
    if let Some(until) = old_secret_until(webhook, state.app.clock.now()) {
        rows.push(("Old secret", html! { "Signs too until " (time(until)) }));
    }
    rows.push(("Created", time(webhook.created_at)));
    html! {
        p { a href=(member.url("/webhooks")) { "All endpoints" } }
        @match webhook.state {
            WebhookState::Disabled { reason, at } => {
                p.note.bad { "Switched off since " (time(at)) ": " (reason_text(reason)) " What was pending waits; what happens meanwhile is not sent here later." }
            }
            WebhookState::Enabled => {
                @if let Some(since) = webhook.failing_since {
                    p.note.busy { "Nothing was accepted since " (time(since)) ". After five days of that, the endpoint is switched off." }
                }
            }
        }
        div.panel { (properties(&rows)) }
    }
}

const fn reason_text(reason: DisabledReason) -> &'static str {
    match reason {
        DisabledReason::ByOwner => "somebody of the organization wanted it.",
        DisabledReason::Failing => "it had accepted nothing for five days.",
        DisabledReason::Gone => "it answered 410 Gone, which means that it wants nothing more.",
    }
}

/// What can be done with it.
fn actions(member: &Member, webhook: &Webhook) -> Markup {
    let none = Mistakes::default();
    let types: Vec<(String, String)> = std::iter::once(EventType::WebhookTest)
        .chain(EventType::ALL.iter().copied().filter(|one| *one != EventType::WebhookTest))
        .map(|one| (one.to_string(), one.to_string()))
        .collect();
    let at = |path| url_of(member, webhook.id, path);
    html! {
        div.row {
            a.button href=(at("/edit")) { "Edit" }
            a.button href=(at("/rotate")) { "Rotate the secret" }
            @match webhook.state {
                WebhookState::Enabled => (act(&member.visitor, &at("/disable"), "Switch off", "")),
                WebhookState::Disabled { .. } => (act(&member.visitor, &at("/enable"), "Switch on", "primary")),
            }
            a.button.danger href=(at("/delete")) { "Delete" }
        }
        @if webhook.state == WebhookState::Enabled {
            section.panel aria-labelledby="test" {
                h2 id="test" { "Send a test event" }
                (form(&member.visitor, &at("/test"), html! {
                    (Field::new("type", "Event", &none).hint("Made up, but as a real one would be. Only this endpoint gets it.").select(&types, "webhook.test"))
                    button type="submit" { "Send" }
                }))
            }
        }
    }
}

pub(super) async fn enable(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
) -> Result<Redirect, Refusal> {
    switch(&state, &member, id(&webhook)?, true).await
}

pub(super) async fn disable(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
) -> Result<Redirect, Refusal> {
    switch(&state, &member, id(&webhook)?, false).await
}

async fn switch(state: &PortalState, member: &Member, id: WebhookId, on: bool) -> Result<Redirect, Refusal> {
    let update = WebhookUpdate { enabled: Some(on), ..WebhookUpdate::default() };
    let webhook = state.app.update_webhook(member.tenant, &member.change(state), id, update).await?;
    let done = if on { "?done=enabled" } else { "?done=disabled" };
    Ok(Redirect::to(&url_of(member, webhook.id, done)))
}

pub(super) async fn test(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
    form: Form,
) -> Result<Redirect, Refusal> {
    let event_type = EventType::parse(form.text("type"))
        .ok_or_else(|| Refusal::bad_request("There is no such event. Choose one of the list."))?;
    let log = state.app.test_webhook(member.tenant, id(&webhook)?, event_type).await?;
    let path = format!("/deliveries/{}", log.delivery.id);
    Ok(Redirect::to(&url_of(&member, log.delivery.webhook, &path)))
}
