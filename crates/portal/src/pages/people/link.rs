//! Links that work once: `/portal/link#<code>`. A script puts the code into the form and clears it from the history; without scripts it is
//! pasted. From the form it goes into a cookie that no script can read, and the next page says what the link is for.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{Account, Code, LinkError};
use kallglot_core::person::{Invitation, PortalLink};
use kallglot_core::session::Environment;
use maud::html;

use super::{again, signed_in, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, form, time};
use crate::cookie::Cookie;
use crate::form::Form;
use crate::guard::Visitor;
use crate::layout::{Page, card, card_with};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// For how long the browser keeps a code that was not used yet. Seconds.
const KEPT_S: u32 = 60 * 60;

const PASSWORD_HINT: &str =
    "At least 12 characters. A few words that have nothing to do with each other are easy to keep in mind.";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/link", Access::Anybody, show),
        Route::post("/link", Access::Anybody, take),
        Route::get("/link/open", Access::Anybody, open_page),
        Route::post("/link/open", Access::Anybody, open),
    ]
}

fn code_page(visitor: &Visitor, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        (form(visitor, "/portal/link", html! {
            (Field::new("code", "Code", mistakes)
                .hint("What stands after the # of the link that you got. It works once.")
                .input("text", "", "off", true))
            div.buttons { button.primary type="submit" { "Go on" } }
        }))
    };
    card_with("Open a link", &["link.js"], body)
}

async fn show(visitor: Visitor) -> Page {
    code_page(&visitor, &Mistakes::default())
}

/// What is said of a link that does nothing (any more).
fn invalid() -> Mistakes {
    Mistakes::one(
        "code",
        "This link can't be used: it was used already, was taken back, or is too old. Ask for a new one.",
    )
}

async fn take(State(state): State<PortalState>, visitor: Visitor, form: Form) -> Result<Response, Refusal> {
    // A whole link that was pasted is good too.
    let text = form.text("code").rsplit('#').next().unwrap_or_default();
    let found = match Code::parse(text) {
        Some(code) => state.app.link_of(&code).await?.map(|_| code),
        None => None,
    };
    let Some(code) = found else { return Ok(again(code_page(&visitor, &invalid()))) };
    let mut response = Redirect::to("/portal/link/open").into_response();
    Cookie::Link.set(&state, response.headers_mut(), code.expose(), Some(KEPT_S));
    Ok(response)
}

/// The link of the browser's code, if it is good.
async fn found(state: &PortalState, headers: &HeaderMap) -> Result<Option<(Code, PortalLink)>, Refusal> {
    let Some(code) = Cookie::Link.of(state, headers).and_then(Code::parse) else { return Ok(None) };
    Ok(state.app.link_of(&code).await?.map(|link| (code, link)))
}

async fn open_page(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    match found(&state, &headers).await? {
        Some((_, link)) => {
            Ok(page_of(&state, &visitor, &link, &Form::default(), &Mistakes::default()).await?.into_response())
        }
        None => Ok(again(code_page(&visitor, &invalid()))),
    }
}

fn password_field(label: &str, mistakes: &Mistakes) -> maud::Markup {
    Field::new("password", label, mistakes).hint(PASSWORD_HINT).input("password", "", "new-password", true)
}

/// The page for what the link is for.
async fn page_of(
    state: &PortalState,
    visitor: &Visitor,
    link: &PortalLink,
    sent: &Form,
    mistakes: &Mistakes,
) -> Result<Page, Refusal> {
    Ok(match link {
        PortalLink::Setup { .. } => setup_page(visitor, sent, mistakes),
        PortalLink::PasswordReset { email, .. } => reset_page(visitor, email, mistakes),
        PortalLink::Invitation(invitation) => {
            // Who holds the invitation learns whether its own address has an account; nobody else does.
            let has_account = state.app.storage.person_of_email(&invitation.email).await?.is_some();
            invitation_page(visitor, invitation, has_account, sent, mistakes)
        }
    })
}

fn setup_page(visitor: &Visitor, sent: &Form, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "You make the first account of this server. It can do everything: it looks after the server and owns its first organization." }
        (form(visitor, "/portal/link/open", html! {
            (Field::new("name", "Your name", mistakes).input("text", sent.text("name"), "name", true))
            (Field::new("email", "E-mail address", mistakes)
                .hint("With it you sign in.").input("email", sent.text("email"), "username", true))
            (password_field("Password", mistakes))
            (Field::new("organization", "Name of your organization", mistakes)
                .hint("Keys, sessions and credits belong to it. You can invite others.")
                .input("text", sent.text("organization"), "organization", true))
            div.buttons { button.primary type="submit" { "Make the account" } }
        }))
    };
    card("Welcome to Kallglot", body)
}

