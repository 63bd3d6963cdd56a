//! The suite that every backend passes.

use kallglot_storage_postgres::{Config, PostgresStorage, migrate};
use kallglot_throwaway::Postgres;
use tokio::sync::OnceCell;

static SERVER: OnceCell<Postgres> = OnceCell::const_new();

/// A database of its own for each case, made as a copy of an empty one.
async fn open(case: &'static str) -> (PostgresStorage, ()) {
    // Housekeeping in the background is a transaction too, for which feeds wait.
    let server = SERVER.get_or_init(async || {
        let server = Postgres::start_with(&[("autovacuum", "off")]).await;
        migrate(&server.create_database("empty").await).await.expect("a new schema");
        server
    });
    let url = server.await.create_database_from("empty", case).await;
    (PostgresStorage::open(&Config { url, connections_max: 10 }).await.expect("a new database"), ())
}

kallglot_storage::conformance_suite!(one_test open);
