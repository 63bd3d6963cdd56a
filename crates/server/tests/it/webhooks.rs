//! Webhooks of the real program: verified by an independent implementation, and brought to a developer's machine by `kallglot listen`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use kallglot_core::Timestamp;
use kallglot_core::webhook::{WebhookSecret, verify_kallglot, verify_standard};
use kallglot_testkit::client::{Client, NewWebhook};
use kallglot_testkit::{Behaviour, FakeReceiver, Received, soon};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::process::{Folder, Server};

/// The independent implementation, from PyPI.
const LIBRARY: &str = "standardwebhooks==1.0.0";
/// Longest that installing it may take.
const INSTALL_MAX: Duration = Duration::from_secs(240);

/// A folder whose server may send to this machine, and a client with a test key.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn begin() -> (Folder, String) {
    let folder = Folder::new();
    let mut settings = std::fs::OpenOptions::new().append(true).open(folder.path().join("settings.toml")).unwrap();
    settings.write_all(b"\n[webhooks]\nallow_networks = [\"127.0.0.1\"]\nallow_http_in_test = true\n").unwrap();
    let organization = folder.organization().await;
    let key = folder.json(&["key", "create", "--org", &organization, "--env", "test"]).await;
    (folder, key["secret"].as_str().unwrap().to_owned())
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn done(mut command: Command) -> std::process::Output {
    let output = tokio::time::timeout(INSTALL_MAX, command.kill_on_drop(true).output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A Python with [`LIBRARY`], in a folder of its own beside what is built. It is made once.
#[allow(clippy::print_stderr, reason = "who runs the tests is told what is downloaded")]
async fn python() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("verify-webhooks");
    let python = folder.join("bin/python");
    let mut try_it = Command::new(&python);
    try_it.args(["-c", "import standardwebhooks"]).stderr(Stdio::null());
    if try_it.status().await.is_ok_and(|status| status.success()) {
        return python;
    }
    eprintln!("installing {LIBRARY} from PyPI into {}", folder.display());
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    done(make).await;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", LIBRARY]);
    done(install).await;
    python
}

/// What the independent implementation says of a delivery.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn verify(received: &Received, secrets: &[&str]) -> Value {
    let given = json!({ "secrets": secrets, "headers": received.headers, "body": received.body });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/webhooks/verify.py");
    let mut command = Command::new(python().await);
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).await.unwrap();
    let output = soon("the verification", child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{given}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_real_delivery_is_verified_by_an_independent_implementation() {
    let (folder, key) = begin().await;
    let server = Server::start(&folder).await;
    let api = server.client(&key);
    let receiver = FakeReceiver::start(Behaviour::ok()).await;
    let webhook = NewWebhook { url: receiver.url(), ..NewWebhook::default() };
    let old = api.create_webhook(&webhook).await.unwrap();
    let new = api.rotate_webhook_secret(&old.id, 3600).await.unwrap();
    let secrets = [old.secret.as_ref().unwrap().reveal(), new.secret.as_ref().unwrap().reveal()];
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let all = [secrets[0], secrets[1], other];

    // Text that is not ASCII too.
    api.test_webhook(&old.id, "transcript.segment").await.unwrap();
    let received = receiver.until(1).await.remove(0);
    assert!(received.body.contains("días"), "{}", received.body);
    let both = json!({ "standard": [true, true, false], "kallglot": [true, true, false], "tampered": false });
    assert_eq!(verify(&received, &all).await, both, "while the secret is rotated");

    let newest = api.rotate_webhook_secret(&old.id, 0).await.unwrap();
    let newest = newest.secret.as_ref().unwrap().reveal();
    api.test_webhook(&old.id, "session.ended").await.unwrap();
    let received = receiver.until(2).await.remove(1);
    let only = json!({ "standard": [false, false, true], "kallglot": [false, false, true], "tampered": false });
    assert_eq!(verify(&received, &[secrets[0], secrets[1], newest]).await, only, "afterwards");
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

fn verified(received: &Received, secret: &WebhookSecret) -> bool {
    let header = |name: &str| received.headers.get(name).map(String::as_str).unwrap_or_default();
    let at = header("webhook-timestamp").parse().ok().and_then(|second| Timestamp::from_second(second).ok());
    let now = at.unwrap_or(Timestamp::MAX);
    let (id, time, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    verify_standard(secret, id, time, signature, received.body.as_bytes(), now).is_ok()
        && verify_kallglot(secret, header("kallglot-signature"), received.body.as_bytes(), now).is_ok()
}

#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]
async fn session(api: &Client) -> String {
    let answer = api.post("/v1/sessions", json!({ "mode": "bidirectional_translation" })).await.unwrap();
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn listening_brings_test_events_to_this_machine_and_survives_a_restart_of_the_server() {
    let (folder, key) = begin().await;
    let server = Server::start(&folder).await;
    let (address, receiver) = (server.address, FakeReceiver::start(Behaviour::ok()).await);
    let mut command = folder.command(&["listen", "--json", "--events", "session.created", "--forward-to"]);
    command.arg(receiver.url()).args(["--api", &format!("http://{address}"), "--key", &key]);
    let mut listener = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines();
    let mut line = async |wanted: &str| -> Value {
        soon(wanted, async {
            loop {
                let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
                if line["event"] == wanted {
                    return line;
                }
            }
        })
        .await
    };
    let secret = WebhookSecret::parse(line("listening").await["secret"].as_str().unwrap()).unwrap();
    let first = session(&server.client(&key)).await;
    let told = line("forwarded").await;
    assert_eq!((&told["type"], &told["status"]), (&json!("session.created"), &json!(200)));
    let received = receiver.until(1).await.remove(0);
    assert!(verified(&received, &secret) && received.body.contains(&first), "{received:?}");
    assert_eq!(received.headers["webhook-id"], told["id"].as_str().unwrap());

    // What happens before it is connected again is not lost.
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    let server = Server::start_at(&folder, &address.to_string()).await;
    let second = session(&server.client(&key)).await;
    line("forwarded").await;
    let received = receiver.until(2).await;
    assert!(received[1].body.contains(&second) && !received[1].body.contains(&first), "once each: {received:?}");

    kill_process(Pid::from_raw(listener.id().unwrap().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert_eq!(soon("it ends", listener.wait()).await.unwrap().code(), Some(0));
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn listening_says_what_is_wrong() {
    let folder = Folder::new();
    let none = folder
        .run(&["listen", "--key", "sk_test_x", "--forward-to", "localhost:1", "--api", "http://127.0.0.1:1"])
        .await;
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("Is the server running?"), "{}", none.stderr);
    let nowhere = folder.run(&["listen", "--key", "sk_test_x"]).await;
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.stderr);
    let server = Server::start(&folder).await;
    let organization = folder.organization().await;
    let (_, live) = folder.key(&organization).await;
    let api = format!("http://{}", server.address);
    let refused = folder.run(&["listen", "--key", &live, "--forward-to", "localhost:1", "--api", &api]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("Use a test key"), "{}", refused.stderr);
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}
