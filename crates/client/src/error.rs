//! What can go wrong between this client and a server.

use serde::Deserialize;

/// The error that a server answers with (contract section 9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code}, status {status}{})", self.request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default())]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The error's type, for example `permission_error`; empty when the answer was not the API's.
    pub kind: String,
    /// The error's code, for example `api_key_invalid`; empty when the answer was not the API's.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The field or parameter that is wrong.
    pub param: Option<String>,
    /// The request's id, to be told to who runs the server.
    pub request_id: Option<String>,
    /// In how many seconds it may work.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// Reads the error of an answer; a body that is none is kept as the message, shortened.
    pub(crate) fn of(status: u16, body: &[u8]) -> Box<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            error: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            #[serde(rename = "type", default)]
            kind: String,
            code: String,
            message: String,
            #[serde(default)]
            param: Option<String>,
            #[serde(default)]
            request_id: Option<String>,
            #[serde(default)]
            retry_after: Option<u64>,
        }
        match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error: Fields { kind, code, message, param, request_id, retry_after } }) => {
                Box::new(Self { status, kind, code, message, param, request_id, retry_after })
            }
            Err(_) => {
                let text: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
                let message = if text.is_empty() {
                    "an answer without a reason".to_owned()
                } else {
                    format!("an answer that is not the API's: {text}")
                };
                Box::new(Self {
                    status,
                    kind: String::new(),
                    code: String::new(),
                    message,
                    param: None,
                    request_id: None,
                    retry_after: None,
                })
            }
        }
    }
}

/// Why a REST request gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address can't be used.
    #[error("`{url}` is not an http:// or https:// address of a server")]
    Address {
        /// The address as given.
        url: String,
    },
    /// The API key has characters that a header can't carry.
    #[error("the API key has characters that no key has (a line break or a blank?)")]
    Key,
    /// No answer came.
    #[error("no answer from {origin}: {reason}")]
    Unreachable {
        /// The server's scheme, host and port.
        origin: String,
        /// Why.
        reason: String,
    },
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Box<ApiError>),
    /// The answer was not what the API promises.
    #[error("the server's answer (status {status}) is not what the API promises: {reason}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The stream's address or token can't be used.
    #[error("the stream's address or token can't be used: {reason}")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// The server answered before the upgrade, and said no.
    #[error(transparent)]
    Refused(#[from] Box<ApiError>),
    /// No connection, or one that is no WebSocket.
    #[error("no stream from {host}: {reason}")]
    Unreachable {
        /// The server's host and port.
        host: String,
        /// Why.
        reason: String,
    },
}
