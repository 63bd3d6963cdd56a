//! Making a key: the form, and the one page that shows the secret.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::idempotency::Made;
use kallglot_app::keys::{Authority, CreateKey};

use super::form::Entries;
use super::{organization, secret, url_of};
use crate::PortalState;
use crate::components::{Mistakes, form};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::once::{self, Once};
use crate::refusal::Refusal;
use kallglot_core::api_key::{ApiKey, Secret};
use kallglot_core::organization::Organization;
use maud::html;

fn form_page(
    state: &PortalState,
    member: &Member,
    organization: &Organization,
    entries: &Entries,
    mistakes: &Mistakes,
    sent: Option<&Form>,
) -> Page {
    let fields = html! {
        (once::field(state, sent))
        (entries.fields(organization, mistakes))
        div.buttons {
            button.primary type="submit" { "Create the key" }
            a.button href=(member.url("/keys")) { "Cancel" }
        }
    };
    let body = html! {
        p {
            "The key is made for the " b { (member.tenant.environment.as_str()) } " environment. Its secret is shown once, on the next page: have a place ready to keep it in."
        }
        (mistakes.summary())
        (form(&member.visitor, &member.url("/keys/new"), fields))
    };
    page(member, Area::Keys, "Create a key", body)
}

/// `GET …/keys/new`.
pub(super) async fn show(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    let organization = organization(&state, &member).await?;
    let entries = Entries::new(&organization);
    Ok(form_page(&state, &member, &organization, &entries, &Mistakes::default(), None))
}

/// `POST …/keys/new`.
pub(super) async fn create(State(state): State<PortalState>, member: Member, form: Form) -> Result<Response, Refusal> {
    let organization = organization(&state, &member).await?;
    let entries = Entries::sent(&form);
    let change = member.change(&state);
    let wanted = match entries.read(None, change.at) {
        Ok(wanted) => wanted,
        Err(mistakes) => {
            let page = form_page(&state, &member, &organization, &entries, &mistakes, Some(&form));
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let once = Once::begin(&state, &member, &form, format!("{wanted:?}")).await?;
    let asked = CreateKey {
        name: wanted.name,
        permissions: Some(wanted.permissions),
        expires_at: wanted.expires_at,
        allowed_networks: Some(wanted.networks),
        requests_per_minute_max: wanted.requests_per_minute_max,
        edition: wanted.edition,
    };
    let by = Authority::Person(&organization, member.tenant.environment);
    // What is kept is the key's id, not its secret.
    let id = |key: &ApiKey, _: &Secret| key.id.to_string().into_bytes();
    let made = state.app.create_key(by, &change, asked, Some(&once.0), id).await.map_err(once::refusal)?;
    match made {
        Made::New(new) => Ok(secret::created(&state, &member, &new).into_response()),
        Made::Replay(replay) => {
            let id = once::text(replay).parse().map_err(|_| Refusal::not_found())?;
            Ok(Redirect::to(&url_of(&member, id, "?done=once")).into_response())
        }
    }
}
