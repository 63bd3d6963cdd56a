//! The request log: every request of the last 30 days, found by its id or by what it was, and why it was refused.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use kallglot_app::request_log::{RequestFilter, explain};
use kallglot_core::Timestamp;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{ApiKeyId, RequestId};
use kallglot_core::person::Act;
use kallglot_core::request_record::RequestRecord;
use maud::{Markup, html};

use super::usage::{key_link, key_names, route_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, Tone, badge, empty, mono, pager, properties, table, time};
use crate::form::Form;
use crate::guard::{Member, encode};
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Requests on a page.
const PAGE_ITEMS: usize = 50;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/requests", Access::Member(Act::View), list),
        Route::get("/{organization}/{environment}/requests/{request}", Access::Member(Act::View), show),
    ]
}

/// The fields of the search, as they were sent.
const FIELDS: [&str; 6] = ["status", "code", "key", "route", "from", "to"];

/// `429`, or `4xx` for all of them.
fn statuses(text: &str) -> Option<(u16, u16)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let status = text.parse().ok().filter(|status| (100..600).contains(status))?;
    Some((status, status))
}

/// A time as the browser's field writes it, in UTC: `2026-11-22T20:14`, with or without seconds.
fn moment(text: &str) -> Option<Timestamp> {
    let with_seconds = if text.len() == 16 { format!("{text}:00Z") } else { format!("{text}Z") };
    with_seconds.parse().ok()
}

fn filter_of(query: &Form) -> (RequestFilter, Mistakes) {
    let mut mistakes = Mistakes::default();
    let mut filter = RequestFilter::default();
    if let Some(text) = query.given("status") {
        filter.status = statuses(text);
        if filter.status.is_none() {
            mistakes.add("status", "A status is a number such as 429, or a class such as 4xx.");
        }
    }
    if let Some(text) = query.given("code") {
        filter.code = ErrorCode::parse(text).map(|code| code.as_str().to_owned());
        if filter.code.is_none() {
            mistakes.add("code", "There is no such error code. Choose one of the list.");
        }
    }
    if let Some(text) = query.given("key") {
        filter.key = text.parse().ok();
        if filter.key.is_none() {
            mistakes.add("key", "That is not the id of a key. Choose one of the list.");
        }
    }
    if let Some(text) = query.given("route") {
        match route_of(text) {
            Some(route) => {
                (filter.method, filter.route) = (Some(route.method.into_owned()), Some(route.route.into_owned()));
            }
            None => mistakes.add("route", "A route is a method and a path, such as POST /v1/sessions."),
        }
    }
    for (name, place) in [("from", &mut filter.since), ("to", &mut filter.until)] {
        if let Some(text) = query.given(name) {
            *place = moment(text);
            if place.is_none() {
                mistakes.add(name, "A time is written like 2026-11-22T20:14, in UTC.");
            }
        }
    }
    filter.before = query.given("before").and_then(|id| id.parse().ok());
    (filter, mistakes)
}

fn outcome(status: u16) -> Markup {
    match status {
        0..400 => badge(Tone::Good, &status.to_string()),
        400..500 => badge(Tone::Busy, &format!("{status} refused")),
        _ => badge(Tone::Bad, &format!("{status} failed")),
    }
}

fn latency(record: &RequestRecord) -> String {
    format!("{:.1} ms", f64::from(record.latency_us) / 1000.0)
}

