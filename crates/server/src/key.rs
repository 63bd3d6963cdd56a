//! `kallglot key …`: what the operator does with API keys. A secret is printed once, by the command that made it.

mod show;
mod update;

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use kallglot_core::api_key::{ALLOWED_NETWORKS_MAX, ApiKey, ROTATION_GRACE_S_MAX, Secret};
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::LimitOverrides;
use kallglot_core::session::Environment;
use kallglot_storage::RotateKey;
use serde_json::json;

use crate::command::{CommandError, Context, after, environment, name, rfc3339, span_s};
use update::Update;

/// Within this time a change of a key has reached every running server. Seconds.
const EFFECTIVE_WITHIN_S: u64 = 1;

/// `kallglot key …`
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Create a key and show its secret, which is never shown again
    #[command(after_help = "Examples:
  kallglot key create --org ORG --env test
  kallglot key create --org ORG --env live --name backend --expires-in 90d --allow-ip 203.0.113.0/24
  kallglot key create --org ORG --env live --name reports --permission sessions:read --permission recordings:read

Permissions:
  sessions:read sessions:write recordings:read recordings:delete analysis:read analysis:write
  webhooks:manage agents:read agents:write api_keys:manage")]
    Create(Create),
    /// List an organization's keys, newest first
    List(List),
    /// Show one key: what it may do and does not use, how it stands, who still uses its old secret
    Show(One),
    /// Change a key; what is not given stays as it is
    ///
    /// Takes effect on a running server within a second.
    #[command(
        override_usage = "kallglot key update <KEY_ID> <CHANGE>...",
        after_help = "Examples:
  kallglot key update KEY_ID --name reports --permission sessions:read --permission recordings:read
  kallglot key update KEY_ID --allow-ip 203.0.113.0/24 --allow-ip 2001:db8::/32
  kallglot key update KEY_ID --expires-in 90d --requests-per-minute 30
  kallglot key update KEY_ID --lift-quarantine       after a leak that turned out to be none

Permissions:
  sessions:read sessions:write recordings:read recordings:delete analysis:read analysis:write
  webhooks:manage agents:read agents:write api_keys:manage"
    )]
    Update(Update),
    /// Give a key a new secret; the old one stays valid for a grace period
    #[command(after_help = "Examples:
  kallglot key rotate KEY_ID --grace 24h
  kallglot key rotate KEY_ID --grace 0s       the old secret may be known to somebody")]
    Rotate(Rotate),
    /// Revoke a key, for good
    ///
    /// Takes effect on a running server within a second. Streams that the key's sessions have open go on unless --close-streams is given.
    #[command(after_help = "Example:
  kallglot key revoke KEY_ID --close-streams")]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    /// The organization's id
    #[arg(long, value_name = "ORG")]
    org: OrganizationId,
    /// live or test
    #[arg(long, value_parser = environment)]
    env: Environment,
    /// What you call it
    #[arg(long, default_value = "unnamed", value_parser = name)]
    name: String,
    /// What it may do; may be given several times. The edition's standard set if not given
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// For how long it is valid, such as 30d; for ever if not given
    #[arg(long, value_name = "TIME", value_parser = life_s)]
    expires_in: Option<u64>,
    /// From where it may be used: an address or a network; may be given several times. Anywhere if not given
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = network)]
    allowed_networks: Vec<IpNet>,
    /// A limit of its own below its organization's
    #[arg(long, value_name = "N", value_parser = limit())]
    requests_per_minute: Option<u32>,
    /// The edition of the API that it speaks: 1 or 2. Its organization's if not given
    #[arg(long)]
    edition: Option<Edition>,
}

#[derive(Debug, Args)]
struct List {
    /// The organization's id
    #[arg(long, value_name = "ORG")]
    org: OrganizationId,
}

#[derive(Debug, Args)]
struct One {
    /// The key's id (not its secret)
    #[arg(value_name = "KEY_ID")]
    key: ApiKeyId,
}

#[derive(Debug, Args)]
struct Rotate {
    /// The key's id (not its secret)
    #[arg(value_name = "KEY_ID")]
    key: ApiKeyId,
    /// For how long the old secret stays valid: 0s to 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = grace_s)]
    grace: u64,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The key's id (not its secret)
    #[arg(value_name = "KEY_ID")]
    key: ApiKeyId,
    /// Also close the streams that sessions of this key have open
    #[arg(long)]
    close_streams: bool,
}

/// An address or a network; bits beyond the prefix are cut, so that what is shown is what holds.
fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map(|network| network.trunc()).map_err(|_| "neither an address nor a network such as 203.0.113.0/24".into())
}

fn life_s(text: &str) -> Result<u64, String> {
    span_s(text)
        .and_then(|seconds| if seconds > 0 { Ok(seconds) } else { Err("a key is valid for 1s at least".into()) })
}

fn limit() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(LimitOverrides::LIMIT_MAX))
}

