//! Usage: how many requests, how they ended, how long they took, how near they came to their limits; sessions at a time; credits.

mod csv;

use axum::extract::State;
use kallglot_app::usage::{Period, UsageReport};
use kallglot_core::Timestamp;
use kallglot_core::id::ApiKeyId;
use kallglot_core::person::Act;
use kallglot_core::usage::{Counts, Route as Asked};
use kallglot_storage::{Cursor, PageRequest};
use maud::{Markup, html};

use crate::PortalState;
use crate::chart::{Chart, Series, Shape};
use crate::components::{Field, Mistakes, count, empty, figure, mono, nothing, table};
use crate::form::Form;
use crate::guard::{Member, encode};
use crate::layout::{Area, Page, page_with};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Keys of which usage is listed.
const KEYS_SHOWN: u32 = 100;
/// Keys whose names are looked up; of more, the id is shown.
const NAMES_MAX: usize = 500;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/usage", Access::Member(Act::View), show),
        Route::get("/{organization}/{environment}/usage/csv", Access::Member(Act::View), csv::download),
    ]
}

/// What of the usage is asked for.
struct Scope {
    period: Period,
    key: Option<ApiKeyId>,
    route: Option<Asked>,
}

impl Scope {
    fn read(query: &Form) -> Result<Self, Refusal> {
        let wrong = || Refusal::bad_request("The address names a period, key or route that can't be read.");
        let key = query.given("key").map(|key| key.parse().map_err(|_| wrong())).transpose()?;
        Ok(Self {
            period: query.given("period").map_or(Ok(Period::Day), |text| Period::parse(text).ok_or_else(wrong))?,
            key,
            route: query.given("route").map(|text| route_of(text).ok_or_else(wrong)).transpose()?,
        })
    }

    /// The query of the same with another period.
    fn query(&self, period: Period) -> String {
        let mut query = format!("period={}", period.as_str());
        if let Some(key) = self.key {
            query.push_str(&format!("&key={key}"));
        }
        if let Some(route) = &self.route {
            query.push_str(&format!("&route={}", encode(&route.to_string())));
        }
        query
    }
}

/// A route as [`Asked`] writes it.
pub(super) fn route_of(text: &str) -> Option<Asked> {
    let (method, route) = text.split_once(' ')?;
    let plain = |text: &str| !text.is_empty() && text.len() <= 200 && text.chars().all(|it| it.is_ascii_graphic());
    (plain(method) && plain(route)).then(|| Asked { method: method.to_owned().into(), route: route.to_owned().into() })
}

/// The tenant's keys with their names, newest first, [`NAMES_MAX`] at most.
pub(super) async fn key_names(state: &PortalState, member: &Member) -> Result<Vec<(ApiKeyId, String)>, Refusal> {
    let mut names = Vec::new();
    let mut request = PageRequest::newest(PageRequest::<ApiKeyId>::LIMIT_MAX);
    loop {
        let page = state.app.storage.keys(member.tenant, &request).await?;
        names.extend(page.items.into_iter().map(|key| (key.id, key.name)));
        match names.last() {
            Some((last, _)) if page.has_more && names.len() < NAMES_MAX => {
                request.cursor = Some(Cursor::StartingAfter(*last));
            }
            _ => return Ok(names),
        }
    }
}

/// A key by its name, with a link to its page.
pub(super) fn key_link(member: &Member, names: &[(ApiKeyId, String)], key: ApiKeyId) -> Markup {
    let name = names.iter().find(|(id, _)| *id == key).map_or_else(|| key.to_string(), |(_, name)| name.clone());
    html! { a href=(member.url(&format!("/keys/{key}"))) { (name) } }
}

/// When a step begins.
fn step_name(period: Period, at: Timestamp) -> String {
    let format = match period {
        Period::Hour | Period::Day => "%H:%M",
        Period::Week => "%b %e, %H:%M",
        Period::Month => "%b %e",
    };
    at.strftime(format).to_string()
}

#[allow(clippy::cast_precision_loss)] // To be drawn and rounded.
fn number(value: u64) -> Option<f64> {
    Some(value as f64)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // What was a count, and ends of axes.
fn whole(value: f64) -> String {
    if value.fract() == 0.0 { count(value as u64) } else { format!("{value:.1}") }
}

fn milliseconds(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1} s", value / 1000.0)
    } else if value >= 10.0 || value == 0.0 {
        format!("{value:.0} ms")
    } else {
        format!("{value:.2} ms")
    }
}

