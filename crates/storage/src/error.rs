//! What can go wrong in a database, as far as a caller can do something different about it.

/// Why the database did not do what was asked. Nothing was changed, except where a method says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is already something with this identity, or something that is referred to does not exist.
    #[error("the database refused it: {constraint}")]
    Conflict {
        /// The rule that it would break, such as `organizations.id`.
        constraint: String,
    },
    /// The database can't be written or read right now: locked by another process for too long, the disk is full, or it is
    /// shutting down. The same call can succeed later.
    #[error("the database is unavailable: {cause}")]
    Unavailable {
        /// For the log, not for clients.
        cause: String,
    },
    /// A stored value that no version of this program writes.
    #[error("the database holds an impossible value in {table}.{column} of `{id}`")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id.
        id: String,
    },
    /// A fault of this program or of the database.
    #[error("the database failed: {cause}")]
    Internal {
        /// For the log, not for clients.
        cause: String,
    },
}
