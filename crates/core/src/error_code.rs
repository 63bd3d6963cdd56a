//! The registry of every public error code (contract sections 9 and 11): the one place that says what a code means.
//!
//! The HTTP answers, the stream's errors, the OpenAPI document and the docs page are all made from this table. The names and
//! statuses that edition 1 gives some of them are in [`crate::edition`]; ask [`crate::edition::Edition::error_shape`].

use crate::session::named;

named! {
    /// The family of an error, edition 1's and edition 2's together.
    ErrorType {
        /// The request is wrong.
        InvalidRequest = "invalid_request_error",
        /// The credential is wrong.
        Authentication = "authentication_error",
        /// The credential is right but may not do this.
        Permission = "permission_error",
        /// There is no such object.
        NotFound = "not_found_error",
        /// The object's state does not allow this.
        Conflict = "conflict_error",
        /// Too much, too fast.
        RateLimit = "rate_limit_error",
        /// The server failed.
        Api = "api_error",
        /// Somebody the server depends on failed.
        Provider = "provider_error",
        /// Edition 1's name for [`ErrorType::Permission`].
        Authorization = "authorization_error",
        /// Edition 1's name for [`ErrorType::InvalidRequest`].
        Validation = "validation_error",
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal $status:tt $type:ident close $close:tt $retry:ident $message:literal;)*) => {
        /// A public error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $(#[doc = concat!("`", $text, "`: ", $message)] $(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code's row.
            pub const fn row(self) -> &'static ErrorRow {
                match self {
                    $(Self::$variant => &ErrorRow {
                        code: $text,
                        status: codes!(@number $status),
                        error_type: ErrorType::$type,
                        close_code: codes!(@number $close),
                        retryable: codes!(@retry $retry),
                        message: $message,
                    },)*
                }
            }

            /// The code of this (edition 2) name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
    (@number -) => { None };
    (@number $number:literal) => { Some($number) };
    (@retry retry) => { true };
    (@retry final) => { false };
}

/// What there is to know about one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRow {
    /// The code's name in edition 2.
    pub code: &'static str,
    /// The HTTP status in edition 2; none for a code that only streams use.
    pub status: Option<u16>,
    /// The family in edition 2.
    pub error_type: ErrorType,
    /// The WebSocket close code that follows it on a stream, when it ends one by itself or by being kept up.
    pub close_code: Option<u16>,
    /// Whether the same request can succeed later without being changed.
    pub retryable: bool,
    /// What is wrong and what to do, where nothing more exact is known.
    pub message: &'static str,
}

