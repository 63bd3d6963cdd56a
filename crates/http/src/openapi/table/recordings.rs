//! Recordings.

use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::json;

use super::{AFTER, BEFORE, LIMIT, SESSION, path, query, recording_id};
use crate::openapi::operation::{Access, Answer, Content, Operation, Parameter, Tag, Verb};

const RECORDING: Parameter = path("id", "The recording's id.", recording_id);

const ERRORS: &[ErrorCode] = &[ErrorCode::RecordingNotFound, ErrorCode::RecordingExpired];

pub(in crate::openapi) const OF_SESSION: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}/recordings",
    id: "listSessionRecordings",
    tag: Some(Tag::Recordings),
    summary: "List a session's recordings",
    description: "The recordings of a session that was recorded: `mixed` with both parties, `customer` and `agent` with one each. They \
        are there from the session's end on.",
    access: Access::Key(Permission::RecordingsRead),
    idempotent: false,
    parameters: &[
        SESSION,
        query(
            "channel",
            "Only this one.",
            |_| json!({ "type": "string", "enum": ["mixed", "customer", "agent"], "examples": ["mixed"] }),
        ),
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        description: "All of them, on one page.",
        content: Content::Json("SessionRecordingList"),
    }],
    errors: &[ErrorCode::SessionNotFound],
};

pub(in crate::openapi) const PAUSE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sessions/{id}/recording/pause",
    id: "pauseRecording",
    tag: Some(Tag::Recordings),
    summary: "Pause a session's recording",
    description: "From the answer on, nothing of the call is recorded until the recording is resumed: for the moment in which a card \
        number is said, say. The call itself goes on, and so do its texts. In the recording there is silence. Pausing twice is as pausing \
        once.",
    access: Access::Key(Permission::SessionsWrite),
    idempotent: false,
    parameters: &[SESSION],
    body: None,
    answers: &[Answer { status: 200, description: "It is paused.", content: Content::Json("SessionRecording") }],
    errors: &[ErrorCode::SessionNotFound, ErrorCode::SessionAlreadyEnded],
};

pub(in crate::openapi) const RESUME: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sessions/{id}/recording/resume",
    id: "resumeRecording",
    tag: Some(Tag::Recordings),
    summary: "Resume a session's recording",
    description: "The recording goes on. What was said meanwhile is in no recording. Resuming twice is as resuming once.",
    access: Access::Key(Permission::SessionsWrite),
    idempotent: false,
    parameters: &[SESSION],
    body: None,
    answers: &[Answer { status: 200, description: "It goes on.", content: Content::Json("SessionRecording") }],
    errors: &[ErrorCode::SessionNotFound, ErrorCode::SessionAlreadyEnded],
};

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/recordings",
    id: "listRecordings",
    tag: Some(Tag::Recordings),
    summary: "List recordings",
    description: "The recordings of the organization in the caller's environment, the newest session's first.",
    access: Access::Key(Permission::RecordingsRead),
    idempotent: false,
    parameters: &[LIMIT, query("starting_after", AFTER, recording_id), query("ending_before", BEFORE, recording_id)],
    body: None,
    answers: &[Answer { status: 200, description: "A page of recordings.", content: Content::Json("RecordingList") }],
    errors: &[],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/recordings/{id}",
    id: "getRecording",
    tag: Some(Tag::Recordings),
    summary: "Get a recording",
    description: "What a recording is and where it stands. After its time (`expires_at`) it is gone for good and the answer is 410.",
    access: Access::Key(Permission::RecordingsRead),
    idempotent: false,
    parameters: &[RECORDING],
    body: None,
    answers: &[Answer { status: 200, description: "The recording.", content: Content::Json("Recording") }],
    errors: ERRORS,
};

pub(in crate::openapi) const AUDIO: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/recordings/{id}/audio",
    id: "getRecordingAudio",
    tag: Some(Tag::Recordings),
    summary: "Hear a recording",
    description: "The sound of a recording that is ready, made as it is sent. What was said and what was heard of its translation are on \
        one time line, which begins with the session's first audio.\n\n\
        One range of bytes can be asked for (`Range`, `If-Range`); of several, the whole is sent. A recording that is still being made, or \
        that could not be made, has no audio (`recording_not_found`).",
    access: Access::Key(Permission::RecordingsRead),
    idempotent: false,
    parameters: &[
        RECORDING,
        query(
            "format",
            "MP3, WAV (PCM of 16 bits) or Ogg with Opus.",
            |_| json!({ "type": "string", "enum": ["mp3", "wav", "ogg"], "default": "mp3", "examples": ["wav"] }),
        ),
        query(
            "track",
            "What was said, its translation when it was heard, or both over each other. Left out: both in a `mixed` recording, the \
                original in one party's.",
            |_| json!({ "type": "string", "enum": ["original", "translated", "both"], "examples": ["both"] }),
        ),
        query(
            "layout",
            "`mono`, or `stereo` with the agent's words left and the customer's right.",
            |_| json!({ "type": "string", "enum": ["mono", "stereo"], "default": "mono", "examples": ["stereo"] }),
        ),
    ],
    body: None,
    answers: &[
        Answer { status: 200, description: "All of it.", content: AUDIO_FORMS },
        Answer { status: 206, description: "The bytes that were asked for.", content: AUDIO_FORMS },
        Answer { status: 304, description: "The client has it already.", content: Content::Nothing },
        Answer {
            status: 416,
            description: "It has no such bytes: `Content-Range` says how many it has.",
            content: Content::Nothing,
        },
    ],
    errors: ERRORS,
};

const AUDIO_FORMS: Content =
    Content::OneOf(&[Content::Binary("audio/mpeg"), Content::Binary("audio/wav"), Content::Binary("audio/ogg")]);

pub(in crate::openapi) const DELETE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/recordings/{id}",
    id: "deleteRecording",
    tag: Some(Tag::Recordings),
    summary: "Delete a recording",
    description: "Deletes a recording for good, with all audio that no other recording of the session is made of: what a party said is gone \
        once both its own recording and `mixed` are deleted.",
    access: Access::Key(Permission::RecordingsDelete),
    idempotent: false,
    parameters: &[RECORDING],
    body: None,
    answers: &[Answer { status: 204, description: "It is deleted.", content: Content::Nothing }],
    errors: ERRORS,
};
