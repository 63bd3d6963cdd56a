//! Passkeys on the account's page, at the sign-in, after the password, and to confirm.
//!
//! A ceremony is a form whose button asks for a challenge (as JSON), lets the browser answer it and sends the form: `assets/passkey.js`. Where there is no
//! JavaScript, or the server's address allows no passkeys, the page says so and what to do.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{AddPasskeyError, Purpose};
use kallglot_storage::Passkey;
use maud::{Markup, html};
use serde_json::json;

use super::{again, next_field, not_let_in, signed_in, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, csrf_field, table, time, time_or};
use crate::form::Form;
use crate::guard::{SignedIn, Visitor};
use crate::layout::{Page, next_page, own_page_with};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// The module that ceremonies need.
pub(super) const SCRIPT: &str = "passkey.js";
/// What a passkey that was not believed is told, whatever was wrong.
const WRONG: &str = "That passkey does not let you in here. If it took longer than 5 minutes, try again; if you have removed it from your account, use another one.";

const MINE: Access = Access::SignedIn;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/sign-in/passkey/options", Access::Anybody, sign_in_options),
        Route::post("/sign-in/passkey", Access::Anybody, sign_in),
        Route::post("/confirm/passkey/options", MINE, confirm_options),
        Route::post("/confirm/passkey", MINE, confirm),
        Route::get("/account/passkeys/new", MINE, new_page).fresh(),
        Route::post("/account/passkeys/options", MINE, add_options).fresh(),
        Route::post("/account/passkeys", MINE, add).fresh(),
        Route::post("/account/passkeys/rename", MINE, rename),
        Route::get("/account/passkeys/remove", MINE, remove_page).fresh(),
        Route::post("/account/passkeys/remove", MINE, remove).fresh(),
    ]
}

/// A ceremony's form; `more` are its other fields. `what` is `create` or `get`.
pub(super) fn ceremony(
    visitor: &Visitor,
    what: &str,
    options: &str,
    action: &str,
    button: (&str, &str),
    more: Markup,
) -> Markup {
    let (label, class) = button;
    html! {
        form.stack method="post" action=(action) data-passkey=(what) data-options=(options) {
            (csrf_field(visitor))
            input type="hidden" name="ceremony" value="";
            input type="hidden" name="answer" value="";
            (more)
            div.buttons { button class=(class) type="button" data-passkey-start hidden { (label) } }
            p.hint data-passkey-message role="status" {}
            noscript { p.hint { "Passkeys need JavaScript." } }
        }
    }
}

/// The challenge of a ceremony, as JSON.
pub(super) async fn options(state: &PortalState, purpose: Purpose<'_>) -> Result<Response, Refusal> {
    match state.app.begin_passkey(purpose).await {
        Ok(begun) => Ok(Json(json!({ "options": begun.options, "ceremony": begun.ceremony })).into_response()),
        Err(AddPasskeyError::Failed(error)) => Err(error.into()),
        Err(error) => Err(Refusal::bad_request(error.to_string())),
    }
}

/// The part of the sign-in page: nothing where there can be none.
pub(super) fn sign_in_part(state: &PortalState, visitor: &Visitor, next: &str) -> Option<Markup> {
    state.app.relying_party().ok()?;
    let button = ("Sign in with a passkey", "");
    let (options, action) = ("/portal/sign-in/passkey/options", "/portal/sign-in/passkey");
    Some(ceremony(visitor, "get", options, action, button, next_field(next)))
}

async fn sign_in_options(State(state): State<PortalState>) -> Result<Response, Refusal> {
    options(&state, Purpose::SignIn).await
}

async fn sign_in(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    let visit = visit(&visitor, &headers);
    match state.app.sign_in_with_passkey(form.text("ceremony"), form.text("answer"), &visit).await {
        Ok(session) => signed_in(&state, &visitor, &session, next).await,
        Err(error) => not_let_in(error, WRONG, |mistakes| super::sign_in::page(&state, &visitor, "", next, &mistakes)),
    }
}

