//! SQLite as the shared queries see it. It answers at once, so every future is ready; a job is polled once, on its thread.

use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use kallglot_storage::StorageError;
use kallglot_storage_sql::{Dialect, Row, Sql, Value, account_with};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};

use crate::failure::storage_error;

type Result<T> = std::result::Result<T, StorageError>;

/// A job: a function of the shared queries, which is given its arguments.
pub(crate) type Work<A, T> = for<'a> fn(&'a Sqlite<'a>, &'a A) -> Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

static DIALECT: Dialect = Dialect {
    now_us: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    open_sessions: "sessions INDEXED BY sessions_not_ended",
    // Nothing is ever deleted from the ledger, and one writes at a time.
    account: account_with!("(SELECT coalesce(max(sequence), 0) + 1 FROM credit_ledger)"),
    ledger_numbers: "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?1) \
        SELECT (SELECT coalesce(max(sequence), 0) FROM credit_ledger) + number FROM numbers",
    outbox_settled: "true",
    renumber: &[],
    gate_places: "SELECT sequence AS place, sequence, kind, id, detail FROM gate_changes",
    // Two queries in one, since each alone is one step and both in one would go through the whole table.
    gate_bounds: "SELECT coalesce((SELECT min(sequence) FROM gate_changes), 1) - 1 AS forgotten, \
        coalesce((SELECT max(sequence) FROM gate_changes), 0) AS horizon",
};

/// A connection whose thread is running a job.
pub(crate) struct Sqlite<'c>(&'c Connection);

struct Parameter<'a>(Value<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::I64(number) => ValueRef::Integer(number),
            Value::F64(number) => ValueRef::Real(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

struct SqliteRow<'a, 'r>(&'a rusqlite::Row<'r>);

fn value(stored: ValueRef<'_>) -> Value<'_> {
    match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::I64(number),
        ValueRef::Real(number) => Value::F64(number),
        // A text that is none is as impossible as bytes where a text should be.
        ValueRef::Text(text) => str::from_utf8(text).map_or(Value::Bytes(text), Value::Text),
        ValueRef::Blob(bytes) => Value::Bytes(bytes),
    }
}

impl Row for SqliteRow<'_, '_> {
    fn value(&self, column: &str) -> Result<Value<'_>> {
        self.0.get_ref(column).map(value).map_err(storage_error)
    }

    fn value_at(&self, column: usize) -> Result<Value<'_>> {
        self.0.get_ref(column).map(value).map_err(storage_error)
    }

    fn columns(&self) -> usize {
        self.0.as_ref().column_count()
    }
}

impl<'c> Sqlite<'c> {
    /// Runs a job on this connection.
    pub(crate) fn run<A, T>(connection: &'c Connection, arguments: &A, work: Work<A, T>) -> Result<T> {
        let sqlite = Sqlite(connection);
        let job = pin!(work(&sqlite, arguments));
        match job.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                Err(StorageError::Internal { cause: "a job waited for something else than SQLite".into() })
            }
        }
    }

    fn bound(&self, sql: &str, params: &[Value<'_>]) -> rusqlite::Result<CachedStatement<'c>> {
        let mut statement = self.0.prepare_cached(sql)?;
        debug_assert_eq!(statement.parameter_count(), params.len(), "{sql}");
        for (index, param) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, Parameter(*param))?;
        }
        Ok(statement)
    }

    fn changed(&self, sql: &str, params: &[Value<'_>]) -> Result<u64> {
        let changed = self.bound(sql, params).and_then(|mut statement| statement.raw_execute());
        changed.map(|rows| rows as u64).map_err(storage_error)
    }

    fn found<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        rows_max: usize,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.bound(sql, params).map_err(storage_error)?;
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while found.len() < rows_max
            && let Some(row) = rows.next().map_err(storage_error)?
        {
            found.push(read(&SqliteRow(row))?);
        }
        Ok(found)
    }
}

impl Sql for Sqlite<'_> {
    const DIALECT: &'static Dialect = &DIALECT;

    fn execute(&self, sql: &str, params: &[Value<'_>]) -> impl Future<Output = Result<()>> + Send {
        ready(self.changed(sql, params).map(drop))
    }

    /// One job runs at a time.
    fn lock(&self, _: &str, _: &[Value<'_>]) -> impl Future<Output = Result<()>> + Send {
        ready(Ok(()))
    }

    fn change(&self, sql: &str, params: &[Value<'_>]) -> impl Future<Output = Result<u64>> + Send {
        ready(self.changed(sql, params))
    }

    fn every<T: Send, F: Fn(&dyn Row) -> Result<T> + Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: F,
    ) -> impl Future<Output = Result<Vec<T>>> + Send {
        ready(self.found(sql, params, usize::MAX, read))
    }

    fn first<T: Send, F: Fn(&dyn Row) -> Result<T> + Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: F,
    ) -> impl Future<Output = Result<Option<T>>> + Send {
        ready(self.found(sql, params, 1, read).map(|mut found| found.pop()))
    }
}
