//! The portal's own key of an organization: what is tried out in the portal is done with it, so that it is counted, limited and shown like
//! everything else. Nobody has its secret, so nobody else can use it.
//!
//! There is at most one at a time, also when several nodes make it at once: its id follows from its tenant. One that was revoked or
//! has expired stays that; the next one has the next id.

use std::sync::Arc;

use kallglot_core::api_key::{ApiKey, KeyStatus, Secret};
use kallglot_core::audit::Change;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::ApiKeyId;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::session::Tenant;
use kallglot_storage::{GateChange, KnownKey, StorageError};
use sha2::{Digest as _, Sha256};

use crate::gate::cache::Known;
use crate::{App, Error};

/// What lists of keys call it.
pub const NAME: &str = "Developer Portal";
/// Most keys that are made for a tenant in its life: who revokes so many does not want it.
const KEYS_MAX: u32 = 32;
/// What is tried out in the portal needs no more.
const PERMISSIONS: PermissionSet = PermissionSet::of(&[Permission::SessionsRead, Permission::SessionsWrite]);

/// The id of the tenant's `number`-th key. Its time is its organization's: it says nothing about when the key was made.
fn id(tenant: Tenant, number: u32) -> ApiKeyId {
    const BELOW_TIME: u128 = (1 << 80) - 1;
    let organization = tenant.organization.to_bits();
    let digest = Sha256::new()
        .chain_update(b"kallglot portal key\n")
        .chain_update(organization.to_be_bytes())
        .chain_update(tenant.environment.as_str())
        .chain_update(number.to_be_bytes())
        .finalize();
    let random = digest.iter().take(16).fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    ApiKeyId::from_bits(organization & !BELOW_TIME | random & BELOW_TIME)
}

/// Whether this is one of the keys that the portal has made for itself.
pub fn is_portals(key: &ApiKey) -> bool {
    is_portal_key(key.tenant(), key.id)
}

/// As [`is_portals`], by its id.
pub fn is_portal_key(tenant: Tenant, key: ApiKeyId) -> bool {
    (0..KEYS_MAX).any(|number| id(tenant, number) == key)
}

impl App {
    /// The key with which the portal does what it does for the tenant; `change` makes it, if there is none yet.
    ///
    /// # Errors
    /// `not_found` for an unknown organization; `insufficient_permissions` when its key was revoked again and again; storage's.
    pub async fn portal_key(&self, tenant: Tenant, change: &Change) -> Result<Arc<Known>, Error> {
        let organization = self.storage.organization(tenant.organization).await?;
        let organization = organization.ok_or_else(|| Error::of(ErrorCode::NotFound))?;
        let credits = self.storage.credit_balance(tenant.organization).await?.unwrap_or_default();
        for number in 0..KEYS_MAX {
            let id = id(tenant, number);
            let key = match self.storage.key(tenant, id).await? {
                Some(key) => key,
                None => self.make_portal_key(tenant, id, change).await?,
            };
            if matches!(key.status(change.at), KeyStatus::Active | KeyStatus::Rotating) {
                return Ok(self.keys.unlisted(KnownKey { key, secret_valid_until: None, organization, credits }));
            }
        }
        let message = "The portal's key of this organization was revoked too often. Ask the server's operator.";
        Err(Error::with(ErrorCode::InsufficientPermissions, message))
    }

    /// Makes the key of this id, unless another node is faster.
    async fn make_portal_key(&self, tenant: Tenant, id: ApiKeyId, change: &Change) -> Result<ApiKey, Error> {
        let secret = Secret::new(tenant.environment, self.random.as_ref());
        let key = ApiKey {
            id,
            organization: tenant.organization,
            environment: tenant.environment,
            name: NAME.to_owned(),
            permissions: PERMISSIONS,
            expires_at: None,
            allowed_networks: Vec::new(),
            requests_per_minute_max: None,
            edition: None,
            created_at: change.at,
            last_used_at: None,
            revoked_at: None,
            last4: secret.last4().to_owned(),
            old_secret_valid_until: None,
            old_secret_last_used_at: None,
            quarantined_at: None,
        };
        let stored = secret.stored(self.pepper_to_store_with(&self.peppers()));
        match self.storage.create_key(&key, &stored, None, change).await {
            Ok(_) => {
                self.changed(&[GateChange::Key(id)]).await;
                Ok(key)
            }
            Err(StorageError::Conflict { .. }) => {
                let made = self.storage.key(tenant, id).await?;
                made.ok_or_else(|| Error::of(ErrorCode::InternalError))
            }
            Err(error) => Err(error.into()),
        }
    }
}
