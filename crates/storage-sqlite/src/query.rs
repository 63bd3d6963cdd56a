//! The few shapes that all queries have: at most one row, every row, one page.

use std::fmt::Display;

use kallglot_storage::{Cursor, Page, PageRequest, StorageError};
use rusqlite::types::ToSql;
use rusqlite::{Connection, Params, Row};

use crate::failure::storage_error;

type Result<T> = std::result::Result<T, StorageError>;

/// The first row of the answer, if there is one.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(storage_error)?;
    let mut rows = statement.query(params).map_err(storage_error)?;
    rows.next().map_err(storage_error)?.map(read).transpose()
}

/// Every row of the answer; the query bounds how many there are.
pub(crate) fn every<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(storage_error)?;
    let mut rows = statement.query(params).map_err(storage_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(storage_error)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Changes rows; says how many.
pub(crate) fn change(connection: &Connection, sql: &str, params: impl Params) -> Result<usize> {
    let mut statement = connection.prepare_cached(sql).map_err(storage_error)?;
    statement.execute(params).map_err(storage_error)
}

/// One page, newest first. `select` ends before `WHERE`; `filter` is a condition on `params`, of which there are `?1` to `?n`.
pub(crate) fn page<T, Id: Copy + Display>(
    connection: &Connection,
    select: &str,
    filter: &str,
    params: &[&dyn ToSql],
    request: &PageRequest<Id>,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Page<T>> {
    let (cursor, limit) = (params.len() + 1, params.len() + 2);
    let (condition, order, id) = match request.cursor {
        // An id is never empty, so this is no condition; the parameter keeps its place.
        None => ("<>", "DESC", String::new()),
        Some(Cursor::StartingAfter(id)) => ("<", "DESC", id.to_string()),
        Some(Cursor::EndingBefore(id)) => (">", "ASC", id.to_string()),
    };
    let sql = format!("{select} WHERE {filter} AND id {condition} ?{cursor} ORDER BY id {order} LIMIT ?{limit}");
    let items = request.limit_items() as i64 + 1;
    let mut all = params.to_vec();
    all.extend([&id as &dyn ToSql, &items]);
    Ok(Page::from_query(every(connection, &sql, all.as_slice(), read)?, request))
}
