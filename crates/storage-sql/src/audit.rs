//! The audit log in its table.

use kallglot_core::audit::{AuditAction, AuditEntry, Change, Who};
use kallglot_core::id::{AuditId, OrganizationId};
use kallglot_core::session::Environment;
use kallglot_storage::changes::Changes;
use kallglot_storage::json::{changes_from_json, changes_to_json};
use kallglot_storage::{AuditFilter, Page, PageRequest};

use crate::query::page;
use crate::row::{Columns, us};
use crate::sql::{Row, Sql};
use crate::{Result, params};

const SELECT: &str = "SELECT organization_id, id, environment, action, object, who, key_id, person_id, address, request_id, changes, at_us \
     FROM audit_log";

/// What an entry is about.
pub(crate) struct Subject<'a> {
    pub(crate) organization: OrganizationId,
    pub(crate) environment: Option<Environment>,
    /// The id of what was changed.
    pub(crate) object: &'a str,
}

/// Who, as the columns `who`, `key_id` and `person_id` have it.
fn actor(who: Who) -> (&'static str, Option<String>, Option<String>) {
    match who {
        Who::Key(key) => ("key", Some(key.to_string()), None),
        Who::Person(person) => ("person", None, Some(person.to_string())),
        Who::Operator => ("operator", None, None),
        Who::LeakReporter => ("leak_reporter", None, None),
        Who::Server => ("server", None, None),
    }
}

/// Appends the entry of one change.
pub(crate) async fn append<S: Sql>(
    db: &S,
    change: &Change,
    action: AuditAction,
    subject: &Subject<'_>,
    changes: &Changes,
) -> Result<()> {
    let (who, key, person) = actor(change.who);
    db.execute(
        "INSERT INTO audit_log (organization_id, id, environment, action, object, who, key_id, person_id, address, request_id, \
         changes, at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            subject.organization.to_string(),
            change.id.to_string(),
            subject.environment.map(Environment::as_str),
            action.as_str(),
            subject.object,
            who,
            key,
            person,
            change.address.map(|address| address.to_string()),
            change.request.map(|request| request.to_string()),
            changes_to_json(changes),
            us(change.at),
        ],
    )
    .await
}

fn read(row: &dyn Row) -> Result<AuditEntry> {
    let columns = Columns::of(row, "audit_log", "id")?;
    let actor = (columns.parsed_if_any("key_id")?, columns.parsed_if_any("person_id")?);
    let who = match (columns.get::<String>("who")?.as_str(), actor) {
        ("key", (Some(key), None)) => Who::Key(key),
        ("person", (None, Some(person))) => Who::Person(person),
        ("operator", (None, None)) => Who::Operator,
        ("leak_reporter", (None, None)) => Who::LeakReporter,
        ("server", (None, None)) => Who::Server,
        _ => return Err(columns.corrupt("who")),
    };
    let environment: Option<String> = columns.get("environment")?;
    Ok(AuditEntry {
        change: Change {
            id: columns.parsed("id")?,
            who,
            address: columns.parsed_if_any("address")?,
            request: columns.parsed_if_any("request_id")?,
            at: columns.time("at_us")?,
        },
        organization: columns.parsed("organization_id")?,
        environment: environment
            .map(|name| Environment::parse(&name).ok_or_else(|| columns.corrupt("environment")))
            .transpose()?,
        action: columns.named("action", AuditAction::parse)?,
        object: columns.get("object")?,
        changes: columns.named("changes", |text| changes_from_json(text).ok())?,
    })
}

/// See [`kallglot_storage::OrganizationRepository::audit_log`].
pub async fn log<S: Sql>(
    db: &S,
    organization: OrganizationId,
    filter: &AuditFilter,
    request: &PageRequest<AuditId>,
) -> Result<Page<AuditEntry>> {
    // What is not asked for is the empty text, which none of these columns has.
    let (who, key, person) = filter.who.map(actor).unwrap_or_default();
    let organization = organization.to_string();
    let action = filter.action.map_or("", AuditAction::as_str);
    let object = filter.object.as_deref().unwrap_or_default();
    let environment = filter.environment.map_or("", Environment::as_str);
    let (key, person) = (key.unwrap_or_default(), person.unwrap_or_default());
    let wanted = "organization_id = ?1 AND (?2 = '' OR action = ?2) AND (?3 = '' OR object = ?3) \
        AND (?4 = '' OR environment = ?4) AND (?5 = '' OR who = ?5) AND (?6 = '' OR key_id = ?6) AND (?7 = '' OR person_id = ?7)";
    page(db, SELECT, wanted, params![organization, action, object, environment, who, key, person], request, read).await
}
