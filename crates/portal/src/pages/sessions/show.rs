//! One session: while it is live, what is being said and how loud; once over, its transcript beside its audio.

use axum::extract::{Path, State};
use kallglot_app::transcript::duration_s;
use kallglot_core::analysis::{AnalysisStatus, ComplianceProfile};
use kallglot_core::person::Act;
use kallglot_core::recording::{Channel, Recording, RecordingMode, RecordingStatus};
use kallglot_core::session::{Session, SessionState, Speaker, Turn, UtteranceLag};
use kallglot_core::stream_statistics::StreamStatistics;
use kallglot_recording::render::Layout;
use kallglot_storage::PageRequest;
use maud::{Markup, html};

use super::analysis::{seconds, section as analysis_section};
use super::audio::{FORMATS, TEXT_FORMATS};
use super::turns::{self, TURNS_MAX, party_name};
use super::{Place, clock, end_button, find, languages, mode_name, reason_name, state_badge, url_of};
use crate::PortalState;
use crate::components::{Tone, badge, mono, properties, table, time, time_or};
use crate::guard::Member;
use crate::layout::{Area, Page, page_with};
use crate::refusal::Refusal;

/// What there is of a session.
struct Found {
    session: Session,
    turns: Vec<Turn>,
    lags: Vec<UtteranceLag>,
    statistics: StreamStatistics,
    recordings: Vec<Recording>,
    duration_s: i64,
}

pub(super) async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
) -> Result<Page, Refusal> {
    let session = find(&state, &member, &session).await?;
    let (app, tenant) = (&state.app, member.tenant);
    let storage = &app.storage;
    let id = session.id;
    let found = Found {
        turns: app.turns(tenant, id).await?,
        lags: storage.lags(tenant, id).await?.unwrap_or_default(),
        statistics: storage.stream_statistics(tenant, id).await?.unwrap_or_default(),
        recordings: storage.recordings_of(tenant, id, None).await?,
        duration_s: duration_s(&session, app.clock.now()),
        session,
    };
    let title = format!("Session {id}");
    if !matches!(found.session.state, SessionState::Ended { .. }) {
        return Ok(page_with(&member, Area::Sessions, &title, &["live.js"], live(&member, &found)));
    }
    let analyses = storage.analyses(tenant, id, &PageRequest::newest(5)).await?.items;
    let profiles = storage.compliance_profiles(tenant, &PageRequest::newest(ComplianceProfile::PER_TENANT_MAX)).await?;
    let analysis = analysis_section(&member, &found.session, &analyses, &profiles.items, !found.turns.is_empty())?;
    let waits = analyses.first().is_some_and(|newest| newest.state.status() == AnalysisStatus::Processing)
        || found.recordings.iter().any(|it| it.status == RecordingStatus::Processing);
    let body = over(&member, &found, analysis, waits);
    Ok(page_with(&member, Area::Sessions, &title, &["transcript.js", "refresh.js"], body))
}

/// What the session is.
fn facts(member: &Member, found: &Found) -> Markup {
    let Found { session, duration_s, .. } = found;
    let reason = match &session.state {
        SessionState::Ended { reason, .. } => html! { " · " (reason_name(*reason)) },
        _ => html! {},
    };
    let recorded = match session.recording {
        RecordingMode::Off => "No",
        RecordingMode::On => "Yes",
        RecordingMode::Paused => "Paused",
    };
    let metadata = html! {
        @if session.metadata.is_empty() { span.quiet { "none" } }
        @for (name, value) in &session.metadata { (mono(name)) " " (value) br; }
    };
    properties(&[
        ("State", html! { (state_badge(session)) (reason) }),
        ("Customer ↔ agent", languages(session)),
        ("Translation", html! { (mode_name(session.mode)) }),
        (
            "Created",
            html! { (time(session.created_at)) " with key " a href=(member.url(&format!("/keys/{}", session.created_by))) { (mono(session.created_by)) } },
        ),
        ("First words", time_or(session.state.started_at(), "Not yet")),
        ("Duration", html! { span data-duration { (clock(u64::try_from(*duration_s).unwrap_or(0))) } }),
        ("Recorded", html! { span data-recording { (recorded) } }),
        ("Metadata", metadata),
    ])
}

fn live(member: &Member, found: &Found) -> Markup {
    let session = &found.session;
    let reload = url_of(member, session, "");
    html! {
        div data-live data-session=(session.id) data-observe=(url_of(member, session, "/observe")) {
            p.note role="status" data-status {
                "This page shows what was said until it was loaded. " a href=(reload) { "Load it again" } " to see more."
            }
            div.halves {
                (turns::meters(session, Speaker::Customer))
                (turns::meters(session, Speaker::Agent))
            }
            @if member.may(Act::RunSessions) { div.row { (end_button(member, session)) } }
            h2 { "What is being said" }
            (turns::list(session, last(&found.turns), None, true))
            h2 { "This session" }
            (facts(member, found))
            (quality(found))
        }
    }
}

/// The newest turns, as many as a page shows.
fn last(turns: &[Turn]) -> &[Turn] {
    &turns[turns.len().saturating_sub(TURNS_MAX)..]
}

