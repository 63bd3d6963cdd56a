//! How keys are printed: never a secret, but by the command that made it.

use ipnet::IpNet;
use kallglot_app::keys::unused_permissions;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{self, ApiKey, KeyStatus, Secret};
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::{Cursor, PageRequest};
use serde_json::{Value, json};

use crate::command::{CommandError, Context, properties, rfc3339, rfc3339_if_any, table};

/// What a key may do and has not used lately.
pub(super) async fn unused(key: &ApiKey, context: &Context<'_>) -> Result<PermissionSet, CommandError> {
    let keys = std::slice::from_ref(key);
    let unused = unused_permissions(context.storage, keys, context.clock.now()).await?;
    Ok(unused.into_iter().next().unwrap_or_default())
}

/// Prints all keys of an organization, the newest first.
pub(super) async fn list(organization: OrganizationId, context: &mut Context<'_>) -> Result<(), CommandError> {
    context.storage.organization(organization).await?.ok_or(CommandError::NoOrganization(organization))?;
    let now = context.clock.now();
    let mut keys = Vec::new();
    for environment in Environment::ALL {
        let tenant = Tenant { organization, environment: *environment };
        let mut request = PageRequest::newest(PageRequest::<ApiKeyId>::LIMIT_MAX);
        loop {
            let page = context.storage.keys(tenant, &request).await?;
            request.cursor = page.items.last().map(|last| Cursor::StartingAfter(last.id));
            let unused = unused_permissions(context.storage, &page.items, now).await?;
            keys.extend(page.items.into_iter().zip(unused));
            if !page.has_more {
                break;
            }
        }
    }
    keys.sort_by_key(|(key, _)| std::cmp::Reverse(key.id));
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|(key, _)| {
            vec![
                key.id.to_string(),
                shown_secret(key),
                key.name.clone(),
                status_text(key, now),
                or_never(key.expires_at),
                or_never(key.last_used_at),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        format!("The organization has no keys yet. Create one: kallglot key create --org {organization} --env test")
    } else {
        table(&["id", "secret", "name", "status", "expires", "last used"], &rows)
    };
    let data: Vec<Value> = keys.iter().map(|(key, unused)| to_json(key, *unused, now)).collect();
    context.print(&json!({"object": "list", "data": data}), &text)
}

/// As much of a key's secret as may be shown.
fn shown_secret(key: &ApiKey) -> String {
    format!("{}…{}", api_key::prefix(key.environment), key.last4)
}

/// A key's status, and what it leaves out.
fn status_text(key: &ApiKey, now: Timestamp) -> String {
    let status = key.status(now);
    let works = matches!(status, KeyStatus::Active | KeyStatus::Rotating);
    let quarantined = if works && key.quarantined_at.is_some() { ", quarantined" } else { "" };
    format!("{status}{quarantined}")
}

/// How far a rotation is, while the old secret still works.
fn rotation_text(key: &ApiKey, now: Timestamp) -> Option<String> {
    let until = key.old_secret_valid_until.filter(|_| key.status(now) == KeyStatus::Rotating)?;
    let used = match key.old_secret_last_used_at {
        Some(at) => format!("somebody used it last at {}", rfc3339(at)),
        None => "nobody has used it since the rotation".into(),
    };
    Some(format!("valid until {}; {used}", rfc3339(until)))
}

/// As the API writes a key, and whose it is.
pub(super) fn to_json(key: &ApiKey, unused: PermissionSet, now: Timestamp) -> Value {
    let names = |set: PermissionSet| set.iter().map(Permission::as_str).collect::<Vec<_>>();
    let rotation = key.old_secret_valid_until.filter(|until| now < *until).map(|until| {
        json!({
            "old_secret_expires_at": rfc3339(until),
            "old_secret_last_used_at": rfc3339_if_any(key.old_secret_last_used_at),
        })
    });
    json!({
        "id": key.id.to_string(),
        "object": "api_key",
        "organization": key.organization.to_string(),
        "environment": key.environment.as_str(),
        "name": key.name,
        "prefix": api_key::prefix(key.environment),
        "last4": key.last4,
        "status": key.status(now).as_str(),
        "permissions": names(key.permissions),
        "unused_permissions": names(unused),
        "allowed_ips": key.allowed_networks.iter().map(IpNet::to_string).collect::<Vec<_>>(),
        "requests_per_minute": key.requests_per_minute_max,
        "edition": key.edition.map(Edition::number),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339_if_any(key.expires_at),
        "last_used_at": rfc3339_if_any(key.last_used_at),
        "revoked_at": rfc3339_if_any(key.revoked_at),
        "quarantined_at": rfc3339_if_any(key.quarantined_at),
        "rotation": rotation,
    })
}

fn or_never(time: Option<Timestamp>) -> String {
    rfc3339_if_any(time).unwrap_or_else(|| "never".into())
}

fn allowed_text(key: &ApiKey) -> String {
    let from = key.allowed_networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    if from.is_empty() { "anywhere".into() } else { from }
}

/// Prints a key, and before it what was done to it.
pub(super) async fn one(key: &ApiKey, done: Option<&str>, context: &mut Context<'_>) -> Result<(), CommandError> {
    let now = context.clock.now();
    let unused = unused(key, context).await?;
    let mut rows = vec![
        ("id", key.id.to_string()),
        ("name", key.name.clone()),
        ("organization", key.organization.to_string()),
        ("environment", key.environment.to_string()),
        ("secret", shown_secret(key)),
        ("status", status_text(key, now)),
    ];
    if let Some(rotation) = rotation_text(key, now) {
        rows.push(("old secret", rotation));
    }
    if let Some(at) = key.quarantined_at {
        let what = format!("since {}: its secret was reported as leaked, it may only read", rfc3339(at));
        rows.push(("quarantined", what));
    }
    if let Some(at) = key.revoked_at {
        rows.push(("revoked", rfc3339(at)));
    }
    rows.push(("permissions", key.permissions.to_string()));
    if !unused.is_empty() {
        rows.push(("unused", format!("{unused} (not in the last 30 days; `kallglot key update` can take them away)")));
    }
    let limit = key.requests_per_minute_max;
    let edition = key.edition;
    rows.extend([
        ("usable from", allowed_text(key)),
        ("own limit", limit.map_or_else(|| "none".into(), |limit| format!("{limit} requests/min"))),
        ("edition", edition.map_or_else(|| "its organization's".into(), |edition| edition.to_string())),
        ("created", rfc3339(key.created_at)),
        ("expires", or_never(key.expires_at)),
        ("last used", or_never(key.last_used_at)),
    ]);
    let done = done.map(|done| format!("{done}\n")).unwrap_or_default();
    context.print(&to_json(key, unused, now), &(done + &properties(&rows)))
}

/// Prints a key with its new secret: the only time that it is shown.
pub(super) fn with_secret(
    key: &ApiKey,
    secret: &Secret,
    unused: PermissionSet,
    done: &str,
    context: &mut Context<'_>,
) -> Result<(), CommandError> {
    let mut json = to_json(key, unused, context.clock.now());
    json["secret"] = json!(secret.expose());
    let text = properties(&[
        ("secret", secret.expose().to_owned()),
        ("id", key.id.to_string()),
        ("name", key.name.clone()),
        ("environment", key.environment.to_string()),
        ("permissions", key.permissions.to_string()),
        ("expires", or_never(key.expires_at)),
        ("usable from", allowed_text(key)),
    ]);
    context.print(&json, &format!("{done}\n{text}"))
}
