//! What lets people in beside their password, in its tables. Who changes what a person has of it holds the lock of the person's row, so what is
//! counted stays so.

pub mod identity;

use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, Change};
use kallglot_core::id::{PasskeyId, PersonId};
use kallglot_storage::changes::Changes;
use kallglot_storage::factors::PASSKEYS_MAX;
use kallglot_storage::{AddPasskey, CodeHash, Passkey, Spent, Totp, UsePasskey};

use crate::people::{audit_person, lock};
use crate::row::{Columns, us, us_if_any};
use crate::sql::{FromValue as _, Row, Sql, Value};
use crate::{Result, params};

const PASSKEY: &str = "SELECT id, person_id, name, credential, public_key, sign_count, backup_eligible, backed_up, created_at_us, \
    last_used_at_us FROM passkeys";

fn passkey(row: &dyn Row) -> Result<Passkey> {
    let columns = Columns::of(row, "passkeys", "id")?;
    Ok(Passkey {
        id: columns.parsed("id")?,
        person: columns.parsed("person_id")?,
        name: columns.get("name")?,
        credential: columns.get("credential")?,
        public_key: columns.get("public_key")?,
        sign_count: columns.get("sign_count")?,
        backup_eligible: columns.get("backup_eligible")?,
        backed_up: columns.get("backed_up")?,
        created_at: columns.time("created_at_us")?,
        last_used_at: columns.time_if_any("last_used_at_us")?,
    })
}

