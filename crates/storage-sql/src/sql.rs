//! A connection as the shared queries see it: values in, rows out, and what a dialect says differently.

use std::future::Future;

use crate::Result;

/// A value of a column or a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A whole number; also truth, as 0 or 1.
    I64(i64),
    /// A number.
    F64(f64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What can be a parameter.
pub trait ToValue {
    /// The value.
    fn to_value(&self) -> Value<'_>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl ToValue for $number {
            fn to_value(&self) -> Value<'_> {
                Value::I64(i64::from(*self))
            }
        }
    )*};
}

numbers!(i64, i32, u32, u16, u8, bool);

impl ToValue for f32 {
    fn to_value(&self) -> Value<'_> {
        Value::F64(f64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl ToValue for [u8; 32] {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

/// Parameters `?1` to `?n`: anything that is [`ToValue`].
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::ToValue::to_value(&$value)),*]
    };
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// The value as this type; none when it is another one, or out of its range.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::I64(number) => Some(number),
            _ => None,
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for u16 {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match i64::from_value(value)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl FromValue for f32 {
    #[allow(clippy::cast_possible_truncation)] // What is stored was one.
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::F64(number) => Some(number as f32),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl FromValue for [u8; 32] {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A row of an answer.
pub trait Row {
    /// The value in the column of this name; the first, if there are several.
    ///
    /// # Errors
    /// There is no such column, or it has a type that no value has.
    fn value(&self, column: &str) -> Result<Value<'_>>;

    /// The value in the column of this place, from 0.
    ///
    /// # Errors
    /// As for [`Self::value`].
    fn value_at(&self, column: usize) -> Result<Value<'_>>;

    /// How many columns there are.
    fn columns(&self) -> usize;
}

/// What a dialect says differently. Everything else is said alike.
#[derive(Debug)]
pub struct Dialect {
    /// The database's own clock: microseconds since 1970.
    pub now_us: &'static str,
    /// The table of sessions, by the index of those that have not ended, which are few.
    pub open_sessions: &'static str,
    /// [`account_with!`](crate::account_with) the number of the next entry of the ledger.
    pub account: &'static str,
    /// The numbers of the next `?1` entries of the ledger.
    pub ledger_numbers: &'static str,
    /// A condition on a row of the outbox: no row with a smaller number can appear after this one is seen.
    pub outbox_settled: &'static str,
    /// The changes for the gate (columns `place`, `kind`, `id`, `detail`, `at_us`): all rows with a greater `place` than the horizon's
    /// come later or may come later, and none with a smaller or equal one.
    pub gate_places: &'static str,
    /// What lets numbers that are given out go on after those that are there, however they came there.
    pub renumber: &'static [&'static str],
    /// One row: the last `place` whose rows are gone (`forgotten`), and the one up to which nothing new can appear (`horizon`).
    pub gate_bounds: &'static str,
}

/// A connection, in the transaction of a job.
pub trait Sql {
    /// How it says what others say differently.
    const DIALECT: &'static Dialect;

    /// Does something of which only that it succeeds matters. It is sent before whatever is asked after it; its error may come with the
    /// answer to something later, at the latest when the transaction is to be committed.
    fn execute(&self, sql: &str, params: &[Value<'_>]) -> impl Future<Output = Result<()>> + Send;

    /// Locks the rows that `sql` selects against other jobs that lock them, until the transaction's end. Where only one job runs at a
    /// time, it does nothing.
    fn lock(&self, sql: &str, params: &[Value<'_>]) -> impl Future<Output = Result<()>> + Send;

    /// Changes rows; says how many.
    fn change(&self, sql: &str, params: &[Value<'_>]) -> impl Future<Output = Result<u64>> + Send;

    /// Every row of the answer; the query bounds how many there are.
    fn every<T: Send, F: Fn(&dyn Row) -> Result<T> + Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: F,
    ) -> impl Future<Output = Result<Vec<T>>> + Send;

    /// The first row of the answer, if there is one.
    fn first<T: Send, F: Fn(&dyn Row) -> Result<T> + Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: F,
    ) -> impl Future<Output = Result<Option<T>>> + Send;
}
