//! Several processes on one database, and processes that are killed: nothing that was acknowledged is lost.
//!
//! The other processes are this test binary again, run with the one test that is marked as their work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use kallglot_core::id::SessionId;
use kallglot_storage::conformance::example::{TENANT, begin, key, session, turn};
use kallglot_storage::{
    KeyRepository as _, KeyUpdate, OrganizationRepository as _, SessionRepository as _, Storage as _,
    TurnRepository as _,
};
use kallglot_storage_sqlite::{FILE_NAME, SqliteStorage};

const FOLDER: &str = "KALLGLOT_TEST_FOLDER";
const FIRST: &str = "KALLGLOT_TEST_FIRST_SEGMENT";
const COUNT: &str = "KALLGLOT_TEST_SEGMENTS";
const WRITERS: u32 = 16;
const SESSION: SessionId = SessionId::from_bits(1);

/// What the other process does: appends `COUNT` turns to session 1, numbered from `FIRST`, several at once, and says so on stdout
/// each time that one was acknowledged.
#[test]
#[ignore = "run by the tests here as another process"]
fn append_turns_as_another_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let number = |name| std::env::var(name).expect("set by the parent").parse::<u32>().expect("a number");
    let (first, count) = (number(FIRST), number(COUNT));
    let storage = SqliteStorage::open(Path::new(&folder)).expect("the parent's database");
    let next = AtomicU32::new(0);
    let writer = async || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let stored = storage.append_turn(TENANT, SESSION, &turn(first + index)).await;
            println!("acknowledged {} {}", first + index, stored.unwrap().unwrap().sequence);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(join_all((0..WRITERS).map(|_| writer())));
    runtime.block_on(storage.close()).unwrap();
}

fn start_process(folder: &Path, first: u32, count: u32) -> Child {
    Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["--ignored", "--exact", "--nocapture", "append_turns_as_another_process"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("another process")
}

/// The next acknowledged (segment, place), or none at the end of the process's output. A line cut by the kill is no acknowledgement.
fn acknowledged(lines: &mut impl BufRead) -> Option<(u32, u32)> {
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).expect("output") == 0 {
            return None;
        }
        // The test runner's own text may stand before it on the line.
        let Some((_, numbers)) = line.strip_suffix('\n').and_then(|line| line.split_once("acknowledged ")) else {
            continue;
        };
        let (segment, place) = numbers.split_once(' ').expect("two numbers");
        return Some((segment.parse().expect("a segment"), place.parse().expect("a place")));
    }
}

async fn new_database(folder: &Path) -> SqliteStorage {
    let storage = SqliteStorage::open(folder).expect("a new database");
    begin(&storage).await;
    storage.create_session(&session(1)).await.expect("stored");
    storage
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    new_database(folder.path()).await.close().await.unwrap();
    let mut expected = Vec::new();
    // Each process is killed a little later than the one before, wherever it is then; whole groups are in flight all the time.
    for (round, kill_after) in [1, 17, 60, 211, 400].into_iter().enumerate() {
        let first = 1_000_000 * (round as u32 + 1);
        let mut process = start_process(folder.path(), first, 900_000);
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        let mut seen = 0;
        while let Some(acknowledgement) = acknowledged(&mut lines) {
            expected.push(acknowledgement);
            seen += 1;
            if seen == kill_after {
                process.kill().expect("SIGKILL");
            }
        }
        assert!(!process.wait().expect("its end").success(), "it was killed, it did not finish");
        assert!(seen >= kill_after, "{seen}");
    }

    let storage = SqliteStorage::open(folder.path()).expect("the database after the kills");
    let turns = storage.turns(TENANT, SESSION, 0, u32::MAX).await.unwrap().unwrap();
    for (segment, place) in expected {
        assert_eq!(turns[place as usize - 1], turn(segment).at(place));
    }
    for (index, turn) in turns.iter().enumerate() {
        assert_eq!(turn.sequence as usize, index + 1, "no holes");
    }
    storage.close().await.unwrap();
    let connection = rusqlite::Connection::open(folder.path().join(FILE_NAME)).expect("the file");
    let verdict: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn processes_that_write_at_once_lose_nothing() {
    const EACH: u32 = 150;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = new_database(folder.path()).await;
    let mut processes = [start_process(folder.path(), 10_000, EACH), start_process(folder.path(), 20_000, EACH)];
    for number in 1..=EACH {
        storage.append_turn(TENANT, SESSION, &turn(number)).await.unwrap();
    }
    for process in &mut processes {
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        while acknowledged(&mut lines).is_some() {}
        assert!(process.wait().expect("its end").success());
    }
    let turns = storage.turns(TENANT, SESSION, 0, u32::MAX).await.unwrap().unwrap();
    let places: Vec<u32> = turns.iter().map(|turn| turn.sequence).collect();
    assert_eq!(places, (1..=3 * EACH).collect::<Vec<_>>());
    for number in (1..=EACH).chain(10_000..10_000 + EACH).chain(20_000..20_000 + EACH) {
        assert!(turns.iter().any(|stored| stored.id == turn(number).id), "{number}");
    }
}

#[tokio::test]
async fn another_process_is_noticed_and_its_update_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = new_database(folder.path()).await;
    let command_line = SqliteStorage::open(folder.path()).expect("a second opening");
    let before = server.changes().await.unwrap();
    assert_eq!(server.changes().await.unwrap(), before, "nothing happened");

    let id = key(1).id;
    let rename = KeyUpdate { name: Some("renamed".into()), ..KeyUpdate::default() };
    command_line.update_key(TENANT, id, &rename).await.unwrap();
    let after = server.changes().await.unwrap();
    assert_ne!(after, before);

    let limit = KeyUpdate { requests_per_minute_max: Some(Some(7)), ..KeyUpdate::default() };
    server.update_key(TENANT, id, &limit).await.unwrap();
    assert_eq!(server.changes().await.unwrap(), after, "its own change does not count");
    let both = command_line.key(TENANT, id).await.unwrap().unwrap();
    assert_eq!((both.name.as_str(), both.requests_per_minute_max), ("renamed", Some(7)));
}

#[tokio::test]
async fn many_openings_at_once_make_one_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("new").join("data");
    let opened: Vec<SqliteStorage> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..6).map(|_| scope.spawn(|| SqliteStorage::open(&path).expect("the database"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    begin(&opened[0]).await;
    for storage in &opened {
        assert!(storage.organization(TENANT.organization).await.unwrap().is_some());
    }
}