fn over(member: &Member, found: &Found, analysis: Markup, waits: bool) -> Markup {
    let session = &found.session;
    let mixed = found.recordings.iter().find(|it| it.channel == Channel::Mixed && it.status == RecordingStatus::Ready);
    let audio = mixed.or_else(|| found.recordings.iter().find(|it| it.status == RecordingStatus::Ready));
    let audio_url = audio.map(|it| url_of(member, session, &format!("/recordings/{}/audio", it.id)));
    html! {
        div #call data-refresh[waits] {
        @if waits {
            p.note.busy role="status" { "Something of this call is still being made. " a href=(url_of(member, session, "")) { "Load the page again" } " to see it." }
        }
        (facts(member, found))
        h2 { "What was said" }
        @if found.turns.is_empty() {
            p.quiet { "Nothing." }
        } @else {
            @if let Some(url) = &audio_url {
                div.player {
                    audio #audio controls preload="metadata" src=(url) {}
                    p.hint { "Choose a time to hear the call from there." }
                }
            }
            (turns::list(session, &found.turns, audio_url.as_deref(), false))
            @if found.turns.len() > TURNS_MAX { p { "These are the first " (TURNS_MAX) " turns. All of them are in the downloads." } }
            p.row { span { "Download the transcript:" } @for (format, name) in TEXT_FORMATS {
                a.button.small href={ (url_of(member, session, "/transcript")) "?format=" (format.extension()) } { (name) }
            } }
        }
        (recordings(member, found))
        (analysis)
        (quality(found))
        }
    }
}

pub(super) const fn channel_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Mixed => "of both",
        Channel::Customer => "of the customer",
        Channel::Agent => "of the agent",
    }
}

fn recordings(member: &Member, found: &Found) -> Markup {
    if found.recordings.is_empty() {
        return html! {
            h2 { "Recordings" }
            p.quiet { @if found.session.recording == RecordingMode::Off { "The call was not recorded." } @else { "There are none, or not any more." } }
        };
    }
    let may_delete = member.may(Act::RunSessions);
    let rows = html! {
        @for it in &found.recordings {
            @let url = url_of(member, &found.session, &format!("/recordings/{}", it.id));
            tr {
                th scope="row" { "Recording " (channel_name(it.channel)) }
                td { @match it.status {
                    RecordingStatus::Ready => { (badge(Tone::Good, "Ready")) @if it.incomplete { " incomplete" } }
                    RecordingStatus::Processing => { (badge(Tone::Busy, "Being made")) }
                    RecordingStatus::Failed => { (badge(Tone::Bad, "Failed")) " " (it.error.as_deref().unwrap_or_default()) }
                } }
                td.number { (it.duration_ms.map_or_else(|| "–".into(), |ms| clock(ms / 1000))) }
                td { @if it.status == RecordingStatus::Ready {
                    @for (format, name) in FORMATS {
                        a href={ (url) "/audio?download=yes&format=" (format.extension()) } { (name) }
                        @if let Some(ms) = it.duration_ms { span.quiet { " " (size(format.size_bytes(Layout::Mono, ms * 8))) " " } }
                    }
                } }
                td { (time(it.expires_at)) }
                td { @if may_delete { a href={ (url) "/delete" } { "Delete" span.unseen { " the recording " (channel_name(it.channel)) } } } @else { "–" } }
            }
        }
    };
    html! {
        h2 { "Recordings" }
        (table("Recordings", &["Recording", "State", "Length", "Download", "Kept until", "Delete"], rows))
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{} kB", bytes.div_ceil(1000)) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

fn median(mut values: Vec<u32>) -> Option<u32> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// How long translations took, and what went through the streams.
fn quality(found: &Found) -> Markup {
    let Found { lags, statistics, .. } = found;
    let of = |speaker: Speaker| lags.iter().filter(move |lag| lag.speaker == speaker);
    let shown = |value: Option<u32>| value.map_or_else(|| "–".into(), |ms| seconds(u64::from(ms)));
    let party = |speaker: Speaker| &statistics.parties[speaker.index()];
    let both = [Speaker::Customer, Speaker::Agent];
    let row = |name: &str, value: &dyn Fn(Speaker) -> String| {
        html! {
            tr { th scope="row" { (name) } @for speaker in both { td.number { (value(speaker)) } } }
        }
    };
    let rows = html! {
        (row("Utterances", &|speaker| of(speaker).count().to_string()))
        (row("First words on the page (median)", &|speaker| shown(median(of(speaker).filter_map(|lag| lag.first_partial_ms).collect()))))
        (row("Final text after the end of speech (median)", &|speaker| shown(median(of(speaker).map(|lag| lag.final_ms).collect()))))
        (row("Translation heard after the end of speech (median)", &|speaker| shown(median(of(speaker).filter_map(|lag| lag.first_audio_ms).collect()))))
        (row("Audio received", &|speaker| clock(party(speaker).audio_in_ms / 1000)))
        (row("Speech sent to it", &|speaker| clock(party(speaker).audio_out_ms / 1000)))
        (row("Audio missing on the way", &|speaker| format!("{} gaps, {} ms", party(speaker).gaps, party(speaker).gap_ms)))
        (row("Frames late, or twice", &|speaker| format!("{}, {}", party(speaker).late_frames, party(speaker).duplicate_frames)))
        (row("Messages refused", &|speaker| party(speaker).refused_messages.to_string()))
        (row("Speech not sent, since it did not read", &|speaker| format!("{} ms", party(speaker).dropped_out_ms)))
    };
    html! {
        h2 { "Quality" }
        (table("Lag and streams of each party", &["Figure", party_name(Speaker::Customer), party_name(Speaker::Agent)], rows))
    }
}
