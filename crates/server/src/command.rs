//! What the commands that work on the database share: what they are given, how they fail, how they print.
//!
//! A command prints one thing: with `--json` one JSON object on one line, else a text for people. Nothing is printed before the work
//! is done, so that what was printed has happened.

use std::fmt::Write as _;
use std::io;

use kallglot_core::Timestamp;
use kallglot_core::api_key::Peppers;
use kallglot_core::audit::{Change, Who};
use kallglot_core::clock::Clock;
use kallglot_core::id::AuditId;
use kallglot_core::organization::{NAME_CHARS_MAX, valid_name};
use kallglot_core::random::RandomSource;
use kallglot_core::session::Environment;
use kallglot_storage::{Storage, StorageError};

use crate::platform::SecretError;

/// What a command works with.
pub(crate) struct Context<'a> {
    /// The opened database.
    pub storage: &'a dyn Storage,
    /// With which keys are hashed; the server must use the same.
    pub peppers: &'a Peppers,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Randomness for ids and secrets.
    pub random: &'a dyn RandomSource,
    /// Whether to print JSON.
    pub json: bool,
    /// Where to print: standard output.
    pub out: &'a mut (dyn io::Write + Send),
}

/// Why a command failed. Its text says what to do; the exit code is 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// There is no such organization.
    #[error("there is no organization {0}; `kallglot org list` shows which there are")]
    NoOrganization(kallglot_core::id::OrganizationId),
    /// There is no such key.
    #[error("there is no key {0}; `kallglot key list --org ORG` shows which there are")]
    NoKey(kallglot_core::id::ApiKeyId),
    /// The key can't be rotated.
    #[error("{0} is revoked and gets no new secret; create a new key with `kallglot key create`")]
    Revoked(kallglot_core::id::ApiKeyId),
    /// A secret of the data folder can't be read or written.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A file that was named can't be read.
    #[error("can't read {}: {source}", path.display())]
    File {
        /// Which one.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The output is gone or full.
    #[error("can't write the output: {0}")]
    Output(#[from] io::Error),
}

impl Context<'_> {
    /// A change that the command is about to make.
    pub(crate) fn change(&self) -> Change {
        let at = self.clock.now();
        Change { id: AuditId::new(at, self.random), who: Who::Operator, address: None, request: None, at }
    }

    /// Prints the one thing that the command has to say: the JSON, or the text.
    pub(crate) fn print(&mut self, json: &serde_json::Value, text: &str) -> Result<(), CommandError> {
        if self.json {
            writeln!(self.out, "{json}")?
        } else {
            writeln!(self.out, "{}", text.trim_end())?
        }
        Ok(self.out.flush()?)
    }
}

/// A name for an organization or a key, as a command-line value.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if valid_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("a name has 1 to {NAME_CHARS_MAX} characters, no control characters, and is not blank"))
    }
}

/// An environment, as a command-line value.
pub(crate) fn environment(text: &str) -> Result<Environment, String> {
    Environment::parse(text).ok_or_else(|| "the environments are live and test".into())
}

/// A span of time as a command-line value, in seconds: a whole number and `s`, `m`, `h`, `d` or `w`.
pub(crate) fn span_s(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no span of time such as `90s`, `15m`, `12h`, `30d` or `2w`");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    // A thousand years and more is a typing error, and no time could hold it.
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|seconds| *seconds <= 1000 * 366 * 24 * 60 * 60).ok_or_else(wrong)
}

/// `time` and a span after it.
pub(crate) fn after(time: Timestamp, seconds: u64) -> Result<Timestamp, CommandError> {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(time.as_second().checked_add(seconds)?).ok())
        .ok_or_else(|| CommandError::Invalid("that time is too far away".into()))
}

/// A time as the API writes it: RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A time as the API writes it, or null.
pub(crate) fn rfc3339_if_any(time: Option<Timestamp>) -> Option<String> {
    time.map(rfc3339)
}

