//! Analyses of sessions and the profiles that they judge by (contract section 13).

use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use serde_json::json;

use super::{AFTER, ANALYSIS, BEFORE, COMPLIANCE_PROFILE, LIMIT, SESSION, analysis_id, compliance_profile_id, query};
use crate::openapi::operation::{Access, Answer, Body, Content, Operation, Tag, Verb};
use crate::openapi::schema::analysis as schema;

const READ: Access = Access::Key(Permission::AnalysisRead);
const WRITE: Access = Access::Key(Permission::AnalysisWrite);

pub(in crate::openapi) const CREATE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sessions/{id}/analysis",
    id: "createAnalysis",
    tag: Some(Tag::Analyses),
    summary: "Analyse a session",
    description: "Asks for an analysis of what was said: it is made in the background, and `analysis.complete` or `analysis.failed` tells when it \
        is over. Of a session that has not ended, what was said until then is analysed.\n\n\
        With a live key an analysis costs 1 credit; when it fails, the credit is given back. A refusal and a replay cost nothing.\n\n\
        English, Spanish, German and French are read. What was said in another language is read in its translation; where there is none into one of \
        these, `errors` says so.",
    access: WRITE,
    idempotent: true,
    parameters: &[SESSION],
    body: Some(Body {
        schema: "CreateAnalysisRequest",
        required: false,
        examples: &[
            ("everything", "All parts", |_| json!({}).into()),
            ("some", "Two parts", |_| json!({ "include": ["summary", "sentiment"] }).into()),
        ],
    }),
    answers: &[Answer {
        status: 202,
        description: "The analysis, which is being made.",
        content: Content::Json("Analysis"),
    }],
    errors: &[ErrorCode::SessionNotFound, ErrorCode::TranscriptNotAvailable, ErrorCode::InsufficientApiCredits],
};

pub(in crate::openapi) const GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/analyses/{id}",
    id: "getAnalysis",
    tag: Some(Tag::Analyses),
    summary: "Get an analysis",
    description: "The analysis as it is now. Its parts are there when its `status` is `completed`.",
    access: READ,
    idempotent: false,
    parameters: &[ANALYSIS],
    body: None,
    answers: &[Answer { status: 200, description: "The analysis.", content: Content::Json("Analysis") }],
    errors: &[ErrorCode::AnalysisNotFound],
};

pub(in crate::openapi) const LIST: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}/analyses",
    id: "listAnalyses",
    tag: Some(Tag::Analyses),
    summary: "List a session's analyses",
    description: "The analyses of the session, newest first.",
    access: READ,
    idempotent: false,
    parameters: &[
        SESSION,
        LIMIT,
        query("starting_after", AFTER, analysis_id),
        query("ending_before", BEFORE, analysis_id),
    ],
    body: None,
    answers: &[Answer { status: 200, description: "A page of analyses.", content: Content::Json("AnalysisList") }],
    errors: &[ErrorCode::SessionNotFound],
};

pub(in crate::openapi) const CREATE_PROFILE: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/compliance_profiles",
    id: "createComplianceProfile",
    tag: Some(Tag::Analyses),
    summary: "Create a compliance profile",
    description: "Stores rules for what must and must not be said, by whom, in which order. An analysis that names the profile says how a session \
        stands to it.\n\n\
        Phrases are found whatever their case, punctuation, accents and inflection, with up to `gap_words` words between theirs, also when an \
        utterance was cut in two. Both what was said and its translation are searched.",
    access: WRITE,
    idempotent: false,
    parameters: &[],
    body: Some(Body {
        schema: "CreateComplianceProfileRequest",
        required: true,
        examples: &[("hotel", "What a hotel's agents have to say", schema::create_profile_example)],
    }),
    answers: &[Answer { status: 201, description: "The profile.", content: Content::Json("ComplianceProfile") }],
    errors: &[],
};

pub(in crate::openapi) const LIST_PROFILES: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/compliance_profiles",
    id: "listComplianceProfiles",
    tag: Some(Tag::Analyses),
    summary: "List compliance profiles",
    description: "The organization's profiles in the key's environment, newest first.",
    access: READ,
    idempotent: false,
    parameters: &[
        LIMIT,
        query("starting_after", AFTER, compliance_profile_id),
        query("ending_before", BEFORE, compliance_profile_id),
    ],
    body: None,
    answers: &[Answer {
        status: 200,
        description: "A page of profiles.",
        content: Content::Json("ComplianceProfileList"),
    }],
    errors: &[],
};

pub(in crate::openapi) const GET_PROFILE: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/compliance_profiles/{id}",
    id: "getComplianceProfile",
    tag: Some(Tag::Analyses),
    summary: "Get a compliance profile",
    description: "The profile with its rules, each with what it was not told.",
    access: READ,
    idempotent: false,
    parameters: &[COMPLIANCE_PROFILE],
    body: None,
    answers: &[Answer { status: 200, description: "The profile.", content: Content::Json("ComplianceProfile") }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const UPDATE_PROFILE: Operation = Operation {
    verb: Verb::Patch,
    path: "/v1/compliance_profiles/{id}",
    id: "updateComplianceProfile",
    tag: Some(Tag::Analyses),
    summary: "Change a compliance profile",
    description: "Changes the name, all of the rules, or both. Analyses that were asked for before are judged by what it was.",
    access: WRITE,
    idempotent: false,
    parameters: &[COMPLIANCE_PROFILE],
    body: Some(Body {
        schema: "UpdateComplianceProfileRequest",
        required: false,
        examples: &[("rename", "Another name", |_| json!({ "name": "Hotel, from December" }).into())],
    }),
    answers: &[Answer {
        status: 200,
        description: "The profile as it is now.",
        content: Content::Json("ComplianceProfile"),
    }],
    errors: &[ErrorCode::NotFound],
};

pub(in crate::openapi) const DELETE_PROFILE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/compliance_profiles/{id}",
    id: "deleteComplianceProfile",
    tag: Some(Tag::Analyses),
    summary: "Delete a compliance profile",
    description: "Deletes the profile. Analyses that were asked for before are made by it all the same.",
    access: WRITE,
    idempotent: false,
    parameters: &[COMPLIANCE_PROFILE],
    body: None,
    answers: &[Answer { status: 204, description: "It is deleted.", content: Content::Nothing }],
    errors: &[ErrorCode::NotFound],
};
