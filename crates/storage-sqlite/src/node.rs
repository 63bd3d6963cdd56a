//! The nodes that share the database, and what they must have alike, in their tables.

use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::id::NodeId;
use kallglot_storage::{Beat, Node, NodeRepository, StorageError};
use rusqlite::{Connection, Row, params};

use crate::SqliteStorage;
use crate::query::{change, every, first};
use crate::row::Columns;

type Result<T> = std::result::Result<T, StorageError>;

/// The database's own clock, in microseconds.
pub(crate) const NOW_US: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// A time span as the database counts it.
pub(crate) fn span_us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Node> {
    let columns = Columns::of(row, "nodes", "id")?;
    Ok(Node { id: columns.parsed("id")?, url: columns.get("url")?, version: columns.get("version")? })
}

fn beat(connection: &Connection, node: &Node, away_after: Duration) -> Result<Beat> {
    let (id, away_after) = (node.id.to_string(), span_us(away_after));
    change(connection, "DELETE FROM nodes WHERE url = ?1 AND id <> ?2", [&node.url, &id])?;
    let known = format!("SELECT 1 FROM nodes WHERE id = ?1 AND {NOW_US} - seen_at_us < ?2");
    let was_away = first(connection, &known, params![id, away_after], |_| Ok(()))?.is_none();
    let beat = format!(
        "INSERT INTO nodes (id, url, version, seen_at_us) VALUES (?1, ?2, ?3, {NOW_US}) \
         ON CONFLICT (id) DO UPDATE SET seen_at_us = excluded.seen_at_us"
    );
    change(connection, &beat, [&id, &node.url, &node.version])?;
    let all = format!("SELECT id, url, version FROM nodes WHERE {NOW_US} - seen_at_us < ?1 OR id = ?2 ORDER BY id");
    Ok(Beat { nodes: every(connection, &all, params![away_after, id], read)?, was_away })
}

#[async_trait]
impl NodeRepository for SqliteStorage {
    async fn beat(&self, node: &Node, away_after: Duration) -> Result<Beat> {
        let node = node.clone();
        self.write(move |connection| beat(connection, &node, away_after)).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.write(move |connection| {
            change(connection, "DELETE FROM nodes WHERE id = ?1", [node.to_string()])?;
            Ok(())
        })
        .await
    }

    async fn keep_mark(&self, name: &str, mark: &str) -> Result<String> {
        let (name, mark) = (name.to_owned(), mark.to_owned());
        self.write(move |connection| {
            let insert = "INSERT INTO marks (name, mark) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
            change(connection, insert, [&name, &mark])?;
            let kept = first(connection, "SELECT name, mark FROM marks WHERE name = ?1", [&name], |row| {
                Columns::of(row, "marks", "name")?.get("mark")
            })?;
            Ok(kept.unwrap_or_else(|| mark.clone()))
        })
        .await
    }
}
