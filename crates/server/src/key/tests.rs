//! `kallglot key …` as its users have it.

use crate::command::tests::Shell;
use kallglot_core::api_key;
use kallglot_core::audit::{Change, Who};
use kallglot_core::id::AuditId;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_storage::{GateChange, KeyRepository as _, KeyUse, KnownKey};
use serde_json::json;

async fn shell_with_organization() -> (Shell, String) {
    let shell = Shell::new();
    let organization = shell.json(&["org", "create", "--name", "Acme"]).await;
    let id = organization["id"].as_str().expect("an id").to_owned();
    (shell, id)
}

/// What the server finds for a secret.
async fn look_up(shell: &Shell, secret: &serde_json::Value) -> KnownKey {
    let text = secret.as_str().expect("a secret");
    let parsed = api_key::parse(text).unwrap_or_else(|error| panic!("{error}"));
    shell.storage.key_of_secret(&parsed.secret.hash(shell.peppers.newest())).await.expect("stored").expect("known")
}

#[tokio::test]
async fn a_created_key_is_found_by_its_secret() {
    let (shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "test", "--name", "backend"]).await;
    let known = look_up(&shell, &created["secret"]).await;
    assert_eq!(known.key.id.to_string(), created["id"].as_str().unwrap());
    assert_eq!(known.organization.id.to_string(), org);
    assert!(created["secret"].as_str().unwrap().starts_with("sk_test_"));
    assert_eq!((&created["status"], &created["name"]), (&json!("active"), &json!("backend")));
    let standard = ["sessions:read", "sessions:write", "recordings:read", "analysis:read", "analysis:write"];
    let standard = [&standard[..], &["webhooks:manage", "agents:read", "agents:write"]].concat();
    assert_eq!(created["permissions"], json!(standard));
}

#[tokio::test]
async fn a_key_can_be_narrowed() {
    let (shell, org) = shell_with_organization().await;
    let narrow =
        ["--permission", "sessions:read", "--expires-in", "30d", "--allow-ip", "203.0.113.7/24", "--allow-ip", "::1"];
    let more = ["--requests-per-minute", "9", "--edition", "1"];
    let words = [&["key", "create", "--org", &org, "--env", "live"][..], &narrow, &more].concat();
    let created = shell.json(&words).await;
    assert_eq!(created["permissions"], json!(["sessions:read"]));
    assert_eq!(created["allowed_ips"], json!(["203.0.113.0/24", "::1/128"]));
    assert_eq!(created["expires_at"], "2025-07-15T15:06:40Z");
    assert_eq!((&created["requests_per_minute"], &created["edition"]), (&json!(9), &json!(1)));
}

