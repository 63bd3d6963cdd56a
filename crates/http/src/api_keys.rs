//! `/v1/api_keys`: an organization's keys by API, for keys with `api_keys:manage` (contract sections 1 and 4).

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use ipnet::IpNet;
use jiff::SignedDuration;
use kallglot_app::keys::{Authority, CreateKey, unused_permissions};
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ALLOWED_NETWORKS_MAX, ApiKey, ROTATION_GRACE_S_MAX, Secret, network, prefix};
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::ApiKeyId;
use kallglot_core::organization::{NAME_CHARS_MAX, valid_name};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::LimitOverrides;
use kallglot_storage::KeyUpdate;
use serde::Serialize;

use crate::HttpState;
use crate::body::{Body, Fields};
use crate::gate::{ApiKeysManage, Caller};
use crate::idempotency::{Repeat, json, made};
use crate::list::{List, page};
use crate::problem::Problem;
use crate::sessions::time;

/// How long the old secret stays valid after a rotation unless told otherwise, in seconds.
const GRACE_S: u64 = 3600;
/// Longest life that can be given in `expires_in_seconds`: ten years.
const EXPIRES_IN_S_MAX: u64 = 10 * 366 * 24 * 60 * 60;

#[derive(Serialize)]
pub(crate) struct KeyBody {
    id: String,
    object: &'static str,
    name: String,
    environment: &'static str,
    prefix: &'static str,
    last4: String,
    status: &'static str,
    permissions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_permissions: Option<Vec<&'static str>>,
    allowed_ips: Vec<String>,
    requests_per_minute: Option<u32>,
    edition: Option<u8>,
    created_at: String,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    quarantined_at: Option<String>,
    rotation: Option<RotationBody>,
}

#[derive(Serialize)]
struct RotationBody {
    old_secret_expires_at: String,
    old_secret_last_used_at: Option<String>,
}

#[derive(Serialize)]
struct WithSecret<'a> {
    #[serde(flatten)]
    key: KeyBody,
    secret: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Revoked {
    #[serde(flatten)]
    key: KeyBody,
    effective_at: String,
}

/// The body of a key. `unused` are the permissions that could be taken from it.
pub(crate) fn key_body(key: &ApiKey, now: Timestamp, unused: Option<PermissionSet>) -> KeyBody {
    let names = |set: PermissionSet| set.iter().map(Permission::as_str).collect();
    let rotation = key.old_secret_valid_until.filter(|until| now < *until).map(|until| RotationBody {
        old_secret_expires_at: time(until),
        old_secret_last_used_at: key.old_secret_last_used_at.map(time),
    });
    KeyBody {
        id: key.id.to_string(),
        object: "api_key",
        name: key.name.clone(),
        environment: key.environment.as_str(),
        prefix: prefix(key.environment),
        last4: key.last4.clone(),
        status: key.status(now).as_str(),
        permissions: names(key.permissions),
        unused_permissions: unused.map(names),
        allowed_ips: key.allowed_networks.iter().map(ToString::to_string).collect(),
        requests_per_minute: key.requests_per_minute_max,
        edition: key.edition.map(Edition::number),
        created_at: time(key.created_at),
        last_used_at: key.last_used_at.map(time),
        expires_at: key.expires_at.map(time),
        revoked_at: key.revoked_at.map(time),
        quarantined_at: key.quarantined_at.map(time),
        rotation,
    }
}

/// The bodies of keys, with what each does not use.
async fn key_bodies(state: &HttpState, keys: Vec<ApiKey>) -> Result<Vec<KeyBody>, Problem> {
    let now = state.app.clock.now();
    let unused = unused_permissions(state.app.storage.as_ref(), &keys, now).await?;
    Ok(keys.iter().zip(unused).map(|(key, unused)| key_body(key, now, Some(unused))).collect())
}

async fn one_body(state: &HttpState, key: ApiKey) -> Result<KeyBody, Problem> {
    key_bodies(state, vec![key]).await?.pop().ok_or_else(|| Problem::of(ErrorCode::InternalError))
}

