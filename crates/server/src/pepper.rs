//! `kallglot pepper …`: the secret that goes into the hash of every API key, and its replacement without breaking a key.
//!
//! What must stay true: no pepper is ever printed; a pepper that secrets depend on is dropped only by force.

use std::path::Path;

use clap::{Args, Subcommand};
use kallglot_core::Timestamp;
use serde_json::{Value, json};

use crate::command::{CommandError, Context, rfc3339_if_any, table};
use crate::platform::{PepperFile, PepperInfo, pepper_infos};

/// After this time every running server hashes new secrets with the newest pepper, and what it hashed with the one before is stored:
/// it looks at the file several times a second. Seconds.
const SETTLED_S: i64 = 5;

/// `kallglot pepper …`
#[derive(Debug, Args)]
pub(crate) struct PepperArgs {
    #[command(subcommand)]
    command: PepperCommand,
}

#[derive(Debug, Subcommand)]
enum PepperCommand {
    /// Make a new pepper for new secrets; all keys keep working
    ///
    /// A running server takes it over within a second. Each secret moves to the new pepper when it is next used; until then the older
    /// pepper stays in the file. Afterwards, back up secrets/pepper: without it no key works.
    #[command(after_help = "Example:
  kallglot pepper rotate
  kallglot pepper show          until nothing is left under the older pepper
  kallglot pepper retire")]
    Rotate,
    /// Show which peppers there are, and how many secrets are hashed with each; never the peppers themselves
    ///
    /// Secrets that can't let anybody in any more (revoked, expired, replaced) are not counted.
    #[command(after_help = "Example:
  kallglot pepper show")]
    Show,
    /// Drop all peppers but the newest, if no secret that still works depends on them
    ///
    /// Secrets that are revoked or expired don't count. A key that has expired, is given a new expiry later and was not used since the
    /// rotation needs `kallglot key rotate` then.
    #[command(after_help = "Examples:
  kallglot pepper retire
  kallglot pepper retire --force          keys not used since the rotation stop working")]
    Retire(Retire),
}

#[derive(Debug, Args)]
struct Retire {
    /// Also if secrets depend on them, which stop working then
    #[arg(long)]
    force: bool,
}

/// Runs the command on the peppers in `secrets_dir`.
///
/// # Errors
/// See [`CommandError`]; nothing was changed then.
pub(crate) async fn run(args: PepperArgs, secrets_dir: &Path, context: &mut Context<'_>) -> Result<(), CommandError> {
    match args.command {
        PepperCommand::Rotate => rotate(secrets_dir, context),
        PepperCommand::Show => show(secrets_dir, context).await,
        PepperCommand::Retire(args) => retire(&args, secrets_dir, context).await,
    }
}

fn rotate(secrets_dir: &Path, context: &mut Context<'_>) -> Result<(), CommandError> {
    let mut file = PepperFile::open(secrets_dir)?;
    if file.is_full() {
        let there = file.infos().len();
        let message = format!(
            "there are {there} peppers, as many as there may be; drop the older ones with `kallglot pepper retire` first"
        );
        return Err(CommandError::Invalid(message));
    }
    let made = file.add(context.clock.now(), context.random)?;
    let text = format!(
        "Rotated. New secrets are hashed with pepper {}; all others move to it when they are next used, and work meanwhile.
Back up {} now: keys that are used from now on depend on it.

Once `kallglot pepper show` counts nothing under an older pepper: kallglot pepper retire",
        made.number,
        file.path().display()
    );
    let json = json!({"object": "pepper", "number": made.number, "made_at": rfc3339_if_any(made.made_at)});
    context.print(&json, &text)
}

/// How many secrets that still work each pepper has, the newest first; also peppers that are in the database only.
struct Counted {
    /// In the file, with how many secrets.
    kept: Vec<(PepperInfo, u64)>,
    /// Not in the file, with how many secrets, which can't be checked.
    lost: Vec<(u32, u64)>,
}

async fn count(infos: Vec<PepperInfo>, context: &Context<'_>) -> Result<Counted, CommandError> {
    let mut counts = context.storage.secrets_by_pepper(context.clock.now()).await?;
    let mut take = |number: u32| {
        let found = counts.iter().position(|(counted, _)| *counted == number);
        found.map_or(0, |index| counts.swap_remove(index).1)
    };
    let kept = infos.into_iter().map(|info| (info, take(info.number))).collect();
    counts.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(Counted { kept, lost: counts })
}

