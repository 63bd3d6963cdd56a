//! Changing a key.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::keys::Authority;
use kallglot_core::api_key::ApiKey;
use kallglot_core::organization::Organization;
use kallglot_storage::KeyUpdate;
use maud::html;

use super::form::Entries;
use super::{find, organization, url_of};
use crate::PortalState;
use crate::components::{Mistakes, form};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;

fn form_page(
    member: &Member,
    organization: &Organization,
    key: &ApiKey,
    entries: &Entries,
    mistakes: &Mistakes,
) -> Page {
    let fields = html! {
        (entries.fields(organization, mistakes))
        div.buttons {
            button.primary type="submit" { "Save" }
            a.button href=(url_of(member, key.id, "")) { "Cancel" }
        }
    };
    let body = html! {
        p { "What you change is in force everywhere within a second. The secret stays the same." }
        (mistakes.summary())
        (form(&member.visitor, &url_of(member, key.id, "/edit"), fields))
    };
    page(member, Area::Keys, &format!("Change {}", key.name), body)
}

/// `GET …/keys/{key}/edit`.
pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Result<Page, Refusal> {
    let key = find(&state, &member, &id).await?;
    let organization = organization(&state, &member).await?;
    Ok(form_page(&member, &organization, &key, &Entries::of(&key), &Mistakes::default()))
}

/// `POST …/keys/{key}/edit`.
pub(super) async fn save(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response, Refusal> {
    let key = find(&state, &member, &id).await?;
    let organization = organization(&state, &member).await?;
    let entries = Entries::sent(&form);
    let change = member.change(&state);
    let wanted = match entries.read(Some(&key), change.at) {
        Ok(wanted) => wanted,
        Err(mistakes) => {
            let page = form_page(&member, &organization, &key, &entries, &mistakes);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let update = KeyUpdate {
        name: Some(wanted.name),
        permissions: Some(wanted.permissions),
        expires_at: Some(wanted.expires_at),
        allowed_networks: Some(wanted.networks),
        requests_per_minute_max: Some(wanted.requests_per_minute_max),
        edition: Some(wanted.edition),
        lift_quarantine: false,
    };
    let by = Authority::Person(&organization, member.tenant.environment);
    state.app.update_key(by, &change, key.id, &update).await?;
    Ok(Redirect::to(&url_of(&member, key.id, "?done=saved")).into_response())
}
