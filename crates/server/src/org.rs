//! `kallglot org …`: what the operator does with organizations.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::language::LanguageTag;
use kallglot_core::organization::{LOW_CREDITS_THRESHOLD, LeakPolicy, Organization};
use kallglot_core::plan::{LimitOverrides, Limits, Plan};
use kallglot_core::session::Environment;
use kallglot_core::vocabulary::{Expectation, Vocabulary};
use kallglot_storage::json::vocabulary_to_json;
use kallglot_storage::{Cursor, OrganizationUpdate, PageRequest};
use serde_json::{Value, json};

use crate::command::{CommandError, Context, name, properties, rfc3339, table};

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
  kallglot org create --name Acme --plan enterprise --requests-per-minute 12000 --concurrent-sessions 800")]
    Create(Create),
    /// List all organizations, newest first
    List,
    /// Show one organization with its limits and vocabulary
    Show(One),
    /// Set the plan; limits that are not given here become the plan's
    #[command(after_help = "Example:
  kallglot org set-plan ORG --plan pro --concurrent-sessions 80")]
    SetPlan(SetPlan),
    /// Add credits to the organization's ledger
    #[command(after_help = "Example:
  kallglot org grant-credits ORG 500")]
    GrantCredits(GrantCredits),
    /// Let the organization's requests in again
    Activate(One),
    /// Refuse all of the organization's requests (organization_inactive)
    Deactivate(One),
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
    #[command(flatten)]
    limits: LimitArgs,
    /// The edition of the API that its keys speak unless they say otherwise: 1 or 2
    #[arg(long, default_value = "2")]
    edition: Edition,
    /// The speech engine that its sessions use; the server's default if not given
    #[arg(long)]
    engine: Option<String>,
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
struct SetVocabulary {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// Which language, such as en or es-MX
    #[arg(long)]
    language: LanguageTag,
    /// A file of whole phrases that are likely to be said, one a line
    #[arg(long, value_name = "FILE")]
    phrases: Option<PathBuf>,
    /// A file of names and other words that the recognizer should know, one a line
    #[arg(long, value_name = "FILE")]
    words: Option<PathBuf>,
    /// Only what the phrases are made of will be said: more exact then, wrong otherwise
    #[arg(long, requires = "phrases")]
    phrases_only: bool,
    /// Forget what was set for that language
    #[arg(long, conflicts_with_all = ["phrases", "words", "phrases_only"], required_unless_present_any = ["phrases", "words"])]
    clear: bool,
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

/// Runs the command.
///
/// # Errors
/// See [`CommandError`]; nothing was changed then.
pub(crate) async fn run(args: OrgArgs, context: &mut Context<'_>) -> Result<(), CommandError> {
    let (id, update, what) = match args.command {
        OrgCommand::Create(args) => return create(args, context).await,
        OrgCommand::List => return list(context).await,
        OrgCommand::SetVocabulary(args) => return set_vocabulary(args, context).await,
        OrgCommand::Show(One { organization }) => {
            return print_one(&find(organization, context).await?, None, context).await;
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
        OrgCommand::SetEngine(args) => {
            (args.organization, OrganizationUpdate { engine: Some(args.engine), ..none() }, "Engine set")
        }
    };
    let changed = context.storage.update_organization(id, &update, &context.change()).await?;
    print_one(&changed.ok_or(CommandError::NoOrganization(id))?, Some(what), context).await
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
    print_one(&find(id, context).await?, Some("Credits granted"), context).await
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
        leak_policy: LeakPolicy::default(),
        low_credits_threshold: LOW_CREDITS_THRESHOLD,
        created_at: now,
    };
    context.storage.create_organization(&organization, args.credits, &context.change()).await?;
    print_one(&organization, Some("Created"), context).await?;
    if !context.json {
        let next = format!("\nNext, a key for it: kallglot key create --org {} --env test", organization.id);
        context.print(&Value::Null, &next)?;
    }
    Ok(())
}

async fn list(context: &mut Context<'_>) -> Result<(), CommandError> {
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
        let credits = context.storage.credit_balance(organization.id).await?.unwrap_or_default().remaining;
        data.push(to_json(organization, credits));
    }
    context.print(&json!({"object": "list", "data": data}), &text)
}