#[tokio::test]
async fn a_secret_is_never_shown_again() {
    let (shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
    let secret = created["secret"].as_str().unwrap();
    for json in [false, true] {
        let listed = shell.run(json, &["key", "list", "--org", &org]).await.unwrap();
        assert!(listed.contains(created["id"].as_str().unwrap()) && listed.contains(&secret[40..]), "{listed}");
        assert!(!listed.contains(&secret[8..]), "{listed}");
    }
}

#[tokio::test]
async fn keys_of_both_environments_are_listed_newest_first() {
    let (mut shell, org) = shell_with_organization().await;
    let empty = shell.run(false, &["key", "list", "--org", &org]).await.unwrap();
    assert!(empty.contains("kallglot key create"), "{empty}");
    let mut ids = Vec::new();
    for env in ["test", "live", "test"] {
        shell.wait_s(1);
        ids.insert(0, shell.json(&["key", "create", "--org", &org, "--env", env]).await["id"].clone());
    }
    let listed = shell.json(&["key", "list", "--org", &org]).await;
    let listed: Vec<_> = listed["data"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn a_rotation_gives_a_new_secret_and_keeps_the_old_for_its_grace() {
    let (shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
    let id = created["id"].as_str().unwrap();
    let rotated = shell.json(&["key", "rotate", id, "--grace", "2h"]).await;
    assert_eq!((&rotated["id"], &rotated["status"]), (&created["id"], &json!("rotating")));
    assert_eq!(rotated["rotation"]["old_secret_expires_at"], "2025-06-15T17:06:40Z");
    assert!(look_up(&shell, &created["secret"]).await.secret_valid_until.is_some());
    assert!(look_up(&shell, &rotated["secret"]).await.secret_valid_until.is_none());

    let at_once = shell.json(&["key", "rotate", id, "--grace", "0s"]).await;
    assert_eq!((&at_once["status"], &at_once["rotation"]), (&json!("active"), &json!(null)));
    let too_long = shell.run(false, &["key", "rotate", id, "--grace", "8d"]).await.unwrap_err();
    assert!(too_long.starts_with("usage: ") && too_long.contains("7d"), "{too_long}");
}

#[tokio::test]
async fn a_revoked_key_says_when_it_is_effective_and_stays_so() {
    let (shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
    let id = created["id"].as_str().unwrap();
    let revoked = shell.json(&["key", "revoke", id, "--close-streams"]).await;
    assert_eq!((&revoked["status"], &revoked["effective_at"]), (&json!("revoked"), &json!("2025-06-15T15:06:41Z")));
    let closures = shell.storage.gate_changes_since(Some(0)).await.unwrap().changes;
    assert!(closures.contains(&GateChange::CloseStreams(id.parse().unwrap())), "{closures:?}");
    let rotated = shell.run(false, &["key", "rotate", id]).await.unwrap_err();
    assert!(rotated.contains("revoked") && rotated.contains("key create"), "{rotated}");
}

#[tokio::test]
async fn what_does_not_exist_is_said_so() {
    let (shell, org) = shell_with_organization().await;
    for words in [
        &["key", "create", "--org", "org_0000000000000000000009", "--env", "test"] as &[&str],
        &["key", "list", "--org", "org_0000000000000000000009"],
        &["key", "rotate", "key_0000000000000000000009"],
        &["key", "revoke", "key_0000000000000000000009"],
        &["key", "show", "key_0000000000000000000009"],
        &["key", "update", "key_0000000000000000000009", "--name", "a"],
    ] {
        let error = shell.run(false, words).await.unwrap_err();
        assert!(error.starts_with("there is no "), "{error}");
    }
    for words in [
        &["key", "create", "--org", &org, "--env", "prod"] as &[&str],
        &["key", "create", "--org", &org, "--env", "test", "--permission", "everything"],
        &["key", "create", "--org", &org, "--env", "test", "--allow-ip", "localhost"],
        &["key", "create", "--org", &org, "--env", "test", "--expires-in", "0s"],
        &["key", "rotate", "sk_test_not_an_id"],
        &["key", "show", "sk_test_not_an_id"],
        // Nothing to change, and both at once.
        &["key", "update", "key_0000000000000000000009"],
        &["key", "update", "key_0000000000000000000009", "--expires-in", "1d", "--never-expires"],
        &["key", "update", "key_0000000000000000000009", "--allow-ip", "::1", "--allow-anywhere"],
        &["key", "update", "key_0000000000000000000009", "--requests-per-minute", "1", "--no-own-limit"],
        &["key", "update", "key_0000000000000000000009", "--requests-per-minute", "0"],
        &["key", "update", "key_0000000000000000000009", "--edition", "1", "--organization-edition"],
        &["key", "update", "key_0000000000000000000009", "--name", " "],
    ] {
        let error = shell.run(false, words).await.unwrap_err();
        assert!(error.starts_with("usage: "), "{words:?}: {error}");
    }
}

#[tokio::test]
async fn a_key_is_changed_property_by_property() {
    let (shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "live", "--name", "backend"]).await;
    let id = created["id"].as_str().unwrap();
    for (words, property, set) in [
        (&["--name", "reports"][..], "name", json!("reports")),
        (
            &["--permission", "sessions:read", "--permission", "api_keys:manage"],
            "permissions",
            json!(["sessions:read", "api_keys:manage"]),
        ),
        (&["--expires-in", "30d"], "expires_at", json!("2025-07-15T15:06:40Z")),
        (&["--allow-ip", "203.0.113.7/24", "--allow-ip", "::1"], "allowed_ips", json!(["203.0.113.0/24", "::1/128"])),
        (&["--requests-per-minute", "9"], "requests_per_minute", json!(9)),
        (&["--edition", "1"], "edition", json!(1)),
        (&["--never-expires"], "expires_at", json!(null)),
        (&["--allow-anywhere"], "allowed_ips", json!([])),
        (&["--no-own-limit"], "requests_per_minute", json!(null)),
        (&["--organization-edition"], "edition", json!(null)),
    ] {
        let before = shell.json(&["key", "show", id]).await;
        let mut expected = before.clone();
        expected[property] = set;
        assert_ne!(before, expected, "{words:?} changes something");
        let changed = shell.json(&[&["key", "update", id], words].concat()).await;
        assert_eq!(changed, expected, "{words:?} changes nothing else");
        assert_eq!(shell.json(&["key", "show", id]).await, expected, "and it stays so");
    }
    assert_eq!(look_up(&shell, &created["secret"]).await.key.name, "reports", "the secret is what it was");

    let text = shell.run(false, &["key", "update", id, "--name", "backend"]).await.unwrap();
    assert!(text.starts_with("Changed.\n") && text.contains("backend"), "{text}");
    let text = shell.run(false, &["key", "update", id, "--name", "backend"]).await.unwrap();
    assert!(text.starts_with("It was so already"), "{text}");
}

#[tokio::test]
async fn too_long_an_allow_list_is_refused() {
    let (shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "test"]).await;
    let id = created["id"].as_str().unwrap();
    let networks: Vec<String> = (0..=api_key::ALLOWED_NETWORKS_MAX).map(|n| format!("--allow-ip=10.0.0.{n}")).collect();
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    for words in [&["key", "create", "--org", &org, "--env", "test"][..], &["key", "update", id]] {
        let error = shell.run(false, &[words, &networks].concat()).await.unwrap_err();
        assert!(error.contains("at most 100"), "{error}");
        shell.run(false, &[words, &networks[1..]].concat()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_key_does_not_use_is_listed_once_it_had_the_time() {
    let (mut shell, org) = shell_with_organization().await;
    let may = ["--permission", "sessions:read", "--permission", "sessions:write", "--permission", "analysis:read"];
    let created = shell.json(&[&["key", "create", "--org", &org, "--env", "live"], &may[..]].concat()).await;
    let id = created["id"].as_str().unwrap();
    let used = |permission, at| KeyUse {
        key: id.parse().unwrap(),
        at,
        permissions: PermissionSet::of(&[permission]),
        old_secret_at: None,
    };
    shell.storage.note_key_uses(&[used(Permission::SessionsWrite, shell.clock.0)]).await.unwrap();
    shell.wait_s(29 * 24 * 60 * 60);
    assert_eq!(shell.json(&["key", "show", id]).await["unused_permissions"], json!([]), "it is too early to say");

    shell.storage.note_key_uses(&[used(Permission::SessionsRead, shell.clock.0)]).await.unwrap();
    shell.wait_s(2 * 24 * 60 * 60);
    let shown = shell.json(&["key", "show", id]).await;
    assert_eq!(shown["unused_permissions"], json!(["sessions:write", "analysis:read"]));
    assert_eq!(shell.json(&["key", "list", "--org", &org]).await["data"], json!([shown]), "a list says the same");
    let text = shell.run(false, &["key", "show", id]).await.unwrap();
    assert!(text.contains("sessions:write analysis:read (not in the last 30 days"), "{text}");
    assert!(text.contains("2025-07-14T15:06:40Z"), "when it was last used: {text}");
}

#[tokio::test]
async fn a_rotation_tells_whether_the_old_secret_is_still_used() {
    let (mut shell, org) = shell_with_organization().await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
    let id = created["id"].as_str().unwrap();
    shell.json(&["key", "rotate", id, "--grace", "2h"]).await;
    let text = shell.run(false, &["key", "show", id]).await.unwrap();
    assert!(text.contains("valid until 2025-06-15T17:06:40Z; nobody has used it since"), "{text}");

    shell.wait_s(60);
    let at = shell.clock.0;
    let used = KeyUse { key: id.parse().unwrap(), at, permissions: PermissionSet::NONE, old_secret_at: Some(at) };
    shell.storage.note_key_uses(&[used]).await.unwrap();
    let shown = shell.json(&["key", "show", id]).await;
    assert_eq!(shown["rotation"]["old_secret_last_used_at"], "2025-06-15T15:07:40Z");
    let text = shell.run(false, &["key", "show", id]).await.unwrap();
    assert!(text.contains("somebody used it last at 2025-06-15T15:07:40Z"), "{text}");
    let list = shell.run(false, &["key", "list", "--org", &org]).await.unwrap();
    assert!(list.contains("rotating"), "{list}");

    shell.wait_s(2 * 60 * 60);
    let text = shell.run(false, &["key", "show", id]).await.unwrap();
    assert!(text.contains("active") && !text.contains("old secret"), "it is over: {text}");
}

#[tokio::test]
async fn a_quarantine_is_shown_and_lifted() {
    let (shell, org) = shell_with_organization().await;
    shell.json(&["org", "set-leak-policy", &org, "quarantine"]).await;
    let created = shell.json(&["key", "create", "--org", &org, "--env", "live"]).await;
    let id = created["id"].as_str().unwrap();
    let parsed = api_key::parse(created["secret"].as_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let change = Change {
        id: AuditId::from_bits(9),
        who: Who::LeakReporter,
        address: Some("198.51.100.9".parse().unwrap()),
        request: None,
        at: shell.clock.0,
    };
    shell.storage.report_leak(&parsed.secret.hash(shell.peppers.newest()), &change).await.unwrap().unwrap();

    let list = shell.run(false, &["key", "list", "--org", &org]).await.unwrap();
    assert!(list.contains("active, quarantined"), "{list}");
    let text = shell.run(false, &["key", "show", id]).await.unwrap();
    assert!(text.contains("since 2025-06-15T15:06:40Z: its secret was reported as leaked"), "{text}");
    assert_eq!(shell.json(&["key", "show", id]).await["quarantined_at"], "2025-06-15T15:06:40Z");

    let lifted = shell.json(&["key", "update", id, "--lift-quarantine"]).await;
    assert_eq!((&lifted["quarantined_at"], &lifted["status"]), (&json!(null), &json!("active")));
    let audit = shell.run(false, &["org", "audit", &org]).await.unwrap();
    assert!(audit.contains("by somebody who reported its secret as leaked from 198.51.100.9"), "{audit}");
}
