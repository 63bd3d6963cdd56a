//! What is kept of every request of an organization for 30 days, so that any refusal can be explained by its id. Never bodies, query
//! strings or secrets.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::edition::Edition;
use crate::id::{ApiKeyId, RequestId};
use crate::session::Tenant;

/// How long records are kept, in days.
pub const KEPT_DAYS: i64 = 30;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its id.
    pub id: RequestId,
    /// Whose.
    pub tenant: Tenant,
    /// With which key.
    pub key: ApiKeyId,
    /// Whether it was with a secret that a rotation had replaced: its sender still has to change over.
    pub old_secret: bool,
    /// When it arrived.
    pub at: Timestamp,
    /// The method, such as `GET`.
    pub method: Cow<'static, str>,
    /// The route, not the path: `/v1/sessions/{id}`.
    pub route: Cow<'static, str>,
    /// The answer's status.
    pub status: u16,
    /// The registry's name of the refusal; none for a success.
    pub code: Option<Cow<'static, str>>,
    /// From its arrival to its answer, in microseconds.
    pub latency_us: u32,
    /// From where it came, as the gate saw it.
    pub address: IpAddr,
    /// The edition by which it was answered.
    pub edition: Edition,
    /// The missing permission, for `insufficient_permissions`; the wrong field, for `validation_failed`.
    pub param: Option<String>,
    /// How the limits stood after it; none when it was refused before they were asked.
    pub limits: Option<RecordedLimits>,
}

/// How the limits stood after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedLimits {
    /// The request limit of the bucket that had least left: requests a minute.
    pub rate_limit: u32,
    /// What was left of it.
    pub rate_remaining: u32,
    /// When its window ends, in Unix seconds.
    pub rate_resets_at_s: i64,
    /// Whether that bucket is the key's own.
    pub rate_of_key: bool,
    /// Credits left.
    pub credits_remaining: i64,
    /// Concurrent sessions and their limit, where the request asked for one more.
    pub sessions: Option<(u32, u32)>,
}
