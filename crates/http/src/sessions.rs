//! `/v1/sessions`: create, get, list, end (contract section 10).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use kallglot_app::App;
use kallglot_app::idempotency::Repeatable;
use kallglot_app::sessions::{CreateSession, Created};
use kallglot_app::state::StreamToken;
use kallglot_core::edition::{Edition, ProviderField};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::SessionId;
use kallglot_core::permission::Permission;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{EndReason, Mode, Session, SessionState};
use kallglot_core::vocabulary::{Expectation, Vocabulary};
use serde::Serialize;
use serde_json::Value;

use crate::HttpState;
use crate::body::{Body, Fields};
use crate::gate::{Caller, SessionsRead, SessionsWrite};
use crate::idempotency::{Repeat, json, refused, replayed};
use crate::list::{List, page};
use crate::problem::Problem;

pub(crate) const METADATA_PAIRS_MAX: usize = 50;
pub(crate) const METADATA_KEY_CHARS_MAX: usize = 40;
pub(crate) const METADATA_VALUE_CHARS_MAX: usize = 500;
const SIP_HEADERS_MAX: usize = 50;

#[derive(Serialize)]
pub(crate) struct SessionBody {
    id: String,
    object: &'static str,
    status: &'static str,
    mode: &'static str,
    source_language: Option<String>,
    target_language: Option<String>,
    provider: Option<&'static str>,
    phone_number: Option<&'static str>,
    stream: Option<StreamBody>,
    recording: RecordingBody,
    metadata: BTreeMap<String, String>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_seconds: Option<i64>,
    end_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct StreamBody {
    url: String,
    token: Option<String>,
    expires_at: Option<String>,
}

/// Whether a session is recorded.
#[derive(Serialize)]
pub(crate) struct RecordingBody {
    enabled: bool,
    paused: bool,
}

impl RecordingBody {
    pub(crate) fn of(mode: RecordingMode) -> Self {
        Self { enabled: mode != RecordingMode::Off, paused: mode == RecordingMode::Paused }
    }
}

#[derive(Serialize)]
pub(crate) struct EndedBody {
    id: String,
    object: &'static str,
    status: &'static str,
    duration_seconds: Option<i64>,
    ended_at: Option<String>,
}

pub(crate) use kallglot_core::event::time;

/// A session's id out of the path. What is none can't be found.
pub(crate) fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|_| Problem::of(ErrorCode::SessionNotFound))
}

/// The body of a session. With a stream token only for those who may listen in: `sessions:write`.
fn session_body(app: &App, session: &Session, token: Option<&StreamToken>) -> SessionBody {
    let duration_seconds = session.state.duration_seconds();
    let (ended_at, end_reason) = match session.state {
        SessionState::Ended { ended_at, reason, .. } => (Some(ended_at), Some(reason.as_str())),
        _ => (None, None),
    };
    let stream = ended_at.is_none().then(|| StreamBody {
        url: app.stream_url(session.id),
        token: token.map(|token| token.token.clone()),
        expires_at: token.map(|token| token.expires_at.to_string()),
    });
    SessionBody {
        id: session.id.to_string(),
        object: "session",
        status: session.state.status().as_str(),
        mode: session.mode.as_str(),
        source_language: session.source_language.as_ref().map(ToString::to_string),
        target_language: session.target_language.as_ref().map(ToString::to_string),
        provider: None,
        phone_number: None,
        stream,
        recording: RecordingBody::of(session.recording),
        metadata: session.metadata.clone(),
        created_at: time(session.created_at),
        started_at: session.state.started_at().map(time),
        ended_at: ended_at.map(time),
        duration_seconds,
        end_reason,
    }
}

pub(crate) async fn create(
    caller: Caller<SessionsWrite>,
    State(state): State<HttpState>,
    repeat: Repeat,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let repeatable = repeat.begin(&state, &caller, &fields).await?;
    match make(&caller, &state, fields, repeatable.as_ref()).await {
        Ok(Created::New { session, body }) => {
            tracing::info!(session = %session.id, mode = %session.mode, "session created");
            Ok(json(StatusCode::CREATED, body))
        }
        Ok(Created::Replay(replay)) => Ok(replayed(replay)),
        Err(problem) => {
            let refusal = refused(repeatable.as_ref(), problem).await;
            if let Err(problem) = &refusal
                && problem.code == ErrorCode::ConcurrentSessionLimitExceeded
            {
                let in_use = state.app.slots_in_use(caller.tenant()).await.unwrap_or(0);
                let _ = caller.context.sessions.set((in_use, caller.known.limits.concurrent_sessions_max));
            }
            refusal
        }
    }
}

async fn make(
    caller: &Caller<SessionsWrite>,
    state: &HttpState,
    fields: Fields,
    repeatable: Option<&Repeatable>,
) -> Result<Created, Problem> {
    let app = &state.app;
    let asked = read_create(fields, caller.edition)?;
    let lifetime_s = caller.edition.rules().stream_token_lifetime_s;
    let render = |session: &Session, token: &StreamToken| {
        // A session's body always has a JSON form.
        serde_json::to_vec(&session_body(app, session, Some(token))).unwrap_or_default()
    };
    Ok(app.create_session(&caller.known, caller.context.id, asked, repeatable, lifetime_s, render).await?)
}

