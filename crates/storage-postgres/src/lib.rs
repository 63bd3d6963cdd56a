//! The database of servers that run together: PostgreSQL, version 15 or later.
//!
//! Every node has a bounded number of connections and gives each job one for the time of its transaction. Transactions are `READ
//! COMMITTED`; what a job changes it locks first, so jobs of all nodes that touch the same thing come one after another.
//!
//! What a caller may assume:
//! - A change that was answered is committed, and on the server's disk.
//! - [`StorageError::Unavailable`] of a change says that it was not made, or that the connection was lost while it was being committed:
//!   then nobody knows. So who repeats must be able to: `create_session` is repeated under its idempotency key, `append_turn` under its
//!   segment, an end stays the first end, a mark stays the first mark.
//! - Two jobs that get into each other's way are run again, a few times, before anybody is told.
//! - The connection must be the server's own, or a pooler's that keeps it for the session: statements stay prepared.

mod creations;
mod failure;
mod job;
mod migration;
mod pool;
mod tls;
mod value;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kallglot_storage::{CreatePaid, Storage, StorageError};
use kallglot_storage_sql::session::Prepared;
use kallglot_storage_sql::{FromValue as _, Row, Sql as _, params};

use crate::creations::Creations;
use crate::failure::{Failure, Remedy, full};
use crate::job::{Connection, Job};
use crate::migration::MIGRATIONS;
use crate::pool::{Place, Pool, Target};

/// Longest that a job may take on its connection. After that, the connection is given up.
pub(crate) const JOB_MAX: Duration = Duration::from_secs(10);
/// How often a job is run again because others were in its way.
const AGAIN_MAX: u32 = 8;

/// A job: a function of the shared queries, which is given its arguments.
type Work<A, T> = for<'a> fn(&'a Job, &'a A) -> Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

type Result<T> = std::result::Result<T, StorageError>;

/// Where the database is and how much of it is used.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:5432/database`, with parameters as for libpq: `sslmode` (`disable`, `prefer`, `require`,
    /// `verify-ca`, `verify-full`; `prefer` if not given), `sslrootcert` (a PEM file; the system's authorities if not given),
    /// `target_session_attrs`, and others. Several hosts are tried in their order.
    pub url: String,
    /// Most connections, from 1.
    pub connections_max: u32,
}

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL can't be understood, or a file that it names can't be read.
    #[error("the database's URL is not usable: {cause}")]
    Url {
        /// In which way.
        cause: String,
    },
    /// There is no connection.
    #[error("can't connect to the database: {cause}")]
    Connect {
        /// Why.
        cause: String,
    },
    /// The schema is older than this program needs.
    #[error("the database's schema has version {found}, this program needs {needed}: run `kallglot migrate`")]
    Older {
        /// The database's version; 0 when it is empty.
        found: usize,
        /// The version that this program needs.
        needed: usize,
    },
    /// The schema is newer, and so different that this program can't use it.
    #[error(
        "the database's schema has version {found}, and since its step {name} this program, which knows {supported}, \
         can't use it any more: use the newer program"
    )]
    Newer {
        /// The database's version.
        found: usize,
        /// The last one that this program knows.
        supported: usize,
        /// The step that it can't use.
        name: String,
    },
    /// A step of the schema was applied with a text that this program does not know.
    #[error(
        "the database's schema version {version} is not the one that this program makes: it was altered or is not ours"
    )]
    Altered {
        /// Which step.
        version: usize,
    },
    /// A step of the schema failed; the database is as before it.
    #[error("the step {name} of the database's schema failed, nothing of it was done: {cause}")]
    Step {
        /// Which one.
        name: String,
        /// Why.
        cause: String,
    },
    /// The database refused something else.
    #[error("the database refused: {cause}")]
    Database {
        /// Why.
        cause: String,
    },
}

/// What this process has heard of others.
#[derive(Default)]
struct Heard {
    marker: Option<i64>,
    changes: u64,
}

struct Shared {
    pool: Pool,
    creations: Creations,
    heard: Mutex<Heard>,
}

/// The open database.
pub struct PostgresStorage {
    shared: Arc<Shared>,
}

async fn connect(url: &str) -> std::result::Result<tokio_postgres::Client, OpenError> {
    let target = Target::parse(url, "kallglot").map_err(|cause| OpenError::Url { cause })?;
    target.connect().await.map_err(|cause| OpenError::Connect { cause })
}

/// Brings the database's schema to this program's version, if it is older. Answers with the steps that it took.
///
/// # Errors
/// See [`OpenError`]; the database is as it was after the last step that succeeded.
pub async fn migrate(url: &str) -> std::result::Result<Vec<String>, OpenError> {
    migration::migrate(&mut connect(url).await?, MIGRATIONS).await
}

/// The steps that [`migrate`] would take.
///
/// # Errors
/// See [`OpenError`].
pub async fn pending(url: &str) -> std::result::Result<Vec<String>, OpenError> {
    migration::pending(&connect(url).await?, MIGRATIONS).await
}

