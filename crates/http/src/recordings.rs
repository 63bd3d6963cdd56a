//! `/v1/recordings`: list, read, hear, delete; and pausing while the call runs (contract section 13).

use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kallglot_app::recordings::{Audio, AudioError, default_selection, etag};
use kallglot_core::byte_range::{Asked, Asks, asked};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::RecordingId;
use kallglot_core::recording::{Channel, Recording, RecordingMode, RecordingStatus, Removed, download_url};
use kallglot_core::session::{Session, Tenant};
use kallglot_recording::SAMPLE_RATE_HZ;
use kallglot_recording::render::{Format, Layout, Selection, Tracks};
use serde::Serialize;

use crate::HttpState;
use crate::gate::{Caller, RecordingsDelete, RecordingsRead, SessionsWrite};
use crate::list::{List, page, query_pairs, unknown_parameter};
use crate::problem::Problem;
use crate::sessions::{RecordingBody as Mode, find, session_id, time};

/// Forms of audio, the default first.
const FORMATS: &[Format] = &[Format::Mp3, Format::Wav, Format::Ogg];

#[derive(Serialize)]
pub(crate) struct RecordingBody {
    id: String,
    object: &'static str,
    session_id: String,
    channel: &'static str,
    status: &'static str,
    error: Option<String>,
    duration: Option<f64>,
    incomplete: bool,
    dropped_ms: u64,
    format: &'static str,
    size: Option<u64>,
    sample_rate: u32,
    bit_depth: u16,
    download_url: String,
    created_at: String,
    expires_at: String,
}

#[derive(Serialize)]
pub(crate) struct SessionRecordings {
    object: &'static str,
    data: Vec<RecordingBody>,
    has_more: bool,
    url: String,
}

fn duration_samples(recording: &Recording) -> Option<u64> {
    recording.duration_ms.map(|ms| ms * u64::from(SAMPLE_RATE_HZ) / 1000)
}

fn body(recording: Recording) -> RecordingBody {
    let layout = default_selection(recording.channel).layout;
    RecordingBody {
        id: recording.id.to_string(),
        object: "recording",
        session_id: recording.session.to_string(),
        channel: recording.channel.as_str(),
        status: recording.status.as_str(),
        duration: recording.duration_ms.map(|ms| ms as f64 / 1000.0),
        incomplete: recording.incomplete,
        dropped_ms: recording.dropped_ms,
        format: FORMATS[0].extension(),
        size: duration_samples(&recording).map(|samples| FORMATS[0].size_bytes(layout, samples)),
        sample_rate: FORMATS[0].sample_rate_hz(),
        bit_depth: 16,
        download_url: download_url(recording.id),
        created_at: time(recording.created_at),
        expires_at: time(recording.expires_at),
        error: recording.error,
    }
}

/// A recording of the tenant that is not removed. As with sessions, one of the same organization's other environment is told apart from
/// one that does not exist.
async fn recording(state: &HttpState, tenant: Tenant, id: &str) -> Result<Recording, Problem> {
    let not_found = || Problem::of(ErrorCode::RecordingNotFound);
    let id: RecordingId = id.parse().map_err(|_| not_found())?;
    let storage = &state.app.storage;
    if let Some(found) = storage.recording(tenant, id).await? {
        return match found.removed {
            None => Ok(found),
            Some(Removed::Expired) => Err(Problem::of(ErrorCode::RecordingExpired)),
            Some(Removed::Deleted) => Err(not_found()),
        };
    }
    let other = Tenant { environment: tenant.environment.other(), ..tenant };
    match storage.recording(other, id).await? {
        Some(_) => Err(Problem::of(ErrorCode::ApiKeyWrongEnvironment)),
        None => Err(not_found()),
    }
}

pub(crate) async fn list(
    caller: Caller<RecordingsRead>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<RecordingBody>>, Problem> {
    let found = state.app.storage.recordings(caller.tenant(), &page(query.as_deref(), "a recording")?).await?;
    Ok(Json(List::of(found, "/v1/recordings", body)))
}

pub(crate) async fn of_session(
    caller: Caller<RecordingsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<SessionRecordings>, Problem> {
    let mut channel = None;
    for (name, value) in query_pairs(query.as_deref().unwrap_or("")) {
        match name.as_str() {
            "channel" => channel = Some(one_of(&name, &value, Channel::ALL, |channel| channel.as_str())?),
            _ => return Err(unknown_parameter(&name)),
        }
    }
    let session = find(&state.app, caller.tenant(), session_id(&id)?).await?;
    let found = state.app.storage.recordings_of(caller.tenant(), session.id, channel).await?;
    Ok(Json(SessionRecordings {
        object: "list",
        data: found.into_iter().map(body).collect(),
        has_more: false,
        url: format!("/v1/sessions/{}/recordings", session.id),
    }))
}

pub(crate) async fn get(
    caller: Caller<RecordingsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<RecordingBody>, Problem> {
    Ok(Json(body(recording(&state, caller.tenant(), &id).await?)))
}

pub(crate) async fn delete(
    caller: Caller<RecordingsDelete>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let found = recording(&state, caller.tenant(), &id).await?;
    let deleted = state.app.delete_recording(caller.tenant(), found.id, &caller.change(&state)).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::of(ErrorCode::RecordingNotFound)) }
}

fn one_of<T: Copy>(name: &str, value: &str, all: &[T], text: impl Fn(T) -> &'static str) -> Result<T, Problem> {
    let found = all.iter().copied().find(|one| text(*one) == value);
    found.ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|one| format!("`{}`", text(*one))).collect();
        Problem::invalid(name, format!("`{name}` must be one of {}.", names.join(", ")))
    })
}