async fn show(secrets_dir: &Path, context: &mut Context<'_>) -> Result<(), CommandError> {
    let Counted { kept, lost } = count(pepper_infos(secrets_dir)?, context).await?;
    let (mut rows, mut data) = (Vec::new(), Vec::<Value>::new());
    for (index, (info, secrets)) in kept.iter().enumerate() {
        let made = rfc3339_if_any(info.made_at);
        let what = match (index, secrets) {
            (0, _) => "the newest: for new secrets",
            (_, 0) => "not needed any more",
            _ => "needed until these secrets are next used",
        };
        let made_text = made.clone().unwrap_or_else(|| "at the start".into());
        rows.push(vec![info.number.to_string(), made_text, secrets.to_string(), what.into()]);
        data.push(json!({
            "object": "pepper",
            "number": info.number,
            "made_at": made,
            "newest": index == 0,
            "in_file": true,
            "secrets": secrets,
        }));
    }
    for (number, secrets) in &lost {
        let what = "MISSING: these secrets don't work";
        rows.push(vec![number.to_string(), "unknown".into(), secrets.to_string(), what.into()]);
        data.push(json!({
            "object": "pepper",
            "number": number,
            "made_at": null,
            "newest": false,
            "in_file": false,
            "secrets": secrets,
        }));
    }
    let mut text = table(&["pepper", "made", "secrets", ""], &rows);
    if !lost.is_empty() {
        text.push_str(
            "\nWhat is missing was in secrets/pepper once: add its line from a backup, below the others, or give those keys new secrets (kallglot key rotate).",
        );
    }
    if kept.len() > 1 && kept[1..].iter().all(|(_, secrets)| *secrets == 0) {
        text.push_str("\nThe older ones can be dropped: kallglot pepper retire");
    }
    context.print(&json!({"object": "list", "data": data}), &text)
}

async fn retire(args: &Retire, secrets_dir: &Path, context: &mut Context<'_>) -> Result<(), CommandError> {
    // Nobody else changes the file between the counting and the dropping.
    let file = PepperFile::open(secrets_dir)?;
    let path = file.path();
    let infos = file.infos();
    let kept = count(infos, context).await?.kept;
    let (newest, older) = kept.split_first().ok_or_else(|| CommandError::Invalid("there is no pepper".into()))?;
    let stopping: u64 = older.iter().map(|(_, secrets)| secrets).sum();
    if !older.is_empty() && !args.force {
        settled(newest.0.made_at, context.clock.now())?;
        if stopping > 0 {
            return Err(CommandError::Invalid(format!(
                "nothing was dropped: {}, and would stop working. A secret moves to the newest pepper when it is used; `kallglot key list --org ORG` shows which keys were not used since the rotation. Revoke or rotate those, or give --force",
                depend(stopping)
            )));
        }
    }
    let numbers: Vec<u32> = older.iter().map(|(info, _)| info.number).collect();
    let newest = newest.0.number;
    if !numbers.is_empty() {
        file.keep_newest()?;
    }
    let text = match &numbers[..] {
        [] => format!("There is one pepper only, number {newest}: nothing to drop."),
        dropped => {
            let dropped = dropped.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let lost = if stopping > 0 {
                format!(" By force: {}, and stop working.", depend(stopping))
            } else {
                String::new()
            };
            format!(
                "Dropped: {dropped}. Left: {newest}.{lost}\nBackups of {} still hold what was dropped.",
                path.display()
            )
        }
    };
    let json = json!({"object": "pepper", "number": newest, "dropped": numbers, "secrets_stopped": stopping});
    context.print(&json, &text)
}

/// So many depend on what is dropped.
fn depend(secrets: u64) -> String {
    if secrets == 1 {
        "1 secret depends on older peppers".into()
    } else {
        format!("{secrets} secrets depend on older peppers")
    }
}

/// Refuses while a running server may still hash with the pepper before the newest.
fn settled(made_at: Option<Timestamp>, now: Timestamp) -> Result<(), CommandError> {
    let age_s = made_at.map_or(SETTLED_S, |made_at| now.as_second() - made_at.as_second());
    // A time in the future is a clock that was set back.
    if !(0..SETTLED_S).contains(&age_s) {
        return Ok(());
    }
    let left_s = SETTLED_S - age_s;
    let message = format!(
        "nothing was dropped: the pepper was rotated {age_s} s ago, and a running server may not have taken it over yet. Try again in {left_s} s"
    );
    Err(CommandError::Invalid(message))
}

#[cfg(test)]
mod tests {
    use crate::command::tests::Shell;
    use crate::platform::peppers;
    use kallglot_core::api_key;
    use kallglot_storage::KeyRepository as _;
    use serde_json::{Value, json};

    /// A shell that hashes as the data folder says, with an organization.
    async fn shell_with_organization() -> (Shell, String) {
        let mut shell = Shell::new();
        shell.peppers = peppers(shell.folder.path()).unwrap();
        let organization = shell.json(&["org", "create", "--name", "Acme"]).await;
        let id = organization["id"].as_str().unwrap().to_owned();
        (shell, id)
    }

    /// Rotates the pepper; later commands take the new one from the file, as they do when each is a process.
    async fn rotate(shell: &mut Shell) -> Value {
        let rotated = shell.json(&["pepper", "rotate"]).await;
        shell.peppers = peppers(shell.folder.path()).unwrap();
        rotated
    }

