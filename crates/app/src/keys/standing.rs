//! How keys stand, for who is about to rotate or revoke one: who still uses the secret that was replaced, and what would break.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::audit::AuditAction;
use kallglot_core::id::ApiKeyId;
use kallglot_core::session::{Session, Tenant};
use kallglot_storage::{AuditFilter, PageRequest};

use crate::request_log::RequestFilter;
use crate::{App, Error};

/// Most requests with a replaced secret that are looked at: enough to see from where they come.
const REQUESTS_MAX: usize = 1000;
/// Most open sessions that are named.
pub const SESSIONS_MAX: u32 = 100;

/// Who uses a secret that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSecretUse {
    /// From where, the busiest first.
    pub addresses: Vec<AddressUse>,
    /// How many requests were found.
    pub requests: usize,
    /// Whether there may be more.
    pub has_more: bool,
    /// Since when was looked: the last rotation, where it is known.
    pub since: Timestamp,
}

/// Requests from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressUse {
    /// The address.
    pub address: IpAddr,
    /// How many.
    pub requests: usize,
    /// The last one.
    pub last_at: Timestamp,
}

impl App {
    /// Who has used a replaced secret of this key since its last rotation, as the request log has it (up to 30 days).
    ///
    /// # Errors
    /// Storage's.
    pub async fn old_secret_use(&self, tenant: Tenant, key: ApiKeyId) -> Result<OldSecretUse, Error> {
        let now = self.clock.now();
        let rotations = AuditFilter {
            action: Some(AuditAction::KeyRotated),
            object: Some(key.to_string()),
            ..AuditFilter::default()
        };
        let newest = PageRequest::newest(1);
        let rotated = self.storage.audit_log(tenant.organization, &rotations, &newest).await?.items.pop();
        let month = now.checked_sub(SignedDuration::from_hours(24 * kallglot_core::request_record::KEPT_DAYS));
        let since = rotated.map_or(month.unwrap_or(now), |entry| entry.change.at);
        let filter = RequestFilter { key: Some(key), old_secret: true, since: Some(since), ..RequestFilter::default() };
        let (records, has_more) =
            self.request_log.list(self.storage.as_ref(), tenant, &filter, REQUESTS_MAX, now).await?;
        let mut by_address: HashMap<IpAddr, AddressUse> = HashMap::new();
        for record in &records {
            let fresh = AddressUse { address: record.address, requests: 0, last_at: record.at };
            let seen = by_address.entry(record.address).or_insert(fresh);
            seen.requests += 1;
            seen.last_at = seen.last_at.max(record.at);
        }
        let mut addresses: Vec<_> = by_address.into_values().collect();
        addresses.sort_by_key(|seen| (std::cmp::Reverse(seen.requests), seen.address));
        Ok(OldSecretUse { addresses, requests: records.len(), has_more, since })
    }

    /// The sessions of this key that are not over, newest first, at most [`SESSIONS_MAX`]: a revocation that closes streams
    /// interrupts them.
    ///
    /// # Errors
    /// Storage's.
    pub async fn open_sessions_of_key(&self, tenant: Tenant, key: ApiKeyId) -> Result<Vec<Session>, Error> {
        Ok(self.storage.open_sessions_by(tenant, key, SESSIONS_MAX).await?)
    }
}
