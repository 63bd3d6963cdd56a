//! The file of the peppers, `secrets/pepper`: with which the hashes of all API keys are made.
//!
//! It has one line per pepper, the newest first: its number, 64 hexadecimal digits, and when it was made. A line with the digits alone,
//! as the file is made at first, is number 1. What must stay true: the file is replaced as a whole, so nobody ever reads half of it; a
//! number is never given twice, since the newest is never dropped; only its owner may read it; no pepper is ever printed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use kallglot_core::Timestamp;
use kallglot_core::api_key::{Pepper, Peppers};
use kallglot_core::random::{self, RandomSource};

use super::{SecretError, failed, hexadecimal, parse, secret, write_for_owner};

/// Most peppers at a time: an unknown key is looked for under each of them.
const PEPPERS_MAX: usize = 10;

/// A line of the file.
struct Line {
    info: PepperInfo,
    bytes: [u8; 32],
}

/// What may be told of a pepper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PepperInfo {
    /// Its number.
    pub(crate) number: u32,
    /// When it was made, to the second; none for the first one, which the server made when it needed one.
    pub(crate) made_at: Option<Timestamp>,
}

/// The peppers of the data folder, made when missing.
pub(crate) fn peppers(secrets_dir: &Path) -> Result<Peppers, SecretError> {
    let mut peppers = read(secrets_dir)?.into_iter().map(|line| Pepper::new(line.info.number, line.bytes));
    let newest = peppers.next().ok_or_else(|| damaged(secrets_dir))?;
    Ok(Peppers::new(newest, peppers.collect()))
}

/// What may be told of the peppers of the data folder, the newest first.
pub(crate) fn pepper_infos(secrets_dir: &Path) -> Result<Vec<PepperInfo>, SecretError> {
    Ok(read(secrets_dir)?.into_iter().map(|line| line.info).collect())
}

fn path(secrets_dir: &Path) -> PathBuf {
    secrets_dir.join("pepper")
}

fn damaged(secrets_dir: &Path) -> SecretError {
    SecretError::Damaged { path: path(secrets_dir).display().to_string() }
}

/// The lines of the file, the newest first; at least one.
fn read(secrets_dir: &Path) -> Result<Vec<Line>, SecretError> {
    let path = path(secrets_dir);
    if !path.exists() {
        secret(secrets_dir, "pepper")?;
    }
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    read_lines(&text).ok_or_else(|| damaged(secrets_dir))
}

fn read_lines(text: &str) -> Option<Vec<Line>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(read_line).collect::<Option<Vec<_>>>()?;
    // The newest has the largest number, so that a number is never given twice.
    let in_order = lines.is_sorted_by(|newer, older| newer.info.number > older.info.number);
    (in_order && !lines.is_empty()).then_some(lines)
}

fn read_line(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (number, digits, made_at) = match words[..] {
        [digits] => (1, digits, None),
        [number, digits] => (number.parse().ok()?, digits, None),
        [number, digits, made_at] => (number.parse().ok()?, digits, Some(made_at.parse().ok()?)),
        _ => return None,
    };
    (number > 0).then_some(())?;
    Some(Line { info: PepperInfo { number, made_at }, bytes: parse(digits)? })
}

/// The file while it is being changed: nobody else changes it as long as this lives.
pub(crate) struct PepperFile {
    secrets_dir: PathBuf,
    lines: Vec<Line>,
    folder: File,
}

