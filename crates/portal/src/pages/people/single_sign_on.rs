//! Signing in with an account at the operator's provider: there and back. A link leads there, not a form: pages let forms be sent to this server only.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{CameBack, REQUEST_VALID, SignInError, SingleSignOnError};
use maud::{Markup, html};

use super::{signed_in, visit, wait};
use crate::PortalState;
use crate::components::csrf_field;
use crate::cookie::Cookie;
use crate::form::Form;
use crate::guard::{SignedIn, Visitor, encode};
use crate::layout::next_page;
use crate::refusal::Refusal;
use crate::route::{Access, Route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/sso", Access::Anybody, start),
        Route::get("/sso/return", Access::Anybody, back),
        Route::get("/confirm/sso", Access::SignedIn, confirm),
        Route::post("/account/sso/unlink", Access::SignedIn, unlink).fresh(),
    ]
}

/// The button on the sign-in page: nothing without a provider.
pub(super) fn sign_in_part(state: &PortalState, next: &str) -> Option<Markup> {
    let sign_on = state.app.factors.single_sign_on.as_ref()?;
    Some(html! { p { a.button href={ "/portal/sso?next=" (encode(next)) } { "Sign in with " (sign_on.name) } } })
}

/// The button on the page on which one confirms: nothing for who does not sign in so.
pub(super) async fn confirm_part(state: &PortalState, who: &SignedIn, next: &str) -> Result<Option<Markup>, Refusal> {
    let Some(sign_on) = &state.app.factors.single_sign_on else { return Ok(None) };
    let has = !state.app.storage.identities(who.known.person.id).await?.is_empty();
    Ok(has.then(|| {
        html! { p { a.button href={ "/portal/confirm/sso?next=" (encode(next)) } { "Confirm with " (sign_on.name) } } }
    }))
}

/// The section of the account's page: nothing where it concerns nobody.
pub(super) async fn section(state: &PortalState, who: &SignedIn) -> Result<Option<Markup>, Refusal> {
    let identities = state.app.storage.identities(who.known.person.id).await?;
    if identities.is_empty() {
        return Ok(None);
    }
    let name = state.app.factors.single_sign_on.as_ref().map(|sign_on| sign_on.name.as_str());
    Ok(Some(html! {
        section.panel aria-labelledby="sso-heading" {
            h2 #sso-heading { "Single sign-on" }
            @for identity in &identities {
                form.row method="post" action="/portal/account/sso/unlink" {
                    (csrf_field(&who.visitor))
                    input type="hidden" name="issuer" value=(identity.issuer);
                    input type="hidden" name="subject" value=(identity.subject);
                    span { "Your account " b { (identity.email) } " at " (name.unwrap_or(&identity.issuer)) " signs you in." }
                    button.small type="submit" { "Unlink it" }
                }
            }
        }
    }))
}

async fn unlink(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Redirect, Refusal> {
    let person = who.known.person.id;
    let change = state.app.change_of(person, &visit(&who.visitor, &headers));
    if !state.app.storage.unlink_identity(person, form.text("issuer"), form.text("subject"), &change).await? {
        return Err(Refusal::not_found());
    }
    Ok(Redirect::to("/portal/account?done=removed"))
}

async fn leave(state: &PortalState, confirms: Option<&SignedIn>, next: &str) -> Result<Response, Refusal> {
    let away = state.app.begin_single_sign_on(confirms.map(|who| who.known.as_ref()), next).await.map_err(refusal)?;
    let mut response = Redirect::to(&away.url).into_response();
    let max_age_s = u32::try_from(REQUEST_VALID.as_secs()).ok();
    Cookie::SingleSignOn.set(state, response.headers_mut(), &away.cookie, max_age_s);
    Ok(response)
}

async fn start(State(state): State<PortalState>, form: Form) -> Result<Response, Refusal> {
    leave(&state, None, next_page(form.text("next"))).await
}

async fn confirm(State(state): State<PortalState>, who: SignedIn, form: Form) -> Result<Response, Refusal> {
    leave(&state, Some(&who), next_page(form.text("next"))).await
}

async fn back(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    // There are several reasons (RFC 6749, section 4.1.2.1), mostly that somebody has changed their mind.
    if form.given("error").is_some() {
        let message = "The provider did not sign you in. Go back to the sign-in and try again.";
        return Err(Refusal::page(StatusCode::FORBIDDEN, "Not signed in", message));
    }
    let cookie = Cookie::SingleSignOn.of(&state, &headers).unwrap_or_default();
    let (code, told) = (form.text("code"), form.text("state"));
    let visit = visit(&visitor, &headers);
    let came = state.app.finish_single_sign_on(visitor.known.as_deref(), cookie, told, code, &visit).await;
    let mut response = match came.map_err(refusal)? {
        CameBack::SignedIn(session, next) => signed_in(&state, &visitor, &session, next_page(&next)).await?,
        CameBack::Confirmed(next) => Redirect::to(next_page(&next)).into_response(),
    };
    Cookie::SingleSignOn.clear(&state, response.headers_mut());
    Ok(response)
}

fn refusal(error: SingleSignOnError) -> Refusal {
    let (status, message): (_, String) = match error {
        SingleSignOnError::NotConfigured => return Refusal::not_found(),
        SingleSignOnError::SignIn(SignInError::Failed(error)) => return error.into(),
        SingleSignOnError::SignIn(SignInError::Wait { retry_after_s }) => {
            let message = format!("There were too many attempts. Try again in {}.", wait(retry_after_s));
            return Refusal::Page {
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Not signed in",
                message,
                retry_after_s: Some(retry_after_s),
                cause: None,
            };
        }
        SingleSignOnError::Provider(kallglot_oidc::SignInError::Provider(cause)) => {
            tracing::warn!(cause, "the single sign-on provider can't be used");
            (
                StatusCode::BAD_GATEWAY,
                "The provider can't be reached, or does not answer as it should. Try again in a minute.".into(),
            )
        }
        SingleSignOnError::Provider(error) => {
            tracing::warn!(%error, "somebody could not be signed in by the single sign-on provider");
            (StatusCode::FORBIDDEN, "The provider's answer is not valid. Go back to the sign-in and try again.".into())
        }
        SingleSignOnError::Stale | SingleSignOnError::SignIn(_) => {
            let message = "This answer of the provider is not for this browser, came too late, or was used before. Go back to the sign-in and try again.";
            (StatusCode::FORBIDDEN, message.into())
        }
        SingleSignOnError::Unverified => {
            let message = "Your account at the provider has no e-mail address that the provider has verified. Have it verified there, then try again.";
            (StatusCode::FORBIDDEN, message.into())
        }
        SingleSignOnError::Domain => {
            let message = "People with an e-mail address of this domain are not let in. Ask whoever runs this server.";
            (StatusCode::FORBIDDEN, message.into())
        }
        SingleSignOnError::NotInvited => {
            let message =
                "There is no account for you yet. Ask somebody of your organization to invite you, then try again.";
            (StatusCode::FORBIDDEN, message.into())
        }
        SingleSignOnError::TooMany => {
            let message = "There is no room for you: the organization has as many members as it can have, or is not there. Ask whoever runs this server.";
            (StatusCode::FORBIDDEN, message.into())
        }
        SingleSignOnError::OtherPerson => {
            let message = "At the provider somebody else has signed in than here. Sign in there with your own account.";
            (StatusCode::FORBIDDEN, message.into())
        }
    };
    Refusal::page(status, "Not signed in", message)
}
