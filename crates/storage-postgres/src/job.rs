//! A connection as the shared queries see it, for the time of one job.
//!
//! A trip to the server is what costs. So a statement is sent as soon as it is asked for, behind those before it, and only who needs
//! an answer waits for one: the transaction's beginning goes with the first question, all rows that are written go with the commit.
//!
//! What must stay true: statements are sent in the order in which they were first asked for; nothing is reported as done before every
//! statement and the commit have been answered.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::TryStreamExt as _;
use kallglot_storage::StorageError;
use kallglot_storage_sql::{Dialect, Row, Sql, Value, account_with};
use tokio_postgres::{Client, Error, Statement};

use crate::failure::{Failure, Remedy, failure};
use crate::value::{Parameter, PostgresRow};

type Result<T> = std::result::Result<T, StorageError>;
type Answer = Pin<Box<dyn Future<Output = std::result::Result<u64, Error>> + Send>>;

/// Most statements that a connection keeps prepared. There are about a hundred.
const STATEMENTS_MAX: usize = 512;
/// Most statements that are under way before somebody waits for their answers.
const SENT_MAX: usize = 256;

static DIALECT: Dialect = Dialect {
    now_us: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    open_sessions: "sessions",
    account: account_with!("nextval('credit_ledger_sequence_seq')"),
    ledger_numbers: "SELECT nextval('credit_ledger_sequence_seq') FROM generate_series(1, ?1)",
    // Up to the oldest transaction that is under way; and what a backup of another server brought from this one's future.
    outbox_settled: "(transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint \
        OR transaction >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)",
    renumber: &[
        "SELECT setval('credit_ledger_sequence_seq', coalesce(max(sequence), 0) + 1, false) FROM credit_ledger",
        "SELECT setval('outbox_sequence_seq', coalesce(max(sequence), 0) + 1, false) FROM outbox",
        "SELECT setval('idempotency_answers_sequence_seq', coalesce(max(sequence), 0) + 1, false) FROM idempotency_answers",
        "SELECT setval('request_blocks_sequence_seq', coalesce(max(sequence), 0) + 1, false) FROM request_blocks",
    ],
    gate_places: "SELECT transaction AS place, sequence, kind, id, detail FROM gate_changes \
        WHERE transaction < pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
    gate_bounds: "SELECT forgotten, pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS horizon FROM gate_feed",
};

/// A connection and the statements that it has prepared.
pub(crate) struct Connection {
    pub(crate) client: Client,
    statements: Mutex<HashMap<Box<str>, Statement>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, statements: Mutex::default() }
    }

    async fn prepared(&self, sql: &str) -> std::result::Result<Statement, Error> {
        if let Some(statement) = locked(&self.statements).get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&sql.replace('?', "$")).await?;
        let mut statements = locked(&self.statements);
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }
}

/// What is known of a job's statements.
#[derive(Default)]
struct Progress {
    /// What was sent and is not answered yet, in order.
    sent: Vec<Answer>,
    /// The first that failed.
    failure: Option<Failure>,
}

/// A connection that is doing a job.
pub(crate) struct Job {
    connection: Arc<Connection>,
    /// Who is sending: one at a time, in the order of coming.
    sending: tokio::sync::Mutex<()>,
    progress: Mutex<Progress>,
}

/// Polls once, which is what sends a statement; with its answer if that is already there.
async fn sent<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        })
    })
    .await
}

