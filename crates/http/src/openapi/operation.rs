//! What there is to know about one route: who is let in, what it takes, what it answers, and how it can refuse.
//!
//! An [`Operation`] is plain constant data. What follows from it by rule (a route with a key can answer `api_key_invalid`, one with a
//! body `payload_too_large`) is derived here and written down nowhere else.

use axum::http::Method;
use axum::routing::MethodFilter;
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::Value;

use super::node::Node;

/// A schema that can differ by edition.
pub(crate) type MakeSchema = fn(Edition) -> Value;
/// An example that can differ by edition.
pub(crate) type MakeExample = fn(Edition) -> Node;

/// The methods that routes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    /// For axum's router.
    pub(crate) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// The method itself.
    pub(crate) const fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    /// Its name in an OpenAPI path item.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a key.
    Everybody,
    /// Any valid key.
    AnyKey,
    /// A key with this permission.
    Key(Permission),
    /// Who holds a stream token of the session.
    StreamToken,
}

/// Where a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the path; always required.
    Path,
    /// In the query string; never required.
    Query,
    /// In a header; never required.
    Header,
}

/// A parameter of a path or query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    /// Markdown.
    pub(crate) description: &'static str,
    pub(crate) schema: MakeSchema,
}

/// The JSON body that a request takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    /// Its schema's name among the components.
    pub(crate) schema: &'static str,
    /// Whether there must be one: where not, no body means an empty object.
    pub(crate) required: bool,
    /// Bodies that work, each with a key and what it shows.
    pub(crate) examples: &'static [(&'static str, &'static str, MakeExample)],
}

/// What an answer's body is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    /// There is none.
    Nothing,
    /// JSON with this schema among the components.
    Json(&'static str),
    /// JSON that is described elsewhere.
    AnyJson,
    /// A text: its media type and an example.
    Text(&'static str, &'static str),
    /// Bytes of this media type.
    Binary(&'static str),
    /// One of several, as the request asks.
    OneOf(&'static [Content]),
}

/// An answer that is no error of the API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Markdown.
    pub(crate) description: &'static str,
    pub(crate) content: Content,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    /// In axum's form, which is OpenAPI's: `/v1/sessions/{id}`.
    pub(crate) path: &'static str,
    /// Its `operationId`.
    pub(crate) id: &'static str,
    /// None: a page for people or a file of one, which is no part of the API and not in the document.
    pub(crate) tag: Option<Tag>,
    pub(crate) summary: &'static str,
    /// Markdown.
    pub(crate) description: &'static str,
    pub(crate) access: Access,
    /// Whether `Idempotency-Key` is honoured.
    pub(crate) idempotent: bool,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) body: Option<Body>,
    pub(crate) answers: &'static [Answer],
    /// The codes that it can give beside those that follow from the rest ([`Operation::codes`]).
    pub(crate) errors: &'static [ErrorCode],
}

/// Which part of the API an operation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Sessions,
    Webhooks,
    Analyses,
    Recordings,
    Account,
    ApiKeys,
    Requests,
    Server,
}

impl Tag {
    /// Every part, in the reference's order, with its description (Markdown).
    pub(super) const ALL: &'static [(Self, &'static str)] = &[
        (Self::Sessions, "Calls between two parties: create and end them, read what was said, join their streams."),
        (Self::Webhooks, "Be told what happens: endpoints, deliveries, events."),
        (
            Self::Analyses,
            "What was said, in short: summary, sentiment, keywords, performance, and whether an organization's rules were kept.",
        ),
        (
            Self::Recordings,
            "What is kept of the sound of calls: read, hear and delete it, and pause while a call runs.",
        ),
        (Self::Account, "What the API key may do, what is left of its limits, and which languages there are."),
        (Self::ApiKeys, "Create, change, rotate and revoke the organization's API keys, and see who did what to them."),
        (Self::Requests, "What became of a request, and why it was refused."),
        (Self::Server, "For operators and tools. No key is needed."),
    ];

    /// Its name in the document.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Webhooks => "Webhooks",
            Self::Analyses => "Analyses",
            Self::Recordings => "Recordings",
            Self::Account => "Account",
            Self::ApiKeys => "API keys",
            Self::Requests => "Requests",
            Self::Server => "Server",
        }
    }
}

