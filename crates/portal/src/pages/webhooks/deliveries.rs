//! One delivery: what was sent, every attempt and what came back.

use axum::extract::{Path, State};
use axum::response::Redirect;
use jiff::SignedDuration;
use kallglot_core::delivery::{Attempt, AttemptError, DeliveryStatus};
use kallglot_core::person::Act;
use kallglot_storage::DeliveryLog;
use maud::{Markup, html};

use super::{find, id, url_of};
use crate::PortalState;
use crate::components::{Tone, act, badge, code, mono, properties, time, time_or};
use crate::guard::Member;
use crate::layout::{Area, Page, page_with};
use crate::refusal::Refusal;

/// How far off an attempt is that somebody waits for.
const ATTEMPT_SOON: SignedDuration = SignedDuration::from_secs(10);

type Place = Path<(String, String, String, String)>;

pub(super) fn status_badge(status: DeliveryStatus) -> Markup {
    match status {
        DeliveryStatus::Pending => badge(Tone::Busy, "Pending"),
        DeliveryStatus::Succeeded => badge(Tone::Good, "Accepted"),
        DeliveryStatus::Failed => badge(Tone::Bad, "Given up"),
    }
}

pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook, delivery)): Place,
) -> Result<Page, Refusal> {
    let webhook = find(&state, &member, &webhook).await?;
    let log = state.app.find_delivery(member.tenant, webhook.id, id(&delivery)?).await?;
    let delivery = &log.delivery;
    let at = |path: &str| url_of(&member, webhook.id, path);
    // While an attempt is due the page looks again by itself.
    let soon = state.app.clock.now() + ATTEMPT_SOON;
    let waits = delivery.status == DeliveryStatus::Pending && delivery.next_attempt_at.is_some_and(|at| at <= soon);
    let rows = [
        ("State", status_badge(delivery.status)),
        ("What happened", html! { (delivery.event_type.meaning()) }),
        ("Happened", time(delivery.event_at)),
        ("Event", mono(delivery.event)),
        ("Delivery", mono(delivery.id)),
        ("Endpoint", html! { a href=(at("")) { (webhook.url) } }),
        ("Next attempt", time_or(delivery.next_attempt_at, "None")),
    ];
    let body = html! {
        div data-refresh[waits] id="delivery" {
            div.panel { (properties(&rows)) }
            @if member.may(Act::ManageWebhooks) && log.event.is_some() {
                div.row { (act(&member.visitor, &at(&format!("/deliveries/{}/redeliver", delivery.id)), "Send again", "")) }
            }
            (attempts(&log))
            (request_body(&log))
        }
    };
    Ok(page_with(&member, Area::Webhooks, delivery.event_type.as_str(), &["refresh.js"], body))
}

fn attempts(log: &DeliveryLog) -> Markup {
    html! {
        h2 { "Attempts" }
        @if log.attempts.is_empty() { p { "None yet. The first one is made within a second or two." } }
        @for (index, attempt) in log.attempts.iter().enumerate().rev() {
            section.panel aria-labelledby={ "attempt-" (index + 1) } {
                h3 id={ "attempt-" (index + 1) } { "Attempt " (index + 1) }
                (answer(index + 1, attempt))
                details {
                    summary { "What was sent" }
                    // The signatures are not kept: whoever has the secret can make them of these, and nobody else should.
                    (code(&format!("sent-{}", index + 1), &format!("Request of attempt {}", index + 1), &format!(
                        "POST {}\ncontent-type: application/json\nwebhook-id: {}\nwebhook-timestamp: {}\nwebhook-signature: (not kept)\nkallglot-signature: (not kept)",
                        attempt.url, log.delivery.event, attempt.at.as_second()
                    )))
                }
            }
        }
    }
}

/// What came of an attempt.
fn answer(number: usize, attempt: &Attempt) -> Markup {
    let outcome = match (attempt.error, attempt.status) {
        (None, Some(status)) => html! { (badge(Tone::Good, "Accepted")) " with status " (status) },
        (Some(AttemptError::Status | AttemptError::Redirect), Some(status)) => {
            html! { (badge(Tone::Bad, "Refused")) " with status " (status) }
        }
        (Some(_), _) => html! { (badge(Tone::Bad, "Failed")) },
        (None, None) => html! { (badge(Tone::Plain, "Unknown")) },
    };
    let mut rows = vec![("Result", outcome)];
    if attempt.error.is_some() {
        rows.push(("Why", html! { (attempt.error_detail) }));
    }
    rows.push(("Began", time(attempt.at)));
    rows.push(("Took", html! { (attempt.duration_ms) " ms" }));
    html! {
        (properties(&rows))
        @if attempt.status.is_some() {
            details open[attempt.error.is_some()] {
                summary { "What came back" }
                (code(&format!("headers-{number}"), &format!("Headers of answer {number}"), attempt.answer_headers.trim_end()))
                @if attempt.answer_body.is_empty() { p.quiet { "The answer had no text." } }
                @else { (code(&format!("answer-{number}"), &format!("Body of answer {number}, its beginning"), &attempt.answer_body)) }
            }
        }
    }
}

fn request_body(log: &DeliveryLog) -> Markup {
    let sent = log.event.as_ref().map(|event| event.body());
    let readable = sent.as_deref().and_then(|sent| {
        let value: serde_json::Value = serde_json::from_str(sent).ok()?;
        serde_json::to_string_pretty(&value).ok()
    });
    html! {
        h2 { "The event" }
        @match (sent, readable) {
            (Some(sent), Some(readable)) => {
                (code("event", "The event, with line breaks", &readable))
                details {
                    summary { "Exactly as it is sent, byte for byte: this is what is signed" }
                    (code("event-exactly", "The event as it is sent", &sent))
                }
            }
            (Some(sent), None) => (code("event-exactly", "The event as it is sent", &sent)),
            (None, _) => p { "The event is older than 30 days and not stored any more." },
        }
    }
}

pub(super) async fn redeliver(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, webhook, delivery)): Place,
) -> Result<Redirect, Refusal> {
    let (webhook, delivery) = (id(&webhook)?, id(&delivery)?);
    let log = state.app.redeliver(member.tenant, webhook, delivery).await?;
    let path = format!("/deliveries/{}?done=sent", log.delivery.id);
    Ok(Redirect::to(&url_of(&member, webhook, &path)))
}
