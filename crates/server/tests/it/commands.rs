//! `org`, `key`, `pepper` and `request`: what they print, how they end, and that a running server obeys them.

use jiff::{SignedDuration, Timestamp};
use kallglot_testkit::client::{Answer, Client};
use kallglot_testkit::{Call, soon};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::process::{Folder, Server};

/// A new organization whose request limit is never reached, so that a test can ask as often as it likes.
async fn tireless_organization(folder: &Folder) -> String {
    let made = folder.json(&["org", "create", "--name", "Example", "--requests-per-minute", "1000000000"]).await;
    made["id"].as_str().unwrap().to_owned()
}

/// Asks until the answer has this status; the answer.
async fn until(status: u16, client: &Client) -> Answer {
    soon(&format!("the status {status}"), async {
        loop {
            let answer = client.get("/v1/sessions").await.unwrap();
            if answer.status == status {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn organizations_are_created_listed_and_shown() {
    let folder = Folder::new();
    let made = folder.json(&["org", "create", "--name", "Acme Hotels", "--plan", "pro"]).await;
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("org_"), "{made}");
    let listed = folder.json(&["org", "list"]).await;
    assert_eq!(listed["data"].as_array().unwrap(), std::slice::from_ref(&made));
    assert_eq!(folder.json(&["org", "show", id]).await, made);

    for words in [&["org", "list"][..], &["org", "show", id]] {
        let done = folder.run(words).await;
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        assert!(done.stdout.contains(id) && done.stdout.contains("Acme Hotels"), "{}", done.stdout);
    }
    let done = folder.run(&["org", "create", "--name", "Beta"]).await;
    assert!(done.stdout.contains("kallglot key create --org org_"), "what to do next: {}", done.stdout);
}

#[tokio::test]
async fn keys_are_created_listed_rotated_and_revoked() {
    let folder = Folder::new();
    let organization = folder.organization().await;
    let made = folder.json(&["key", "create", "--org", &organization, "--env", "test", "--name", "ci"]).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.starts_with("sk_test_") && secret.len() == 44, "{made}");

    let list = async || folder.json(&["key", "list", "--org", &organization]).await["data"][0].clone();
    let listed = list().await;
    assert_eq!((listed["status"].as_str(), listed["secret"].as_str()), (Some("active"), None), "shown once");
    let rotated = folder.json(&["key", "rotate", id, "--grace", "1h"]).await;
    assert_ne!(rotated["secret"], made["secret"]);
    assert_eq!(list().await["status"], "rotating");
    let revoked = folder.json(&["key", "revoke", id]).await;
    assert!(revoked["effective_at"].is_string(), "{revoked}");
    assert_eq!(list().await["status"], "revoked");

    let human = folder.run(&["key", "create", "--org", &organization, "--env", "live"]).await;
    assert!(human.stdout.contains("sk_live_") && human.stdout.contains("shown only now"), "{}", human.stdout);
    let human = folder.run(&["key", "list", "--org", &organization]).await;
    assert!(human.stdout.contains(id) && human.stdout.contains("revoked"), "{}", human.stdout);
    assert!(!human.stdout.contains(&secret[9..]), "no secret is ever listed");
}

#[tokio::test]
async fn the_exit_code_says_whose_mistake_it_was() {
    let folder = Folder::new();
    let nobody = "org_0000000000000000000000";
    for (words, code, says) in [
        (&["org", "show", nobody][..], 1, "there is no organization"),
        (&["key", "create", "--org", nobody, "--env", "live"], 1, "there is no organization"),
        (&["key", "rotate", "key_0000000000000000000000"], 1, "there is no key"),
        (&["key", "revoke", "key_0000000000000000000000"], 1, "there is no key"),
        (&["org", "show", "acme"], 2, "org_"),
        (&["org", "create"], 2, "--name"),
        (&["org", "create", "--name", "A", "--plan", "gold"], 2, "starter, pro and enterprise"),
        (&["key", "create", "--org", nobody, "--env", "prod"], 2, "live and test"),
        (&["key", "rotate", "key_0000000000000000000000", "--grace", "8d"], 2, "7d"),
        (&["key", "show", "key_0000000000000000000000"], 1, "there is no key"),
        (&["key", "update", "key_0000000000000000000000", "--name", "a"], 1, "there is no key"),
        (&["key", "update", "key_0000000000000000000000"], 2, "--lift-quarantine"),
        (&["org", "ledger", nobody], 1, "there is no organization"),
        (&["org", "audit", nobody], 1, "there is no organization"),
        (&["org", "set-leak-policy", nobody, "forgive"], 2, "revoke, quarantine and notify"),
        (&["request", "show", "--org", nobody, "req_0000000000000000000000"], 1, "there is no organization"),
        (&["request", "show", "--org", nobody, "429"], 2, "req_"),
        (&["pepper", "retire", "--all"], 2, "--all"),
        (&["frobnicate"], 2, "frobnicate"),
    ] {
        let done = folder.run(words).await;
        assert_eq!(done.code, Some(code), "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(says) && done.stdout.is_empty(), "{words:?}: {}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    }
    let done = folder.run(&["--json", "org", "show", nobody]).await;
    let error: Value = serde_json::from_str(&done.stderr).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains(nobody), "machines get JSON: {error}");
}

#[tokio::test]
async fn a_running_server_obeys_at_once() {
    let folder = Folder::new();
    let server = Server::start(&folder).await;
    let organization = tireless_organization(&folder).await;
    let (id, secret) = folder.key(&organization).await;
    let client = server.client(&secret);
    until(200, &client).await;

    let rotated = folder.json(&["key", "rotate", &id, "--grace", "0s"]).await;
    assert_eq!(
        until(401, &client).await.error_code().as_deref(),
        Some("api_key_expired"),
        "the old secret's time is over"
    );
    let client = server.client(rotated["secret"].as_str().unwrap());
    until(200, &client).await;

    folder.json(&["org", "deactivate", &organization]).await;
    assert_eq!(until(403, &client).await.error_code().as_deref(), Some("organization_inactive"));
    folder.json(&["org", "activate", &organization]).await;
    until(200, &client).await;

    let mut call = Call::start(&client).await;
    folder.json(&["key", "revoke", &id, "--close-streams"]).await;
    assert_eq!(until(401, &client).await.error_code().as_deref(), Some("api_key_revoked"));
    assert_eq!(soon("the stream is closed", call.stream.wait_closed()).await.code, Some(4401));
    for secret in [&secret, rotated["secret"].as_str().unwrap()] {
        assert!(!server.log.lock().unwrap().contains(secret), "no secret is logged");
    }
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

/// How many working secrets are hashed with each pepper: (number, secrets), the newest first.
async fn peppers(folder: &Folder) -> Vec<(u64, u64)> {
    let shown = folder.json(&["pepper", "show"]).await;
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    shown["data"].as_array().unwrap().iter().map(|row| (number(row, "number"), number(row, "secrets"))).collect()
}

/// Asks until the secrets are so distributed.
async fn until_peppers(folder: &Folder, expected: &[(u64, u64)]) {
    soon(&format!("the peppers {expected:?}"), async { while peppers(folder).await != expected {} }).await;
}

/// Waits until the server has noticed so many changes of the peppers.
async fn until_noticed(server: &Server, changes: usize) {
    soon("the server has noticed the change", async {
        while server.log.lock().unwrap().matches("the pepper was rotated").count() < changes {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Makes the newest pepper a minute old, as if one had waited.
fn age_newest_pepper(folder: &Folder) {
    let file = folder.data().join("secrets/pepper");
    let text = std::fs::read_to_string(&file).unwrap();
    let (newest, older) = text.split_once('\n').unwrap();
    let (pepper, made_at) = newest.rsplit_once(' ').unwrap();
    let made_at: Timestamp = made_at.parse().unwrap();
    let aged = format!("{pepper} {}\n{older}", made_at - SignedDuration::from_mins(1));
    let beside = folder.data().join("secrets/aged");
    std::fs::write(&beside, aged).unwrap();
    std::fs::rename(&beside, &file).unwrap();
}

/// How many ask at once.
const ASKING: usize = 32;

/// Asks until it is stopped; every answer must be a good one. How many there were.
async fn ask_until(stop: CancellationToken, client: Client) -> u32 {
    let mut answers = 0;
    while !stop.is_cancelled() {
        let answer = client.get("/v1/whoami").await.unwrap();
        assert_eq!(answer.status, 200, "after {answers} answers: {:?}", answer.error_code());
        answers += 1;
    }
    answers
}

#[tokio::test]
async fn the_pepper_is_rotated_under_a_running_server_and_no_key_stops() {
    let folder = Folder::new();
    let organization = tireless_organization(&folder).await;
    let (_, used) = folder.key(&organization).await;
    let (_, unused) = folder.key(&organization).await;
    let server = Server::start(&folder).await;
    let client = server.client(&used);
    assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200, "before");

    // Many ask all the time with one key, so that some do in the moment of the change; every answer counts.
    let stop = CancellationToken::new();
    let asking: Vec<_> = (0..ASKING).map(|_| tokio::spawn(ask_until(stop.clone(), server.client(&used)))).collect();
    for number in 2..=5 {
        assert_eq!(folder.json(&["pepper", "rotate"]).await["number"], number);
        until_noticed(&server, number - 1).await;
    }
    let (_, new) = folder.key(&organization).await;
    assert_eq!(server.client(&new).get("/v1/whoami").await.unwrap().status, 200, "made after it");
    // The server has moved the one that is used to the newest.
    until_peppers(&folder, &[(5, 2), (4, 0), (3, 0), (2, 0), (1, 1)]).await;

    let refused = folder.run(&["pepper", "retire"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    age_newest_pepper(&folder);
    until_noticed(&server, 5).await;
    let refused = folder.run(&["pepper", "retire"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains("1 secret depends on older peppers"), "{}", refused.stderr);
    assert_eq!(server.client(&unused).get("/v1/whoami").await.unwrap().status, 200, "it works without having moved");

    until_peppers(&folder, &[(5, 3), (4, 0), (3, 0), (2, 0), (1, 0)]).await;
    assert_eq!(folder.json(&["pepper", "retire"]).await["dropped"], serde_json::json!([4, 3, 2, 1]));
    assert_eq!(peppers(&folder).await, [(5, 3)]);
    until_noticed(&server, 6).await;
    stop.cancel();
    for asking in asking {
        assert!(asking.await.unwrap() > 0);
    }
    for secret in [&used, &unused, &new] {
        assert_eq!(server.client(secret).get("/v1/whoami").await.unwrap().status, 200, "after the retirement");
    }
    server.terminate();
    assert_eq!(server.wait().await, Some(0));

    let server = Server::start(&folder).await;
    for secret in [&used, &unused, &new] {
        assert_eq!(server.client(secret).get("/v1/whoami").await.unwrap().status, 200, "after a restart");
    }
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn a_pepper_retired_by_force_stops_the_keys_that_depend_on_it() {
    let folder = Folder::new();
    let organization = tireless_organization(&folder).await;
    let (_, secret) = folder.key(&organization).await;
    folder.json(&["pepper", "rotate"]).await;
    let retired = folder.json(&["pepper", "retire", "--force"]).await;
    assert_eq!(retired["secrets_stopped"], 1);
    let server = Server::start(&folder).await;
    let answer = server.client(&secret).get("/v1/whoami").await.unwrap();
    assert_eq!((answer.status, answer.error_code().as_deref()), (401, Some("api_key_invalid")));
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn what_a_key_has_done_is_found_in_ledger_audit_log_and_request_log() {
    let folder = Folder::new();
    let organization = folder.organization().await;
    let (key, secret) = folder.key(&organization).await;
    let narrow = ["key", "create", "--org", &organization, "--env", "live", "--permission", "recordings:read"];
    let narrow = folder.json(&narrow).await;
    let server = Server::start(&folder).await;
    let session = Call::start(&server.client(&secret)).await.session.id;
    let refused = server.client(narrow["secret"].as_str().unwrap()).get("/v1/sessions").await.unwrap();
    let error: Value = serde_json::from_slice(&refused.body).unwrap();
    let request = error["error"]["request_id"].as_str().unwrap();
    // What waits to be written down is written down at the end.
    server.terminate();
    assert_eq!(server.wait().await, Some(0));

    let shown = folder.json(&["org", "show", &organization]).await;
    assert_eq!((&shown["credits"], &shown["credits_used"]), (&Value::from(99), &Value::from(1)));
    let ledger = folder.json(&["org", "ledger", &organization]).await;
    let spend = &ledger["data"][0];
    assert_eq!((spend["kind"].as_str(), spend["paid_for"].as_str()), (Some("spend"), Some(&*session)));
    assert_eq!((&spend["amount"], &spend["balance_after"]), (&Value::from(-1), &Value::from(99)));

    let paid = folder.json(&["request", "show", "--org", &organization, spend["request_id"].as_str().unwrap()]).await;
    assert_eq!((paid["api_key"].as_str(), paid["status"].as_u64()), (Some(&*key), Some(201)));
    let why = folder.run(&["request", "show", "--org", &organization, request]).await;
    assert!(why.stdout.contains("GET /v1/sessions → 403 insufficient_permissions"), "{}{}", why.stdout, why.stderr);
    assert!(why.stdout.contains("sessions:read") && why.stdout.contains("what to do"), "{}", why.stdout);

    let used = folder.json(&["key", "show", &key]).await;
    assert!(used["last_used_at"].is_string(), "{used}");
    let audit = folder.json(&["org", "audit", &organization]).await;
    let actions: Vec<_> =
        audit["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["api_key.created", "api_key.created", "organization.created"]);
}