fn key_id(text: &str) -> Result<ApiKeyId, Problem> {
    text.parse().map_err(|_| Problem::with(ErrorCode::NotFound, "There is no such API key."))
}

fn with_secret(key: KeyBody, secret: &Secret) -> Vec<u8> {
    serde_json::to_vec(&WithSecret { key, secret: secret.expose() }).unwrap_or_default()
}

pub(crate) async fn create(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    repeat: Repeat,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let repeatable = repeat.begin(&state, &caller, &fields).await?;
    let create = async {
        let asked = read_create(fields, state.app.clock.now())?;
        let change = caller.change(&state);
        let none = Some(PermissionSet::NONE);
        let render = |key: &ApiKey, secret: &Secret| with_secret(key_body(key, change.at, none), secret);
        let by = Authority::Key(&caller.known);
        let made = state.app.create_key(by, &change, asked, repeatable.as_ref(), render).await?;
        Ok::<_, Problem>(made.map(|new| new.body))
    };
    made(StatusCode::CREATED, repeatable.as_ref(), create.await).await
}

pub(crate) async fn list(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<KeyBody>>, Problem> {
    let found = state.app.storage.keys(caller.tenant(), &page(query.as_deref(), "an API key")?).await?;
    let has_more = found.has_more;
    let items = key_bodies(&state, found.items).await?;
    Ok(Json(List::of(kallglot_storage::Page { items, has_more }, "/v1/api_keys", |body| body)))
}

pub(crate) async fn get(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<KeyBody>, Problem> {
    let key = state.app.find_key(caller.tenant(), key_id(&id)?).await?;
    Ok(Json(one_body(&state, key).await?))
}

pub(crate) async fn update(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(fields): Body,
) -> Result<Json<KeyBody>, Problem> {
    let id = key_id(&id)?;
    let update = read_update(fields, state.app.clock.now())?;
    let key = state.app.update_key(Authority::Key(&caller.known), &caller.change(&state), id, &update).await?;
    Ok(Json(one_body(&state, key).await?))
}

pub(crate) async fn rotate(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let id = key_id(&id)?;
    let grace_s = fields.number("grace_seconds", 0, ROTATION_GRACE_S_MAX.into())?.unwrap_or(GRACE_S);
    fields.finish()?;
    let change = caller.change(&state);
    let until = change.at.checked_add(SignedDuration::from_secs(grace_s as i64)).unwrap_or(change.at);
    let (key, secret) = state.app.rotate_key(Authority::Key(&caller.known), &change, id, until).await?;
    Ok(json(StatusCode::OK, with_secret(one_body(&state, key).await?, &secret)))
}

pub(crate) async fn revoke(
    caller: Caller<ApiKeysManage>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Body(mut fields): Body,
) -> Result<Json<Revoked>, Problem> {
    let id = key_id(&id)?;
    let close_streams = fields.flag("close_streams")?.unwrap_or(false);
    fields.finish()?;
    let key = state.app.revoke_key(Authority::Key(&caller.known), &caller.change(&state), id, close_streams).await?;
    // In this process it is in force already; the time is when it was made so.
    let effective_at = time(key.revoked_at.unwrap_or_else(|| state.app.clock.now()));
    Ok(Json(Revoked { key: one_body(&state, key).await?, effective_at }))
}

fn read_name(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let name = fields.text("name")?;
    match name {
        Some(name) if !valid_name(&name) => {
            let expected = format!("1 to {NAME_CHARS_MAX} characters, not blank, without control characters");
            fields.refuse("name", &expected)
        }
        name => Ok(name),
    }
}

fn read_permissions(fields: &mut Fields) -> Result<Option<PermissionSet>, Problem> {
    if !fields.has("permissions") {
        return Ok(None);
    }
    let mut set = PermissionSet::NONE;
    for (index, name) in fields.texts("permissions")?.iter().enumerate() {
        let permission = name.parse::<Permission>().map_err(|error| {
            let param = format!("permissions[{index}]");
            Problem::invalid(&param, format!("`{param}`: {error}."))
        })?;
        set = set.with(permission);
    }
    if set.is_empty() {
        return fields.refuse("permissions", "a list of at least one permission");
    }
    Ok(Some(set))
}

fn read_networks(fields: &mut Fields) -> Result<Vec<IpNet>, Problem> {
    let texts = fields.texts("allowed_ips")?;
    if texts.len() > ALLOWED_NETWORKS_MAX {
        return fields.refuse("allowed_ips", &format!("at most {ALLOWED_NETWORKS_MAX} networks"));
    }
    let read = |(index, text): (usize, &String)| {
        network(text).ok_or_else(|| {
            let param = format!("allowed_ips[{index}]");
            let message =
                format!("`{param}` must be an address or a network such as `203.0.113.0/24` or `2001:db8::/32`.");
            Problem::invalid(param, message)
        })
    };
    texts.iter().enumerate().map(read).collect()
}

/// `expires_at`, or `expires_in_seconds` from `now`.
fn read_expiry(fields: &mut Fields, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let in_s = fields.number("expires_in_seconds", 1, EXPIRES_IN_S_MAX)?;
    match (fields.time("expires_at")?, in_s) {
        (Some(_), Some(_)) => fields.refuse("expires_in_seconds", "left out when `expires_at` is given"),
        (Some(at), None) if at <= now => fields.refuse("expires_at", "in the future"),
        (Some(at), None) => Ok(Some(at)),
        (None, Some(seconds)) => Ok(now.checked_add(SignedDuration::from_secs(seconds as i64)).ok()),
        (None, None) => Ok(None),
    }
}

fn read_limit(fields: &mut Fields) -> Result<Option<u32>, Problem> {
    let limit = fields.number("requests_per_minute", 1, LimitOverrides::LIMIT_MAX.into())?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()))
}

