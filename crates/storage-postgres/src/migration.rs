//! The schema's versions: numbered, applied one transaction each, never changed once released.
//!
//! Nodes of two versions run together during an upgrade, so a schema changes in two steps, in two releases: first it grows by what the
//! new program needs, which the old one does not see; later, when no old program runs any more, it loses what is not needed any more.
//! Each step says up to which program it goes back ([`Migration::readable_from`]); that stands in the database too, so that an older
//! program knows of a newer schema whether it may use it.
//!
//! The table `schema_migrations` has each step's number, SHA-256 and `readable_from`.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

use crate::OpenError;
use crate::failure::full;

/// One process at a time brings the schema forward: a number that nobody else will think of ("Kallglot").
const LOCK: i64 = 0x4b61_6c6c_676c_6f74;

/// A step from one version to the next; its place in the list is its number, from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
    /// The oldest version whose programs work with the database after this step.
    pub(crate) readable_from: usize,
}

/// Every step, in order. Append only.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_first", sql: include_str!("migrations/0001_first.sql"), readable_from: 1 },
    Migration { name: "0002_events", sql: include_str!("migrations/0002_events.sql"), readable_from: 1 },
    Migration { name: "0003_webhooks", sql: include_str!("migrations/0003_webhooks.sql"), readable_from: 1 },
    Migration { name: "0004_analysis", sql: include_str!("migrations/0004_analysis.sql"), readable_from: 1 },
    Migration { name: "0005_recordings", sql: include_str!("migrations/0005_recordings.sql"), readable_from: 1 },
    Migration { name: "0006_audit_people", sql: include_str!("migrations/0006_audit_people.sql"), readable_from: 1 },
    Migration { name: "0007_people", sql: include_str!("migrations/0007_people.sql"), readable_from: 1 },
    Migration { name: "0008_usage", sql: include_str!("migrations/0008_usage.sql"), readable_from: 1 },
    Migration { name: "0009_factors", sql: include_str!("migrations/0009_factors.sql"), readable_from: 1 },
    Migration { name: "0010_alerts", sql: include_str!("migrations/0010_alerts.sql"), readable_from: 1 },
];

/// A step that the database has had.
struct Applied {
    name: String,
    sha256: String,
    readable_from: usize,
}

