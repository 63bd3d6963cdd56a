//! The organizations that a person belongs to; and for operators, all of them and new ones.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::Error;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::session::Environment;
use kallglot_storage::{Cursor, PageRequest};
use maud::html;

use super::{again, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, Tone, badge, empty, form, mono, pager, table, time};
use crate::form::Form;
use crate::guard::SignedIn;
use crate::layout::{Page, own_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Organizations on a page of the list.
const PAGE_ITEMS: u32 = 50;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/choose", Access::SignedIn, choose),
        Route::get("/organizations", Access::Operator, list),
        Route::get("/organizations/new", Access::Operator, new_page),
        Route::post("/organizations/new", Access::Operator, create),
    ]
}

async fn choose(who: SignedIn) -> Page {
    let rows = html! {
        @for one in &who.known.memberships {
            tr {
                th scope="row" {
                    a href={ "/portal/" (one.organization) "/" (Environment::Test) } { (one.organization_name) }
                }
                td { (one.role.title()) }
                td { (mono(one.organization)) }
            }
        }
    };
    let body = html! {
        @if who.known.memberships.is_empty() {
            @let text = "You belong to no organization at the moment. Ask somebody who does to invite you.";
            @let new = who.known.person.is_operator.then_some(("/portal/organizations/new", "Make an organization"));
            (empty(text, new))
        } @else {
            (table("Your organizations", &["Organization", "Your role", "Id"], rows))
            @if who.known.person.is_operator {
                p { a.button href="/portal/organizations/new" { "Make an organization" } }
            }
        }
    };
    own_page(&who, "Choose an organization", body)
}

async fn list(State(state): State<PortalState>, who: SignedIn, sent: Form) -> Result<Page, Refusal> {
    let after = sent.given("after").map(|id| id.parse().map_err(|_| Refusal::not_found())).transpose()?;
    let before = sent.given("before").map(|id| id.parse().map_err(|_| Refusal::not_found())).transpose()?;
    let cursor = after.map(Cursor::StartingAfter).or(before.map(Cursor::EndingBefore));
    let request = PageRequest { limit: PAGE_ITEMS, cursor };
    let found = state.app.storage.organizations_for_operator(&request).await?;
    let (newer, older) = match cursor {
        None => (false, found.has_more),
        Some(Cursor::StartingAfter(_)) => (true, found.has_more),
        Some(Cursor::EndingBefore(_)) => (found.has_more, true),
    };
    let link = |name: &str, id: Option<kallglot_core::id::OrganizationId>| {
        id.map(|id| format!("/portal/organizations?{name}={id}"))
    };
    let newer = link("before", found.items.first().filter(|_| newer).map(|first| first.id));
    let older = link("after", found.items.last().filter(|_| older).map(|last| last.id));
    let rows = html! {
        @for one in &found.items {
            @let member = who.known.role(one.id).is_some();
            tr {
                th scope="row" {
                    a href={ "/portal/organizations/" (one.id) } { (one.name) }
                    @if member { " " a href={ "/portal/" (one.id) "/" (Environment::Test) } { "(open)" } }
                }
                td { (one.plan) }
                td { @if one.active { (badge(Tone::Good, "Active")) } @else { (badge(Tone::Bad, "Inactive")) } }
                td { (time(one.created_at)) }
                td { (mono(one.id)) }
            }
        }
    };
    let body = html! {
        p { "All organizations of this server. You see what is in one only as its member." }
        div.row { a.button.primary href="/portal/organizations/new" { "Make an organization" } }
        (table("Organizations of this server", &["Name", "Plan", "State", "Since", "Id"], rows))
        (pager(newer.as_deref(), older.as_deref()))
    };
    Ok(own_page(&who, "Organizations", body))
}

fn new_form(who: &SignedIn, name: &str, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "It begins with nothing but you as its owner, on the plan Starter. Its keys, sessions and credits are its own." }
        (form(&who.visitor, "/portal/organizations/new", html! {
            (Field::new("name", "Name", mistakes).input("text", name, "organization", true))
            div.buttons { button.primary type="submit" { "Make it" } a.button href="/portal/organizations" { "Cancel" } }
        }))
    };
    own_page(who, "Make an organization", body)
}

async fn new_page(who: SignedIn) -> Page {
    new_form(&who, "", &Mistakes::default())
}

async fn create(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    sent: Form,
) -> Result<Response, Refusal> {
    let name = sent.text("name");
    match state.app.make_organization(&who.known, name, &visit(&who.visitor, &headers)).await {
        Ok(id) => Ok(Redirect::to(&format!("/portal/{id}/{}", Environment::Test)).into_response()),
        Err(Error::Public(public)) if public.code == ErrorCode::ValidationFailed => {
            Ok(again(new_form(&who, name, &Mistakes::one("name", public.message))))
        }
        Err(error) => Err(error.into()),
    }
}