async fn set_vocabulary(args: SetVocabulary, context: &mut Context<'_>) -> Result<(), CommandError> {
    let id = args.organization;
    let organization = context.storage.organization(id).await?.ok_or(CommandError::NoOrganization(id))?;
    let mut vocabulary = organization.vocabulary;
    if args.clear {
        vocabulary.languages.remove(&args.language);
    } else {
        let expectation = Expectation {
            phrases: args.phrases.as_deref().map(lines).transpose()?.unwrap_or_default(),
            words: args.words.as_deref().map(lines).transpose()?.unwrap_or_default(),
            phrases_only: args.phrases_only,
        };
        vocabulary.languages.insert(args.language, expectation);
    }
    vocabulary.validate().map_err(|error| CommandError::Invalid(error.to_string()))?;
    let update = OrganizationUpdate { vocabulary: Some(vocabulary), ..OrganizationUpdate::default() };
    let changed = context.storage.update_organization(id, &update, &context.change()).await?;
    print_one(&changed.ok_or(CommandError::NoOrganization(id))?, Some("Vocabulary set"), context).await
}

/// The lines of a text file that say something.
fn lines(path: &Path) -> Result<Vec<String>, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "requests_per_minute": limits.requests_per_minute_max,
        "concurrent_sessions": limits.concurrent_sessions_max,
        "stream_messages_per_second": limits.stream_messages_per_second_max,
        "stream_audio_bytes_per_second": limits.stream_audio_bytes_per_second_max,
    })
}