pub(crate) async fn get(
    caller: Caller<SessionsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<SessionBody>, Problem> {
    let session = find(&state.app, caller.tenant(), session_id(&id)?).await?;
    let lifetime_s = caller.edition.rules().stream_token_lifetime_s;
    let token = caller
        .may(Permission::SessionsWrite)
        .then(|| state.app.stream_token(session.id, session.tenant.environment, lifetime_s));
    Ok(Json(session_body(&state.app, &session, token.as_ref())))
}

/// A session of the tenant. One of the same organization's other environment is told apart from one that does not exist (contract
/// section 1).
pub(crate) async fn find(app: &App, tenant: kallglot_core::session::Tenant, id: SessionId) -> Result<Session, Problem> {
    if let Some(session) = app.storage.session(tenant, id).await? {
        return Ok(session);
    }
    let other = kallglot_core::session::Tenant { environment: tenant.environment.other(), ..tenant };
    match app.storage.session(other, id).await? {
        Some(_) => Err(Problem::of(ErrorCode::ApiKeyWrongEnvironment)),
        None => Err(Problem::of(ErrorCode::SessionNotFound)),
    }
}

pub(crate) async fn list(
    caller: Caller<SessionsRead>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<SessionBody>>, Problem> {
    let found = state.app.storage.sessions(caller.tenant(), &page(query.as_deref(), "a session")?).await?;
    Ok(Json(List::of(found, "/v1/sessions", |session| session_body(&state.app, &session, None))))
}

pub(crate) async fn end(
    caller: Caller<SessionsWrite>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    repeat: Repeat,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let repeatable = repeat.begin(&state, &caller, &fields).await?;
    if let Some(repeatable) = &repeatable
        && let Some(replay) = repeatable.find().await?
    {
        return Ok(replayed(replay));
    }
    let body = end_now(&caller, &state, &id, fields).await?;
    let body = serde_json::to_vec(&body).unwrap_or_default();
    if let Some(repeatable) = &repeatable {
        repeatable.keep(StatusCode::OK.as_u16(), &body).await?;
    }
    Ok(json(StatusCode::OK, body))
}

async fn end_now(
    caller: &Caller<SessionsWrite>,
    state: &HttpState,
    id: &str,
    mut fields: Fields,
) -> Result<EndedBody, Problem> {
    const REASONS: &[EndReason] = &[
        EndReason::Completed,
        EndReason::CustomerHangup,
        EndReason::AgentHangup,
        EndReason::Error,
        EndReason::Timeout,
    ];
    let reason = fields.one_of("reason", REASONS, EndReason::as_str)?.unwrap_or(EndReason::Completed);
    fields.finish()?;
    let id = session_id(id)?;
    let session = match state.app.end_session(caller.tenant(), id, reason).await {
        Err(error) if error.code() == ErrorCode::SessionNotFound => {
            // Says it better when the session is of the other environment.
            find(&state.app, caller.tenant(), id).await?;
            return Err(error.into());
        }
        ended => ended?,
    };
    Ok(EndedBody {
        id: session.id.to_string(),
        object: "session",
        status: session.state.status().as_str(),
        duration_seconds: session.state.duration_seconds(),
        ended_at: session.state.ended_at().map(time),
    })
}

pub(crate) fn read_create(mut fields: Fields, edition: Edition) -> Result<CreateSession, Problem> {
    let rules = edition.rules();
    let mode = match fields.one_of("mode", Mode::ALL, Mode::as_str)? {
        Some(mode) => mode,
        None => return fields.refuse("mode", "given: `bidirectional_translation` or `assistive_translation`"),
    };
    let source_language = fields.language("source_language")?;
    let target_language = fields.language("target_language")?;
    if rules.languages_required {
        for (name, language) in [("source_language", &source_language), ("target_language", &target_language)] {
            if language.is_none() {
                return fields.refuse(name, "given: a BCP 47 language tag such as `en`");
            }
        }
    }
    let mut routing = fields.object("routing")?;
    match rules.provider_field {
        ProviderField::Refused => {
            if fields.value("provider").is_some() {
                return Err(Problem {
                    param: Some("provider".into()),
                    ..Problem::with(
                        ErrorCode::ProviderFieldNotAllowed,
                        "`provider` is not a field of this edition. Name the phone number, connection or SIP address in `routing`.",
                    )
                });
            }
        }
        ProviderField::ReadAsRouting => {
            if let Some(mut provider) = fields.object("provider")? {
                if routing.is_some() {
                    return fields.refuse("provider", "left out when `routing` is given");
                }
                // Which carrier it is follows from the number or connection; only SIP is named in `routing`.
                match provider.one_of("type", &["twilio", "telnyx", "sip"], |name| name)? {
                    Some("sip") => provider.put_back("type", "sip"),
                    None => {}
                    Some(_) if provider.names().is_empty() => return provider.refuse("phone_number", "given"),
                    Some(_) => {}
                }
                routing = Some(provider);
            }
        }
    }
    let routing = routing.map(read_routing).transpose()?.flatten();
    if let Some(mut audio) = fields.object("audio")? {
        audio.one_of("encoding", &["mulaw"], |name| name)?;
        audio.exactly("sample_rate_hz", 8000)?;
        audio.exactly("channels", 1)?;
        audio.finish()?;
    }
    let voice = fields.short_text("voice", 100)?;
    if let Some(agent) = fields.text("agent_id")? {
        let message = format!("There is no agent `{}`.", agent.chars().take(60).collect::<String>());
        return Err(Problem { param: Some("agent_id".into()), ..Problem::with(ErrorCode::AgentNotFound, message) });
    }
    let mut recording = None;
    if let Some(mut asked) = fields.object("recording")? {
        recording = asked.flag("enabled")?;
        asked.finish()?;
    }
    let vocabulary = read_vocabulary(&mut fields)?;
    let metadata = read_metadata(&mut fields)?;
    fields.finish()?;
    Ok(CreateSession { mode, source_language, target_language, voice, recording, routing, vocabulary, metadata })
}

/// Checks `routing`. Answers with the field that asks for a carrier, if one does.
fn read_routing(mut routing: Fields) -> Result<Option<&'static str>, Problem> {
    routing.one_of("direction", &["inbound", "outbound"], |name| name)?;
    let phone_number = routing.text("phone_number")?;
    if let Some(number) = &phone_number {
        let digits = number.strip_prefix('+').unwrap_or("");
        let valid = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if !valid {
            return routing.refuse("phone_number", "an E.164 number such as `+14155550123`");
        }
    }
    let connection = routing.text("connection_id")?;
    if connection.as_ref().is_some_and(|id| !id.starts_with("pcon_")) {
        return routing.refuse("connection_id", "the id of a connection (`pcon_…`)");
    }
    let sip = routing.one_of("type", &["sip"], |name| name)?;
    if let Some(mut details) = routing.object("sip")? {
        details.short_text("from_uri", 255)?;
        if let Some(headers) = details.object("headers")? {
            let names = headers.names();
            let valid = |name: &String| {
                name.len() <= 64
                    && (name.starts_with("X-") || name.starts_with("x-"))
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            if names.len() > SIP_HEADERS_MAX || !names.iter().all(valid) {
                return details.refuse("headers", "at most 50 headers whose names start with `X-`");
            }
        }
        details.finish()?;
        if sip.is_none() {
            return routing.refuse("type", "`sip` when `sip` is given");
        }
    }
    let asked = [
        phone_number.is_some().then_some("routing.phone_number"),
        connection.is_some().then_some("routing.connection_id"),
        sip.is_some().then_some("routing.type"),
    ];
    if asked.iter().flatten().count() > 1 {
        let message = "Give at most one of `phone_number`, `connection_id` and `type: \"sip\"` in `routing`.";
        return Err(Problem::invalid("routing", message));
    }
    routing.finish()?;
    Ok(asked.into_iter().flatten().next())
}

/// `vocabulary: {"es": {"phrases": […], "words": […], "phrases_only": true}}`.
fn read_vocabulary(fields: &mut Fields) -> Result<Vocabulary, Problem> {
    let mut vocabulary = Vocabulary::default();
    let Some(mut asked) = fields.object("vocabulary")? else { return Ok(vocabulary) };
    for name in asked.names() {
        let Ok(language) = name.parse() else {
            return asked.refuse(&name, "named by a BCP 47 language tag such as `en`");
        };
        let param = asked.param(&name);
        let Some(mut expectation) = asked.object(&name)? else { continue };
        let read = Expectation {
            phrases: expectation.texts("phrases")?,
            words: expectation.texts("words")?,
            phrases_only: expectation.flag("phrases_only")?.unwrap_or(false),
        };
        expectation.finish()?;
        // Alone: a body can name thousands of languages.
        let one = Vocabulary { languages: [(language, read)].into() };
        one.validate().map_err(|error| Problem::invalid(&param, format!("`{param}`: {error}.")))?;
        vocabulary.languages.extend(one.languages);
    }
    Ok(vocabulary)
}

fn read_metadata(fields: &mut Fields) -> Result<BTreeMap<String, String>, Problem> {
    let mut metadata = BTreeMap::new();
    let Some(mut asked) = fields.object("metadata")? else { return Ok(metadata) };
    let names = asked.names();
    if names.len() > METADATA_PAIRS_MAX {
        return fields.refuse("metadata", "at most 50 pairs");
    }
    for name in names {
        if name.is_empty() || name.chars().count() > METADATA_KEY_CHARS_MAX {
            return asked.refuse(&name.chars().take(60).collect::<String>(), "named by 1 to 40 characters");
        }
        match asked.value(&name) {
            Some(Value::String(text)) if text.chars().count() <= METADATA_VALUE_CHARS_MAX => {
                metadata.insert(name, text);
            }
            _ => return asked.refuse(&name, "a string of at most 500 characters"),
        }
    }
    Ok(metadata)
}