async fn list(State(state): State<PortalState>, member: Member, query: Form) -> Result<Response, Refusal> {
    let mut by_id = Mistakes::default();
    if let Some(text) = query.given("id") {
        if text.parse::<RequestId>().is_ok() {
            return Ok(Redirect::to(&member.url(&format!("/requests/{text}"))).into_response());
        }
        by_id.add("id", "A request's id begins with req_ and has 22 letters and digits after it. It is in the answer's header X-Request-Id.");
    }
    let (filter, mistakes) = filter_of(&query);
    let app = &state.app;
    let names = key_names(&state, &member).await?;
    let now = app.clock.now();
    let (found, has_more) = if mistakes.is_empty() {
        app.request_log.list(app.storage.as_ref(), member.tenant, &filter, PAGE_ITEMS, now).await?
    } else {
        (Vec::new(), false)
    };
    let kept: String =
        FIELDS.iter().filter_map(|name| query.given(name).map(|value| format!("{name}={}&", encode(value)))).collect();
    let here = member.url(&format!("/requests?{kept}"));
    let older = found.last().filter(|_| has_more).map(|last| format!("{here}before={}", last.id));
    let newest = filter.before.is_some().then(|| here.trim_end_matches(['?', '&']).to_owned());
    let rows = html! {
        @for record in &found {
            tr {
                th scope="row" { a href=(member.url(&format!("/requests/{}", record.id))) { (time(record.at)) span.unseen { " " (record.id) } } }
                td { (mono(format!("{} {}", record.method, record.route))) }
                td { (outcome(record.status)) @if let Some(code) = &record.code { " " (mono(code)) } }
                td { (key_link(&member, &names, record.key)) }
                td.number { (latency(record)) }
            }
        }
    };
    let body = html! {
        p { "Every request with one of your keys, for 30 days. New ones appear at once; a crash of the server loses the last five seconds at most. "
            "Requests without a valid key belong to nobody and are not here." }
        (by_id.summary())
        form.row method="get" action=(member.url("/requests")) {
            (Field::new("id", "Find by request id", &by_id).input("text", query.text("id"), "off", false))
            button type="submit" { "Find" }
        }
        (search(&member, &query, &filter, &mistakes, &names))
        @if !mistakes.is_empty() {
            (mistakes.summary())
        } @else if found.is_empty() {
            @let text = if kept.is_empty() && filter.before.is_none() { "There are no requests yet." } else { "No request is like that." };
            (empty(text, kept.is_empty().then_some((member.url("/quickstart").as_str(), "Send the first one"))))
        } @else {
            (table("Requests, newest first", &["Arrived (UTC)", "Request", "Answer", "Key", "Took"], rows))
        }
        @if found.is_empty() && has_more { p.note { "This search looked as far back as it does at once. Give a shorter time to look further." } }
        (pager(newest.as_deref(), older.as_deref()))
    };
    Ok(page(&member, Area::Requests, "Request log", body).into_response())
}

fn search(
    member: &Member,
    query: &Form,
    filter: &RequestFilter,
    mistakes: &Mistakes,
    names: &[(ApiKeyId, String)],
) -> Markup {
    let mut keys = vec![(String::new(), "Any".to_owned())];
    keys.extend(names.iter().map(|(id, name)| (id.to_string(), name.clone())));
    let mut codes = vec![(String::new(), "Any".to_owned())];
    let of_requests = ErrorCode::ALL.iter().filter(|code| code.row().status.is_some());
    codes.extend(of_requests.map(|code| (code.to_string(), code.to_string())));
    let key = filter.key.map(|key| key.to_string()).unwrap_or_default();
    if filter.key.is_some() && keys.iter().all(|(id, _)| *id != key) {
        keys.push((key.clone(), key.clone()));
    }
    let open = FIELDS.iter().any(|name| query.given(name).is_some());
    html! {
        details open[open] {
            summary { "Search" }
            form.stack method="get" action=(member.url("/requests")) {
                div.grid {
                    (Field::new("status", "Status", mistakes).hint("429, or 4xx for all of them.").input("text", query.text("status"), "off", false))
                    (Field::new("code", "Error code", mistakes).select(&codes, query.text("code")))
                    (Field::new("key", "Key", mistakes).select(&keys, &key))
                    (Field::new("route", "Method and route", mistakes).hint("Such as POST /v1/sessions.").input("text", query.text("route"), "off", false))
                    (Field::new("from", "From (UTC)", mistakes).input("datetime-local", query.text("from"), "off", false))
                    (Field::new("to", "Before (UTC)", mistakes).input("datetime-local", query.text("to"), "off", false))
                }
                div.buttons {
                    button.primary type="submit" { "Search" }
                    @if open { a href=(member.url("/requests")) { "Show all" } }
                }
            }
        }
    }
}

