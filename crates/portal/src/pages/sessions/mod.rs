//! Sessions: the list, a live call, a call that is over with its transcript beside its audio, and what can be done with it.
//!
//! What must stay true: audio, transcripts and the tokens to watch with are given to members of the session's organization alone, and kept in
//! no cache; what a person does goes through the same functions as the API does.

mod analysis;
mod audio;
mod list;
mod show;
pub(super) mod turns;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_core::id::RecordingId;
use kallglot_core::language::LanguageTag;
use kallglot_core::person::Act;
use kallglot_core::recording::Recording;
use kallglot_core::session::{EndReason, Mode, Session, SessionState, Status};
use maud::{Markup, html};
use serde_json::json;

use crate::PortalState;
use crate::components::{Tone, act, badge, form};
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const SEE: Access = Access::Member(Act::View);
const RUN: Access = Access::Member(Act::RunSessions);

/// Organization, environment, session.
pub(super) type Place = Path<(String, String, String)>;
/// And a recording.
type RecordingPlace = Path<(String, String, String, String)>;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/sessions", SEE, list::list),
        Route::get("/{organization}/{environment}/sessions/{session}", SEE, show::show),
        Route::get("/{organization}/{environment}/sessions/{session}/observe", SEE, observe),
        Route::get("/{organization}/{environment}/sessions/{session}/transcript", SEE, audio::transcript),
        Route::post("/{organization}/{environment}/sessions/{session}/end", RUN, end),
        Route::post("/{organization}/{environment}/sessions/{session}/analyses", RUN, analysis::create),
        Route::get("/{organization}/{environment}/sessions/{session}/recordings/{recording}/audio", SEE, audio::audio),
        Route::get("/{organization}/{environment}/sessions/{session}/recordings/{recording}/delete", RUN, delete_page)
            .fresh(),
        Route::post("/{organization}/{environment}/sessions/{session}/recordings/{recording}/delete", RUN, delete)
            .fresh(),
    ]
}

/// A session of the member's organization and environment.
pub(super) async fn find(state: &PortalState, member: &Member, id: &str) -> Result<Session, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found())?;
    state.app.storage.session(member.tenant, id).await?.ok_or_else(Refusal::not_found)
}

/// A recording of a session, not removed.
async fn find_recording(
    state: &PortalState,
    member: &Member,
    session: &str,
    recording: &str,
) -> Result<(Session, Recording), Refusal> {
    let session = find(state, member, session).await?;
    let id: RecordingId = recording.parse().map_err(|_| Refusal::not_found())?;
    let found = state.app.storage.recording(member.tenant, id).await?;
    let found = found.filter(|it| it.session == session.id && it.removed.is_none());
    Ok((session, found.ok_or_else(Refusal::not_found)?))
}

/// The address of a session's page, or of what is below it.
pub(super) fn url_of(member: &Member, session: &Session, path: &str) -> String {
    member.url(&format!("/sessions/{}{path}", session.id))
}

/// How a session stands.
fn state_badge(session: &Session) -> Markup {
    match session.state.status() {
        Status::Created => badge(Tone::Plain, "Waiting"),
        Status::Active => badge(Tone::Good, "Live"),
        Status::Ended => badge(Tone::Plain, "Ended"),
    }
}

/// A language, or that it is found out.
fn language(tag: Option<&LanguageTag>) -> Markup {
    html! {
        @match tag {
            Some(tag) => { (crate::language::name(tag.as_str())) }
            None => { span.quiet { "detected" } }
        }
    }
}

/// Both languages of a call.
fn languages(session: &Session) -> Markup {
    html! { (language(session.source_language.as_ref())) " ↔ " (language(session.target_language.as_ref())) }
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::BidirectionalTranslation => "Both hear the translation",
        Mode::AssistiveTranslation => "The agent hears the original and reads",
        Mode::AiAgent => "AI agent",
        Mode::HelpChatVoice => "Voice of a help chat",
    }
}

const fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Completed => "Completed",
        EndReason::CustomerHangup => "The customer hung up",
        EndReason::AgentHangup => "The agent hung up",
        EndReason::Error => "An error",
        EndReason::Timeout => "Nothing happened for too long",
        EndReason::ExplicitEnd => "Ended by a client",
    }
}

/// Seconds as people read them: `1:02:03` or `2:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// What a live page needs to watch: a token that lets its holder read along and nothing else, for some minutes.
async fn observe(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
) -> Result<Response, Refusal> {
    let session = find(&state, &member, &session).await?;
    let token = match session.state {
        SessionState::Ended { .. } => None,
        _ => Some(state.app.observer_token(session.id, member.tenant.environment).token),
    };
    Ok(Json(json!({ "status": session.state.status().as_str(), "token": token })).into_response())
}

/// Ends a call. What is being said becomes text first.
async fn end(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
) -> Result<Redirect, Refusal> {
    let session = find(&state, &member, &session).await?;
    state.app.end_session(member.tenant, session.id, EndReason::ExplicitEnd).await?;
    Ok(Redirect::to(&url_of(&member, &session, "?done=ended")))
}

/// Asks whether a recording is really to be deleted.
async fn delete_page(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session, recording)): RecordingPlace,
) -> Result<Page, Refusal> {
    let (session, recording) = find_recording(&state, &member, &session, &recording).await?;
    let action = url_of(&member, &session, &format!("/recordings/{}/delete", recording.id));
    let body = html! {
        p { "The recording " (show::channel_name(recording.channel)) " of this call is deleted for good, on every disk. The transcript stays." }
        p { "What a party said is gone when neither its own recording nor that of both is left." }
        (form(&member.visitor, &action, html! {
            div.buttons {
                button.danger type="submit" { "Delete the recording" }
                a.button href=(url_of(&member, &session, "")) { "Keep it" }
            }
        }))
    };
    Ok(page(&member, Area::Sessions, "Delete a recording", body))
}

async fn delete(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session, recording)): RecordingPlace,
) -> Result<Redirect, Refusal> {
    let (session, recording) = find_recording(&state, &member, &session, &recording).await?;
    if !state.app.delete_recording(member.tenant, recording.id, &member.change(&state)).await? {
        return Err(Refusal::not_found());
    }
    Ok(Redirect::to(&url_of(&member, &session, "?done=deleted")))
}

/// A button that ends the call.
pub(super) fn end_button(member: &Member, session: &Session) -> Markup {
    act(&member.visitor, &url_of(member, session, "/end"), "End the call", "danger")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_like_clocks() {
        assert_eq!([clock(0), clock(62), clock(3_723)], ["0:00", "1:02", "1:02:03"]);
    }
}
