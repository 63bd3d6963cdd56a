//! What every store promises, as an example of its use: for the tests of each.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "test code, in a library so that every store can run it"
)]

use std::io::Write as _;
use std::path::PathBuf;

use crate::{ObjectError, Objects};

/// `length` bytes, different ones at every place.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|place| (place as u64).wrapping_mul(2_654_435_761).to_le_bytes()[2] ^ seed).collect()
}

fn file(name: &str, bytes: &[u8]) -> (PathBuf, std::fs::File) {
    let path = std::env::temp_dir().join(format!("kallglot-objects-{}-{name}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(bytes).unwrap();
    (path, file)
}

/// Runs all of it. `large` is a length that the store divides, if it divides any.
pub async fn every_case(objects: &impl Objects, large: usize) {
    assert_eq!(objects.read("a/b.track", 0..1).await, Err(ObjectError::NotFound));
    assert_eq!(objects.size("a/b.track").await, Err(ObjectError::NotFound));
    objects.delete("a/b.track").await.unwrap();

    for (length, seed) in [(0, 1), (1, 2), (large, 3), (5_000, 4)] {
        let bytes = bytes(length, seed);
        let (path, _file) = file(&format!("{large}-{seed}"), &bytes);
        for _twice in 0..2 {
            assert_eq!(objects.put("a/b.track", &path).await.unwrap(), length as u64);
        }
        std::fs::remove_file(&path).unwrap();
        let end = length as u64;
        assert_eq!(objects.size("a/b.track").await.unwrap(), end);
        if length > 0 {
            assert_eq!(objects.read("a/b.track", 0..end).await.unwrap(), bytes, "what was there before is replaced");
            let middle = (end / 3)..(end / 2 + 1).min(end);
            let expected = &bytes[middle.start as usize..middle.end as usize];
            assert_eq!(objects.read("a/b.track", middle).await.unwrap(), expected);
        }
        let beyond = objects.read("a/b.track", end..end + 1).await;
        assert!(matches!(beyond, Err(ObjectError::Refused { .. })), "{beyond:?}");
    }

    let (path, _file) = file(&format!("{large}-other"), b"other");
    objects.put("a/c.track", &path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    objects.delete("a/b.track").await.unwrap();
    assert_eq!(objects.read("a/b.track", 0..1).await, Err(ObjectError::NotFound));
    assert_eq!(objects.read("a/c.track", 0..5).await.unwrap(), b"other"[..]);
    objects.delete("a/c.track").await.unwrap();
}
