//! The step after the password, for who has set up an authenticator app: its code, a recovery code, or a passkey.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{PendingSignIn, Purpose};
use maud::{Markup, html};

use super::passkeys::{self, SCRIPT, ceremony};
use super::{next_field, not_let_in, signed_in, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, form};
use crate::cookie::Cookie;
use crate::form::Form;
use crate::guard::Visitor;
use crate::layout::{Page, card_with, next_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const WRONG: &str = "That did not let you in. A code counts once, and for half a minute: wait for the next one.";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/second-factor", Access::Anybody, show),
        Route::post("/second-factor", Access::Anybody, by_code),
        Route::post("/second-factor/passkey/options", Access::Anybody, options),
        Route::post("/second-factor/passkey", Access::Anybody, by_passkey),
    ]
}

/// Who has shown the password; all others are led to where they show it.
async fn pending(state: &PortalState, headers: &HeaderMap) -> Result<PendingSignIn, Refusal> {
    let pending = match Cookie::Session.of(state, headers) {
        Some(cookie) => state.app.pending_sign_in(cookie).await?,
        None => None,
    };
    pending.ok_or_else(|| Refusal::SeeOther("/portal/sign-in".into()))
}

/// What the page offers beside codes.
async fn passkey_part(
    state: &PortalState,
    visitor: &Visitor,
    pending: &PendingSignIn,
    next: &str,
) -> Result<Option<Markup>, Refusal> {
    let has = state.app.relying_party().is_ok() && !state.app.storage.passkeys(pending.person.id).await?.is_empty();
    let (options, action) = ("/portal/second-factor/passkey/options", "/portal/second-factor/passkey");
    Ok(has.then(|| ceremony(visitor, "get", options, action, ("Use a passkey", ""), next_field(next))))
}

fn page(visitor: &Visitor, next: &str, passkey: Option<Markup>, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "Your password is right. Type the code that your authenticator app shows now, or one of your recovery codes." }
        (form(visitor, "/portal/second-factor", html! {
            (next_field(next))
            (Field::new("code", "Code", mistakes).input("text", "", "one-time-code", true))
            div.buttons { button.primary type="submit" { "Sign in" } a.button href="/portal/sign-in" { "Back" } }
        }))
        @if let Some(passkey) = passkey { (passkey) }
    };
    card_with("One more step", &[SCRIPT], body)
}

async fn show(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    if visitor.known.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    let pending = pending(&state, &headers).await?;
    let passkey = passkey_part(&state, &visitor, &pending, next).await?;
    Ok(page(&visitor, next, passkey, &Mistakes::default()).into_response())
}

async fn by_code(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    let pending = pending(&state, &headers).await?;
    match state.app.second_factor_by_code(&pending, form.text("code"), &visit(&visitor, &headers)).await {
        Ok(session) => signed_in(&state, &visitor, &session, next).await,
        Err(error) => {
            let passkey = passkey_part(&state, &visitor, &pending, next).await?;
            not_let_in(error, WRONG, |mistakes| page(&visitor, next, passkey, &mistakes))
        }
    }
}

async fn options(State(state): State<PortalState>, headers: HeaderMap) -> Result<Response, Refusal> {
    let pending = pending(&state, &headers).await?;
    passkeys::options(&state, Purpose::SecondFactor(&pending)).await
}

async fn by_passkey(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    let pending = pending(&state, &headers).await?;
    let (ceremony, answer) = (form.text("ceremony"), form.text("answer"));
    match state.app.second_factor_by_passkey(&pending, ceremony, answer, &visit(&visitor, &headers)).await {
        Ok(session) => signed_in(&state, &visitor, &session, next).await,
        Err(error) => {
            let passkey = passkey_part(&state, &visitor, &pending, next).await?;
            not_let_in(error, "That passkey is not one of this account.", |mistakes| {
                page(&visitor, next, passkey, &mistakes)
            })
        }
    }
}