    /// What the server does when a key is used: its hash moves to the newest pepper.
    async fn use_key(shell: &Shell, key: &Value) {
        let parsed = api_key::parse(key["secret"].as_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
        let newest = shell.peppers.newest();
        for older in shell.peppers.older() {
            let (old, new) = (parsed.secret.hash(older), parsed.secret.hash(newest));
            shell.storage.rehash_secret(&old, &new, newest.number()).await.unwrap();
        }
    }

    async fn counts(shell: &Shell) -> Vec<(u64, u64)> {
        let shown = shell.json(&["pepper", "show"]).await;
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
        shown["data"].as_array().unwrap().iter().map(|row| (number(row, "number"), number(row, "secrets"))).collect()
    }

    #[tokio::test]
    async fn a_rotation_is_followed_by_use_and_ends_with_retiring() {
        let (mut shell, org) = shell_with_organization().await;
        let old = shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
        assert_eq!(counts(&shell).await, [(1, 1)]);

        let rotated = rotate(&mut shell).await;
        assert_eq!((&rotated["number"], &rotated["made_at"]), (&json!(2), &json!("2025-06-15T15:06:40Z")));
        shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
        assert_eq!(counts(&shell).await, [(2, 1), (1, 1)], "new secrets are hashed with the newest");

        shell.wait_s(60);
        let refused = shell.run(false, &["pepper", "retire"]).await.unwrap_err();
        assert!(refused.contains("1 secret depends on older peppers") && refused.contains("--force"), "{refused}");
        assert_eq!(counts(&shell).await, [(2, 1), (1, 1)], "nothing was dropped");

        use_key(&shell, &old).await;
        let text = shell.run(false, &["pepper", "show"]).await.unwrap();
        assert!(text.contains("kallglot pepper retire"), "what to do next: {text}");
        let retired = shell.json(&["pepper", "retire"]).await;
        assert_eq!(retired, json!({"object": "pepper", "number": 2, "dropped": [1], "secrets_stopped": 0}));
        assert_eq!(counts(&shell).await, [(2, 2)]);
        assert_eq!(shell.json(&["pepper", "retire"]).await["dropped"], json!([]), "there is nothing left to drop");
    }

    #[tokio::test]
    async fn a_pepper_that_a_server_may_still_hash_with_is_not_dropped() {
        let (mut shell, _) = shell_with_organization().await;
        rotate(&mut shell).await;
        for (passed_s, says) in [(0, "rotated 0 s ago"), (4, "rotated 4 s ago")] {
            shell.wait_s(passed_s);
            let refused = shell.run(false, &["pepper", "retire"]).await.unwrap_err();
            assert!(refused.contains(says) && refused.contains("Try again in"), "{refused}");
        }
        shell.wait_s(1);
        assert_eq!(shell.json(&["pepper", "retire"]).await["dropped"], json!([1]));
    }

    #[tokio::test]
    async fn force_drops_what_secrets_depend_on_and_says_so() {
        let (mut shell, org) = shell_with_organization().await;
        shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
        shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
        rotate(&mut shell).await;
        rotate(&mut shell).await;
        let text = shell.run(false, &["pepper", "retire", "--force"]).await.unwrap();
        assert!(text.contains("Dropped: 2, 1. Left: 3. By force: 2 secrets depend"), "{text}");
        let text = shell.run(false, &["pepper", "show"]).await.unwrap();
        assert!(text.contains("MISSING"), "{text}");
        let shown = shell.json(&["pepper", "show"]).await;
        assert_eq!(
            shown["data"][1],
            json!({
                "object": "pepper", "number": 1, "made_at": null, "newest": false, "in_file": false, "secrets": 2,
            })
        );
    }

    #[tokio::test]
    async fn secrets_that_let_nobody_in_do_not_count() {
        let (mut shell, org) = shell_with_organization().await;
        let revoked = shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
        let rotated = shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
        shell.json(&["key", "create", "--org", &org, "--env", "live", "--expires-in", "30s"]).await;
        rotate(&mut shell).await;
        shell.json(&["key", "revoke", revoked["id"].as_str().unwrap()]).await;
        shell.json(&["key", "rotate", rotated["id"].as_str().unwrap(), "--grace", "30s"]).await;
        assert_eq!(counts(&shell).await, [(2, 1), (1, 2)]);
        shell.wait_s(30);
        assert_eq!(counts(&shell).await, [(2, 1), (1, 0)]);
    }

    #[tokio::test]
    async fn no_pepper_is_ever_printed() {
        let (shell, _) = shell_with_organization().await;
        let mut printed = String::new();
        for words in
            [&["pepper", "rotate"][..], &["pepper", "show"], &["pepper", "retire"], &["pepper", "retire", "--force"]]
        {
            for json in [false, true] {
                printed += &shell.run(json, words).await.unwrap_or_else(|error| error);
                let file = std::fs::read_to_string(shell.folder.path().join("pepper")).unwrap();
                for word in file.split_ascii_whitespace().filter(|word| word.len() == 64) {
                    assert!(!printed.contains(word), "{printed}");
                }
            }
        }
    }

    #[tokio::test]
    async fn there_are_only_so_many_peppers() {
        let (mut shell, _) = shell_with_organization().await;
        for number in 2..=10 {
            assert_eq!(rotate(&mut shell).await["number"], number);
        }
        let refused = shell.run(false, &["pepper", "rotate"]).await.unwrap_err();
        assert!(refused.contains("there are 10 peppers") && refused.contains("kallglot pepper retire"), "{refused}");
    }
}