/// The part of the page on which one confirms: nothing for who has none.
pub(super) async fn confirm_part(state: &PortalState, who: &SignedIn, next: &str) -> Result<Option<Markup>, Refusal> {
    let has = state.app.relying_party().is_ok() && !state.app.storage.passkeys(who.known.person.id).await?.is_empty();
    let button = ("Confirm with a passkey", "primary");
    let (options, action) = ("/portal/confirm/passkey/options", "/portal/confirm/passkey");
    Ok(has.then(|| ceremony(&who.visitor, "get", options, action, button, next_field(next))))
}

async fn confirm_options(State(state): State<PortalState>, who: SignedIn) -> Result<Response, Refusal> {
    options(&state, Purpose::Confirm(&who.known)).await
}

async fn confirm(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = next_page(form.text("next"));
    let visit = visit(&who.visitor, &headers);
    match state.app.confirm_passkey(&who.known, form.text("ceremony"), form.text("answer"), &visit).await {
        Ok(()) => Ok(Redirect::to(next).into_response()),
        Err(error) => {
            let parts = super::confirm::Parts::of(&state, &who, next).await?;
            not_let_in(error, WRONG, |mistakes| super::confirm::page(&who, next, &parts, &mistakes))
        }
    }
}

/// The section of the account's page.
pub(super) async fn section(state: &PortalState, who: &SignedIn) -> Result<Markup, Refusal> {
    let passkeys = state.app.storage.passkeys(who.known.person.id).await?;
    let possible = state.app.relying_party();
    Ok(html! {
        section.panel aria-labelledby="passkeys-heading" {
            h2 #passkeys-heading { "Passkeys" }
            p { "With a passkey you sign in by your finger, your face or your device's PIN: without a password, and nobody can trick you out of it." }
            @if !passkeys.is_empty() { (list(who, &passkeys)) }
            @match possible {
                Ok(_) => p { a.button href="/portal/account/passkeys/new" { "Add a passkey" } },
                Err(why) => p.note { (cannot(why)) },
            }
        }
    })
}

fn cannot(why: kallglot_webauthn::NoPasskeys) -> &'static str {
    use kallglot_webauthn::NoPasskeys;
    match why {
        NoPasskeys::IpAddress => {
            "There can be no passkeys here: browsers allow them for host names only, and this server's address is an IP address. Whoever runs it can set `public_url` to a name."
        }
        NoPasskeys::NotSecure => {
            "There can be no passkeys here: browsers allow them on https:// pages only. Whoever runs this server can put TLS in front of it and set `public_url`."
        }
        NoPasskeys::Malformed => "There can be no passkeys here: the setting `public_url` is no web address.",
    }
}

fn list(who: &SignedIn, passkeys: &[Passkey]) -> Markup {
    let rows = html! {
        @for passkey in passkeys {
            tr {
                th scope="row" {
                    form.row method="post" action="/portal/account/passkeys/rename" {
                        (csrf_field(&who.visitor))
                        input type="hidden" name="passkey" value=(passkey.id);
                        input type="text" name="name" value=(passkey.name) aria-label={ "Name of " (passkey.name) } maxlength="100" required autocomplete="off";
                        button.small type="submit" { "Rename" span.unseen { " " (passkey.name) } }
                    }
                }
                td { (time(passkey.created_at)) }
                td { (time_or(passkey.last_used_at, "never")) }
                td { @if passkey.backed_up { "Yes" } @else { "No" } }
                td {
                    a.button.small href={ "/portal/account/passkeys/remove?passkey=" (passkey.id) } { "Remove" span.unseen { " " (passkey.name) } }
                }
            }
        }
    };
    table("Your passkeys", &["Name", "Added", "Last used", "On several devices", "Action"], rows)
}

