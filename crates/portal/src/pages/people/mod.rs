//! People: signing in and out, links that work once, confirming, the own account, organizations, members and invitations.
//!
//! What must stay true: none of these pages tells whether there is an account; each sign-in sets a new cookie, and ends the session that the browser
//! had; a link's code stands in no address and in no page.

mod account;
mod authenticator;
mod confirm;
mod link;
mod members;
mod organizations;
mod passkeys;
mod second_factor;
mod sign_in;
mod single_sign_on;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{NewSession, SESSION_LASTS, SignInError, Visit};
use maud::Markup;

use crate::PortalState;
use crate::components::Mistakes;
use crate::cookie::Cookie;
use crate::guard::Visitor;
use crate::layout::Page;
use crate::refusal::Refusal;
use crate::route::Route;

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = sign_in::routes();
    routes.extend(link::routes());
    routes.extend(confirm::routes());
    routes.extend(account::routes());
    routes.extend(second_factor::routes());
    routes.extend(passkeys::routes());
    routes.extend(authenticator::routes());
    routes.extend(single_sign_on::routes());
    routes.extend(organizations::routes());
    routes.extend(members::routes());
    routes
}

/// From where this request comes, as the use cases want to know it.
pub(crate) fn visit<'a>(visitor: &Visitor, headers: &'a HeaderMap) -> Visit<'a> {
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Visit { address: visitor.arrival.address, request: visitor.arrival.request, user_agent }
}

/// On to a page, with the cookie of a session that was just opened; the one that the browser had ends.
pub(crate) async fn signed_in(
    state: &PortalState,
    visitor: &Visitor,
    session: &NewSession,
    to: &str,
) -> Result<Response, Refusal> {
    if let Some(before) = &visitor.known {
        state.app.sign_out(before).await?;
    }
    let mut response = Redirect::to(to).into_response();
    let max_age_s = u32::try_from(SESSION_LASTS.as_secs()).ok();
    Cookie::Session.set(state, response.headers_mut(), session.cookie.expose(), max_age_s);
    Ok(response)
}

/// A form again, with what is wrong with it (422).
fn again(page: Page) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}

/// How long to wait, as people say it.
fn wait(retry_after_s: u32) -> String {
    match retry_after_s {
        0..=1 => "a second".into(),
        2..=99 => format!("{retry_after_s} seconds"),
        more => format!("{} minutes", more.div_ceil(60)),
    }
}

/// A form again after something secret was wrong in it; `wrong` is what to say then. `page` renders it with the mistakes.
pub(crate) fn not_let_in(
    error: SignInError,
    wrong: &str,
    page: impl FnOnce(Mistakes) -> Page,
) -> Result<Response, Refusal> {
    let (status, message, retry_after_s) = match error {
        SignInError::Wrong => (StatusCode::UNPROCESSABLE_ENTITY, wrong.to_owned(), None),
        SignInError::Wait { retry_after_s } => {
            let message = format!("There were too many attempts. Try again in {}.", wait(retry_after_s));
            (StatusCode::TOO_MANY_REQUESTS, message, Some(retry_after_s))
        }
        SignInError::Busy => {
            let message = "Many people are signing in at this moment. Try again in a few seconds.";
            (StatusCode::SERVICE_UNAVAILABLE, message.to_owned(), Some(2))
        }
        SignInError::Failed(error) => return Err(error.into()),
    };
    let mut response = (status, page(Mistakes::one("", message))).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// The field for where to go on afterwards.
fn next_field(next: &str) -> Markup {
    maud::html! { input type="hidden" name="next" value=(next); }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_said_in_what_people_count_in() {
        assert_eq!([wait(1), wait(59), wait(100), wait(3600)], ["a second", "59 seconds", "2 minutes", "60 minutes"]);
    }
}
