//! What stands behind each error code: when it comes, and what helps. The registry's own sentence is not repeated here.

use kallglot_core::error_code::ErrorCode;

/// When `code` comes and what to do, in a few sentences with `code` in backticks.
pub(super) const fn of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest => {
            "The body is not JSON, a header has a value that it can't have, or the request holds two different keys. `message` says which. Nothing was done."
        }
        ErrorCode::IdempotencyMismatch => {
            "The key was used during the last 24 hours for another method, path or body. Every request of its own needs a key of its own; only when the same request is sent again, send the same key."
        }
        ErrorCode::InvalidAudioFormat => {
            "On a stream it refuses one frame, and the stream goes on. Convert the audio to mu-law (G.711) at 8000 Hz with one channel before it is sent."
        }
        ErrorCode::ProviderFieldNotAllowed => {
            "Edition 1 takes `provider` in a new session, edition 2 does not. Give `routing` instead, or send `Kallglot-Edition: 1`."
        }
        ErrorCode::ApiKeyInvalid => {
            "The header is missing or has another scheme, the key was cut or mistyped, or there is no such key. Compare its last four characters with those in your list of keys. A stream token (`kst_…`) is no API key."
        }
        ErrorCode::ApiKeyExpired => {
            "The key's `expires_at` has passed, or its secret was replaced by a rotation and the grace period is over. After a rotation, use the new secret."
        }
        ErrorCode::ApiKeyRevoked => {
            "Somebody revoked it, or its secret was reported as leaked. It never works again. The audit log says who did it and when."
        }
        ErrorCode::ApiKeyWrongEnvironment => {
            "Either this server answers only for the other environment, or the object that you ask for belongs to it. Live and test data are strangers to each other."
        }
        ErrorCode::StreamTokenInvalid => {
            "Streams take `stream.token` of their own session, not an API key. The token dies with the session. Get the session again for a fresh one."
        }
        ErrorCode::StreamTokenExpired => {
            "A token is for connecting soon after it was given out; an open stream outlives it. Get the session with a key that has `sessions:write` for a fresh one."
        }
        ErrorCode::InsufficientApiCredits => {
            "Nothing was done and nothing was taken. `X-API-Credits-Remaining` tells how many credits are left. Test keys need none."
        }
        ErrorCode::InsufficientPermissions => {
            "`param` names the permission that is missing, and so does `scope` in `WWW-Authenticate`. A key whose secret was reported as leaked may be in quarantine and can only read. A key can't make or change another one that may do more than itself."
        }
        ErrorCode::OrganizationInactive => "No key of the organization works until its subscription is active again.",
        ErrorCode::IpNotAllowed => {
            "The key has an allow-list. `GET /v1/whoami`, asked from an address on it, tells `allowed_ips` and how the server sees your address. Behind a proxy, its address may be the one that counts."
        }
        ErrorCode::SessionNotFound
        | ErrorCode::RecordingNotFound
        | ErrorCode::TranscriptNotFound
        | ErrorCode::AnalysisNotFound
        | ErrorCode::AgentNotFound
        | ErrorCode::WebhookNotFound => {
            "The id is mistyped, or it belongs to another organization, whose objects do not exist for you."
        }
        ErrorCode::NotFound => "The path is mistyped, or the id in it names nothing of your organization.",
        ErrorCode::MethodNotAllowed => "The header `Allow` names the methods that this address has.",
        ErrorCode::PayloadTooLarge => "A body holds at most 256 KiB, a stream's frame at most 64 KiB.",
        ErrorCode::UnsupportedMediaType => "Only JSON is read. An empty body needs no content type.",
        ErrorCode::IdempotencyConflict => {
            "It is answered within a minute. When it is, the same request with the same key gets that answer."
        }
        ErrorCode::SessionAlreadyEnded => "An ended session never changes; its transcript stays.",
        ErrorCode::TranscriptNotAvailable => "Nothing was said in it, or it was not transcribed.",
        ErrorCode::RecordingExpired => "Its `expires_at` has passed. The bytes are gone for good.",
        ErrorCode::ValidationFailed => {
            "`param` names the first field or parameter that is wrong, `message` what it must be. Names that the request does not have are refused too, so that a misspelt one is not ignored. Nothing was done."
        }
        ErrorCode::RateLimitExceeded => {
            "All keys of the organization share one limit per environment; a key may have a lower one of its own. `RateLimit-Policy` and `RateLimit` tell which is used up. A refused request does not count."
        }
        ErrorCode::ConcurrentSessionLimitExceeded => {
            "A session counts until it has ended, or until its first stream token has expired and nobody has joined. End those that are over."
        }
        ErrorCode::TooManyFailedAttempts => {
            "It protects keys from being searched for. A valid key from the same address still works, and no quota of yours is touched."
        }
        ErrorCode::InternalError => {
            "It is our mistake, and it is in our log under the request id. Send the request again with the same `Idempotency-Key`: it is done at most once."
        }
        ErrorCode::ProviderError => "A carrier or an engine that we depend on refused or failed.",
        ErrorCode::DialFailed => "The number is wrong, busy or not reachable, or the carrier refused the call.",
        ErrorCode::ServiceUnavailable => {
            "The database does not answer or the server is being restarted. Wait as long as `Retry-After` says."
        }
        ErrorCode::MalformedMessage => {
            "Each message is one JSON object in a text frame, with a `type` that clients may send. After ten of them the stream is closed."
        }
        ErrorCode::SpeakerNotAllowed => {
            "The stream was opened with `?speaker=`. Send the other party's audio on a stream of its own, or open one without it."
        }
        ErrorCode::StreamRateExceeded => {
            "What is too much is dropped. If it goes on for 5 seconds, the stream is closed. `GET /v1/whoami` tells your limits."
        }
        ErrorCode::TooManyStreams => "Up to 8 streams may join one session.",
        ErrorCode::AudioDropped => {
            "Read faster, or from nearer. Text is kept longer than audio, so the transcript is whole. `dropped_ms` tells how much is gone."
        }
        ErrorCode::EngineUnavailable => "`GET /v1/languages` tells which directions work on this server.",
        ErrorCode::EngineFailed => "The words of that moment are lost. The engine is started again by itself.",
        ErrorCode::AccessRevoked => {
            "The key that made the session was revoked, and its streams were to be closed with it."
        }
        ErrorCode::SessionIdle => "A stream on which nothing comes, not even an answer to a ping, is closed.",
    }
}
