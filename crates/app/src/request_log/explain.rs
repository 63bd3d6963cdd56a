//! Why a request was refused: which check of the gate did it, and what to do about it (contract section 3).

use kallglot_core::error_code::ErrorCode;
use kallglot_core::request_record::RequestRecord;

/// Why a request was refused, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Which step of the gate refused it, 1 to 11.
    pub step: u8,
    /// What that step checks, in one word.
    pub check: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// The explanation of a refusal or failure; none for a success.
pub fn explain(record: &RequestRecord) -> Option<Explanation> {
    let code = ErrorCode::parse(record.code.as_deref()?)?;
    let message = code.row().message.to_owned();
    let param = record.param.as_deref();
    let at = |step, check, fix: &str| Some(Explanation { step, check, message: message.clone(), fix: fix.to_owned() });
    match code {
        ErrorCode::ApiKeyInvalid | ErrorCode::TooManyFailedAttempts => {
            at(2, "credential", "Send a valid key in `Authorization: Bearer <key>` or `X-API-Key: <key>`.")
        }
        ErrorCode::ApiKeyRevoked => at(3, "key_state", "Use another key; a revoked one never works again."),
        ErrorCode::ApiKeyExpired => at(3, "key_state", "Use the new secret, or a key that has not expired."),
        ErrorCode::ApiKeyWrongEnvironment => at(
            3,
            "key_state",
            "Use a key of the environment (`sk_live_…` or `sk_test_…`) that this server and the object belong to.",
        ),
        ErrorCode::IpNotAllowed => {
            let fix =
                format!("Add {} to the key's allow-list, or send the request from an address on it.", record.address);
            at(3, "key_state", &fix)
        }
        ErrorCode::RateLimitExceeded => {
            let limits = record.limits;
            let whose =
                if limits.is_some_and(|limits| limits.rate_of_key) { "the key's own" } else { "the organization's" };
            let limit = limits.map_or(0, |limits| limits.rate_limit);
            let resets = limits.map_or(0, |limits| limits.rate_resets_at_s);
            let fix = format!(
                "{limit} requests per minute are {whose} limit; its window ended at Unix time {resets}. Wait for `Retry-After`, spread requests, or ask for a higher limit."
            );
            at(4, "rate_limit", &fix)
        }
        ErrorCode::OrganizationInactive => at(5, "organization", "Renew the organization's subscription."),
        ErrorCode::InsufficientPermissions => {
            let fix = match param {
                Some(permission) => format!("Use a key with the permission `{permission}`, or add it to this key."),
                None => "Use a key with more permissions.".to_owned(),
            };
            at(6, "permission", &fix)
        }
        ErrorCode::IdempotencyConflict => {
            at(7, "idempotency", "Wait for `Retry-After`; then the first request's answer is given again.")
        }
        ErrorCode::IdempotencyMismatch => {
            at(7, "idempotency", "Use a new `Idempotency-Key` for a request that differs in path or body.")
        }
        ErrorCode::InvalidRequest
        | ErrorCode::ValidationFailed
        | ErrorCode::ProviderFieldNotAllowed
        | ErrorCode::PayloadTooLarge
        | ErrorCode::UnsupportedMediaType => {
            let fix = match param {
                Some(field) => format!("Correct `{field}`; the answer's `message` says what it may be."),
                None => "Correct the request; the answer's `message` says what is wrong.".to_owned(),
            };
            at(8, "validation", &fix)
        }
        ErrorCode::ConcurrentSessionLimitExceeded => {
            let sessions = record.limits.and_then(|limits| limits.sessions);
            let fix = match sessions {
                Some((in_use, limit)) => {
                    format!(
                        "{in_use} of {limit} concurrent sessions were in use. End sessions that are over, or ask for a higher limit."
                    )
                }
                None => "End sessions that are over, or ask for a higher limit.".to_owned(),
            };
            at(9, "concurrent_sessions", &fix)
        }
        ErrorCode::InsufficientApiCredits => at(10, "credits", "Buy or grant more credits."),
        ErrorCode::InternalError | ErrorCode::ServiceUnavailable | ErrorCode::ProviderError | ErrorCode::DialFailed => {
            at(
                11,
                "work",
                "Try again with the same `Idempotency-Key`; if it stays, ask support with this request's id.",
            )
        }
        _ => at(11, "work", "The request was let in; what it asked for is not possible. See the answer's `message`."),
    }
}
