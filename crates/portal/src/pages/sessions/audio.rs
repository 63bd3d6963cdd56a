//! A recording's audio and a transcript, for who is signed in: to be heard on the page, piece by piece, or kept.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kallglot_app::recordings::{Audio, AudioError, default_selection, etag};
use kallglot_app::transcript::{self, Format as TextFormat};
use kallglot_core::byte_range::{Asked, Asks, asked};
use kallglot_core::recording::RecordingStatus;
use kallglot_recording::render::Format;

use super::{Place, RecordingPlace, find, find_recording};
use crate::PortalState;
use crate::form::Form;
use crate::guard::Member;
use crate::refusal::Refusal;

/// Forms of audio, the one that is played first.
pub(super) const FORMATS: [(Format, &str); 3] = [(Format::Mp3, "MP3"), (Format::Ogg, "Ogg"), (Format::Wav, "WAV")];
/// Forms of a transcript.
pub(super) const TEXT_FORMATS: [(TextFormat, &str); 4] =
    [(TextFormat::Text, "Text"), (TextFormat::Srt, "SubRip"), (TextFormat::Vtt, "WebVTT"), (TextFormat::Json, "JSON")];

impl From<AudioError> for Refusal {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Storage(error) => error.into(),
            AudioError::Broken(cause) => Self::internal(cause),
            AudioError::Objects(cause) => Self::Page {
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "Not now",
                message: "The recording can't be read now. It is not lost; try again later.".into(),
                retry_after_s: Some(5),
                cause: Some(cause),
            },
        }
    }
}

/// The transcript as a file: `?format=txt|srt|vtt|json`.
pub(super) async fn transcript(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
    form: Form,
) -> Result<Response, Refusal> {
    let session = find(&state, &member, &session).await?;
    let wanted = form.given("format").unwrap_or("txt");
    let format = TEXT_FORMATS.iter().map(|(format, _)| *format).find(|format| format.extension() == wanted);
    let format = format.ok_or_else(Refusal::not_found)?;
    let turns = state.app.turns(member.tenant, session.id).await?;
    let rendered = transcript::render(&session, turns, state.app.clock.now(), format);
    let mut response = rendered.bytes.into_response();
    set(&mut response, header::CONTENT_TYPE, rendered.content_type.to_owned());
    set(&mut response, header::CONTENT_DISPOSITION, attachment(&format!("{}.{}", session.id, format.extension())));
    Ok(response)
}

/// The audio: `?format=mp3|ogg|wav`, and `&download=yes` for a file. Any range of its bytes is made by itself, so a player can jump.
pub(super) async fn audio(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session, recording)): RecordingPlace,
    form: Form,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (_, recording) = find_recording(&state, &member, &session, &recording).await?;
    if recording.status != RecordingStatus::Ready {
        return Err(Refusal::not_found());
    }
    let wanted = form.given("format").unwrap_or(FORMATS[0].0.extension());
    let format = FORMATS.iter().map(|(format, _)| *format).find(|format| format.extension() == wanted);
    let format = format.ok_or_else(Refusal::not_found)?;
    let selection = default_selection(recording.channel);
    let audio = state.app.audio(&recording, selection, format).await?;
    let bytes = audio.bytes();
    let etag = etag(&recording, selection, format, audio.tracks());
    let (status, sent) = match asked(&asks(&method, &headers), &etag, bytes) {
        Asked::All => (StatusCode::OK, 0..bytes),
        Asked::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
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
    let Range { start, end } = sent;
    let body = if method == Method::HEAD { Body::empty() } else { Body::from_stream(stream(audio, sent)) };
    let mut response = (status, body).into_response();
    set(&mut response, header::CONTENT_TYPE, format.media_type().to_owned());
    set(&mut response, header::CONTENT_LENGTH, (end - start).to_string());
    set(&mut response, header::ACCEPT_RANGES, "bytes".into());
    set(&mut response, header::ETAG, etag);
    if status == StatusCode::PARTIAL_CONTENT {
        set(&mut response, header::CONTENT_RANGE, format!("bytes {start}-{}/{bytes}", end - 1));
    }
    if form.is_checked("download") {
        let name = format!("{}_{}.{}", recording.session, recording.channel, format.extension());
        set(&mut response, header::CONTENT_DISPOSITION, attachment(&name));
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

/// The bytes, made as they are asked for: between two pieces nothing is held but where it stands.
fn stream(
    audio: Audio,
    range: Range<u64>,
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

fn attachment(name: &str) -> String {
    format!("attachment; filename=\"{name}\"")
}

fn set(response: &mut Response, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}
