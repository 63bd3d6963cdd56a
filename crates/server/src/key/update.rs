//! `kallglot key update`: changes a key without a new secret.

use clap::Args;
use ipnet::IpNet;
use kallglot_core::edition::Edition;
use kallglot_core::id::ApiKeyId;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_storage::KeyUpdate;

use super::{check_networks, find, life_s, limit, network, show};
use crate::command::{CommandError, Context, after, name};

#[derive(Debug, Args)]
pub(super) struct Update {
    /// The key's id (not its secret)
    #[arg(value_name = "KEY_ID")]
    key: ApiKeyId,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// What you call it
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// What it may do, in place of all that it may do now; may be given several times
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// For how long it is valid from now on, such as 30d
    #[arg(long, value_name = "TIME", value_parser = life_s)]
    expires_in: Option<u64>,
    /// It is valid for ever
    #[arg(long, conflicts_with = "expires_in")]
    never_expires: bool,
    /// From where it may be used, in place of from where it may now: an address or a network; may be given several times
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = network)]
    allowed_networks: Vec<IpNet>,
    /// It may be used from anywhere
    #[arg(long, conflicts_with = "allowed_networks")]
    allow_anywhere: bool,
    /// A limit of its own below its organization's
    #[arg(long, value_name = "N", value_parser = limit())]
    requests_per_minute: Option<u32>,
    /// Its organization's limit is its only one
    #[arg(long, conflicts_with = "requests_per_minute")]
    no_own_limit: bool,
    /// The edition of the API that it speaks: 1 or 2
    #[arg(long)]
    edition: Option<Edition>,
    /// It speaks its organization's edition
    #[arg(long, conflicts_with = "edition")]
    organization_edition: bool,
    /// It may write again: the report that its secret has leaked was wrong
    #[arg(long)]
    lift_quarantine: bool,
}

/// `Some(None)` when a value is to be taken away, `Some(Some(_))` for a new one.
fn set_or_clear<T>(value: Option<T>, clear: bool) -> Option<Option<T>> {
    if clear { Some(None) } else { value.map(Some) }
}

/// Runs the command.
pub(super) async fn run(args: Update, context: &mut Context<'_>) -> Result<(), CommandError> {
    let Update { key: id, wanted } = args;
    check_networks(&wanted.allowed_networks)?;
    let before = find(id, context).await?;
    let change = context.change();
    let expires_at = wanted.expires_in.map(|seconds| after(change.at, seconds)).transpose()?;
    let networks = wanted.allowed_networks;
    let update = KeyUpdate {
        name: wanted.name,
        permissions: Some(PermissionSet::of(&wanted.permissions)).filter(|set| !set.is_empty()),
        expires_at: set_or_clear(expires_at, wanted.never_expires),
        allowed_networks: (wanted.allow_anywhere || !networks.is_empty()).then_some(networks),
        requests_per_minute_max: set_or_clear(wanted.requests_per_minute, wanted.no_own_limit),
        edition: set_or_clear(wanted.edition, wanted.organization_edition),
        lift_quarantine: wanted.lift_quarantine,
    };
    let updated = context.storage.update_key(before.tenant(), id, &update, &change).await?;
    let key = updated.ok_or(CommandError::NoKey(id))?;
    let done = if key == before { "It was so already; nothing is changed." } else { "Changed." };
    show::one(&key, Some(done), context).await
}
