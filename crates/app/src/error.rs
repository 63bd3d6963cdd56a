//! What a use case can refuse or fail with: the public code and message apart from the private cause.

use kallglot_core::error_code::ErrorCode;
use kallglot_storage::StorageError;

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the caller can be told.
    #[error("{code}: {message}")]
    Public {
        /// The code of the registry.
        code: ErrorCode,
        /// What is wrong and what to do; the registry's sentence or a more exact one.
        message: String,
        /// The field that is wrong, for `validation_failed`.
        param: Option<String>,
    },
    /// Storage failed; the caller is told `service_unavailable` or `internal_error`.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Error {
    /// `code` with the registry's message.
    pub fn of(code: ErrorCode) -> Self {
        Self::with(code, code.row().message)
    }

    /// `code` with a message of its own.
    pub fn with(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Public { code, message: message.into(), param: None }
    }

    /// 422 for a field.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Public { code: ErrorCode::ValidationFailed, message: message.into(), param: Some(param.into()) }
    }

    /// The public code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Public { code, .. } => *code,
            Self::Storage(StorageError::Unavailable { .. }) => ErrorCode::ServiceUnavailable,
            Self::Storage(_) => ErrorCode::InternalError,
        }
    }
}
