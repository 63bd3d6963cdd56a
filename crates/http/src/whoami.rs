//! `GET /v1/whoami`: a key about itself: whose it is, what it may do, how its limits and credits stand.

use std::net::IpAddr;

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

/// What stays the same as long as the key and its organization do.
#[derive(Serialize)]
struct Fixed<'a> {
    object: &'static str,
    api_key: KeyBody,
    organization: OrganizationBody<'a>,
    limits: LimitsBody,
}

/// What is different each time.
#[derive(Serialize)]
struct Changing {
    credits: CreditsBody,
    edition: u8,
    address: IpAddr,
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
struct CreditsBody {
    remaining: i64,
    used: i64,
    period_start: String,
    period_end: String,
}

fn fixed(known: &Known, now: Timestamp) -> Vec<u8> {
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
    };
    // Texts and numbers always have a JSON form.
    serde_json::to_vec(&body).unwrap_or_default()
}

pub(crate) async fn get(caller: Caller<AnyKey>, State(state): State<HttpState>) -> Response {
    let now = state.app.clock.now();
    let known = &caller.known;
    let balance = known.credits.balance();
    let period = BillingPeriod::of(now);
    let changing = Changing {
        credits: CreditsBody {
            remaining: balance.remaining,
            used: balance.used_at(now),
            period_start: time(period.begins_at()),
            period_end: time(period.ends_at()),
        },
        edition: caller.edition.number(),
        address: caller.context.address,
    };
    // One object of two: without the first's last and the second's first brace.
    let mut body = Vec::with_capacity(1536);
    // A rotation's grace period ends by itself; all else of a key that is let in changes only with the key.
    if known.key.old_secret_valid_until.is_some() {
        body.extend_from_slice(&fixed(known, now));
    } else {
        body.extend_from_slice(known.rendered.get_or_init(|| fixed(known, now).into()));
    }
    body.pop();
    let comma = body.len();
    let _ = serde_json::to_writer(&mut body, &changing);
    body[comma] = b',';
    json(StatusCode::OK, body)
}
