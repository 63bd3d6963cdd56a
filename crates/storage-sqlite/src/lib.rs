//! The database of a server that runs alone: SQLite in the data folder.
//!
//! `<data folder>/kallglot.db` in WAL mode with `synchronous=FULL`: what is answered survives `kill -9` and a power cut. One thread
//! writes and groups what waits into one transaction; a few threads read. The command line opens the same file while the server
//! runs: every transaction takes the write lock before it reads what it changes, so no update is lost.

mod checkpoint;
mod failure;
mod migration;
mod reader;
mod sql;
#[cfg(test)]
mod upgrade;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use kallglot_storage::{CreatePaid, Storage, StorageError};
use kallglot_storage_sql::session::Prepared;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

use crate::failure::storage_error;
use crate::reader::ReadQueue;
use crate::sql::{Sqlite, Work};
use crate::writer::{WriteQueue, closed};

/// The database's name in the data folder.
pub const FILE_NAME: &str = "kallglot.db";
/// How many reads run at once.
const READERS: usize = 4;
/// How often a transaction looks whether another process's is over.
const LOCK_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// How often it looks before it gives up: about 10 s.
const LOCK_LOOKS_MAX: i32 = 10_000;
const STATEMENTS_CACHED: usize = 64;
/// How much of the database the writer keeps in memory at most. It must hold what a group changes: what doesn't fit is written twice.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder or the file can't be made or opened.
    #[error("can't open {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer version of the program has used it; this one would not understand it.
    #[error(
        "the database is of a newer version of Kallglot (schema {found}; this one knows {supported}): use the newer program"
    )]
    Newer {
        /// The database's schema version.
        found: usize,
        /// The last one that this program knows.
        supported: usize,
    },
    /// A step of the schema was applied with a text that this program does not know.
    #[error(
        "the database's schema version {version} is not the one that this program makes: it was altered or is not ours"
    )]
    Altered {
        /// Which step.
        version: usize,
    },
    /// A database of another program.
    #[error("the file is a database of another program")]
    NotOurs,
    /// SQLite refused.
    #[error("can't open the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// The open database. Dropped without [`Storage::close`], it finishes what was accepted in the background.
pub struct SqliteStorage {
    queues: RwLock<Option<(WriteQueue, ReadQueue)>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Waits for another process's transaction; false to give up. SQLite's own waiting grows to 100 ms a look, with which one of two busy
/// processes was seen to wait a second for the other.
#[allow(clippy::disallowed_methods)] // A released file lock can't be waited for, only looked for; this is a database thread.
fn wait_for_lock(looks: i32) -> bool {
    std::thread::sleep(LOCK_LOOK_INTERVAL);
    looks < LOCK_LOOKS_MAX
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI names: a folder with a `?` in its name is a folder with a `?` in its name.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_lock))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // Otherwise SQLite compiles a statement again whenever a parameter has another value that may matter to its plan, which is at
    // every use and costs more than the statement itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Triggers and views of a manipulated file can't call functions with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Makes the file readable for its owner only, since it holds what people said. SQLite gives the same rights to its `-wal` file.
fn create(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The write connection of an up-to-date database.
fn open_writer(folder: &Path, path: &Path) -> Result<Connection, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    // Only one process at a time makes the file or brings its schema forward. The lock goes with the handle.
    let lock_path = folder.join("kallglot.lock");
    create(&lock_path).map_err(at(&lock_path))?;
    let lock = std::fs::File::open(&lock_path).map_err(at(&lock_path))?;
    lock.lock().map_err(at(&lock_path))?;

    create(path).map_err(at(path))?;
    let mut connection = connect(path)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    migration::migrate(&mut connection, migration::MIGRATIONS)?;
    Ok(connection)
}

