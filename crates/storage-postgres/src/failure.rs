//! What PostgreSQL's errors mean to the rest of the program.

use kallglot_storage::StorageError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

/// The constraint by which an idempotency key has one answer.
const ONE_ANSWER: &str = "idempotency_answers_once";

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing helps but to say so.
    Tell,
    /// Another transaction was in the way: the same again will find it finished.
    Again,
    /// The connection can't be used any more, or not for this. What was not committed can be tried on another.
    Reconnect,
    /// An error before this one has ended the transaction.
    LookBefore,
}

/// An error and what to do about it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) remedy: Remedy,
    /// Whether the server has said so. Otherwise what was sent before may have been done, or be done yet.
    pub(crate) refused: bool,
    pub(crate) error: StorageError,
}

/// `Unavailable`, with what to do about it.
fn unavailable(remedy: Remedy, refused: bool, cause: String) -> Failure {
    Failure { remedy, refused, error: StorageError::Unavailable { cause } }
}

/// What to make of what the client says.
pub(crate) fn failure(error: &Error) -> Failure {
    match error.as_db_error() {
        Some(refused) => refusal(refused),
        None if error.is_closed() || is_transport(error) => unavailable(Remedy::Reconnect, false, full(error)),
        None => Failure { remedy: Remedy::Tell, refused: false, error: StorageError::Internal { cause: full(error) } },
    }
}

/// The error with its causes: the client's own text leaves them out.
pub(crate) fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn is_transport(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

fn refusal(error: &DbError) -> Failure {
    let code = error.code();
    let cause = format!("{}: {}", code.code(), error.message());
    let conflict = || {
        let table = error.table().unwrap_or("?");
        let constraint = format!("{table}.{}", error.constraint().or(error.column()).unwrap_or("?"));
        StorageError::Conflict { constraint }
    };
    if *code == SqlState::UNIQUE_VIOLATION && error.constraint() == Some(ONE_ANSWER) {
        // Two requests under one key at once: the second one finds the first one's answer.
        return Failure { remedy: Remedy::Again, refused: true, error: conflict() };
    }
    if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
        return unavailable(Remedy::Again, true, cause);
    }
    if *code == SqlState::IN_FAILED_SQL_TRANSACTION {
        return Failure { remedy: Remedy::LookBefore, refused: true, error: StorageError::Internal { cause } };
    }
    // A plan that another version's change of the schema has made unusable, a statement that a connection has lost, and a server
    // that has become a standby: another connection has none of them.
    let stale =
        [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::READ_ONLY_SQL_TRANSACTION];
    if stale.contains(code) {
        return unavailable(Remedy::Reconnect, true, cause);
    }
    match code.code().get(..2) {
        // Integrity.
        Some("23") => Failure { remedy: Remedy::Tell, refused: true, error: conflict() },
        // The connection; the server is ending, starting or in trouble.
        Some("08" | "57" | "58") if *code != SqlState::QUERY_CANCELED => unavailable(Remedy::Reconnect, true, cause),
        // Out of resources, too many connections; locks and statements that took too long.
        Some("53" | "55" | "57") => unavailable(Remedy::Tell, true, cause),
        _ if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => unavailable(Remedy::Reconnect, true, cause),
        _ => Failure { remedy: Remedy::Tell, refused: true, error: StorageError::Internal { cause } },
    }
}
