//! Kill -9 at any moment under mixed load: what was acknowledged is there, what was not is there wholly or not at all, and a repetition
//! does nothing twice.
//!
//! A run is a row of lives of one server on one data folder. In each life clients create sessions (with and without idempotency keys),
//! repeat, end and join them, make and revoke API keys; after a random number of answers the server is killed, with all that is under
//! way. The next life begins with the checks. `KALLGLOT_KILLS` says how many kills, `KALLGLOT_SEED` which random numbers; moments within
//! the server are never the same twice. A long run, beyond what nextest lets a test take:
//!
//!     KALLGLOT_KILLS=200 cargo test -p kallglot-server --test it crash_gate -- --nocapture

mod check;
mod clients;
mod told;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kallglot_testkit::soon;
use tokio::time::timeout;

use crate::load::{Chance, variable};
use crate::process::{Folder, Server};
use check::{Checks, Sessions};
use clients::Clients;
use told::Told;

/// Concurrent sessions of the organization under test.
const SESSIONS_MAX: usize = 40;
/// How long a session that nobody joins keeps its slot.
const TOKEN_S: i64 = 10;
/// Clients that are at work at once.
const CLIENTS: u64 = 16;
/// More credits than the clients of one life can spend.
const CREDITS_PER_LIFE: u64 = 5_000;
/// After every so many kills everything is read, not only what is new: all lists and the ledger.
const EVERYTHING_EVERY: u64 = 8;
/// Answers in a life: 2 to the power of 3 to 11, so that it is short as often as long.
const ANSWERS_LOG2: std::ops::Range<u64> = 3..12;

/// A server that is killed before it is ready, or a moment after.
async fn killed_while_it_starts(folder: &Folder, address: &str, after: Duration) {
    let mut child = folder.command(&["serve", "--listen", address]).stderr(Stdio::null()).spawn().unwrap();
    let ended = timeout(after, child.wait()).await;
    assert!(ended.is_err(), "it does not stop by itself: {ended:?}");
    soon("it is dead", child.kill()).await.unwrap();
}

/// The organization under test with the key of its clients: ids, secret.
async fn organization(folder: &Folder, credits: u64) -> (String, String) {
    let (credits, sessions) = (credits.to_string(), SESSIONS_MAX.to_string());
    let limits = ["--requests-per-minute", "1000000000", "--concurrent-sessions", &sessions];
    let made = folder
        .json(&[&["org", "create", "--name", "A", "--plan", "enterprise", "--credits", &credits], &limits[..]].concat())
        .await;
    let id = made["id"].as_str().unwrap().to_owned();
    let permissions = ["sessions:read", "sessions:write", "api_keys:manage"].map(|name| ["--permission", name]);
    let made =
        folder.json(&[&["key", "create", "--org", &id, "--env", "live"], &permissions.concat()[..]].concat()).await;
    (id, made["secret"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_done_twice_or_stuck_when_the_server_is_killed_under_load() {
    let (kills, seed) = (variable("KALLGLOT_KILLS", 12), variable("KALLGLOT_SEED", 1));
    println!("KALLGLOT_KILLS={kills} KALLGLOT_SEED={seed}");
    let folder = Folder::new();
    let settings = folder.path().join("settings.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}\n[session]\nstream_token_s = {TOKEN_S}\n")).unwrap();
    let credits = (kills + 1) * CREDITS_PER_LIFE;
    let (organization, secret) = organization(&folder, credits).await;

    let told = Arc::new(Told::default());
    let mut sessions = Sessions::new();
    let mut server = Server::start(&folder).await;
    let address = server.address.to_string();
    for kill in 0..kills {
        let mut chance = Chance::new([seed, kill, u64::MAX]);
        let power = ANSWERS_LOG2.start + chance.below(ANSWERS_LOG2.end - ANSWERS_LOG2.start);
        let answers = (1 << power) + chance.below(1 << power);
        println!("kill {kill} after {answers} answers");
        let clients = Clients::start(&server.client(&secret), &told, |client| Chance::new([seed, kill, client]));
        clients.until_answered(answers).await;
        // Not only in the moment of an answer.
        let _ = timeout(Duration::from_micros(chance.below(5_000)), clients.until_answered(u64::MAX)).await;
        clients.expect_the_kill();
        server.kill().await;
        clients.all_gone().await;
        if chance.below(4) == 0 {
            killed_while_it_starts(&folder, &address, Duration::from_millis(chance.below(200))).await;
            told.count(|counts| counts.kills_while_starting += 1);
        }
        server = Server::start_at(&folder, &address).await;
        let client = server.client(&secret);
        Checks { folder: &folder, organization: &organization, client: &client, told: &told, credits }
            .after_a_kill(&mut sessions, &mut chance, kill % EVERYTHING_EVERY == 0)
            .await;
        told.count(|counts| counts.kills += 1);
    }
    let client = server.client(&secret);
    let checks = Checks { folder: &folder, organization: &organization, client: &client, told: &told, credits };
    checks.at_the_end(&mut sessions, &mut Chance::new([seed, kills, u64::MAX])).await;
    println!("{:#?}", told.counts());
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}
