//! `GET /v1/whoami`: a key about itself: whose it is, what it may do, how its limits and credits stand.

use std::io::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kallglot_app::gate::cache::Known;
use kallglot_core::Timestamp;
use kallglot_core::credit::BillingPeriod;
use serde::Serialize;

use crate::HttpState;
use crate::api_keys::{KeyBody, key_body};
use crate::gate::{AnyKey, Caller};
use crate::idempotency::json;
use crate::sessions::time;

/// What stays the same as long as the key and its organization do, within a billing period. What changes with every request is put
/// behind it: into `credits` at its end, and after that.
#[derive(Serialize)]
struct Fixed<'a> {
    object: &'static str,
    api_key: KeyBody,
    organization: OrganizationBody<'a>,
    limits: LimitsBody,
    credits: PeriodBody,
}

#[derive(Serialize)]
struct OrganizationBody<'a> {
    id: String,
    name: &'a str,
    plan: &'static str,
    active: bool,
}

#[derive(Serialize)]
struct LimitsBody {
    requests_per_minute: u32,
    own_requests_per_minute: Option<u32>,
    concurrent_sessions: u32,
    stream_messages_per_second: u32,
    stream_audio_bytes_per_second: u32,
}

#[derive(Serialize)]
struct PeriodBody {
    period_start: String,
    period_end: String,
}

fn fixed(known: &Known, period: BillingPeriod, now: Timestamp) -> Vec<u8> {
    let (organization, limits) = (&known.organization, &known.limits);
    let body = Fixed {
        object: "whoami",
        api_key: key_body(&known.key, now, None),
        organization: OrganizationBody {
            id: organization.id.to_string(),
            name: &organization.name,
            plan: organization.plan.as_str(),
            active: organization.active,
        },
        limits: LimitsBody {
            requests_per_minute: limits.requests_per_minute_max,
            own_requests_per_minute: known.key.requests_per_minute_max,
            concurrent_sessions: limits.concurrent_sessions_max,
            stream_messages_per_second: limits.stream_messages_per_second_max,
            stream_audio_bytes_per_second: limits.stream_audio_bytes_per_second_max,
        },
        credits: PeriodBody { period_start: time(period.begins_at()), period_end: time(period.ends_at()) },
    };
    // Texts and numbers always have a JSON form.
    let mut json = serde_json::to_vec(&body).unwrap_or_default();
    // Open at the end of `credits`.
    json.truncate(json.len().saturating_sub(2));
    json
}

pub(crate) async fn get(caller: Caller<AnyKey>, State(state): State<HttpState>) -> Response {
    let now = state.app.clock.now();
    let known = &caller.known;
    let balance = known.credits.balance();
    let period = BillingPeriod::of(now);
    let mut body = Vec::with_capacity(1536);
    known.rendered(period, &mut body, || fixed(known, period, now));
    let used = if balance.period == period { balance.used } else { 0 };
    let (edition, address) = (caller.edition, caller.context.address);
    // An address has no character that JSON escapes.
    let _ = write!(
        body,
        r#","remaining":{},"used":{used}}},"edition":{edition},"address":"{address}"}}"#,
        balance.remaining
    );
    json(StatusCode::OK, body)
}
