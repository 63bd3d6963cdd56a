//! The schema's versions: numbered, applied one transaction each, never changed once released.
//!
//! `PRAGMA user_version` is the number of the last one applied. The table `schema_migrations` keeps each one's SHA-256, so that a
//! database made by a different text of the same number is refused, not used. `PRAGMA application_id` says whose file it is.

use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use crate::OpenError;

/// "KGlt", in the header of every database of ours.
const APPLICATION_ID: i32 = 0x4b47_6c74;

/// A step from one version to the next; its place in the list is its number, from 1.
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

/// Every step, in order. Append only.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_first", sql: include_str!("migrations/0001_first.sql") },
    Migration { name: "0002_credits", sql: include_str!("migrations/0002_credits.sql") },
    Migration { name: "0003_gate", sql: include_str!("migrations/0003_gate.sql") },
    Migration { name: "0004_nodes", sql: include_str!("migrations/0004_nodes.sql") },
    Migration { name: "0005_events", sql: include_str!("migrations/0005_events.sql") },
    Migration { name: "0006_webhooks", sql: include_str!("migrations/0006_webhooks.sql") },
    Migration { name: "0007_analysis", sql: include_str!("migrations/0007_analysis.sql") },
    Migration { name: "0008_recordings", sql: include_str!("migrations/0008_recordings.sql") },
    Migration { name: "0009_audit_people", sql: include_str!("migrations/0009_audit_people.sql") },
    Migration { name: "0010_people", sql: include_str!("migrations/0010_people.sql") },
    Migration { name: "0011_usage", sql: include_str!("migrations/0011_usage.sql") },
    Migration { name: "0012_factors", sql: include_str!("migrations/0012_factors.sql") },
    Migration { name: "0013_alerts", sql: include_str!("migrations/0013_alerts.sql") },
    Migration { name: "0014_open_sessions", sql: include_str!("migrations/0014_open_sessions.sql") },
];

fn checksum(migration: &Migration) -> String {
    Sha256::digest(migration.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Brings the database to the last of `migrations`. Several processes may do this at once: each step looks at the version again
/// under the write lock.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), OpenError> {
    claim(connection)?;
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = usize::try_from(pragma(&transaction, "user_version")?).unwrap_or(usize::MAX);
        if version > migrations.len() {
            return Err(OpenError::Newer { found: version, supported: migrations.len() });
        }
        verify(&transaction, &migrations[..version])?;
        let Some(migration) = migrations.get(version) else { return Ok(()) };
        let number = version + 1;
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO schema_migrations (version, name, sha256) VALUES (?1, ?2, ?3)",
            (number as i64, migration.name, checksum(migration)),
        )?;
        transaction.pragma_update(None, "user_version", number as i64)?;
        transaction.commit()?;
        tracing::info!(version = number, name = migration.name, "the database schema was brought forward");
    }
}

/// Marks an empty database as ours; refuses somebody else's.
fn claim(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let owner = pragma(&transaction, "application_id")?;
    if owner == i64::from(APPLICATION_ID) {
        return Ok(());
    }
    let objects: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if owner != 0 || objects > 0 {
        return Err(OpenError::NotOurs);
    }
    transaction.execute_batch(
        "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT",
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    Ok(transaction.commit()?)
}

/// Every applied step has the text that we know.
fn verify(connection: &Connection, applied: &[Migration]) -> Result<(), OpenError> {
    let mut statement = connection.prepare("SELECT sha256 FROM schema_migrations WHERE version = ?1")?;
    for (index, migration) in applied.iter().enumerate() {
        let version = index + 1;
        let stored: Option<String> = match statement.query_row([version as i64], |row| row.get(0)) {
            Ok(stored) => Some(stored),
            Err(rusqlite::Error::QueryReturnedNoRows) => None,
            Err(error) => return Err(error.into()),
        };
        if stored.as_deref() != Some(checksum(migration).as_str()) {
            return Err(OpenError::Altered { version });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { name: "one", sql: "CREATE TABLE a (x INTEGER) STRICT" };
    const TWO: Migration = Migration { name: "two", sql: "CREATE TABLE b (x INTEGER) STRICT" };
    const BROKEN: Migration = Migration { name: "broken", sql: "CREATE TABLE c (x INTEGER) STRICT; nonsense" };

    fn tables(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND length(name) = 1").unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[ONE]).unwrap();
        assert_eq!(tables(&connection), ["a"]);
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        assert_eq!(tables(&connection), ["a", "b"]);
        assert_eq!(pragma(&connection, "user_version").unwrap(), 2);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(matches!(migrate(&mut connection, &[ONE, BROKEN]), Err(OpenError::Sqlite(_))));
        assert_eq!(tables(&connection), ["a"]);
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        assert_eq!(tables(&connection), ["a", "b"]);
    }

    #[test]
    fn a_newer_an_altered_and_a_strangers_database_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[ONE, TWO]).unwrap();
        let newer = migrate(&mut connection, &[ONE]).unwrap_err();
        assert!(matches!(newer, OpenError::Newer { found: 2, supported: 1 }), "{newer}");
        assert!(matches!(migrate(&mut connection, &[TWO, ONE]), Err(OpenError::Altered { version: 1 })));

        let mut stranger = Connection::open_in_memory().unwrap();
        stranger.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(migrate(&mut stranger, &[ONE]), Err(OpenError::NotOurs)));
    }

    #[test]
    fn the_released_steps_run_on_an_empty_database() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let broken: i64 =
            connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0)).unwrap();
        assert_eq!(broken, 0);
    }
}
