//! People, their passwords and their attempts to sign in, in their tables; what they belong to, their sessions and links are the modules below.

pub mod link;
pub mod member;
pub mod session;

use kallglot_core::audit::{AuditAction, Change, Who};
use kallglot_core::id::{OrganizationId, PersonId, PortalSessionId};
use kallglot_core::organization::Organization;
use kallglot_core::person::{Person, PortalLink, Role};
use kallglot_core::{Timestamp, person};
use kallglot_storage::changes::Changes;
use kallglot_storage::people::{ATTEMPTS_KEPT_S, MEMBERSHIPS_MAX, wait_after_s};
use kallglot_storage::{Attempt, CodeHash, Page, PageRequest, PasswordHash, UseLink};

use crate::audit::{self, Subject};
use crate::query::page;
use crate::row::{Columns, us, us_if_any};
use crate::sql::{Row, Sql};
use crate::{Result, organization, params};

const SELECT: &str = "SELECT id, email, name, is_operator, password_changed_at_us, created_at_us FROM people";

/// The person in these columns.
pub(crate) fn person(columns: &Columns<'_>) -> Result<Person> {
    Ok(Person {
        id: columns.parsed("id")?,
        email: columns.named("email", person::email_address)?,
        name: columns.get("name")?,
        is_operator: columns.get("is_operator")?,
        password_changed_at: columns.time_if_any("password_changed_at_us")?,
        created_at: columns.time("created_at_us")?,
    })
}

fn read(row: &dyn Row) -> Result<Person> {
    person(&Columns::of(row, "people", "id")?)
}

fn password(row: &dyn Row) -> Result<Option<PasswordHash>> {
    let hash: Option<String> = Columns::of(row, "people", "id")?.get("password_hash")?;
    Ok(hash.map(PasswordHash))
}

/// Lets nobody else change this person, or open or end their sessions, until the transaction's end.
pub(crate) async fn lock<S: Sql>(db: &S, id: &str) -> Result<()> {
    db.lock("SELECT 1 FROM people WHERE id = ?1", params![id]).await
}

/// See [`kallglot_storage::PeopleRepository::has_people`].
pub async fn any<S: Sql>(db: &S) -> Result<bool> {
    let found = db.first("SELECT id FROM people LIMIT 1", params![], |_| Ok(())).await?;
    Ok(found.is_some())
}

/// See [`kallglot_storage::PeopleRepository::person`].
pub async fn by_id<S: Sql>(db: &S, id: PersonId) -> Result<Option<Person>> {
    db.first(&format!("{SELECT} WHERE id = ?1"), params![id.to_string()], read).await
}

/// See [`kallglot_storage::PeopleRepository::person_of_email`].
pub async fn by_email<S: Sql>(db: &S, email: &str) -> Result<Option<(Person, Option<PasswordHash>)>> {
    let sql = "SELECT id, email, name, is_operator, password_changed_at_us, created_at_us, password_hash FROM people \
        WHERE email = ?1";
    db.first(sql, params![email], |row| Ok((read(row)?, password(row)?))).await
}

/// See [`kallglot_storage::PeopleRepository::password_of`].
pub async fn password_of<S: Sql>(db: &S, id: PersonId) -> Result<Option<PasswordHash>> {
    let sql = "SELECT id, password_hash FROM people WHERE id = ?1";
    Ok(db.first(sql, params![id.to_string()], password).await?.flatten())
}

/// See [`kallglot_storage::PeopleRepository::people_for_operator`].
pub async fn all<S: Sql>(db: &S, request: &PageRequest<PersonId>) -> Result<Page<Person>> {
    page(db, SELECT, "true", params![], request, read).await
}

/// Stores a person; false when there is one of this address.
pub(crate) async fn insert<S: Sql>(db: &S, new: &Person, password: Option<&PasswordHash>) -> Result<bool> {
    let sql = "INSERT INTO people (id, email, name, is_operator, password_hash, password_changed_at_us, created_at_us) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (email) DO NOTHING";
    let inserted = db
        .change(
            sql,
            params![
                new.id.to_string(),
                new.email,
                new.name,
                new.is_operator,
                password.map(|hash| &hash.0),
                us_if_any(password.and(new.password_changed_at)),
                us(new.created_at),
            ],
        )
        .await?;
    Ok(inserted > 0)
}

