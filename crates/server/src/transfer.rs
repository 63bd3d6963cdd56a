//! `kallglot export` and `kallglot import`: everything of one database into another, proven to be the same.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kallglot_storage::Storage;
use kallglot_storage_sql::transfer::{self, Digest, Progress, Transfer};

use crate::command::{CommandError, table};
use crate::config::Config;
use crate::{backends, serve};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
#[command(after_help = "Example, from a server that runs alone to PostgreSQL (stop the server first):
  kallglot export --out kallglot.jsonl
  export KALLGLOT_DATABASE_URL=postgres://… KALLGLOT_REDIS_URL=redis://…
  kallglot migrate
  kallglot import kallglot.jsonl

The file holds what people said and the hashes of keys: keep it as safe as the database. The secrets in the folder `secrets` are
not in it, and the new installation needs the same.")]
pub(crate) struct ExportArgs {
    /// Where to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Example:
  KALLGLOT_DATABASE_URL=postgres://… KALLGLOT_REDIS_URL=redis://… kallglot import kallglot.jsonl

The database must be empty and up to date (`kallglot migrate`), and no server may run on it. When everything is written, everything is
read again and compared with the file.")]
pub(crate) struct ImportArgs {
    /// What `kallglot export` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A database whose rows can be carried over.
trait Both: Storage + Transfer {}
impl<T: Storage + Transfer> Both for T {}

async fn open(config: &Config, data_dir: &Path) -> Result<Box<dyn Both>, String> {
    let text = |error: serve::StartError| error.to_string();
    if config.is_shared() {
        return Ok(Box::new(backends::postgres(config).await.map_err(text)?));
    }
    Ok(Box::new(backends::sqlite(data_dir).await.map_err(text)?))
}

/// Tells on standard error how far it has come, once a second.
fn teller(doing: &'static str) -> impl FnMut(Progress) + Send {
    let mut told = Instant::now();
    move |progress: Progress| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let _ = writeln!(io::stderr(), "{doing} {}: {} rows", progress.table, progress.rows);
        }
    }
}

fn print(json: bool, done: &str, path: &Path, digests: &[Digest]) -> Result<(), CommandError> {
    let mut out = io::stdout();
    let rows: u64 = digests.iter().map(|digest| digest.rows).sum();
    if json {
        let tables: Vec<_> = digests
            .iter()
            .map(|digest| serde_json::json!({ "table": digest.table, "rows": digest.rows, "sha256": digest.sha256 }))
            .collect();
        let object = serde_json::json!({ "object": done, "file": path, "rows": rows, "tables": tables });
        writeln!(out, "{object}")?;
    } else {
        let cells: Vec<Vec<String>> = digests
            .iter()
            .map(|digest| vec![digest.table.to_owned(), digest.rows.to_string(), digest.sha256.clone()])
            .collect();
        writeln!(out, "{}", table(&["table", "rows", "SHA-256"], &cells).trim_end())?;
    }
    Ok(out.flush()?)
}

/// Runs `kallglot export`.
pub(crate) async fn export(
    args: &ExportArgs,
    config: &Config,
    data_dir: &Path,
    json: bool,
) -> Result<(), CommandError> {
    let invalid = |error: transfer::TransferError| CommandError::Invalid(error.to_string());
    let named = |source| CommandError::File { path: args.out.clone(), source };
    let _alone = nobody_serves(config, data_dir)?;
    if args.out.exists() {
        return Err(CommandError::Invalid(format!("{} exists already", args.out.display())));
    }
    let storage = open(config, data_dir).await.map_err(CommandError::Invalid)?;
    // Under its name it is complete.
    let mut unfinished = args.out.clone().into_os_string();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(named)?;
    let mut writer = BufWriter::new(file);
    let digests = transfer::export(storage.as_ref(), &mut writer, &mut teller("reading")).await.map_err(invalid)?;
    let file = writer.into_inner().map_err(|error| named(error.into_error()))?;
    file.sync_all().map_err(named)?;
    std::fs::rename(&unfinished, &args.out).map_err(named)?;
    storage.close().await?;
    print(json, "export", &args.out, &digests)
}

/// Runs `kallglot import`.
pub(crate) async fn import(
    args: &ImportArgs,
    config: &Config,
    data_dir: &Path,
    json: bool,
) -> Result<(), CommandError> {
    let invalid = |error: transfer::TransferError| CommandError::Invalid(error.to_string());
    let _alone = nobody_serves(config, data_dir)?;
    let file = File::open(&args.file).map_err(|source| CommandError::File { path: args.file.clone(), source })?;
    let storage = open(config, data_dir).await.map_err(CommandError::Invalid)?;
    let mut reader = BufReader::new(file);
    let digests = transfer::import(storage.as_ref(), &mut reader, &mut teller("writing")).await.map_err(invalid)?;
    transfer::verify(storage.as_ref(), &digests, &mut teller("comparing")).await.map_err(invalid)?;
    storage.close().await?;
    print(json, "import", &args.file, &digests)?;
    if !json {
        writeln!(io::stdout(), "\nEverything was read back and is the same.")?;
    }
    Ok(())
}

/// Makes sure that no server works on the data folder, as long as what this answers with lives. Of a shared database only the operator
/// knows.
fn nobody_serves(config: &Config, data_dir: &Path) -> Result<Option<File>, CommandError> {
    if config.is_shared() {
        return Ok(None);
    }
    let locked = serve::lock_folder(data_dir);
    let lock = locked.map_err(|source| CommandError::File { path: data_dir.to_owned(), source })?;
    let taken = || CommandError::Invalid(format!("a server runs on {}: stop it first", data_dir.display()));
    lock.ok_or_else(taken).map(Some)
}
