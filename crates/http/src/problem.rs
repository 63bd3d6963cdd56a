//! A refusal or a failure on its way out. The middleware in `context` gives it a body: it alone knows request id and edition.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::redact::redact;
use kallglot_storage::StorageError;

/// Most bytes of a message and of a param: what a client sends is neither sent back to it nor logged at length.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1_000;
pub(crate) const PARAM_BYTES_MAX: usize = 200;

/// A text in which something may be that the client wrote, fit to be shown and logged: without secrets, and cut.
fn shown(text: String, bytes_max: usize) -> String {
    const CUT: &str = "…";
    let text = redact(&text).into_owned();
    if text.len() <= bytes_max {
        return text;
    }
    format!("{}{CUT}", &text[..text.floor_char_boundary(bytes_max - CUT.len())])
}

/// What the client is told.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) retry_after_s: Option<u32>,
    /// For the log alone.
    pub(crate) cause: Option<String>,
}

impl Problem {
    /// `code` with the registry's message.
    pub(crate) fn of(code: ErrorCode) -> Self {
        Self { code, message: code.row().message.into(), param: None, retry_after_s: None, cause: None }
    }

    /// `code` with a more exact message, without the secrets that may be in it.
    pub(crate) fn with(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: shown(message.into(), MESSAGE_BYTES_MAX), ..Self::of(code) }
    }

    /// With this message, unless it is about how often the client tries.
    pub(crate) fn saying(self, message: &str) -> Self {
        if self.code == ErrorCode::ApiKeyInvalid { Self { message: message.into(), ..self } } else { self }
    }

    /// 422 for a field.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(shown(param.into(), PARAM_BYTES_MAX)), ..Self::with(ErrorCode::ValidationFailed, message) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // The status is the registry's; the edition may have another, which the middleware sets.
        let status = self.code.row().status.and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let (code, retry_after_s) = match error {
            StorageError::Unavailable { .. } => (ErrorCode::ServiceUnavailable, Some(1)),
            _ => (ErrorCode::InternalError, None),
        };
        Self { retry_after_s, cause: Some(error.to_string()), ..Self::of(code) }
    }
}
