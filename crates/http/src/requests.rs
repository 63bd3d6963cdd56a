//! `/v1/requests`: an organization's requests of the last 30 days, and why each was refused.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use kallglot_app::request_log::{RequestFilter, explain};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::request_record::RequestRecord;
use kallglot_storage::Page;
use serde::Serialize;

use crate::HttpState;
use crate::gate::{AnyKey, ApiKeysManage, Caller};
use crate::list::{List, limit, query_pairs, unknown_parameter};
use crate::problem::Problem;
use crate::sessions::time;

#[derive(Serialize)]
pub(crate) struct RequestBody {
    id: String,
    object: &'static str,
    created_at: String,
    method: String,
    route: String,
    status: u16,
    code: Option<String>,
    api_key: String,
    address: String,
    edition: u8,
    latency_ms: f64,
    outcome: &'static str,
    explanation: Option<ExplanationBody>,
    missing_permission: Option<String>,
    param: Option<String>,
    limits: Option<LimitsBody>,
}

#[derive(Serialize)]
struct ExplanationBody {
    step: u8,
    check: &'static str,
    message: String,
    fix: String,
}

#[derive(Serialize)]
struct LimitsBody {
    rate_limit: RateBody,
    credits_remaining: i64,
    concurrent_sessions: Option<SessionsBody>,
}

#[derive(Serialize)]
struct RateBody {
    limit: u32,
    remaining: u32,
    reset: i64,
    scope: &'static str,
}

#[derive(Serialize)]
struct SessionsBody {
    limit: u32,
    in_use: u32,
}

fn request_body(record: RequestRecord) -> RequestBody {
    let explanation = explain(&record).map(|why| ExplanationBody {
        step: why.step,
        check: why.check,
        message: why.message,
        fix: why.fix,
    });
    let is_permission = record.code.as_deref() == Some(ErrorCode::InsufficientPermissions.as_str());
    let (missing_permission, param) = if is_permission { (record.param, None) } else { (None, record.param) };
    RequestBody {
        id: record.id.to_string(),
        object: "request",
        created_at: time(record.at),
        method: record.method.into_owned(),
        route: record.route.into_owned(),
        status: record.status,
        code: record.code.map(|code| code.into_owned()),
        api_key: record.key.to_string(),
        address: record.address.to_string(),
        edition: record.edition.number(),
        latency_ms: f64::from(record.latency_us) / 1000.0,
        outcome: match record.status {
            0..400 => "allowed",
            400..500 => "refused",
            _ => "failed",
        },
        explanation,
        missing_permission,
        param,
        limits: record.limits.map(|limits| LimitsBody {
            rate_limit: RateBody {
                limit: limits.rate_limit,
                remaining: limits.rate_remaining,
                reset: limits.rate_resets_at_s,
                scope: if limits.rate_of_key { "key" } else { "organization" },
            },
            credits_remaining: limits.credits_remaining,
            concurrent_sessions: limits.sessions.map(|(in_use, limit)| SessionsBody { limit, in_use }),
        }),
    }
}

pub(crate) async fn get(
    caller: Caller<AnyKey>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<RequestBody>, Problem> {
    let unknown = || {
        let message = "There is no such request in this organization and environment, or it is older than 30 days. Requests without a valid API key belong to nobody.";
        Problem::with(ErrorCode::NotFound, message)
    };
    let id = id.parse().map_err(|_| unknown())?;
    let app = &state.app;
    let found = app.request_log.find(app.storage.as_ref(), caller.tenant(), id).await?;
    Ok(Json(request_body(found.ok_or_else(unknown)?)))
}

pub(crate) async fn list(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<RequestBody>>, Problem> {
    let (filter, limit) = read_query(query.as_deref().unwrap_or(""))?;
    let app = &state.app;
    let now = app.clock.now();
    let (items, has_more) = app.request_log.list(app.storage.as_ref(), caller.tenant(), &filter, limit, now).await?;
    Ok(Json(List::of(Page { items, has_more }, "/v1/requests", request_body)))
}

fn read_query(query: &str) -> Result<(RequestFilter, usize), Problem> {
    let (mut filter, mut items) = (RequestFilter::default(), 20);
    for (name, value) in query_pairs(query) {
        let wrong = |expected: &str| Problem::invalid(&name, format!("`{name}` must be {expected}."));
        match name.as_str() {
            "limit" => items = limit(&value)? as usize,
            "starting_after" => filter.before = Some(value.parse().map_err(|_| wrong("the id of a request"))?),
            "status" => filter.status = Some(statuses(&value).ok_or_else(|| wrong("a status such as `429` or `4xx`"))?),
            "code" => {
                let code =
                    ErrorCode::parse(&value).ok_or_else(|| wrong("an error code such as `rate_limit_exceeded`"))?;
                filter.code = Some(code.as_str().to_owned());
            }
            "api_key" => filter.key = Some(value.parse().map_err(|_| wrong("the id of an API key"))?),
            _ => return Err(unknown_parameter(&name)),
        }
    }
    Ok((filter, items))
}

/// `429`, or `4xx` for all of them.
fn statuses(text: &str) -> Option<(u16, u16)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let status = text.parse().ok().filter(|status| (100..600).contains(status))?;
    Some((status, status))
}
