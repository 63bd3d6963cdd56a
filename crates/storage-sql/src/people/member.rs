//! Memberships in their table. Who changes an organization's members holds the lock of its row, so what is counted stays so.

use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::id::{OrganizationId, PersonId};
use kallglot_core::person::{Act, Member, Membership, Role};
use kallglot_storage::ChangeMember;
use kallglot_storage::changes::Changes;
use kallglot_storage::people::{MEMBERS_MAX, MEMBERSHIPS_MAX};

use super::person;
use crate::audit::{self, Subject};
use crate::row::{Columns, us};
use crate::sql::{FromValue as _, Row, Sql};
use crate::{Result, credit, params};

/// In the order of names, as people look for them.
pub(super) fn by_name(memberships: &mut [Membership]) {
    memberships.sort_by_cached_key(|one| (one.organization_name.to_lowercase(), one.organization));
}

pub(crate) async fn insert<S: Sql>(
    db: &S,
    person: PersonId,
    organization: OrganizationId,
    role: Role,
    at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO memberships (person_id, organization_id, role, created_at_us) VALUES (?1, ?2, ?3, ?4)";
    db.execute(sql, params![person.to_string(), organization.to_string(), role.as_str(), us(at)]).await
}

pub(super) async fn set_role<S: Sql>(db: &S, person: PersonId, organization: OrganizationId, role: Role) -> Result<()> {
    let sql = "UPDATE memberships SET role = ?3 WHERE person_id = ?1 AND organization_id = ?2";
    db.execute(sql, params![person.to_string(), organization.to_string(), role.as_str()]).await
}

pub(crate) async fn role_of<S: Sql>(db: &S, organization: OrganizationId, person: PersonId) -> Result<Option<Role>> {
    let sql = "SELECT person_id, role FROM memberships WHERE person_id = ?1 AND organization_id = ?2";
    db.first(sql, params![person.to_string(), organization.to_string()], |row| {
        Columns::of(row, "memberships", "person_id")?.named("role", Role::parse)
    })
    .await
}

async fn count_where<S: Sql>(db: &S, filter: &str, id: &str) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM memberships WHERE {filter}");
    let counted = db.first(&sql, params![id], |row| Ok(i64::from_value(row.value_at(0)?))).await?;
    Ok(counted.flatten().unwrap_or(0))
}

/// How many members an organization has.
pub(crate) async fn count<S: Sql>(db: &S, organization: OrganizationId) -> Result<i64> {
    count_where(db, "organization_id = ?1", &organization.to_string()).await
}

/// How many organizations a person belongs to.
pub(super) async fn count_of_person<S: Sql>(db: &S, person: PersonId) -> Result<i64> {
    count_where(db, "person_id = ?1", &person.to_string()).await
}

/// See [`kallglot_storage::PeopleRepository::memberships`].
pub async fn of_person<S: Sql>(db: &S, person: PersonId) -> Result<Vec<Membership>> {
    let sql = "SELECT organization_id, organizations.name, role FROM memberships \
        JOIN organizations ON organizations.id = organization_id WHERE person_id = ?1 LIMIT ?2";
    let mut found = db
        .every(sql, params![person.to_string(), MEMBERSHIPS_MAX], |row| {
            let columns = Columns::of(row, "memberships", "organization_id")?;
            Ok(Membership {
                organization: columns.parsed("organization_id")?,
                organization_name: columns.get("name")?,
                role: columns.named("role", Role::parse)?,
            })
        })
        .await?;
    by_name(&mut found);
    Ok(found)
}

fn read(row: &dyn Row) -> Result<Member> {
    let columns = Columns::of(row, "memberships", "id")?;
    Ok(Member {
        person: person(&columns)?,
        role: columns.named("role", Role::parse)?,
        since: columns.time("since_us")?,
        seen_at: columns.time_if_any("seen_us")?,
    })
}

