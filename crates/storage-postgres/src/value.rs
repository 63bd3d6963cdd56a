//! Values as PostgreSQL sends and takes them. A parameter becomes what the statement expects in its place.

use bytes::BytesMut;
use kallglot_storage::StorageError;
use kallglot_storage_sql::{Row, Value};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type AnyError = Box<dyn std::error::Error + Sync + Send>;

/// A parameter that lives until its statement is answered.
#[derive(Debug)]
pub(crate) enum Parameter {
    Null,
    I64(i64),
    F64(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Parameter {
    pub(crate) fn of(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Self::Null,
            Value::I64(number) => Self::I64(number),
            Value::F64(number) => Self::F64(number),
            // PostgreSQL's texts can't hold a zero byte. It is no character that people say or write.
            Value::Text(text) if text.contains('\0') => Self::Text(text.replace('\0', "\u{fffd}")),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::I64(number) => match *wanted {
                Type::INT4 => i32::try_from(*number)?.to_sql(wanted, out),
                Type::INT2 => i16::try_from(*number)?.to_sql(wanted, out),
                Type::INT8 => number.to_sql(wanted, out),
                _ => Err(format!("a whole number where {wanted} is expected").into()),
            },
            Self::F64(number) if *wanted == Type::FLOAT8 => number.to_sql(wanted, out),
            Self::Text(text) if <String as ToSql>::accepts(wanted) => text.to_sql(wanted, out),
            Self::Bytes(bytes) if *wanted == Type::BYTEA => bytes.to_sql(wanted, out),
            _ => Err(format!("another type where {wanted} is expected").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

struct Stored<'a>(Value<'a>);

impl<'a> FromSql<'a> for Stored<'a> {
    fn from_sql(stored: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        Ok(Self(match *stored {
            Type::INT8 => Value::I64(i64::from_sql(stored, raw)?),
            Type::INT4 => Value::I64(i32::from_sql(stored, raw)?.into()),
            Type::INT2 => Value::I64(i16::from_sql(stored, raw)?.into()),
            Type::BOOL => Value::I64(bool::from_sql(stored, raw)?.into()),
            Type::FLOAT8 => Value::F64(f64::from_sql(stored, raw)?),
            Type::TEXT | Type::VARCHAR | Type::NAME => Value::Text(<&str>::from_sql(stored, raw)?),
            Type::BYTEA => Value::Bytes(raw),
            _ => return Err(format!("a column of type {stored}").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, AnyError> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A row of an answer.
pub(crate) struct PostgresRow(pub(crate) tokio_postgres::Row);

impl Row for PostgresRow {
    fn value(&self, column: &str) -> Result<Value<'_>, StorageError> {
        let index = self.0.columns().iter().position(|candidate| candidate.name() == column);
        let cause = || StorageError::Internal { cause: format!("no column `{column}` in the answer") };
        self.value_at(index.ok_or_else(cause)?)
    }

    fn value_at(&self, column: usize) -> Result<Value<'_>, StorageError> {
        let stored: Result<Stored<'_>, _> = self.0.try_get(column);
        stored.map(|stored| stored.0).map_err(|error| StorageError::Internal { cause: crate::failure::full(&error) })
    }

    fn columns(&self) -> usize {
        self.0.len()
    }
}