/// See [`kallglot_storage::PeopleRepository::set_up`].
pub async fn set_up<S: Sql>(
    db: &S,
    code: &CodeHash,
    person: &Person,
    password: Option<&PasswordHash>,
    organization: &Organization,
    credits: u32,
    change: &Change,
) -> Result<UseLink<()>> {
    let Some(PortalLink::Setup { id, .. }) = link::usable(db, code, change.at).await? else {
        return Ok(UseLink::Invalid);
    };
    // The first of several that come at once by links of their own; the others wait for it, and find it.
    let first = "INSERT INTO marks (name, mark) VALUES ('first_person', ?1) ON CONFLICT (name) DO NOTHING";
    if db.change(first, params![person.id.to_string()]).await? == 0 {
        return Ok(UseLink::Invalid);
    }
    insert(db, person, password).await?;
    link::used(db, id, change.at).await?;
    make_organization(db, person.id, organization, credits, change).await?;
    Ok(UseLink::Done(()))
}

async fn make_organization<S: Sql>(
    db: &S,
    owner: PersonId,
    new: &Organization,
    credits: u32,
    change: &Change,
) -> Result<()> {
    let made = Changes::from([("owner".into(), (String::new(), owner.to_string()))]);
    organization::create_with(db, new, credits, made, change).await?;
    member::insert(db, owner, new.id, Role::Owner, change.at).await
}

/// See [`kallglot_storage::PeopleRepository::create_organization_of`].
pub async fn create_organization_of<S: Sql>(
    db: &S,
    owner: PersonId,
    new: &Organization,
    credits: u32,
    change: &Change,
) -> Result<bool> {
    lock(db, &owner.to_string()).await?;
    if member::count_of_person(db, owner).await? >= MEMBERSHIPS_MAX.into() {
        return Ok(false);
    }
    make_organization(db, owner, new, credits, change).await?;
    Ok(true)
}

/// See [`kallglot_storage::PeopleRepository::rename_person`].
pub async fn rename<S: Sql>(db: &S, id: PersonId, name: &str) -> Result<bool> {
    let renamed = db.change("UPDATE people SET name = ?2 WHERE id = ?1", params![id.to_string(), name]).await?;
    Ok(renamed > 0)
}

/// Sets a password, and ends what was signed in by the one before it.
async fn replace_password<S: Sql>(
    db: &S,
    id: PersonId,
    password: &PasswordHash,
    keep: Option<PortalSessionId>,
    at: Timestamp,
) -> Result<bool> {
    lock(db, &id.to_string()).await?;
    let sql = "UPDATE people SET password_hash = ?2, password_changed_at_us = ?3 WHERE id = ?1";
    if db.change(sql, params![id.to_string(), password.0, us(at)]).await? == 0 {
        return Ok(false);
    }
    session::close_all(db, id, keep).await?;
    // Nor does an older link change it back.
    let links = "DELETE FROM portal_links WHERE person_id = ?1 AND used_at_us IS NULL";
    db.execute(links, params![id.to_string()]).await?;
    Ok(true)
}

/// See [`kallglot_storage::PeopleRepository::set_password`].
pub async fn set_password<S: Sql>(
    db: &S,
    id: PersonId,
    password: &PasswordHash,
    keep: Option<PortalSessionId>,
    change: &Change,
) -> Result<bool> {
    if !replace_password(db, id, password, keep, change.at).await? {
        return Ok(false);
    }
    audit_person(db, id, AuditAction::PasswordChanged, &Changes::new(), change).await?;
    Ok(true)
}

/// See [`kallglot_storage::PeopleRepository::reset_password`].
pub async fn reset_password<S: Sql>(
    db: &S,
    code: &CodeHash,
    password: &PasswordHash,
    change: &Change,
) -> Result<UseLink<PersonId>> {
    // The person first, as who sets a password does, and then the link; so it has to be looked up before it is locked.
    let Some(PortalLink::PasswordReset { person, .. }) = link::by_code(db, code, change.at).await? else {
        return Ok(UseLink::Invalid);
    };
    lock(db, &person.to_string()).await?;
    let Some(PortalLink::PasswordReset { id, .. }) = link::usable(db, code, change.at).await? else {
        return Ok(UseLink::Invalid);
    };
    link::used(db, id, change.at).await?;
    replace_password(db, person, password, None, change.at).await?;
    forget_attempts(db, &person.to_string()).await?;
    let change = Change { who: Who::Person(person), ..*change };
    audit_person(db, person, AuditAction::PasswordReset, &Changes::new(), &change).await?;
    Ok(UseLink::Done(person))
}

/// See [`kallglot_storage::PeopleRepository::rehash_password`].
pub async fn rehash<S: Sql>(db: &S, id: PersonId, old: &PasswordHash, new: &PasswordHash) -> Result<()> {
    let sql = "UPDATE people SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
    db.execute(sql, params![id.to_string(), old.0, new.0]).await
}

