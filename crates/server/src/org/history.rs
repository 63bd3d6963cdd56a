//! What has happened to an organization: `kallglot org ledger` and `kallglot org audit`.

use std::collections::VecDeque;

use clap::Args;
use kallglot_core::audit::{AuditEntry, Who};
use kallglot_core::credit::LedgerEntry;
use kallglot_core::id::{AuditId, OrganizationId};
use kallglot_storage::{AuditFilter, Cursor, PageRequest};
use serde_json::{Value, json};

use crate::command::{CommandError, Context, rfc3339, table};

/// Entries of the ledger that are read at once.
const LEDGER_ENTRIES_AT_ONCE: u32 = 1000;

#[derive(Debug, Args)]
pub(super) struct History {
    /// The organization's id
    #[arg(value_name = "ORG")]
    organization: OrganizationId,
    /// Most entries to show
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

/// What follows the text when there is more.
fn more(has_more: bool, limit: usize) -> String {
    if has_more { format!("\nThese are the newest {limit}. Show more with --limit.") } else { String::new() }
}

/// Prints the newest entries of the ledger.
pub(super) async fn ledger(args: &History, context: &mut Context<'_>) -> Result<(), CommandError> {
    let organization = super::find(args.organization, context).await?;
    let limit = args.limit as usize;
    let (mut newest, mut after, mut has_more) = (VecDeque::<LedgerEntry>::new(), 0, false);
    loop {
        // From the start: the ledger is read as it was written. Only as much is kept as is shown.
        let entries = context.storage.ledger(organization.id, after, LEDGER_ENTRIES_AT_ONCE).await?;
        let Some(last) = entries.last() else { break };
        after = last.sequence;
        newest.extend(entries);
        let too_many = newest.len().saturating_sub(limit);
        has_more |= too_many > 0;
        newest.drain(..too_many);
    }
    let rows: Vec<Vec<String>> = newest.iter().rev().map(ledger_row).collect();
    let text = if rows.is_empty() {
        format!("There is no entry yet. Grant credits: kallglot org grant-credits {} N", organization.id)
    } else {
        table(&["when", "what", "credits", "balance", "for", "request"], &rows) + &more(has_more, limit)
    };
    let data: Vec<Value> = newest.iter().rev().map(ledger_json).collect();
    context.print(&json!({"object": "list", "data": data, "has_more": has_more}), &text)
}

fn ledger_row(entry: &LedgerEntry) -> Vec<String> {
    vec![
        rfc3339(entry.at),
        entry.kind.to_string(),
        format!("{:+}", entry.amount),
        entry.balance_after.to_string(),
        entry.object.clone().unwrap_or_default(),
        entry.request.map(|request| request.to_string()).unwrap_or_default(),
    ]
}

fn ledger_json(entry: &LedgerEntry) -> Value {
    json!({
        "object": "ledger_entry",
        "sequence": entry.sequence,
        "created_at": rfc3339(entry.at),
        "kind": entry.kind.as_str(),
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "paid_for": entry.object,
        "request_id": entry.request.map(|request| request.to_string()),
    })
}

/// Prints the newest entries of the audit log.
pub(super) async fn audit_log(args: &History, context: &mut Context<'_>) -> Result<(), CommandError> {
    let organization = super::find(args.organization, context).await?;
    let limit = args.limit as usize;
    let mut entries = Vec::new();
    let mut request = PageRequest::newest(PageRequest::<AuditId>::LIMIT_MAX);
    let has_more = loop {
        let page = context.storage.audit_log(organization.id, &AuditFilter::default(), &request).await?;
        request.cursor = page.items.last().map(|last| Cursor::StartingAfter(last.change.id));
        entries.extend(page.items);
        if entries.len() >= limit || !page.has_more {
            break entries.len() > limit || page.has_more;
        }
    };
    entries.truncate(limit);
    let text = if entries.is_empty() {
        "Nothing was done yet that the audit log would have kept.".to_owned()
    } else {
        entries.iter().map(audit_text).collect::<Vec<_>>().join("\n") + &more(has_more, limit)
    };
    let data: Vec<Value> = entries.iter().map(audit_json).collect();
    context.print(&json!({"object": "list", "data": data, "has_more": has_more}), &text)
}

/// An entry over several lines: what and when, who and from where, and each property that changed.
fn audit_text(entry: &AuditEntry) -> String {
    let AuditEntry { change, environment, action, object, changes, .. } = entry;
    let environment = environment.map(|environment| format!(" ({environment})")).unwrap_or_default();
    let who = match change.who {
        Who::Key(key) => format!("by {key}"),
        Who::Person(person) => format!("by {person}, at the Developer Portal"),
        Who::Operator => "by the operator, at the command line".into(),
        Who::LeakReporter => "by somebody who reported its secret as leaked".into(),
        Who::Server => "by the server".into(),
    };
    let from = change.address.map(|address| format!(" from {address}")).unwrap_or_default();
    let request = change.request.map(|request| format!(", {request}")).unwrap_or_default();
    let mut text = format!("{}  {action}  {object}{environment}\n  {who}{from}{request}\n", rfc3339(change.at));
    for (name, (before, after)) in changes {
        let (before, after) = (before.as_str(), after.as_str());
        text += &match (before, after) {
            ("", after) => format!("    {name}: {after}\n"),
            (before, "") => format!("    {name}: {before} → none\n"),
            (before, after) => format!("    {name}: {before} → {after}\n"),
        };
    }
    text
}

fn audit_json(entry: &AuditEntry) -> Value {
    let AuditEntry { change, environment, action, object, changes, .. } = entry;
    let (kind, key) = match change.who {
        Who::Key(key) => ("api_key", Some(key.to_string())),
        Who::Person(person) => ("person", Some(person.to_string())),
        Who::Operator => ("operator", None),
        Who::LeakReporter => ("leak_reporter", None),
        Who::Server => ("server", None),
    };
    let changes: serde_json::Map<String, Value> = changes
        .iter()
        .map(|(name, (before, after))| (name.clone(), json!({"before": before, "after": after})))
        .collect();
    json!({
        "object": "audit_entry",
        "id": change.id.to_string(),
        "created_at": rfc3339(change.at),
        "action": action.as_str(),
        "target": object,
        "environment": environment.map(|environment| environment.as_str()),
        "who": {"type": kind, "api_key": key},
        "address": change.address.map(|address| address.to_string()),
        "request_id": change.request.map(|request| request.to_string()),
        "changes": changes,
    })
}
