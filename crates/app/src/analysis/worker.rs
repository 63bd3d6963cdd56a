//! Makes the analyses that wait in the database: a few at a time, each claimed by one node.
//!
//! What must stay true: an analysis always comes to an end. Who works on one has a claim that lapses; an attempt has a time limit; after
//! [`ATTEMPTS_MAX`] attempts, those among them whose process died, it has failed, which is told and gives the credit back. A node that stops gives its
//! claims back at once. Reading and ranking is work for the processor and done on a thread for such work, never in the event loop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kallglot_analysis::{Call, Profile, analyse};
use kallglot_core::analysis::{Analysis, AnalysisFailure, AnalysisStatus, Part};
use kallglot_core::event::{Event, EventType, time};
use kallglot_core::session::{Session, Turn, UtteranceLag};
use kallglot_engine::CallText;
use kallglot_storage::{Claim, StorageError, TURNS_PAGE_MAX};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::document::{Document, Source};
use crate::App;

/// How often an analysis is tried.
pub const ATTEMPTS_MAX: u32 = 3;
/// How often it is tried to store an outcome before the claim is left to lapse.
const STORE_ATTEMPTS: u32 = 3;
const STORE_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Most turns that are read of a session; the analysis says so when there are more.
const TURNS_MAX: usize = 50_000;

/// Why an attempt made nothing.
enum Why {
    /// The node stops.
    Stopped,
    /// Trying again makes no sense.
    Final(AnalysisFailure, String),
    /// It may work the next time.
    Again(AnalysisFailure, String),
}

/// Works until `stop`; then gives back what it had begun.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let config = app.analyses.config.clone();
    if config.at_once_max == 0 {
        return;
    }
    let mut under_way: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        while under_way.len() < config.at_once_max {
            match app.storage.claim_analysis(app.node.id, config.claim_lapses_after).await {
                Ok(Some((claim, analysis))) => {
                    under_way.spawn(attempt(Arc::clone(&app), claim, analysis, stop.clone()));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "it could not be looked for analyses to make");
                    break;
                }
            }
        }
        app.analyses.counts.under_way.store(under_way.len() as u64, Ordering::Relaxed);
        tokio::select! {
            () = app.analyses.wake.notified() => {}
            () = tokio::time::sleep(config.look_every) => {}
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            () = stop.cancelled() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
    app.analyses.counts.under_way.store(0, Ordering::Relaxed);
}

/// One attempt, to its end.
async fn attempt(app: Arc<App>, claim: Claim, analysis: Analysis, stop: CancellationToken) {
    let began = Instant::now();
    let made = if claim.attempt > ATTEMPTS_MAX {
        // Everyone who tried died of it, or was taken for dead.
        let message = "The analysis was begun several times and never came to its end.".into();
        Err(Why::Final(AnalysisFailure::InternalError, message))
    } else {
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Why::Stopped),
            made = tokio::time::timeout(app.analyses.config.attempt_max, make(&app, claim, &analysis)) => made.unwrap_or_else(|_| {
                Err(Why::Again(AnalysisFailure::Timeout, "The analysis took too long.".into()))
            }),
        }
    };
    let counts = &app.analyses.counts;
    match made {
        Ok(document) => {
            // A document's fields always have a JSON form.
            let result = serde_json::to_string(&document).unwrap_or_default();
            let event = told(&app, &analysis, AnalysisStatus::Completed, None);
            if stored(&claim, || app.storage.complete_analysis(claim, &result, event.at, &event)).await {
                counts.completed.fetch_add(1, Ordering::Relaxed);
                counts.completed_ms.fetch_add(began.elapsed().as_millis() as u64, Ordering::Relaxed);
                tracing::info!(analysis = %analysis.id, session = %analysis.session, "analysis completed");
            }
        }
        Err(Why::Stopped) => {
            stored(&claim, || app.storage.release_analysis(claim, Duration::ZERO, false)).await;
        }
        Err(Why::Again(failure, message)) if claim.attempt < ATTEMPTS_MAX => {
            let delay = app.analyses.config.again_after * 4u32.pow(claim.attempt.saturating_sub(1).min(4));
            tracing::warn!(analysis = %analysis.id, attempt = claim.attempt, %failure, message, "an analysis failed and is tried again");
            if stored(&claim, || app.storage.release_analysis(claim, delay, true)).await {
                counts.retried.fetch_add(1, Ordering::Relaxed);
            }
        }
        Err(Why::Again(failure, message) | Why::Final(failure, message)) => {
            let event = told(&app, &analysis, AnalysisStatus::Failed, Some((failure, &message)));
            if stored(&claim, || app.storage.fail_analysis(claim, failure, &message, event.at, &event)).await {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(analysis = %analysis.id, session = %analysis.session, %failure, message, "analysis failed");
            }
        }
    }
}

/// Stores an outcome; false when the claim is lost or the database stays away, and then whoever claims it next goes on.
async fn stored<F: Future<Output = Result<bool, StorageError>>>(claim: &Claim, store: impl Fn() -> F) -> bool {
    for number in 1..=STORE_ATTEMPTS {
        match store().await {
            Ok(true) => return true,
            Ok(false) => {
                tracing::warn!(analysis = %claim.analysis, "another node has taken over an analysis");
                return false;
            }
            Err(error) => {
                tracing::error!(analysis = %claim.analysis, %error, "an analysis's outcome could not be stored")
            }
        }
        if number < STORE_ATTEMPTS {
            tokio::time::sleep(STORE_AGAIN_AFTER).await;
        }
    }
    false
}