/// Refuses an allow-list that is longer than one may be.
fn check_networks(networks: &[IpNet]) -> Result<(), CommandError> {
    if networks.len() <= ALLOWED_NETWORKS_MAX {
        return Ok(());
    }
    Err(CommandError::Invalid(format!("a key has at most {ALLOWED_NETWORKS_MAX} networks in its allow-list")))
}

fn grace_s(text: &str) -> Result<u64, String> {
    span_s(text).and_then(|seconds| {
        let allowed = seconds <= u64::from(ROTATION_GRACE_S_MAX);
        allowed.then_some(seconds).ok_or_else(|| "the old secret can stay valid for 7d at most".into())
    })
}

/// Runs the command.
///
/// # Errors
/// See [`CommandError`]; nothing was changed then.
pub(crate) async fn run(args: KeyArgs, context: &mut Context<'_>) -> Result<(), CommandError> {
    match args.command {
        KeyCommand::Create(args) => create(args, context).await,
        KeyCommand::List(args) => show::list(args.org, context).await,
        KeyCommand::Show(One { key }) => show::one(&find(key, context).await?, None, context).await,
        KeyCommand::Update(args) => update::run(args, context).await,
        KeyCommand::Rotate(args) => rotate(args, context).await,
        KeyCommand::Revoke(args) => revoke(args, context).await,
    }
}

async fn create(args: Create, context: &mut Context<'_>) -> Result<(), CommandError> {
    check_networks(&args.allowed_networks)?;
    let organization = context.storage.organization(args.org).await?.ok_or(CommandError::NoOrganization(args.org))?;
    let now = context.clock.now();
    let secret = Secret::new(args.env, context.random);
    let standard = args.edition.unwrap_or(organization.edition).rules().standard_permissions;
    let key = ApiKey {
        id: ApiKeyId::new(now, context.random),
        organization: organization.id,
        environment: args.env,
        name: args.name,
        permissions: if args.permissions.is_empty() { standard } else { PermissionSet::of(&args.permissions) },
        expires_at: args.expires_in.map(|seconds| after(now, seconds)).transpose()?,
        allowed_networks: args.allowed_networks,
        requests_per_minute_max: args.requests_per_minute,
        edition: args.edition,
        created_at: now,
        last_used_at: None,
        revoked_at: None,
        last4: secret.last4().to_owned(),
        old_secret_valid_until: None,
        old_secret_last_used_at: None,
        quarantined_at: None,
    };
    let stored = secret.stored(context.peppers.newest());
    context.storage.create_key(&key, &stored, None, &context.change()).await?;
    let done = "Created. The secret is shown only now; keep it like a password.";
    show::with_secret(&key, &secret, PermissionSet::NONE, done, context)
}

/// The key that the operator names by its id alone.
async fn find(id: ApiKeyId, context: &Context<'_>) -> Result<ApiKey, CommandError> {
    context.storage.key_for_operator(id).await?.ok_or(CommandError::NoKey(id))
}

async fn rotate(args: Rotate, context: &mut Context<'_>) -> Result<(), CommandError> {
    let key = find(args.key, context).await?;
    // Before the work: once there is a new secret, nothing may keep it from being shown.
    let unused = show::unused(&key, context).await?;
    let change = context.change();
    let secret = Secret::new(key.environment, context.random);
    let stored = secret.stored(context.peppers.newest());
    let until = after(change.at, args.grace)?;
    match context.storage.rotate_key(key.tenant(), key.id, &stored, until, &change).await? {
        RotateKey::Rotated(key) => {
            let old = if args.grace == 0 {
                "no longer valid.".into()
            } else {
                let until = rfc3339(until);
                format!("valid until {until}; `kallglot key show {}` tells whether it is still used.", key.id)
            };
            let done = format!("Rotated. The new secret is shown only now. The old one is {old}");
            show::with_secret(&key, &secret, unused, &done, context)
        }
        RotateKey::Revoked => Err(CommandError::Revoked(args.key)),
        RotateKey::NotFound => Err(CommandError::NoKey(args.key)),
    }
}

async fn revoke(args: Revoke, context: &mut Context<'_>) -> Result<(), CommandError> {
    let key = find(args.key, context).await?;
    let unused = show::unused(&key, context).await?;
    let change = context.change();
    let now = change.at;
    let revoked = context.storage.revoke_key(key.tenant(), key.id, args.close_streams, &change).await?;
    let key = revoked.ok_or(CommandError::NoKey(args.key))?;
    // Written to the second, so rounded up: by then it holds everywhere.
    let at = key.revoked_at.unwrap_or(now);
    let begun_second = u64::from(at.subsec_nanosecond() > 0);
    let effective_at = rfc3339(after(at, EFFECTIVE_WITHIN_S + begun_second)?);
    let mut json = show::to_json(&key, unused, now);
    json["effective_at"] = json!(effective_at);
    json["close_streams"] = json!(args.close_streams);
    let streams = if args.close_streams { "Open streams of its sessions are closed." } else { "Open streams go on." };
    let text = format!("Revoked {} ({}), effective everywhere at {effective_at}. {streams}", key.id, key.name);
    context.print(&json, &text)
}

#[cfg(test)]
mod tests;
