//! What the server does by itself: idle sessions end, and changes made by another process (the command line) take effect.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kallglot_core::session::EndReason;
use kallglot_storage::StorageError;
use tokio_util::sync::CancellationToken;

use crate::App;

/// How often idle sessions are looked for.
const IDLE_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// Sessions that one look ends at most; the next look finds the rest.
const IDLE_BATCH_MAX: u32 = 500;
/// How often another process's changes are looked for. The contract allows 1 s (section 14).
const CHANGES_EVERY: Duration = Duration::from_millis(250);

/// Ends sessions in which nothing has happened for the configured time, until `stop`.
pub async fn end_idle_sessions(app: Arc<App>, stop: CancellationToken) {
    loop {
        let now = app.clock.now();
        let idle = SignedDuration::from_secs(i64::from(app.config.session_idle_s));
        if let Ok(before) = now.checked_sub(idle) {
            app.hub.end_idle(before).await;
            match app.storage.idle_sessions(before, IDLE_BATCH_MAX).await {
                Ok(sessions) => {
                    for session in sessions.iter().filter(|session| !app.hub.is_live(session.id)) {
                        if let Err(error) = app.hub.end(session.tenant, session.id, EndReason::Timeout).await {
                            tracing::error!(session = %session.id, %error, "an idle session could not be ended");
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "idle sessions could not be looked for"),
            }
        }
        let next = now.checked_add(IDLE_EVERY).unwrap_or(now);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Closes streams whose key another process (the command line) revoked with that wish, until `stop`.
pub async fn close_revoked_streams(app: Arc<App>, stop: CancellationToken) {
    let mut marker = None;
    let mut seen = None;
    loop {
        match look(&app, &mut marker, &mut seen).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "revoked keys could not be looked for"),
        }
        tokio::select! {
            () = tokio::time::sleep(CHANGES_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look(app: &App, marker: &mut Option<i64>, seen: &mut Option<u64>) -> Result<(), StorageError> {
    let changes = app.storage.changes().await?;
    if *seen == Some(changes) {
        return Ok(());
    }
    let closures = app.storage.closed_streams_since(*marker).await?;
    for key in &closures.keys {
        app.hub.close_streams_of(*key).await;
    }
    *marker = Some(closures.marker);
    *seen = Some(changes);
    Ok(())
}
