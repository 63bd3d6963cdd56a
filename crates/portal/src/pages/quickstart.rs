//! Quickstart: three steps from nothing to the first translated words, each of which turns green when the server sees it happen.
//!
//! What must stay true: what a step says is what is stored, never what a browser says; the snippets run as they are shown.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use kallglot_app::idempotency::Made;
use kallglot_app::keys::{Authority, CreateKey};
use kallglot_app::quickstart::Quickstart;
use kallglot_core::api_key::{ApiKey, Secret};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::person::Act;
use kallglot_core::session::Environment;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::keys::{organization, secret, shown, url_of};
use crate::PortalState;
use crate::components::{Tone, badge, code, form};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page_with};
use crate::once::{self, Once};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// What turns the steps green while the page is open.
pub(super) const SCRIPT: &str = "quickstart.js";
/// Two seconds of speech ("Good morning. How are you?"), mu-law at 8 kHz, made with a speech synthesizer.
static SPEECH: &[u8] = include_bytes!("../../assets/speech.ulaw");
/// What the key that the page makes is called and may do: as much as the snippets need.
const KEY_NAME: &str = "Quickstart";
const KEY_PERMISSIONS: PermissionSet = PermissionSet::of(&[Permission::SessionsRead, Permission::SessionsWrite]);

/// The languages that there are snippets in: name, id on the page, text.
const SNIPPETS: [(&str, &str, &str); 3] = [
    ("curl", "snippet-curl", include_str!("quickstart/curl.sh")),
    ("JavaScript", "snippet-javascript", include_str!("quickstart/javascript.mjs")),
    ("Python", "snippet-python", include_str!("quickstart/python.py")),
];

pub(crate) fn routes() -> Vec<Route> {
    const SEE: Access = Access::Member(Act::View);
    vec![
        Route::get("/{organization}/{environment}/quickstart", SEE, show),
        Route::get("/{organization}/{environment}/quickstart/state", SEE, state),
        Route::post("/{organization}/{environment}/quickstart/key", Access::Member(Act::ManageKeys), make_key).fresh(),
        Route::file("/speech.ulaw", speech),
        Route::file("/speech.wav", speech_wav),
    ]
}

/// The snippets, with this key's secret or a place for one.
pub(crate) fn snippets(state: &PortalState, key: Option<&Secret>) -> Markup {
    let key = key.map_or("sk_test_…", Secret::expose);
    html! {
        @for (index, (name, id, text)) in SNIPPETS.iter().enumerate() {
            details name="snippet" open[index == 0] {
                summary { (name) }
                (code(id, &format!("A call with {name}"), &fill(text, key, &state.app.config.public_url)))
            }
        }
    }
}

fn fill(text: &str, key: &str, server: &str) -> String {
    text.replace("{{KEY}}", key).replace("{{SERVER}}", server)
}

/// One of the steps.
fn step(name: &str, done: bool, title: &str, body: Markup) -> Markup {
    html! {
        li data-step=(name) {
            h2 { (title) " " span data-badge="" { @if done { (badge(Tone::Good, "Done")) } @else { (badge(Tone::Plain, "Waiting")) } } }
            (body)
        }
    }
}

/// The steps, as the overview shows them too.
pub(super) fn steps(state: &PortalState, member: &Member, found: &Quickstart) -> Markup {
    let has_key = found.key.is_some();
    let make = html! {
        (once::field(state, None))
        button.primary[!has_key] type="submit" { @if has_key { "Make another test key" } @else { "Make a test key" } }
    };
    html! {
        ol.steps data-follow=(member.url("/quickstart/state")) data-done=(found.is_complete()) {
            (step("key", has_key, "Make a key", html! {
                @if let Some(key) = &found.key {
                    p { "The newest is " a href=(url_of(member, key.id, "")) { (key.name) } " (" (shown(key)) "). A key's secret is shown only when it is made." }
                } @else {
                    p { "With it your code shows who it is. Keys of the test environment cost nothing." }
                }
                @if member.may(Act::ManageKeys) {
                    (form(&member.visitor, &member.url("/quickstart/key"), make))
                }
            }))
            (step("session", found.session.is_some(), "Create a session", html! {
                p data-session="" {
                    @match found.session {
                        Some(session) => { "The newest is " a href=(member.url(&format!("/sessions/{session}"))) { code { (session) } } "." },
                        None => "A session is one call between two people. Run one of the programs below.",
                    }
                }
            }))
            (step("words", found.words.is_some(), "Hear the first translated words", html! {
                p data-words="" {
                    @match &found.words {
                        Some(words) => { "“" (words.text) "” → “" (words.translation) "”" },
                        None => "The program sends two seconds of speech. What was said comes back with its translation.",
                    }
                }
            }))
        }
    }
}