/// See [`kallglot_storage::PeopleRepository::members`].
pub async fn of_organization<S: Sql>(db: &S, organization: OrganizationId) -> Result<Vec<Member>> {
    let sql = "SELECT people.id, email, people.name, is_operator, password_changed_at_us, people.created_at_us, role, \
        memberships.created_at_us AS since_us, \
        (SELECT max(seen_at_us) FROM portal_sessions WHERE portal_sessions.person_id = people.id AND pending = 0) AS seen_us \
        FROM memberships JOIN people ON people.id = memberships.person_id WHERE organization_id = ?1 LIMIT ?2";
    let mut members = db.every(sql, params![organization.to_string(), MEMBERS_MAX], read).await?;
    members.sort_by_cached_key(|member| (member.person.name.to_lowercase(), member.person.id));
    Ok(members)
}

/// What is asked of a membership.
enum Asked {
    Role(Role),
    End,
}

/// Whether it may be done, and the role before it.
async fn judge<S: Sql>(
    db: &S,
    organization: OrganizationId,
    person: PersonId,
    asked: &Asked,
    by: PersonId,
) -> Result<ChangeMember> {
    let Some(before) = role_of(db, organization, person).await? else { return Ok(ChangeMember::NotFound) };
    let after = match asked {
        Asked::Role(role) => Some(*role),
        Asked::End => None,
    };
    let leaves = after.is_none() && person == by;
    let owners = before == Role::Owner || after == Some(Role::Owner);
    let act = if owners { Act::ManageOwners } else { Act::ManageMembers };
    if !leaves && !role_of(db, organization, by).await?.is_some_and(|role| role.may(act)) {
        return Ok(ChangeMember::Forbidden);
    }
    if before == Role::Owner && after != Some(Role::Owner) {
        let owners = count_where(db, "organization_id = ?1 AND role = 'owner'", &organization.to_string()).await?;
        if owners <= 1 {
            return Ok(ChangeMember::LastOwner);
        }
    }
    Ok(ChangeMember::Done(before))
}

/// Takes back what somebody has invited others to, who may not invite so any more.
async fn withdraw_of<S: Sql>(db: &S, organization: OrganizationId, person: PersonId) -> Result<()> {
    let sql = "DELETE FROM portal_links WHERE organization_id = ?1 AND made_by = ?2 AND used_at_us IS NULL";
    db.execute(sql, params![organization.to_string(), person.to_string()]).await
}

async fn audited<S: Sql>(
    db: &S,
    organization: OrganizationId,
    person: PersonId,
    action: AuditAction,
    role: (String, String),
    change: &Change,
) -> Result<()> {
    let object = person.to_string();
    let subject = Subject { organization, environment: None, object: &object };
    audit::append(db, change, action, &subject, &Changes::from([("role".into(), role)])).await
}

/// See [`kallglot_storage::PeopleRepository::change_role`].
pub async fn change_role<S: Sql>(
    db: &S,
    organization: OrganizationId,
    person: PersonId,
    role: Role,
    by: PersonId,
    change: &Change,
) -> Result<ChangeMember> {
    credit::lock(db, &organization.to_string()).await?;
    let judged = judge(db, organization, person, &Asked::Role(role), by).await?;
    if let ChangeMember::Done(before) = judged
        && before != role
    {
        set_role(db, person, organization, role).await?;
        if !role.is_at_least(before) {
            withdraw_of(db, organization, person).await?;
        }
        let roles = (before.to_string(), role.to_string());
        audited(db, organization, person, AuditAction::MemberUpdated, roles, change).await?;
    }
    Ok(judged)
}

/// See [`kallglot_storage::PeopleRepository::remove_member`].
pub async fn remove<S: Sql>(
    db: &S,
    organization: OrganizationId,
    person: PersonId,
    by: PersonId,
    change: &Change,
) -> Result<ChangeMember> {
    credit::lock(db, &organization.to_string()).await?;
    let judged = judge(db, organization, person, &Asked::End, by).await?;
    if let ChangeMember::Done(before) = judged {
        let sql = "DELETE FROM memberships WHERE person_id = ?1 AND organization_id = ?2";
        db.execute(sql, params![person.to_string(), organization.to_string()]).await?;
        withdraw_of(db, organization, person).await?;
        let roles = (before.to_string(), String::new());
        audited(db, organization, person, AuditAction::MemberRemoved, roles, change).await?;
    }
    Ok(judged)
}
