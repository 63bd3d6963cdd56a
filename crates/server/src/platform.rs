//! What only the outermost layer may touch: the system's clock, its random source, and the secrets in the data folder.
#![allow(clippy::disallowed_methods, reason = "this is where the real clock and random source enter")]

mod pepper_file;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kallglot_core::clock::Clock;
use kallglot_core::random::RandomSource;

pub(crate) use pepper_file::{PepperFile, PepperInfo, pepper_infos, peppers};

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
        "{path} does not hold what it should (64 hexadecimal digits). If it was damaged, restore it from a backup: without it, API keys can't be checked."
    )]
    Damaged {
        /// The file.
        path: String,
    },
    /// The file is being changed.
    #[error("{path} is being changed by another command. Try again.")]
    Busy {
        /// The file.
        path: String,
    },
}

/// Why something at `path` could not be read or written.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> SecretError {
    let path = path.display().to_string();
    move |source| SecretError::Io { path, source }
}

/// The secret `name` in this folder: 32 bytes as hexadecimal digits in a file that only its owner may read, made when missing.
/// Two processes that start at once get the same one.
pub(crate) fn secret(folder: &Path, name: &str) -> Result<[u8; 32], SecretError> {
    let path = folder.join(name);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    if !path.exists() {
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        write_for_owner(&temporary, &hexadecimal(&bytes)).map_err(failed(&temporary))?;
        // A link fails when the name is taken: the first process wins, and a half-written file never has the name.
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary).map_err(failed(&temporary))?;
        match linked {
            Ok(()) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    parse(text.trim()).ok_or_else(|| SecretError::Damaged { path: path.display().to_string() })
}

/// Writes a file that only its owner may read; it is on disk afterwards, though not yet its name.
fn write_for_owner(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn hexadecimal(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
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
        let mode = fs::metadata(folder.path().join("pepper")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_damaged_secret_is_refused_rather_than_replaced() {
        let folder = tempfile::tempdir().unwrap();
        secret(folder.path(), "pepper").unwrap();
        fs::write(folder.path().join("pepper"), "zz").unwrap();
        assert!(matches!(secret(folder.path(), "pepper"), Err(SecretError::Damaged { .. })));
    }
}
