//! `kallglot org …`: what the operator does with organizations.

mod history;
mod show;
mod vocabulary;

use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::{LOW_CREDITS_THRESHOLD, LeakPolicy, Organization};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::recording::{KEPT_DAYS, KEPT_DAYS_MAX};
use kallglot_core::vocabulary::Vocabulary;
use kallglot_storage::OrganizationUpdate;
use serde_json::Value;

use crate::command::{CommandError, Context, name};
use history::History;
use vocabulary::SetVocabulary;

/// `kallglot org …`
#[derive(Debug, Args)]
pub(crate) struct OrgArgs {
    #[command(subcommand)]
    command: OrgCommand,
}

#[derive(Debug, Subcommand)]
enum OrgCommand {
    /// Create an organization
    #[command(after_help = "Examples:
  kallglot org create --name \"Acme Hotels\"
  kallglot org create --name Acme --plan enterprise --concurrent-sessions 800
  kallglot org create --name Acme --credits 5000 --low-credits 500 --leak-policy quarantine")]
    Create(Create),
    /// List all organizations, newest first
    List,
    /// Show one organization with its credits, limits and policies
    Show(One),
    /// Set the plan; limits that are not given here become the plan's
    #[command(after_help = "Example:
  kallglot org set-plan ORG --plan pro --concurrent-sessions 80")]
    SetPlan(SetPlan),
    /// Add credits to the organization's ledger
    #[command(after_help = "Example:
  kallglot org grant-credits ORG 500")]
    GrantCredits(GrantCredits),
    /// Show how the organization's credits came and went, newest first
    #[command(after_help = "Examples:
  kallglot org ledger ORG
  kallglot org ledger ORG --limit 1000 --json")]
    Ledger(History),
    /// Show what was done to the organization, its keys and its credits, by whom and from where, newest first
    #[command(after_help = "Examples:
  kallglot org audit ORG
  kallglot org audit ORG --limit 1000 --json")]
    Audit(History),
    /// Let the organization's requests in again
    Activate(One),
    /// Refuse all of the organization's requests (organization_inactive)
    Deactivate(One),
    /// Set which edition of the API its keys speak unless they say otherwise
    #[command(after_help = "Example:
  kallglot org set-edition ORG 1")]
    SetEdition(SetEdition),
    /// Set what happens to a key whose secret is reported as leaked
    ///
    /// Whatever it is, the event api_key.leaked is raised and the audit log gets an entry.
    #[command(after_help = "Examples:
  kallglot org set-leak-policy ORG revoke         the key is revoked, its streams are closed
  kallglot org set-leak-policy ORG quarantine     the key may only read, until `kallglot key update KEY_ID --lift-quarantine`
  kallglot org set-leak-policy ORG notify         nothing happens to the key")]
    SetLeakPolicy(SetLeakPolicy),
    /// Set at how many credits the event credits.low is raised
    #[command(after_help = "Example:
  kallglot org set-low-credits ORG 500")]
    SetLowCredits(SetLowCredits),
    /// Set whether sessions are recorded that don't say, and how long recordings are kept
    ///
    /// Recordings that are there keep the time that they had.
    #[command(after_help = "Examples:
  kallglot org set-recording ORG --record true
  kallglot org set-recording ORG --keep-days 90")]
    SetRecording(SetRecording),
    /// Set what the recognizers should expect in one language, in every session
    ///
    /// The files have one phrase or word a line; empty lines and lines that start with # are passed over. What was set for
    /// that language before is replaced.
    #[command(after_help = "Examples:
  kallglot org set-vocabulary ORG --language es --phrases reception.txt --phrases-only
  kallglot org set-vocabulary ORG --language en --words products.txt
  kallglot org set-vocabulary ORG --language es --clear")]
    SetVocabulary(SetVocabulary),
    /// Set which speech engine the organization's sessions use
    #[command(after_help = "Examples:
  kallglot org set-engine ORG openai
  kallglot org set-engine ORG --default")]
    SetEngine(SetEngine),
}

#[derive(Debug, Args)]
struct One {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
}

