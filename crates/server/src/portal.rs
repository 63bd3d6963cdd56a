//! `kallglot portal …`: links to the Developer Portal's accounts, and who has one. For whoever runs the server: what is printed lets its reader in.

use clap::{Args, Subcommand};
use kallglot_app::people::{PASSWORD_RESET_VALID, SETUP_VALID, password_reset_link, setup_link};
use kallglot_storage::{Cursor, PageRequest};
use serde_json::json;

use crate::command::{CommandError, Context, rfc3339};

/// `kallglot portal …`
#[derive(Debug, Args)]
pub(crate) struct PortalArgs {
    #[command(subcommand)]
    command: PortalCommand,
}

#[derive(Debug, Subcommand)]
enum PortalCommand {
    /// Print a link that works once: to the first account, or with --person to a new password
    ///
    /// Whoever opens it gets in, so give it to nobody else. The link to the first account works for 24 hours, the one to a new password for
    /// an hour; setting the password signs the person out everywhere. A second factor stays as it is.
    #[command(after_help = "Examples:
  kallglot portal link
  kallglot portal link --person ada@example.com")]
    Link {
        /// The e-mail address of whose password is lost
        #[arg(long, value_name = "EMAIL")]
        person: Option<String>,
    },
    /// Show who has an account, newest first
    People,
}

/// Runs the command; `portal_url` is where people reach the portal.
///
/// # Errors
/// See [`CommandError`].
pub(crate) async fn run(args: PortalArgs, portal_url: &str, context: &mut Context<'_>) -> Result<(), CommandError> {
    let change = context.change();
    match args.command {
        PortalCommand::Link { person: None } => {
            let link = setup_link(context.storage, portal_url, context.random, &change).await?;
            let taken = || {
                CommandError::Invalid(
                    "the first account was made already. For a lost password: `kallglot portal link --person EMAIL`; others are invited in the \
                     portal, under Members"
                        .into(),
                )
            };
            let link = link.ok_or_else(taken)?;
            let text =
                format!("{link}\n\nIt makes the first account. It works once, for {} hours.", SETUP_VALID.as_hours());
            context.print(&json!({ "link": link }), &text)
        }
        PortalCommand::Link { person: Some(email) } => {
            let link = password_reset_link(context.storage, &email, portal_url, context.random, &change).await?;
            let nobody = || {
                CommandError::Invalid(format!(
                    "nobody has an account of the address {email}; `kallglot portal people` shows who has"
                ))
            };
            let link = link.ok_or_else(nobody)?;
            let minutes = PASSWORD_RESET_VALID.as_mins();
            let text = format!("{link}\n\nIt sets a new password for {email}. It works once, for {minutes} minutes.");
            context.print(&json!({ "link": link }), &text)
        }
        PortalCommand::People => people(context).await,
    }
}

async fn people(context: &mut Context<'_>) -> Result<(), CommandError> {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let mut request = PageRequest::newest(100);
    loop {
        let found = context.storage.people_for_operator(&request).await?;
        for person in &found.items {
            let memberships = context.storage.memberships(person.id).await?;
            rows.push(json!({
                "id": person.id.to_string(),
                "email": person.email,
                "name": person.name,
                "operator": person.is_operator,
                "password": person.password_changed_at.is_some(),
                "created_at": rfc3339(person.created_at),
                "memberships": memberships.iter().map(|one| json!({
                    "organization": one.organization.to_string(),
                    "role": one.role.as_str(),
                })).collect::<Vec<_>>(),
            }));
            let roles: Vec<_> =
                memberships.iter().map(|one| format!("{} of {}", one.role.title(), one.organization_name)).collect();
            let operator = if person.is_operator { ", operator" } else { "" };
            lines.push(format!("{}  {}{operator}  {}", person.email, person.name, roles.join(", ")));
        }
        match found.items.last().filter(|_| found.has_more) {
            Some(last) => request.cursor = Some(Cursor::StartingAfter(last.id)),
            None => break,
        }
    }
    if lines.is_empty() {
        lines.push("Nobody yet. `kallglot portal link` prints a link to the first account.".to_owned());
    }
    context.print(&json!({ "people": rows }), &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use kallglot_app::people::{FIRST_CREDITS, new_organization};
    use kallglot_core::audit::{Change, Who};
    use kallglot_core::id::{AuditId, PersonId};
    use kallglot_core::person::Person;
    use kallglot_storage::{CodeHash, PeopleRepository as _, UseLink};
    use sha2::{Digest as _, Sha256};

    use crate::command::tests::Shell;

    /// The hash of the code in a link.
    fn hash(link: &str) -> CodeHash {
        let (page, code) = link.split_once('#').expect("a fragment");
        assert!(page.ends_with("/portal/link"), "{page}");
        CodeHash(Sha256::digest(code.as_bytes()).into())
    }

    #[tokio::test]
    async fn a_link_makes_the_first_account_and_then_sets_passwords() {
        let shell = Shell::new();
        let nobody = shell.run(false, &["portal", "people"]).await.unwrap();
        assert!(nobody.contains("Nobody yet"), "{nobody}");
        let printed = shell.json(&["portal", "link"]).await;
        let link = printed["link"].as_str().unwrap();
        assert!(link.starts_with("http://localhost:8080/portal/link#"), "{link}");

        let now = shell.clock.0;
        let id = PersonId::from_bits(1);
        let change = Change { id: AuditId::from_bits(1), who: Who::Person(id), address: None, request: None, at: now };
        let ada = Person {
            id,
            email: "ada@example.com".into(),
            name: "Ada".into(),
            is_operator: true,
            password_changed_at: None,
            created_at: now,
        };
        let organization = new_organization("Engines", now, &shell.random);
        let made = shell.storage.set_up(&hash(link), &ada, None, &organization, FIRST_CREDITS, &change).await;
        assert_eq!(made, Ok(UseLink::Done(())));

        let refused = shell.run(false, &["portal", "link"]).await.unwrap_err();
        assert!(refused.contains("made already"), "{refused}");
        let reset = shell.json(&["portal", "link", "--person", " Ada@Example.com "]).await;
        let found = shell.storage.link_of_code(&hash(reset["link"].as_str().unwrap()), now).await.unwrap();
        assert!(found.is_some());
        let unknown = shell.run(false, &["portal", "link", "--person", "bob@example.com"]).await.unwrap_err();
        assert!(unknown.contains("nobody has an account"), "{unknown}");

        let people = shell.json(&["portal", "people"]).await;
        assert_eq!(people["people"][0]["memberships"][0]["role"], "owner");
        let text = shell.run(false, &["portal", "people"]).await.unwrap();
        assert_eq!(text.trim(), "ada@example.com  Ada, operator  Owner of Engines");
    }
}
