//! Events as they happen, as server-sent events (WHATWG HTML, section 9.2): `GET /v1/sessions/{id}/events` for who watches a call without
//! its audio, and `GET /v1/webhooks/listen`, by which `kallglot listen` brings test events to a developer's own machine.
//!
//! What must stay true: what has an `id` comes from the database, in order, so a client that was away goes on where it was, on any node;
//! a client that reads slowly costs a few frames of memory and is cut off; a stream ends when its key is not let in any more.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kallglot_app::feed::Place;
use kallglot_app::gate::cache::Known;
use kallglot_app::live::message::SegmentText;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::{Event, EventType, time};
use kallglot_core::id::{EventId, SessionId};
use kallglot_core::session::{Environment, SessionState, Tenant};
use kallglot_storage::{EventFilter, PageRequest, StorageError};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::HttpState;
use crate::context::RequestContext;
use crate::events::event_type;
use crate::gate::{Caller, Requirement, SessionsRead, WebhooksManage};
use crate::list::query_pairs;
use crate::problem::Problem;
use crate::serve::HangUp;
use crate::sessions::{find, session_id};

/// Frames that may wait for one client. When there is no room for longer than a write may take, the client is cut off.
const FRAMES_MAX: usize = 16;
/// Events that are read at once for one client.
const BATCH: u32 = 50;
/// How long a client is to wait before it connects again, in milliseconds.
const RETRY_MS: u32 = 2000;
/// How soon events are read again after the database did not answer.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// What is read, and from where on.
enum Source {
    /// A session's events after this place among them. `ended`: none is to come but those that are there.
    Session { id: SessionId, after: u32, ended: bool },
    /// A tenant's events behind `after` of these types (empty for all); there may be some up to `through`.
    Tenant { after: i64, through: i64, types: Vec<EventType> },
}

/// An event stream that is open.
struct Stream {
    state: HttpState,
    known: Arc<Known>,
    context: Arc<RequestContext>,
    tenant: Tenant,
    source: Source,
    /// Whether it goes on when all that is there has been sent.
    wait: bool,
    /// Whether it has partials too.
    with_partials: bool,
    partials: Option<mpsc::Receiver<Arc<SegmentText>>>,
    frames: mpsc::Sender<Bytes>,
    hang_up: HangUp,
}

/// The client is gone, or was cut off.
struct Gone;

/// `GET /v1/sessions/{id}/events`.
pub(crate) async fn session(
    caller: Caller<SessionsRead>,
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    Extension(hang_up): Extension<HangUp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (mut after, mut wait, mut with_partials) = (None, true, false);
    for (name, value) in query_pairs(query.as_deref().unwrap_or("")) {
        match name.as_str() {
            "after" => after = Some(place(&name, &value)?),
            "wait" => wait = flag(&name, &value)?,
            _ => with_partials = flag(&name, &value)?,
        }
    }
    // A browser repeats the address when it connects again, and says in the header where it was.
    if let Some(last) = last_event_id(&headers)? {
        after = Some(place("Last-Event-ID", last)?);
    }
    let after = after.unwrap_or(0);
    let storage = &state.app.storage;
    let session = find(&state.app, caller.tenant(), session_id(&id)?).await?;
    let count = storage.session_event_count(session.tenant, session.id).await?.unwrap_or(0);
    if after > count {
        let message =
            format!("The session has had {count} events so far. Name one of them, or none to begin with the first.");
        return Err(Problem::invalid("after", message));
    }
    let place = state.app.feed.wait_for(&caller.known, Some(session.id))?;
    let first = storage.session_events(session.tenant, session.id, after, 1).await?;
    let ended = matches!(session.state, SessionState::Ended { .. });
    if first.is_empty() && after == count && (ended || !wait) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut opening = format!("retry: {RETRY_MS}\n\n");
    let mut begin = after;
    // What was forgotten can't be sent. The client is told what is missing, and goes on behind it.
    let last_missing = first.first().and_then(|event| event.session_sequence).map_or(count, |next| next - 1);
    if last_missing > after {
        let gap =
            json!({ "session_id": session.id.to_string(), "from_sequence": after + 1, "to_sequence": last_missing });
        let body = unstored("stream.gap", &state, gap);
        opening.push_str(&frame(Some(&last_missing.to_string()), "stream.gap", &body));
        begin = last_missing;
    }
    let source = Source::Session { id: session.id, after: begin, ended };
    Ok(open(&caller, &state, hang_up, source, wait, with_partials, place, opening))
}

