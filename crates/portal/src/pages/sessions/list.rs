//! The list of sessions: those that are live first, then all, by status, time and id.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kallglot_app::transcript::duration_s;
use kallglot_core::id::SessionId;
use kallglot_core::person::Act;
use kallglot_core::session::{Session, Status};
use kallglot_storage::{PageRequest, SessionFilter};
use maud::{Markup, html};

use super::{clock, languages, state_badge, url_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, empty, mono, table, time, time_or};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, page};
use crate::list::{cursor, pages};
use crate::refusal::Refusal;

/// Sessions on a page.
const PAGE_ITEMS: u32 = 25;
/// Live sessions above the list; the filter shows all of them.
const LIVE_ITEMS: u32 = 10;

/// What the page is asked to show.
struct Asked {
    filter: SessionFilter,
    mistakes: Mistakes,
}

fn asked(form: &Form) -> Asked {
    let mut mistakes = Mistakes::default();
    let status = match form.given("status") {
        Some("live") => Some(Status::Active),
        Some("waiting") => Some(Status::Created),
        Some("ended") => Some(Status::Ended),
        _ => None,
    };
    let mut day = |name: &str, following: bool| -> Option<Timestamp> {
        let text = form.given(name)?;
        let date = text.parse::<Date>().and_then(|date| if following { date.tomorrow() } else { Ok(date) });
        match date.and_then(|date| date.to_zoned(TimeZone::UTC)) {
            Ok(midnight) => Some(midnight.timestamp()),
            Err(_) => {
                mistakes.add(name, format!("`{text}` is no day. Write it like 2026-11-22."));
                None
            }
        }
    };
    let (from, until) = (day("from", false), day("until", true));
    Asked { filter: SessionFilter { status, from, until }, mistakes }
}

/// The list's address with its filters, up to and with `?` or `&`.
fn here(member: &Member, form: &Form) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["status", "from", "until"] {
        if let Some(value) = form.given(name) {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let path = member.url("/sessions");
    if query.is_empty() { format!("{path}?") } else { format!("{path}?{query}&") }
}

fn rows(member: &Member, sessions: &[Session], now: Timestamp) -> Markup {
    html! {
        @for session in sessions {
            tr {
                th scope="row" { a href=(url_of(member, session, "")) { (mono(session.id)) } }
                td { (state_badge(session)) }
                td { (languages(session)) }
                td { (time(session.created_at)) }
                td { (time_or(session.state.ended_at(), "–")) }
                td.number { (clock(u64::try_from(duration_s(session, now)).unwrap_or(0))) }
            }
        }
    }
}

const HEADS: &[&str] = &["Session", "State", "Customer ↔ agent", "Created", "Ended", "Duration"];

pub(super) async fn list(State(state): State<PortalState>, member: Member, form: Form) -> Result<Response, Refusal> {
    let storage = &state.app.storage;
    let Asked { filter, mut mistakes } = asked(&form);
    if let Some(id) = form.given("id") {
        let found = match id.parse::<SessionId>() {
            Ok(id) => storage.session(member.tenant, id).await?,
            Err(_) => None,
        };
        if let Some(session) = found {
            return Ok(Redirect::to(&url_of(&member, &session, "")).into_response());
        }
        mistakes.add("id", "There is no session of this id in this environment.");
    }
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&form)? };
    let found = storage.session_page(member.tenant, filter, &request).await?;
    let is_start = request.cursor.is_none() && filter == SessionFilter::default();
    let live = if is_start {
        let live = SessionFilter { status: Some(Status::Active), ..SessionFilter::default() };
        storage.session_page(member.tenant, live, &PageRequest::newest(LIVE_ITEMS)).await?
    } else {
        kallglot_storage::Page { items: Vec::new(), has_more: false }
    };
    let now = state.app.clock.now();
    let try_it = member.url("/try");
    let body = html! {
        (mistakes.summary())
        p { "A session is one call between two parties, each in its own language. Here you see what they say while they say it, and afterwards." }
        @if is_start {
            h2 { "Live now" }
            @if live.items.is_empty() {
                p.quiet { "Nobody is on a call." }
            } @else {
                (table("Live sessions", HEADS, rows(&member, &live.items, now)))
                @if live.has_more { p { a href={ (member.url("/sessions")) "?status=live" } { "All live sessions" } } }
            }
        }
        h2 { @if is_start { "All sessions" } @else { "Sessions" } }
        (filters(&member, &form, &mistakes))
        @if found.items.is_empty() {
            @if is_start {
                @let runs = member.may(Act::RunSessions).then_some((try_it.as_str(), "Try it with your microphone"));
                (empty("There are no sessions yet. Create one by the API, or talk to one from this browser.", runs))
            } @else {
                (empty("There is no such session.", None))
            }
        } @else {
            (table("Sessions", HEADS, rows(&member, &found.items, now)))
            (pages(&found, &request, &here(&member, &form), |session| session.id))
        }
    };
    Ok(page(&member, Area::Sessions, "Sessions", body).into_response())
}

/// The filters, as a form that needs no script.
fn filters(member: &Member, form: &Form, mistakes: &Mistakes) -> Markup {
    let options: Vec<_> = [("", "All"), ("live", "Live"), ("waiting", "Waiting"), ("ended", "Ended")]
        .map(|(value, text)| (value.to_owned(), text.to_owned()))
        .to_vec();
    html! {
        form.filters method="get" action=(member.url("/sessions")) {
            (Field::new("status", "State", mistakes).select(&options, form.text("status")))
            (Field::new("from", "Created from", mistakes).input("date", form.text("from"), "off", false))
            (Field::new("until", "Up to and with", mistakes).input("date", form.text("until"), "off", false))
            (Field::new("id", "Session id", mistakes).input("text", form.text("id"), "off", false))
            button type="submit" { "Show" }
        }
    }
}
