//! For the server's operators: an organization's plan, limits, state and credits. They see nothing of what is in it.

use std::num::NonZeroU32;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_core::organization::Organization;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_storage::{GateChange, OrganizationUpdate};
use maud::html;

use super::credits::{limits, plan_name};
use super::overview::signed;
use crate::PortalState;
use crate::components::{Field, Mistakes, Tone, act, badge, form, mono, properties, time};
use crate::form::Form;
use crate::guard::SignedIn;
use crate::layout::{Page, own_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Most credits that are granted at once.
const GRANT_MAX: u32 = 10_000_000;

pub(crate) fn routes() -> Vec<Route> {
    const OPERATOR: Access = Access::Operator;
    vec![
        Route::get("/organizations/{organization}", OPERATOR, show).fresh(),
        Route::post("/organizations/{organization}/credits", OPERATOR, grant).fresh(),
        Route::post("/organizations/{organization}/plan", OPERATOR, set_plan).fresh(),
        Route::post("/organizations/{organization}/activate", OPERATOR, activate).fresh(),
        Route::post("/organizations/{organization}/deactivate", OPERATOR, deactivate).fresh(),
    ]
}

/// The overrides: field, label, what is set.
type Override = (&'static str, &'static str, fn(&LimitOverrides) -> Option<u32>);
const OVERRIDES: [Override; 4] = [
    ("requests_per_minute", "Requests per minute", |of| of.requests_per_minute_max),
    ("concurrent_sessions", "Sessions at one time", |of| of.concurrent_sessions_max),
    ("stream_messages", "Messages per second on one stream", |of| of.stream_messages_per_second_max),
    ("stream_audio_bytes", "Bytes of audio per second on one stream", |of| of.stream_audio_bytes_per_second_max),
];

fn url_of(organization: &Organization, path: &str) -> String {
    format!("/portal/organizations/{}{path}", organization.id)
}

async fn find(state: &PortalState, id: &str) -> Result<Organization, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found())?;
    state.app.storage.organization(id).await?.ok_or_else(Refusal::not_found)
}

async fn detail(
    state: &PortalState,
    who: &SignedIn,
    organization: &Organization,
    sent: Option<&Form>,
    mistakes: &Mistakes,
) -> Result<Page, Refusal> {
    let balance = state.app.storage.credit_balance(organization.id).await?.unwrap_or_default();
    let now = state.app.clock.now();
    let typed = |name: &str| sent.map(|form| form.text(name).to_owned());
    let plans: Vec<_> = Plan::ALL.iter().map(|of| (of.to_string(), of.to_string())).collect();
    let plan = typed("plan").unwrap_or_else(|| organization.plan.to_string());
    let body = html! {
        (mistakes.summary())
        section.panel aria-labelledby="organization" {
            h2 #organization { (organization.name) }
            (properties(&[
                ("Id", mono(organization.id)),
                ("Since", time(organization.created_at)),
                ("State", if organization.active { badge(Tone::Good, "Active") } else { badge(Tone::Bad, "Not active") }),
                ("Plan", html! { (plan_name(organization)) }),
                ("Credits left", html! { (signed(balance.remaining)) }),
                ("Used this month", html! { (signed(balance.used_at(now))) }),
            ]))
        }
        section.panel aria-labelledby="grant" {
            h2 #grant { "Grant credits" }
            (form(&who.visitor, &url_of(organization, "/credits"), html! {
                (crate::once::field(state, sent))
                (Field::new("credits", "Credits", mistakes).input("number", &typed("credits").unwrap_or_default(), "off", true))
                div.buttons { button.primary type="submit" { "Grant them" } }
            }))
        }
        section.panel aria-labelledby="plan-heading" {
            h2 #plan-heading { "Plan and limits" }
            (limits(organization))
            (form(&who.visitor, &url_of(organization, "/plan"), html! {
                (Field::new("plan", "Plan", mistakes).select(&plans, &plan))
                @for (name, label, of) in OVERRIDES {
                    @let set = typed(name).unwrap_or_else(|| of(&organization.overrides).map(|max| max.to_string()).unwrap_or_default());
                    (Field::new(name, label, mistakes).hint("In the live environment, in place of the plan's. Empty: the plan's.").input("number", &set, "off", false))
                }
                div.buttons { button.primary type="submit" { "Set the plan" } }
            }))
        }
        section.panel.danger aria-labelledby="state" {
            h2 #state { "State" }
            @if organization.active {
                p { "Without an active subscription every request of the organization is refused, and its calls end." }
                (act(&who.visitor, &url_of(organization, "/deactivate"), "Deactivate", "danger"))
            } @else {
                p { "Its requests are refused at the moment." }
                (act(&who.visitor, &url_of(organization, "/activate"), "Activate", "primary"))
            }
        }
        p { a href="/portal/organizations" { "All organizations" } }
    };
    Ok(own_page(who, &format!("Organization: {}", organization.name), body))
}