fn checksum(migration: &Migration) -> String {
    Sha256::digest(migration.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(error: &tokio_postgres::Error) -> OpenError {
    OpenError::Database { cause: full(error) }
}

/// The steps that the database has had, in order, which must be those that this program knows, as far as it knows any.
async fn applied(client: &Client, migrations: &[Migration]) -> Result<Vec<Applied>, OpenError> {
    let exists = client.query_one("SELECT to_regclass('schema_migrations') IS NOT NULL", &[]).await;
    if !exists.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| refused(&error))? {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, name, sha256, readable_from FROM schema_migrations ORDER BY version";
    let rows = client.query(sql, &[]).await.map_err(|error| refused(&error))?;
    let mut applied = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let read = || Ok::<_, tokio_postgres::Error>((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(3)?));
        let (version, readable_from) = read().map_err(|error| refused(&error))?;
        let texts = || Ok::<_, tokio_postgres::Error>((row.try_get(1)?, row.try_get(2)?));
        let (name, sha256) = texts().map_err(|error| refused(&error))?;
        let readable_from = usize::try_from(readable_from).unwrap_or(usize::MAX);
        let step = Applied { name, sha256, readable_from };
        let known = migrations.get(index).is_none_or(|known| checksum(known) == step.sha256);
        if version != index as i64 + 1 || !known {
            return Err(OpenError::Altered { version: index + 1 });
        }
        applied.push(step);
    }
    Ok(applied)
}

/// Whether this program can use the database as it is.
pub(crate) async fn check(client: &Client, migrations: &[Migration]) -> Result<(), OpenError> {
    let applied = applied(client, migrations).await?;
    let supported = migrations.len();
    if applied.len() < supported {
        return Err(OpenError::Older { found: applied.len(), needed: supported });
    }
    match applied[supported..].iter().find(|step| step.readable_from > supported) {
        Some(step) => Err(OpenError::Newer { found: applied.len(), supported, name: step.name.clone() }),
        None => Ok(()),
    }
}

/// The steps that the database has not had yet.
pub(crate) async fn pending(client: &Client, migrations: &[Migration]) -> Result<Vec<String>, OpenError> {
    let applied = applied(client, migrations).await?.len();
    Ok(migrations.iter().skip(applied).map(|step| step.name.to_owned()).collect())
}

/// Brings the database to the last of `migrations`, if it is not there or beyond; answers with the steps that it took. Several
/// processes may do this at once: one works, the others wait and find nothing to do.
pub(crate) async fn migrate(client: &mut Client, migrations: &[Migration]) -> Result<Vec<String>, OpenError> {
    // The lock goes with the connection, if not before.
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(|error| refused(&error))?;
    let outcome = migrate_alone(client, migrations).await;
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    let steps = outcome?;
    unlocked.map_err(|error| refused(&error))?;
    Ok(steps)
}

async fn migrate_alone(client: &mut Client, migrations: &[Migration]) -> Result<Vec<String>, OpenError> {
    client
        .batch_execute(
            "SET client_min_messages = 'warning'; SET lock_timeout = '10s'; SET synchronous_commit = 'on'; \
             CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, \
             sha256 TEXT NOT NULL, readable_from BIGINT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())",
        )
        .await
        .map_err(|error| refused(&error))?;
    let applied = applied(client, migrations).await?.len();
    let mut steps = Vec::new();
    for (index, migration) in migrations.iter().enumerate().skip(applied) {
        take(client, index + 1, migration)
            .await
            .map_err(|error| OpenError::Step { name: migration.name.into(), cause: full(&error) })?;
        tracing::info!(version = index + 1, name = migration.name, "the database schema was brought forward");
        steps.push(migration.name.to_owned());
    }
    Ok(steps)
}

async fn take(client: &mut Client, version: usize, migration: &Migration) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(migration.sql).await?;
    let sql = "INSERT INTO schema_migrations (version, name, sha256, readable_from) VALUES ($1, $2, $3, $4)";
    let (version, readable_from) = (version as i64, migration.readable_from as i64);
    transaction.execute(sql, &[&version, &migration.name, &checksum(migration), &readable_from]).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use kallglot_storage::conformance::example::{TENANT, begin, new_session};
    use kallglot_storage::{OrganizationRepository as _, SessionRepository as _};
    use kallglot_throwaway::Postgres;

    use super::*;
    use crate::{Config, PostgresStorage};

    const ONE: Migration = Migration { name: "one", sql: "CREATE TABLE a (x BIGINT)", readable_from: 1 };
    const GROWS: Migration = Migration { name: "grows", sql: "ALTER TABLE a ADD COLUMN y BIGINT", readable_from: 1 };
    const SHRINKS: Migration = Migration { name: "shrinks", sql: "ALTER TABLE a DROP COLUMN x", readable_from: 2 };
    const BROKEN: Migration = Migration { name: "broken", sql: "CREATE TABLE b (); nonsense", readable_from: 1 };

    async fn client(url: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    #[tokio::test]
    async fn programs_of_two_versions_run_together_until_the_schema_shrinks() {
        let server = Postgres::start().await;
        let mut client = client(&server.url()).await;
        let (first, second, third) = (&[ONE][..], &[ONE, GROWS][..], &[ONE, GROWS, SHRINKS][..]);
        assert!(matches!(check(&client, first).await, Err(OpenError::Older { found: 0, needed: 1 })));
        assert_eq!(pending(&client, second).await.unwrap(), ["one", "grows"]);
        assert_eq!(migrate(&mut client, first).await.unwrap(), ["one"]);
        check(&client, first).await.unwrap();
        assert!(matches!(check(&client, second).await, Err(OpenError::Older { found: 1, needed: 2 })));

        assert_eq!(migrate(&mut client, second).await.unwrap(), ["grows"]);
        check(&client, first).await.expect("the older program goes on");
        check(&client, second).await.unwrap();
        assert_eq!(migrate(&mut client, first).await.unwrap(), [""; 0], "nothing to do for the older one");
        assert_eq!(pending(&client, first).await.unwrap(), [""; 0]);

        assert_eq!(migrate(&mut client, third).await.unwrap(), ["shrinks"]);
        let too_old = check(&client, first).await.unwrap_err();
        assert!(matches!(too_old, OpenError::Newer { found: 3, supported: 1, .. }), "{too_old}");
        assert!(too_old.to_string().contains("shrinks"), "{too_old}");
        check(&client, second).await.expect("it was made for that");
    }

    #[tokio::test]
    async fn many_who_migrate_at_once_take_each_step_once() {
        let server = Postgres::start().await;
        let url = server.url();
        let all = join_all((0..6).map(async |_| migrate(&mut client(&url).await, &[ONE, GROWS]).await.unwrap())).await;
        assert_eq!(all.concat(), ["one", "grows"]);
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_nothing_and_an_altered_one_is_refused() {
        let server = Postgres::start().await;
        let mut client = client(&server.url()).await;
        let failed = migrate(&mut client, &[ONE, BROKEN]).await.unwrap_err();
        assert!(matches!(&failed, OpenError::Step { name, .. } if name == "broken"), "{failed}");
        assert!(failed.to_string().contains("nonsense"), "{failed}");
        assert_eq!(pending(&client, &[ONE, BROKEN]).await.unwrap(), ["broken"]);
        client.execute("SELECT 'b'::regclass", &[]).await.unwrap_err();
        assert_eq!(migrate(&mut client, &[ONE, GROWS]).await.unwrap(), ["grows"]);
        let altered = migrate(&mut client, &[ONE, SHRINKS]).await.unwrap_err();
        assert!(matches!(altered, OpenError::Altered { version: 2 }), "{altered}");
    }

    #[tokio::test]
    async fn a_program_that_runs_goes_on_while_the_schema_grows() {
        let server = Postgres::start().await;
        let url = server.url();
        let mut client = client(&url).await;
        migrate(&mut client, MIGRATIONS).await.unwrap();
        let config = Config { url, connections_max: 1 };
        let storage = PostgresStorage::open(&config).await.unwrap();
        begin(&storage).await;
        storage.create_session(&new_session(1)).await.unwrap();
        let organization = storage.organization(TENANT.organization).await.unwrap();

        let next = Migration {
            name: "next",
            sql: "ALTER TABLE organizations ADD COLUMN colour TEXT; ALTER TABLE sessions ADD COLUMN colour TEXT",
            readable_from: MIGRATIONS.len(),
        };
        let mut longer = MIGRATIONS.to_vec();
        longer.push(next);
        assert_eq!(migrate(&mut client, &longer).await.unwrap(), ["next"]);
        assert_eq!(storage.organization(TENANT.organization).await.unwrap(), organization);
        storage.create_session(&new_session(2)).await.unwrap();
        PostgresStorage::open(&config).await.expect("it can be started, too");

        // A change that an older program can't bear: what the answer of a statement looks like that is prepared.
        longer.push(Migration {
            name: "incompatible",
            sql: "ALTER TABLE organizations ALTER COLUMN plan TYPE VARCHAR",
            readable_from: longer.len() + 1,
        });
        migrate(&mut client, &longer).await.unwrap();
        assert!(matches!(PostgresStorage::open(&config).await, Err(OpenError::Newer { .. })));
        assert_eq!(storage.organization(TENANT.organization).await.unwrap(), organization, "prepared anew");
    }
}
