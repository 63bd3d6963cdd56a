//! `kallglot key …`: what the operator does with API keys. A secret is printed once, by the command that made it.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{self, ALLOWED_NETWORKS_MAX, ApiKey, KeyStatus, ROTATION_GRACE_S_MAX, Secret};
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::LimitOverrides;
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::{Cursor, PageRequest, RotateKey};
use serde_json::{Value, json};

use crate::command::{CommandError, Context, after, name, properties, rfc3339, rfc3339_if_any, span_s, table};

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
    #[arg(long, value_name = "TIME", value_parser = span_s)]
    expires_in: Option<u64>,
    /// From where it may be used: an address or a network; may be given several times. Anywhere if not given
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = network)]
    allowed_networks: Vec<IpNet>,
    /// A limit of its own below its organization's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LimitOverrides::LIMIT_MAX)))]
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

fn environment(text: &str) -> Result<Environment, String> {
    Environment::parse(text).ok_or_else(|| "the environments are live and test".into())
}

/// An address or a network; bits beyond the prefix are cut, so that what is shown is what holds.
fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map(|network| network.trunc()).map_err(|_| "neither an address nor a network such as 203.0.113.0/24".into())
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
        KeyCommand::List(args) => list(args, context).await,
        KeyCommand::Rotate(args) => rotate(args, context).await,
        KeyCommand::Revoke(args) => revoke(args, context).await,
    }
}

async fn create(args: Create, context: &mut Context<'_>) -> Result<(), CommandError> {
    if args.allowed_networks.len() > ALLOWED_NETWORKS_MAX {
        let message = format!("a key has at most {ALLOWED_NETWORKS_MAX} networks in its allow-list");
        return Err(CommandError::Invalid(message));
    }
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
    print_secret(&key, &secret, "Created. The secret is shown only now; keep it like a password.", context)
}

async fn list(args: List, context: &mut Context<'_>) -> Result<(), CommandError> {
    let id = args.org;
    context.storage.organization(id).await?.ok_or(CommandError::NoOrganization(id))?;
    let mut keys = Vec::new();
    for environment in Environment::ALL {
        let tenant = Tenant { organization: id, environment: *environment };
        let mut request = PageRequest::newest(PageRequest::<ApiKeyId>::LIMIT_MAX);
        loop {
            let page = context.storage.keys(tenant, &request).await?;
            request.cursor = page.items.last().map(|last| Cursor::StartingAfter(last.id));
            keys.extend(page.items);
            if !page.has_more {
                break;
            }
        }
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.id));
    let now = context.clock.now();
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.id.to_string(),
                format!("{}…{}", api_key::prefix(key.environment), key.last4),
                key.name.clone(),
                key.status(now).to_string(),
                rfc3339_if_any(key.expires_at).unwrap_or_else(|| "never".into()),
                rfc3339_if_any(key.last_used_at).unwrap_or_else(|| "never".into()),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        format!("The organization has no keys yet. Create one: kallglot key create --org {id} --env test")
    } else {
        table(&["id", "secret", "name", "status", "expires", "last used"], &rows)
    };
    let data: Vec<Value> = keys.iter().map(|key| to_json(key, now)).collect();
    context.print(&json!({"object": "list", "data": data}), &text)
}

/// The key that the operator names by its id alone.
async fn find(id: ApiKeyId, context: &Context<'_>) -> Result<ApiKey, CommandError> {
    context.storage.key_for_operator(id).await?.ok_or(CommandError::NoKey(id))
}

async fn rotate(args: Rotate, context: &mut Context<'_>) -> Result<(), CommandError> {
    let key = find(args.key, context).await?;
    let change = context.change();
    let secret = Secret::new(key.environment, context.random);
    let stored = secret.stored(context.peppers.newest());
    let until = after(change.at, args.grace)?;
    match context.storage.rotate_key(key.tenant(), key.id, &stored, until, &change).await? {
        RotateKey::Rotated(key) => {
            let old =
                if args.grace == 0 { "no longer valid".into() } else { format!("valid until {}", rfc3339(until)) };
            let done = format!("Rotated. The new secret is shown only now. The old one is {old}.");
            print_secret(&key, &secret, &done, context)
        }
        RotateKey::Revoked => Err(CommandError::Revoked(args.key)),
        RotateKey::NotFound => Err(CommandError::NoKey(args.key)),
    }
}

