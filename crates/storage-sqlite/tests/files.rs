//! What is refused, and what is found in the data folder.

use std::path::Path;

use kallglot_core::id::ApiKeyId;
use kallglot_storage::conformance::example::{TENANT, begin, hash, new_session, session};
use kallglot_storage::{GateChange, KeyRepository as _, SessionRepository as _, Storage as _, StorageError};
use kallglot_storage_sqlite::{FILE_NAME, OpenError, SqliteStorage};
use rusqlite::Connection;

async fn closed_database(folder: &Path) -> Connection {
    let storage = SqliteStorage::open(folder).expect("a new database");
    begin(&storage).await;
    storage.create_session(&new_session(1)).await.expect("stored");
    storage.close().await.expect("stored");
    Connection::open(folder.join(FILE_NAME)).expect("the file")
}

#[tokio::test]
async fn a_closed_database_is_one_file_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let connection = closed_database(folder.path()).await;
    let wal = folder.path().join(format!("{FILE_NAME}-wal"));
    assert!(!wal.exists(), "the log was moved into the file");
    let sessions: i64 = connection.query_row("SELECT count(*) FROM sessions", (), |row| row.get(0)).unwrap();
    assert_eq!(sessions, 1);
    let mode = std::fs::metadata(folder.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    closed_database(folder.path()).await.pragma_update(None, "user_version", 1000).unwrap();
    let Err(error) = SqliteStorage::open(folder.path()) else { panic!("opened") };
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error}");
    assert!(error.to_string().contains("use the newer program"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(FILE_NAME);
    let text = "my diary\n".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    assert!(matches!(SqliteStorage::open(folder.path()), Err(OpenError::Sqlite(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(error) = SqliteStorage::open(&file.join("data")) else { panic!("opened") };
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[tokio::test]
async fn an_impossible_value_is_corrupt_and_named() {
    for (change, table, column) in [
        ("UPDATE sessions SET mode = 'karaoke'", "sessions", "mode"),
        ("UPDATE sessions SET source_language = 'english'", "sessions", "source_language"),
        ("UPDATE sessions SET status = 'ended'", "sessions", "status"),
        ("UPDATE sessions SET created_at_us = 9223372036854775807", "sessions", "created_at_us"),
        ("UPDATE sessions SET metadata = '[]'", "sessions", "metadata"),
        ("UPDATE sessions SET joinable_until_us = 9223372036854775807", "sessions", "joinable_until_us"),
        ("UPDATE api_keys SET permissions = 'everything'", "api_keys", "permissions"),
        ("UPDATE api_keys SET allowed_networks = '300.0.0.0/8'", "api_keys", "allowed_networks"),
        ("UPDATE organizations SET plan = 'gold'", "organizations", "plan"),
        ("UPDATE organizations SET leak_policy = 'shrug'", "organizations", "leak_policy"),
        ("UPDATE organizations SET low_credits_threshold = -1", "organizations", "low_credits_threshold"),
        ("UPDATE organizations SET edition = 3", "organizations", "edition"),
        ("UPDATE organizations SET requests_per_minute_max = -1", "organizations", "requests_per_minute_max"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let connection = closed_database(folder.path()).await;
        connection.pragma_update(None, "ignore_check_constraints", true).unwrap();
        connection.execute(change, ()).expect(change);
        drop(connection);
        let storage = SqliteStorage::open(folder.path()).expect("the database");
        let error = match table {
            "sessions" => storage.session(TENANT, session(1).id).await.map(drop).unwrap_err(),
            _ => storage.key_of_secret(&hash(1)).await.map(drop).unwrap_err(),
        };
        match error {
            StorageError::Corrupt { table: named_table, column: named_column, id } => {
                assert_eq!((named_table, named_column), (table, column));
                assert!(id.contains('_'), "{id}");
            }
            other => panic!("{change}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_change_of_a_kind_that_a_newer_program_wrote_is_as_one_that_was_missed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let connection = closed_database(folder.path()).await;
    let storage = SqliteStorage::open(folder.path()).expect("the database");
    let before = storage.gate_changes_since(None).await.unwrap().marker;
    let insert =
        "INSERT INTO gate_changes (kind, id) VALUES ('of_tomorrow', 'x'), ('key', 'key_0000000000000000000001')";
    connection.execute(insert, ()).unwrap();
    let told = storage.gate_changes_since(Some(before)).await.unwrap();
    assert!(told.lost, "caches are dropped");
    assert_eq!(told.changes, [GateChange::Key(ApiKeyId::from_bits(1))], "the others are told");
    let after = storage.gate_changes_since(Some(told.marker)).await.unwrap();
    assert!(!after.lost && after.changes.is_empty(), "once");
}
