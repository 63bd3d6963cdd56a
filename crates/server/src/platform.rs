//! What only the outermost layer may touch: the system's clock, its random source, and the secrets in the data folder.
#![allow(clippy::disallowed_methods, reason = "this is where the real clock and random source enter")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kallglot_core::api_key::{Pepper, Peppers};
use kallglot_core::clock::Clock;
use kallglot_core::random::RandomSource;

/// The system's clock.
pub(crate) struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let wait_ms = deadline.as_millisecond() - self.now().as_millisecond();
        if let Ok(wait_ms) = u64::try_from(wait_ms) {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}

/// The operating system's CSPRNG.
pub(crate) struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness there are no secrets, so nothing may go on. On Linux this can't fail once the system is up.
        #[allow(clippy::expect_used)]
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// Why a secret can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not one of ours.
    #[error(
        "{path} does not hold a secret (64 hexadecimal digits). If it was damaged, restore it from a backup: without it, API keys can't be checked."
    )]
    Damaged {
        /// The file.
        path: String,
    },
}

/// The secret `name` of the data folder: 32 bytes as hexadecimal digits in a file that only its owner may read, made when missing.
/// Two processes that start at once get the same one.
pub(crate) fn secret(data_dir: &Path, name: &str) -> Result<[u8; 32], SecretError> {
    let folder = data_dir.join("secrets");
    let path = folder.join(name);
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| SecretError::Io { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
    if !path.exists() {
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(failed(&temporary))?;
        // A link fails when the name is taken: the first process wins, and a half-written file never has the name.
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary).map_err(failed(&temporary))?;
        match linked {
            Ok(()) => File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed(&folder))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    parse(text.trim()).ok_or_else(|| SecretError::Damaged { path: path.display().to_string() })
}

/// The peppers of the data folder, made when missing. The file has one line per pepper, the newest first: its number and 64 hexadecimal
/// digits. A line with the digits alone is number 1.
pub(crate) fn peppers(data_dir: &Path) -> Result<Peppers, SecretError> {
    let path = data_dir.join("secrets").join("pepper");
    if !path.exists() {
        secret(data_dir, "pepper")?;
    }
    let shown = path.display().to_string();
    let text = fs::read_to_string(&path).map_err(|source| SecretError::Io { path: shown.clone(), source })?;
    parse_peppers(&text).ok_or(SecretError::Damaged { path: shown })
}

fn parse_peppers(text: &str) -> Option<Peppers> {
    let mut peppers = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (number, digits) = match line.split_once(' ') {
            Some((number, digits)) => (number.parse().ok()?, digits.trim()),
            None => (1, line),
        };
        peppers.push(Pepper::new(number, parse(digits)?));
    }
    // The newest has the largest number, so a number is never given twice.
    if !peppers.is_sorted_by(|newer, older| newer.number() > older.number()) {
        return None;
    }
    let mut peppers = peppers.into_iter();
    Some(Peppers::new(peppers.next()?, peppers.collect()))
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = secret(folder.path(), "pepper").unwrap();
        assert_eq!(secret(folder.path(), "pepper").unwrap(), first);
        assert_ne!(secret(folder.path(), "other").unwrap(), first);
        let mode = fs::metadata(folder.path().join("secrets/pepper")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("secrets")).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_damaged_secret_is_refused_rather_than_replaced() {
        let folder = tempfile::tempdir().unwrap();
        secret(folder.path(), "pepper").unwrap();
        fs::write(folder.path().join("secrets/pepper"), "zz").unwrap();
        assert!(matches!(secret(folder.path(), "pepper"), Err(SecretError::Damaged { .. })));
    }
}
