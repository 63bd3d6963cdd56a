//! Usage as CSV (RFC 4180). Names that people choose are in it, so a cell can't be a formula: see [`cell`].

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use kallglot_core::Timestamp;
use kallglot_core::event::time;
use kallglot_core::usage::{Counts, Totals};

use super::{Scope, key_names};
use crate::PortalState;
use crate::form::Form;
use crate::guard::Member;
use crate::refusal::Refusal;

/// Each table that there is, and what its link says.
pub(super) const TABLES: &[(&str, &str)] =
    &[("time", "By time"), ("routes", "By route"), ("keys", "By key"), ("errors", "By error")];
/// Most keys in a table.
const KEYS_MAX: u32 = 1000;

const TOTALS: &str = "requests,errors,failures,rate_limited,highest_share_of_limit_percent";

/// A cell. What a spreadsheet would take for a formula gets an apostrophe before it, which makes it a text there; what holds a comma, a quote or a line's end is
/// quoted.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) || formula { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn totals(totals: &Totals) -> String {
    let Totals { requests, errors, failures, rate_limited, pressure_permille } = totals;
    format!("{requests},{errors},{failures},{rate_limited},{:.1}", f64::from(*pressure_permille) / 10.0)
}

/// Milliseconds; empty where there were no requests.
fn latencies(counts: &Counts) -> String {
    let within = [500, 950, 990].map(|permille| {
        counts.latencies.quantile_us(permille).map(|us| format!("{:.3}", f64::from(us) / 1000.0)).unwrap_or_default()
    });
    within.join(",")
}

pub(super) async fn download(
    State(state): State<PortalState>,
    member: Member,
    query: Form,
) -> Result<Response, Refusal> {
    let scope = Scope::read(&query)?;
    let name = query.given("table").unwrap_or("time");
    let report = state.app.usage(member.tenant, scope.key, scope.route.as_ref(), scope.period).await?;
    let mut lines = Vec::new();
    match name {
        "time" => {
            lines.push(format!("from,{TOTALS},p50_ms,p95_ms,p99_ms"));
            for (at, counts) in &report.steps {
                lines.push(format!("{},{},{}", time(*at), totals(&counts.totals()), latencies(counts)));
            }
        }
        "routes" => {
            lines.push(format!("method,route,{TOTALS},p50_ms,p95_ms,p99_ms"));
            for (route, counts) in &report.all.routes {
                let (method, path) = (cell(&route.method), cell(&route.route));
                lines.push(format!("{method},{path},{},{}", totals(&counts.totals()), latencies(counts)));
            }
        }
        "keys" => {
            let names = key_names(&state, &member).await?;
            lines.push(format!("key,name,{TOTALS}"));
            for (key, of_key) in state.app.usage_by_key(member.tenant, scope.period, KEYS_MAX).await? {
                let name = names.iter().find(|(id, _)| *id == key).map_or("", |(_, name)| name);
                lines.push(format!("{key},{},{}", cell(name), totals(&of_key)));
            }
        }
        "errors" => {
            lines.push("code,requests".to_owned());
            for (code, requests) in &report.all.all().by_code {
                lines.push(format!("{},{requests}", cell(code)));
            }
        }
        _ => return Err(Refusal::not_found()),
    }
    let mut body = lines.join("\r\n");
    body.push_str("\r\n");
    let now: Timestamp = state.app.clock.now();
    let file = format!("usage-{name}-{}-{}.csv", scope.period.as_str(), now.strftime("%Y%m%d-%H%M"));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok((headers, body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula() {
        for (text, written) in [
            ("backend", "backend"),
            ("a, b", "\"a, b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+2", "\"'=1+2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-2+cmd|' /C calc'!A0", "\"'-2+cmd|' /C calc'!A0\""),
            ("＝1", "\"'＝1\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
