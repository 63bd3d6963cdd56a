//! Events: as they happen, and those that were (contract section 13).

use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::json;

use super::{AFTER, BEFORE, LIMIT, SESSION, event_id, path, query, session_id};
use crate::openapi::operation::{Access, Answer, Content, Operation, Parameter, Place, Tag, Verb};
use crate::openapi::schema::event as schema;

pub(in crate::openapi) const MANAGE: Access = Access::Key(Permission::WebhooksManage);

const WAIT: Parameter = query(
    "wait",
    "Whether the answer goes on with what happens from now on. With `false` it ends after what there is.",
    |_| json!({ "type": "boolean", "default": true, "examples": [false] }),
);

const NOTHING: Answer = Answer {
    status: 204,
    description: "There is nothing more: the session has ended and all its events were sent before, or `wait` is false and nothing is new. \
        Browsers' `EventSource` stops connecting again.",
    content: Content::Nothing,
};

pub(in crate::openapi) const OF_SESSION: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}/events",
    id: "streamSessionEvents",
    tag: Some(Tag::Sessions),
    summary: "Watch a session",
    description: "The session's events as they happen, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html): \
        what is said, and what becomes of the session, without its audio. `id` is the event's `sequence` in the session, `event` its type, \
        `data` the event as webhooks deliver it. It begins with the session's first event.\n\n\
        A client that was away sends the last `id` as `Last-Event-ID` (browsers do it by themselves) or as `after` and goes on behind it, \
        at any server; nothing is lost. A quiet stream has a comment every 15 s. It ends after the events of the session's end. What comes \
        later (`recording.ready`, `analysis.complete`) is there when the session is watched again.\n\n\
        Events are kept for 30 days. What is asked for and not there any more is told as one message `stream.gap`, with `from_sequence` and \
        `to_sequence`. A client that does not read is cut off, and goes on where it was. An organization can have 100 event streams open at \
        each server. When the key is changed or revoked, the stream ends, and the key has to be shown again.",
    access: Access::Key(Permission::SessionsRead),
    idempotent: false,
    parameters: &[
        SESSION,
        query(
            "after",
            "The `sequence` of the last event that is known. `Last-Event-ID` is stronger.",
            |_| json!({ "type": "integer", "minimum": 0, "default": 0, "examples": [0] }),
        ),
        query(
            "partials",
            "Whether there are messages `transcript.partial` too: what is being said, before it is final. They have no `id` and are sent once, \
             to who is there; and only at the server on which the session lives.",
            |_| json!({ "type": "boolean", "default": false, "examples": [false] }),
        ),
        WAIT,
        Parameter {
            name: "Last-Event-ID",
            place: Place::Header,
            description: "The `id` of the last message that came.",
            schema: |_| json!({ "type": "string", "pattern": "^[0-9]+$", "examples": ["0"] }),
        },
    ],
    body: None,
    answers: &[
        Answer {
            status: 200,
            description: "The events.",
            content: Content::Text("text/event-stream", schema::STREAM_EXAMPLE),
        },
        NOTHING,
    ],
    errors: &[ErrorCode::SessionNotFound],
};

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/events",
    id: "listEvents",
    tag: Some(Tag::Webhooks),
    summary: "List events",
    description: "The organization's events of the last 30 days in the caller's environment, newest first, each as webhooks deliver it.",
    access: MANAGE,
    idempotent: false,
    parameters: &[
        LIMIT,
        query("starting_after", AFTER, event_id),
        query("ending_before", BEFORE, event_id),
        query("type", "Only events of this type.", schema::type_parameter),
        query("session_id", "Only events of this session.", session_id),
    ],
    body: None,
    answers: &[Answer { status: 200, description: "A page of events.", content: Content::Json("EventList") }],
    errors: &[],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/events/{id}",
    id: "getEvent",
    tag: Some(Tag::Webhooks),
    summary: "Get an event",
    description: "An event of the last 30 days, as webhooks deliver it.",
    access: MANAGE,
    idempotent: false,
    parameters: &[path("id", "The event's id.", event_id)],
    body: None,
    answers: &[Answer { status: 200, description: "The event.", content: Content::Json("Event") }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const LISTEN: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/webhooks/listen",
    id: "listenToEvents",
    tag: Some(Tag::Webhooks),
    summary: "Listen to test events",
    description: "The organization's test events as they happen, as server-sent events: what `kallglot listen` brings to a developer's own \
        machine, without an endpoint that the server could reach. `id` is the event's id, `event` its type, `data` the event as webhooks \
        deliver it. It begins with what happens from now on, or behind the event that `Last-Event-ID` or `after` names. Only with a test \
        key. Otherwise as with a session's events.",
    access: MANAGE,
    idempotent: false,
    parameters: &[
        query("after", "The id of the last event that is known. `Last-Event-ID` is stronger.", event_id),
        query(
            "types",
            "Only events of these types, separated by commas.",
            |_| json!({ "type": "string", "examples": ["session.created,session.ended"] }),
        ),
        WAIT,
        Parameter {
            name: "Last-Event-ID",
            place: Place::Header,
            description: "The `id` of the last message that came.",
            schema: event_id,
        },
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        description: "The events.",
        content: Content::Text("text/event-stream", schema::STREAM_EXAMPLE),
    }],
    errors: &[],
};
