//! Sessions of the portal in their table.

use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change, Who};
use kallglot_core::id::{PersonId, PortalSessionId};
use kallglot_core::person::{Membership, PortalSession, Role};
use kallglot_storage::changes::Changes;
use kallglot_storage::people::{MEMBERSHIPS_MAX, PORTAL_SESSIONS_MAX};
use kallglot_storage::{CodeHash, FoundSession, Shown};

use super::{audit_person, forget_attempts, lock, member, password_of, person};
use crate::row::{Columns, us, us_if_any};
use crate::sql::{Row, Sql};
use crate::{Result, params};

fn portal_session(columns: &Columns<'_>) -> Result<PortalSession> {
    Ok(PortalSession {
        id: columns.parsed("id")?,
        person: columns.parsed("person_id")?,
        pending: columns.get("pending")?,
        created_at: columns.time("created_at_us")?,
        seen_at: columns.time("seen_at_us")?,
        expires_at: columns.time("expires_at_us")?,
        fresh_until: columns.time_if_any("fresh_until_us")?,
        user_agent: columns.get("user_agent")?,
        address: columns.parsed_if_any("address")?,
    })
}

/// See [`kallglot_storage::PeopleRepository::open_portal_session`].
pub async fn open<S: Sql>(
    db: &S,
    session: &PortalSession,
    cookie: &CodeHash,
    shown: &Shown,
    change: &Change,
) -> Result<bool> {
    let person = session.person.to_string();
    lock(db, &person).await?;
    let holds = match shown {
        Shown::Password(shown) => password_of(db, session.person).await?.as_ref() == Some(shown),
        Shown::SecondFactor(pending) => {
            let sql =
                "DELETE FROM portal_sessions WHERE id = ?1 AND person_id = ?2 AND pending = 1 AND expires_at_us > ?3";
            db.change(sql, params![pending.to_string(), person, us(change.at)]).await? > 0
        }
        Shown::Once => true,
    };
    if !holds {
        return Ok(false);
    }
    let surplus = "DELETE FROM portal_sessions WHERE person_id = ?1 AND id NOT IN \
        (SELECT id FROM portal_sessions WHERE person_id = ?1 ORDER BY seen_at_us DESC, id DESC LIMIT ?2)";
    db.execute(surplus, params![person, PORTAL_SESSIONS_MAX - 1]).await?;
    let insert = "INSERT INTO portal_sessions (hash, id, person_id, pending, created_at_us, seen_at_us, expires_at_us, fresh_until_us, \
        user_agent, address) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    db.execute(
        insert,
        params![
            cookie.0,
            session.id.to_string(),
            person,
            session.pending,
            us(session.created_at),
            us(session.seen_at),
            us(session.expires_at),
            us_if_any(session.fresh_until),
            session.user_agent,
            session.address.map(|address| address.to_string()),
        ],
    )
    .await?;
    if !session.pending {
        forget_attempts(db, &person).await?;
        let change = Change { who: Who::Person(session.person), ..*change };
        audit_person(db, session.person, AuditAction::PersonSignedIn, &Changes::new(), &change).await?;
    }
    Ok(true)
}

/// One row of a session's look-up: the session and its person, with one of their memberships if there is one.
fn found(row: &dyn Row) -> Result<FoundSession> {
    let columns = Columns::of(row, "portal_sessions", "id")?;
    let organization: Option<String> = columns.get("organization_id")?;
    let membership = match organization {
        None => None,
        Some(_) => Some(Membership {
            organization: columns.parsed("organization_id")?,
            organization_name: columns.get("organization_name")?,
            role: columns.named("role", Role::parse)?,
        }),
    };
    Ok(FoundSession {
        session: portal_session(&columns)?,
        person: person(&Columns::joined(row, "people", "p_", "id")?)?,
        memberships: membership.into_iter().collect(),
    })
}

/// See [`kallglot_storage::PeopleRepository::portal_session`].
pub async fn by_cookie<S: Sql>(db: &S, cookie: &CodeHash, now: Timestamp) -> Result<Option<FoundSession>> {
    let sql = "SELECT portal_sessions.id, portal_sessions.person_id, pending, portal_sessions.created_at_us, seen_at_us, expires_at_us, \
        fresh_until_us, user_agent, address, people.id AS p_id, email AS p_email, people.name AS p_name, is_operator AS p_is_operator, \
        password_changed_at_us AS p_password_changed_at_us, people.created_at_us AS p_created_at_us, organization_id, \
        organizations.name AS organization_name, role \
        FROM portal_sessions JOIN people ON people.id = portal_sessions.person_id \
        LEFT JOIN memberships ON memberships.person_id = people.id \
        LEFT JOIN organizations ON organizations.id = memberships.organization_id \
        WHERE hash = ?1 AND expires_at_us > ?2 LIMIT ?3";
    let rows = db.every(sql, params![cookie.0, us(now), MEMBERSHIPS_MAX], found).await?;
    let all = rows.into_iter().reduce(|mut all, mut row| {
        all.memberships.append(&mut row.memberships);
        all
    });
    Ok(all.map(|mut all| {
        member::by_name(&mut all.memberships);
        all
    }))
}

/// See [`kallglot_storage::PeopleRepository::touch_portal_session`].
pub async fn touch<S: Sql>(db: &S, id: PortalSessionId, now: Timestamp, expires_at: Timestamp) -> Result<()> {
    let sql = "UPDATE portal_sessions SET seen_at_us = ?2, expires_at_us = ?3 WHERE id = ?1 AND seen_at_us < ?2";
    db.execute(sql, params![id.to_string(), us(now), us(expires_at)]).await
}

/// See [`kallglot_storage::PeopleRepository::freshen_portal_session`].
pub async fn freshen<S: Sql>(db: &S, id: PortalSessionId, until: Timestamp) -> Result<bool> {
    let sql = "UPDATE portal_sessions SET fresh_until_us = ?2 WHERE id = ?1 AND pending = 0";
    Ok(db.change(sql, params![id.to_string(), us(until)]).await? > 0)
}

/// See [`kallglot_storage::PeopleRepository::portal_sessions`].
pub async fn of_person<S: Sql>(db: &S, person: PersonId, now: Timestamp) -> Result<Vec<PortalSession>> {
    let sql = "SELECT id, person_id, pending, created_at_us, seen_at_us, expires_at_us, fresh_until_us, user_agent, address \
        FROM portal_sessions WHERE person_id = ?1 AND pending = 0 AND expires_at_us > ?2 ORDER BY id DESC LIMIT ?3";
    db.every(sql, params![person.to_string(), us(now), PORTAL_SESSIONS_MAX], |row| {
        portal_session(&Columns::of(row, "portal_sessions", "id")?)
    })
    .await
}

/// See [`kallglot_storage::PeopleRepository::close_portal_session`].
pub async fn close<S: Sql>(db: &S, person: PersonId, id: PortalSessionId) -> Result<bool> {
    let sql = "DELETE FROM portal_sessions WHERE id = ?1 AND person_id = ?2";
    Ok(db.change(sql, params![id.to_string(), person.to_string()]).await? > 0)
}

/// See [`kallglot_storage::PeopleRepository::close_portal_sessions`].
pub async fn close_all<S: Sql>(db: &S, person: PersonId, keep: Option<PortalSessionId>) -> Result<u64> {
    // An id is never empty, so an empty one keeps none.
    let keep = keep.map(|id| id.to_string()).unwrap_or_default();
    let sql = "DELETE FROM portal_sessions WHERE person_id = ?1 AND id <> ?2";
    db.change(sql, params![person.to_string(), keep]).await
}