#[derive(Debug, Args)]
struct Create {
    /// What people call it
    #[arg(long, value_parser = name)]
    name: String,
    /// starter, pro or enterprise
    #[arg(long, default_value = "starter", value_parser = plan)]
    plan: Plan,
    /// Credits to begin with
    #[arg(long, value_name = "N", default_value_t = 100)]
    credits: u32,
    /// The edition of the API that its keys speak unless they say otherwise: 1 or 2
    #[arg(long, default_value = "2")]
    edition: Edition,
    /// The speech engine that its sessions use; the server's default if not given
    #[arg(long)]
    engine: Option<String>,
    /// What happens to a key whose secret is reported as leaked: revoke, quarantine or notify
    #[arg(long, value_name = "POLICY", default_value = "revoke", value_parser = leak_policy)]
    leak_policy: LeakPolicy,
    /// When so many credits or fewer are left, the event credits.low is raised, once per crossing
    #[arg(long, value_name = "N", default_value_t = LOW_CREDITS_THRESHOLD)]
    low_credits: u32,
    /// Record sessions whose creation does not say whether they are recorded
    #[arg(long)]
    record: bool,
    /// For how many days recordings are kept
    #[arg(long, value_name = "DAYS", default_value_t = KEPT_DAYS, value_parser = kept_days())]
    keep_recordings_days: u32,
    // Last: its heading holds for all that comes after it.
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Args)]
struct SetPlan {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// starter, pro or enterprise
    #[arg(long, value_parser = plan)]
    plan: Plan,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true, args = ["record", "keep_days"])]
struct SetRecording {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// Whether sessions are recorded whose creation does not say
    #[arg(long, value_name = "BOOL")]
    record: Option<bool>,
    /// For how many days recordings are kept
    #[arg(long, value_name = "DAYS", value_parser = kept_days())]
    keep_days: Option<u32>,
}

fn kept_days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(KEPT_DAYS_MAX))
}

#[derive(Debug, Args)]
struct GrantCredits {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// How many
    #[arg(value_name = "N")]
    credits: NonZeroU32,
}

/// Limits in place of the plan's, in the live environment.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits in place of the plan's (live environment)")]
struct LimitArgs {
    /// Requests per minute, all keys together
    #[arg(long, value_name = "N", value_parser = limit())]
    requests_per_minute: Option<u32>,
    /// Sessions at the same time
    #[arg(long, value_name = "N", value_parser = limit())]
    concurrent_sessions: Option<u32>,
    /// Messages per second on one stream
    #[arg(long, value_name = "N", value_parser = limit())]
    stream_messages_per_second: Option<u32>,
    /// Bytes of audio per second on one stream
    #[arg(long, value_name = "N", value_parser = limit())]
    stream_audio_bytes_per_second: Option<u32>,
}

fn limit() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(LimitOverrides::LIMIT_MAX))
}

impl LimitArgs {
    fn overrides(&self) -> LimitOverrides {
        LimitOverrides {
            requests_per_minute_max: self.requests_per_minute,
            concurrent_sessions_max: self.concurrent_sessions,
            stream_messages_per_second_max: self.stream_messages_per_second,
            stream_audio_bytes_per_second_max: self.stream_audio_bytes_per_second,
        }
    }
}

#[derive(Debug, Args)]
struct SetEdition {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// 1 or 2
    edition: Edition,
}

#[derive(Debug, Args)]
struct SetLeakPolicy {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// revoke, quarantine or notify
    #[arg(value_parser = leak_policy)]
    policy: LeakPolicy,
}

#[derive(Debug, Args)]
struct SetLowCredits {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// When so many credits or fewer are left, the event is raised, once per crossing
    #[arg(value_name = "N")]
    credits: u32,
}

#[derive(Debug, Args)]
struct SetEngine {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// The engine's name, as in the server's configuration
    #[arg(required_unless_present = "default")]
    engine: Option<String>,
    /// Use the server's default engine
    #[arg(long, conflicts_with = "engine")]
    default: bool,
}

fn plan(text: &str) -> Result<Plan, String> {
    Plan::parse(text).ok_or_else(|| "the plans are starter, pro and enterprise".into())
}