impl Job {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, sending: tokio::sync::Mutex::default(), progress: Mutex::default() }
    }

    /// Begins a transaction, with the first statement.
    pub(crate) async fn begin(&self) -> Result<()> {
        let connection = Arc::clone(&self.connection);
        let begin = async move {
            connection.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            Ok(0)
        };
        let _turn = self.sending.lock().await;
        self.send(Box::pin(begin)).await
    }

    /// Commits; the transaction is over after it, also when it fails. A failure that is not `refused` leaves unknown what became of it.
    pub(crate) async fn commit(&self) -> std::result::Result<(), Failure> {
        let mut commit = pin!(self.connection.client.batch_execute("COMMIT"));
        let early = sent(commit.as_mut()).await;
        // The answers come in the order of the statements. After one that failed, this was none: the server has taken all back.
        let settled = self.settle().await;
        let committed = match early {
            Some(answer) => answer,
            None => commit.await,
        };
        match (self.failure(), settled, committed) {
            (Some(failure), ..) => Err(failure),
            (None, _, Err(error)) => Err(failure(&error)),
            (None, Err(error), Ok(())) => Err(Failure { remedy: Remedy::Tell, refused: false, error }),
            (None, Ok(()), Ok(())) => Ok(()),
        }
    }

    /// Takes everything back; says whether the connection can be used further.
    pub(crate) async fn roll_back(&self) -> bool {
        locked(&self.progress).sent.clear();
        self.connection.client.batch_execute("ROLLBACK").await.is_ok()
    }

    /// The first failure of a statement.
    pub(crate) fn failure(&self) -> Option<Failure> {
        locked(&self.progress).failure.clone()
    }

    /// Waits for the answers to all that was sent and not waited for.
    pub(crate) async fn settle(&self) -> Result<()> {
        let sent = std::mem::take(&mut locked(&self.progress).sent);
        for answer in sent {
            answer.await.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn failed(&self, error: &Error) -> StorageError {
        let failure = failure(error);
        let mut progress = locked(&self.progress);
        if progress.failure.is_none() && failure.remedy != Remedy::LookBefore {
            progress.failure = Some(failure.clone());
        }
        failure.error
    }

    /// Sends a statement without waiting for its answer. Whoever calls has the turn.
    async fn send(&self, mut statement: Answer) -> Result<()> {
        match sent(statement.as_mut()).await {
            Some(answer) => answer.map(drop).map_err(|error| self.failed(&error)),
            None => {
                let full = {
                    let mut progress = locked(&self.progress);
                    progress.sent.push(statement);
                    progress.sent.len() >= SENT_MAX
                };
                if full { self.settle().await } else { Ok(()) }
            }
        }
    }

    async fn rows(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<PostgresRow>> {
        let turn = self.sending.lock().await;
        let statement = self.connection.prepared(sql).await.map_err(|error| self.failed(&error))?;
        let parameters: Vec<Parameter> = params.iter().map(Parameter::of).collect();
        let mut answer = pin!(async {
            let rows = self.connection.client.query_raw(&statement, parameters).await?;
            rows.map_ok(PostgresRow).try_collect::<Vec<_>>().await
        });
        let early = sent(answer.as_mut()).await;
        drop(turn);
        self.settle().await?;
        let rows = match early {
            Some(rows) => rows,
            None => answer.await,
        };
        rows.map_err(|error| self.failed(&error))
    }
}

impl Sql for Job {
    const DIALECT: &'static Dialect = &DIALECT;

    async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<()> {
        let _turn = self.sending.lock().await;
        let statement = self.connection.prepared(sql).await.map_err(|error| self.failed(&error))?;
        let parameters: Vec<Parameter> = params.iter().map(Parameter::of).collect();
        let connection = Arc::clone(&self.connection);
        let answer = async move { connection.client.execute_raw(&statement, parameters).await };
        self.send(Box::pin(answer)).await
    }

    async fn lock(&self, sql: &str, params: &[Value<'_>]) -> Result<()> {
        // The weaker of the two locks that exclude each other: rows that refer to this one can be written meanwhile.
        self.execute(&format!("{sql} FOR NO KEY UPDATE"), params).await
    }

    async fn change(&self, sql: &str, params: &[Value<'_>]) -> Result<u64> {
        let turn = self.sending.lock().await;
        let statement = self.connection.prepared(sql).await.map_err(|error| self.failed(&error))?;
        let parameters: Vec<Parameter> = params.iter().map(Parameter::of).collect();
        let mut answer = pin!(self.connection.client.execute_raw(&statement, parameters));
        let early = sent(answer.as_mut()).await;
        drop(turn);
        self.settle().await?;
        let changed = match early {
            Some(changed) => changed,
            None => answer.await,
        };
        changed.map_err(|error| self.failed(&error))
    }

    async fn every<T: Send, F: Fn(&dyn Row) -> Result<T> + Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: F,
    ) -> Result<Vec<T>> {
        self.rows(sql, params).await?.iter().map(|row| read(row)).collect()
    }

    async fn first<T: Send, F: Fn(&dyn Row) -> Result<T> + Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: F,
    ) -> Result<Option<T>> {
        self.rows(sql, params).await?.first().map(|row| read(row)).transpose()
    }
}
