//! Links that work once, in their table.

use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change, Who};
use kallglot_core::id::{OrganizationId, PortalLinkId};
use kallglot_core::person::{Act, Invitation, PortalLink, Role};
use kallglot_storage::changes::Changes;
use kallglot_storage::people::{INVITATIONS_MAX, MEMBERS_MAX, MEMBERSHIPS_MAX};
use kallglot_storage::{CodeHash, Invite, Invited, UseLink};

use super::{by_id, insert as insert_person, lock, member};
use crate::audit::{self, Subject};
use crate::row::{Columns, us};
use crate::sql::{Row, Sql};
use crate::{Result, credit, params};

const SELECT: &str = "SELECT portal_links.id, kind, coalesce(portal_links.email, people.email) AS email, organization_id, \
    organizations.name AS organization_name, role, portal_links.person_id, made_by, portal_links.created_at_us, expires_at_us \
    FROM portal_links LEFT JOIN organizations ON organizations.id = organization_id LEFT JOIN people ON people.id = person_id";

const INSERT: &str = "INSERT INTO portal_links (id, hash, kind, email, organization_id, role, person_id, made_by, created_at_us, \
    expires_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

fn invitation(columns: &Columns<'_>) -> Result<Invitation> {
    Ok(Invitation {
        id: columns.parsed("id")?,
        organization: columns.parsed("organization_id")?,
        organization_name: columns.get("organization_name")?,
        role: columns.named("role", Role::parse)?,
        email: columns.get("email")?,
        made_by: columns.parsed("made_by")?,
        created_at: columns.time("created_at_us")?,
        expires_at: columns.time("expires_at_us")?,
    })
}

fn read_invitation(row: &dyn Row) -> Result<Invitation> {
    invitation(&Columns::of(row, "portal_links", "id")?)
}

fn read(row: &dyn Row) -> Result<PortalLink> {
    let columns = Columns::of(row, "portal_links", "id")?;
    let (id, created_at) = (columns.parsed("id")?, columns.time("created_at_us")?);
    let expires_at = columns.time("expires_at_us")?;
    match columns.get::<String>("kind")?.as_str() {
        "setup" => Ok(PortalLink::Setup { id, created_at, expires_at }),
        "invitation" => Ok(PortalLink::Invitation(invitation(&columns)?)),
        "password_reset" => {
            let (person, email) = (columns.parsed("person_id")?, columns.get("email")?);
            Ok(PortalLink::PasswordReset { id, person, email, created_at, expires_at })
        }
        _ => Err(columns.corrupt("kind")),
    }
}

/// See [`kallglot_storage::PeopleRepository::create_link`].
pub async fn create<S: Sql>(db: &S, link: &PortalLink, code: &CodeHash, change: &Change) -> Result<()> {
    let (id, kind, person, created_at, expires_at) = match link {
        PortalLink::Setup { id, created_at, expires_at } => (id, "setup", None, created_at, expires_at),
        PortalLink::PasswordReset { id, person, created_at, expires_at, .. } => {
            (id, "password_reset", Some(person.to_string()), created_at, expires_at)
        }
        PortalLink::Invitation(new) => return insert_invitation(db, new, code).await,
    };
    let made_by = match change.who {
        Who::Person(person) => Some(person.to_string()),
        _ => None,
    };
    let none = None::<&str>;
    db.execute(
        INSERT,
        params![id.to_string(), code.0, kind, none, none, none, person, made_by, us(*created_at), us(*expires_at)],
    )
    .await
}

async fn insert_invitation<S: Sql>(db: &S, new: &Invitation, code: &CodeHash) -> Result<()> {
    db.execute(
        INSERT,
        params![
            new.id.to_string(),
            code.0,
            "invitation",
            new.email,
            new.organization.to_string(),
            new.role.as_str(),
            None::<&str>,
            new.made_by.to_string(),
            us(new.created_at),
            us(new.expires_at),
        ],
    )
    .await
}

/// See [`kallglot_storage::PeopleRepository::link_of_code`].
pub async fn by_code<S: Sql>(db: &S, code: &CodeHash, now: Timestamp) -> Result<Option<PortalLink>> {
    let sql = format!("{SELECT} WHERE hash = ?1 AND used_at_us IS NULL AND expires_at_us > ?2");
    db.first(&sql, params![code.0, us(now)], read).await
}

/// The link of this code, which nobody else uses until the transaction's end.
pub(super) async fn usable<S: Sql>(db: &S, code: &CodeHash, now: Timestamp) -> Result<Option<PortalLink>> {
    db.lock("SELECT 1 FROM portal_links WHERE hash = ?1", params![code.0]).await?;
    by_code(db, code, now).await
}

/// From now on it is used.
pub(super) async fn used<S: Sql>(db: &S, id: PortalLinkId, at: Timestamp) -> Result<()> {
    db.execute("UPDATE portal_links SET used_at_us = ?2 WHERE id = ?1", params![id.to_string(), us(at)]).await
}

