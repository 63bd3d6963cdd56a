//! Where finished bytes are read from: a file or an object store, by ranges.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of a known number that don't change while they are read. Reading may block.
pub trait Source {
    /// How many there are.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// They can't be read, or not all of them exist ([`io::ErrorKind::UnexpectedEof`]).
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Source for [u8] {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(buffer.len())?));
        let bytes = range.and_then(|range| self.get(range)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.as_slice().size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }
}

macro_rules! through_a_pointer {
    ($($pointer:ty)*) => {$(
        impl<S: Source + ?Sized> Source for $pointer {
            fn size_bytes(&self) -> u64 {
                (**self).size_bytes()
            }

            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                (**self).read_at(offset, buffer)
            }
        }
    )*};
}

through_a_pointer! { &S Box<S> Arc<S> }

/// A file on this machine.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size_bytes: u64,
}

impl FileSource {
    /// Takes an open file, with the size it has now.
    ///
    /// # Errors
    /// Its size can't be read.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self { size_bytes: file.metadata()?.len(), file })
    }
}

impl Source for FileSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_memory_are_read_alike() {
        let bytes: Vec<u8> = (0..100).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, &bytes).unwrap();
        let file = FileSource::new(File::open(&path).unwrap()).unwrap();
        let sources: [Box<dyn Source>; 3] = [Box::new(file), Box::new(bytes.clone()), Box::new(Arc::new(bytes))];
        for source in sources {
            assert_eq!(source.size_bytes(), 100);
            let mut some = [0; 3];
            source.read_at(97, &mut some).unwrap();
            assert_eq!(some, [97, 98, 99]);
            for offset in [98, 100, u64::MAX - 1, u64::MAX] {
                assert!(source.read_at(offset, &mut some).is_err(), "{offset}");
            }
        }
    }
}