fn reset_page(visitor: &Visitor, email: &str, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "You set a new password for " b { (email) } ". Whoever is signed in to this account is signed out." }
        (form(visitor, "/portal/link/open", html! {
            input type="text" name="username" value=(email) autocomplete="username" hidden;
            (password_field("New password", mistakes))
            div.buttons { button.primary type="submit" { "Set the password" } }
        }))
    };
    card("Set a new password", body)
}

fn invitation_page(
    visitor: &Visitor,
    invitation: &Invitation,
    has_account: bool,
    sent: &Form,
    mistakes: &Mistakes,
) -> Page {
    let title = format!("Join {}", invitation.organization_name);
    let mine = visitor.known.as_ref().map(|known| &known.person);
    let body = html! {
        (mistakes.summary())
        p {
            "You are invited to " b { (invitation.organization_name) } " as " b { (invitation.role.title()) }
            ". The invitation is for " b { (invitation.email) } " and holds until " (time(invitation.expires_at)) " UTC."
        }
        @match mine {
            Some(person) if person.email == invitation.email => {
                (form(visitor, "/portal/link/open", html! {
                    div.buttons { button.primary type="submit" { "Accept" } a.button href="/portal" { "Not now" } }
                }))
            }
            Some(person) => {
                p { "You are signed in as " b { (person.email) } ". Sign out and open the link again to accept." }
            }
            None if has_account => {
                p { "You have an account of this address. Sign in, then accept." }
                p { a.button.primary href="/portal/sign-in?next=%2Fportal%2Flink%2Fopen" { "Sign in" } }
            }
            None => {
                (form(visitor, "/portal/link/open", html! {
                    input type="text" name="username" value=(invitation.email) autocomplete="username" hidden;
                    (Field::new("name", "Your name", mistakes).input("text", sent.text("name"), "name", true))
                    (password_field("Password", mistakes))
                    div.buttons { button.primary type="submit" { "Make an account and join" } }
                }))
            }
        }
    };
    card(&title, body)
}

async fn open(
    State(state): State<PortalState>,
    visitor: Visitor,
    headers: HeaderMap,
    sent: Form,
) -> Result<Response, Refusal> {
    let Some((code, link)) = found(&state, &headers).await? else {
        return Ok(again(code_page(&visitor, &invalid())));
    };
    let visit = visit(&visitor, &headers);
    let account = Account { name: sent.text("name"), password: sent.raw("password") };
    let used = match (&link, &visitor.known) {
        (PortalLink::Setup { .. }, _) => {
            let (email, organization) = (sent.text("email"), sent.text("organization"));
            match state.app.set_up(&code, email, &account, organization, &visit).await {
                Ok(session) => Ok(signed_in(&state, &visitor, &session, "/portal").await?),
                Err(error) => Err(error),
            }
        }
        (PortalLink::PasswordReset { .. }, _) => {
            match state.app.reset_password(&code, account.password, &visit).await {
                Ok(_) => Ok(Redirect::to("/portal/sign-in").into_response()),
                Err(error) => Err(error),
            }
        }
        (PortalLink::Invitation(_), Some(known)) => match state.app.accept_invitation(&code, known, &visit).await {
            Ok(organization) => {
                Ok(Redirect::to(&format!("/portal/{organization}/{}", Environment::Test)).into_response())
            }
            Err(error) => Err(error),
        },
        (PortalLink::Invitation(_), None) => match state.app.accept_with_new_account(&code, &account, &visit).await {
            Ok((session, organization)) => {
                let to = format!("/portal/{organization}/{}", Environment::Test);
                Ok(signed_in(&state, &visitor, &session, &to).await?)
            }
            Err(error) => Err(error),
        },
    };
    let mistakes = match used {
        Ok(mut response) => {
            Cookie::Link.clear(&state, response.headers_mut());
            return Ok(response);
        }
        Err(LinkError::Failed(error)) => return Err(error.into()),
        Err(LinkError::Invalid) => return Ok(again(code_page(&visitor, &invalid()))),
        Err(error) => mistakes_of(&error),
    };
    Ok(again(page_of(&state, &visitor, &link, &sent, &mistakes).await?))
}

/// What to say at which field.
pub(super) fn mistakes_of(error: &LinkError) -> Mistakes {
    match error {
        LinkError::Password(weak) => Mistakes::one("password", weak.to_string()),
        LinkError::Field(field, message) => Mistakes::one(*field, *message),
        LinkError::SignInFirst => {
            Mistakes::one("", "There is an account of this address already: sign in to it, then accept.")
        }
        LinkError::NotForYou => Mistakes::one("", "This invitation is for another address than yours."),
        LinkError::TooMany => {
            Mistakes::one("", "There are as many members, or you have as many organizations, as there can be.")
        }
        LinkError::Busy => Mistakes::one("", "The server has much to do at this moment. Try again in a few seconds."),
        LinkError::Invalid | LinkError::Failed(_) => Mistakes::one("", "This did not work. Open the link again."),
    }
}