async fn revoke(args: Revoke, context: &mut Context<'_>) -> Result<(), CommandError> {
    let key = find(args.key, context).await?;
    let change = context.change();
    let now = change.at;
    let revoked = context.storage.revoke_key(key.tenant(), key.id, args.close_streams, &change).await?;
    let key = revoked.ok_or(CommandError::NoKey(args.key))?;
    // Written to the second, so rounded up: by then it holds everywhere.
    let at = key.revoked_at.unwrap_or(now);
    let begun_second = u64::from(at.subsec_nanosecond() > 0);
    let effective_at = rfc3339(after(at, EFFECTIVE_WITHIN_S + begun_second)?);
    let mut json = to_json(&key, now);
    json["effective_at"] = json!(effective_at);
    json["close_streams"] = json!(args.close_streams);
    let streams = if args.close_streams { "Open streams of its sessions are closed." } else { "Open streams go on." };
    let text = format!("Revoked {} ({}), effective everywhere at {effective_at}. {streams}", key.id, key.name);
    context.print(&json, &text)
}

fn to_json(key: &ApiKey, now: Timestamp) -> Value {
    json!({
        "id": key.id.to_string(),
        "object": "api_key",
        "organization": key.organization.to_string(),
        "environment": key.environment.as_str(),
        "name": key.name,
        "prefix": api_key::prefix(key.environment),
        "last4": key.last4,
        "status": key.status(now).as_str(),
        "permissions": key.permissions.iter().map(Permission::as_str).collect::<Vec<_>>(),
        "allowed_ips": key.allowed_networks.iter().map(IpNet::to_string).collect::<Vec<_>>(),
        "requests_per_minute": key.requests_per_minute_max,
        "edition": key.edition.map(Edition::number),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339_if_any(key.expires_at),
        "last_used_at": rfc3339_if_any(key.last_used_at),
        "revoked_at": rfc3339_if_any(key.revoked_at),
        "old_secret_valid_until": (key.status(now) == KeyStatus::Rotating)
            .then(|| rfc3339_if_any(key.old_secret_valid_until)),
    })
}

fn print_secret(key: &ApiKey, secret: &Secret, done: &str, context: &mut Context<'_>) -> Result<(), CommandError> {
    let mut json = to_json(key, context.clock.now());
    json["secret"] = json!(secret.expose());
    let from = key.allowed_networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    let text = properties(&[
        ("secret", secret.expose().to_owned()),
        ("id", key.id.to_string()),
        ("name", key.name.clone()),
        ("environment", key.environment.to_string()),
        ("permissions", key.permissions.to_string()),
        ("expires", rfc3339_if_any(key.expires_at).unwrap_or_else(|| "never".into())),
        ("usable from", if from.is_empty() { "anywhere".into() } else { from }),
    ]);
    context.print(&json, &format!("{done}\n{text}"))
}

#[cfg(test)]
mod tests {
    use crate::command::tests::Shell;
    use kallglot_core::api_key;
    use kallglot_storage::{GateChange, KeyRepository as _, KnownKey};
    use serde_json::json;

    async fn shell_with_organization() -> (Shell, String) {
        let shell = Shell::new();
        let organization = shell.json(&["org", "create", "--name", "Acme"]).await;
        let id = organization["id"].as_str().expect("an id").to_owned();
        (shell, id)
    }

    /// What the server finds for a secret.
    async fn look_up(shell: &Shell, secret: &serde_json::Value) -> KnownKey {
        let text = secret.as_str().expect("a secret");
        let parsed = api_key::parse(text).unwrap_or_else(|error| panic!("{error}"));
        shell.storage.key_of_secret(&parsed.secret.hash(shell.peppers.newest())).await.expect("stored").expect("known")
    }

    #[tokio::test]
    async fn a_created_key_is_found_by_its_secret() {
        let (shell, org) = shell_with_organization().await;
        let created = shell.json(&["key", "create", "--org", &org, "--env", "test", "--name", "backend"]).await;
        let known = look_up(&shell, &created["secret"]).await;
        assert_eq!(known.key.id.to_string(), created["id"].as_str().unwrap());
        assert_eq!(known.organization.id.to_string(), org);
        assert!(created["secret"].as_str().unwrap().starts_with("sk_test_"));
        assert_eq!((&created["status"], &created["name"]), (&json!("active"), &json!("backend")));
        let standard = ["sessions:read", "sessions:write", "recordings:read", "analysis:read", "analysis:write"];
        let standard = [&standard[..], &["webhooks:manage", "agents:read", "agents:write"]].concat();
        assert_eq!(created["permissions"], json!(standard));
    }