/// The event that tells how it ended.
fn told(app: &App, analysis: &Analysis, status: AnalysisStatus, failed: Option<(AnalysisFailure, &str)>) -> Event {
    let event_type = match status {
        AnalysisStatus::Failed => EventType::AnalysisFailed,
        AnalysisStatus::Completed | AnalysisStatus::Processing => EventType::AnalysisComplete,
    };
    let mut event = super::event(app, event_type, analysis.tenant);
    event.object = analysis.id.to_string();
    event.session = Some(analysis.session);
    let include: Vec<&str> = analysis.include.iter().map(|part| part.as_str()).collect();
    let error = failed.map(|(failure, message)| json!({ "code": failure.as_str(), "message": message }));
    event.detail = serde_json::Map::from_iter([
        ("status".to_owned(), json!(status.as_str())),
        ("session_id".to_owned(), json!(analysis.session.to_string())),
        ("include".to_owned(), json!(include)),
        (
            "profile".to_owned(),
            json!(
                analysis.profile.as_ref().map(|profile| json!({ "id": profile.id.to_string(), "name": profile.name }))
            ),
        ),
        ("error".to_owned(), json!(error)),
        ("created_at".to_owned(), json!(time(analysis.created_at))),
        ("completed_at".to_owned(), json!(time(event.at))),
    ]);
    event
}

/// A session with what was said in it.
struct Material {
    session: Session,
    turns: Vec<Turn>,
    lags: Vec<UtteranceLag>,
}

async fn material(app: &App, analysis: &Analysis) -> Result<Material, StorageError> {
    let (tenant, id) = (analysis.tenant, analysis.session);
    let gone = || StorageError::Internal { cause: "an analysis's session is gone".into() };
    let session = app.storage.session(tenant, id).await?.ok_or_else(gone)?;
    let lags = app.storage.lags(tenant, id).await?.unwrap_or_default();
    let mut turns: Vec<Turn> = Vec::new();
    while turns.len() < TURNS_MAX {
        let after = turns.last().map_or(0, |turn| turn.sequence);
        let page = app.storage.turns(tenant, id, after, TURNS_PAGE_MAX).await?.unwrap_or_default();
        let complete = page.len() < TURNS_PAGE_MAX as usize;
        turns.extend(page);
        if complete {
            break;
        }
    }
    Ok(Material { session, turns, lags })
}

/// When the session ended on the time line of its turns, in ms.
fn end_ms(session: &Session) -> Option<u64> {
    let (ended, started) = (session.state.ended_at()?, session.state.started_at()?);
    Some((ended.as_millisecond() - started.as_millisecond()).max(0) as u64)
}

async fn make(app: &Arc<App>, claim: Claim, analysis: &Analysis) -> Result<Document, Why> {
    let failed = |error: StorageError| {
        tracing::error!(analysis = %claim.analysis, %error, "a transcript could not be read");
        Why::Again(AnalysisFailure::InternalError, "The transcript could not be read.".into())
    };
    let unreadable = |_| Why::Final(AnalysisFailure::InternalError, "The compliance profile can't be read.".into());
    let material = material(app, analysis).await.map_err(failed)?;
    let profile = match &analysis.profile {
        Some(used) => {
            let rules: serde_json::Value = serde_json::from_str(&used.rules).map_err(unreadable)?;
            let unreadable =
                |_| Why::Final(AnalysisFailure::InternalError, "The compliance profile can't be read.".into());
            Some(Profile::parse(&rules).map_err(unreadable)?)
        }
        None => None,
    };
    let include = analysis.include.clone();
    let worked = tokio::task::spawn_blocking(move || {
        let Material { session, turns, lags } = material;
        let call = Call { turns: &turns, lags: &lags, end_ms: end_ms(&session) };
        let made = analyse(&call, &include, profile.as_ref());
        let source = Source { turns: turns.len(), complete: session.state.ended_at().is_some() };
        (Document::of(made, source), turns)
    });
    let died = |_| Why::Again(AnalysisFailure::InternalError, "The analysis failed.".into());
    let (mut document, turns) = worked.await.map_err(died)?;
    if analysis.include.contains(&Part::Summary)
        && let Some(summarizer) = &app.analyses.summarizer
    {
        // What is left is the endpoint's: said now, so that who looks sees how far it is.
        let others = analysis.include.len() as u32 - 1;
        if !app.storage.note_analysis_progress(claim, others).await.map_err(failed)? {
            return Err(Why::Stopped);
        }
        document.write(summarizer.summarize(&call_text(&turns, &document)).await);
    }
    if document.has_anything() {
        return Ok(document);
    }
    let reasons: Vec<&str> = document.errors.iter().map(|problem| problem.message.as_str()).collect();
    let reason = reasons.first().copied().unwrap_or("Nothing was said that it could be made of.");
    Err(Why::Final(
        AnalysisFailure::NothingMade,
        format!("None of the parts that were asked for could be made. {reason}"),
    ))
}

/// The call as the endpoint reads it: in one language where that can be, the summary's.
fn call_text(turns: &[Turn], document: &Document) -> CallText {
    let language = document.summary_language.clone();
    let mut ordered: Vec<&Turn> = turns.iter().collect();
    ordered.sort_by_key(|turn| (turn.start_ms, turn.sequence));
    let line = |turn: &&Turn| {
        let translation = turn.translation.as_ref().filter(|it| Some(it.language.primary()) == language.as_deref());
        (turn.speaker, translation.map_or(&turn.text, |it| &it.text).clone())
    };
    CallText { lines: ordered.iter().map(line).collect(), language }
}
