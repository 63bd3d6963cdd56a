//! The nodes that share the database, and what they must have alike, in their tables.

use std::time::Duration;

use kallglot_core::id::NodeId;
use kallglot_storage::{Beat, Node};

use crate::row::Columns;
use crate::sql::{Row, Sql};
use crate::{Result, params};

/// A time span as the database counts it.
pub(crate) fn span_us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn read(row: &dyn Row) -> Result<Node> {
    let columns = Columns::of(row, "nodes", "id")?;
    Ok(Node { id: columns.parsed("id")?, url: columns.get("url")?, version: columns.get("version")? })
}

/// See [`kallglot_storage::NodeRepository::beat`].
pub async fn beat<S: Sql>(db: &S, node: &Node, away_after: Duration) -> Result<Beat> {
    let (id, away_after, now_us) = (node.id.to_string(), span_us(away_after), S::DIALECT.now_us);
    db.execute("DELETE FROM nodes WHERE url = ?1 AND id <> ?2", params![node.url, id]).await?;
    let known = format!("SELECT 1 FROM nodes WHERE id = ?1 AND {now_us} - seen_at_us < ?2");
    let was_away = db.first(&known, params![id, away_after], |_| Ok(())).await?.is_none();
    let beat = format!(
        "INSERT INTO nodes (id, url, version, seen_at_us) VALUES (?1, ?2, ?3, {now_us}) \
         ON CONFLICT (id) DO UPDATE SET seen_at_us = excluded.seen_at_us"
    );
    db.execute(&beat, params![id, node.url, node.version]).await?;
    let all = format!("SELECT id, url, version FROM nodes WHERE {now_us} - seen_at_us < ?1 OR id = ?2 ORDER BY id");
    Ok(Beat { nodes: db.every(&all, params![away_after, id], read).await?, was_away })
}

/// See [`kallglot_storage::NodeRepository::leave`].
pub async fn leave<S: Sql>(db: &S, node: NodeId) -> Result<()> {
    db.execute("DELETE FROM nodes WHERE id = ?1", params![node.to_string()]).await
}

/// See [`kallglot_storage::NodeRepository::keep_mark`].
pub async fn keep_mark<S: Sql>(db: &S, name: &str, mark: &str) -> Result<String> {
    let insert = "INSERT INTO marks (name, mark) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
    db.execute(insert, params![name, mark]).await?;
    let select = "SELECT name, mark FROM marks WHERE name = ?1";
    let kept = db.first(select, params![name], |row| Columns::of(row, "marks", "name")?.get("mark")).await?;
    Ok(kept.unwrap_or_else(|| mark.to_owned()))
}
