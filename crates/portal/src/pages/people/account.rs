//! The own account: name, password, the browsers that are signed in.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::LinkError;
use kallglot_core::organization::valid_name;
use kallglot_core::person::PortalSession;
use maud::{Markup, html};

use super::link::mistakes_of;
use super::{again, authenticator, passkeys, single_sign_on, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, Tone, act, badge, csrf_field, form, properties, table, time};
use crate::form::Form;
use crate::guard::SignedIn;
use crate::layout::{Page, own_page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const MINE: Access = Access::SignedIn;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/account", MINE, show),
        Route::post("/account/name", MINE, rename),
        Route::get("/account/password", MINE, password_page).fresh(),
        Route::post("/account/password", MINE, set_password).fresh(),
        Route::post("/account/sessions/end", MINE, end_session),
        Route::post("/account/sessions/end-others", MINE, end_others),
    ]
}

async fn show(State(state): State<PortalState>, who: SignedIn) -> Result<Page, Refusal> {
    page(&state, &who, &who.known.person.name, &Mistakes::default()).await
}

async fn page(state: &PortalState, who: &SignedIn, name: &str, mistakes: &Mistakes) -> Result<Page, Refusal> {
    let person = &who.known.person;
    let sessions = state.app.storage.portal_sessions(person.id, state.app.clock.now()).await?;
    let passkeys = passkeys::section(state, who).await?;
    let authenticator = authenticator::section(state, who).await?;
    let single_sign_on = single_sign_on::section(state, who).await?;
    let body = html! {
        (mistakes.summary())
        section.panel aria-labelledby="you" {
            h2 #you { "You" }
            (properties(&[("E-mail address", html! { (person.email) }), ("Since", time(person.created_at))]))
            (form(&who.visitor, "/portal/account/name", html! {
                (Field::new("name", "Name", mistakes).hint("Others see it in the audit log and among the members.")
                    .input("text", name, "name", true))
                div.buttons { button type="submit" { "Save the name" } }
            }))
        }
        section.panel aria-labelledby="password-heading" {
            h2 #password-heading { "Password" }
            @match person.password_changed_at {
                Some(at) => p { "Set on " (time(at)) "." },
                None => p { "You have none." },
            }
            p { a.button href="/portal/account/password" { "Set another password" } }
        }
        (passkeys)
        (authenticator)
        @if let Some(part) = single_sign_on { (part) }
        (sessions_of(who, &sessions))
    };
    Ok(own_page(who, "Your account", body))
}

fn sessions_of(who: &SignedIn, sessions: &[PortalSession]) -> Markup {
    let rows = html! {
        @for session in sessions {
            @let own = session.id == who.known.session.id;
            tr {
                th scope="row" {
                    (browser(&session.user_agent))
                    @if own { " " (badge(Tone::Good, "This one")) }
                }
                td { (time(session.created_at)) }
                td { (time(session.seen_at)) }
                td { @if let Some(address) = session.address { code { (address) } } }
                td {
                    form method="post" action="/portal/account/sessions/end" {
                        (csrf_field(&who.visitor))
                        input type="hidden" name="session" value=(session.id);
                        button.small type="submit" { "Sign out" span.unseen { " " (browser(&session.user_agent)) } }
                    }
                }
            }
        }
    };
    html! {
        section aria-labelledby="sessions-heading" {
            h2 #sessions-heading { "Where you are signed in" }
            p { "Is there one that you don't know? Sign it out, and set another password." }
            (table("Browsers that are signed in", &["Browser", "Signed in", "Last used", "From", "Action"], rows))
            @if sessions.len() > 1 {
                div.row { (act(&who.visitor, "/portal/account/sessions/end-others", "Sign out all others", "danger")) }
            }
        }
    }
}

/// A browser's name out of what it calls itself, as far as anybody can tell.
fn browser(user_agent: &str) -> String {
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    let program = named(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = named(&[
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) if user_agent.is_empty() => "Unknown browser".to_owned(),
        (None, None) => user_agent.chars().take(40).collect(),
    }
}

async fn rename(State(state): State<PortalState>, who: SignedIn, form: Form) -> Result<Response, Refusal> {
    let name = form.text("name");
    if !valid_name(name) {
        let mistakes = Mistakes::one("name", "A name has 1 to 100 characters.");
        return Ok(again(page(&state, &who, name, &mistakes).await?));
    }
    state.app.storage.rename_person(who.known.person.id, name).await?;
    Ok(Redirect::to("/portal/account?done=saved").into_response())
}

fn password_form(who: &SignedIn, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "All other browsers in which you are signed in are signed out." }
        (form(&who.visitor, "/portal/account/password", html! {
            input type="text" name="username" value=(who.known.person.email) autocomplete="username" hidden;
            (Field::new("password", "New password", mistakes)
                .hint("At least 12 characters. A few words that have nothing to do with each other are easy to keep in mind.")
                .input("password", "", "new-password", true))
            div.buttons { button.primary type="submit" { "Set the password" } a.button href="/portal/account" { "Cancel" } }
        }))
    };
    own_page(who, "Set another password", body)
}

async fn password_page(who: SignedIn) -> Page {
    password_form(&who, &Mistakes::default())
}

async fn set_password(
    State(state): State<PortalState>,
    who: SignedIn,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    match state.app.change_password(&who.known, form.raw("password"), &visit(&who.visitor, &headers)).await {
        Ok(()) => Ok(Redirect::to("/portal/account?done=saved").into_response()),
        Err(LinkError::Failed(error)) => Err(error.into()),
        Err(error) => Ok(again(password_form(&who, &mistakes_of(&error)))),
    }
}

async fn end_session(State(state): State<PortalState>, who: SignedIn, form: Form) -> Result<Response, Refusal> {
    let id = form.text("session").parse().map_err(|_| Refusal::not_found())?;
    if !state.app.storage.close_portal_session(who.known.person.id, id).await? {
        return Err(Refusal::not_found());
    }
    Ok(Redirect::to("/portal/account?done=ended").into_response())
}

async fn end_others(State(state): State<PortalState>, who: SignedIn) -> Result<Redirect, Refusal> {
    state.app.storage.close_portal_sessions(who.known.person.id, Some(who.known.session.id)).await?;
    Ok(Redirect::to("/portal/account?done=ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_as_people_call_them() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        assert_eq!(browser(chrome), "Chrome on Linux");
        let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Mobile/15E148 Safari/604.1";
        assert_eq!(browser(safari), "Safari on iPhone");
        assert_eq!(browser("curl/8.9"), "curl");
        assert_eq!([browser(""), browser("thing")], ["Unknown browser", "thing"]);
    }
}
