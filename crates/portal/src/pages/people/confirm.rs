//! Confirming that it is still the same person, before what would hurt in the hands of who found an unlocked screen.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;

use super::{next_field, not_let_in, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, form};
use crate::form::Form;
use crate::guard::SignedIn;
use crate::layout::{Page, card, next_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/confirm", Access::SignedIn, show), Route::post("/confirm", Access::SignedIn, confirm)]
}

fn page(who: &SignedIn, next: &str, mistakes: &Mistakes) -> Page {
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
        } @else {
            p { "Your account has no password. Sign out and in again; then it counts as confirmed." }
        }
    };
    card("Is it you?", body)
}

async fn show(who: SignedIn, form: Form) -> Page {
    page(&who, next_page(form.text("next")), &Mistakes::default())
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
        Err(error) => not_let_in(error, "The password is wrong.", |mistakes| page(&who, next, &mistakes)),
    }
}
