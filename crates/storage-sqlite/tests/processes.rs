//! Several processes on one database, and processes that are killed: nothing that was acknowledged is lost.
//!
//! The other processes are this test binary again, run with the test that starts them: it finds a task there and does only that.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use kallglot_core::credit::LedgerKind;
use kallglot_core::event::EventType;
use kallglot_core::id::SessionId;
use kallglot_storage::conformance::example::{
    TENANT, answer, at, batch, begin, begin_with_credits, change, key, new_session, turn,
};
use kallglot_storage::{
    CreatePaid, IdempotencyRepository as _, KeyRepository as _, KeyUpdate, LogRepository as _, NewSession,
    OrganizationRepository as _, RequestBlock, SessionRepository as _, Storage as _, TurnRepository as _,
    UsageRepository as _,
};
use kallglot_storage_sqlite::{FILE_NAME, SqliteStorage};

const FOLDER: &str = "KALLGLOT_TEST_FOLDER";
const FIRST: &str = "KALLGLOT_TEST_FIRST";
const COUNT: &str = "KALLGLOT_TEST_COUNT";
const WRITERS: u32 = 16;
const SESSION: SessionId = SessionId::from_bits(1);

/// What another process is told to do: where, and with which numbers.
struct Task {
    folder: String,
    first: u32,
    count: u32,
}

/// The task of this process; none when it is not another process.
fn task() -> Option<Task> {
    let folder = std::env::var(FOLDER).ok()?;
    let number = |name| std::env::var(name).expect("set by the parent").parse::<u32>().expect("a number");
    Some(Task { folder, first: number(FIRST), count: number(COUNT) })
}

/// Runs `work` with each number of the task, several at once.
async fn run(task: &Task, work: impl AsyncFn(&SqliteStorage, u32)) {
    let storage = SqliteStorage::open(Path::new(&task.folder)).expect("the parent's database");
    let next = AtomicU32::new(0);
    let writer = async || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= task.count {
                return;
            }
            work(&storage, task.first + index).await;
        }
    };
    join_all((0..WRITERS).map(|_| writer())).await;
    storage.close().await.expect("closed");
}

/// Appends turns to session 1 and says so on stdout each time that one was acknowledged.
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "the work of a test, which reads what it prints")]
async fn append_turns(task: &Task) {
    run(task, async |storage, number| {
        let stored = storage.append_turn(TENANT, SESSION, &turn(number)).await;
        println!("acknowledged {number} {}", stored.unwrap().unwrap().sequence);
    })
    .await;
}

/// A session for one credit; two neighbours are the same request to their client.
fn paid_session(number: u32) -> NewSession {
    let request = u128::from(number);
    let key = format!("order {}", number / 2);
    NewSession { credits: 1, idempotency: Some(answer(&key, request, at(10))), ..new_session(request) }
}

/// Makes sessions and says on stdout which one each request was answered with.
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "the work of a test, which reads what it prints")]
async fn create_sessions(task: &Task) {
    run(task, async |storage, number| {
        let session = match storage.create_session(&paid_session(number)).await.unwrap() {
            CreatePaid::Created(Some(_)) => number.into(),
            CreatePaid::Known(answer) => answer.request.to_bits(),
            other => panic!("{other:?}"),
        };
        println!("acknowledged {number} {session}");
    })
    .await;
}

/// Starts a process that does the work of `test`, which is the caller.
fn start_process(test: &str, folder: &Path, first: u32, count: u32) -> Child {
    Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["--exact", "--nocapture", test])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("another process")
}

/// The next acknowledged pair of numbers, or none at the end of the process's output. A line cut by the kill is no acknowledgement.
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
        let (one, other) = numbers.split_once(' ').expect("two numbers");
        return Some((one.parse().expect("a number"), other.parse().expect("a number")));
    }
}

async fn new_database(folder: &Path) -> SqliteStorage {
    let storage = SqliteStorage::open(folder).expect("a new database");
    begin(&storage).await;
    storage.create_session(&new_session(1)).await.expect("stored");
    storage
}

/// Starts a process several times and kills it each time a little later than before, wherever it is then; whole groups are in
/// flight all the time. Answers with all that was acknowledged.
fn kill_again_and_again(test: &str, folder: &Path, first: impl Fn(u32) -> u32) -> Vec<(u32, u32)> {
    let mut all = Vec::new();
    for (round, kill_after) in [1, 17, 60, 211, 400].into_iter().enumerate() {
        let mut process = start_process(test, folder, first(round as u32), 900_000);
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        let mut seen = 0;
        while let Some(acknowledgement) = acknowledged(&mut lines) {
            all.push(acknowledgement);
            seen += 1;
            if seen == kill_after {
                process.kill().expect("SIGKILL");
            }
        }
        assert!(!process.wait().expect("its end").success(), "it was killed, it did not finish");
        assert!(seen >= kill_after, "{seen}");
    }
    all
}