/// `GET /v1/webhooks/listen`.
pub(crate) async fn listen(
    caller: Caller<WebhooksManage>,
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
    Extension(hang_up): Extension<HangUp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = caller.tenant();
    if tenant.environment != Environment::Test {
        let message = "Only test events can be listened to, so that no customer's data leaves your servers. Use a test key (`sk_test_…`).";
        return Err(Problem::with(ErrorCode::ApiKeyWrongEnvironment, message));
    }
    let (mut after, mut wait, mut types) = (None, true, Vec::new());
    for (name, value) in query_pairs(query.as_deref().unwrap_or("")) {
        match name.as_str() {
            "after" => after = Some(value),
            "wait" => wait = flag(&name, &value)?,
            _ => types = value.split(',').map(|one| event_type("types", one)).collect::<Result<_, _>>()?,
        }
    }
    if let Some(last) = last_event_id(&headers)? {
        after = Some(last.to_owned());
    }
    let place = state.app.feed.wait_for(&caller.known, None)?;
    let storage = &state.app.storage;
    let through = storage.last_event_place().await?;
    let mut begin = None;
    let after = match after {
        None => {
            // A place to go on from, for a client that is cut off before anything has happened.
            let newest = storage.event_page(tenant, EventFilter::default(), &PageRequest::newest(1)).await?.items.pop();
            match newest {
                None => through,
                Some(event) => {
                    begin = Some(event.id);
                    storage.event_place(tenant, event.id).await?.unwrap_or(through)
                }
            }
        }
        Some(text) => {
            let unknown = || {
                let message = "There is no such event any more. Leave it out to begin with what happens from now on.";
                Problem::invalid("after", message)
            };
            let id: EventId = text.parse().map_err(|_| unknown())?;
            storage.event_place(tenant, id).await?.ok_or_else(unknown)?
        }
    };
    let source = Source::Tenant { after, through, types };
    let begin = begin.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let opening = format!("retry: {RETRY_MS}\n{begin}: listening\n\n");
    Ok(open(&caller, &state, hang_up, source, wait, false, place, opening))
}

/// The answer, and the task that fills it.
#[allow(clippy::too_many_arguments, reason = "called twice, with what each request has settled")]
fn open<R: Requirement>(
    caller: &Caller<R>,
    state: &HttpState,
    hang_up: HangUp,
    source: Source,
    wait: bool,
    with_partials: bool,
    place: Place,
    opening: String,
) -> Response {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let stream = Stream {
        state: state.clone(),
        known: Arc::clone(&caller.known),
        context: Arc::clone(&caller.context),
        tenant: caller.tenant(),
        source,
        wait,
        with_partials,
        partials: None,
        frames,
        hang_up,
    };
    state.tasks.spawn(async move {
        // That the client is gone is an end like any other.
        let _ = stream.run(&place, opening).await;
    });
    let next = |mut receiver: mpsc::Receiver<Bytes>| async {
        receiver.recv().await.map(|frame| (Ok::<_, Infallible>(frame), receiver))
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(futures_util::stream::unfold(receiver, next))).into_response()
}

