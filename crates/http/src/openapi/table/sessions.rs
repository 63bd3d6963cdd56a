//! Sessions: calls, their streams, and what is known of them afterwards (contract sections 10, 11 and 13).

use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::json;

use super::{AFTER, BEFORE, LIMIT, SESSION, query, session_id};
use crate::openapi::operation::{Access, Answer, Body, Content, Operation, Tag, Verb};
use crate::openapi::schema::session as schema;

pub(in crate::openapi) const CREATE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sessions",
    id: "createSession",
    tag: Some(Tag::Sessions),
    summary: "Create a session",
    description: "Creates a session: one call between two parties who speak different languages. The answer has the address of its \
        stream and a token that lets its holder join.\n\n\
        With a live key a session that is created costs 1 credit; a refusal and a replay cost nothing. It counts as a concurrent \
        session until it has ended, or until its stream token expires and nobody has joined.",
    access: Access::Key(Permission::SessionsWrite),
    idempotent: true,
    parameters: &[],
    body: Some(Body {
        schema: "CreateSessionRequest",
        required: true,
        examples: &[
            ("two_languages", "Two people, two languages", schema::create_example),
            ("vocabulary", "With the words to expect and data of your own", schema::create_with_vocabulary_example),
        ],
    }),
    answers: &[Answer { status: 201, description: "The session.", content: Content::Json("Session") }],
    errors: &[
        ErrorCode::ProviderFieldNotAllowed,
        ErrorCode::InsufficientApiCredits,
        ErrorCode::AgentNotFound,
        ErrorCode::ConcurrentSessionLimitExceeded,
    ],
};

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions",
    id: "listSessions",
    tag: Some(Tag::Sessions),
    summary: "List sessions",
    description: "The sessions of the key's organization and environment, newest first. Stream tokens are not in a list.",
    access: Access::Key(Permission::SessionsRead),
    idempotent: false,
    parameters: &[LIMIT, query("starting_after", AFTER, session_id), query("ending_before", BEFORE, session_id)],
    body: None,
    answers: &[Answer { status: 200, description: "A page of sessions.", content: Content::Json("SessionList") }],
    errors: &[],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}",
    id: "getSession",
    tag: Some(Tag::Sessions),
    summary: "Get a session",
    description: "The session as it is now. Until it has ended, a key that also has `sessions:write` gets a fresh stream token with \
        it; for other keys `stream.token` is null, so that who may only read can't listen in.",
    access: Access::Key(Permission::SessionsRead),
    idempotent: false,
    parameters: &[SESSION],
    body: None,
    answers: &[Answer { status: 200, description: "The session.", content: Content::Json("Session") }],
    errors: &[ErrorCode::SessionNotFound],
};

pub(in crate::openapi) const END: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sessions/{id}/end",
    id: "endSession",
    tag: Some(Tag::Sessions),
    summary: "End a session",
    description: "Ends the session and closes its streams. A session that has already ended stays as it is, and the answer is the \
        same again.",
    access: Access::Key(Permission::SessionsWrite),
    idempotent: true,
    parameters: &[SESSION],
    body: Some(Body {
        schema: "EndSessionRequest",
        required: false,
        examples: &[("hangup", "The customer hung up", |_| json!({ "reason": "customer_hangup" }).into())],
    }),
    answers: &[Answer { status: 200, description: "It has ended.", content: Content::Json("EndedSession") }],
    errors: &[ErrorCode::SessionNotFound],
};

pub(in crate::openapi) const CONNECT: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}/connect",
    id: "connectSession",
    tag: Some(Tag::Sessions),
    summary: "Join a session's stream",
    description: "Opens the WebSocket on which the call's audio and text go, as JSON text frames: see \
        `StreamClientMessage` and `StreamServerMessage` among the schemas.\n\n\
        The token is `stream.token` of the session, in the query string, as a bearer token, or in `Sec-WebSocket-Protocol: kallglot, \
        <token>` (so that a browser need not put it into an address). It is checked when connecting; a stream that is open outlives it. \
        API keys are not accepted here.\n\n\
        Up to 8 streams may join one session. Close codes: 1000 the session has ended, 1001 the server is going away (connect \
        again with a fresh token), 1009 a frame over 64 KiB, 4400 ten malformed messages, 4401 the session's access was revoked, 4408 \
        idle, 4429 too fast.",
    access: Access::StreamToken,
    idempotent: false,
    parameters: &[
        SESSION,
        query(
            "speaker",
            "Which party this stream is for: it may send only that party's audio, and is sent only what that party should hear. Left out, the stream carries both.",
            |_| json!({ "type": "string", "enum": ["customer", "agent"], "examples": ["customer"] }),
        ),
    ],
    body: None,
    answers: &[Answer { status: 101, description: "The stream is open.", content: Content::Nothing }],
    errors: &[
        ErrorCode::InvalidRequest,
        ErrorCode::StreamTokenInvalid,
        ErrorCode::StreamTokenExpired,
        ErrorCode::OrganizationInactive,
        ErrorCode::InternalError,
        ErrorCode::ServiceUnavailable,
    ],
};

pub(in crate::openapi) const TRANSCRIPT: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}/transcript",
    id: "getTranscript",
    tag: Some(Tag::Sessions),
    summary: "Get a transcript",
    description: "What was said, turn by turn, with its translation. It grows while the call runs; a turn never changes once it is there.",
    access: Access::Key(Permission::SessionsRead),
    idempotent: false,
    parameters: &[
        SESSION,
        query(
            "format",
            "The form of the answer: JSON, plain text, or subtitles as SubRip (`srt`) or WebVTT (`vtt`).",
            |_| json!({ "type": "string", "enum": ["json", "text", "srt", "vtt"], "default": "json", "examples": ["json"] }),
        ),
        query(
            "include_translations",
            "Whether the translations are in it.",
            |_| json!({ "type": "boolean", "default": true, "examples": [true] }),
        ),
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        description: "The transcript.",
        content: Content::OneOf(&[
            Content::Json("Transcript"),
            Content::Text(
                "text/plain",
                "Call sess_0000000000000000000001 of 2026-01-31T12:00:00.000Z, 3 min 20 s\nCustomer language: en\nAgent language: es\n\n[00:00:01] Customer (en): Good morning.\n           → es: Buenos días.\n",
            ),
            Content::Text(
                "application/x-subrip",
                "1\n00:00:01,480 --> 00:00:02,730\nCustomer: Good morning.\nBuenos días.\n\n",
            ),
            Content::Text(
                "text/vtt",
                "WEBVTT\n\nseg_0000000000000000000001\n00:00:01.480 --> 00:00:02.730\n<v Customer><lang en>Good morning.</lang>\n<lang es>Buenos días.</lang>\n\n",
            ),
        ]),
    }],
    errors: &[ErrorCode::SessionNotFound],
};

pub(in crate::openapi) const QUALITY: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}/quality",
    id: "getSessionQuality",
    tag: Some(Tag::Sessions),
    summary: "Get a session's quality",
    description: "How long each utterance took from the end of speech to its text and to its translated audio, and what went through \
        the session's streams.",
    access: Access::Key(Permission::SessionsRead),
    idempotent: false,
    parameters: &[SESSION],
    body: None,
    answers: &[Answer { status: 200, description: "The quality.", content: Content::Json("SessionQuality") }],
    errors: &[ErrorCode::SessionNotFound],
};
