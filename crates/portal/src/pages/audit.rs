//! The audit log: who changed what, when and from where.

use std::collections::HashMap;

use axum::extract::State;
use kallglot_core::audit::{AuditAction, AuditEntry, Who};
use kallglot_core::id::{ApiKeyId, PersonId};
use kallglot_core::person::Act;
use kallglot_core::session::Environment;
use kallglot_storage::{AuditFilter, PageRequest};
use maud::{Markup, html};

use super::keys::url_of;
use crate::PortalState;
use crate::components::{Field, Mistakes, empty, mono, table, time};
use crate::form::Form;
use crate::guard::{Member, encode};
use crate::layout::{Area, Page, page};
use crate::list::{cursor, pages};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

/// Entries on a page.
const PAGE_ITEMS: u32 = 50;
/// Characters of a value that are shown; the rest is folded.
const VALUE_CHARS_SHOWN: usize = 120;

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::get("/{organization}/{environment}/audit", Access::Member(Act::ViewAudit), show)]
}

/// Who did it, as the filter writes it.
fn who_text(who: Who) -> String {
    match who {
        Who::Key(id) => id.to_string(),
        Who::Person(id) => id.to_string(),
        Who::Operator => "operator".into(),
        Who::LeakReporter => "leak_reporter".into(),
        Who::Server => "server".into(),
    }
}

fn who_of(text: &str) -> Option<Who> {
    match text {
        "operator" => Some(Who::Operator),
        "leak_reporter" => Some(Who::LeakReporter),
        "server" => Some(Who::Server),
        id => id.parse().map(Who::Key).or_else(|_| id.parse().map(Who::Person)).ok(),
    }
}

async fn show(State(state): State<PortalState>, member: Member, sent: Form) -> Result<Page, Refusal> {
    let storage = &state.app.storage;
    let organization = member.tenant.organization;
    let people: HashMap<PersonId, String> =
        storage.members(organization).await?.into_iter().map(|one| (one.person.id, one.person.name)).collect();
    let mut mistakes = Mistakes::default();
    let who = sent.given("who").and_then(|text| {
        let who = who_of(text);
        if who.is_none() {
            mistakes.add("who", "Choose who, or give the id of a key or person.");
        }
        who
    });
    let filter = AuditFilter {
        action: sent.given("action").and_then(AuditAction::parse),
        who,
        object: sent.given("object").map(str::to_owned),
        environment: sent.given("environment").and_then(Environment::parse),
    };
    let request = PageRequest { limit: PAGE_ITEMS, cursor: cursor(&sent)? };
    let found = storage.audit_log(organization, &filter, &request).await?;
    let here = ["action", "who", "object", "environment"]
        .iter()
        .filter_map(|name| sent.given(name).map(|value| format!("{name}={}&", encode(value))));
    let here = member.url(&format!("/audit?{}", here.collect::<String>()));
    let rows = html! { @for entry in &found.items { (row(&member, entry, &people)) } };
    let body = html! {
        p { "Everything that was done to keys, people, webhooks, plan and credits. Entries are never changed or deleted." }
        (mistakes.summary())
        (filter_form(&member, &sent, &people, &mistakes))
        @if found.items.is_empty() {
            (empty("No entry is like that.", None))
        } @else {
            (table("Audit log", &["When (UTC)", "Who", "What", "To what", "Changes"], rows))
            (pages(&found, &request, &here, |entry| entry.change.id))
        }
    };
    Ok(page(&member, Area::AuditLog, "Audit log", body))
}

fn filter_form(member: &Member, sent: &Form, people: &HashMap<PersonId, String>, mistakes: &Mistakes) -> Markup {
    let any = |text: &str| (String::new(), text.to_owned());
    let mut actions = vec![any("Anything")];
    actions.extend(AuditAction::ALL.iter().map(|of| (of.to_string(), of.to_string())));
    let mut named: Vec<_> = people.iter().map(|(id, name)| (id.to_string(), name.clone())).collect();
    named.sort_by(|one, other| one.1.cmp(&other.1));
    let mut whos = vec![any("Anybody")];
    whos.extend(named);
    whos.extend(
        [
            ("operator", "The operator, at the command line"),
            ("server", "The server"),
            ("leak_reporter", "Who reported a leak"),
        ]
        .map(|(value, text)| (value.to_owned(), text.to_owned())),
    );
    // Who came by a link from a key or a former member.
    if let Some(who) = sent.given("who").and_then(who_of).map(who_text)
        && !whos.iter().any(|(value, _)| *value == who)
    {
        whos.push((who.clone(), who));
    }
    let environments =
        [any("Both, and what concerns neither"), ("live".into(), "Live".into()), ("test".into(), "Test".into())];
    html! {
        form method="get" action=(member.url("/audit")) {
            div.grid {
                (Field::new("action", "What", mistakes).select(&actions, sent.text("action")))
                (Field::new("who", "Who", mistakes).select(&whos, sent.text("who")))
                (Field::new("environment", "Environment", mistakes).select(&environments, sent.text("environment")))
                (Field::new("object", "To what (id)", mistakes).input("text", sent.text("object"), "off", false))
            }
            div.row {
                button type="submit" { "Show" }
                a href=(member.url("/audit")) { "All entries" }
            }
        }
    }
}

fn row(member: &Member, entry: &AuditEntry, people: &HashMap<PersonId, String>) -> Markup {
    let change = &entry.change;
    html! {
        tr {
            th scope="row" { (time(change.at)) }
            td {
                (who(member, change.who, people))
                @if let Some(address) = change.address { br; small { code { (address) } } }
            }
            td { code { (entry.action) } @if let Some(environment) = entry.environment { br; small { (environment) } } }
            td { (object(member, entry)) }
            td {
                @if entry.changes.is_empty() { span.quiet { "–" } }
                @for (name, (before, after)) in &entry.changes {
                    div { b { (name) } ": " @if !before.is_empty() { (value(before)) " → " } (value(after)) }
                }
            }
        }
    }
}

fn who(member: &Member, who: Who, people: &HashMap<PersonId, String>) -> Markup {
    match who {
        Who::Key(id) => html! { "Key " (mono(id)) },
        Who::Person(id) => match people.get(&id) {
            Some(name) => html! { a href=(member.url(&format!("/audit?who={id}"))) { (name) } },
            None => html! { "Person " (mono(id)) },
        },
        Who::Operator => html! { "The operator" },
        Who::LeakReporter => html! { "Who reported a leak" },
        Who::Server => html! { "The server" },
    }
}

/// What it was done to: a link where there is a page in this environment.
fn object(member: &Member, entry: &AuditEntry) -> Markup {
    let here = entry.environment == Some(member.tenant.environment);
    match entry.object.parse::<ApiKeyId>() {
        Ok(key) if here => html! { a href=(url_of(member, key, "")) { (mono(&entry.object)) } },
        _ => mono(&entry.object),
    }
}

fn value(text: &str) -> Markup {
    if text.is_empty() {
        return html! { span.quiet { "nothing" } };
    }
    if text.chars().count() <= VALUE_CHARS_SHOWN {
        return html! { (text) };
    }
    let cut: String = text.chars().take(VALUE_CHARS_SHOWN).collect();
    html! { details { summary { (cut) "…" } (text) } }
}
