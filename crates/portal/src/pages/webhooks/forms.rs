//! The forms that make, change, rotate and delete endpoints. Each has a page of its own, which says what it will do.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::SignedDuration;
use kallglot_app::Error;
use kallglot_app::endpoints::CreateEndpoint;
use kallglot_core::delivery::{DESCRIPTION_CHARS_MAX, Webhook};
use kallglot_core::event::EventType;
use kallglot_core::webhook::WebhookSecret;
use kallglot_storage::WebhookUpdate;
use maud::{Markup, html};

use super::{find, mistake, old_secret_until, url_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, code, form, time};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;

type Place = Path<(String, String, String)>;

/// How long the old secret may sign too: seconds, and in words. At most [`kallglot_core::delivery::SECRET_OVERLAP_MAX`].
const OVERLAPS: &[(i64, &str)] = &[
    (0, "Not at all: it is lost or has leaked"),
    (3600, "An hour"),
    (24 * 3600, "A day"),
    (7 * 24 * 3600, "Seven days"),
];

/// What is asked of an endpoint, as the form has it.
#[derive(Default)]
struct Asked {
    url: String,
    description: String,
    all: bool,
    chosen: Vec<EventType>,
}

impl Asked {
    fn of(webhook: &Webhook) -> Self {
        Self {
            url: webhook.url.clone(),
            description: webhook.description.clone(),
            all: webhook.event_types.is_empty(),
            chosen: webhook.event_types.clone(),
        }
    }

    /// What was sent, and what is wrong with it.
    fn read(form: &Form) -> (Self, Mistakes) {
        let chosen = form.all("event").filter_map(EventType::parse).filter(|one| *one != EventType::WebhookTest);
        let asked = Self {
            url: form.text("url").to_owned(),
            description: form.text("description").to_owned(),
            all: form.text("which") != "some",
            chosen: chosen.collect(),
        };
        let mut mistakes = Mistakes::default();
        if asked.url.is_empty() {
            mistakes.add("url", "Say where the events go, such as https://example.com/webhooks.");
        }
        if asked.description.chars().count() > DESCRIPTION_CHARS_MAX {
            mistakes.add("description", format!("A description has at most {DESCRIPTION_CHARS_MAX} characters."));
        }
        if !asked.all && asked.chosen.is_empty() {
            mistakes.add("event", "Choose one event at least, or all.");
        }
        (asked, mistakes)
    }

    /// As the endpoint has it: empty for all.
    fn event_types(&self) -> Vec<EventType> {
        if self.all { Vec::new() } else { self.chosen.clone() }
    }

    fn fields(&self, mistakes: &Mistakes) -> Markup {
        let which = [
            ("all", "All events", "Also of kinds that come with later versions."),
            ("some", "Only these", "Choose them below."),
        ];
        let which = which.map(|(value, text, meaning)| (value.to_owned(), text.to_owned(), meaning.to_owned()));
        let events: Vec<_> = EventType::ALL
            .iter()
            .filter(|one| **one != EventType::WebhookTest)
            .map(|one| (one.to_string(), one.to_string(), one.meaning().to_owned()))
            .collect();
        html! {
            (mistakes.summary())
            (Field::new("url", "Address", mistakes)
                .hint("Where events are sent, by POST. It must be reachable from this server, by https.")
                .input("url", &self.url, "off", true))
            (Field::new("description", "Description (optional)", mistakes)
                .hint("For you and your colleagues.").input("text", &self.description, "off", false))
            (Field::new("which", "Which events", mistakes).radios(&which, if self.all { "all" } else { "some" }))
            (Field::new("event", "Events", mistakes).checkboxes(&events, |value| self.chosen.iter().any(|one| one.as_str() == value)))
        }
    }
}

pub(super) async fn create_page(member: Member) -> Page {
    create_form(&member, &Asked { all: true, ..Asked::default() }, &Mistakes::default())
}

fn create_form(member: &Member, asked: &Asked, mistakes: &Mistakes) -> Page {
    let body = form(
        &member.visitor,
        &member.url("/webhooks/new"),
        html! {
            (asked.fields(mistakes))
            div.buttons {
                button.primary type="submit" { "Add the endpoint" }
                a href=(member.url("/webhooks")) { "Cancel" }
            }
        },
    );
    page(member, Area::Webhooks, "Add an endpoint", body)
}

/// A form once more, with what is wrong with it.
fn again(page: Page) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}

/// The mistake that an error means, or the error.
fn mistake_or(error: Error) -> Result<Mistakes, Refusal> {
    match mistake(&error) {
        Some((field, message)) => Ok(Mistakes::one(field, message)),
        None => Err(error.into()),
    }
}

pub(super) async fn create(State(state): State<PortalState>, member: Member, form: Form) -> Result<Response, Refusal> {
    let (asked, mistakes) = Asked::read(&form);
    if !mistakes.is_empty() {
        return Ok(again(create_form(&member, &asked, &mistakes)));
    }
    let endpoint = CreateEndpoint {
        url: asked.url.clone(),
        description: asked.description.clone(),
        event_types: asked.event_types(),
    };
    match state.app.add_webhook(member.tenant, &member.change(&state), endpoint).await {
        Ok((webhook, secret)) => Ok(secret_page(&member, &webhook, &secret, "The endpoint is there").into_response()),
        Err(error) => Ok(again(create_form(&member, &asked, &mistake_or(error)?))),
    }
}