// name, HTTP status (- for stream only), type, close code (- for none), and whether to try again
codes! {
    InvalidRequest = "invalid_request" 400 InvalidRequest close - final
        "The request is malformed. Compare it with the API reference.";
    IdempotencyMismatch = "idempotency_mismatch" 400 InvalidRequest close - final
        "This Idempotency-Key was used for a different request. Use a new key for a new request.";
    InvalidAudioFormat = "invalid_audio_format" 400 InvalidRequest close - final
        "Only mu-law audio at 8000 Hz with one channel is accepted, 10 to 1000 ms in a frame.";
    ProviderFieldNotAllowed = "provider_field_not_allowed" 400 InvalidRequest close - final
        "`provider` is not a field of this edition. Say how to reach the call in `routing`.";

    ApiKeyInvalid = "api_key_invalid" 401 Authentication close - final
        "The API key is missing, malformed or unknown. Send it as `Authorization: Bearer sk_…`.";
    ApiKeyExpired = "api_key_expired" 401 Authentication close - final
        "The API key has expired. Use the new key, or create one.";
    ApiKeyRevoked = "api_key_revoked" 401 Authentication close - final
        "The API key has been revoked. Create a new key.";
    ApiKeyWrongEnvironment = "api_key_wrong_environment" 401 Authentication close - final
        "The API key belongs to the other environment. Use a live key for live data and a test key for test data.";
    StreamTokenInvalid = "stream_token_invalid" 401 Authentication close - final
        "The stream token is missing or is not one of this session. Take `stream.token` from the session.";
    StreamTokenExpired = "stream_token_expired" 401 Authentication close - final
        "The stream token has expired. Get the session again for a fresh one.";

    InsufficientApiCredits = "insufficient_api_credits" 402 Permission close - final
        "API credits exhausted. Purchase more credits to continue.";

    InsufficientPermissions = "insufficient_permissions" 403 Permission close - final
        "The API key lacks a permission that this request needs.";
    OrganizationInactive = "organization_inactive" 403 Permission close - final
        "The organization's subscription is inactive. Activate it to continue.";
    IpNotAllowed = "ip_not_allowed" 403 Permission close - final
        "The API key does not allow requests from this address. Add the address to the key's allow-list.";

    SessionNotFound = "session_not_found" 404 NotFound close - final
        "There is no such session.";
    RecordingNotFound = "recording_not_found" 404 NotFound close - final
        "There is no such recording.";
    TranscriptNotFound = "transcript_not_found" 404 NotFound close - final
        "There is no such transcript.";
    AnalysisNotFound = "analysis_not_found" 404 NotFound close - final
        "There is no such analysis.";
    AgentNotFound = "agent_not_found" 404 NotFound close - final
        "There is no such agent.";
    WebhookNotFound = "webhook_not_found" 404 NotFound close - final
        "There is no such webhook endpoint.";
    NotFound = "not_found" 404 NotFound close - final
        "There is nothing at this address. Check the path.";

    MethodNotAllowed = "method_not_allowed" 405 InvalidRequest close - final
        "This address does not answer to this method.";
    PayloadTooLarge = "payload_too_large" 413 InvalidRequest close 1009 final
        "The request is too large.";
    UnsupportedMediaType = "unsupported_media_type" 415 InvalidRequest close - final
        "The body must be JSON. Send it with `Content-Type: application/json`.";

    IdempotencyConflict = "idempotency_conflict" 409 Conflict close - retry
        "The first request with this Idempotency-Key is still running. Try again shortly.";
    SessionAlreadyEnded = "session_already_ended" 409 Conflict close - final
        "The session has ended. Create a new one.";
    TranscriptNotAvailable = "transcript_not_available" 409 Conflict close - final
        "The session has no transcript to work on.";

    RecordingExpired = "recording_expired" 410 NotFound close - final
        "The recording's retention has passed and it was deleted.";

    ValidationFailed = "validation_failed" 422 InvalidRequest close - final
        "A field of the body is not as it must be; `param` says which.";

    RateLimitExceeded = "rate_limit_exceeded" 429 RateLimit close - retry
        "Too many requests. Wait as long as `Retry-After` says.";
    ConcurrentSessionLimitExceeded = "concurrent_session_limit_exceeded" 429 RateLimit close - retry
        "Too many sessions at the same time. End one, or try again when one has ended.";
    TooManyFailedAttempts = "too_many_failed_attempts" 429 RateLimit close - retry
        "Too many requests without a valid API key from this address. Wait as long as `Retry-After` says.";

    InternalError = "internal_error" 500 Api close 1011 retry
        "Something went wrong on our side. Try again; if it goes on, tell us the request id.";
    ProviderError = "provider_error" 502 Provider close - retry
        "The provider did not do what was asked of it. Try again.";
    DialFailed = "dial_failed" 502 Provider close - retry
        "The call could not be connected.";
    ServiceUnavailable = "service_unavailable" 503 Api close 1001 retry
        "The server can't do this right now. Try again shortly.";

    MalformedMessage = "malformed_message" - InvalidRequest close 4400 final
        "The message is no JSON text frame of a known type. See the stream's reference.";
    SpeakerNotAllowed = "speaker_not_allowed" - Permission close - final
        "This connection may send only the audio of the party that it was opened for.";
    StreamRateExceeded = "stream_rate_exceeded" - RateLimit close 4429 retry
        "Messages or audio come faster than the plan allows. Send audio at the speed of speech.";
    TooManyStreams = "too_many_streams" - RateLimit close 4429 retry
        "The session has as many connections as it may have. Close one first.";
    AudioDropped = "audio_dropped" - RateLimit close - final
        "Audio was dropped because this connection does not read fast enough.";
    EngineUnavailable = "engine_unavailable" - Provider close - final
        "No speech engine can do this session's languages right now. The call goes on without translation.";
    EngineFailed = "engine_failed" - Provider close - final
        "The speech engine failed on a part of the call. The call goes on.";
    AccessRevoked = "access_revoked" - Authentication close 4401 final
        "The session's access has been revoked.";
    SessionIdle = "session_idle" - Api close 4408 final
        "Nothing has happened for too long.";
}

