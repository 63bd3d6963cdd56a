//! The suite that every backend passes.

use kallglot_storage_sqlite::SqliteStorage;
use tempfile::TempDir;

async fn open() -> (SqliteStorage, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = SqliteStorage::open(folder.path()).expect("a new database");
    (storage, folder)
}

kallglot_storage::conformance_suite!(open);