/// What of a recording is asked for.
fn wanted(recording: &Recording, query: Option<&str>) -> Result<(Selection, Format), Problem> {
    const TRACKS: &[(&str, Tracks)] =
        &[("original", Tracks::Original), ("translated", Tracks::Translated), ("both", Tracks::Both)];
    const LAYOUTS: &[(&str, Layout)] = &[("mono", Layout::Mono), ("stereo", Layout::Stereo)];
    let (mut selection, mut format) = (default_selection(recording.channel), FORMATS[0]);
    for (name, value) in query_pairs(query.unwrap_or("")) {
        match name.as_str() {
            "format" => format = one_of(&name, &value, FORMATS, Format::extension)?,
            "track" => selection.tracks = one_of(&name, &value, TRACKS, |(text, _)| text)?.1,
            "layout" => selection.layout = one_of(&name, &value, LAYOUTS, |(text, _)| text)?.1,
            _ => return Err(unknown_parameter(&name)),
        }
    }
    Ok((selection, format))
}

impl From<AudioError> for Problem {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Storage(error) => error.into(),
            AudioError::Broken(cause) => Self { cause: Some(cause), ..Self::of(ErrorCode::InternalError) },
            AudioError::Objects(cause) => Self {
                cause: Some(cause),
                retry_after_s: Some(5),
                ..Self::with(
                    ErrorCode::ServiceUnavailable,
                    "The recording can't be read now. It is not lost; try again later.",
                )
            },
        }
    }
}

pub(crate) async fn audio(
    caller: Caller<RecordingsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let recording = recording(&state, caller.tenant(), &id).await?;
    let (selection, format) = wanted(&recording, query.as_deref())?;
    let no_audio = |message: &str| Err(Problem::with(ErrorCode::RecordingNotFound, message));
    match recording.status {
        RecordingStatus::Ready => {}
        RecordingStatus::Processing => {
            return no_audio(
                "The recording is still being made. Its `status` and the event `recording.ready` say when it is.",
            );
        }
        RecordingStatus::Failed => return no_audio("The recording could not be made; its `error` says why."),
    }
    let audio = state.app.audio(&recording, selection, format).await?;
    let bytes = audio.bytes();
    let etag = etag(&recording, selection, format, audio.tracks());
    let range = match asked(&asks(&method, &headers), &etag, bytes) {
        Asked::All => None,
        Asked::Range(range) => Some(range),
        Asked::Known => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            set(&mut response, header::ETAG, etag);
            return Ok(response);
        }
        Asked::Outside => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            set(&mut response, header::CONTENT_RANGE, format!("bytes */{bytes}"));
            return Ok(response);
        }
    };
    let (status, sent) = match &range {
        None => (StatusCode::OK, 0..bytes),
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
    };
    let length = sent.end - sent.start;
    let body = if method == Method::HEAD { Bytes::empty() } else { Bytes::from_stream(stream(audio, sent)) };
    let mut response = (status, body).into_response();
    let name = format!("{}_{}.{}", recording.session, recording.channel, format.extension());
    set(&mut response, header::CONTENT_TYPE, format.media_type().into());
    set(&mut response, header::CONTENT_LENGTH, length.to_string());
    set(&mut response, header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    set(&mut response, header::ACCEPT_RANGES, "bytes".into());
    set(&mut response, header::ETAG, etag);
    // A deleted recording must not live on in somebody's cache.
    set(&mut response, header::CACHE_CONTROL, "private, no-store".into());
    if let Some(range) = range {
        set(&mut response, header::CONTENT_RANGE, format!("bytes {}-{}/{bytes}", range.start, range.end - 1));
    }
    Ok(response)
}

/// What the headers say of the bytes that are wanted. Of several ranges none is read: the whole is sent.
fn asks<'a>(method: &Method, headers: &'a HeaderMap) -> Asks<'a> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let one = *method == Method::GET && headers.get_all(header::RANGE).iter().count() == 1;
    Asks {
        if_none_match: text(header::IF_NONE_MATCH),
        if_range: text(header::IF_RANGE),
        range: if one { text(header::RANGE) } else { None },
    }
}

fn set(response: &mut Response, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The bytes, made as they are asked for: between two pieces nothing is held but where it stands.
fn stream(
    audio: Audio,
    range: std::ops::Range<u64>,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, AudioError>> + Send {
    futures_util::stream::try_unfold((audio, range), async |(mut audio, range)| {
        let piece = audio.read(range.clone()).await?;
        if piece.is_empty() {
            return Ok(None);
        }
        let next = range.start + piece.len() as u64..range.end;
        Ok(Some((piece, (audio, next))))
    })
}

pub(crate) async fn pause(
    caller: Caller<SessionsWrite>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Mode>, Problem> {
    steer(&caller, &state, &id, RecordingMode::Paused).await
}

pub(crate) async fn resume(
    caller: Caller<SessionsWrite>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Mode>, Problem> {
    steer(&caller, &state, &id, RecordingMode::On).await
}

async fn steer(
    caller: &Caller<SessionsWrite>,
    state: &HttpState,
    id: &str,
    mode: RecordingMode,
) -> Result<Json<Mode>, Problem> {
    let id = session_id(id)?;
    // Says it better when the session is of the other environment.
    let Session { id, .. } = find(&state.app, caller.tenant(), id).await?;
    let session = state.app.steer_recording(caller.tenant(), id, mode).await?;
    Ok(Json(Mode::of(session.recording)))
}
