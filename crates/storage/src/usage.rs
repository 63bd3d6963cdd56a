//! Usage over time: what requests come to, how many sessions there were at a time, where credits went.

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::id::{ApiKeyId, NodeId, OrganizationId};
use kallglot_core::session::Tenant;
use kallglot_core::usage::{KeyMinute, Slice, Totals, Usage};

use crate::error::StorageError;
use crate::repository::RequestBlock;

type Result<T> = std::result::Result<T, StorageError>;

/// Most slices that one call of [`UsageRepository::usage`] goes over: two days of minutes; more are cut off at their beginning.
pub const USAGE_SLICES_MAX: i64 = 48 * 60;
/// Most keys that [`UsageRepository::usage_by_key`] answers with.
pub const USAGE_KEYS_MAX: u32 = 1000;
/// Most sessions that [`UsageRepository::session_spans`] answers with.
pub const SESSION_SPANS_MAX: u32 = 100_000;

/// Requests that are to be stored together, and what they come to: all or nothing, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestBatch {
    /// The node that answered them.
    pub node: NodeId,
    /// Their number among the node's batches; grows. One whose number is not greater than the last that was stored is passed over, so who
    /// does not know whether a batch was stored gives the very same again.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// The requests.
    pub blocks: Vec<RequestBlock>,
    /// What they come to, each key and minute once.
    pub usage: Vec<KeyMinute>,
}

/// From when to when something is asked: from the first one on, to before the second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The beginning.
    pub from: Timestamp,
    /// The end, which does not belong to it.
    pub to: Timestamp,
}

/// How long a session took up a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSpan {
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
}

/// What became of an organization's credits in a slice of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditFlow {
    /// Where the slice begins.
    pub at: Timestamp,
    /// What was spent, less what was refunded; negative when more was refunded.
    pub spent: i64,
    /// What was granted.
    pub granted: i64,
    /// What expired.
    pub expired: i64,
}

/// Usage over time.
#[async_trait]
pub trait UsageRepository: Send + Sync {
    /// Appends requests to the log and adds them to the usage.
    async fn append_requests(&self, batch: &RequestBatch) -> Result<()>;

    /// What the tenant's requests of a span come to, slice by slice, oldest first, without the empty ones: of all its keys, or of one. By
    /// the minute it is known for 48 hours, by the hour for 13 months.
    async fn usage(
        &self,
        tenant: Tenant,
        key: Option<ApiKeyId>,
        slice: Slice,
        span: Span,
    ) -> Result<Vec<(Timestamp, Usage)>>;

    /// As [`Self::usage`], in five numbers each, which is much faster.
    async fn usage_totals(
        &self,
        tenant: Tenant,
        key: Option<ApiKeyId>,
        slice: Slice,
        span: Span,
    ) -> Result<Vec<(Timestamp, Totals)>>;

    /// What the requests of each of the tenant's keys come to in a span; up to `limit` (at most [`USAGE_KEYS_MAX`]) keys that were used in
    /// it, those with most requests first.
    async fn usage_by_key(
        &self,
        tenant: Tenant,
        slice: Slice,
        span: Span,
        limit: u32,
    ) -> Result<Vec<(ApiKeyId, Totals)>>;

    /// When the tenant's sessions were there that were there in a span: up to `limit` (at most [`SESSION_SPANS_MAX`]), those that were
    /// there last. As many as the limit means that there may be more.
    async fn session_spans(&self, tenant: Tenant, span: Span, limit: u32) -> Result<Vec<SessionSpan>>;

    /// What became of the organization's credits, in slices of `slice_s` seconds counted from 1970, oldest first, without the empty ones.
    async fn credit_flows(&self, organization: OrganizationId, span: Span, slice_s: u32) -> Result<Vec<CreditFlow>>;
}