fn per_cent(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

fn latency_ms(counts: &Counts, permille: u32) -> Option<f64> {
    counts.latencies.quantile_us(permille).map(|us| f64::from(us) / 1000.0)
}

fn error_share(requests: u64, errors: u64) -> String {
    match (number(errors), number(requests)) {
        (Some(errors), Some(requests)) if requests > 0.0 => per_cent((errors / requests * 1000.0).round() / 10.0),
        _ => "–".into(),
    }
}

async fn show(State(state): State<PortalState>, member: Member, query: Form) -> Result<Page, Refusal> {
    let scope = Scope::read(&query)?;
    let app = &state.app;
    let report = app.usage(member.tenant, scope.key, scope.route.as_ref(), scope.period).await?;
    let names = key_names(&state, &member).await?;
    let steps: Vec<String> = report.steps.iter().map(|(at, _)| step_name(scope.period, *at)).collect();
    let all = report.all.all();
    let whole_tenant = scope.key.is_none() && scope.route.is_none();
    let body = html! {
        (periods(&member, &scope))
        (filter(&member, &scope, &report, &names))
        (figures(&all))
        @if all.requests == 0 {
            (empty("There were no requests in this time. They appear here a few seconds after they were answered.",
                Some((&member.url("/quickstart"), "Send the first one"))))
        }
        div.halves {
            (requests_chart(&steps, &report))
            (latency_chart(&steps, &report))
            (pressure_chart(&steps, &report))
            @if whole_tenant {
                (sessions_chart(&state, &member, scope.period, &steps).await?)
                (credits_chart(&state, &member, scope.period, &steps).await?)
            }
        }
        @if all.requests > 0 {
            (by_route(&member, &scope, &report))
            @if scope.key.is_none() && scope.route.is_none() { (by_key(&state, &member, &scope, &names).await?) }
            (by_code(&member, &all))
        }
        h2 { "Download" }
        p { "The same numbers as CSV, which spreadsheets open. Times are in UTC." }
        div.row {
            @for (name, label) in csv::TABLES {
                @if whole_tenant || *name != "keys" {
                    a.button href=(member.url(&format!("/usage/csv?table={name}&{}", scope.query(scope.period)))) { (label) }
                }
            }
        }
    };
    Ok(page_with(&member, Area::Usage, "Usage", &["chart.js"], body))
}

fn periods(member: &Member, scope: &Scope) -> Markup {
    let name = |period| match period {
        Period::Hour => "Last hour",
        Period::Day => "Last 24 hours",
        Period::Week => "Last 7 days",
        Period::Month => "Last 30 days",
    };
    html! {
        nav.row aria-label="Period" {
            @for period in Period::ALL {
                a.button.small href=(member.url(&format!("/usage?{}", scope.query(period))))
                    aria-current=[(period == scope.period).then_some("true")] { (name(period)) }
            }
        }
    }
}

fn filter(member: &Member, scope: &Scope, report: &UsageReport, names: &[(ApiKeyId, String)]) -> Markup {
    let none = Mistakes::default();
    let mut keys = vec![(String::new(), "All keys".to_owned())];
    keys.extend(names.iter().map(|(id, name)| (id.to_string(), name.clone())));
    if let Some(key) = scope.key.filter(|key| names.iter().all(|(id, _)| id != key)) {
        keys.push((key.to_string(), key.to_string()));
    }
    let mut routes = vec![(String::new(), "All routes".to_owned())];
    routes.extend(report.all.routes.keys().map(|route| (route.to_string(), route.to_string())));
    if let Some(route) = scope.route.as_ref().filter(|route| !report.all.routes.contains_key(route)) {
        routes.push((route.to_string(), route.to_string()));
    }
    let key = scope.key.map(|key| key.to_string()).unwrap_or_default();
    let route = scope.route.as_ref().map(ToString::to_string).unwrap_or_default();
    html! {
        form.row method="get" action=(member.url("/usage")) {
            input type="hidden" name="period" value=(scope.period.as_str());
            (Field::new("key", "Key", &none).select(&keys, &key))
            (Field::new("route", "Route", &none).select(&routes, &route))
            button type="submit" { "Show" }
            @if scope.key.is_some() || scope.route.is_some() {
                a href=(member.url(&format!("/usage?period={}", scope.period.as_str()))) { "Show all" }
            }
        }
    }
}

fn figures(all: &Counts) -> Markup {
    let totals = all.totals();
    let p95 = latency_ms(all, 950).map_or_else(|| "–".to_owned(), milliseconds);
    let errors = html! { (count(totals.errors)) " of them, " (count(totals.failures)) " by the server's fault" };
    html! {
        div.grid {
            (figure("Requests", &count(totals.requests), nothing()))
            (figure("With an error", &error_share(totals.requests, totals.errors), errors))
            (figure("95 % answered within", &p95, nothing()))
            (figure("Highest share of the request limit", &per_cent(f64::from(totals.pressure_permille) / 10.0),
                html! { (count(totals.rate_limited)) " refused by a rate limit" }))
        }
    }
}

fn requests_chart(steps: &[String], report: &UsageReport) -> Markup {
    let totals = || report.steps.iter().map(|(_, counts)| counts.totals());
    Chart {
        id: "requests",
        title: "Requests",
        shape: Shape::Bars,
        steps,
        series: vec![
            Series::new("All", totals().map(|totals| number(totals.requests))),
            Series::new("With an error", totals().map(|totals| number(totals.errors))),
        ],
        unit: whole,
    }
    .render()
}

fn latency_chart(steps: &[String], report: &UsageReport) -> Markup {
    let within = |permille| report.steps.iter().map(move |(_, counts)| latency_ms(counts, permille));
    Chart {
        id: "latency",
        title: "Time to answer",
        shape: Shape::Lines,
        steps,
        series: vec![
            Series::new("50 % within", within(500)),
            Series::new("99 % within", within(990)),
            Series::new("95 % within", within(950)),
        ],
        unit: milliseconds,
    }
    .render()
}

fn pressure_chart(steps: &[String], report: &UsageReport) -> Markup {
    let share = |counts: &Counts| (counts.requests > 0).then(|| f64::from(counts.pressure_permille) / 10.0);
    Chart {
        id: "pressure",
        title: "Highest share of the request limit in use",
        shape: Shape::Lines,
        steps,
        series: vec![Series::new("Share", report.steps.iter().map(|(_, counts)| share(counts)))],
        unit: per_cent,
    }
    .render()
}

async fn sessions_chart(
    state: &PortalState,
    member: &Member,
    period: Period,
    steps: &[String],
) -> Result<Markup, Refusal> {
    let (sessions, complete) = state.app.concurrent_sessions(member.tenant, period).await?;
    let chart = Chart {
        id: "sessions",
        title: "Sessions at the same time",
        shape: Shape::Lines,
        steps,
        series: vec![
            Series::new("Most", sessions.iter().map(|step| Some(f64::from(step.max)))),
            Series::new("On average", sessions.iter().map(|step| Some((step.average * 10.0).round() / 10.0))),
        ],
        unit: whole,
    };
    Ok(html! {
        div {
            (chart.render())
            @if !complete { p.note { "There were more sessions than can be counted at once; the oldest are not in the chart." } }
        }
    })
}

async fn credits_chart(
    state: &PortalState,
    member: &Member,
    period: Period,
    steps: &[String],
) -> Result<Markup, Refusal> {
    let flows = state.app.credit_flows(member.tenant.organization, period).await?;
    let chart = Chart {
        id: "credits",
        title: "Credits, of both environments together",
        shape: Shape::Bars,
        steps,
        series: vec![
            // The smaller one in front.
            Series::new("Granted", flows.iter().map(|flow| number(u64::try_from(flow.granted).unwrap_or(0)))),
            Series::new("Spent", flows.iter().map(|flow| number(u64::try_from(flow.spent).unwrap_or(0)))),
        ],
        unit: whole,
    };
    Ok(chart.render())
}

fn by_route(member: &Member, scope: &Scope, report: &UsageReport) -> Markup {
    let mut routes: Vec<_> = report.all.routes.iter().collect();
    routes.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.requests));
    let here = |route: &Asked| {
        let scope = Scope { period: scope.period, key: scope.key, route: Some(route.clone()) };
        member.url(&format!("/usage?{}", scope.query(scope.period)))
    };
    let rows = html! {
        @for (route, counts) in routes {
            @let totals = counts.totals();
            tr {
                th scope="row" { a href=(here(route)) { (mono(route)) } }
                td.number { (count(totals.requests)) }
                td.number { (error_share(totals.requests, totals.errors)) }
                @for permille in [500, 950, 990] {
                    td.number { (latency_ms(counts, permille).map_or_else(|| "–".to_owned(), milliseconds)) }
                }
            }
        }
    };
    let heads = ["Route", "Requests", "With an error", "50 % within", "95 % within", "99 % within"];
    html! { h2 { "By route" } (table("Usage by route", &heads, rows)) }
}

