//! Confirming that it is still the same person, before what would hurt in the hands of who found an unlocked screen.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};

use super::{next_field, not_let_in, passkeys, single_sign_on, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, form};
use crate::form::Form;
use crate::guard::SignedIn;
use crate::layout::{Page, card_with, next_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/confirm", Access::SignedIn, show), Route::post("/confirm", Access::SignedIn, confirm)]
}

/// What else than the password one can show.
pub(super) struct Parts {
    passkey: Option<Markup>,
    single_sign_on: Option<Markup>,
}

impl Parts {
    pub(super) async fn of(state: &PortalState, who: &SignedIn, next: &str) -> Result<Self, Refusal> {
        Ok(Self {
            passkey: passkeys::confirm_part(state, who, next).await?,
            single_sign_on: single_sign_on::confirm_part(state, who, next).await?,
        })
    }
}

pub(super) fn page(who: &SignedIn, next: &str, parts: &Parts, mistakes: &Mistakes) -> Page {
    let nothing = parts.passkey.is_none() && parts.single_sign_on.is_none();
    let body = html! {
        (mistakes.summary())
        p { "What you are about to do is sensitive. Show once more that you are " b { (who.known.person.name) } ". It holds for 10 minutes." }
        @if who.known.person.password_changed_at.is_some() {
            (form(&who.visitor, "/portal/confirm", html! {
                (next_field(next))
                // For password managers: which account's password it is.
                input type="text" name="username" value=(who.known.person.email) autocomplete="username" hidden;
                (Field::new("password", "Password", mistakes).input("password", "", "current-password", true))
                div.buttons { button.primary type="submit" { "Confirm" } a.button href="/portal" { "Cancel" } }
            }))
        } @else if nothing {
            p { "Your account has no password. Sign out and in again; then it counts as confirmed." }
        }
        @if let Some(part) = &parts.passkey { (part) }
        @if let Some(part) = &parts.single_sign_on { (part) }
    };
    card_with("Is it you?", &[passkeys::SCRIPT], body)
}

async fn show(State(state): State<PortalState>, who: SignedIn, form: Form) -> Result<Page, Refusal> {
    let next = next_page(form.text("next"));
    Ok(page(&who, next, &Parts::of(&state, &who, next).await?, &Mistakes::default()))
}

async fn confirm(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    match state.app.confirm_password(&who.known, form.raw("password"), &visit(&who.visitor, &headers)).await {
        Ok(()) => Ok(Redirect::to(next).into_response()),
        Err(error) => {
            let parts = Parts::of(&state, &who, next).await?;
            not_let_in(error, "The password is wrong.", |mistakes| page(&who, next, &parts, &mistakes))
        }
    }
}