impl SqliteStorage {
    /// Opens the database in `folder`; makes both when they don't exist and brings the schema to this program's version. Blocks for
    /// as long as the disk takes.
    ///
    /// # Errors
    /// See [`OpenError`]; the database is as it was.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(FILE_NAME);
        let mut connection = open_writer(folder, &path)?;
        let (read_queue, reader) = reader::queue();
        let mut others = Vec::with_capacity(READERS + 1);
        for index in 0..READERS {
            let connection = connect(&path)?;
            connection.pragma_update(None, "query_only", true)?;
            let reader = reader.clone();
            others.push(spawn(format!("db-read-{index}"), &path, move || reader.run(&connection))?);
        }
        let (mut checkpoints, checkpointer) = checkpoint::pair();
        let second = connect(&path)?;
        others.push(spawn("db-checkpoint".into(), &path, move || checkpointer.run(&second))?);
        connection.wal_hook(Some(move |log: &mut Wal, pages| {
            checkpoints.after_commit(log, pages);
            Ok(())
        }))?;
        let (write_queue, writer) = writer::queue();
        let writer = spawn("db-write".into(), &path, move || {
            writer.run(&connection);
            // Ends the thread that makes checkpoints.
            let _ = connection.wal_hook(None::<fn(&mut Wal, _) -> _>);
            // The last connection to close removes the log; two that close at once may each leave it to the other.
            for other in others {
                if other.join().is_err() {
                    tracing::error!("a thread of the database panicked");
                }
            }
            // Moves the log into the file, so that the file alone is a backup. If somebody reads right now, the next one does it.
            let _ = connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()));
        })?;
        Ok(Self { queues: RwLock::new(Some((write_queue, read_queue))), writer: Mutex::new(Some(writer)) })
    }

    fn queues(&self) -> Result<(WriteQueue, ReadQueue), StorageError> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)
    }

    /// Runs `work` in a durable transaction, grouped with others.
    async fn write<A, T>(&self, arguments: A, work: Work<A, T>) -> Result<T, StorageError>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.queues()?.0.write(move |connection| Sqlite::run(connection, &arguments, work)).await
    }

    /// Makes a session.
    async fn create(&self, session: Prepared) -> Result<CreatePaid, StorageError> {
        self.write(session, |db, session| Box::pin(session.create(db))).await
    }

    /// Runs `work` on a reader.
    async fn read<A, T>(&self, arguments: A, work: Work<A, T>) -> Result<T, StorageError>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.queues()?.1.read(move |connection| Sqlite::run(connection, &arguments, work)).await
    }
}

kallglot_storage_sql::repositories!(SqliteStorage);

fn spawn(name: String, path: &Path, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let path = path.to_owned();
    std::thread::Builder::new().name(name).spawn(work).map_err(|source| OpenError::File { path, source })
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn changes(&self) -> Result<u64, StorageError> {
        // On the write connection, since its own commits don't count there: what does is another process's.
        let look = |connection: &Connection| {
            connection.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).map_err(storage_error)
        };
        Ok(self.queues()?.0.look(look).await?.cast_unsigned())
    }

    async fn close(&self) -> Result<(), StorageError> {
        // The threads end when the last caller's clone of the queues is gone and they are empty.
        drop(self.queues.write().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let joined = tokio::task::spawn_blocking(move || writer.map_or(Ok(()), JoinHandle::join)).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => Err(StorageError::Internal { cause: "a thread of the database panicked".into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use kallglot_storage::conformance::example::{TENANT, answer, at, begin_with_credits, new_session};
    use kallglot_storage::{NewSession, OrganizationRepository as _, SessionRepository as _};
    use kallglot_storage_sql::session;

    use super::*;

    #[test]
    fn a_connection_is_durable_and_checks_references() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let connection = open_writer(folder.path(), &folder.path().join(FILE_NAME)).expect("a new database");
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(pragma("journal_mode"), Ok("wal".to_owned().into()));
        assert_eq!(pragma("synchronous"), Ok(2.into()), "2 is FULL");
        assert_eq!(pragma("foreign_keys"), Ok(1.into()));
        assert_eq!(pragma("trusted_schema"), Ok(0.into()));
    }

    #[tokio::test]
    async fn several_sessions_at_once_are_made_as_one_after_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = SqliteStorage::open(folder.path()).expect("a new database");
        let granted = begin_with_credits(&storage, 2).await;
        let paid = |number: u128| {
            let idempotency = Some(answer(&format!("order {number}"), number, at(10)));
            NewSession { credits: 1, idempotency, ..new_session(number) }
        };
        storage.create_session(&paid(1)).await.unwrap();
        let repeated = NewSession { idempotency: paid(1).idempotency, ..paid(2) };
        let all: Vec<Prepared> = [repeated, paid(3), paid(4)].iter().map(Prepared::of).collect();
        let made = storage.write(all, |db, all| Box::pin(session::create_all(db, all))).await.unwrap();
        let [CreatePaid::Known(_), CreatePaid::Created(Some(spent)), CreatePaid::NoCredits(left)] = &made[..] else {
            panic!("{made:?}");
        };
        assert_eq!((spent.remaining, spent.sequence, left), (0, granted.sequence + 2, spent));
        assert_eq!(storage.credit_balance(TENANT.organization).await.unwrap(), Some(*left));
    }
}
