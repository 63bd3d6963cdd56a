//! What SQLite's errors mean to the rest of the program.

use kallglot_storage::StorageError;
use rusqlite::ErrorCode;

/// The storage error for what SQLite said.
pub(crate) fn storage_error(error: rusqlite::Error) -> StorageError {
    let rusqlite::Error::SqliteFailure(code, message) = &error else {
        return StorageError::Internal { cause: error.to_string() };
    };
    match code.code {
        ErrorCode::ConstraintViolation => {
            // "UNIQUE constraint failed: organizations.id" → "organizations.id"
            let message = message.as_deref().unwrap_or("a constraint");
            let constraint = message.split_once(": ").map_or(message, |(_, names)| names).to_owned();
            StorageError::Conflict { constraint }
        }
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::DiskFull
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly
        | ErrorCode::CannotOpen
        | ErrorCode::SystemIoFailure => StorageError::Unavailable { cause: error.to_string() },
        _ => StorageError::Internal { cause: error.to_string() },
    }
}
