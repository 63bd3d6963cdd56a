//! The audit log in its table.

use kallglot_core::audit::{AuditAction, AuditEntry, Change, Who};
use kallglot_core::id::{AuditId, OrganizationId};
use kallglot_core::session::Environment;
use kallglot_storage::changes::Changes;
use kallglot_storage::json::{changes_from_json, changes_to_json};
use kallglot_storage::{Page, PageRequest};

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

/// Appends the entry of one change.
pub(crate) async fn append<S: Sql>(
    db: &S,
    change: &Change,
    action: AuditAction,
    subject: &Subject<'_>,
    changes: &Changes,
) -> Result<()> {
    let (who, key, person) = match change.who {
        Who::Key(key) => ("key", Some(key.to_string()), None),
        Who::Person(person) => ("person", None, Some(person.to_string())),
        Who::Operator => ("operator", None, None),
        Who::LeakReporter => ("leak_reporter", None, None),
        Who::Server => ("server", None, None),
    };
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
    request: &PageRequest<AuditId>,
) -> Result<Page<AuditEntry>> {
    page(db, SELECT, "organization_id = ?1", params![organization.to_string()], request, read).await
}
