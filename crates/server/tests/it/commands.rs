//! `org` and `key`: what they print, how they end, and that a running server obeys them.

use kallglot_testkit::client::{Answer, Client};
use kallglot_testkit::{Call, soon};
use serde_json::Value;

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