fn to_json(organization: &Organization, credits: i64) -> Value {
    json!({
        "id": organization.id.to_string(),
        "object": "organization",
        "name": organization.name,
        "plan": organization.plan.as_str(),
        "active": organization.active,
        "credits": credits,
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

async fn print_one(
    organization: &Organization,
    what: Option<&str>,
    context: &mut Context<'_>,
) -> Result<(), CommandError> {
    let credits = context.storage.credit_balance(organization.id).await?.unwrap_or_default().remaining;
    let status = if organization.active { "active" } else { "inactive: every request is refused" };
    let done = what.map(|what| format!("{what}.\n")).unwrap_or_default();
    let text = done
        + &properties(&[
            ("id", organization.id.to_string()),
            ("name", organization.name.clone()),
            ("status", status.into()),
            ("plan", organization.plan.to_string()),
            ("credits", credits.to_string()),
            ("live", limits_text(&organization.limits(Environment::Live))),
            ("test", limits_text(&organization.limits(Environment::Test))),
            ("edition", organization.edition.to_string()),
            ("engine", organization.engine.clone().unwrap_or_else(|| "the server's default".into())),
            ("vocabulary", vocabulary_text(&organization.vocabulary)),
            ("created", rfc3339(organization.created_at)),
        ]);
    context.print(&to_json(organization, credits), &text)
}

#[cfg(test)]
mod tests {
    use crate::command::tests::Shell;
    use serde_json::json;

    #[tokio::test]
    async fn credits_are_granted() {
        let shell = Shell::new();
        let created = shell.json(&["org", "create", "--name", "Acme", "--credits", "7"]).await;
        assert_eq!(created["credits"], 7);
        let id = created["id"].as_str().unwrap();
        assert_eq!(shell.json(&["org", "grant-credits", id, "50"]).await["credits"], 57);
        assert_eq!(shell.json(&["org", "show", id]).await["credits"], 57);
        assert!(shell.run(false, &["org", "grant-credits", id, "0"]).await.is_err());
    }

    #[tokio::test]
    async fn an_organization_is_created_shown_and_listed() {
        let shell = Shell::new();
        let created = shell.json(&["org", "create", "--name", "Åsa & Söner", "--concurrent-sessions", "12"]).await;
        assert_eq!((&created["plan"], &created["credits"]), (&json!("starter"), &json!(100)));
        assert_eq!(created["limits"]["live"]["concurrent_sessions"], 12);
        assert_eq!(created["limits"]["live"]["requests_per_minute"], 120);
        assert_eq!(created["created_at"], "2025-06-15T15:06:40Z");
        let id = created["id"].as_str().unwrap();
        assert_eq!(shell.json(&["org", "show", id]).await, created);
        assert_eq!(shell.json(&["org", "list"]).await, json!({"object": "list", "data": [created]}));

        let text = shell.run(false, &["org", "list"]).await.unwrap();
        assert!(text.lines().nth(1).unwrap().contains("Åsa & Söner"), "{text}");
    }

    #[tokio::test]
    async fn people_are_told_what_to_do_next() {
        let shell = Shell::new();
        let empty = shell.run(false, &["org", "list"]).await.unwrap();
        assert!(empty.contains("kallglot org create"), "{empty}");
        let created = shell.run(false, &["org", "create", "--name", "Acme"]).await.unwrap();
        assert!(created.contains("kallglot key create --org org_"), "{created}");
        let unknown = shell.run(false, &["org", "show", "org_0000000000000000000009"]).await.unwrap_err();
        assert!(unknown.contains("org_0000000000000000000009") && unknown.contains("org list"), "{unknown}");
    }

    #[tokio::test]
    async fn plan_and_status_and_engine_are_set() {
        let shell = Shell::new();
        let created = shell.json(&["org", "create", "--name", "Acme", "--requests-per-minute", "7"]).await;
        let id = created["id"].as_str().unwrap();
        let pro = shell.json(&["org", "set-plan", id, "--plan", "pro"]).await;
        assert_eq!(pro["limits"]["live"]["requests_per_minute"], 600, "what is not given is the plan's");
        assert_eq!(shell.json(&["org", "deactivate", id]).await["active"], false);
        assert_eq!(shell.json(&["org", "activate", id]).await["active"], true);
        assert_eq!(shell.json(&["org", "set-engine", id, "openai"]).await["engine"], "openai");
        assert_eq!(shell.json(&["org", "set-engine", id, "--default"]).await["engine"], json!(null));
    }

    #[tokio::test]
    async fn a_vocabulary_is_read_from_files_and_cleared() {
        let shell = Shell::new();
        let created = shell.json(&["org", "create", "--name", "Acme"]).await;
        let id = created["id"].as_str().unwrap();
        let file = shell.folder.path().join("phrases.txt");
        std::fs::write(&file, "# reception\nbuenos días\n\n  ¿en qué puedo ayudarle?  \n").unwrap();
        let file = file.to_str().unwrap();

        let words = ["org", "set-vocabulary", id, "--language", "ES-mx", "--phrases", file, "--phrases-only"];
        let set = shell.json(&words).await;
        let expected = json!({"es-MX": {"phrases": ["buenos días", "¿en qué puedo ayudarle?"], "phrases_only": true}});
        assert_eq!(set["vocabulary"], expected);
        let text = shell.run(false, &["org", "show", id]).await.unwrap();
        assert!(text.contains("es-MX: 2 phrases (only these), 0 words"), "{text}");

        let cleared = shell.json(&["org", "set-vocabulary", id, "--language", "es-MX", "--clear"]).await;
        assert_eq!(cleared["vocabulary"], json!({}));
        let words = ["org", "set-vocabulary", id, "--language", "es", "--words", "/nowhere/words.txt"];
        let missing = shell.run(false, &words).await.unwrap_err();
        assert!(missing.contains("/nowhere/words.txt"), "{missing}");
    }

    #[tokio::test]
    async fn wrong_values_are_usage_errors() {
        let shell = Shell::new();
        for words in [
            &["org", "create"] as &[&str],
            &["org", "create", "--name", " "],
            &["org", "create", "--name", "a", "--plan", "gold"],
            &["org", "create", "--name", "a", "--requests-per-minute", "0"],
            &["org", "create", "--name", "a", "--edition", "3"],
            &["org", "show", "acme"],
            &["org", "set-engine", "org_0000000000000000000009"],
            &["org", "set-vocabulary", "org_0000000000000000000009", "--language", "es"],
            &["org", "set-vocabulary", "org_0000000000000000000009", "--language", "es", "--phrases-only"],
        ] {
            let error = shell.run(false, words).await.unwrap_err();
            assert!(error.starts_with("usage: "), "{words:?}: {error}");
        }
    }
}
