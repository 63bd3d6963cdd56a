//! Writing everything out, and looking whether it is there.

use std::io::Write;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::record::{key_of, to_line};
use super::{Digest, Progress, ROWS_AT_ONCE, TABLES, Table, Transfer, TransferError};

/// What the first line says of the lines after it. Another number when they change.
pub(super) const FORMAT: u32 = 1;

pub(super) fn first_line() -> String {
    format!("{}\n", json!({ "kallglot": "export", "format": FORMAT }))
}

pub(super) fn table_line(table: &Table) -> String {
    format!("{}\n", json!({ "table": table.name, "columns": table.columns }))
}

pub(super) fn digest_line(digest: &Digest) -> String {
    format!("{}\n", json!({ "end": digest.table, "rows": digest.rows, "sha256": digest.sha256 }))
}

pub(super) fn last_line() -> String {
    format!("{}\n", json!({ "end": "kallglot", "tables": TABLES.len() }))
}

/// Counts and hashes the lines of a table.
pub(super) struct Counting {
    table: &'static str,
    rows: u64,
    hash: Sha256,
}

impl Counting {
    pub(super) fn of(table: &Table) -> Self {
        Self { table: table.name, rows: 0, hash: Sha256::new() }
    }

    pub(super) fn add(&mut self, line: &str) {
        self.rows += 1;
        self.hash.update(line);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { table: self.table, rows: self.rows }
    }

    pub(super) fn finish(self) -> Digest {
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Digest { table: self.table, rows: self.rows, sha256 }
    }
}

/// Reads a table to its end and gives `each` every line.
async fn read(
    from: &dyn Transfer,
    table: &'static Table,
    progress: &mut (dyn FnMut(Progress) + Send),
    mut each: impl FnMut(&str) -> Result<(), TransferError> + Send,
) -> Result<Digest, TransferError> {
    let mut counting = Counting::of(table);
    let mut after = None;
    loop {
        let rows = from.rows(table, after.take(), ROWS_AT_ONCE).await?;
        for row in &rows {
            let line = to_line(row);
            counting.add(&line);
            each(&line)?;
        }
        progress(counting.progress());
        match rows.last() {
            Some(last) if rows.len() == ROWS_AT_ONCE => after = Some(key_of(table, last)),
            _ => return Ok(counting.finish()),
        }
    }
}

/// Writes everything that lasts. Answers with what each table held. Writing may block: not for a server's tasks.
///
/// # Errors
/// See [`TransferError`]; what has been written is of no use then.
pub async fn export(
    from: &dyn Transfer,
    to: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Digest>, TransferError> {
    let mut digests = Vec::with_capacity(TABLES.len());
    to.write_all(first_line().as_bytes())?;
    for table in &TABLES {
        to.write_all(table_line(table).as_bytes())?;
        let digest = read(from, table, progress, |line| Ok(to.write_all(line.as_bytes())?)).await?;
        to.write_all(digest_line(&digest).as_bytes())?;
        digests.push(digest);
    }
    to.write_all(last_line().as_bytes())?;
    to.flush()?;
    Ok(digests)
}

/// Reads everything back and looks whether it is what [`export`] or [`super::import`] answered with.
///
/// # Errors
/// [`TransferError::Differs`] for the first table that differs; see [`TransferError`] for the others.
pub async fn verify(
    storage: &dyn Transfer,
    expected: &[Digest],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), TransferError> {
    for table in &TABLES {
        let found = read(storage, table, progress, |_| Ok(())).await?;
        let expected = expected.iter().find(|digest| digest.table == table.name);
        if expected != Some(&found) {
            let expected_rows = expected.map_or(0, |digest| digest.rows);
            return Err(TransferError::Differs { table: table.name, expected_rows, found_rows: found.rows });
        }
    }
    Ok(())
}