impl ErrorCode {
    /// The code's name in edition 2.
    pub const fn as_str(self) -> &'static str {
        self.row().code
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Contract section 9, row by row.
    const SECTION_9: &[(u16, ErrorType, &[&str])] = &[
        (
            400,
            ErrorType::InvalidRequest,
            &["invalid_request", "idempotency_mismatch", "invalid_audio_format", "provider_field_not_allowed"],
        ),
        (
            401,
            ErrorType::Authentication,
            &[
                "api_key_invalid",
                "api_key_expired",
                "api_key_revoked",
                "api_key_wrong_environment",
                "stream_token_invalid",
                "stream_token_expired",
            ],
        ),
        (402, ErrorType::Permission, &["insufficient_api_credits"]),
        (403, ErrorType::Permission, &["insufficient_permissions", "organization_inactive", "ip_not_allowed"]),
        (
            404,
            ErrorType::NotFound,
            &[
                "session_not_found",
                "recording_not_found",
                "transcript_not_found",
                "analysis_not_found",
                "agent_not_found",
                "webhook_not_found",
                "not_found",
            ],
        ),
        (405, ErrorType::InvalidRequest, &["method_not_allowed"]),
        (413, ErrorType::InvalidRequest, &["payload_too_large"]),
        (415, ErrorType::InvalidRequest, &["unsupported_media_type"]),
        (409, ErrorType::Conflict, &["idempotency_conflict", "session_already_ended", "transcript_not_available"]),
        (410, ErrorType::NotFound, &["recording_expired"]),
        (422, ErrorType::InvalidRequest, &["validation_failed"]),
        (
            429,
            ErrorType::RateLimit,
            &["rate_limit_exceeded", "concurrent_session_limit_exceeded", "too_many_failed_attempts"],
        ),
        (500, ErrorType::Api, &["internal_error"]),
        (502, ErrorType::Provider, &["provider_error", "dial_failed"]),
        (503, ErrorType::Api, &["service_unavailable"]),
    ];

    #[test]
    fn the_http_codes_are_exactly_the_contracts() {
        let mut expected = BTreeSet::new();
        for (status, error_type, codes) in SECTION_9 {
            for code in *codes {
                let row = ErrorCode::parse(code).unwrap_or_else(|| panic!("{code} is missing")).row();
                assert_eq!((row.status, row.error_type), (Some(*status), *error_type), "{code}");
                expected.insert(*code);
            }
        }
        let http: BTreeSet<_> =
            ErrorCode::ALL.iter().filter(|c| c.row().status.is_some()).map(|c| c.as_str()).collect();
        assert_eq!(http, expected);
    }

    #[test]
    fn no_two_codes_have_one_name_and_each_says_what_to_do() {
        let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!(code.row().message.ends_with('.') && code.row().message.len() > 20, "{code}");
        }
    }

    #[test]
    fn close_codes_are_the_contracts_or_the_protocols() {
        let allowed = [1001, 1009, 1011, 4400, 4401, 4408, 4429];
        for code in ErrorCode::ALL {
            assert!(code.row().close_code.is_none_or(|close| allowed.contains(&close)), "{code}");
        }
    }
}
