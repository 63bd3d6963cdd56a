//! `kallglot request …`: an organization's request log, for the operator who is asked why a request was refused.

use clap::{Args, Subcommand};
use kallglot_app::request_log::{RequestLog, explain};
use kallglot_core::Timestamp;
use kallglot_core::id::{OrganizationId, RequestId};
use kallglot_core::request_record::{KEPT_DAYS, RecordedLimits, RequestRecord};
use kallglot_core::session::{Environment, Tenant};
use serde_json::{Value, json};

use crate::command::{CommandError, Context, environment, properties, rfc3339};

/// Steps of the gate (contract section 3).
const STEPS: u8 = 11;

/// `kallglot request …`
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(subcommand)]
    command: RequestCommand,
}

#[derive(Debug, Subcommand)]
enum RequestCommand {
    /// Show one request: which check refused it, how the limits stood, and what to do
    ///
    /// The id is in the answer's header X-Request-ID and in every error. Requests are kept for 30 days; a running server writes them
    /// down some seconds after they were answered. Requests without a valid key belong to nobody and are not kept.
    #[command(after_help = "Example:
  kallglot request show --org ORG REQ_ID")]
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    /// The request's id
    #[arg(value_name = "REQ_ID")]
    request: RequestId,
    /// The id of the organization whose key it was made with
    #[arg(long, value_name = "ORG")]
    org: OrganizationId,
    /// live or test; both if not given
    #[arg(long, value_parser = environment)]
    env: Option<Environment>,
}

/// Runs the command.
///
/// # Errors
/// See [`CommandError`].
pub(crate) async fn run(args: RequestArgs, context: &mut Context<'_>) -> Result<(), CommandError> {
    let RequestCommand::Show(Show { request, org, env }) = args.command;
    context.storage.organization(org).await?.ok_or(CommandError::NoOrganization(org))?;
    for environment in Environment::ALL.iter().filter(|one| env.is_none_or(|wanted| wanted == **one)) {
        let tenant = Tenant { organization: org, environment: *environment };
        if let Some(record) = RequestLog::default().find(context.storage, tenant, request).await? {
            return context.print(&to_json(&record), &to_text(&record));
        }
    }
    Err(CommandError::Invalid(format!(
        "there is no request {request} of this organization in the log. It has the last {KEPT_DAYS} days; what a running server has just answered is added some seconds later"
    )))
}

const fn outcome(status: u16) -> &'static str {
    match status {
        0..400 => "allowed",
        400..500 => "refused",
        _ => "failed",
    }
}

/// As `GET /v1/requests/{id}` writes it, and whose it is.
fn to_json(record: &RequestRecord) -> Value {
    let why = explain(record);
    let is_permission = why.as_ref().is_some_and(|why| why.check == "permission");
    json!({
        "id": record.id.to_string(),
        "object": "request",
        "organization": record.tenant.organization.to_string(),
        "environment": record.tenant.environment.as_str(),
        "created_at": rfc3339(record.at),
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "code": record.code,
        "api_key": record.key.to_string(),
        "address": record.address.to_string(),
        "edition": record.edition.number(),
        "latency_ms": f64::from(record.latency_us) / 1000.0,
        "outcome": outcome(record.status),
        "explanation": why.map(|why| json!({
            "step": why.step,
            "check": why.check,
            "message": why.message,
            "fix": why.fix,
        })),
        "missing_permission": record.param.as_ref().filter(|_| is_permission),
        "param": record.param.as_ref().filter(|_| !is_permission),
        "limits": record.limits.map(|limits| json!({
            "rate_limit": {
                "limit": limits.rate_limit,
                "remaining": limits.rate_remaining,
                "reset": limits.rate_resets_at_s,
                "scope": if limits.rate_of_key { "key" } else { "organization" },
            },
            "credits_remaining": limits.credits_remaining,
            "concurrent_sessions": limits.sessions.map(|(in_use, limit)| json!({"limit": limit, "in_use": in_use})),
        })),
    })
}

fn limits_text(limits: &RecordedLimits) -> String {
    let whose = if limits.rate_of_key { "the key's" } else { "the organization's" };
    let resets = Timestamp::from_second(limits.rate_resets_at_s).map_or_else(|_| "?".into(), rfc3339);
    let sessions = limits.sessions.map(|(in_use, limit)| format!(", {in_use} of {limit} sessions in use"));
    format!(
        "{} of {whose} {} requests/min left until {resets}, {} credits left{}",
        limits.rate_remaining,
        limits.rate_limit,
        limits.credits_remaining,
        sessions.unwrap_or_default()
    )
}

