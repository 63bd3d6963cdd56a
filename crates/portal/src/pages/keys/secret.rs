//! The page that shows a secret: the answer to the form that made it, and the only time that it is seen.

use kallglot_app::keys::NewKey;
use kallglot_core::api_key::{ApiKey, Secret};
use kallglot_core::session::Environment;
use maud::{Markup, html};

use super::url_of;
use crate::PortalState;
use crate::components::{code, time};
use crate::guard::Member;
use crate::layout::{Area, Page, page_with};
use crate::pages::quickstart;

/// What takes the secret off the page when it is left, so that the way back does not show it again.
const SCRIPT: &str = "secret.js";

/// The secret itself, with what to do with it.
fn secret_block(secret: &Secret) -> Markup {
    html! {
        div.note.busy role="status" {
            p { b { "Copy the secret now." } " It is shown this once; the server keeps only a hash of it. Keep it where your server's secrets are, not in code, chats or mails." }
        }
        div data-secret="" { (code("secret", "The key's secret", secret.expose())) }
    }
}

/// A command that shows that the key works.
fn try_it(state: &PortalState, secret: &Secret) -> Markup {
    let base = &state.app.config.public_url;
    let command = format!("curl -s {base}/v1/whoami -H \"Authorization: Bearer {}\"", secret.expose());
    html! {
        h2 { "Try it" }
        p { "This says who the key belongs to and what is left of its limits:" }
        div data-secret="" { (code("curl", "A command with curl", &command)) }
    }
}

/// After a key was made.
pub(super) fn created(state: &PortalState, member: &Member, new: &NewKey) -> Page {
    let body = html! {
        (secret_block(&new.secret))
        (try_it(state, &new.secret))
        @if new.key.environment == Environment::Test {
            details {
                summary { "A whole call with this key: curl, JavaScript, Python" }
                div data-secret="" { (quickstart::snippets(state, Some(&new.secret))) }
            }
        }
        p { a.button href=(url_of(member, new.key.id, "")) { "I have copied it" } }
    };
    page_with(member, Area::Keys, &format!("Key created: {}", new.key.name), &[SCRIPT], body)
}

/// After a key got a new secret.
pub(super) fn rotated(state: &PortalState, member: &Member, key: &ApiKey, secret: &Secret) -> Page {
    let body = html! {
        (secret_block(secret))
        @match key.old_secret_valid_until.filter(|until| *until > state.app.clock.now()) {
            Some(until) => p { "The old secret works until " (time(until)) " UTC. The key's page shows whether it is still used, and from where." },
            None => p { "The old secret is refused from now on." },
        }
        (try_it(state, secret))
        p { a.button href=(url_of(member, key.id, "")) { "I have copied it" } }
    };
    page_with(member, Area::Keys, &format!("New secret: {}", key.name), &[SCRIPT], body)
}

/// After the quickstart has made a key: the snippets hold it.
pub(crate) fn started(state: &PortalState, member: &Member, new: &NewKey) -> Page {
    let body = html! {
        (secret_block(&new.secret))
        h2 { "Now make a call with it" }
        p { "Take the language you like. Each does the same: creates a session, sends two seconds of speech and prints what was said with its translation." }
        div data-secret="" { (quickstart::snippets(state, Some(&new.secret))) }
        p { a.button.primary href=(member.url("/quickstart")) { "See whether it arrives" } }
    };
    page_with(member, Area::Quickstart, "Your test key", &[SCRIPT], body)
}
