//! How organizations are printed.

use kallglot_core::credit::BillingPeriod;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::plan::Limits;
use kallglot_core::session::Environment;
use kallglot_core::vocabulary::Vocabulary;
use kallglot_storage::json::vocabulary_to_json;
use kallglot_storage::{Cursor, PageRequest};
use serde_json::{Value, json};

use crate::command::{CommandError, Context, properties, rfc3339, table};

/// Prints all organizations, newest first.
pub(super) async fn list(context: &mut Context<'_>) -> Result<(), CommandError> {
    let mut organizations = Vec::new();
    let mut request = PageRequest::newest(PageRequest::<OrganizationId>::LIMIT_MAX);
    loop {
        let page = context.storage.organizations_for_operator(&request).await?;
        request.cursor = page.items.last().map(|last| Cursor::StartingAfter(last.id));
        organizations.extend(page.items);
        if !page.has_more {
            break;
        }
    }
    let rows: Vec<Vec<String>> = organizations
        .iter()
        .map(|organization| {
            let active = if organization.active { "active" } else { "inactive" };
            let Organization { id, name, plan, created_at, .. } = organization;
            vec![id.to_string(), name.clone(), plan.to_string(), active.into(), rfc3339(*created_at)]
        })
        .collect();
    let text = if rows.is_empty() {
        "There is no organization yet. Create one: kallglot org create --name NAME".to_owned()
    } else {
        table(&["id", "name", "plan", "status", "created"], &rows)
    };
    let mut data = Vec::with_capacity(organizations.len());
    for organization in &organizations {
        data.push(to_json(organization, &credits_of(organization, context).await?));
    }
    context.print(&json!({"object": "list", "data": data}), &text)
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "requests_per_minute": limits.requests_per_minute_max,
        "concurrent_sessions": limits.concurrent_sessions_max,
        "stream_messages_per_second": limits.stream_messages_per_second_max,
        "stream_audio_bytes_per_second": limits.stream_audio_bytes_per_second_max,
    })
}

/// How an organization's credits stand.
struct Credits {
    remaining: i64,
    /// In the period.
    used: i64,
    period: BillingPeriod,
}

async fn credits_of(organization: &Organization, context: &Context<'_>) -> Result<Credits, CommandError> {
    let now = context.clock.now();
    let balance = context.storage.credit_balance(organization.id).await?.unwrap_or_default();
    Ok(Credits { remaining: balance.remaining, used: balance.used_at(now), period: BillingPeriod::of(now) })
}

fn to_json(organization: &Organization, credits: &Credits) -> Value {
    json!({
        "id": organization.id.to_string(),
        "object": "organization",
        "name": organization.name,
        "plan": organization.plan.as_str(),
        "active": organization.active,
        "credits": credits.remaining,
        "credits_used": credits.used,
        "billing_period": {
            "begins_at": rfc3339(credits.period.begins_at()),
            "ends_at": rfc3339(credits.period.ends_at()),
        },
        "low_credits_threshold": organization.low_credits_threshold,
        "recording": organization.recording,
        "recordings_kept_days": organization.recordings_kept_days,
        "leak_policy": organization.leak_policy.as_str(),
        "edition": organization.edition.number(),
        "engine": organization.engine,
        "limits": {
            "live": limits_json(&organization.limits(Environment::Live)),
            "test": limits_json(&organization.limits(Environment::Test)),
        },
        "vocabulary": serde_json::from_str::<Value>(&vocabulary_to_json(&organization.vocabulary)).unwrap_or_default(),
        "created_at": rfc3339(organization.created_at),
    })
}

fn limits_text(limits: &Limits) -> String {
    format!(
        "{} requests/min, {} sessions at once, {} messages/s and {} bytes of audio/s a stream",
        limits.requests_per_minute_max,
        limits.concurrent_sessions_max,
        limits.stream_messages_per_second_max,
        limits.stream_audio_bytes_per_second_max
    )
}

fn vocabulary_text(vocabulary: &Vocabulary) -> String {
    let languages: Vec<String> = vocabulary
        .languages
        .iter()
        .map(|(language, expectation)| {
            let only = if expectation.phrases_only { " (only these)" } else { "" };
            format!("{language}: {} phrases{only}, {} words", expectation.phrases.len(), expectation.words.len())
        })
        .collect();
    if languages.is_empty() { "none".into() } else { languages.join("; ") }
}

fn recordings_text(organization: &Organization) -> String {
    let which =
        if organization.recording { "all sessions that don't say otherwise" } else { "sessions that ask for it" };
    format!("of {which}, kept for {} days", organization.recordings_kept_days)
}

fn leak_policy_text(policy: LeakPolicy) -> String {
    let what = match policy {
        LeakPolicy::Revoke => "a leaked key is revoked, its streams are closed",
        LeakPolicy::Quarantine => "a leaked key may only read from then on",
        LeakPolicy::Notify => "nothing happens to a leaked key",
    };
    format!("{policy}: {what}")
}

fn credits_text(credits: &Credits) -> String {
    format!("{} left, {} used since {}", credits.remaining, credits.used, rfc3339(credits.period.begins_at()))
}

/// Prints an organization, and before it what was done to it.
pub(super) async fn one(
    organization: &Organization,
    done: Option<&str>,
    context: &mut Context<'_>,
) -> Result<(), CommandError> {
    let credits = credits_of(organization, context).await?;
    let status = if organization.active { "active" } else { "inactive: every request is refused" };
    let done = done.map(|done| format!("{done}.\n")).unwrap_or_default();
    let text = done
        + &properties(&[
            ("id", organization.id.to_string()),
            ("name", organization.name.clone()),
            ("status", status.into()),
            ("plan", organization.plan.to_string()),
            ("live", limits_text(&organization.limits(Environment::Live))),
            ("test", limits_text(&organization.limits(Environment::Test))),
            ("credits", credits_text(&credits)),
            ("low credits", format!("credits.low is raised at {} or fewer", organization.low_credits_threshold)),
            ("recordings", recordings_text(organization)),
            ("leak policy", leak_policy_text(organization.leak_policy)),
            ("edition", organization.edition.to_string()),
            ("engine", organization.engine.clone().unwrap_or_else(|| "the server's default".into())),
            ("vocabulary", vocabulary_text(&organization.vocabulary)),
            ("created", rfc3339(organization.created_at)),
        ]);
    context.print(&to_json(organization, &credits), &text)
}
