//! Reading everything in.

use std::io::{BufRead, Read as _};

use super::export::{Counting, digest_line, first_line, last_line, table_line};
use super::record::from_line;
use super::{Digest, Progress, ROWS_AT_ONCE, TABLES, Table, Transfer, TransferError};

/// Longest line that is read: longer than the largest row that can be written.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The lines of a file, of which one is known at a time.
struct Lines<'a> {
    file: &'a mut (dyn BufRead + Send),
    number: u64,
    line: String,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<&str, TransferError> {
        self.line.clear();
        self.number += 1;
        let read = (&mut *self.file).take(LINE_BYTES_MAX).read_line(&mut self.line)?;
        if read == 0 {
            return Err(self.wrong("the file ends too early"));
        }
        if !self.line.ends_with('\n') {
            return Err(self.wrong("the line is cut"));
        }
        Ok(&self.line)
    }

    fn wrong(&self, what: impl Into<String>) -> TransferError {
        TransferError::Line { line: self.number, what: what.into() }
    }

    fn expect(&mut self, expected: &str) -> Result<(), TransferError> {
        if self.next()? == expected {
            return Ok(());
        }
        Err(self.wrong(format!("expected {}", expected.trim_end())))
    }
}

/// Reads what [`super::export`] has written into an empty database, whose schema must be there. Answers with what was in the file, for
/// [`super::verify`]. Reading may block: not for a server's tasks.
///
/// # Errors
/// See [`TransferError`]. What has been written before stays, so the database is to be made anew, except when it was not empty.
pub async fn import(
    to: &dyn Transfer,
    from: &mut (dyn BufRead + Send),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Digest>, TransferError> {
    for table in &TABLES {
        if !to.is_empty(table).await? {
            return Err(TransferError::NotEmpty { table: table.name });
        }
    }
    let mut lines = Lines { file: from, number: 0, line: String::new() };
    lines.expect(&first_line())?;
    let mut digests = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        lines.expect(&table_line(table))?;
        digests.push(import_table(to, table, &mut lines, progress).await?);
    }
    lines.expect(&last_line())?;
    to.renumber().await?;
    Ok(digests)
}

async fn import_table(
    to: &dyn Transfer,
    table: &'static Table,
    lines: &mut Lines<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Digest, TransferError> {
    let mut counting = Counting::of(table);
    loop {
        let (mut rows, mut ended) = (Vec::with_capacity(ROWS_AT_ONCE), false);
        while rows.len() < ROWS_AT_ONCE && !ended {
            let line = lines.next()?;
            match from_line(line, table) {
                Some(row) => {
                    counting.add(line);
                    rows.push(row);
                }
                None => ended = true,
            }
        }
        if !rows.is_empty() {
            to.insert(table, rows).await?;
            progress(counting.progress());
        }
        if ended {
            let digest = counting.finish();
            if lines.line != digest_line(&digest) {
                let what = format!("it is no row of `{}`, or rows before it are not as they were", table.name);
                return Err(lines.wrong(what));
            }
            return Ok(digest);
        }
    }
}