fn assert_sound(folder: &Path) {
    let connection = rusqlite::Connection::open(folder.join(FILE_NAME)).expect("the file");
    let verdict: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    if let Some(task) = task() {
        return append_turns(&task).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    new_database(folder.path()).await.close().await.unwrap();
    let expected =
        kill_again_and_again("what_was_acknowledged_survives_kill_9", folder.path(), |round| 1_000_000 * (round + 1));

    let storage = SqliteStorage::open(folder.path()).expect("the database after the kills");
    let turns = storage.turns(TENANT, SESSION, 0, u32::MAX).await.unwrap().unwrap();
    for (segment, place) in expected {
        assert_eq!(turns[place as usize - 1], turn(segment).at(place));
    }
    for (index, turn) in turns.iter().enumerate() {
        assert_eq!(turn.sequence as usize, index + 1, "no holes");
    }
    storage.close().await.unwrap();
    assert_sound(folder.path());
}

#[tokio::test]
async fn a_session_its_spend_its_event_and_its_answer_survive_kill_9_together() {
    if let Some(task) = task() {
        return create_sessions(&task).await;
    }
    const CREDITS: u32 = 1_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = SqliteStorage::open(folder.path()).expect("a new database");
    let granted = begin_with_credits(&storage, CREDITS).await;
    let begun = storage.events(0, 1000).await.unwrap().last().expect("the key's creation").0;
    storage.close().await.unwrap();
    // Each process begins where the first one did, as clients do that ask again, so it meets what the ones before have left.
    let acknowledged = kill_again_and_again(
        "a_session_its_spend_its_event_and_its_answer_survive_kill_9_together",
        folder.path(),
        |_| 1000,
    );

    let storage = SqliteStorage::open(folder.path()).expect("the database after the kills");
    for (number, session) in acknowledged {
        assert_eq!(number / 2, session / 2, "the session of the same request");
        let stored = storage.session(TENANT, SessionId::from_bits(session.into())).await.unwrap();
        assert_eq!(stored, Some(paid_session(session).session));
    }

    let mut sessions = Vec::new();
    while let page = storage.open_sessions(sessions.last().copied(), 1000).await.unwrap()
        && !page.is_empty()
    {
        sessions.extend(page.iter().map(|session| session.id));
    }
    let orders: BTreeSet<u128> = sessions.iter().map(|id| id.to_bits() / 2).collect();
    assert_eq!(orders.len(), sessions.len(), "no idempotency key gives two sessions");

    let mut ledger = Vec::new();
    while let part =
        storage.ledger(TENANT.organization, ledger.last().map_or(0, |(place, _)| *place), 1000).await.unwrap()
        && !part.is_empty()
    {
        ledger.extend(part.into_iter().map(|entry| (entry.sequence, entry)));
    }
    let mut balance = 0;
    for (_, entry) in &ledger {
        balance += entry.amount;
        assert_eq!(entry.balance_after, balance);
    }
    assert_eq!(balance, i64::from(CREDITS) - sessions.len() as i64, "the ledger's sum fits the sessions");
    assert_eq!(storage.credit_balance(TENANT.organization).await.unwrap().unwrap().remaining, balance);
    assert_eq!(ledger[0].0, granted.sequence);
    let spends = ledger.iter().map(|(_, entry)| entry).filter(|entry| entry.kind == LedgerKind::Spend);
    let paid_for: BTreeSet<String> = spends.map(|entry| entry.object.clone().expect("a session")).collect();
    let made: BTreeSet<String> = sessions.iter().map(ToString::to_string).collect();
    assert_eq!(paid_for, made);

    let (mut told, mut place) = (BTreeSet::new(), begun);
    while let part = storage.events(place, 1000).await.unwrap()
        && let Some((last, _)) = part.last()
    {
        place = *last;
        for (_, event) in part {
            assert_eq!(event.event_type, EventType::SessionCreated);
            assert!(told.insert(event.object), "each is told once");
        }
    }
    assert_eq!(told, made);
    for id in sessions {
        let number = u32::try_from(id.to_bits()).expect("a number of ours");
        let answer = paid_session(number).idempotency.expect("an answer");
        let stored = storage.answer(TENANT, &answer.key, at(11)).await.unwrap().expect("the answer");
        assert_eq!(stored.request.to_bits(), id.to_bits());
    }
    storage.close().await.unwrap();
    assert_sound(folder.path());
}

#[tokio::test]
async fn processes_that_write_at_once_lose_nothing() {
    if let Some(task) = task() {
        return append_turns(&task).await;
    }
    const EACH: u32 = 150;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = new_database(folder.path()).await;
    let mut processes = [10_000, 20_000]
        .map(|first| start_process("processes_that_write_at_once_lose_nothing", folder.path(), first, EACH));
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
    command_line.update_key(TENANT, id, &rename, &change(10, 5)).await.unwrap();
    let after = server.changes().await.unwrap();
    assert_ne!(after, before);

    let limit = KeyUpdate { requests_per_minute_max: Some(Some(7)), ..KeyUpdate::default() };
    server.update_key(TENANT, id, &limit, &change(11, 5)).await.unwrap();
    assert_eq!(server.changes().await.unwrap(), after, "its own change does not count");
    let both = command_line.key(TENANT, id).await.unwrap().unwrap();
    assert_eq!((both.name.as_str(), both.requests_per_minute_max), ("renamed", Some(7)));
}

#[tokio::test]
async fn checkpoints_are_not_another_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = new_database(folder.path()).await;
    let before = storage.changes().await.unwrap();
    // Several times as much as the log holds before it is moved into the database.
    let block = RequestBlock { tenant: TENANT, first_at: at(1), last_at: at(2), packed: vec![7; 1_000_000] };
    for number in 1..=60 {
        storage.append_requests(&batch(number, vec![block.clone()])).await.unwrap();
        assert_eq!(storage.changes().await.unwrap(), before);
    }
    let moved = std::fs::metadata(folder.path().join(FILE_NAME)).expect("the file").len();
    assert!(moved > 10_000_000, "{moved} bytes are in the database beside its log");
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
