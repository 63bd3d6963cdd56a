//! Accounts at the single sign-on provider in their table.

use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change, Who};
use kallglot_core::id::{OrganizationId, PersonId};
use kallglot_core::person::{Person, Role};
use kallglot_storage::changes::Changes;
use kallglot_storage::factors::IDENTITIES_MAX;
use kallglot_storage::people::{MEMBERS_MAX, MEMBERSHIPS_MAX};
use kallglot_storage::{CodeHash, Invited, LinkIdentity, OidcIdentity, SignUp, UseLink};

use super::count;
use crate::audit::Subject;
use crate::people::{audit_person, insert as insert_person, link, lock, member};
use crate::row::{Columns, us, us_if_any};
use crate::sql::{Row, Sql};
use crate::{Result, audit, credit, organization, params};

const SELECT: &str = "SELECT issuer, subject, person_id, email, created_at_us, last_used_at_us FROM oidc_identities";

fn read(row: &dyn Row) -> Result<OidcIdentity> {
    let columns = Columns::of(row, "oidc_identities", "subject")?;
    Ok(OidcIdentity {
        issuer: columns.get("issuer")?,
        subject: columns.get("subject")?,
        person: columns.parsed("person_id")?,
        email: columns.get("email")?,
        created_at: columns.time("created_at_us")?,
        last_used_at: columns.time_if_any("last_used_at_us")?,
    })
}

async fn by_subject<S: Sql>(db: &S, issuer: &str, subject: &str) -> Result<Option<OidcIdentity>> {
    db.first(&format!("{SELECT} WHERE issuer = ?1 AND subject = ?2"), params![issuer, subject], read).await
}

/// See [`kallglot_storage::FactorRepository::use_identity`].
pub async fn used<S: Sql>(db: &S, issuer: &str, subject: &str, email: &str, at: Timestamp) -> Result<Option<PersonId>> {
    let Some(found) = by_subject(db, issuer, subject).await? else { return Ok(None) };
    let sql = "UPDATE oidc_identities SET email = ?3, last_used_at_us = ?4 WHERE issuer = ?1 AND subject = ?2";
    let email = if email.is_empty() { found.email.as_str() } else { email };
    db.execute(sql, params![issuer, subject, email, us(at)]).await?;
    Ok(Some(found.person))
}

/// See [`kallglot_storage::FactorRepository::identities`].
pub async fn of_person<S: Sql>(db: &S, person: PersonId) -> Result<Vec<OidcIdentity>> {
    let sql = format!("{SELECT} WHERE person_id = ?1 ORDER BY created_at_us DESC, issuer, subject LIMIT ?2");
    db.every(&sql, params![person.to_string(), IDENTITIES_MAX], read).await
}

async fn insert<S: Sql>(db: &S, new: &OidcIdentity) -> Result<()> {
    let sql = "INSERT INTO oidc_identities (issuer, subject, person_id, email, created_at_us, last_used_at_us) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let person = new.person.to_string();
    let used_us = us_if_any(new.last_used_at);
    // Who comes twice at once gets an error the second time, and everything that was done for them is undone.
    db.change(sql, params![new.issuer, new.subject, person, new.email, us(new.created_at), used_us]).await?;
    Ok(())
}

/// See [`kallglot_storage::FactorRepository::link_identity`].
pub async fn link_to<S: Sql>(db: &S, new: &OidcIdentity, change: &Change) -> Result<LinkIdentity> {
    let person = new.person.to_string();
    lock(db, &person).await?;
    if by_subject(db, &new.issuer, &new.subject).await?.is_some() {
        return Ok(LinkIdentity::Taken);
    }
    let sql = "SELECT count(*) FROM oidc_identities WHERE person_id = ?1";
    if count(db, sql, params![person]).await? >= IDENTITIES_MAX.into() {
        return Ok(LinkIdentity::TooMany);
    }
    insert(db, new).await?;
    let changes = Changes::from([("provider".into(), (String::new(), new.issuer.clone()))]);
    audit_person(db, new.person, AuditAction::IdentityLinked, &changes, change).await?;
    Ok(LinkIdentity::Linked)
}

