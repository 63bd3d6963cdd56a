//! A database with a million keys: copies of one organization and of one key that the server itself has made, so that nothing here knows
//! more of the tables than which columns make a copy different. The secrets are real; some of them are written to a file for wrk.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{Pepper, Secret};
use kallglot_core::id::{ApiKeyId, OrganizationId};
use kallglot_core::session::Environment;
use rusqlite::{Connection, params};

use crate::Failure;
use crate::random::Repeatable;

#[derive(Args)]
pub(crate) struct KeysArgs {
    /// The database file; no server may have it open
    #[arg(long)]
    database: PathBuf,
    /// The file with the pepper, 64 hexadecimal digits
    #[arg(long)]
    pepper: PathBuf,
    /// The organization that is copied
    #[arg(long)]
    organization: OrganizationId,
    /// Its key that is copied, of the live environment
    #[arg(long)]
    key: ApiKeyId,
    /// How many keys to make
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    number: u64,
    /// How many organizations share them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    organizations: u64,
    /// How many of the secrets to write down, spread evenly over all
    #[arg(long, default_value_t = 100_000)]
    active: u64,
    /// Where to write them, one per line, in random order
    #[arg(long)]
    secrets: PathBuf,
    /// Another seed makes other keys
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &KeysArgs) -> Result<(), Failure> {
    let begun = Instant::now();
    let pepper = pepper(&fs::read_to_string(&args.pepper)?)?;
    let random = Repeatable::new(args.seed);
    let mut connection = Connection::open(&args.database)?;
    // If this is cut off, the database is made anew.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -1000000;")?;
    let transaction = connection.transaction()?;
    let organizations = copy_organizations(&transaction, args, &random)?;
    let (mut hashes, mut active) = (Vec::new(), Vec::new());
    let copy = copy_of(&transaction, "api_keys", &["id", "organization_id", "last4"], "id")?;
    let mut statement = transaction.prepare(&copy)?;
    let template = args.key.to_string();
    for number in 0..args.number {
        let secret = Secret::new(Environment::Live, &random);
        let id = ApiKeyId::new(made_at(number)?, &random).to_string();
        let organization = &organizations[(number % args.organizations) as usize];
        statement.execute(params![id, organization, secret.last4(), template])?;
        hashes.push((*secret.hash(&pepper).as_bytes(), id));
        if number * args.active / args.number != (number + 1) * args.active / args.number {
            active.push(secret);
        }
    }
    drop(statement);
    // In the index's order, which is many times faster than in a random one.
    hashes.sort_unstable();
    let copy = copy_of(&transaction, "api_key_secrets", &["hash", "key_id"], "key_id")?;
    let mut statement = transaction.prepare(&copy)?;
    for (hash, id) in &hashes {
        statement.execute(params![hash, id, template])?;
    }
    drop(statement);
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
    write_down(args, &random, &mut active)?;
    println!(
        "{}",
        serde_json::json!({
            "keys": args.number, "organizations": args.organizations, "active": active.len(),
            "database_bytes": fs::metadata(&args.database)?.len(), "seconds": begun.elapsed().as_secs_f64(),
        })
    );
    Ok(())
}

/// The ids of the copies. What is stored of an organization's credits is copied along.
fn copy_organizations(connection: &Connection, args: &KeysArgs, random: &Repeatable) -> Result<Vec<String>, Failure> {
    let template = args.organization.to_string();
    let mut copy = connection.prepare(&copy_of(connection, "organizations", &["id"], "id")?)?;
    let mut copy_ledger =
        connection.prepare(&copy_of(connection, "credit_ledger", &["organization_id"], "organization_id")?)?;
    let mut ids = Vec::new();
    for number in 0..args.organizations {
        let id = OrganizationId::new(made_at(number)?, random).to_string();
        copy.execute(params![id, template])?;
        copy_ledger.execute(params![id, template])?;
        ids.push(id);
    }
    Ok(ids)
}

/// SQL that copies the rows of `table` whose `column` is the last parameter, with the parameters before it in place of the `changed`
/// columns. Numbered primary keys are left to SQLite.
fn copy_of(connection: &Connection, table: &str, changed: &[&str], column: &str) -> Result<String, Failure> {
    let columns = connection
        .prepare("SELECT name FROM pragma_table_info(?1) WHERE NOT (pk = 1 AND type = 'INTEGER')")?
        .query_map([table], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let values = columns.iter().map(|column| match changed.iter().position(|changed| changed == column) {
        Some(index) => format!("?{}", index + 1),
        None => column.clone(),
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let last = changed.len() + 1;
    Ok(format!("INSERT INTO {table} ({}) SELECT {values} FROM {table} WHERE {column} = ?{last}", columns.join(", ")))
}

/// One a second since 2026 began: ids are sorted by time.
fn made_at(number: u64) -> Result<Timestamp, Failure> {
    const BEGIN_S: i64 = 1_767_225_600;
    Ok(Timestamp::from_second(BEGIN_S + i64::try_from(number)?)?)
}

fn write_down(args: &KeysArgs, random: &Repeatable, active: &mut [Secret]) -> Result<(), Failure> {
    for index in (1..active.len()).rev() {
        active.swap(index, (random.next() % (index as u64 + 1)) as usize);
    }
    let mut file = BufWriter::new(File::create(&args.secrets)?);
    for secret in active.iter() {
        writeln!(file, "{}", secret.expose())?;
    }
    Ok(file.flush()?)
}

fn pepper(text: &str) -> Result<Pepper, Failure> {
    let text = text.trim();
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return Err("the pepper is not 64 hexadecimal digits".into());
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)?;
    }
    // Which number it has is copied with the key's row.
    Ok(Pepper::new(1, bytes))
}