fn read_edition(fields: &mut Fields) -> Result<Option<Edition>, Problem> {
    let number = fields.number("edition", 1, 2)?;
    Ok(number.and_then(|number| Edition::from_number(number as i64)))
}

pub(crate) fn read_create(mut fields: Fields, now: Timestamp) -> Result<CreateKey, Problem> {
    let asked = CreateKey {
        name: read_name(&mut fields)?.unwrap_or_else(|| "API key".into()),
        permissions: read_permissions(&mut fields)?,
        expires_at: read_expiry(&mut fields, now)?,
        allowed_networks: if fields.has("allowed_ips") { Some(read_networks(&mut fields)?) } else { None },
        requests_per_minute_max: read_limit(&mut fields)?,
        edition: read_edition(&mut fields)?,
    };
    fields.finish()?;
    Ok(asked)
}

/// What is left out stays; null clears.
pub(crate) fn read_update(mut fields: Fields, now: Timestamp) -> Result<KeyUpdate, Problem> {
    let has = |fields: &Fields, name| fields.has(name);
    let expiry = has(&fields, "expires_at") || has(&fields, "expires_in_seconds");
    let limit = has(&fields, "requests_per_minute");
    let edition = has(&fields, "edition");
    let networks = has(&fields, "allowed_ips");
    let update = KeyUpdate {
        name: read_name(&mut fields)?,
        permissions: read_permissions(&mut fields)?,
        expires_at: if expiry { Some(read_expiry(&mut fields, now)?) } else { None },
        allowed_networks: if networks { Some(read_networks(&mut fields)?) } else { None },
        requests_per_minute_max: if limit { Some(read_limit(&mut fields)?) } else { None },
        edition: if edition { Some(read_edition(&mut fields)?) } else { None },
        lift_quarantine: match fields.flag("quarantined")? {
            Some(true) => return fields.refuse("quarantined", "false, which lifts a quarantine"),
            Some(false) => true,
            None => false,
        },
    };
    fields.finish()?;
    Ok(update)
}
