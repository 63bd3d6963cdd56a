//! Columns to values and back. A value that this program would not have written is `Corrupt`, never a default.

use std::fmt::Display;
use std::str::FromStr;

use kallglot_core::Timestamp;
use kallglot_storage::StorageError;

use crate::sql::{FromValue, Row};

type Result<T> = std::result::Result<T, StorageError>;

/// A row of one table whose columns are read by name. `prefix` goes before the column's name in a join.
pub struct Columns<'a> {
    row: &'a dyn Row,
    table: &'static str,
    prefix: &'static str,
    id: String,
}

impl<'a> Columns<'a> {
    /// The row; `id_column` holds what names it in an error.
    pub fn of(row: &'a dyn Row, table: &'static str, id_column: &'static str) -> Result<Self> {
        Self::joined(row, table, "", id_column)
    }

    /// The part of a joined row whose columns are named with `prefix`.
    pub fn joined(
        row: &'a dyn Row,
        table: &'static str,
        prefix: &'static str,
        id_column: &'static str,
    ) -> Result<Self> {
        let mut columns = Self { row, table, prefix, id: "?".into() };
        columns.id = columns.get(id_column)?;
        Ok(columns)
    }

    /// The error for an impossible value in `column`.
    pub fn corrupt(&self, column: &'static str) -> StorageError {
        StorageError::Corrupt { table: self.table, column, id: self.id.clone() }
    }

    /// The value.
    pub fn get<T: FromValue>(&self, column: &'static str) -> Result<T> {
        let value = if self.prefix.is_empty() {
            self.row.value(column)
        } else {
            self.row.value(&format!("{}{column}", self.prefix))
        };
        T::from_value(value?).ok_or_else(|| self.corrupt(column))
    }

    /// A number that is not negative.
    pub fn count(&self, column: &'static str) -> Result<u64> {
        u64::try_from(self.get::<i64>(column)?).map_err(|_| self.corrupt(column))
    }

    /// A text that `parse` understands.
    pub fn named<T>(&self, column: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let text: String = self.get(column)?;
        parse(&text).ok_or_else(|| self.corrupt(column))
    }

    /// A text that is a `T`.
    pub fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T> {
        self.named(column, |text| text.parse().ok())
    }

    /// A text that is a `T`, or null.
    pub fn parsed_if_any<T: FromStr>(&self, column: &'static str) -> Result<Option<T>> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| text.parse().map_err(|_| self.corrupt(column))).transpose()
    }

    /// A time.
    pub fn time(&self, column: &'static str) -> Result<Timestamp> {
        Timestamp::from_microsecond(self.get(column)?).map_err(|_| self.corrupt(column))
    }

    /// A time, or null.
    pub fn time_if_any(&self, column: &'static str) -> Result<Option<Timestamp>> {
        let us: Option<i64> = self.get(column)?;
        us.map(|us| Timestamp::from_microsecond(us).map_err(|_| self.corrupt(column))).transpose()
    }
}

/// A time as it is stored; what is finer than a microsecond is cut off.
pub fn us(time: Timestamp) -> i64 {
    // Not `as_microsecond`, which rounds towards zero: before 1970 that would be later, not earlier.
    time.as_nanosecond().div_euclid(1000) as i64
}

/// A time as it is stored, or null.
pub fn us_if_any(time: Option<Timestamp>) -> Option<i64> {
    time.map(us)
}

/// A count as a column can hold it: what doesn't fit is the largest that does.
pub fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The items with one space between them.
pub fn spaced<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// The time as it will be read back.
pub fn cut(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(us(time)).unwrap_or(time)
}