impl Stream {
    async fn run(mut self, place: &Place, opening: String) -> Result<(), Gone> {
        self.send(opening).await?;
        let mut heartbeat = tokio::time::interval(self.state.stream.heartbeat_every);
        heartbeat.reset();
        let stop = self.state.stop.clone();
        loop {
            let lets_in = place.still_lets_in(self.state.app.storage.as_ref(), &self.known).await;
            if self.is_shut_out() || matches!(lets_in, Ok(false)) {
                return Ok(());
            }
            let sent = match lets_in {
                Ok(_) => self.send_all(place).await?,
                Err(error) => Err(error),
            };
            let again = match sent {
                Ok(true) => {
                    self.send(": the session has ended\n\n".into()).await?;
                    return Ok(());
                }
                Ok(false) if !self.wait => return Ok(()),
                Ok(false) => false,
                Err(error) => {
                    tracing::debug!(%error, "events could not be read; it is tried again");
                    true
                }
            };
            self.watch().await;
            loop {
                tokio::select! {
                    () = place.woken() => break,
                    partial = next(&mut self.partials) => match partial {
                        Some(partial) => self.send(self.partial(&partial)).await?,
                        None => self.partials = None,
                    },
                    _ = heartbeat.tick() => {
                        self.send(":\n\n".into()).await?;
                        self.look_further().await;
                        break;
                    }
                    () = tokio::time::sleep(AGAIN_AFTER), if again => break,
                    () = self.frames.closed() => return Err(Gone),
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
    }

    /// Whether the key is not let in any more, though nobody has changed it: its time is over.
    fn is_shut_out(&self) -> bool {
        let (known, context) = (&self.known, &self.context);
        let now = self.state.app.clock.now();
        known.key.check(known.secret_valid_until, now, context.address, context.environment).is_err()
    }

    /// Sends all that is there. True when nothing is to come after it.
    async fn send_all(&mut self, place: &Place) -> Result<Result<bool, StorageError>, Gone> {
        let storage = Arc::clone(&self.state.app.storage);
        loop {
            let read = match &self.source {
                Source::Session { id, after, .. } => storage.session_events(self.tenant, *id, *after, BATCH).await,
                Source::Tenant { after, through, .. } => {
                    let through = place.told().max(*through);
                    let read = storage.tenant_events(self.tenant, *after, through, BATCH).await;
                    if let (Ok(found), Source::Tenant { after, through: known, .. }) = (&read, &mut self.source) {
                        *known = through;
                        *after = match found.last() {
                            Some((place, _)) if found.len() >= BATCH as usize => *place,
                            _ => through.max(*after),
                        };
                    }
                    read.map(|found| found.into_iter().map(|(_, event)| event).collect())
                }
            };
            let events = match read {
                Ok(events) => events,
                Err(error) => return Ok(Err(error)),
            };
            for event in &events {
                self.send_event(event).await?;
            }
            if events.len() < BATCH as usize {
                return Ok(Ok(matches!(self.source, Source::Session { ended: true, .. })));
            }
        }
    }

    async fn send_event(&mut self, event: &Event) -> Result<(), Gone> {
        let id = match &mut self.source {
            Source::Session { after, ended, .. } => {
                *ended |= event.event_type == EventType::SessionEnded;
                let sequence = event.session_sequence.unwrap_or(*after);
                *after = sequence;
                sequence.to_string()
            }
            Source::Tenant { types, .. } if types.is_empty() || types.contains(&event.event_type) => {
                event.id.to_string()
            }
            Source::Tenant { .. } => return Ok(()),
        };
        self.send(frame(Some(&id), event.event_type.as_str(), &event.body())).await
    }

    /// Moves the end of what is read on, also when nothing of this tenant's has come for long.
    async fn look_further(&mut self) {
        if let Source::Tenant { through, .. } = &mut self.source
            && let Ok(last) = self.state.app.storage.last_event_place().await
        {
            *through = last;
        }
    }

    /// Sees partials too, from when the session is live here.
    async fn watch(&mut self) {
        if let Source::Session { id, .. } = self.source
            && self.with_partials
            && self.partials.is_none()
        {
            self.partials = self.state.app.hub.watch(id).await;
        }
    }

    fn partial(&self, text: &SegmentText) -> String {
        let Source::Session { id, .. } = self.source else { return String::new() };
        let segment = json!({
            "id": text.id.to_string(),
            "speaker": text.speaker.as_str(),
            "language": text.language.as_str(),
            "text": text.text,
            "start_ms": text.start_ms,
            "end_ms": text.end_ms,
            "confidence": text.confidence,
        });
        let data = json!({ "session_id": id.to_string(), "segment": segment });
        frame(None, "transcript.partial", &unstored("transcript.partial", &self.state, data))
    }

    /// Gives the client a frame, which waits while the client is busy. One that does not read is cut off.
    async fn send(&self, frame: String) -> Result<(), Gone> {
        match tokio::time::timeout(self.state.stream.write_max, self.frames.send(frame.into())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                self.state.metrics.event_streams_cut.inc();
                self.hang_up.0.cancel();
                Err(Gone)
            }
        }
    }
}

/// The next partial; never, where none are wanted.
async fn next(partials: &mut Option<mpsc::Receiver<Arc<SegmentText>>>) -> Option<Arc<SegmentText>> {
    match partials {
        Some(partials) => partials.recv().await,
        None => std::future::pending().await,
    }
}

/// One message of the stream. `data` is JSON, which has no line breaks.
fn frame(id: Option<&str>, event: &str, data: &str) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n")
}

/// The body of what is only told here and never stored: as an event's, but for the id.
fn unstored(name: &str, state: &HttpState, data: Value) -> String {
    let created_at = time(state.app.clock.now());
    json!({ "type": name, "api_version": "v1", "created_at": created_at, "data": data }).to_string()
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::invalid("Last-Event-ID", "`Last-Event-ID` must be the `id` of the last message that came.")
    })?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}

fn place(name: &str, value: &str) -> Result<u32, Problem> {
    let message = || format!("`{name}` must be the `sequence` of an event of this session, or 0.");
    value.parse().map_err(|_| Problem::invalid(name, message()))
}

fn flag(name: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::invalid(name, format!("`{name}` must be true or false."))),
    }
}
