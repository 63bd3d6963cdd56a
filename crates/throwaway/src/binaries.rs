//! Where the servers' programs are.

use std::path::{Path, PathBuf};

/// A program on the PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The folder with PostgreSQL's programs: the newest of Debian's, which are not on the PATH, or that of `postgres` on the PATH.
///
/// # Panics
/// When there is none.
pub(crate) fn postgres() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_debian = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let folder = entry.path().join("bin");
        has_all(&folder).then_some((version, folder))
    });
    if let Some((_, folder)) = of_debian.max() {
        return folder;
    }
    let real = on_path("postgres").and_then(|program| program.canonicalize().ok());
    let folder = real.and_then(|program| program.parent().map(Path::to_owned)).filter(|folder| has_all(folder));
    folder.expect("PostgreSQL is missing: install the Debian package postgresql (scripts/test does)")
}

fn has_all(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file())
}

/// Redis, or Valkey, which is the same for its clients.
///
/// # Panics
/// When there is neither.
pub(crate) fn redis() -> PathBuf {
    let found = ["redis-server", "valkey-server"].into_iter().find_map(on_path);
    found.expect("Redis is missing: install the Debian package redis-server (scripts/test does)")
}