async fn count<S: Sql>(db: &S, sql: &str, params: &[Value<'_>]) -> Result<i64> {
    let counted = db.first(sql, params, |row| Ok(i64::from_value(row.value_at(0)?))).await?;
    Ok(counted.flatten().unwrap_or(0))
}

/// See [`kallglot_storage::FactorRepository::spend`].
pub async fn spend<S: Sql>(db: &S, spent: &Spent) -> Result<bool> {
    let sql = "INSERT INTO spent_challenges (hash, expires_at_us) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING";
    Ok(db.change(sql, params![spent.hash.0, us(spent.expires_at)]).await? > 0)
}

/// See [`kallglot_storage::FactorRepository::add_passkey`].
pub async fn add_passkey<S: Sql>(db: &S, new: &Passkey, spent: &Spent, change: &Change) -> Result<AddPasskey> {
    let person = new.person.to_string();
    lock(db, &person).await?;
    if !spend(db, spent).await? {
        return Ok(AddPasskey::Spent);
    }
    let counted = count(db, "SELECT count(*) FROM passkeys WHERE person_id = ?1", params![person]).await?;
    if counted >= PASSKEYS_MAX.into() {
        return Ok(AddPasskey::TooMany);
    }
    let sql = "INSERT INTO passkeys (id, person_id, name, credential, public_key, sign_count, backup_eligible, backed_up, created_at_us, \
        last_used_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (credential) DO NOTHING";
    let inserted = db
        .change(
            sql,
            params![
                new.id.to_string(),
                person,
                new.name,
                new.credential,
                new.public_key,
                new.sign_count,
                new.backup_eligible,
                new.backed_up,
                us(new.created_at),
                us_if_any(new.last_used_at),
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(AddPasskey::Taken);
    }
    let changes = Changes::from([("passkey".into(), (String::new(), new.name.clone()))]);
    audit_person(db, new.person, AuditAction::PasskeyAdded, &changes, change).await?;
    Ok(AddPasskey::Added)
}

/// See [`kallglot_storage::FactorRepository::passkeys`].
pub async fn passkeys<S: Sql>(db: &S, person: PersonId) -> Result<Vec<Passkey>> {
    let sql = format!("{PASSKEY} WHERE person_id = ?1 ORDER BY id DESC LIMIT ?2");
    db.every(&sql, params![person.to_string(), PASSKEYS_MAX], passkey).await
}

/// See [`kallglot_storage::FactorRepository::passkey_of_credential`].
pub async fn passkey_of_credential<S: Sql>(db: &S, credential: &[u8]) -> Result<Option<Passkey>> {
    db.first(&format!("{PASSKEY} WHERE credential = ?1"), params![credential], passkey).await
}

/// See [`kallglot_storage::FactorRepository::use_passkey`].
pub async fn use_passkey<S: Sql>(
    db: &S,
    person: PersonId,
    id: PasskeyId,
    sign_count: u32,
    backed_up: bool,
    spent: &Spent,
    at: Timestamp,
) -> Result<UsePasskey> {
    if !spend(db, spent).await? {
        return Ok(UsePasskey::Spent);
    }
    let (id, person) = (id.to_string(), person.to_string());
    let sql = "UPDATE passkeys SET sign_count = ?3, backed_up = ?4, last_used_at_us = ?5 \
        WHERE id = ?1 AND person_id = ?2 AND (sign_count < ?3 OR (sign_count = 0 AND ?3 = 0))";
    if db.change(sql, params![id, person, sign_count, backed_up, us(at)]).await? > 0 {
        return Ok(UsePasskey::Used);
    }
    let there =
        count(db, "SELECT count(*) FROM passkeys WHERE id = ?1 AND person_id = ?2", params![id, person]).await?;
    Ok(if there > 0 { UsePasskey::Copied } else { UsePasskey::NotFound })
}

/// See [`kallglot_storage::FactorRepository::rename_passkey`].
pub async fn rename_passkey<S: Sql>(db: &S, person: PersonId, id: PasskeyId, name: &str) -> Result<bool> {
    let sql = "UPDATE passkeys SET name = ?3 WHERE id = ?1 AND person_id = ?2";
    Ok(db.change(sql, params![id.to_string(), person.to_string(), name]).await? > 0)
}

/// See [`kallglot_storage::FactorRepository::remove_passkey`].
pub async fn remove_passkey<S: Sql>(db: &S, person: PersonId, id: PasskeyId, change: &Change) -> Result<bool> {
    let (id, owner) = (id.to_string(), person.to_string());
    lock(db, &owner).await?;
    let sql = format!("{PASSKEY} WHERE id = ?1 AND person_id = ?2");
    let Some(found) = db.first(&sql, params![id, owner], passkey).await? else { return Ok(false) };
    db.execute("DELETE FROM passkeys WHERE id = ?1", params![id]).await?;
    let changes = Changes::from([("passkey".into(), (found.name, String::new()))]);
    audit_person(db, person, AuditAction::PasskeyRemoved, &changes, change).await?;
    Ok(true)
}

/// See [`kallglot_storage::FactorRepository::totp`].
pub async fn totp<S: Sql>(db: &S, person: PersonId) -> Result<Option<Totp>> {
    let sql = "SELECT person_id, sealed_secret, created_at_us FROM totp WHERE person_id = ?1";
    db.first(sql, params![person.to_string()], |row| {
        let columns = Columns::of(row, "totp", "person_id")?;
        Ok(Totp { sealed_secret: columns.get("sealed_secret")?, created_at: columns.time("created_at_us")? })
    })
    .await
}

/// Puts recovery codes in place of those that are there.
async fn put_codes<S: Sql>(db: &S, person: &str, codes: &[CodeHash]) -> Result<()> {
    db.execute("DELETE FROM recovery_codes WHERE person_id = ?1", params![person]).await?;
    for code in codes {
        let sql = "INSERT INTO recovery_codes (person_id, hash) VALUES (?1, ?2)";
        db.execute(sql, params![person, code.0]).await?;
    }
    Ok(())
}

/// See [`kallglot_storage::FactorRepository::set_totp`].
pub async fn set_totp<S: Sql>(
    db: &S,
    person: PersonId,
    new: &Totp,
    step: i64,
    recovery_codes: &[CodeHash],
    change: &Change,
) -> Result<bool> {
    let owner = person.to_string();
    lock(db, &owner).await?;
    let sql = "INSERT INTO totp (person_id, sealed_secret, last_step, created_at_us) VALUES (?1, ?2, ?3, ?4) \
        ON CONFLICT (person_id) DO NOTHING";
    if db.change(sql, params![owner, new.sealed_secret, step, us(new.created_at)]).await? == 0 {
        return Ok(false);
    }
    put_codes(db, &owner, recovery_codes).await?;
    audit_person(db, person, AuditAction::TotpEnabled, &Changes::new(), change).await?;
    Ok(true)
}

/// See [`kallglot_storage::FactorRepository::use_totp`].
pub async fn use_totp<S: Sql>(db: &S, person: PersonId, step: i64) -> Result<bool> {
    let sql = "UPDATE totp SET last_step = ?2 WHERE person_id = ?1 AND last_step < ?2";
    Ok(db.change(sql, params![person.to_string(), step]).await? > 0)
}

/// See [`kallglot_storage::FactorRepository::remove_totp`].
pub async fn remove_totp<S: Sql>(db: &S, person: PersonId, change: &Change) -> Result<bool> {
    let owner = person.to_string();
    lock(db, &owner).await?;
    if db.change("DELETE FROM totp WHERE person_id = ?1", params![owner]).await? == 0 {
        return Ok(false);
    }
    put_codes(db, &owner, &[]).await?;
    audit_person(db, person, AuditAction::TotpDisabled, &Changes::new(), change).await?;
    Ok(true)
}

/// See [`kallglot_storage::FactorRepository::replace_recovery_codes`].
pub async fn replace_recovery_codes<S: Sql>(
    db: &S,
    person: PersonId,
    codes: &[CodeHash],
    change: &Change,
) -> Result<bool> {
    let owner = person.to_string();
    lock(db, &owner).await?;
    if totp(db, person).await?.is_none() {
        return Ok(false);
    }
    put_codes(db, &owner, codes).await?;
    audit_person(db, person, AuditAction::RecoveryCodesReplaced, &Changes::new(), change).await?;
    Ok(true)
}

/// See [`kallglot_storage::FactorRepository::recovery_codes_left`].
pub async fn recovery_codes_left<S: Sql>(db: &S, person: PersonId) -> Result<u32> {
    let sql = "SELECT count(*) FROM recovery_codes WHERE person_id = ?1";
    Ok(u32::try_from(count(db, sql, params![person.to_string()]).await?).unwrap_or(u32::MAX))
}

/// See [`kallglot_storage::FactorRepository::use_recovery_code`].
pub async fn use_recovery_code<S: Sql>(db: &S, person: PersonId, code: &CodeHash, change: &Change) -> Result<bool> {
    let sql = "DELETE FROM recovery_codes WHERE person_id = ?1 AND hash = ?2";
    if db.change(sql, params![person.to_string(), code.0]).await? == 0 {
        return Ok(false);
    }
    audit_person(db, person, AuditAction::RecoveryCodeUsed, &Changes::new(), change).await?;
    Ok(true)
}

/// Forgets what was used up and has expired: at most `limit`. Says how many there were.
pub(crate) async fn forget<S: Sql>(db: &S, now: Timestamp, limit: u32) -> Result<u64> {
    let sql = "DELETE FROM spent_challenges WHERE hash IN \
        (SELECT hash FROM spent_challenges WHERE expires_at_us <= ?1 ORDER BY expires_at_us LIMIT ?2)";
    db.change(sql, params![us(now), limit]).await
}