/// See [`kallglot_storage::PeopleRepository::invite`].
pub async fn invite<S: Sql>(db: &S, new: &Invitation, code: &CodeHash, change: &Change) -> Result<Invite> {
    let organization = new.organization.to_string();
    credit::lock(db, &organization).await?;
    let act = if new.role == Role::Owner { Act::ManageOwners } else { Act::ManageMembers };
    if !member::role_of(db, new.organization, new.made_by).await?.is_some_and(|role| role.may(act)) {
        return Ok(Invite::Forbidden);
    }
    let sql =
        "SELECT 1 FROM memberships JOIN people ON people.id = person_id WHERE organization_id = ?1 AND email = ?2";
    if db.first(sql, params![organization, new.email], |_| Ok(())).await?.is_some() {
        return Ok(Invite::Member);
    }
    let waiting = invitations(db, new.organization, change.at).await?;
    let replaced = waiting.iter().find(|waiting| waiting.email == new.email);
    let members = member::count(db, new.organization).await?;
    if (replaced.is_none() && waiting.len() >= INVITATIONS_MAX as usize) || members >= MEMBERS_MAX.into() {
        return Ok(Invite::TooMany);
    }
    let before = "DELETE FROM portal_links WHERE organization_id = ?1 AND email = ?2 AND used_at_us IS NULL";
    db.execute(before, params![organization, new.email]).await?;
    insert_invitation(db, new, code).await?;
    let role = |invitation: &Invitation| invitation.role.to_string();
    let changes = Changes::from([
        ("email".into(), (String::new(), new.email.clone())),
        ("role".into(), (replaced.map(role).unwrap_or_default(), role(new))),
    ]);
    let object = new.id.to_string();
    let subject = Subject { organization: new.organization, environment: None, object: &object };
    audit::append(db, change, AuditAction::MemberInvited, &subject, &changes).await?;
    Ok(Invite::Made)
}

/// See [`kallglot_storage::PeopleRepository::invitations`].
pub async fn invitations<S: Sql>(db: &S, organization: OrganizationId, now: Timestamp) -> Result<Vec<Invitation>> {
    let sql = format!(
        "{SELECT} WHERE kind = 'invitation' AND organization_id = ?1 AND used_at_us IS NULL AND expires_at_us > ?2 \
         ORDER BY portal_links.id LIMIT ?3"
    );
    db.every(&sql, params![organization.to_string(), us(now), INVITATIONS_MAX], read_invitation).await
}

/// See [`kallglot_storage::PeopleRepository::withdraw_invitation`].
pub async fn withdraw<S: Sql>(db: &S, organization: OrganizationId, id: PortalLinkId, change: &Change) -> Result<bool> {
    let object = id.to_string();
    db.lock("SELECT 1 FROM portal_links WHERE id = ?1", params![object]).await?;
    let sql = format!("{SELECT} WHERE portal_links.id = ?1 AND organization_id = ?2 AND used_at_us IS NULL");
    let Some(found) = db.first(&sql, params![object, organization.to_string()], read_invitation).await? else {
        return Ok(false);
    };
    db.execute("DELETE FROM portal_links WHERE id = ?1", params![object]).await?;
    let changes = Changes::from([
        ("email".into(), (found.email, String::new())),
        ("role".into(), (found.role.to_string(), String::new())),
    ]);
    let subject = Subject { organization, environment: None, object: &object };
    audit::append(db, change, AuditAction::InvitationWithdrawn, &subject, &changes).await?;
    Ok(true)
}

/// See [`kallglot_storage::PeopleRepository::accept_invitation`].
pub async fn accept<S: Sql>(
    db: &S,
    code: &CodeHash,
    invited: &Invited,
    change: &Change,
) -> Result<UseLink<OrganizationId>> {
    // The organization first, as who changes its members does, and then its link; so it has to be looked up before it is locked.
    let Some(PortalLink::Invitation(Invitation { organization, .. })) = by_code(db, code, change.at).await? else {
        return Ok(UseLink::Invalid);
    };
    credit::lock(db, &organization.to_string()).await?;
    let Some(PortalLink::Invitation(found)) = usable(db, code, change.at).await? else {
        return Ok(UseLink::Invalid);
    };
    let person = match invited {
        Invited::New(new, _) => new.id,
        Invited::Known(id) => {
            lock(db, &id.to_string()).await?;
            match by_id(db, *id).await? {
                Some(person) if person.email == found.email => person.id,
                _ => return Ok(UseLink::NotForYou),
            }
        }
    };
    let before = member::role_of(db, organization, person).await?;
    if before.is_none()
        && (member::count(db, organization).await? >= MEMBERS_MAX.into()
            || member::count_of_person(db, person).await? >= MEMBERSHIPS_MAX.into())
    {
        return Ok(UseLink::TooMany);
    }
    if let Invited::New(new, password) = invited {
        let new = kallglot_core::person::Person { email: found.email.clone(), ..(**new).clone() };
        if !insert_person(db, &new, password.as_ref()).await? {
            return Ok(UseLink::EmailTaken);
        }
    }
    used(db, found.id, change.at).await?;
    match before {
        None => member::insert(db, person, organization, found.role, change.at).await?,
        Some(role) if role.is_at_least(found.role) => return Ok(UseLink::Done(organization)),
        Some(_) => member::set_role(db, person, organization, found.role).await?,
    }
    let changes = Changes::from([
        ("email".into(), (String::new(), found.email)),
        ("role".into(), (before.map(|role| role.to_string()).unwrap_or_default(), found.role.to_string())),
    ]);
    let object = person.to_string();
    let subject = Subject { organization, environment: None, object: &object };
    let change = Change { who: Who::Person(person), ..*change };
    audit::append(db, &change, AuditAction::MemberJoined, &subject, &changes).await?;
    Ok(UseLink::Done(organization))
}