/// What every route with a key can answer (contract sections 2 and 3).
const KEY_CODES: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::ApiKeyInvalid,
    ErrorCode::ApiKeyExpired,
    ErrorCode::ApiKeyRevoked,
    ErrorCode::ApiKeyWrongEnvironment,
    ErrorCode::IpNotAllowed,
    ErrorCode::OrganizationInactive,
    ErrorCode::ValidationFailed,
    ErrorCode::RateLimitExceeded,
    ErrorCode::TooManyFailedAttempts,
    ErrorCode::InternalError,
    ErrorCode::ServiceUnavailable,
];

const BODY_CODES: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::ValidationFailed,
];

const IDEMPOTENCY_CODES: &[ErrorCode] =
    &[ErrorCode::InvalidRequest, ErrorCode::IdempotencyMismatch, ErrorCode::IdempotencyConflict];

impl Operation {
    /// Every code that it can answer with, each once, in the registry's order.
    pub(crate) fn codes(&self) -> Vec<ErrorCode> {
        let derived: &[&[ErrorCode]] = &[
            match self.access {
                Access::AnyKey | Access::Key(_) => KEY_CODES,
                Access::StreamToken | Access::Everybody => &[],
            },
            if matches!(self.access, Access::Key(_)) { &[ErrorCode::InsufficientPermissions] } else { &[] },
            if self.body.is_some() { BODY_CODES } else { &[] },
            if self.idempotent { IDEMPOTENCY_CODES } else { &[] },
            self.errors,
        ];
        let can = |code: &ErrorCode| derived.iter().any(|codes| codes.contains(code));
        ErrorCode::ALL.iter().copied().filter(can).collect()
    }

    /// Whether a request with this method and path is for it. HEAD is answered like GET.
    pub(crate) fn answers(&self, method: &Method, path: &str) -> bool {
        let same_method = self.verb.method() == *method || (self.verb == Verb::Get && *method == Method::HEAD);
        let mut parts = path.split('/');
        let same_path = self.path.split('/').all(|own| match parts.next() {
            Some(part) => own.starts_with('{') || own == part,
            None => false,
        });
        same_method && same_path && parts.next().is_none()
    }

    /// Whether its query string can have this parameter.
    pub(crate) fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.place == Place::Query && parameter.name == name)
    }

    /// Whether its answer can be kept by the client and asked for again by its `ETag`.
    pub(crate) fn cached(&self) -> bool {
        self.answers.iter().any(|answer| answer.status == 304)
    }

    /// Whether it takes an API key.
    pub(crate) const fn needs_key(&self) -> bool {
        matches!(self.access, Access::AnyKey | Access::Key(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::Route;

    #[test]
    fn a_request_is_told_by_its_method_and_path() {
        let of = |method: Method, path: &str| {
            let ids = Route::ALL.iter().map(|route| route.operation()).filter(|it| it.answers(&method, path));
            ids.map(|operation| operation.id).collect::<Vec<_>>()
        };
        assert_eq!(of(Method::GET, "/v1/sessions"), ["listSessions"]);
        assert_eq!(of(Method::HEAD, "/v1/sessions/sess_1"), ["getSession"]);
        assert_eq!(of(Method::POST, "/v1/sessions/sess_1/end"), ["endSession"]);
        assert_eq!(of(Method::POST, "/v1/api_keys/leaks"), ["reportLeakedApiKey"]);
        assert_eq!(of(Method::POST, "/v1/api_keys/key_1/leaks"), Vec::<&str>::new());
        assert_eq!(of(Method::GET, "/v1/sessions/"), ["getSession"]);
        assert_eq!(of(Method::DELETE, "/v1/sessions"), Vec::<&str>::new());
        assert_eq!(of(Method::GET, ""), Vec::<&str>::new());
    }
}