    #[tokio::test]
    async fn a_key_can_be_narrowed() {
        let (shell, org) = shell_with_organization().await;
        let narrow = [
            "--permission",
            "sessions:read",
            "--expires-in",
            "30d",
            "--allow-ip",
            "203.0.113.7/24",
            "--allow-ip",
            "::1",
        ];
        let more = ["--requests-per-minute", "9", "--edition", "1"];
        let words = [&["key", "create", "--org", &org, "--env", "live"][..], &narrow, &more].concat();
        let created = shell.json(&words).await;
        assert_eq!(created["permissions"], json!(["sessions:read"]));
        assert_eq!(created["allowed_ips"], json!(["203.0.113.0/24", "::1/128"]));
        assert_eq!(created["expires_at"], "2025-07-15T15:06:40Z");
        assert_eq!((&created["requests_per_minute"], &created["edition"]), (&json!(9), &json!(1)));
    }

    #[tokio::test]
    async fn a_secret_is_never_shown_again() {
        let (shell, org) = shell_with_organization().await;
        let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
        let secret = created["secret"].as_str().unwrap();
        for json in [false, true] {
            let listed = shell.run(json, &["key", "list", "--org", &org]).await.unwrap();
            assert!(listed.contains(created["id"].as_str().unwrap()) && listed.contains(&secret[40..]), "{listed}");
            assert!(!listed.contains(&secret[8..]), "{listed}");
        }
    }

    #[tokio::test]
    async fn keys_of_both_environments_are_listed_newest_first() {
        let (mut shell, org) = shell_with_organization().await;
        let empty = shell.run(false, &["key", "list", "--org", &org]).await.unwrap();
        assert!(empty.contains("kallglot key create"), "{empty}");
        let mut ids = Vec::new();
        for env in ["test", "live", "test"] {
            shell.clock.0 += std::time::Duration::from_secs(1);
            ids.insert(0, shell.json(&["key", "create", "--org", &org, "--env", env]).await["id"].clone());
        }
        let listed = shell.json(&["key", "list", "--org", &org]).await;
        let listed: Vec<_> = listed["data"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
        assert_eq!(listed, ids);
    }

    #[tokio::test]
    async fn a_rotation_gives_a_new_secret_and_keeps_the_old_for_its_grace() {
        let (shell, org) = shell_with_organization().await;
        let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
        let id = created["id"].as_str().unwrap();
        let rotated = shell.json(&["key", "rotate", id, "--grace", "2h"]).await;
        assert_eq!((&rotated["id"], &rotated["status"]), (&created["id"], &json!("rotating")));
        assert_eq!(rotated["old_secret_valid_until"], "2025-06-15T17:06:40Z");
        assert!(look_up(&shell, &created["secret"]).await.secret_valid_until.is_some());
        assert!(look_up(&shell, &rotated["secret"]).await.secret_valid_until.is_none());

        let at_once = shell.json(&["key", "rotate", id, "--grace", "0s"]).await;
        assert_eq!(at_once["status"], "active");
        let too_long = shell.run(false, &["key", "rotate", id, "--grace", "8d"]).await.unwrap_err();
        assert!(too_long.starts_with("usage: ") && too_long.contains("7d"), "{too_long}");
    }

    #[tokio::test]
    async fn a_revoked_key_says_when_it_is_effective_and_stays_so() {
        let (shell, org) = shell_with_organization().await;
        let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
        let id = created["id"].as_str().unwrap();
        let revoked = shell.json(&["key", "revoke", id, "--close-streams"]).await;
        assert_eq!((&revoked["status"], &revoked["effective_at"]), (&json!("revoked"), &json!("2025-06-15T15:06:41Z")));
        let closures = shell.storage.gate_changes_since(Some(0)).await.unwrap().changes;
        assert!(closures.contains(&GateChange::CloseStreams(id.parse().unwrap())), "{closures:?}");
        let rotated = shell.run(false, &["key", "rotate", id]).await.unwrap_err();
        assert!(rotated.contains("revoked") && rotated.contains("key create"), "{rotated}");
    }

    #[tokio::test]
    async fn what_does_not_exist_is_said_so() {
        let (shell, org) = shell_with_organization().await;
        for words in [
            &["key", "create", "--org", "org_0000000000000000000009", "--env", "test"] as &[&str],
            &["key", "list", "--org", "org_0000000000000000000009"],
            &["key", "rotate", "key_0000000000000000000009"],
            &["key", "revoke", "key_0000000000000000000009"],
        ] {
            let error = shell.run(false, words).await.unwrap_err();
            assert!(error.starts_with("there is no "), "{error}");
        }
        for words in [
            &["key", "create", "--org", &org, "--env", "prod"] as &[&str],
            &["key", "create", "--org", &org, "--env", "test", "--permission", "everything"],
            &["key", "create", "--org", &org, "--env", "test", "--allow-ip", "localhost"],
            &["key", "rotate", "sk_test_not_an_id"],
        ] {
            let error = shell.run(false, words).await.unwrap_err();
            assert!(error.starts_with("usage: "), "{words:?}: {error}");
        }
    }
}