impl PostgresStorage {
    /// Opens the database, whose schema must be of this program's version, or of a newer one that this program can use.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(config: &Config) -> std::result::Result<Self, OpenError> {
        let client = connect(&config.url).await?;
        migration::check(&client, MIGRATIONS).await?;
        // By this name changes of this process are told from those of others.
        let name = client.query_one("SELECT 'kallglot ' || gen_random_uuid()", &[]).await;
        let name: String =
            name.and_then(|row| row.try_get(0)).map_err(|error| OpenError::Database { cause: full(&error) })?;
        let target = Target::parse(&config.url, &name).map_err(|cause| OpenError::Url { cause })?;
        let pool = Pool::new(target, config.connections_max);
        let shared = Shared { pool, creations: Creations::default(), heard: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs `work` in a transaction. It goes on when the caller stops waiting.
    async fn write<A, T>(&self, arguments: A, work: Work<A, T>) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let place = self.shared.pool.place().await?;
        let shared = Arc::clone(&self.shared);
        let job = tokio::spawn(async move { shared.run(&place, true, &arguments, work).await });
        job.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Makes a session; with others that one organization pays for, in one transaction.
    async fn create(&self, session: Prepared) -> Result<CreatePaid> {
        let Some(payer) = session.payer().map(str::to_owned) else {
            return self.write(session, |db, session| Box::pin(session.create(db))).await;
        };
        let (answer, leads) = self.shared.creations.join(&payer, session)?;
        if leads {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { creations::lead(&shared, payer).await });
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Runs `work` outside of a transaction.
    async fn read<A, T>(&self, arguments: A, work: Work<A, T>) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let place = self.shared.pool.place().await?;
        self.shared.run(&place, false, &arguments, work).await
    }
}

kallglot_storage_sql::repositories!(PostgresStorage);

fn lost() -> StorageError {
    StorageError::Internal { cause: "a job of the database was lost; see the log".into() }
}

/// How a job went that was run once.
enum Run<T> {
    Done(T),
    Failed(Failure),
}

impl Shared {
    /// Runs a job until it is done or can't be done.
    async fn run<A, T>(&self, place: &Place, transaction: bool, arguments: &A, work: Work<A, T>) -> Result<T> {
        let (mut again, mut reconnected) = (0, false);
        loop {
            let connection = self.pool.connection(place, reconnected).await?;
            let run = self.run_once(connection, transaction, arguments, work);
            let failure = match tokio::time::timeout(JOB_MAX, run).await {
                Ok(Run::Done(value)) => return Ok(value),
                Ok(Run::Failed(failure)) => failure,
                Err(_) => {
                    let cause = format!("no answer within {} s", JOB_MAX.as_secs());
                    return Err(StorageError::Unavailable { cause });
                }
            };
            // What may have been committed is not done again.
            let undone = failure.refused || !transaction;
            match failure.remedy {
                Remedy::Again if undone && again < AGAIN_MAX => again += 1,
                Remedy::Reconnect if undone && !reconnected => reconnected = true,
                _ => return Err(failure.error),
            }
        }
    }

    async fn run_once<A, T>(
        &self,
        connection: Arc<Connection>,
        transaction: bool,
        arguments: &A,
        work: Work<A, T>,
    ) -> Run<T> {
        let job = Job::new(Arc::clone(&connection));
        if !transaction {
            let result = work(&job, arguments).await;
            return match (result, job.failure()) {
                (Ok(value), None) => {
                    self.pool.give_back(connection);
                    Run::Done(value)
                }
                (Err(error), None) => {
                    self.pool.give_back(connection);
                    Run::Failed(Failure { remedy: Remedy::Tell, refused: true, error })
                }
                (_, Some(failure)) => {
                    if failure.remedy != Remedy::Reconnect {
                        self.pool.give_back(connection);
                    }
                    Run::Failed(failure)
                }
            };
        }
        let result = match job.begin().await {
            Ok(()) => work(&job, arguments).await,
            Err(error) => Err(error),
        };
        let failure = match result {
            Ok(value) => match job.commit().await {
                Ok(()) => {
                    self.pool.give_back(connection);
                    return Run::Done(value);
                }
                Err(failure) => failure,
            },
            // Before the commit was sent, nothing can have been committed.
            Err(error) => {
                // It may be only a consequence of what failed before it.
                let _ = job.settle().await;
                let first = job.failure().unwrap_or(Failure { remedy: Remedy::Tell, refused: true, error });
                Failure { refused: true, ..first }
            }
        };
        if failure.remedy != Remedy::Reconnect && job.roll_back().await {
            self.pool.give_back(connection);
        }
        Run::Failed(failure)
    }
}

#[async_trait]
impl Storage for PostgresStorage {
    async fn changes(&self) -> Result<u64> {
        let heard = || self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let marker = { heard().marker };
        let (next, others) = self.read(marker, |job, marker| Box::pin(changes_of_others(job, *marker))).await?;
        let mut heard = heard();
        heard.marker = Some(next);
        if others {
            heard.changes += 1;
        }
        Ok(heard.changes)
    }

    async fn close(&self) -> Result<()> {
        self.shared.pool.close(JOB_MAX).await;
        Ok(())
    }
}

/// Whether others have changed something after `marker`, and the marker after that.
async fn changes_of_others(job: &Job, marker: Option<i64>) -> Result<(i64, bool)> {
    let sql = format!(
        "SELECT horizon, EXISTS (SELECT 1 FROM gate_changes WHERE transaction > ?1 \
         AND writer <> current_setting('application_name')) OR ?1 < forgotten OR ?1 > horizon AS others FROM ({}) AS bounds",
        Job::DIALECT.gate_bounds
    );
    let read = |row: &dyn Row| Ok((number(row, "horizon")?, number(row, "others")? != 0));
    let (horizon, others) = job.first(&sql, params![marker.unwrap_or(0)], read).await?.unwrap_or((0, true));
    // Nothing is new at the first time.
    Ok((horizon, others && marker.is_some()))
}

fn number(row: &dyn Row, column: &str) -> Result<i64> {
    let none = || StorageError::Internal { cause: "the feed has no bounds".into() };
    i64::from_value(row.value(column)?).ok_or_else(none)
}
