//! The one shape that many queries have: a page.

use std::fmt::Display;

use kallglot_storage::{Cursor, Page, PageRequest};

use crate::Result;
use crate::sql::{Row, Sql, ToValue as _, Value};

/// One page, newest first. `select` ends before `WHERE`; `filter` is a condition on `params`, of which there are `?1` to `?n`.
///
/// # Errors
/// The database's, and those of `read`.
pub async fn page<S: Sql, T: Send, Id: Copy + Display + Sync>(
    sql: &S,
    select: &str,
    filter: &str,
    params: &[Value<'_>],
    request: &PageRequest<Id>,
    read: fn(&dyn Row) -> Result<T>,
) -> Result<Page<T>> {
    let (cursor, limit) = (params.len() + 1, params.len() + 2);
    let (condition, order, id) = match request.cursor {
        // An id is never empty, so this is no condition; the parameter keeps its place.
        None => ("<>", "DESC", String::new()),
        Some(Cursor::StartingAfter(id)) => ("<", "DESC", id.to_string()),
        Some(Cursor::EndingBefore(id)) => (">", "ASC", id.to_string()),
    };
    let text = format!("{select} WHERE {filter} AND id {condition} ?{cursor} ORDER BY id {order} LIMIT ?{limit}");
    let mut all = params.to_vec();
    all.extend([id.to_value(), Value::I64(request.limit_items() as i64 + 1)]);
    Ok(Page::from_query(sql.every(&text, &all, read).await?, request))
}
