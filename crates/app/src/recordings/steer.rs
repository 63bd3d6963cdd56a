//! Pausing a session's recording and letting it go on, while the call runs.

use std::time::Duration;

use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::SessionId;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{Session, Tenant};
use kallglot_storage::GateChange;

use crate::node::AWAY_AFTER;
use crate::{App, Error};

/// How long the node that a session lives on may take to say that it has paused, before the caller is told to try again.
const ELSEWHERE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl App {
    /// Pauses a session's recording, or lets it go on. When this returns, it is so on the node that the session lives on, and stays so
    /// after a restart.
    ///
    /// # Errors
    /// `session_not_found`, `session_already_ended`, `validation_failed` for one that is not recorded; `service_unavailable` when it is
    /// asked for and its node has not said that it has done it.
    pub async fn steer_recording(&self, tenant: Tenant, id: SessionId, mode: RecordingMode) -> Result<Session, Error> {
        let session = self.storage.set_recording(tenant, id, mode).await?;
        let session = session.ok_or_else(|| Error::of(ErrorCode::SessionNotFound))?;
        if session.state.ended_at().is_some() {
            return Err(Error::of(ErrorCode::SessionAlreadyEnded));
        }
        if session.recording == RecordingMode::Off {
            let message =
                "This session is not recorded. Recording is chosen when a session is created: `recording.enabled`.";
            return Err(Error::invalid("recording.enabled", message));
        }
        if self.hub.record_if_live(id, mode).await {
            return Ok(session);
        }
        let home = self.storage.session_home(id, AWAY_AFTER).await?;
        if home.is_none_or(|home| home.id == self.node.id) {
            // It lives nowhere; where it comes to live next, that is what it finds.
            return Ok(session);
        }
        self.changed(&[GateChange::Record(id, mode)]).await;
        let deadline = tokio::time::Instant::now() + ELSEWHERE_MAX;
        loop {
            match self.storage.recording_mode(tenant, id).await? {
                Some((now, heard)) if heard || now != mode => return Ok(session),
                Some(_) => {}
                None => return Err(Error::of(ErrorCode::SessionNotFound)),
            }
            if tokio::time::Instant::now() >= deadline {
                let message =
                    "The node that has the session did not confirm in time. It is asked to; try again to be sure.";
                return Err(Error::with(ErrorCode::ServiceUnavailable, message).retry_after(1));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What another node was asked, and this one has to do.
    pub(crate) async fn record_as_asked(&self, id: SessionId, mode: RecordingMode) {
        if self.hub.record_if_live(id, mode).await
            && let Err(error) = self.storage.recording_heard(id, mode).await
        {
            tracing::error!(session = %id, %error, "it could not be said that a recording was paused or goes on");
        }
    }
}
