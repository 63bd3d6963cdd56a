//! The authenticator app and its recovery codes, on the account's page.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{EnrolError, TotpEnrolment};
use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

use super::{again, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, code, form, time};
use crate::form::Form;
use crate::guard::SignedIn;
use crate::layout::{Page, own_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const MINE: Access = Access::SignedIn;
/// White around a QR code, in its modules (ISO/IEC 18004: four).
const QUIET: i32 = 4;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/account/authenticator", MINE, set_up_page).fresh(),
        Route::post("/account/authenticator", MINE, set_up).fresh(),
        Route::get("/account/authenticator/remove", MINE, remove_page).fresh(),
        Route::post("/account/authenticator/remove", MINE, remove).fresh(),
        Route::get("/account/recovery-codes", MINE, codes_page).fresh(),
        Route::post("/account/recovery-codes", MINE, new_codes).fresh(),
    ]
}

/// The section of the account's page.
pub(super) async fn section(state: &PortalState, who: &SignedIn) -> Result<Markup, Refusal> {
    let person = who.known.person.id;
    let totp = state.app.storage.totp(person).await?;
    let left = state.app.storage.recovery_codes_left(person).await?;
    Ok(html! {
        section.panel aria-labelledby="authenticator-heading" {
            h2 #authenticator-heading { "Authenticator app" }
            @match totp {
                None => {
                    p { "Your password alone signs you in. With an app on your phone that shows codes, who learns the password still can't." }
                    p { a.button href="/portal/account/authenticator" { "Set up an app" } }
                }
                Some(totp) => {
                    p { "Set up on " (time(totp.created_at)) ". After the password you are asked for its code." }
                    @if left == 0 { p.note.bad { "You have no recovery codes left. Make new ones, or you lose your account with your phone." } }
                    @else { p { "Recovery codes left: " (left) "." } }
                    div.row {
                        a.button href="/portal/account/recovery-codes" { "Make new recovery codes" }
                        a.button href="/portal/account/authenticator/remove" { "Remove the app" }
                    }
                }
            }
        }
    })
}

/// A QR code as a picture within the page, black on white also where the page is dark: what reads it wants that.
fn qr_code(text: &str) -> Option<Markup> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in (0..size).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    let whole = size + 2 * QUIET;
    Some(html! {
        svg.qr role="img" aria-label="QR code for your authenticator app" width="220" height="220"
            viewBox={ "0 0 " (whole) " " (whole) } shape-rendering="crispEdges" {
            rect width=(whole) height=(whole) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    })
}

fn enrolment_page(who: &SignedIn, enrolment: &TotpEnrolment, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "Scan this with an authenticator app, such as the one of your password manager:" }
        @if let Some(picture) = qr_code(&enrolment.uri) { (picture) }
        p { "Can't you scan it? Type this secret into the app instead. It shows codes of 6 digits that change every 30 seconds." }
        (code("secret", "Secret for your authenticator app", &enrolment.secret))
        (form(&who.visitor, "/portal/account/authenticator", html! {
            input type="hidden" name="enrolment" value=(enrolment.sealed);
            (Field::new("code", "Code that the app shows now", mistakes)
                .hint("So that it is sure that the app works before you need it.")
                .input("text", "", "one-time-code", true))
            div.buttons { button.primary type="submit" { "Set it up" } a.button href="/portal/account" { "Cancel" } }
        }))
    };
    own_page(who, "Set up an authenticator app", body)
}

async fn set_up_page(State(state): State<PortalState>, who: SignedIn) -> Result<Response, Refusal> {
    if state.app.storage.totp(who.known.person.id).await?.is_some() {
        return Ok(Redirect::to("/portal/account").into_response());
    }
    Ok(enrolment_page(&who, &state.app.begin_totp(&who.known), &Mistakes::default()).into_response())
}

async fn set_up(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let sealed = form.text("enrolment");
    let confirmed = state.app.confirm_totp(&who.known, sealed, form.text("code"), &visit(&who.visitor, &headers)).await;
    let mistakes = match confirmed {
        Ok(codes) => return Ok(shown_codes(&who, &codes).into_response()),
        Err(EnrolError::Failed(error)) => return Err(error.into()),
        Err(EnrolError::Already) => return Ok(Redirect::to("/portal/account").into_response()),
        Err(EnrolError::Wrong) => Mistakes::one(
            "code",
            "This is not the app's code. Is the phone's clock right? Type the code that it shows now.",
        ),
        Err(EnrolError::Expired) => Mistakes::one("", "The page was open for too long. Scan this new code."),
    };
    let enrolment = match state.app.totp_again(&who.known, sealed) {
        Ok(enrolment) => enrolment,
        Err(_) => state.app.begin_totp(&who.known),
    };
    Ok(again(enrolment_page(&who, &enrolment, &mistakes)))
}

/// The recovery codes, this once.
fn shown_codes(who: &SignedIn, codes: &[String]) -> Page {
    let body = html! {
        p { "Each of these codes signs you in once, after your password, when you don't have your phone. Keep them where you keep your passwords: " b { "they are not shown again." } }
        (code("recovery-codes", "Recovery codes", &codes.join("\n")))
        p { a.button.primary href="/portal/account" { "I have kept them" } }
    };
    own_page(who, "Your recovery codes", body)
}

async fn codes_page(State(state): State<PortalState>, who: SignedIn) -> Result<Page, Refusal> {
    if state.app.storage.totp(who.known.person.id).await?.is_none() {
        return Err(Refusal::not_found());
    }
    let body = html! {
        p { "You get 10 new codes. Those that you have now no longer work." }
        (form(&who.visitor, "/portal/account/recovery-codes", html! {
            div.buttons { button.primary type="submit" { "Make new codes" } a.button href="/portal/account" { "Cancel" } }
        }))
    };
    Ok(own_page(&who, "New recovery codes", body))
}

async fn new_codes(State(state): State<PortalState>, who: SignedIn, headers: HeaderMap) -> Result<Page, Refusal> {
    let codes = state.app.new_recovery_codes(&who.known, &visit(&who.visitor, &headers)).await?;
    Ok(shown_codes(&who, &codes.ok_or_else(Refusal::not_found)?))
}

async fn remove_page(State(state): State<PortalState>, who: SignedIn) -> Result<Page, Refusal> {
    if state.app.storage.totp(who.known.person.id).await?.is_none() {
        return Err(Refusal::not_found());
    }
    let body = html! {
        p { "Your password alone signs you in then, and your recovery codes no longer work." }
        (form(&who.visitor, "/portal/account/authenticator/remove", html! {
            div.buttons { button.danger type="submit" { "Remove the app" } a.button href="/portal/account" { "Cancel" } }
        }))
    };
    Ok(own_page(&who, "Remove the authenticator app", body))
}

async fn remove(State(state): State<PortalState>, who: SignedIn, headers: HeaderMap) -> Result<Redirect, Refusal> {
    if !state.app.remove_totp(&who.known, &visit(&who.visitor, &headers)).await? {
        return Err(Refusal::not_found());
    }
    Ok(Redirect::to("/portal/account?done=removed"))
}
