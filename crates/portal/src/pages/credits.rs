//! Credits and plan: what is left, what became of what, and what the plan allows. Grants and plans are the operator's ([`super::operator`]).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use kallglot_core::credit::{BillingPeriod, LedgerEntry, LedgerKind};
use kallglot_core::organization::Organization;
use kallglot_core::person::Act;
use kallglot_core::plan::Limits;
use kallglot_core::session::Environment;
use kallglot_storage::StorageError;
use maud::{Markup, html};

use super::keys::organization;
use super::overview::signed;
use crate::PortalState;
use crate::components::{Tone, badge, count, empty, figure, mono, pager, table, time};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Entries on a page.
const PAGE_ITEMS: u32 = 50;
/// Entries that are read at once for a file.
const FILE_STEP: u32 = 1000;

pub(crate) fn routes() -> Vec<Route> {
    const SEE: Access = Access::Member(Act::View);
    vec![
        Route::get("/{organization}/{environment}/credits", SEE, show),
        Route::get("/{organization}/{environment}/credits/ledger.csv", SEE, file),
    ]
}

const fn kind_name(kind: LedgerKind) -> &'static str {
    match kind {
        LedgerKind::Grant => "Granted",
        LedgerKind::Spend => "Spent",
        LedgerKind::Refund => "Given back",
        LedgerKind::Expiry => "Expired",
    }
}

async fn show(State(state): State<PortalState>, member: Member, sent: Form) -> Result<Page, Refusal> {
    let storage = &state.app.storage;
    let now = state.app.clock.now();
    let organization = organization(&state, &member).await?;
    let balance = storage.credit_balance(organization.id).await?.unwrap_or_default();
    let before = sent.given("before").map(|place| place.parse().map_err(|_| Refusal::not_found())).transpose()?;
    let mut entries = storage.ledger_back(organization.id, before, PAGE_ITEMS + 1).await?;
    let has_more = entries.len() > PAGE_ITEMS as usize;
    entries.truncate(PAGE_ITEMS as usize);
    let older = entries.last().filter(|_| has_more);
    let older = older.map(|last| member.url(&format!("/credits?before={}#ledger", last.sequence)));
    let newest = before.map(|_| member.url("/credits#ledger"));
    let period = BillingPeriod::of(now);
    let body = html! {
        div.grid {
            (figure("Credits left", &signed(balance.remaining), html! {
                @if balance.remaining <= i64::from(organization.low_credits_threshold) { (badge(Tone::Bad, "Low")) " " }
                "Low at " (count(organization.low_credits_threshold.into()))
                @if member.may(Act::ManageOrganization) { " · " a href=(member.url("/settings/edit#low_credits_threshold")) { "change" } }
            }))
            (figure("Used in this period", &signed(balance.used_at(now)), html! { "Since " (time(period.begins_at())) " UTC; the next begins " (time(period.ends_at())) }))
            (figure("Plan", plan_name(&organization), html! { @if !organization.active { (badge(Tone::Bad, "Not active")) } @else { "Active" } }))
        }
        p { "A session and an analysis of the live environment cost one credit each. The test environment costs nothing. More credits and another plan are given by the operator of this server." }
        h2 { "What the plan allows" }
        (limits(&organization))
        h2 #ledger { "Ledger" }
        @if entries.is_empty() {
            (empty("Nothing was granted or spent yet.", None))
        } @else {
            div.row { a.button href=(member.url("/credits/ledger.csv")) { "Download all as CSV" } }
            (table("Credit ledger", &["When (UTC)", "What", "Credits", "Balance after", "For"], html! {
                @for entry in &entries { (row(&member, entry)) }
            }))
            (pager(newest.as_deref(), older.as_deref()))
        }
    };
    Ok(page(&member, Area::Credits, "Credits and plan", body))
}

/// What a plan is called.
pub(super) fn plan_name(organization: &Organization) -> &'static str {
    match organization.plan {
        kallglot_core::plan::Plan::Starter => "Starter",
        kallglot_core::plan::Plan::Pro => "Pro",
        kallglot_core::plan::Plan::Enterprise => "Enterprise",
    }
}

/// The limits: what each is called, and how much it is.
type Limit = (&'static str, fn(&Limits) -> u32);
const LIMITS: [Limit; 4] = [
    ("Requests per minute, all keys together", |limits| limits.requests_per_minute_max),
    ("Sessions at one time", |limits| limits.concurrent_sessions_max),
    ("Messages per second on one stream", |limits| limits.stream_messages_per_second_max),
    ("Bytes of audio per second on one stream", |limits| limits.stream_audio_bytes_per_second_max),
];

/// The limits of both environments, side by side.
pub(super) fn limits(organization: &Organization) -> Markup {
    let live = organization.limits(Environment::Live);
    let test = organization.limits(Environment::Test);
    table(
        "Limits",
        &["Limit", "Live", "Test"],
        html! {
            @for (name, of) in LIMITS {
                tr { th scope="row" { (name) } td.number { (count(of(&live).into())) } td.number { (count(of(&test).into())) } }
            }
        },
    )
}

fn row(member: &Member, entry: &LedgerEntry) -> Markup {
    let sign = if entry.amount > 0 { "+" } else { "" };
    html! {
        tr {
            th scope="row" { (time(entry.at)) }
            td { (kind_name(entry.kind)) }
            td.number { (sign) (signed(entry.amount)) }
            td.number { (signed(entry.balance_after)) }
            td {
                @match &entry.object {
                    // Credits are spent in the live environment only.
                    Some(object) if object.starts_with("sess_") => {
                        a href=(format!("/portal/{}/live/sessions/{object}", member.tenant.organization)) { (mono(object)) }
                    },
                    Some(object) => (mono(object)),
                    None => span.quiet { "–" },
                }
            }
        }
    }
}

/// A line of the file. No value in it can hold a comma, a quote or a line's end: they are numbers, times, names of ours and ids.
fn line(entry: &LedgerEntry) -> String {
    let request = entry.request.map(|request| request.to_string()).unwrap_or_default();
    let object = entry.object.as_deref().unwrap_or_default();
    let LedgerEntry { sequence, at, kind, amount, balance_after, .. } = entry;
    format!("{sequence},{at},{kind},{amount},{balance_after},{request},{object}\r\n")
}

/// The whole ledger, oldest first (RFC 4180), read while it is sent.
async fn file(State(state): State<PortalState>, member: Member) -> Response {
    let organization = member.tenant.organization;
    let head = String::from("sequence,time,kind,amount,balance_after,request,object\r\n");
    let parts = stream::try_unfold((state, Some(0), head), move |(state, after, head)| async move {
        let Some(after) = after else { return Ok::<_, StorageError>(None) };
        let entries = state.app.storage.ledger(organization, after, FILE_STEP).await?;
        let next = entries.last().filter(|_| entries.len() == FILE_STEP as usize).map(|last| last.sequence);
        let text = entries.iter().map(line).fold(head, |text, line| text + &line);
        Ok(Some((text, (state, next, String::new()))))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"credits.csv\"")),
    ];
    (headers, Body::from_stream(parts)).into_response()
}
