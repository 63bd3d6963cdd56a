//! Reading the outbox of events. [`crate::log`] fills and empties it.

use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{EventId, SessionId};
use kallglot_core::session::{Environment, Tenant};
use kallglot_storage::{EventFilter, EventMark, Page, PageRequest};

use crate::log::{EVENT_COLUMNS, EVENTS_MAX, read_event};
use crate::query::page;
use crate::row::Columns;
use crate::sql::{Row, Sql, ToValue as _};
use crate::{Result, params};

/// Most events are of this type, so the index by type leaves it out; who asks for it finds it quickly in any other.
const COMMON: EventType = EventType::TranscriptSegment;

fn without_place(row: &dyn Row) -> Result<Event> {
    read_event(row).map(|(_, event)| event)
}

/// See [`kallglot_storage::EventRepository::event`].
pub async fn by_id<S: Sql>(db: &S, tenant: Tenant, id: EventId) -> Result<Option<Event>> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM outbox WHERE organization_id = ?1 AND environment = ?2 AND id = ?3");
    db.first(&sql, params![tenant.organization.to_string(), tenant.environment.as_str(), id.to_string()], without_place)
        .await
}

/// See [`kallglot_storage::EventRepository::event_page`].
pub async fn all<S: Sql>(
    db: &S,
    tenant: Tenant,
    filter: &EventFilter,
    request: &PageRequest<EventId>,
) -> Result<Page<Event>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    let (session, event_type) = (filter.session.map(|id| id.to_string()), filter.event_type.map(EventType::as_str));
    let mut params = vec![organization.to_value(), environment.to_value()];
    // A session has few events: they are found by it, and not among all of the organization's, which `||` hides from the planner.
    let mut condition = match &session {
        Some(session) => {
            params.push(session.to_value());
            "organization_id || '' = ?1 AND environment || '' = ?2 AND session_id = ?3".to_owned()
        }
        None => "organization_id = ?1 AND environment = ?2".to_owned(),
    };
    if let Some(event_type) = &event_type {
        params.push(event_type.to_value());
        condition.push_str(&format!(" AND type = ?{}", params.len()));
        if *event_type != COMMON.as_str() {
            condition.push_str(&format!(" AND type <> '{COMMON}'"));
        }
    }
    page(db, &format!("SELECT {EVENT_COLUMNS} FROM outbox"), &condition, &params, request, without_place).await
}

/// See [`kallglot_storage::EventRepository::session_events`].
pub async fn of_session<S: Sql>(
    db: &S,
    tenant: Tenant,
    session: SessionId,
    after: u32,
    limit: u32,
) -> Result<Vec<Event>> {
    // Raising locks the session, so its events are seen in their order without waiting for what others have under way.
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM outbox WHERE session_id = ?1 AND session_sequence > ?2 \
         AND organization_id || '' = ?3 AND environment || '' = ?4 ORDER BY session_sequence LIMIT ?5"
    );
    let (session, organization) = (session.to_string(), tenant.organization.to_string());
    db.every(
        &sql,
        params![session, after, organization, tenant.environment.as_str(), limit.min(EVENTS_MAX)],
        without_place,
    )
    .await
}

/// See [`kallglot_storage::EventRepository::session_event_count`].
pub async fn count_of_session<S: Sql>(db: &S, tenant: Tenant, session: SessionId) -> Result<Option<u32>> {
    let sql = "SELECT id, events FROM sessions WHERE id = ?1 AND organization_id = ?2 AND environment = ?3";
    db.first(sql, params![session.to_string(), tenant.organization.to_string(), tenant.environment.as_str()], |row| {
        Columns::of(row, "sessions", "id")?.get("events")
    })
    .await
}

/// See [`kallglot_storage::EventRepository::event_place`].
pub async fn place<S: Sql>(db: &S, tenant: Tenant, id: EventId) -> Result<Option<i64>> {
    let sql = "SELECT sequence, id FROM outbox WHERE organization_id = ?1 AND environment = ?2 AND id = ?3";
    db.first(sql, params![tenant.organization.to_string(), tenant.environment.as_str(), id.to_string()], |row| {
        Columns::of(row, "outbox", "id")?.get("sequence")
    })
    .await
}

/// See [`kallglot_storage::EventRepository::tenant_events`].
pub async fn of_tenant<S: Sql>(
    db: &S,
    tenant: Tenant,
    after: i64,
    through: i64,
    limit: u32,
) -> Result<Vec<(i64, Event)>> {
    // By place, of which few are new, and not by tenant: `||` hides that index from the planner.
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM outbox WHERE sequence > ?1 AND sequence <= ?2 \
         AND organization_id || '' = ?3 AND environment || '' = ?4 ORDER BY sequence LIMIT ?5"
    );
    let organization = tenant.organization.to_string();
    db.every(
        &sql,
        params![after, through, organization, tenant.environment.as_str(), limit.min(EVENTS_MAX)],
        read_event,
    )
    .await
}

/// See [`kallglot_storage::EventRepository::last_event_place`].
pub async fn last_place<S: Sql>(db: &S) -> Result<i64> {
    let sql =
        format!("SELECT sequence, id FROM outbox WHERE {} ORDER BY sequence DESC LIMIT 1", S::DIALECT.outbox_settled);
    let last = db.first(&sql, params![], |row| Columns::of(row, "outbox", "id")?.get("sequence")).await?;
    Ok(last.unwrap_or(0))
}

/// See [`kallglot_storage::EventRepository::event_marks`].
pub async fn marks<S: Sql>(db: &S, after: i64, limit: u32) -> Result<Vec<EventMark>> {
    let sql = format!(
        "SELECT sequence, id, organization_id, environment, session_id FROM outbox \
         WHERE sequence > ?1 AND {} ORDER BY sequence LIMIT ?2",
        S::DIALECT.outbox_settled
    );
    db.every(&sql, params![after, limit.min(EVENTS_MAX)], |row| {
        let columns = Columns::of(row, "outbox", "id")?;
        Ok(EventMark {
            place: columns.get("sequence")?,
            tenant: Tenant {
                organization: columns.parsed("organization_id")?,
                environment: columns.named("environment", Environment::parse)?,
            },
            session: columns.parsed_if_any("session_id")?,
        })
    })
    .await
}