async fn show(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, request)): Path<(String, String, String)>,
) -> Result<Page, Refusal> {
    let id: RequestId = request.parse().map_err(|_| Refusal::not_found())?;
    let app = &state.app;
    let found = app.request_log.find(app.storage.as_ref(), member.tenant, id).await?;
    let Some(record) = found else {
        let message = "There is no such request in this organization and environment, or it is older than 30 days. Requests without a valid \
            API key belong to nobody. Look in the other environment too.";
        return Err(Refusal::page(axum::http::StatusCode::NOT_FOUND, "No such request", message));
    };
    let names = key_names(&state, &member).await?;
    let mut rows = vec![
        ("Id", mono(record.id)),
        ("Arrived (UTC)", time(record.at)),
        ("Request", mono(format!("{} {}", record.method, record.route))),
        ("Answer", html! { (outcome(record.status)) @if let Some(code) = &record.code { " " (mono(code)) } }),
        ("Took", html! { (latency(&record)) }),
        ("Key", key_link(&member, &names, record.key)),
        (
            "Secret",
            html! { @if record.old_secret { "One that was replaced: its sender still has to change over" } @else { "The current one" } },
        ),
        ("From address", mono(record.address)),
        ("Edition", html! { (record.edition.number()) }),
    ];
    if let Some(param) = &record.param {
        let is_permission = record.code.as_deref() == Some(ErrorCode::InsufficientPermissions.as_str());
        rows.push((if is_permission { "Missing permission" } else { "Wrong field" }, mono(param)));
    }
    let body = html! {
        p { a href=(member.url("/requests")) { "All requests" } }
        @match explain(&record) {
            Some(why) => {
                section class={ "note " (if record.status >= 500 { "bad" } else { "busy" }) } aria-labelledby="why" {
                    h2 id="why" { "Why it was " (if record.status >= 500 { "not done" } else { "refused" }) }
                    p { (why.message) }
                    p { b { "What to do: " } (why.fix) }
                    p { small { "Check " (why.step) " of 11: " (why.check) ". " a href={ "/docs/errors#" (record.code.as_deref().unwrap_or_default()) } { "All errors" } } }
                }
            }
            None if record.status >= 400 => {
                p.note.busy { "It was refused; the log knows no more of it." }
            }
            None => { p.note.good { "It was let in and answered." } }
        }
        div.panel { (properties(&rows)) }
        (limits(&record))
        p { a href=(member.url(&format!("/requests?key={}", record.key))) { "Other requests with this key" } }
    };
    Ok(page(&member, Area::Requests, &format!("{} {}", record.method, record.route), body))
}

/// How the limits stood after it.
fn limits(record: &RequestRecord) -> Markup {
    let Some(limits) = record.limits else {
        return html! { p.quiet { "It was refused before the limits were asked, so it did not count against them." } };
    };
    let resets = Timestamp::from_second(limits.rate_resets_at_s).ok();
    let mut rows = vec![
        (
            "Requests left",
            html! { (limits.rate_remaining) " of " (limits.rate_limit) " a minute, " (if limits.rate_of_key { "the key's own limit" } else { "the organization's limit" }) },
        ),
        ("The minute ends", html! { @if let Some(at) = resets { (time(at)) } @else { "–" } }),
        ("Credits left", html! { (limits.credits_remaining) }),
    ];
    if let Some((in_use, limit)) = limits.sessions {
        rows.push(("Sessions at the same time", html! { (in_use) " of " (limit) }));
    }
    html! {
        h2 { "Limits after it" }
        div.panel { (properties(&rows)) }
    }
}
