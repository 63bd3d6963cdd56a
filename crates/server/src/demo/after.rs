//! What there is after the demo's call: its recording, its analysis, and the webhooks that told of it.

use std::path::Path;
use std::time::Duration;

use kallglot_client::{Client, ClientError};
use kallglot_core::webhook::WebhookSecret;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::receiver::Receiver;
use super::{failed, write};
use crate::call::{CallError, Show};

/// How long recordings, analysis and webhooks may take. They take a second or two.
const DONE_MAX: Duration = Duration::from_secs(60);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(200);
/// What the recordings are saved as: channel, what is asked of the server, file.
const SAVED: [(&str, &str, &str); 4] = [
    ("mixed", "layout=stereo", "recording.mp3"),
    ("mixed", "layout=stereo&format=ogg", "recording.ogg"),
    ("customer", "format=wav", "recording-customer.wav"),
    ("agent", "format=wav", "recording-agent.wav"),
];

/// The files that [`look`] writes.
pub(super) const FILES: [&str; 6] = [
    "recording.mp3",
    "recording.ogg",
    "recording-customer.wav",
    "recording-agent.wav",
    "analysis.json",
    "webhooks.json",
];

/// Registers `receiver` for all events.
pub(super) async fn subscribe(client: &Client, receiver: &Receiver) -> Result<(), CallError> {
    let error = |error: &dyn std::fmt::Display| failed("the webhook endpoint")(error);
    let asked = json!({ "url": receiver.url(), "description": "The demo's own receiver" });
    let answer = client.post("/v1/webhooks", asked).await.map_err(|e| error(&e))?;
    let endpoint = answer.success().map_err(|e| error(&e))?.json();
    let secret = endpoint["secret"].as_str().unwrap_or_default();
    receiver.trust(WebhookSecret::parse(secret).map_err(|e| error(&e))?);
    Ok(())
}

/// Fetches what there is, saves it and says what it is.
pub(super) async fn look(
    client: &Client,
    session: &str,
    files: &Path,
    receiver: &Receiver,
    show: &mut Show,
) -> Result<(), CallError> {
    show.heading("After the call:");
    let recordings = until("the recording", async || {
        let recordings = client.recordings_of(session).await?;
        let made = !recordings.is_empty() && recordings.iter().all(|recording| recording.status != "processing");
        Ok(made.then_some(recordings))
    })
    .await?;
    for (channel, query, file) in SAVED {
        let recording = recordings.iter().find(|recording| recording.channel == channel && recording.status == "ready");
        let recording = recording.ok_or_else(|| CallError::Failed(format!("there is no {channel} recording")))?;
        let audio = client.recording_audio(&recording.id, query).await.map_err(|e| failed("the recording")(&e))?;
        write(&files.join(file), &audio)?;
    }
    let duration_s = recordings.iter().filter_map(|recording| recording.duration).fold(0.0, f64::max);
    show.line(&format!(
        "  recorded   {duration_s:.1} s on one time line: the agent left, the customer right, originals and translations"
    ));

    let asked = client.analyse(session, &[], None).await.map_err(|e| failed("the analysis")(&e))?;
    let analysis = until("the analysis", async || {
        let analysis = client.analysis(&asked.id).await?;
        Ok(analysis.is_over().then_some(analysis))
    })
    .await?;
    if analysis.status != "completed" {
        return Err(CallError::Failed(format!("the analysis is {}", analysis.status)));
    }
    let whole = client.get(&format!("/v1/analyses/{}", asked.id)).await.map_err(|e| failed("the analysis")(&e))?;
    write(&files.join("analysis.json"), format!("{:#}\n", whole.json()).as_bytes())?;
    tell_analysis(&whole.json(), show);

    let events = until("the webhooks", async || {
        let events = receiver.events();
        Ok(is_complete(&events).then_some(events))
    })
    .await?;
    if receiver.unproven() > 0 {
        return Err(CallError::Failed(format!("{} webhooks were not signed as they should be", receiver.unproven())));
    }
    write(&files.join("webhooks.json"), format!("{:#}\n", Value::from(events.clone())).as_bytes())?;
    show.line(&format!(
        "  webhooks   {} events were delivered to a receiver on this machine, each signed by both schemes",
        events.len()
    ));
    Ok(())
}

/// Whether the session's events up to the end of its analysis are there, without a hole.
fn is_complete(events: &[Value]) -> bool {
    let of_session: Vec<u64> = events.iter().filter_map(|event| event["data"]["sequence"].as_u64()).collect();
    let has = |event_type: &str| events.iter().any(|event| event["type"] == event_type);
    has("session.ended")
        && has("recording.ready")
        && has("analysis.complete")
        && of_session.iter().max().is_some_and(|last| *last == of_session.len() as u64)
}

fn tell_analysis(analysis: &Value, show: &mut Show) {
    for line in analysis["summary"].as_str().unwrap_or_default().lines() {
        show.line(&format!("  summary    {line}"));
    }
    let keywords: Vec<&str> = analysis["keywords"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|keyword| keyword.as_str().or_else(|| keyword["text"].as_str()))
        .take(6)
        .collect();
    if !keywords.is_empty() {
        show.line(&format!("  keywords   {}", keywords.join(", ")));
    }
    let label = |party: &str| {
        let sentiment = &analysis["sentiment"][party];
        sentiment.as_str().or_else(|| sentiment["label"].as_str()).unwrap_or("unknown").to_owned()
    };
    show.line(&format!("  sentiment  customer {}, agent {}", label("customer"), label("agent")));
    if let Some(score) = analysis["performance"]["score"].as_f64() {
        show.line(&format!("  score      {score:.0} of 100: see analysis.json for what it is made of"));
    }
}

/// Asks until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>, ClientError>) -> Result<T, CallError> {
    let deadline = Instant::now() + DONE_MAX;
    loop {
        if let Some(done) = ask().await.map_err(|error| failed(what)(&error))? {
            return Ok(done);
        }
        if Instant::now() > deadline {
            let seconds = DONE_MAX.as_secs();
            return Err(CallError::Failed(format!("{what} is not there after {seconds} s; server.log may tell why")));
        }
        tokio::time::sleep(POLL).await;
    }
}
