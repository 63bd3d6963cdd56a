//! The store that is a folder: one file for each object. Several nodes may share it, if it is one that they all see.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ObjectError, Objects, is_name};

/// Files that are being put; those of a process that died are deleted when the folder is opened.
const INCOMING: &str = ".incoming";

/// A folder of objects.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// No other process that uses the folder has the same.
    process: String,
    count: AtomicU64,
}

impl Folder {
    /// Opens the folder, which is made if it is not there. `process` is a name that no other process that shares the folder has.
    ///
    /// # Errors
    /// It can't be made or written into.
    pub fn open(root: &Path, process: &str) -> io::Result<Self> {
        fs::create_dir_all(root.join(INCOMING))?;
        Ok(Self { root: root.to_owned(), process: process.to_owned(), count: AtomicU64::new(0) })
    }

    fn path(&self, name: &str) -> Result<PathBuf, ObjectError> {
        if is_name(name) {
            Ok(self.root.join(name))
        } else {
            Err(ObjectError::Refused { cause: "that is no object's name".into() })
        }
    }

    /// A file that nobody else has.
    fn incoming(&self) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.root.join(INCOMING).join(format!("{}.{number}", self.process))
    }
}

fn failed(error: io::Error) -> ObjectError {
    match error.kind() {
        io::ErrorKind::NotFound => ObjectError::NotFound,
        _ => ObjectError::Unavailable { cause: error.to_string() },
    }
}

/// On a thread where waiting for a disk delays nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    let lost = |_| ObjectError::Unavailable { cause: "the process is stopping".into() };
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}

/// The same bytes at `incoming`: without copying them, where the file system can.
fn take(file: &Path, incoming: &Path) -> io::Result<()> {
    let _ = fs::remove_file(incoming);
    if fs::hard_link(file, incoming).is_err() {
        fs::copy(file, incoming)?;
    }
    File::open(incoming)?.sync_all()
}

/// Makes what was done to the entries of a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn put(file: &Path, incoming: &Path, to: &Path) -> io::Result<u64> {
    take(file, incoming)?;
    let bytes = fs::metadata(incoming)?.len();
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)?;
    fs::rename(incoming, to)?;
    // Also where the folder itself is new.
    for folder in folder.ancestors().take(2) {
        sync_folder(folder)?;
    }
    Ok(bytes)
}

#[async_trait]
impl Objects for Folder {
    async fn put(&self, name: &str, file: &Path) -> Result<u64, ObjectError> {
        let (to, incoming, file) = (self.path(name)?, self.incoming(), file.to_owned());
        blocking(move || {
            let stored = put(&file, &incoming, &to);
            if stored.is_err() {
                let _ = fs::remove_file(&incoming);
            }
            // A file that is not there is not an object that is not there.
            stored.map_err(|error| ObjectError::Unavailable { cause: error.to_string() })
        })
        .await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let path = self.path(name)?;
        blocking(move || {
            let file = File::open(path).map_err(failed)?;
            let outside = || ObjectError::Refused { cause: "the object is shorter".into() };
            if range.end > file.metadata().map_err(failed)?.len() || range.start > range.end {
                return Err(outside());
            }
            let length = usize::try_from(range.end - range.start).map_err(|_| outside())?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn size(&self, name: &str) -> Result<u64, ObjectError> {
        let path = self.path(name)?;
        blocking(move || Ok(fs::metadata(path).map_err(failed)?.len())).await
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let path = self.path(name)?;
        let root = self.root.clone();
        blocking(move || {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
            // Folders that are empty now; one that is not stays.
            let folders = path.ancestors().skip(1).take_while(|folder| *folder != root);
            for folder in folders {
                if fs::remove_dir(folder).is_err() {
                    let _ = sync_folder(folder);
                    break;
                }
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn a_folder_is_an_object_store() {
        let folder = tempfile::tempdir().unwrap();
        conformance::every_case(&Folder::open(&folder.path().join("objects"), "test").unwrap(), 20_000).await;
        let left: Vec<_> =
            fs::read_dir(folder.path().join("objects")).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, [INCOMING], "nothing is left, and no empty folders");
    }

    #[tokio::test]
    async fn a_disk_that_cannot_take_it_is_told_as_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Folder::open(&folder.path().join("objects"), "test").unwrap();
        let missing = objects.put("a", &folder.path().join("missing")).await;
        assert!(matches!(missing, Err(ObjectError::Unavailable { .. })), "{missing:?}");
        assert!(matches!(objects.put("../a", Path::new("/etc/hostname")).await, Err(ObjectError::Refused { .. })));
        assert!(matches!(objects.read("../a", 0..1).await, Err(ObjectError::Refused { .. })));
        assert!(matches!(objects.delete("../a").await, Err(ObjectError::Refused { .. })));
    }
}
