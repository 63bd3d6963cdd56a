//! What is not answered with the page that was asked for: errors as pages, and redirections. The only place where an error becomes one.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use kallglot_app::Error;
use kallglot_core::error_code::ErrorCode;
use kallglot_storage::StorageError;
use maud::html;

use crate::layout;

/// Why a request gets another answer than it asked for.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// An error, as a page.
    Page {
        /// Its status.
        status: StatusCode,
        /// What is wrong, in a few words.
        title: &'static str,
        /// What is wrong and what to do.
        message: String,
        /// In how many seconds it makes sense to try again.
        retry_after_s: Option<u32>,
        /// For the log alone.
        cause: Option<String>,
    },
    /// Another page is to be seen first: 303.
    SeeOther(String),
}

impl Refusal {
    pub(crate) fn page(status: StatusCode, title: &'static str, message: impl Into<String>) -> Self {
        Self::Page { status, title, message: message.into(), retry_after_s: None, cause: None }
    }

    /// 404: also for what is there, but not for this person.
    pub(crate) fn not_found() -> Self {
        let message = "There is nothing at this address, or nothing that you may see.";
        Self::page(StatusCode::NOT_FOUND, "Not found", message)
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::page(StatusCode::FORBIDDEN, "Not allowed", message)
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::page(StatusCode::BAD_REQUEST, "That can't be read", message)
    }

    /// 500, with what is to be logged.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let message = "Something went wrong on the server. Try again; if it happens again, tell whoever runs it the request's number.";
        Self::Page {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            title: "That did not work",
            message: message.into(),
            retry_after_s: None,
            cause: Some(cause.into()),
        }
    }

    fn unavailable(cause: impl Into<String>) -> Self {
        Self::Page {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: "Not now",
            message: "The server can't reach a part of itself at the moment. Try again in a few seconds.".into(),
            retry_after_s: Some(2),
            cause: Some(cause.into()),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Public(public) => match public.code {
                ErrorCode::InternalError => Self::internal(public.message),
                ErrorCode::NotFound
                | ErrorCode::ApiKeyWrongEnvironment
                | ErrorCode::SessionNotFound
                | ErrorCode::RecordingNotFound
                | ErrorCode::TranscriptNotFound
                | ErrorCode::AnalysisNotFound
                | ErrorCode::WebhookNotFound => Self::not_found(),
                code => {
                    let status = code.row().status.and_then(|status| StatusCode::from_u16(status).ok());
                    let status = status.unwrap_or(StatusCode::BAD_REQUEST);
                    Self::Page {
                        status,
                        title: "That can't be done",
                        message: public.message,
                        retry_after_s: public.retry_after_s,
                        cause: None,
                    }
                }
            },
            Error::Storage(error) => error.into(),
            Error::Cluster(error) => Self::unavailable(error.to_string()),
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable { .. } => Self::unavailable(error.to_string()),
            error => Self::internal(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title, message, retry_after_s, cause) = match self {
            Self::SeeOther(to) => return Redirect::to(&to).into_response(),
            Self::Page { status, title, message, retry_after_s, cause } => {
                (status, title, message, retry_after_s, cause)
            }
        };
        match cause {
            Some(cause) if status == StatusCode::SERVICE_UNAVAILABLE => {
                tracing::debug!(cause, "a page can't be shown now")
            }
            Some(cause) => tracing::error!(cause, "a page failed"),
            None => {}
        }
        let body = html! {
            p { (message) }
            p { a href="/portal" { "To the portal's start" } }
        };
        let mut response = (status, layout::card(title, body)).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
