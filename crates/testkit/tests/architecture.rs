//! Dependencies point one way: edges → app → traits → core (docs/ARCHITECTURE.md). A crate that is not in this table fails the
//! test, so each new one is a decision.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which of the workspace's crates each crate may use. Tests may use the testkit too.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("audio", &[]),
    ("recording", &["core", "audio"]),
    ("analysis", &["core"]),
    ("engine", &["core", "audio"]),
    ("engine-classic", &["core", "audio", "engine"]),
    ("engine-openai", &["core", "audio", "engine"]),
    ("storage", &["core"]),
    ("cluster", &["core"]),
    ("webauthn", &[]),
    ("oidc", &["core"]),
    ("objects", &[]),
    ("objects-s3", &["objects"]),
    ("cluster-redis", &["core", "cluster"]),
    ("storage-sql", &["core", "storage"]),
    ("storage-sqlite", &["core", "storage", "storage-sql"]),
    ("storage-postgres", &["core", "storage", "storage-sql"]),
    ("app", &["core", "audio", "analysis", "recording", "engine", "storage", "cluster", "objects", "oidc", "webauthn"]),
    ("http", &["core", "analysis", "recording", "engine", "storage", "cluster", "app"]),
    ("portal", &["core", "analysis", "recording", "storage", "app", "oidc", "webauthn"]),
    ("webhooks", &["core", "storage", "app"]),
    ("client", &["core"]),
    (
        "server",
        &[
            "core",
            "audio",
            "engine",
            "engine-classic",
            "engine-openai",
            "storage",
            "storage-sql",
            "storage-sqlite",
            "storage-postgres",
            "cluster",
            "cluster-redis",
            "objects",
            "objects-s3",
            "app",
            "http",
            "portal",
            "webhooks",
            "client",
            "oidc",
        ],
    ),
    (
        "testkit",
        &[
            "core",
            "audio",
            "engine",
            "storage",
            "storage-sqlite",
            "storage-postgres",
            "cluster",
            "cluster-redis",
            "objects",
            "app",
            "http",
            "portal",
            "webhooks",
            "client",
            "oidc",
            "webauthn",
            "throwaway",
        ],
    ),
    // For tests alone, and of any server.
    ("throwaway", &[]),
    ("browser", &[]),
];

/// What the pure crates must not know (DESIGN rule 1): an async runtime, a web server, a database, the environment.
const IMPURE: &[&str] = &["tokio", "axum", "rusqlite", "sqlx", "reqwest", "getrandom", "rand"];

fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn every_crate_uses_only_what_is_below_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for entry in std::fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("crates/{name} is not in the table"));
        for dependency in dependencies(&folder.join("Cargo.toml")) {
            if let Some(ours) = dependency.strip_prefix("kallglot-") {
                assert!(allowed.contains(&ours), "crates/{name} must not use kallglot-{ours}");
            }
            let pure = ["core", "audio", "recording"].contains(&name.as_str());
            assert!(
                !pure || !IMPURE.contains(&dependency.as_str()),
                "crates/{name} is pure and must not use {dependency}"
            );
        }
    }
}
