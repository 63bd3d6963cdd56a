//! Giving a key a new secret.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::SignedDuration;
use kallglot_app::keys::Authority;
use kallglot_core::api_key::{ApiKey, ROTATION_GRACE_S_MAX};
use maud::html;

use super::{find, organization, secret, url_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, form};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::once::{self, Once};
use crate::refusal::Refusal;

/// How long the old secret can stay valid: in seconds, and as people say it.
const GRACES: [(u32, &str, &str); 6] = [
    (0, "Not at all", "The old secret is refused at once: for one that somebody else may have."),
    (3600, "1 hour", ""),
    (24 * 3600, "1 day", "Long enough to change over most systems."),
    (2 * 24 * 3600, "2 days", ""),
    (4 * 24 * 3600, "4 days", ""),
    (ROTATION_GRACE_S_MAX, "7 days", "The longest there is."),
];
const GRACE: &str = "86400";

fn form_page(state: &PortalState, member: &Member, key: &ApiKey, mistakes: &Mistakes, sent: Option<&Form>) -> Page {
    let graces: Vec<_> =
        GRACES.iter().map(|(s, name, more)| (s.to_string(), (*name).to_owned(), (*more).to_owned())).collect();
    let chosen = sent.map_or(GRACE, |form| form.text("grace_s"));
    let fields = html! {
        (once::field(state, sent))
        (Field::new("grace_s", "How long the old secret stays valid", mistakes).radios(&graces, chosen))
        div.buttons {
            button.primary type="submit" { "Make a new secret" }
            a.button href=(url_of(member, key.id, "")) { "Cancel" }
        }
    };
    let body = html! {
        p { "The key gets a new secret, which is shown once. Its id, permissions and limits stay. While the old secret is valid, this key's page shows whether it is still used, and from where." }
        (mistakes.summary())
        (form(&member.visitor, &url_of(member, key.id, "/rotate"), fields))
    };
    page(member, Area::Keys, &format!("Rotate {}", key.name), body)
}

/// `GET …/keys/{key}/rotate`.
pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Result<Page, Refusal> {
    let key = find(&state, &member, &id).await?;
    Ok(form_page(&state, &member, &key, &Mistakes::default(), None))
}

/// `POST …/keys/{key}/rotate`.
pub(super) async fn rotate(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response, Refusal> {
    let key = find(&state, &member, &id).await?;
    let grace_s = form.text("grace_s").parse::<u32>().ok().filter(|grace_s| *grace_s <= ROTATION_GRACE_S_MAX);
    let Some(grace_s) = grace_s else {
        let mistakes = Mistakes::one("grace_s", "Choose how long the old secret stays valid: at most 7 days.");
        let page = form_page(&state, &member, &key, &mistakes, Some(&form));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    };
    let once = Once::begin(&state, &member, &form, format!("rotate {} {grace_s}", key.id)).await?;
    if once.made_before().await?.is_some() {
        return Ok(Redirect::to(&url_of(&member, key.id, "?done=once")).into_response());
    }
    let organization = organization(&state, &member).await?;
    let change = member.change(&state);
    let until = change.at.checked_add(SignedDuration::from_secs(grace_s.into())).unwrap_or(change.at);
    let by = Authority::Person(&organization, member.tenant.environment);
    let (key, secret) = state.app.rotate_key(by, &change, key.id, until).await?;
    once.keep(&key.id.to_string()).await?;
    Ok(secret::rotated(&state, &member, &key, &secret).into_response())
}