async fn by_key(
    state: &PortalState,
    member: &Member,
    scope: &Scope,
    names: &[(ApiKeyId, String)],
) -> Result<Markup, Refusal> {
    let keys = state.app.usage_by_key(member.tenant, scope.period, KEYS_SHOWN).await?;
    let rows = html! {
        @for (key, totals) in &keys {
            @let only = Scope { period: scope.period, key: Some(*key), route: None };
            tr {
                th scope="row" { (key_link(member, names, *key)) }
                td.number { (count(totals.requests)) }
                td.number { (error_share(totals.requests, totals.errors)) }
                td.number { (count(totals.rate_limited)) }
                td.number { (per_cent(f64::from(totals.pressure_permille) / 10.0)) }
                td { a href=(member.url(&format!("/usage?{}", only.query(scope.period)))) { "Usage" span.unseen { " of key " (key) } } }
            }
        }
    };
    let heads = ["Key", "Requests", "With an error", "Refused by a rate limit", "Highest share of the limit", "More"];
    Ok(html! {
        h2 { "By key" }
        (table("Usage by key", &heads, rows))
        @if keys.len() as u32 == KEYS_SHOWN { p.quiet { "These are the " (KEYS_SHOWN) " keys with most requests." } }
    })
}

fn by_code(member: &Member, all: &Counts) -> Markup {
    let mut codes: Vec<_> = all.by_code.iter().collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let rows = html! {
        @for (code, number) in codes {
            tr {
                th scope="row" { (mono(code)) }
                td.number { (count(*number)) }
                td { a href=(member.url(&format!("/requests?code={}", encode(code)))) { "Show them" span.unseen { ": " (code) } } }
            }
        }
    };
    html! {
        @if !all.by_code.is_empty() {
            h2 { "By error" }
            (table("Requests by error code", &["Error code", "Requests", "In the request log"], rows))
        }
    }
}
