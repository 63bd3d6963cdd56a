//! `kallglot migrate`: brings PostgreSQL's schema to this program's version, before its nodes are upgraded.

use std::io::Write as _;

use kallglot_storage_postgres as postgres;

use crate::command::CommandError;
use crate::config::Config;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kallglot migrate --check      what would be done; exit code 1 when there is something to do
  kallglot migrate              do it; nodes of the version before go on working meanwhile and after it

The database is the one that `database_url` names (KALLGLOT_DATABASE_URL). The database of a server that runs alone
is brought up to date by itself whenever it is opened.")]
pub(crate) struct MigrateArgs {
    /// Only say what would be done
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) async fn run(args: &MigrateArgs, config: &Config, json: bool) -> Result<(), CommandError> {
    let invalid = |error: postgres::OpenError| CommandError::Invalid(error.to_string());
    let url = config.database_url.expose();
    let steps = match (config.is_shared(), args.check) {
        (false, _) => Vec::new(),
        (true, true) => postgres::pending(url).await.map_err(invalid)?,
        (true, false) => postgres::migrate(url).await.map_err(invalid)?,
    };
    let mut out = std::io::stdout();
    if json {
        let list = if args.check { "pending" } else { "applied" };
        writeln!(out, "{}", serde_json::json!({ "object": "migration", list: steps }))?;
    } else if !config.is_shared() {
        writeln!(
            out,
            "No `database_url` is set: the data folder's database is brought up to date whenever it is opened."
        )?;
    } else if steps.is_empty() {
        writeln!(out, "The database is up to date.")?;
    } else {
        let done = if args.check { "to do" } else { "done " };
        for step in &steps {
            writeln!(out, "{done}  {step}")?;
        }
    }
    out.flush()?;
    if args.check && !steps.is_empty() {
        return Err(CommandError::Invalid(format!(
            "{} of the schema's steps are to be done: run `kallglot migrate`",
            steps.len()
        )));
    }
    Ok(())
}
