//! Who is let in, and how much (contract sections 2, 3, 6): the steps of the gate that are the same for every edge. The edge calls them in
//! the contract's order, since it alone knows where in its protocol the key and the address are.

pub mod cache;

use std::net::IpAddr;
use std::sync::Arc;

use kallglot_cluster::{Rate, Take, Window};
use kallglot_core::Timestamp;
use kallglot_core::api_key::{KeyHash, Peppers, Secret};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::permission::Permission;
use kallglot_storage::KnownKey;
use tokio::sync::Semaphore;

use crate::gate::cache::Known;
use crate::{App, Error};

/// Failed attempts that a client has in a minute (contract section 2).
pub const FAILED_ATTEMPTS_MAX: u32 = 60;
/// Look-ups of unknown keys by clients with too many failures that may wait for their turn; more are refused unseen.
const SUSPECTS_WAITING_MAX: usize = 4096;

/// The one line in which clients with too many failed attempts wait for the database, so that keys that nobody has can't be looked up faster
/// than one after the other. A valid key of such a client still works.
pub struct Suspects {
    waiting: Semaphore,
    turn: Semaphore,
}

impl Default for Suspects {
    fn default() -> Self {
        Self { waiting: Semaphore::new(SUSPECTS_WAITING_MAX), turn: Semaphore::new(1) }
    }
}

/// The refusal of a client with too many failed attempts.
fn too_many_failures(window: Window, now_ms: i64) -> Error {
    Error::of(ErrorCode::TooManyFailedAttempts).retry_after(window.retry_after_s(now_ms))
}

impl App {
    /// Step 2: whose key this is. `api_key_invalid` when it is nobody's; `too_many_failed_attempts` when this client has shown too many
    /// such keys.
    ///
    /// # Errors
    /// These two; storage's.
    pub async fn identify(&self, secret: &Secret, address: IpAddr) -> Result<Arc<Known>, Error> {
        let peppers = self.peppers();
        let hash = peppers.newest().hash(secret.expose());
        match self.keys.get(&hash) {
            Some(known) => Ok(known),
            // Boxed: seldom, and large.
            None => Box::pin(self.look_up(secret, hash, peppers, address)).await,
        }
    }

    /// `hash` is made with the newest of `peppers`.
    async fn look_up(
        &self,
        secret: &Secret,
        hash: KeyHash,
        peppers: Arc<Peppers>,
        address: IpAddr,
    ) -> Result<Arc<Known>, Error> {
        let now_ms = self.clock.now().as_millisecond();
        if self.keys.is_unknown(&hash) {
            return Err(self.failed_attempt(address).await);
        }
        let failures = self.cluster.failures(address, FAILED_ATTEMPTS_MAX, now_ms).get().await?;
        let _turn = if failures.remaining() == 0 {
            let _waiting = self.suspects.waiting.try_acquire().map_err(|_| too_many_failures(failures, now_ms))?;
            self.suspects.turn.acquire().await.ok()
        } else {
            None
        };
        let begun = self.keys.begin();
        if let Some(found) = self.storage.key_of_secret(&hash).await? {
            return Ok(self.keys.found(begun, hash, found));
        }
        if let Some(found) = self.key_under_older_pepper(secret, &hash, &peppers).await? {
            return Ok(self.keys.found(begun, hash, found));
        }
        // The pepper was rotated meanwhile, and another request may have moved the key to the new one.
        if !Arc::ptr_eq(&peppers, &self.peppers()) {
            return Box::pin(self.identify(secret, address)).await;
        }
        self.keys.not_found(begun, hash);
        Err(self.failed_attempt(address).await)
    }

    /// A key that was hashed before the pepper was rotated gets its hash under the newest one.
    async fn key_under_older_pepper(
        &self,
        secret: &Secret,
        hash: &KeyHash,
        peppers: &Peppers,
    ) -> Result<Option<KnownKey>, Error> {
        for pepper in peppers.older() {
            let old = pepper.hash(secret.expose());
            if let Some(found) = self.storage.key_of_secret(&old).await? {
                let newest = peppers.newest().number();
                if self.pepper_to_store_with(peppers).number() == newest {
                    self.storage.rehash_secret(&old, hash, newest).await?;
                }
                return Ok(Some(found));
            }
        }
        if peppers.older().is_empty() {
            return Ok(None);
        }
        // Another request of this key may have moved it between the look-ups. It moves to the newest only, so this one is final.
        Ok(self.storage.key_of_secret(hash).await?)
    }

    /// Counts a failed attempt to show a key, and says how it is to be refused.
    pub async fn failed_attempt(&self, address: IpAddr) -> Error {
        let now_ms = self.clock.now().as_millisecond();
        match self.cluster.count_failure(address, FAILED_ATTEMPTS_MAX, now_ms).get().await {
            Ok(window) if window.used > FAILED_ATTEMPTS_MAX => too_many_failures(window, now_ms),
            Ok(_) => Error::of(ErrorCode::ApiKeyInvalid),
            Err(unavailable) => unavailable.into(),
        }
    }

    /// What a request of this key takes of its buckets.
    pub fn take_of(known: &Known) -> Take {
        let own = known.key.requests_per_minute_max.map(|limit| (known.key.id, limit));
        Take { tenant: known.key.tenant(), limit: known.limits.requests_per_minute_max, own }
    }

    /// Step 4: counts the request. The caller refuses it ([`Self::rate_refusal`]) when it is not allowed.
    ///
    /// # Errors
    /// The counters can't be asked.
    pub async fn count_request(&self, known: &Known, now: Timestamp) -> Result<Rate, Error> {
        Ok(self.cluster.take(&Self::take_of(known), now.as_millisecond()).get().await?)
    }

    /// The refusal of a request that was not allowed by its rate.
    pub fn rate_refusal(&self, rate: &Rate) -> Error {
        let (window, own) = rate.tightest();
        let whose = if own { "This API key's own limit" } else { "The organization's limit" };
        let retry_after_s = window.retry_after_s(self.clock.now().as_millisecond());
        Error::with(
            ErrorCode::RateLimitExceeded,
            format!("{whose} of {} requests per minute is used up. Try again in {retry_after_s} s.", window.limit),
        )
        .retry_after(retry_after_s)
    }

    /// Gives a request's rate unit back: it was refused by another limit (contract section 3).
    pub async fn give_back(&self, known: &Known, rate: &Rate) -> Rate {
        let now_ms = self.clock.now().as_millisecond();
        self.cluster.give_back(&Self::take_of(known), rate, now_ms).get().await.unwrap_or(*rate)
    }

    /// Steps 5 and 6: the organization is active, and the key may do this. `writes` says whether the request changes something.
    ///
    /// # Errors
    /// `organization_inactive`, `insufficient_permissions` with the permission as `param`.
    pub fn authorize(&self, known: &Known, permission: Option<Permission>, writes: bool) -> Result<(), Error> {
        if !known.organization.active {
            return Err(Error::of(ErrorCode::OrganizationInactive));
        }
        if let Some(permission) = permission {
            if !known.key.permissions.contains(permission) {
                let message = format!(
                    "This API key does not have the permission `{permission}`. Use a key that has it, or add it to this one."
                );
                return Err(Error::with(ErrorCode::InsufficientPermissions, message).param(permission.as_str()));
            }
            if writes && known.key.quarantined_at.is_some() {
                let message = "This API key was reported as leaked and may only read. Replace it by a new one, or lift its quarantine.";
                return Err(Error::with(ErrorCode::InsufficientPermissions, message).param(permission.as_str()));
            }
        }
        Ok(())
    }
}
