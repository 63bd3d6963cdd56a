//! Where files lie that outlive the node that made them: an object store as its users see it, and the one that is a folder.
//!
//! What must stay true of every store: an object is there whole or not at all; what was answered is durable; storing the same object
//! twice is as storing it once; deleting what is not there is no error.

pub mod conformance;
mod folder;

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

pub use folder::Folder;

/// Most characters of an object's name.
pub const NAME_CHARS_MAX: usize = 200;

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no object of that name")]
    NotFound,
    /// The store is away, full, or does not want it now: try again later.
    #[error("the object store is not available: {cause}")]
    Unavailable {
        /// What it said.
        cause: String,
    },
    /// Trying again would not help.
    #[error("the object store refused: {cause}")]
    Refused {
        /// What it said.
        cause: String,
    },
}

/// A store of objects. Names are made of `a-z A-Z 0-9 . _ -` in parts with `/` between them; see [`is_name`].
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Stores what is in the file, which must not change any more, under this name; what was there is replaced. Memory does not grow with
    /// the file. Answers with its length.
    ///
    /// # Errors
    /// `Unavailable`, `Refused`; the file's own, as `Unavailable`.
    async fn put(&self, name: &str, file: &Path) -> Result<u64, ObjectError>;

    /// Reads these bytes of an object; all of them must exist.
    ///
    /// # Errors
    /// Any; `Refused` when the range is not within it.
    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, ObjectError>;

    /// An object's length.
    ///
    /// # Errors
    /// Any.
    async fn size(&self, name: &str) -> Result<u64, ObjectError>;

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    /// `Unavailable`, `Refused`.
    async fn delete(&self, name: &str) -> Result<(), ObjectError>;
}

/// Whether an object can have this name: nothing that a folder could take for another place.
pub fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    name.len() <= NAME_CHARS_MAX && name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(is_name("recordings/sess_1/1.agent.original") && is_name("a"));
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in ["", "/a", "a/", "a//b", "../a", "a/..", "a/.hidden", "a b", "a\\b", "ä", "a\0", long.as_str()] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
