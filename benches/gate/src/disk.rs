//! What the machine can do at most: small appends that are synced, and SQLite's commits with the server's settings (write-ahead log, full
//! sync), of one row or of many, by one thread that does nothing else.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rusqlite::Connection;

use crate::Failure;

#[derive(Args)]
pub(crate) struct DiskArgs {
    /// A folder on the disk to be measured
    #[arg(long)]
    folder: PathBuf,
    /// For how long each, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

pub(crate) fn run(args: &DiskArgs) -> Result<(), Failure> {
    let time = Duration::from_secs(args.seconds);
    let mut file = File::create(args.folder.join("appended"))?;
    let syncs = repeated(time, || {
        file.write_all(&[7; 4096])?;
        Ok(file.sync_data()?)
    })?;
    report("append of 4 KiB, synced", syncs, 1);
    fs::remove_file(args.folder.join("appended"))?;
    for rows in [1, 32, 128, 512] {
        let commits = commits(&args.folder, time, rows)?;
        report(&format!("SQLite, {rows} rows a commit"), commits, rows);
    }
    Ok(())
}

fn report(name: &str, per_second: f64, rows: u32) {
    let rows_per_second = per_second * f64::from(rows);
    println!("{}", serde_json::json!({ "name": name, "commits_per_s": per_second, "rows_per_s": rows_per_second }));
}

fn commits(folder: &Path, time: Duration, rows: u32) -> Result<f64, Failure> {
    let path = folder.join("rows.db");
    let mut connection = Connection::open(&path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE rows (id INTEGER PRIMARY KEY, what TEXT NOT NULL) STRICT;",
    )?;
    // About as long as a session's row.
    let what = "x".repeat(300);
    let per_second = repeated(time, || {
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO rows (what) VALUES (?1)")?;
            for _ in 0..rows {
                insert.execute([&what])?;
            }
        }
        Ok(transaction.commit()?)
    })?;
    connection.close().map_err(|(_, error)| error)?;
    fs::remove_file(path)?;
    Ok(per_second)
}

/// How many times a second it can be done.
fn repeated(time: Duration, mut once: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let begun = Instant::now();
    let mut times = 0u32;
    while begun.elapsed() < time {
        once()?;
        times += 1;
    }
    Ok(f64::from(times) / begun.elapsed().as_secs_f64())
}
