//! A row as it is, whatever it means: as values of SQL, and as a line of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::Table;
use crate::Result;
use crate::sql::{Row, Sql, ToValue, Value};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    I64(i64),
    /// A number.
    F64(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A row: its values in the order of the table's columns.
pub type Record = Vec<Cell>;

impl ToValue for Cell {
    fn to_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::I64(number) => Value::I64(*number),
            Self::F64(number) => Value::F64(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

impl From<Value<'_>> for Cell {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::I64(number) => Self::I64(number),
            Value::F64(number) => Self::F64(number),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl Cell {
    fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::I64(number) => json!(number),
            // As text, which is read back to the last bit; JSON readers differ about numbers.
            Self::F64(number) => json!({ "number": number.to_string() }),
            Self::Text(text) => json!(text),
            Self::Bytes(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
        }
    }

    fn from_json(json: Json) -> Option<Self> {
        Some(match json {
            Json::Null => Self::Null,
            Json::Number(number) => Self::I64(number.as_i64()?),
            Json::String(text) => Self::Text(text),
            Json::Object(tagged) if tagged.len() == 1 => match tagged.iter().next()? {
                (tag, Json::String(text)) if tag == "number" => Self::F64(text.parse().ok()?),
                (tag, Json::String(text)) if tag == "base64" => Self::Bytes(STANDARD.decode(text).ok()?),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// The row as a line, with its end.
pub(super) fn to_line(record: &Record) -> String {
    let mut line = Json::Array(record.iter().map(Cell::to_json).collect()).to_string();
    line.push('\n');
    line
}

/// The row of this line; none when it is none.
pub(super) fn from_line(line: &str, table: &Table) -> Option<Record> {
    let Json::Array(values) = serde_json::from_str(line).ok()? else { return None };
    let record: Record = values.into_iter().map(Cell::from_json).collect::<Option<_>>()?;
    (record.len() == table.columns.len()).then_some(record)
}

/// The key of a row.
pub(super) fn key_of(table: &Table, record: &Record) -> Record {
    record.iter().take(table.key_columns).cloned().collect()
}

fn numbered(count: usize) -> String {
    (1..=count).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ")
}

/// See [`super::Transfer::rows`].
///
/// # Errors
/// The database's.
pub async fn rows<S: Sql>(db: &S, table: &Table, after: Option<&Record>, limit: usize) -> Result<Vec<Record>> {
    let (columns, key) = (table.columns.join(", "), table.columns[..table.key_columns].join(", "));
    let mut params: Vec<Value<'_>> = after.into_iter().flatten().map(ToValue::to_value).collect();
    let condition = if params.is_empty() { "true".into() } else { format!("({key}) > ({})", numbered(params.len())) };
    params.push(Value::I64(limit as i64));
    let (name, last) = (table.name, params.len());
    let sql = format!("SELECT {columns} FROM {name} WHERE {condition} ORDER BY {key} LIMIT ?{last}");
    db.every(&sql, &params, |row: &dyn Row| {
        (0..row.columns()).map(|column| row.value_at(column).map(Cell::from)).collect()
    })
    .await
}

/// See [`super::Transfer::insert`].
///
/// # Errors
/// The database's.
pub async fn insert<S: Sql>(db: &S, table: &Table, rows: &[Record]) -> Result<()> {
    let (name, columns, values) = (table.name, table.columns.join(", "), numbered(table.columns.len()));
    let sql = format!("INSERT INTO {name} ({columns}) VALUES ({values})");
    for row in rows {
        let params: Vec<Value<'_>> = row.iter().map(ToValue::to_value).collect();
        db.execute(&sql, &params).await?;
    }
    Ok(())
}

/// See [`super::Transfer::is_empty`].
///
/// # Errors
/// The database's.
pub async fn is_empty<S: Sql>(db: &S, table: &Table) -> Result<bool> {
    Ok(rows(db, table, None, 1).await?.is_empty())
}

/// See [`super::Transfer::renumber`].
///
/// # Errors
/// The database's.
pub async fn renumber<S: Sql>(db: &S) -> Result<()> {
    for sql in S::DIALECT.renumber {
        db.execute(sql, &[]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transfer::TABLES;

    fn cell() -> impl Strategy<Value = Cell> {
        prop_oneof![
            Just(Cell::Null),
            any::<i64>().prop_map(Cell::I64),
            proptest::num::f64::NORMAL.prop_map(Cell::F64),
            any::<String>().prop_map(Cell::Text),
            any::<Vec<u8>>().prop_map(Cell::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn a_row_is_read_back_from_its_line(record in proptest::collection::vec(cell(), 5)) {
            let table = &TABLES[2];
            let line = to_line(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(from_line(&line, table), Some(record));
        }

        #[test]
        fn other_lines_are_none(line: String) {
            prop_assert_eq!(from_line(&line, &TABLES[2]), None);
        }
    }

    #[test]
    fn lines_that_are_nearly_rows_are_none() {
        let table = TABLES.iter().find(|table| table.name == "marks").unwrap();
        assert!(from_line("[\"name\", \"mark\"]", table).is_some());
        for line in ["[\"name\"]", "[\"name\",\"mark\",1]", "[\"name\",1.5]", "[\"name\",true]", "[\"name\",[]]"] {
            assert_eq!(from_line(line, table), None, "{line}");
        }
        for line in
            ["[1,{\"number\":\"x\"}]", "[1,{\"base64\":\"?\"}]", "[1,{}]", "[1,{\"base64\":\"\",\"number\":\"1\"}]"]
        {
            assert_eq!(from_line(line, table), None, "{line}");
        }
    }
}