async fn show(State(state): State<PortalState>, who: SignedIn, Path(id): Path<String>) -> Result<Page, Refusal> {
    let organization = find(&state, &id).await?;
    detail(&state, &who, &organization, None, &Mistakes::default()).await
}

async fn again(
    state: &PortalState,
    who: &SignedIn,
    organization: &Organization,
    form: &Form,
    mistakes: &Mistakes,
) -> Result<Response, Refusal> {
    let page = detail(state, who, organization, Some(form), mistakes).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn grant(
    State(state): State<PortalState>,
    who: SignedIn,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Refusal> {
    let organization = find(&state, &id).await?;
    let credits =
        form.text("credits").parse::<u32>().ok().filter(|credits| *credits <= GRANT_MAX).and_then(NonZeroU32::new);
    let Some(credits) = credits else {
        let mistakes = Mistakes::one("credits", format!("A whole number of credits, 1 to {GRANT_MAX}."));
        return again(&state, &who, &organization, &form, &mistakes).await;
    };
    let once =
        crate::once::Once::begin_for_operator(&state, &who, organization.id, &form, format!("grant {credits}")).await?;
    if once.made_before().await?.is_some() {
        return Ok(Redirect::to(&url_of(&organization, "?done=once")).into_response());
    }
    let granted = state.app.storage.grant_credits(organization.id, credits, &who.change(&state)).await?;
    granted.ok_or_else(Refusal::not_found)?;
    state.app.changed(&[GateChange::Organization(organization.id)]).await;
    once.keep("granted").await?;
    Ok(Redirect::to(&url_of(&organization, "?done=granted")).into_response())
}

async fn set_plan(
    State(state): State<PortalState>,
    who: SignedIn,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Refusal> {
    let organization = find(&state, &id).await?;
    let mut mistakes = Mistakes::default();
    let plan = Plan::parse(form.text("plan"));
    if plan.is_none() {
        mistakes.add("plan", "Choose one of the plans.");
    }
    let mut read = |name: &str| match form.given(name) {
        None => None,
        Some(text) => {
            let max = text.parse::<u32>().ok().filter(|max| (1..=LimitOverrides::LIMIT_MAX).contains(max));
            if max.is_none() {
                mistakes
                    .add(name, format!("A whole number, 1 to {}, or empty for the plan's.", LimitOverrides::LIMIT_MAX));
            }
            max
        }
    };
    let overrides = LimitOverrides {
        requests_per_minute_max: read("requests_per_minute"),
        concurrent_sessions_max: read("concurrent_sessions"),
        stream_messages_per_second_max: read("stream_messages"),
        stream_audio_bytes_per_second_max: read("stream_audio_bytes"),
    };
    if !mistakes.is_empty() {
        return again(&state, &who, &organization, &form, &mistakes).await;
    }
    let update = OrganizationUpdate { plan, overrides: Some(overrides), ..OrganizationUpdate::default() };
    update_organization(&state, &who, &organization, &update).await
}

async fn activate(
    State(state): State<PortalState>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let update = OrganizationUpdate { active: Some(true), ..OrganizationUpdate::default() };
    update_organization(&state, &who, &find(&state, &id).await?, &update).await
}

async fn deactivate(
    State(state): State<PortalState>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let update = OrganizationUpdate { active: Some(false), ..OrganizationUpdate::default() };
    update_organization(&state, &who, &find(&state, &id).await?, &update).await
}

async fn update_organization(
    state: &PortalState,
    who: &SignedIn,
    organization: &Organization,
    update: &OrganizationUpdate,
) -> Result<Response, Refusal> {
    let change = who.change(state);
    let updated = state.app.storage.update_organization(organization.id, update, &change).await?;
    updated.ok_or_else(Refusal::not_found)?;
    state.app.changed(&[GateChange::Organization(organization.id)]).await;
    Ok(Redirect::to(&url_of(organization, "?done=saved")).into_response())
}
