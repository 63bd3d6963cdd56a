//! Webhooks: an organization's endpoints, and what was delivered to them.
//!
//! What must stay true: an endpoint's secret is shown once, in the answer to the form that made it; what changes where events go, or
//! what signs them, asks for a confirmation first.

mod deliveries;
mod endpoint;
mod forms;

use axum::extract::State;
use jiff::Timestamp;
use kallglot_app::Error;
use kallglot_core::delivery::{Webhook, WebhookState};
use kallglot_core::event::EventType;
use kallglot_core::id::WebhookId;
use kallglot_core::person::Act;
use kallglot_storage::PageRequest;
use maud::{Markup, html};

use crate::PortalState;
use crate::components::{Tone, badge, empty, table, time_or};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::list::{cursor, pages};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Items on a page of a list.
const PAGE_ITEMS: u32 = 25;

const SEE: Access = Access::Member(Act::View);
const MANAGE: Access = Access::Member(Act::ManageWebhooks);

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/webhooks", SEE, list),
        Route::get("/{organization}/{environment}/webhooks/new", MANAGE, forms::create_page).fresh(),
        Route::post("/{organization}/{environment}/webhooks/new", MANAGE, forms::create).fresh(),
        Route::get("/{organization}/{environment}/webhooks/{webhook}", SEE, endpoint::show),
        Route::get("/{organization}/{environment}/webhooks/{webhook}/edit", MANAGE, forms::edit_page).fresh(),
        Route::post("/{organization}/{environment}/webhooks/{webhook}/edit", MANAGE, forms::edit).fresh(),
        Route::get("/{organization}/{environment}/webhooks/{webhook}/rotate", MANAGE, forms::rotate_page).fresh(),
        Route::post("/{organization}/{environment}/webhooks/{webhook}/rotate", MANAGE, forms::rotate).fresh(),
        Route::get("/{organization}/{environment}/webhooks/{webhook}/delete", MANAGE, forms::delete_page).fresh(),
        Route::post("/{organization}/{environment}/webhooks/{webhook}/delete", MANAGE, forms::delete).fresh(),
        Route::post("/{organization}/{environment}/webhooks/{webhook}/enable", MANAGE, endpoint::enable),
        Route::post("/{organization}/{environment}/webhooks/{webhook}/disable", MANAGE, endpoint::disable),
        Route::post("/{organization}/{environment}/webhooks/{webhook}/test", MANAGE, endpoint::test),
        Route::get("/{organization}/{environment}/webhooks/{webhook}/deliveries/{delivery}", SEE, deliveries::show),
        Route::post(
            "/{organization}/{environment}/webhooks/{webhook}/deliveries/{delivery}/redeliver",
            MANAGE,
            deliveries::redeliver,
        ),
    ]
}

/// An endpoint of the member's organization and environment.
async fn find(state: &PortalState, member: &Member, id: &str) -> Result<Webhook, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found())?;
    Ok(state.app.find_webhook(member.tenant, id).await?)
}

/// The address of an endpoint's page.
fn url_of(member: &Member, id: WebhookId, path: &str) -> String {
    member.url(&format!("/webhooks/{id}{path}"))
}

/// How an endpoint stands.
fn state_badge(webhook: &Webhook) -> Markup {
    match webhook.state {
        WebhookState::Disabled { .. } => badge(Tone::Bad, "Off"),
        WebhookState::Enabled if webhook.failing_since.is_some() => badge(Tone::Busy, "Failing"),
        WebhookState::Enabled => badge(Tone::Good, "On"),
    }
}

/// What an endpoint gets, in a few words.
fn events_of(event_types: &[EventType]) -> String {
    match event_types {
        [] => "All events".into(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

async fn list(State(state): State<PortalState>, member: Member, form: Form) -> Result<Page, Refusal> {
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&form)? };
    let found = state.app.storage.webhooks(member.tenant, &request).await?;
    let manages = member.may(Act::ManageWebhooks);
    let new = member.url("/webhooks/new");
    let rows = html! {
        @for webhook in &found.items {
            tr {
                th scope="row" {
                    a href=(url_of(&member, webhook.id, "")) { (webhook.url) }
                    @if !webhook.description.is_empty() { br; small { (webhook.description) } }
                }
                td { (state_badge(webhook)) }
                td { (events_of(&webhook.event_types)) }
                td { (time_or(webhook.last_success_at, "Never")) }
                td { (time_or(webhook.last_failure_at, "Never")) }
            }
        }
    };
    let body = html! {
        p { "A webhook sends events to a server of yours as they happen. Each one is signed, and sent again for three days until it is accepted." }
        @if found.items.is_empty() && request.cursor.is_none() {
            @let text = "There are no endpoints yet. An endpoint is an address of yours that gets the events you choose.";
            (empty(text, manages.then_some((new.as_str(), "Add an endpoint"))))
        } @else {
            @if manages { div.row { a.button.primary href=(new) { "Add an endpoint" } } }
            (table("Webhook endpoints", &["Address", "State", "Events", "Last accepted", "Last failed"], rows))
            (pages(&found, &request, &format!("{}?", member.url("/webhooks")), |webhook| webhook.id))
        }
    };
    Ok(page(&member, Area::Webhooks, "Webhooks", body))
}

/// An id as it is, or nothing to be seen.
fn id<Id: std::str::FromStr>(text: &str) -> Result<Id, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

/// What is wrong with a form, if that is what an error says: the field and what to do.
fn mistake(error: &Error) -> Option<(String, String)> {
    match error {
        Error::Public(public) if public.code == kallglot_core::error_code::ErrorCode::ValidationFailed => {
            let field = public.param.clone().unwrap_or_default();
            // The API's names of fields are not the form's labels.
            Some((field, public.message.replacen("`url`", "The address", 1)))
        }
        _ => None,
    }
}

/// Whether the secret before the current one still signs.
fn old_secret_until(webhook: &Webhook, now: Timestamp) -> Option<Timestamp> {
    webhook.old_secret_valid_until.filter(|until| now < *until)
}