fn add_page(who: &SignedIn, name: &str, mistakes: &Mistakes) -> Page {
    let field = Field::new("name", "Name", mistakes)
        .hint("So that you know it again: the device that it is on, for example.")
        .input("text", name, "off", true);
    let button = ("Add the passkey", "primary");
    let (options, action) = ("/portal/account/passkeys/options", "/portal/account/passkeys");
    let body = html! {
        (mistakes.summary())
        p { "Your browser asks where to keep it, and for your finger, your face or your PIN." }
        (ceremony(&who.visitor, "create", options, action, button, field))
        p { a href="/portal/account" { "Back to your account" } }
    };
    own_page_with(who, "Add a passkey", &[SCRIPT], body)
}

async fn new_page(State(state): State<PortalState>, who: SignedIn) -> Result<Page, Refusal> {
    if let Err(why) = state.app.relying_party() {
        return Err(Refusal::bad_request(cannot(why)));
    }
    Ok(add_page(&who, "", &Mistakes::default()))
}

async fn add_options(State(state): State<PortalState>, who: SignedIn) -> Result<Response, Refusal> {
    options(&state, Purpose::Add(&who.known)).await
}

async fn add(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let name = form.text("name");
    let (ceremony, answer) = (form.text("ceremony"), form.text("answer"));
    let mistakes = match state.app.add_passkey(&who.known, name, ceremony, answer, &visit(&who.visitor, &headers)).await
    {
        Ok(()) => return Ok(Redirect::to("/portal/account?done=saved").into_response()),
        Err(AddPasskeyError::Failed(error)) => return Err(error.into()),
        Err(AddPasskeyError::Name) => Mistakes::one("name", "A name has 1 to 100 characters."),
        Err(AddPasskeyError::Invalid) => Mistakes::one(
            "",
            "The passkey was not added: it took longer than 5 minutes, or the browser's answer was not valid. Try again.",
        ),
        Err(AddPasskeyError::Taken) => Mistakes::one("", "This passkey is there already."),
        Err(AddPasskeyError::TooMany) => {
            Mistakes::one("", "You have 20 passkeys, and can't have more. Remove one that you don't use.")
        }
        Err(AddPasskeyError::NoPasskeys(why)) => Mistakes::one("", cannot(why)),
    };
    Ok(again(add_page(&who, name, &mistakes)))
}

async fn rename(State(state): State<PortalState>, who: SignedIn, form: Form) -> Result<Response, Refusal> {
    let id = form.text("passkey").parse().map_err(|_| Refusal::not_found())?;
    if !state.app.rename_passkey(&who.known, id, form.text("name")).await? {
        return Err(Refusal::bad_request(
            "A passkey's name has 1 to 100 characters, or there is no such passkey any more.",
        ));
    }
    Ok(Redirect::to("/portal/account?done=saved").into_response())
}

async fn remove_page(State(state): State<PortalState>, who: SignedIn, form: Form) -> Result<Page, Refusal> {
    let id = form.text("passkey").parse().map_err(|_| Refusal::not_found())?;
    let passkeys = state.app.storage.passkeys(who.known.person.id).await?;
    let passkey = passkeys.iter().find(|one| one.id == id).ok_or_else(Refusal::not_found)?;
    let alone = passkeys.len() == 1 && who.known.person.password_changed_at.is_none();
    let body = html! {
        p { "You no longer sign in with " b { (passkey.name) } ". Also delete it on your device: the server can't." }
        @if alone { p.note.bad { "It is your only passkey, and you have no password. Set one first, or make sure that you can sign in otherwise." } }
        (crate::components::form(&who.visitor, "/portal/account/passkeys/remove", html! {
            input type="hidden" name="passkey" value=(passkey.id);
            div.buttons { button.danger type="submit" { "Remove it" } a.button href="/portal/account" { "Cancel" } }
        }))
    };
    Ok(own_page_with(&who, "Remove a passkey", &[], body))
}

async fn remove(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let id = form.text("passkey").parse().map_err(|_| Refusal::not_found())?;
    if !state.app.remove_passkey(&who.known, id, &visit(&who.visitor, &headers)).await? {
        return Err(Refusal::not_found());
    }
    Ok(Redirect::to("/portal/account?done=removed").into_response())
}
