//! Signing in by password, signing out, asking for a new password.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::SignInStep;
use kallglot_core::person::email_address;
use maud::html;

use super::{next_field, not_let_in, passkeys, signed_in, single_sign_on, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, form};
use crate::cookie::Cookie;
use crate::form::Form;
use crate::guard::{SignedIn, Visitor, encode};
use crate::layout::{Page, card, card_with, next_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// What a wrong address, a wrong password and an account without one are told alike.
const WRONG: &str = "The e-mail address or the password is wrong.";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/sign-in", Access::Anybody, show),
        Route::post("/sign-in", Access::Anybody, sign_in),
        Route::post("/sign-out", Access::SignedIn, sign_out),
        Route::get("/forgot", Access::Anybody, forgot_page),
        Route::post("/forgot", Access::Anybody, forgot),
    ]
}

pub(super) fn page(state: &PortalState, visitor: &Visitor, email: &str, next: &str, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        (form(visitor, "/portal/sign-in", html! {
            (next_field(next))
            (Field::new("email", "E-mail address", mistakes).input("email", email, "username", true))
            (Field::new("password", "Password", mistakes).input("password", "", "current-password", true))
            div.buttons { button.primary type="submit" { "Sign in" } }
        }))
        p { a href="/portal/forgot" { "I don't know my password" } }
        @if let Some(part) = passkeys::sign_in_part(state, visitor, next) { (part) }
        @if let Some(part) = single_sign_on::sign_in_part(state, next) { (part) }
    };
    card_with("Sign in", &[passkeys::SCRIPT], body)
}

async fn show(State(state): State<PortalState>, visitor: Visitor, form: Form) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    if visitor.known.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    if !state.app.storage.has_people().await? {
        let body = html! {
            p { "Nobody has an account on this server yet." }
            p { "The server printed a link when it started. Open it to make the first account." }
            p { "Have you lost it? This prints a new one: " code { "kallglot portal link" } }
            p { a href="/portal/link" { "I have a code" } }
        };
        return Ok(card("Welcome to Kallglot", body).into_response());
    }
    Ok(page(&state, &visitor, "", next, &Mistakes::default()).into_response())
}

async fn sign_in(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let (email, next) = (form.text("email"), next_page(form.text("next")));
    match state.app.sign_in(email, form.raw("password"), &visit(&visitor, &headers)).await {
        Ok(SignInStep::Done(session)) => signed_in(&state, &visitor, &session, next).await,
        Ok(SignInStep::SecondFactor(session)) => {
            let to = format!("/portal/second-factor?next={}", encode(next));
            signed_in(&state, &visitor, &session, &to).await
        }
        Err(error) => not_let_in(error, WRONG, |mistakes| page(&state, &visitor, email, next, &mistakes)),
    }
}

async fn sign_out(State(state): State<PortalState>, who: SignedIn) -> Result<Response, Refusal> {
    state.app.sign_out(&who.known).await?;
    let mut response = Redirect::to("/portal/sign-in").into_response();
    Cookie::Session.clear(&state, response.headers_mut());
    Cookie::Link.clear(&state, response.headers_mut());
    Ok(response)
}

fn forgot_form(visitor: &Visitor, email: &str, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "We send you a link with which you set a new one. It works for an hour." }
        (form(visitor, "/portal/forgot", html! {
            (Field::new("email", "E-mail address", mistakes).input("email", email, "username", true))
            div.buttons { button.primary type="submit" { "Send the link" } a.button href="/portal/sign-in" { "Back" } }
        }))
    };
    card("Set a new password", body)
}

async fn forgot_page(State(state): State<PortalState>, visitor: Visitor) -> Page {
    if state.app.mails.is_configured() {
        return forgot_form(&visitor, "", &Mistakes::default());
    }
    let body = html! {
        p { "This server sends no mail. Ask whoever runs it for a link with which you set a new password. They get one by:" }
        p { code { "kallglot portal link --person you@example.com" } }
        p { a href="/portal/link" { "I have a code" } " · " a href="/portal/sign-in" { "Back" } }
    };
    card("Set a new password", body)
}

async fn forgot(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let email = form.text("email");
    if !state.app.mails.is_configured() {
        return Err(Refusal::not_found());
    }
    if email_address(email).is_none() {
        let mistakes = Mistakes::one("email", "This is no e-mail address.");
        return Ok(super::again(forgot_form(&visitor, email, &mistakes)));
    }
    state.app.mail_password_reset(email, &visit(&visitor, &headers)).await;
    let body = html! {
        p { "If there is an account of " b { (email) } ", a link is on its way to it. It can take a minute." }
        p { "Nothing came? Look among unwanted mail, and check the address." }
        p { a href="/portal/sign-in" { "To the sign-in" } }
    };
    Ok(card("Look into your mail", body).into_response())
}