impl PepperFile {
    /// Opens the file to change it, and makes it when it is missing.
    ///
    /// # Errors
    /// [`SecretError`]; `Busy` when it is open already.
    pub(crate) fn open(secrets_dir: &Path) -> Result<Self, SecretError> {
        // Makes the folder, too.
        read(secrets_dir)?;
        // The folder is locked, not the file: the file is another one after each change.
        let folder = File::open(secrets_dir).map_err(failed(secrets_dir))?;
        folder.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SecretError::Busy { path: path(secrets_dir).display().to_string() },
            TryLockError::Error(source) => failed(secrets_dir)(source),
        })?;
        Ok(Self { secrets_dir: secrets_dir.to_owned(), lines: read(secrets_dir)?, folder })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        path(&self.secrets_dir)
    }

    /// The peppers in it, the newest first; at least one.
    pub(crate) fn infos(&self) -> Vec<PepperInfo> {
        self.lines.iter().map(|line| line.info).collect()
    }

    /// Whether there are as many as there may be.
    pub(crate) const fn is_full(&self) -> bool {
        self.lines.len() >= PEPPERS_MAX
    }

    /// Adds a new pepper, which is the newest then. The file is on disk when this has answered.
    ///
    /// # Errors
    /// [`SecretError`]; the file is as it was, unless it was the folder that could not be put on disk.
    pub(crate) fn add(&mut self, now: Timestamp, random: &dyn RandomSource) -> Result<PepperInfo, SecretError> {
        let newest = self.lines.first().map_or(0, |line| line.info.number);
        let number = newest.checked_add(1).ok_or_else(|| damaged(&self.secrets_dir))?;
        let made_at = Some(Timestamp::from_second(now.as_second()).unwrap_or(now));
        let info = PepperInfo { number, made_at };
        self.lines.insert(0, Line { info, bytes: random::bytes(random) });
        let written = self.write();
        if written.is_err() {
            self.lines.remove(0);
        }
        written.map(|()| info)
    }

    /// Drops all but the newest. The file is on disk when this has answered.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn keep_newest(mut self) -> Result<(), SecretError> {
        self.lines.truncate(1);
        self.write()
    }

    /// Replaces the file: whoever reads it sees all of the old one or all of the new one, also after a power cut.
    fn write(&self) -> Result<(), SecretError> {
        let mut text = String::new();
        for Line { info: PepperInfo { number, made_at }, bytes } in &self.lines {
            let made_at = made_at.map(|at| format!(" {at}")).unwrap_or_default();
            text.push_str(&format!("{number} {}{made_at}\n", hexadecimal(bytes)));
        }
        let path = self.path();
        // Always the same name: what a kill leaves behind is overwritten by the next change.
        let temporary = path.with_file_name(".pepper.new");
        let replaced = write_for_owner(&temporary, &text).and_then(|()| fs::rename(&temporary, &path));
        replaced.map_err(|error| {
            // What could not be put in its place must not lie around: it holds every pepper.
            let _ = fs::remove_file(&temporary);
            failed(&path)(error)
        })?;
        self.folder.sync_all().map_err(failed(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::SystemRandom;
    use std::os::unix::fs::PermissionsExt as _;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn numbers(peppers: &Peppers) -> Vec<u32> {
        std::iter::once(peppers.newest()).chain(peppers.older()).map(Pepper::number).collect()
    }

    #[test]
    fn a_rotation_keeps_the_older_peppers_and_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let first = peppers(folder.path()).unwrap();
        assert_eq!(numbers(&first), [1]);
        let mut file = PepperFile::open(folder.path()).unwrap();
        for (second, number) in [(100, 2), (200, 3)] {
            let info = file.add(at(second), &SystemRandom).unwrap();
            assert_eq!(info, PepperInfo { number, made_at: Some(at(second)) });
        }
        let all = peppers(folder.path()).unwrap();
        assert_eq!(numbers(&all), [3, 2, 1]);
        assert_eq!(all.older()[1].hash("sk"), first.newest().hash("sk"), "the first one is what it was");
        assert_ne!(all.newest().hash("sk"), all.older()[0].hash("sk"));
        let made: Vec<_> = pepper_infos(folder.path()).unwrap().iter().map(|info| info.made_at).collect();
        assert_eq!(made, [Some(at(200)), Some(at(100)), None]);
    }

    #[test]
    fn the_newest_stays_and_its_number_is_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        PepperFile::open(folder.path()).unwrap().add(at(100), &SystemRandom).unwrap();
        let newest = peppers(folder.path()).unwrap().newest().hash("sk");
        PepperFile::open(folder.path()).unwrap().keep_newest().unwrap();
        let left = peppers(folder.path()).unwrap();
        assert_eq!((numbers(&left), left.newest().hash("sk")), (vec![2], newest));
        assert_eq!(PepperFile::open(folder.path()).unwrap().add(at(200), &SystemRandom).unwrap().number, 3);
    }

    #[test]
    fn only_its_owner_reads_it_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        PepperFile::open(folder.path()).unwrap().add(at(100), &SystemRandom).unwrap();
        let file = folder.path().join("pepper");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_commands_never_change_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = PepperFile::open(folder.path()).unwrap();
        assert!(matches!(PepperFile::open(folder.path()), Err(SecretError::Busy { .. })));
        assert_eq!(numbers(&peppers(folder.path()).unwrap()), [1], "a server may read meanwhile");
        drop(first);
        assert!(PepperFile::open(folder.path()).is_ok());
    }

    #[test]
    fn a_change_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = PepperFile::open(folder.path()).unwrap();
        // Where the new file should be written there is a folder: also root can't write there.
        fs::create_dir(folder.path().join(".pepper.new")).unwrap();
        assert!(matches!(file.add(at(100), &SystemRandom), Err(SecretError::Io { .. })));
        assert_eq!(file.infos().len(), 1);
        assert_eq!(numbers(&peppers(folder.path()).unwrap()), [1]);
    }

    #[test]
    fn a_damaged_file_is_refused_rather_than_replaced() {
        let digits = "ab".repeat(32);
        let good =
            [digits.clone(), format!("7 {digits}\n"), format!("\n3 {digits} 2026-01-01T00:00:00Z\n\n1 {digits}")];
        for text in &good {
            assert!(read_lines(text).is_some(), "{text:?}");
        }
        let bad = [
            String::new(),
            format!("0 {digits}"),
            format!("-1 {digits}"),
            format!("1 {digits}\n2 {digits}"),
            format!("1 {digits}\n1 {digits}"),
            format!("2 {digits}\n1 {}", &digits[1..]),
            format!("1 {digits} yesterday"),
            format!("1 {digits} 2026-01-01T00:00:00Z more"),
            format!("1 {}", "zz".repeat(32)),
            format!("1 {}", "é".repeat(32)),
        ];
        for text in &bad {
            assert!(read_lines(text).is_none(), "{text:?}");
        }
    }
}