async fn show(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    let body = match member.tenant.environment {
        Environment::Test => {
            let found = state.app.quickstart(member.tenant).await?;
            html! {
                p { "Three steps to your first translated call. Each turns green when this server sees it happen." }
                (steps(&state, &member, &found))
                @if !found.is_complete() {
                    noscript { p { a href=(member.url("/quickstart")) { "Look again" } " after each step: this page can't follow by itself without JavaScript." } }
                }
                h2 { "The program" }
                p { "Put your key in the place of " code { "sk_test_…" } ", or make a key above: then the programs are shown with it filled in." }
                (snippets(&state, None))
                p { "No code at hand? " a href=(member.url("/try")) { "Try it with your microphone" } "." }
            }
        }
        Environment::Live => html! {
            p { "Start in the test environment: nothing there costs credits." }
            p { a.button.primary href=(format!("/portal/{}/test/quickstart", member.tenant.organization)) { "To the test environment" } }
        },
    };
    Ok(page_with(&member, Area::Quickstart, "Quickstart", &[SCRIPT], body))
}

/// How far it has come, for the script.
fn told(member: &Member, found: &Quickstart) -> Value {
    json!({
        "key": found.key.is_some(),
        "session": found.session.map(|session| json!({
            "id": session.to_string(),
            "url": member.url(&format!("/sessions/{session}")),
        })),
        "words": found.words.as_ref().map(|words| json!({ "text": words.text, "translation": words.translation })),
    })
}

async fn state(State(state): State<PortalState>, member: Member) -> Result<Json<Value>, Refusal> {
    Ok(Json(told(&member, &state.app.quickstart(member.tenant).await?)))
}

/// Makes a key of the test environment, whose secret the answer shows within the snippets.
async fn make_key(State(state): State<PortalState>, member: Member, form: Form) -> Result<Response, Refusal> {
    if member.tenant.environment != Environment::Test {
        return Err(Refusal::not_found());
    }
    let organization = organization(&state, &member).await?;
    let once = Once::begin(&state, &member, &form, "a key for the quickstart".into()).await?;
    let asked = CreateKey { name: KEY_NAME.into(), permissions: Some(KEY_PERMISSIONS), ..CreateKey::default() };
    let by = Authority::Person(&organization, member.tenant.environment);
    let change = member.change(&state);
    let id = |key: &ApiKey, _: &Secret| key.id.to_string().into_bytes();
    let made = state.app.create_key(by, &change, asked, Some(&once.0), id).await.map_err(once::refusal)?;
    match made {
        Made::New(new) => Ok(secret::started(&state, &member, &new).into_response()),
        Made::Replay(_) => Ok(Redirect::to(&member.url("/quickstart?done=once")).into_response()),
    }
}

fn audio(content_type: &'static str, body: Bytes) -> Response {
    let kept = HeaderValue::from_static("public, max-age=86400");
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (header::CACHE_CONTROL, kept)], body)
        .into_response()
}

/// The recording that the snippets send: mu-law, 8 kHz, nothing around it.
async fn speech() -> Response {
    audio("audio/basic", Bytes::from_static(SPEECH))
}

/// The same as a WAV file.
async fn speech_wav() -> Response {
    audio("audio/wav", wav(SPEECH).into())
}

/// Mu-law at 8 kHz as a WAV file (format 7, with the `fact` chunk that formats other than PCM have).
fn wav(mulaw: &[u8]) -> Vec<u8> {
    let samples = u32::try_from(mulaw.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(mulaw.len() + 58);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(50 + samples).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&18u32.to_le_bytes());
    for half in [7u16, 1] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    for word in [8000u32, 8000] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for half in [1u16, 8, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(b"fact");
    file.extend_from_slice(&4u32.to_le_bytes());
    file.extend_from_slice(&samples.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&samples.to_le_bytes());
    file.extend_from_slice(mulaw);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_snippet_has_its_places_filled_in() {
        for (name, _, text) in SNIPPETS {
            let filled = fill(text, "sk_test_abc", "http://127.0.0.1:8080");
            assert!(filled.contains("sk_test_abc") && filled.contains("http://127.0.0.1:8080"), "{name}");
            assert!(!filled.contains("{{"), "{name}");
        }
    }

    #[test]
    fn the_recording_is_whole_frames() {
        assert!(SPEECH.len().is_multiple_of(800), "the snippets send pieces of 800 bytes");
        let file = wav(SPEECH);
        assert_eq!(file.len(), SPEECH.len() + 58);
        assert_eq!(file[4..8], u32::try_from(file.len() - 8).unwrap().to_le_bytes());
    }
}
