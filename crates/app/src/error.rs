//! What a use case can refuse or fail with: the public code and message apart from the private cause.

use kallglot_cluster::Unavailable;
use kallglot_core::error_code::ErrorCode;
use kallglot_storage::StorageError;

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the caller can be told.
    #[error("{}: {}", .0.code, .0.message)]
    Public(Box<Public>),
    /// Storage failed; the caller is told `service_unavailable` or `internal_error`.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What nodes share can't be asked; the caller is told `service_unavailable`.
    #[error(transparent)]
    Cluster(#[from] Unavailable),
}

/// What the caller is told.
#[derive(Debug, Clone)]
pub struct Public {
    /// The code of the registry.
    pub code: ErrorCode,
    /// What is wrong and what to do; the registry's sentence or a more exact one.
    pub message: String,
    /// The field that is wrong, for `validation_failed`; the permission, for `insufficient_permissions`.
    pub param: Option<String>,
    /// When it makes sense to try again, in seconds from now.
    pub retry_after_s: Option<u32>,
}

impl Error {
    /// `code` with the registry's message.
    pub fn of(code: ErrorCode) -> Self {
        Self::with(code, code.row().message)
    }

    /// `code` with a message of its own.
    pub fn with(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Public(Box::new(Public { code, message: message.into(), param: None, retry_after_s: None }))
    }

    /// 422 for a field.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::with(ErrorCode::ValidationFailed, message).param(param)
    }

    /// With what it is about.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        if let Self::Public(public) = &mut self {
            public.param = Some(param.into());
        }
        self
    }

    /// With when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        if let Self::Public(public) = &mut self {
            public.retry_after_s = Some(seconds);
        }
        self
    }

    /// The public code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Public(public) => public.code,
            Self::Cluster(_) | Self::Storage(StorageError::Unavailable { .. }) => ErrorCode::ServiceUnavailable,
            Self::Storage(_) => ErrorCode::InternalError,
        }
    }
}
