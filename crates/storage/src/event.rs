//! Reading events: for who watches a session, for lists, and for whoever waits for the next one. Events are raised by what changes
//! something, in its own transaction, and forgotten after 30 days ([`crate::LogRepository::forget`]).

use async_trait::async_trait;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{EventId, SessionId};
use kallglot_core::session::Tenant;

use crate::{Page, PageRequest, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// Which of a tenant's events are wanted; none of both for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this type.
    pub event_type: Option<EventType>,
    /// Only of this session.
    pub session: Option<SessionId>,
}

/// That there is an event: whose, and of which session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMark {
    /// Its place among all events, as in [`crate::LogRepository::events`].
    pub place: i64,
    /// Whose.
    pub tenant: Tenant,
    /// The session that it belongs to, if it does to one.
    pub session: Option<SessionId>,
}

/// Events, read.
#[async_trait]
pub trait EventRepository: Send + Sync {
    /// An event of the tenant.
    async fn event(&self, tenant: Tenant, id: EventId) -> Result<Option<Event>>;

    /// A page of the tenant's events, newest first.
    async fn event_page(&self, tenant: Tenant, filter: EventFilter, page: &PageRequest<EventId>)
    -> Result<Page<Event>>;

    /// Up to `limit` (at most 1000) events of the session in their order, after place `after` among them (0 for from the start).
    /// They are seen in this order without holes, but for those that have been forgotten.
    async fn session_events(&self, tenant: Tenant, session: SessionId, after: u32, limit: u32) -> Result<Vec<Event>>;

    /// How many events the session has had, the forgotten ones among them: the place of its last one. None for an unknown session.
    async fn session_event_count(&self, tenant: Tenant, session: SessionId) -> Result<Option<u32>>;

    /// The place of an event of the tenant among all events.
    async fn event_place(&self, tenant: Tenant, id: EventId) -> Result<Option<i64>>;

    /// Up to `limit` (at most 1000) events of the tenant behind place `after` and up to place `through`, oldest first, each with its
    /// place.
    async fn tenant_events(&self, tenant: Tenant, after: i64, through: i64, limit: u32) -> Result<Vec<(i64, Event)>>;

    /// The last place up to which all events are there; 0 without any. What is raised from now on has a later place.
    async fn last_event_place(&self) -> Result<i64>;

    /// Up to `limit` (at most 1000) marks of the events of all tenants behind place `after`, oldest first. For the server, to wake who
    /// waits.
    async fn event_marks(&self, after: i64, limit: u32) -> Result<Vec<EventMark>>;
}