fn leak_policy(text: &str) -> Result<LeakPolicy, String> {
    LeakPolicy::parse(text).ok_or_else(|| "the policies are revoke, quarantine and notify".into())
}

/// Runs the command.
///
/// # Errors
/// See [`CommandError`]; nothing was changed then.
pub(crate) async fn run(args: OrgArgs, context: &mut Context<'_>) -> Result<(), CommandError> {
    let (id, update, what) = match args.command {
        OrgCommand::Create(args) => return create(args, context).await,
        OrgCommand::List => return show::list(context).await,
        OrgCommand::SetVocabulary(args) => return vocabulary::set(args, context).await,
        OrgCommand::Ledger(args) => return history::ledger(&args, context).await,
        OrgCommand::Audit(args) => return history::audit_log(&args, context).await,
        OrgCommand::Show(One { organization }) => {
            return show::one(&find(organization, context).await?, None, context).await;
        }
        OrgCommand::GrantCredits(args) => return grant_credits(args, context).await,
        OrgCommand::SetPlan(args) => {
            let overrides = Some(args.limits.overrides());
            (args.organization, OrganizationUpdate { plan: Some(args.plan), overrides, ..none() }, "Plan set")
        }
        OrgCommand::Activate(One { organization }) => {
            (organization, OrganizationUpdate { active: Some(true), ..none() }, "Activated")
        }
        OrgCommand::Deactivate(One { organization }) => {
            (organization, OrganizationUpdate { active: Some(false), ..none() }, "Deactivated")
        }
        OrgCommand::SetEdition(args) => {
            (args.organization, OrganizationUpdate { edition: Some(args.edition), ..none() }, "Edition set")
        }
        OrgCommand::SetLeakPolicy(args) => {
            (args.organization, OrganizationUpdate { leak_policy: Some(args.policy), ..none() }, "Policy set")
        }
        OrgCommand::SetLowCredits(args) => {
            let low_credits_threshold = Some(args.credits);
            (args.organization, OrganizationUpdate { low_credits_threshold, ..none() }, "Threshold set")
        }
        OrgCommand::SetRecording(args) => {
            let (recording, recordings_kept_days) = (args.record, args.keep_days);
            (args.organization, OrganizationUpdate { recording, recordings_kept_days, ..none() }, "Recording set")
        }
        OrgCommand::SetEngine(args) => {
            (args.organization, OrganizationUpdate { engine: Some(args.engine), ..none() }, "Engine set")
        }
    };
    let changed = context.storage.update_organization(id, &update, &context.change()).await?;
    show::one(&changed.ok_or(CommandError::NoOrganization(id))?, Some(what), context).await
}

/// No change yet.
fn none() -> OrganizationUpdate {
    OrganizationUpdate::default()
}

/// The organization that the operator names.
async fn find(id: OrganizationId, context: &Context<'_>) -> Result<Organization, CommandError> {
    context.storage.organization(id).await?.ok_or(CommandError::NoOrganization(id))
}

async fn grant_credits(args: GrantCredits, context: &mut Context<'_>) -> Result<(), CommandError> {
    let id = args.organization;
    let granted = context.storage.grant_credits(id, args.credits, &context.change()).await?;
    granted.ok_or(CommandError::NoOrganization(id))?;
    show::one(&find(id, context).await?, Some("Credits granted"), context).await
}

async fn create(args: Create, context: &mut Context<'_>) -> Result<(), CommandError> {
    let now = context.clock.now();
    let organization = Organization {
        id: OrganizationId::new(now, context.random),
        name: args.name,
        plan: args.plan,
        overrides: args.limits.overrides(),
        active: true,
        edition: args.edition,
        engine: args.engine,
        vocabulary: Vocabulary::default(),
        leak_policy: args.leak_policy,
        low_credits_threshold: args.low_credits,
        recording: args.record,
        recordings_kept_days: args.keep_recordings_days,
        created_at: now,
    };
    context.storage.create_organization(&organization, args.credits, &context.change()).await?;
    show::one(&organization, Some("Created"), context).await?;
    if !context.json {
        let next = format!("\nNext, a key for it: kallglot key create --org {} --env test", organization.id);
        context.print(&Value::Null, &next)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