fn to_text(record: &RequestRecord) -> String {
    let code = record.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    let mut rows = vec![
        ("id", record.id.to_string()),
        ("arrived", rfc3339(record.at)),
        ("took", format!("{:.1} ms", f64::from(record.latency_us) / 1000.0)),
        ("key", format!("{} ({})", record.key, record.tenant.environment)),
        ("from", record.address.to_string()),
        ("edition", record.edition.to_string()),
    ];
    match explain(record) {
        Some(why) => {
            rows.push((
                outcome(record.status),
                format!("at step {} of {STEPS}, {}", why.step, why.check.replace('_', " ")),
            ));
            rows.push(("because", why.message));
            if let Some(param) = &record.param {
                rows.push((if why.check == "permission" { "missing" } else { "field" }, param.clone()));
            }
            rows.push(("what to do", why.fix));
        }
        None if record.status < 400 => rows.push(("allowed", "by every check".into())),
        None => {}
    }
    if let Some(limits) = &record.limits {
        rows.push(("limits", limits_text(limits)));
    }
    format!("{} {} → {}{code}\n{}", record.method, record.route, record.status, properties(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::Shell;
    use kallglot_core::edition::Edition;
    use kallglot_core::id::ApiKeyId;

    /// A request that was answered with this refusal, or well.
    fn record(shell: &Shell, tenant: Tenant, code: Option<&'static str>, status: u16) -> RequestRecord {
        let at = shell.clock.0;
        let ms = u128::try_from(at.as_millisecond()).unwrap();
        RequestRecord {
            id: RequestId::from_bits(ms << 80 | u128::from(status)),
            tenant,
            key: ApiKeyId::from_bits(7),
            old_secret: false,
            at,
            method: "POST".into(),
            route: "/v1/sessions".into(),
            status,
            code: code.map(Into::into),
            latency_us: 1_250,
            address: "203.0.113.7".parse().unwrap(),
            edition: Edition::Two,
            param: (status == 403).then(|| "sessions:write".into()),
            limits: Some(RecordedLimits {
                rate_limit: 120,
                rate_remaining: 0,
                rate_resets_at_s: at.as_second() + 30,
                rate_of_key: false,
                credits_remaining: 57,
                sessions: None,
            }),
        }
    }

    #[tokio::test]
    async fn a_refusal_is_explained_by_its_id() {
        let shell = Shell::new();
        let created = shell.json(&["org", "create", "--name", "Acme"]).await;
        let org = created["id"].as_str().unwrap();
        let tenant = Tenant { organization: org.parse().unwrap(), environment: Environment::Live };
        let refused = record(&shell, tenant, Some("rate_limit_exceeded"), 429);
        let forbidden = record(&shell, tenant, Some("insufficient_permissions"), 403);
        let allowed = record(&shell, tenant, None, 201);
        let log = RequestLog::default();
        for one in [&refused, &forbidden, &allowed] {
            log.push(one.clone());
        }
        log.flush(&shell.storage, kallglot_core::id::NodeId::from_bits(1), shell.clock.0).await.unwrap();

        let show = async |json, id: RequestId| {
            shell.run(json, &["request", "show", "--org", org, &id.to_string()]).await.unwrap()
        };
        let text = show(false, refused.id).await;
        for says in [
            "POST /v1/sessions → 429 rate_limit_exceeded\n",
            "at step 4 of 11, rate limit\n",
            "0 of the organization's 120 requests/min left until 2025-06-15T15:07:10Z, 57 credits left\n",
            "1.2 ms",
            "203.0.113.7",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
        let json: Value = serde_json::from_str(&show(true, refused.id).await).unwrap();
        assert_eq!((&json["outcome"], &json["environment"]), (&json!("refused"), &json!("live")));
        assert_eq!((&json["explanation"]["step"], &json["explanation"]["check"]), (&json!(4), &json!("rate_limit")));

        let text = show(false, forbidden.id).await;
        assert!(text.contains("step 6 of 11, permission") && text.contains("missing     sessions:write"), "{text}");
        let json: Value = serde_json::from_str(&show(true, forbidden.id).await).unwrap();
        assert_eq!((&json["missing_permission"], &json["param"]), (&json!("sessions:write"), &json!(null)));

        let text = show(false, allowed.id).await;
        assert!(text.contains("POST /v1/sessions → 201\n") && text.contains("by every check"), "{text}");
        let json: Value = serde_json::from_str(&show(true, allowed.id).await).unwrap();
        assert_eq!((&json["outcome"], &json["explanation"]), (&json!("allowed"), &json!(null)));
    }

    #[tokio::test]
    async fn a_request_is_found_in_its_environment_and_organization_only() {
        let shell = Shell::new();
        let created = shell.json(&["org", "create", "--name", "Acme"]).await;
        let other = shell.json(&["org", "create", "--name", "Other"]).await;
        let (org, other) = (created["id"].as_str().unwrap(), other["id"].as_str().unwrap());
        let tenant = Tenant { organization: org.parse().unwrap(), environment: Environment::Test };
        let one = record(&shell, tenant, None, 201);
        let id = one.id.to_string();
        let log = RequestLog::default();
        log.push(one);
        log.flush(&shell.storage, kallglot_core::id::NodeId::from_bits(1), shell.clock.0).await.unwrap();

        let found = shell.json(&["request", "show", "--org", org, "--env", "test", &id]).await;
        assert_eq!(found["id"], json!(id));
        for words in [
            &["request", "show", "--org", org, "--env", "live", &id][..],
            &["request", "show", "--org", other, &id],
            &["request", "show", "--org", org, "req_0000000000000000000009"],
        ] {
            let error = shell.run(false, words).await.unwrap_err();
            assert!(error.starts_with("there is no request req_"), "{error}");
        }
        let error =
            shell.run(false, &["request", "show", "--org", "org_0000000000000000000009", &id]).await.unwrap_err();
        assert!(error.starts_with("there is no organization"), "{error}");
        for words in [&["request", "show", &id][..], &["request", "show", "--org", org, "sess_0000000000000000000009"]]
        {
            let error = shell.run(false, words).await.unwrap_err();
            assert!(error.starts_with("usage: "), "{error}");
        }
    }
}
