//! Requests that can be repeated (contract section 8): step 7 of the gate.
//!
//! A request first claims its key, so that of several at once one works and the others are told to wait. What it has done and answered is
//! stored in the transaction of the work; the next request under the key finds it there. So the usual request, whose key is new, costs
//! no look-up of its own: only a request that is refused before its transaction looks whether it is a repetition.

use std::sync::Arc;

use kallglot_cluster::{Answer, Claim};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::RequestId;
use kallglot_core::idempotency::{CLAIM_S_MAX, Fingerprint, IdempotencyKey};
use kallglot_core::session::Tenant;
use kallglot_storage::{NewAnswer, Once, StorageError, StoredAnswer};

use crate::{App, Error};

/// A request that its client may repeat. Dropping it lets others use its key.
pub struct Repeatable {
    app: Arc<App>,
    tenant: Tenant,
    key: IdempotencyKey,
    fingerprint: Fingerprint,
    request: RequestId,
}

/// An answer that is given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The request that the answer was made for.
    pub original: RequestId,
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// What became of a request that makes something.
pub enum Made<T = Vec<u8>> {
    /// It is there; its answer's body.
    New(T),
    /// The request is a repetition: nothing was done.
    Replay(Replay),
}

impl<T> Made<T> {
    /// The same with another value for what is new.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Made<U> {
        match self {
            Self::New(new) => Made::New(of(new)),
            Self::Replay(replay) => Made::Replay(replay),
        }
    }
}

fn mismatch() -> Error {
    Error::of(ErrorCode::IdempotencyMismatch)
}

impl Repeatable {
    /// Claims the key for this request.
    ///
    /// # Errors
    /// `idempotency_conflict` while another is at work with the same request, `idempotency_mismatch` when that is another request.
    pub async fn begin(
        app: &Arc<App>,
        tenant: Tenant,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
        request: RequestId,
    ) -> Result<Self, Error> {
        let now_ms = app.clock.now().as_millisecond();
        let until_ms = now_ms + CLAIM_S_MAX * 1000;
        match app.cluster.claim(tenant, &key, fingerprint, request, until_ms, now_ms).get().await? {
            Claim::Taken => Ok(Self { app: Arc::clone(app), tenant, key, fingerprint, request }),
            Claim::Held { fingerprint: held, .. } if held != fingerprint => Err(mismatch()),
            Claim::Held { .. } => Err(Error::of(ErrorCode::IdempotencyConflict).retry_after(1)),
        }
    }

    /// What a sealed answer belongs to.
    fn place(&self) -> Vec<u8> {
        format!("{} {} {}", self.tenant.organization, self.tenant.environment, self.key).into_bytes()
    }

    /// The record of an answer, to be stored with the work.
    pub fn answer(&self, status: u16, body: &[u8]) -> NewAnswer {
        NewAnswer {
            key: self.key.clone(),
            fingerprint: self.fingerprint,
            request: self.request,
            status,
            sealed_body: self.app.seal.seal(body, &self.place(), self.app.random.as_ref()),
            at: self.app.clock.now(),
        }
    }

    /// The answer to give again, for an answer that storage has found.
    ///
    /// # Errors
    /// `idempotency_mismatch` when it is another request's.
    pub fn replay(&self, stored: StoredAnswer) -> Result<Replay, Error> {
        if stored.fingerprint != self.fingerprint {
            return Err(mismatch());
        }
        let body = self.app.seal.open(&stored.sealed_body, &self.place()).map_err(|error| {
            Error::Storage(StorageError::Internal { cause: format!("an idempotency record: {error}") })
        })?;
        Ok(Replay { original: stored.request, status: stored.status, body })
    }

    /// Looks whether the request is a repetition: for one that is about to be refused.
    ///
    /// # Errors
    /// `idempotency_mismatch`; storage's.
    pub async fn find(&self) -> Result<Option<Replay>, Error> {
        let stored = self.app.storage.answer(self.tenant, &self.key, self.app.clock.now()).await?;
        stored.map(|stored| self.replay(stored)).transpose()
    }

    /// Stores the answer to work that is done already, and does no harm when it is done twice.
    ///
    /// # Errors
    /// Storage's.
    pub async fn keep(&self, status: u16, body: &[u8]) -> Result<(), Error> {
        match self.app.storage.keep_answer(self.tenant, &self.answer(status, body)).await? {
            Once::Done(()) | Once::Known(_) => Ok(()),
        }
    }
}

impl Drop for Repeatable {
    fn drop(&mut self) {
        match self.app.cluster.release_claim(self.tenant, &self.key, self.request) {
            Answer::Now(_) => {}
            Answer::Later(_) => {
                let (app, tenant, key, request) = (Arc::clone(&self.app), self.tenant, self.key.clone(), self.request);
                // What can't be released lapses by itself.
                tokio::spawn(async move { app.cluster.release_claim(tenant, &key, request).get().await });
            }
        }
    }
}