/// Rows below each other, each column as wide as its widest cell; nothing is cut.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Properties below each other, the names in one column.
pub(crate) fn properties(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<width$}  {value}");
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    use clap::Parser;
    use kallglot_core::api_key::Pepper;
    use kallglot_storage_sqlite::SqliteStorage;

    /// A clock that stands still.
    pub(crate) struct FakeClock(pub(crate) Timestamp);

    #[async_trait::async_trait]
    impl Clock for FakeClock {
        fn now(&self) -> Timestamp {
            self.0
        }

        async fn sleep_until(&self, _deadline: Timestamp) {
            std::future::pending().await
        }
    }

    /// Different bytes each time, the same in every run.
    pub(crate) struct FakeRandom(AtomicU64);

    impl RandomSource for FakeRandom {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                let n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                *byte = ((n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8;
            }
        }
    }

    /// The part of the command line that is tested here.
    #[derive(Parser)]
    enum CommandLine {
        Org(crate::org::OrgArgs),
        Key(crate::key::KeyArgs),
        Pepper(crate::pepper::PepperArgs),
        Portal(crate::portal::PortalArgs),
        Request(crate::request::RequestArgs),
    }

    /// A database in a temporary folder and the commands on it.
    pub(crate) struct Shell {
        pub(crate) storage: SqliteStorage,
        pub(crate) peppers: Peppers,
        pub(crate) clock: FakeClock,
        pub(crate) random: FakeRandom,
        pub(crate) folder: tempfile::TempDir,
    }

    impl Shell {
        pub(crate) fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            Self {
                storage: SqliteStorage::open(folder.path()).expect("a new database"),
                peppers: Peppers::new(Pepper::new(1, [7; 32]), Vec::new()),
                clock: FakeClock(Timestamp::from_second(1_750_000_000).expect("a time")),
                random: FakeRandom(AtomicU64::new(1)),
                folder,
            }
        }

        /// Runs a command line; what it printed, or why it failed or was refused.
        pub(crate) async fn run(&self, json: bool, words: &[&str]) -> Result<String, String> {
            let words = std::iter::once("kallglot").chain(words.iter().copied());
            let command = CommandLine::try_parse_from(words).map_err(|error| format!("usage: {error}"))?;
            let mut out = Vec::new();
            let (storage, peppers, clock, random) = (&self.storage, &self.peppers, &self.clock, &self.random);
            let mut context = Context { storage, peppers, clock, random, json, out: &mut out };
            let done = match command {
                CommandLine::Org(args) => crate::org::run(args, &mut context).await,
                CommandLine::Key(args) => crate::key::run(args, &mut context).await,
                CommandLine::Pepper(args) => crate::pepper::run(args, self.folder.path(), &mut context).await,
                CommandLine::Portal(args) => {
                    crate::portal::run(args, "http://localhost:8080/portal", &mut context).await
                }
                CommandLine::Request(args) => crate::request::run(args, &mut context).await,
            };
            done.map_err(|error| error.to_string())?;
            Ok(String::from_utf8(out).expect("text"))
        }

        /// Lets time pass.
        pub(crate) fn wait_s(&mut self, seconds: u64) {
            self.clock.0 += std::time::Duration::from_secs(seconds);
        }

        /// Runs a command line with `--json` that must succeed.
        pub(crate) async fn json(&self, words: &[&str]) -> serde_json::Value {
            let printed = self.run(true, words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
            assert_eq!(printed.lines().count(), 1, "one object on one line: {printed}");
            serde_json::from_str(&printed).expect("JSON")
        }
    }

    #[test]
    fn spans_of_time_have_a_unit() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2_592_000), ("2w", 1_209_600)]
        {
            assert_eq!(span_s(text), Ok(seconds), "{text}");
        }
        for text in ["", "s", "1", "1 h", "-1h", "1.5h", "1y", "+1h", "é", "99999999999999999999d", "400000d"] {
            assert!(span_s(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tables_line_up_whatever_the_alphabet() {
        let rows = [vec!["Åsa".to_owned(), "1".to_owned()], vec!["b".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name  n\nÅsa   1\nb     22\n");
    }
}