/// The one page that shows a secret.
fn secret_page(member: &Member, webhook: &Webhook, secret: &WebhookSecret, title: &str) -> Page {
    let body = html! {
        p.note.good role="status" { "Events go to " (webhook.url) " from now on." }
        h2 { "Its secret" }
        p { "Copy it now: it is shown this once. Your server checks with it that an event is from here." }
        (code("secret", "The endpoint's secret", secret.expose()))
        h2 { "Check the signature" }
        p {
            "Every event comes with the header " code { "Kallglot-Signature: t=…,v1=…" } ". In Python, with the body's bytes as they came:"
        }
        (code("check", "How to check a signature", CHECK))
        p { "Libraries for " a href="https://www.standardwebhooks.com" rel="noreferrer" { "Standard Webhooks" } " work too, with the same secret." }
        p { a.button.primary href=(url_of(member, webhook.id, "")) { "To the endpoint" } }
    };
    page(member, Area::Webhooks, title, body)
}

/// As docs/WEBHOOKS.md has it.
const CHECK: &str = r#"import hashlib, hmac, time

def is_ours(secret: str, header: str, body: bytes) -> bool:
    parts = [part.split("=", 1) for part in header.split(",")]
    t = next(value for name, value in parts if name == "t")
    if abs(time.time() - int(t)) > 300:
        return False
    expected = hmac.new(secret.encode(), t.encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(name == "v1" and hmac.compare_digest(value, expected) for name, value in parts)"#;

pub(super) async fn edit_page(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
) -> Result<Page, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    Ok(edit_form(&member, &webhook, &Asked::of(&webhook), &Mistakes::default()))
}

fn edit_form(member: &Member, webhook: &Webhook, asked: &Asked, mistakes: &Mistakes) -> Page {
    let body = form(
        &member.visitor,
        &url_of(member, webhook.id, "/edit"),
        html! {
            (asked.fields(mistakes))
            div.buttons {
                button.primary type="submit" { "Save" }
                a href=(url_of(member, webhook.id, "")) { "Cancel" }
            }
        },
    );
    page(member, Area::Webhooks, "Edit an endpoint", body)
}

pub(super) async fn edit(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
    form: Form,
) -> Result<Response, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    let (asked, mistakes) = Asked::read(&form);
    if !mistakes.is_empty() {
        return Ok(again(edit_form(&member, &webhook, &asked, &mistakes)));
    }
    let update = WebhookUpdate {
        url: Some(asked.url.clone()),
        description: Some(asked.description.clone()),
        event_types: Some(asked.event_types()),
        enabled: None,
    };
    match state.app.update_webhook(member.tenant, &member.change(&state), webhook.id, update).await {
        Ok(webhook) => Ok(Redirect::to(&url_of(&member, webhook.id, "?done=saved")).into_response()),
        Err(error) => Ok(again(edit_form(&member, &webhook, &asked, &mistake_or(error)?))),
    }
}

pub(super) async fn rotate_page(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
) -> Result<Page, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    let none = Mistakes::default();
    let overlaps: Vec<_> = OVERLAPS.iter().map(|(seconds, text)| (seconds.to_string(), (*text).to_owned())).collect();
    let body = html! {
        p { "A new secret is made and shown once. Events to " (webhook.url) " are signed with it at once." }
        @if let Some(until) = old_secret_until(&webhook, state.app.clock.now()) {
            p.note.busy {
                "The secret before the current one still signs too, until " (time(until)) ". It stops at once: only one old secret is kept."
            }
        }
        (form(&member.visitor, &url_of(&member, webhook.id, "/rotate"), html! {
            (Field::new("overlap", "How long the old secret signs too", &none)
                .hint("Meanwhile every event has both signatures, so your server can have either secret.")
                .select(&overlaps, "86400"))
            div.buttons {
                button.primary type="submit" { "Rotate the secret" }
                a href=(url_of(&member, webhook.id, "")) { "Cancel" }
            }
        }))
    };
    Ok(page(&member, Area::Webhooks, "Rotate the secret", body))
}

pub(super) async fn rotate(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
    form: Form,
) -> Result<Page, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    let overlap = OVERLAPS.iter().find(|(seconds, _)| seconds.to_string() == form.text("overlap"));
    let (seconds, _) = overlap.ok_or_else(|| Refusal::bad_request("Choose how long the old secret signs too."))?;
    let change = member.change(&state);
    let until = change.at.checked_add(SignedDuration::from_secs(*seconds)).unwrap_or(change.at);
    let (webhook, secret) = state.app.rotate_webhook_secret(member.tenant, &change, webhook.id, until).await?;
    Ok(secret_page(&member, &webhook, &secret, "The endpoint has a new secret"))
}

pub(super) async fn delete_page(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
) -> Result<Page, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    let body = html! {
        p { "Nothing is sent to " (webhook.url) " any more, also not what is pending. Its deliveries can't be looked at any more. This can't be taken back." }
        (form(&member.visitor, &url_of(&member, webhook.id, "/delete"), html! {
            div.buttons {
                button.danger type="submit" { "Delete the endpoint" }
                a href=(url_of(&member, webhook.id, "")) { "Cancel" }
            }
        }))
    };
    Ok(page(&member, Area::Webhooks, "Delete an endpoint", body))
}

pub(super) async fn delete(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook)): Place,
) -> Result<Redirect, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    state.app.delete_webhook(member.tenant, &member.change(&state), webhook.id).await?;
    Ok(Redirect::to(&member.url("/webhooks?done=deleted")))
}