/// See [`kallglot_storage::PeopleRepository::audit_person`].
pub async fn audit_person<S: Sql>(
    db: &S,
    id: PersonId,
    action: AuditAction,
    changes: &Changes,
    change: &Change,
) -> Result<()> {
    let sql = "SELECT organization_id FROM memberships WHERE person_id = ?1 ORDER BY organization_id LIMIT ?2";
    let organizations: Vec<OrganizationId> = db
        .every(sql, params![id.to_string(), MEMBERSHIPS_MAX], |row| {
            Columns::of(row, "memberships", "organization_id")?.parsed("organization_id")
        })
        .await?;
    let object = id.to_string();
    for organization in organizations {
        let subject = Subject { organization, environment: None, object: &object };
        audit::append(db, change, action, &subject, changes).await?;
    }
    Ok(())
}

/// How an account's attempts stand.
struct Attempts {
    attempts: u32,
    last_at: Timestamp,
    locked_until: Option<Timestamp>,
}

fn attempts(row: &dyn Row) -> Result<Attempts> {
    let columns = Columns::of(row, "sign_in_attempts", "account")?;
    Ok(Attempts {
        attempts: columns.get("attempts")?,
        last_at: columns.time("last_at_us")?,
        locked_until: columns.time_if_any("locked_until_us")?,
    })
}

/// See [`kallglot_storage::PeopleRepository::count_attempt`].
pub async fn count_attempt<S: Sql>(db: &S, account: &str, change: &Change) -> Result<Attempt> {
    let now_us = us(change.at);
    let insert = "INSERT INTO sign_in_attempts (account, attempts, last_at_us) VALUES (?1, 0, ?2) \
        ON CONFLICT (account) DO NOTHING";
    db.execute(insert, params![account, now_us]).await?;
    db.lock("SELECT 1 FROM sign_in_attempts WHERE account = ?1", params![account]).await?;
    let select = "SELECT account, attempts, last_at_us, locked_until_us FROM sign_in_attempts WHERE account = ?1";
    let before = db.first(select, params![account], attempts).await?;
    let mut count = 1;
    if let Some(before) = before {
        if let Some(until) = before.locked_until.filter(|until| *until > change.at) {
            return Ok(Attempt::Locked(until));
        }
        if now_us.saturating_sub(us(before.last_at)) < ATTEMPTS_KEPT_S * 1_000_000 {
            count = before.attempts.saturating_add(1);
        }
    }
    let locked_until_us = wait_after_s(count).map(|wait_s| now_us.saturating_add(wait_s * 1_000_000));
    let update = "UPDATE sign_in_attempts SET attempts = ?2, last_at_us = ?3, locked_until_us = ?4 WHERE account = ?1";
    db.execute(update, params![account, count, now_us, locked_until_us]).await?;
    if let (Some(_), Ok(person)) = (locked_until_us, account.parse::<PersonId>()) {
        let changes = Changes::from([("attempts".into(), (String::new(), count.to_string()))]);
        audit_person(db, person, AuditAction::PersonLocked, &changes, change).await?;
    }
    Ok(Attempt::Allowed)
}

/// See [`kallglot_storage::PeopleRepository::forget_attempts`].
pub async fn forget_attempts<S: Sql>(db: &S, account: &str) -> Result<()> {
    db.execute("DELETE FROM sign_in_attempts WHERE account = ?1", params![account]).await
}

/// Forgets sessions, links and attempts whose time is over: at most `limit` of each. Says how many there were.
pub(crate) async fn forget<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<u64> {
    let now_us = us(now);
    let sessions = "DELETE FROM portal_sessions WHERE id IN \
        (SELECT id FROM portal_sessions WHERE expires_at_us <= ?1 ORDER BY expires_at_us LIMIT ?2)";
    let links = "DELETE FROM portal_links WHERE id IN \
        (SELECT id FROM portal_links WHERE expires_at_us <= ?1 ORDER BY expires_at_us LIMIT ?2)";
    let attempts = "DELETE FROM sign_in_attempts WHERE account IN \
        (SELECT account FROM sign_in_attempts WHERE last_at_us <= ?1 ORDER BY last_at_us LIMIT ?2)";
    let old_us = now_us.saturating_sub(ATTEMPTS_KEPT_S * 1_000_000);
    Ok(db.change(sessions, params![now_us, limit]).await?
        + db.change(links, params![now_us, limit]).await?
        + db.change(attempts, params![old_us, limit]).await?)
}