/// See [`kallglot_storage::FactorRepository::unlink_identity`].
pub async fn unlink<S: Sql>(db: &S, person: PersonId, issuer: &str, subject: &str, change: &Change) -> Result<bool> {
    let owner = person.to_string();
    lock(db, &owner).await?;
    let sql = "DELETE FROM oidc_identities WHERE issuer = ?1 AND subject = ?2 AND person_id = ?3";
    if db.change(sql, params![issuer, subject, owner]).await? == 0 {
        return Ok(false);
    }
    let changes = Changes::from([("provider".into(), (issuer.to_owned(), String::new()))]);
    audit_person(db, person, AuditAction::IdentityUnlinked, &changes, change).await?;
    Ok(true)
}

/// The invitations that wait for this address: where, and their codes' hashes.
async fn invitations_to<S: Sql>(db: &S, email: &str, now: Timestamp) -> Result<Vec<(String, CodeHash)>> {
    let sql = "SELECT id, organization_id, hash FROM portal_links WHERE kind = 'invitation' AND email = ?1 \
        AND used_at_us IS NULL AND expires_at_us > ?2 ORDER BY organization_id LIMIT ?3";
    db.every(sql, params![email, us(now), MEMBERSHIPS_MAX], |row| {
        let columns = Columns::of(row, "portal_links", "id")?;
        Ok((columns.get("organization_id")?, CodeHash(columns.get("hash")?)))
    })
    .await
}

/// See [`kallglot_storage::FactorRepository::sign_up_with_identity`].
pub async fn sign_up<S: Sql>(
    db: &S,
    person: &Person,
    new: &OidcIdentity,
    join: Option<(OrganizationId, Role)>,
    change: &Change,
) -> Result<SignUp> {
    if by_subject(db, &new.issuer, &new.subject).await?.is_some() {
        return Ok(SignUp::Taken);
    }
    let change = &Change { who: Who::Person(person.id), ..*change };
    let (mut made, mut full) = (false, false);
    let invitations = invitations_to(db, &person.email, change.at).await?;
    // In one order, so that no two wait for each other.
    let mut organizations: Vec<_> = invitations.iter().map(|(organization, _)| organization.clone()).collect();
    organizations.extend(join.map(|(organization, _)| organization.to_string()));
    organizations.sort();
    for organization in &organizations {
        credit::lock(db, organization).await?;
    }
    for (_, code) in invitations {
        let invited = if made { Invited::Known(person.id) } else { Invited::New(Box::new(person.clone()), None) };
        match link::accept(db, &code, &invited, change).await? {
            UseLink::Done(_) => made = true,
            UseLink::EmailTaken => return Ok(SignUp::Taken),
            UseLink::TooMany => full = true,
            UseLink::Invalid | UseLink::NotForYou => {}
        }
    }
    if let Some((id, role)) = join {
        let there = organization::by_id(db, id).await?.is_some();
        let full_up = member::count(db, id).await? >= MEMBERS_MAX.into();
        if !there || (full_up && !made) {
            return Ok(SignUp::TooMany);
        }
        if !made && !insert_person(db, person, None).await? {
            return Ok(SignUp::Taken);
        }
        made = true;
        if !full_up && member::role_of(db, id, person.id).await?.is_none() {
            member::insert(db, person.id, id, role, change.at).await?;
            let object = person.id.to_string();
            let subject = Subject { organization: id, environment: None, object: &object };
            let changes = Changes::from([
                ("email".into(), (String::new(), person.email.clone())),
                ("role".into(), (String::new(), role.to_string())),
            ]);
            audit::append(db, change, AuditAction::MemberJoined, &subject, &changes).await?;
        }
    }
    if !made {
        return Ok(if full { SignUp::TooMany } else { SignUp::NotInvited });
    }
    insert(db, new).await?;
    Ok(SignUp::Done)
}
